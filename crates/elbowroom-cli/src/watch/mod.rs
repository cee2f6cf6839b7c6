//! `elbowroom watch`: shows live how pages turn from reserved to committed, in a workload or in another process.
//!
//! A [`Scene`](scene::Scene) is one of the two. The screen asks it for its present state, gives it the keys, and draws
//! its view. Neither scene knows about the terminal.

mod ink;
mod pages;
mod process;
mod scene;
mod screen;
mod workload;

use std::path::Path;

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;

use crate::args::Watch;
use crate::output::{self, print, write_file};
use crate::picture::screen_svg;
use ink::Ink;
use process::Process;
use scene::View;

/// Runs `elbowroom watch`, and returns the exit status of the process.
pub(crate) fn run(watch: &Watch) -> Result<i32, String> {
    let svg = watch.svg.as_deref();
    let is_once = watch.once || svg.is_some();
    match watch.pid {
        Some(pid) if watch.json => process::json(pid).and_then(print),
        None if watch.json => workload::json(watch).and_then(print),
        Some(pid) if is_once => put_out(&Process::read(pid)?, svg),
        None if is_once => put_out(&workload::finished(watch)?, svg),
        Some(pid) => screen::check().and_then(|()| process::run(pid)),
        None => screen::check().and_then(|()| workload::run(watch)),
    }
}

/// The lines of a snapshot.
const ROWS: u16 = 28;
/// The columns of a drawing: the cells of the workloads with budgets have gaps then.
const COLUMNS: u16 = 108;

/// Prints a view, as wide as the terminal if there is one, or writes it to a file as a drawing.
fn put_out(view: &dyn View, svg: Option<&Path>) -> Result<i32, String> {
    let drawn = |ink, columns| {
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, ROWS));
        scene::draw_once(view, ink, buffer.area, &mut buffer);
        buffer
    };
    if let Some(file) = svg {
        let ink = Ink {
            is_unicode: true,
            is_coloured: true,
        };
        let svg = screen_svg(&drawn(ink, COLUMNS), "elbowroom watch");
        return write_file(file, &svg).map(|()| 0);
    }
    let columns = output::columns().unwrap_or(output::COLUMNS);
    let columns = columns.clamp(usize::from(scene::LEAST.0), 200) as u16;
    let rows = rows(&drawn(Ink::for_output(), columns));
    let rows: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
    print(rows.join("\n").trim_end())
}

/// Returns the lines of a buffer, as text.
fn rows(buffer: &Buffer) -> Vec<String> {
    let columns = usize::from(buffer.area.width.max(1));
    let rows = buffer.content().chunks(columns);
    rows.map(|row| row.iter().map(Cell::symbol).collect())
        .collect()
}
