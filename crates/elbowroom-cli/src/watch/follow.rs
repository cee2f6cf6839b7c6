//! Follows another process. A thread reads it twice a second, so that the screen does not wait for a large process.

use std::process;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use elbowroom_map::{Snapshot, Wanted};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde::Serialize;

use super::ink::Ink;
use super::keys::Key;
use super::process::{Process, Seen};
use super::screen::{self, Scene};
use crate::output;

const INTERVAL: Duration = Duration::from_millis(500);

/// Reads a process, and the pages of its region that starts at `wanted`.
fn look(pid: u32, wanted: Option<u64>) -> Result<Seen, String> {
    let snapshot = Snapshot::of_process(pid).map_err(|error| error.to_string())?;
    let pages = wanted.and_then(|start| {
        let region = snapshot
            .find(&Wanted::Address(start))
            .ok()
            .filter(|region| region.start == start)?;
        let pages = snapshot.pages(region).map(|pages| pages.runs);
        Some((start, pages.map_err(|error| error.to_string())))
    });
    Ok(Seen {
        total: snapshot.total(),
        regions: snapshot.regions(),
        program: snapshot.program,
        page_size_bytes: snapshot.page_size_bytes,
        pages,
    })
}

/// Returns the model after reading the process twice, the second time with the pages of the region that was chosen.
///
/// # Errors
/// Fails if the process cannot be read, with what to do about it.
pub(super) fn begin(pid: u32) -> Result<Process, String> {
    if pid == process::id() {
        return Err(
            "this is the process itself; without a PID it shows regions of its own".to_owned(),
        );
    }
    let mut process = Process::new(pid, look(pid, None)?);
    process.see(Ok(look(pid, process.chosen)?));
    Ok(process)
}

/// The JSON object.
#[derive(Serialize)]
struct Json {
    pid: u32,
    #[serde(flatten)]
    seen: Seen,
}

/// Returns one snapshot as a JSON object.
pub(super) fn json(pid: u32) -> Result<String, String> {
    let seen = look(pid, None)?;
    Ok(output::json(&Json { pid, seen }))
}

/// The process on the screen.
struct Follow {
    process: Process,
    /// To the thread: the region whose pages are wanted.
    wanted: Sender<Option<u64>>,
    seen: Receiver<Result<Seen, String>>,
    ink: Ink,
}

pub(super) fn run(pid: u32) -> Result<i32, String> {
    let process = begin(pid)?;
    let (wanted, wanted_here) = mpsc::channel();
    let (seen_here, seen) = mpsc::channel();
    let first = process.chosen;
    let read = move || read(pid, first, &wanted_here, &seen_here);
    // The thread is not joined: it ends when its channels are closed, and has no effect otherwise.
    thread::Builder::new()
        .name("reader".to_owned())
        .spawn(read)
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    screen::run(&mut Follow {
        process,
        wanted,
        seen,
        ink: Ink::for_output(),
    })
}

/// Reads the process at intervals, and at once if another region is wanted.
fn read(
    pid: u32,
    first: Option<u64>,
    wanted: &Receiver<Option<u64>>,
    seen: &Sender<Result<Seen, String>>,
) {
    let mut now_wanted = first;
    loop {
        match wanted.recv_timeout(INTERVAL) {
            Ok(start) => now_wanted = start,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // Only the latest of many.
        now_wanted = wanted.try_iter().last().unwrap_or(now_wanted);
        let look = look(pid, now_wanted);
        let is_end = look.is_err();
        if seen.send(look).is_err() || is_end {
            return;
        }
    }
}

impl Scene for Follow {
    fn tick(&mut self, _: Instant) {
        for seen in self.seen.try_iter() {
            // While paused, only the end of the process and pages that were asked for are shown.
            let is_asked_for = seen.as_ref().is_ok_and(|seen| {
                seen.pages.as_ref().is_some_and(|pages| {
                    Some(pages.0) == self.process.chosen && !self.process.has_pages()
                })
            });
            if !self.process.is_paused || seen.is_err() || is_asked_for {
                self.process.see(seen);
            }
        }
    }

    fn key(&mut self, key: Key, _: Instant) -> bool {
        let before = self.process.chosen;
        let goes_on = self.process.key(key);
        if self.process.chosen != before {
            // Its end is told by the other channel.
            let _ = self.wanted.send(self.process.chosen);
        }
        goes_on
    }

    fn draw(&self, area: Rect, buffer: &mut Buffer) {
        self.process.draw(self.ink, area, buffer);
    }
}
