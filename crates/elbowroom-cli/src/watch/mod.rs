//! `elbowroom watch`: shows live how pages turn from reserved to committed.
//!
//! A workload runs on its own threads ([`stage`], [`pace`]). Its state at one moment is plain data ([`look`]), which
//! the model receives and the view draws. Neither knows about threads or terminals. Another process is followed by a
//! thread that reads it ([`follow`], [`process`]).

mod drawing;
mod follow;
mod format;
mod ink;
mod keys;
mod look;
mod model;
mod pace;
mod pages;
mod process;
mod screen;
mod stage;
#[cfg(test)]
#[path = "../../tests/common/terminal.rs"]
mod terminal;
mod view;
mod workload;

use std::path::Path;
use std::time::Instant;

use elbowroom::fault::Recorder;
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use serde::Serialize;

use crate::args::Watch;
use crate::output::{self, print, write_file};
use ink::Ink;
use keys::Key;
use look::Look;
use model::{Effect, Fault, Model};
use screen::Scene;
use stage::{Stage, Start};
use workload::{Settings, growth_words};

/// The capacity for the faults between two readings.
const EVENTS: usize = 1 << 14;

/// Runs `elbowroom watch`, and returns the exit status of the process.
pub(crate) fn run(watch: &Watch) -> Result<i32, String> {
    let svg = watch.svg.as_deref();
    match watch.pid {
        Some(pid) if watch.json => follow::json(pid).and_then(print),
        Some(pid) if watch.once || svg.is_some() => follow::begin(pid).and_then(|process| {
            put_out(svg, |ink, area, buffer| {
                process.draw_parts(&[], ink, area, buffer)
            })
        }),
        Some(pid) => screen::check().and_then(|()| follow::run(pid)),
        None if watch.json => finished(watch).and_then(|model| print(json(&model))),
        None if watch.once || svg.is_some() => finished(watch).and_then(|model| {
            put_out(svg, |ink, area, buffer| {
                view::draw_once(&model, ink, area, buffer)
            })
        }),
        None => screen::check().and_then(|()| live(watch)),
    }
}

/// Runs a workload to its end.
fn finished(watch: &Watch) -> Result<Model, String> {
    let settings = Settings::new(watch.workload, watch.means);
    let recorder = Recorder::start(EVENTS);
    let now = Instant::now();
    let mut model = Model::new(settings, false, now);
    let mut stage = Stage::new(
        &settings,
        Start {
            is_paused: false,
            speed: 0,
            is_hurried: true,
        },
    )?;
    stage.wait();
    take_in(&mut model, &stage, recorder.as_ref(), now);
    Ok(model)
}

fn take_in(model: &mut Model, stage: &Stage, recorder: Option<&Recorder>, now: Instant) {
    let look = stage.look();
    let faults = recorder
        .iter()
        .flat_map(|recorder| recorder.events())
        .map(Fault::from);
    model.see(look, faults, recorder.map_or(0, Recorder::lost), now);
}

/// The JSON object.
#[derive(Serialize)]
struct Json<'a> {
    workload: &'static str,
    growth: String,
    page_size_bytes: usize,
    largest_window_bytes: u64,
    #[serde(flatten)]
    look: &'a Look,
}

fn json(model: &Model) -> String {
    output::json(&Json {
        workload: model.settings.workload.name(),
        growth: growth_words(model.settings.growth)
            .trim_start_matches("growth ")
            .to_owned(),
        page_size_bytes: elbowroom::page_size(),
        largest_window_bytes: model.largest_window_bytes,
        look: &model.look,
    })
}

/// The lines of a snapshot.
const ROWS: u16 = 28;
/// The columns of one that no terminal limits: the cells of the workloads with budgets have gaps then.
const COLUMNS: u16 = 108;

/// Prints the screen, or writes it to a file as a drawing.
fn put_out(svg: Option<&Path>, draw: impl FnOnce(Ink, Rect, &mut Buffer)) -> Result<i32, String> {
    match svg {
        Some(file) => {
            let mut buffer = Buffer::empty(Rect::new(0, 0, COLUMNS, ROWS));
            draw(
                Ink {
                    is_unicode: true,
                    is_coloured: true,
                },
                buffer.area,
                &mut buffer,
            );
            write_file(file, &drawing::svg(&buffer, "elbowroom watch")).map(|()| 0)
        }
        None => print(lines(draw)),
    }
}

/// Returns a drawing as lines, as wide as the terminal if there is one.
fn lines(draw: impl FnOnce(Ink, Rect, &mut Buffer)) -> String {
    let columns = output::columns()
        .unwrap_or(output::COLUMNS)
        .clamp(usize::from(view::LEAST.0), 200);
    let area = Rect::new(0, 0, columns as u16, ROWS);
    let mut buffer = Buffer::empty(area);
    draw(Ink::for_output(), area, &mut buffer);
    let rows: Vec<String> = rows(&buffer)
        .iter()
        .map(|row| row.trim_end().to_owned())
        .collect();
    rows.join("\n").trim_end().to_owned()
}

/// Returns the lines of a buffer, as text.
fn rows(buffer: &Buffer) -> Vec<String> {
    let cells = buffer
        .content()
        .chunks(usize::from(buffer.area.width.max(1)));
    cells
        .map(|row| row.iter().map(Cell::symbol).collect())
        .collect()
}

/// A workload on the screen.
struct Live {
    model: Model,
    stage: Stage,
    // `None` if the process had a recorder already, which does not occur.
    recorder: Option<Recorder>,
    ink: Ink,
}

fn live(watch: &Watch) -> Result<i32, String> {
    let settings = Settings::new(watch.workload, watch.means);
    let recorder = Recorder::start(EVENTS);
    let model = Model::new(settings, false, Instant::now());
    let stage = Stage::new(
        &settings,
        Start {
            is_paused: false,
            speed: 0,
            is_hurried: false,
        },
    )?;
    screen::run(&mut Live {
        model,
        stage,
        recorder,
        ink: Ink::for_output(),
    })
}

impl Scene for Live {
    fn tick(&mut self, now: Instant) {
        take_in(&mut self.model, &self.stage, self.recorder.as_ref(), now);
    }

    fn key(&mut self, key: Key, now: Instant) -> bool {
        match self.model.key(key) {
            None => {}
            Some(Effect::Quit) => return false,
            Some(Effect::Pause(is_paused)) => self.stage.pace().pause(is_paused),
            Some(Effect::Step) => self.stage.pace().step(),
            Some(Effect::Speed(speed)) => self.stage.pace().set_speed(speed),
            Some(Effect::Begin(settings)) => {
                let Model {
                    is_paused, speed, ..
                } = self.model;
                match Stage::new(
                    &settings,
                    Start {
                        is_paused,
                        speed,
                        is_hurried: false,
                    },
                ) {
                    Ok(stage) => {
                        self.model.begin(settings, now);
                        self.stage = stage;
                        self.tick(now);
                    }
                    Err(why) => self.model.fail(&why),
                }
            }
        }
        true
    }

    fn draw(&self, area: Rect, buffer: &mut Buffer) {
        view::draw(&self.model, self.ink, area, buffer);
    }
}
