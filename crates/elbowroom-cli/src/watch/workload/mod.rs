//! Workloads of the command itself.
//!
//! A workload runs on its own threads ([`stage`], [`pace`]). Its state at one moment is plain data ([`look`]), which
//! the model receives and the view draws.

mod figures;
mod look;
mod model;
mod pace;
mod paged;
mod plan;
mod settings;
mod stage;
#[cfg(test)]
mod tests;
mod view;

use std::time::Instant;

use elbowroom::fault::Recorder;
use ratatui::crossterm::event::KeyCode;
use serde::Serialize;

use super::scene::{Scene, View};
use super::screen;
use crate::args::{Watch, Workload};
use crate::output;
use look::Look;
use model::{Fault, Model};
use pace::{HURRY, SPEEDS};
use settings::Settings;
use stage::Stage;

/// The capacity for the faults between two readings.
const EVENTS: usize = 1 << 14;

/// A workload and its state.
struct Running {
    model: Model,
    stage: Stage,
    // `None` if the process had a recorder already, which does not occur.
    recorder: Option<Recorder>,
}

/// Shows a workload on the screen.
pub(super) fn run(watch: &Watch) -> Result<i32, String> {
    let settings = Settings::new(watch.workload, watch.means);
    screen::run(&mut Running::new(settings, false, 0)?)
}

/// Runs a workload to its end as fast as possible.
pub(super) fn finished(watch: &Watch) -> Result<Model, String> {
    let settings = Settings::new(watch.workload, watch.means);
    let mut running = Running::new(settings, false, HURRY)?;
    running.stage.wait();
    running.model.speed = 0;
    running.tick(running.model.began);
    Ok(running.model)
}

/// The JSON object.
#[derive(Serialize)]
struct Json {
    workload: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<String>,
    page_size_bytes: usize,
    largest_window_bytes: u64,
    #[serde(flatten)]
    look: Look,
}

/// Runs a workload to its end, and returns its state as a JSON object.
pub(super) fn json(watch: &Watch) -> Result<String, String> {
    let Model {
        settings,
        look,
        largest_window_bytes,
        ..
    } = finished(watch)?;
    Ok(output::json(&Json {
        workload: settings.name(),
        growth: look.array.is_none().then(|| settings.growth_text()),
        page_size_bytes: elbowroom::page_size(),
        largest_window_bytes,
        look,
    }))
}

impl Running {
    fn new(settings: Settings, is_paused: bool, speed: i32) -> Result<Running, String> {
        let recorder = Recorder::start(EVENTS);
        Ok(Running {
            recorder,
            model: Model::new(settings, is_paused, speed, Instant::now()),
            stage: plan::start(settings, is_paused, speed)?,
        })
    }

    /// Starts a workload in place of this one, at the same pace.
    fn start(&mut self, settings: Settings, message: String, now: Instant) {
        let Model {
            is_paused, speed, ..
        } = self.model;
        match plan::start(settings, is_paused, speed) {
            Ok(stage) => {
                self.model = Model::new(settings, is_paused, speed, now);
                self.stage = stage;
                self.tick(now);
                self.model.message = Some(message).filter(|message| !message.is_empty());
            }
            Err(why) => self.model.message = Some(format!("cannot start: {why}")),
        }
    }
}

impl Scene for Running {
    fn view(&self) -> &dyn View {
        &self.model
    }

    fn tick(&mut self, now: Instant) {
        let look = self.stage.look();
        let recorder = self.recorder.iter();
        let faults = recorder
            .flat_map(|recorder| recorder.events())
            .map(Fault::from);
        let lost = self.recorder.as_ref().map_or(0, Recorder::lost);
        self.model.see(look, faults, lost, now);
    }

    fn press(&mut self, key: KeyCode, now: Instant) {
        let (model, pace) = (&mut self.model, &self.stage.pace);
        let settings = model.settings;
        model.message = None;
        match key {
            KeyCode::Char(' ') => {
                model.is_paused = !model.is_paused;
                pace.pause(model.is_paused);
            }
            KeyCode::Char('s') | KeyCode::Right if model.look.has_ended() => {
                model.message = Some("no touches are left; r restarts".to_owned());
            }
            KeyCode::Char('s') | KeyCode::Right => {
                model.is_paused = true;
                pace.step();
            }
            KeyCode::Char('+' | '=' | '-') => {
                let by = if key == KeyCode::Char('-') { -1 } else { 1 };
                model.speed = (model.speed + by).clamp(*SPEEDS.start(), *SPEEDS.end());
                pace.set_speed(model.speed);
            }
            KeyCode::Char('g') if settings.workload == Workload::Paged => {
                model.message = Some("an array has no growth".to_owned());
            }
            KeyCode::Char('g') => {
                let next = settings.with_next_growth();
                let growth = next.growth_text();
                let message = format!("growth {growth}: new regions were made, as growth stays");
                self.start(next, message, now);
            }
            KeyCode::Char('l') => {
                let next = settings.with_next_limit();
                let limit = next.limit_text();
                let message = match settings.workload {
                    Workload::Paged => format!("{limit}: a new array was made, as limits stay"),
                    _ => format!("{limit}: new regions were made, as limits stay"),
                };
                self.start(next, message, now);
            }
            KeyCode::Char('w') => self.start(settings.with_next_workload(), String::new(), now),
            KeyCode::Char('r') => self.start(settings, "restarted".to_owned(), now),
            _ => {}
        }
    }
}
