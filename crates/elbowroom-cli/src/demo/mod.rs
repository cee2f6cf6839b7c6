//! Microsoft's program, "Reserving and Committing Memory", with the library underneath.
//!
//! The original: a block of pages is reserved; a loop stores a character at a time through a plain pointer; on a page
//! fault an exception *filter* commits one more page and the store runs again; if the filter declines, the *handler*
//! ends the process. Here [`Program::run`] is its `_tmain`, and [`Seh::filter`] its `PageFaultExceptionFilter`.

mod report;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use elbowroom::inject::{self, Call};
use elbowroom::{Error, Fault, Growth, Region, Stats, Verdict, page_size};
use elbowroom_map::{Picture, Run};
use serde::Serialize;

use crate::args::{Char, Demo, Transcript};
use crate::map;
use crate::os;
use crate::output::{self, cannot_print, complain, line, paint, write_files};
use crate::picture::Trace;
use crate::usage::Usage;

/// The reason why the program did not reach its end.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Reason {
    ReserveFailed,
    /// The filter declined a fault that is not a page fault.
    OtherFault,
    /// The filter declined: the limit is reached.
    OutOfPages,
    /// The filter declined: the commit failed.
    CommitFailed,
    /// The store was refused for another reason than the filter.
    StoreFailed,
    ReleaseFailed,
    CannotPlantOtherFault,
    CannotPrint,
}

/// The reason with its details, which the transcript leaves out.
struct Stop {
    reason: Reason,
    message: String,
    /// The system's error, if a system call of the library has failed.
    os_code: Option<i32>,
}

impl From<io::Error> for Stop {
    /// Converts a failure to print, the only error that is passed on with `?`.
    fn from(error: io::Error) -> Stop {
        Stop::new(Reason::CannotPrint, cannot_print(error))
    }
}

impl Stop {
    fn new(reason: Reason, message: String) -> Stop {
        let os_code = None;
        Stop {
            reason,
            message,
            os_code,
        }
    }

    /// Returns the conversion of an error of the library.
    fn failed(reason: Reason) -> impl Fn(Error) -> Stop {
        move |error| Stop {
            os_code: error.os_code(),
            ..Stop::new(reason, error.to_string())
        }
    }

    /// Returns whether the filter declined, so that the `__except` handler runs.
    fn is_for_handler(&self) -> bool {
        use Reason::{CommitFailed, OtherFault, OutOfPages, StoreFailed};
        matches!(
            self.reason,
            OtherFault | OutOfPages | CommitFailed | StoreFailed
        )
    }

    /// Returns the reason in a few words, without the library's error.
    fn in_short(&self) -> String {
        match (self.reason, self.os_code) {
            (Reason::OtherFault, _) => "it was no page fault".to_owned(),
            (Reason::OutOfPages, _) => self.message.clone(),
            (_, None) => "the commit failed".to_owned(),
            (_, Some(code)) => format!("the commit failed with error {code}"),
        }
    }

    fn status(&self) -> i32 {
        if self.is_for_handler() {
            // ExitProcess(GetLastError()): 0 if no system call has failed.
            self.os_code.unwrap_or(0)
        } else {
            // Microsoft's program exits with 0 when reserving or releasing fails. That would hide a failure.
            1
        }
    }
}

/// The state that the loop and the filter share. No lock is held during a store, because the filter runs within it.
struct Seh {
    page_limit: usize,
    // Count of pages gotten so far.
    pages: AtomicUsize,
    transcript: Transcript,
    lines: Mutex<Vec<String>>,
    // The pages that were committed after each fault.
    steps: Mutex<Vec<usize>>,
    is_traced: bool,
    // Why the filter declined.
    stop: Mutex<Option<Stop>>,
}

impl Seh {
    fn new(settings: &Demo) -> Seh {
        Seh {
            page_limit: settings.page_limit,
            pages: AtomicUsize::new(0),
            transcript: settings.transcript(),
            lines: Mutex::new(Vec::new()),
            steps: Mutex::new(Vec::new()),
            is_traced: settings.is_drawn(),
            stop: Mutex::new(None),
        }
    }

    fn print(&self, text: impl fmt::Display) -> io::Result<()> {
        match self.transcript {
            Transcript::Printed => line(text)?,
            Transcript::InJson => lock(&self.lines).push(text.to_string()),
            Transcript::Dropped => {}
        }
        Ok(())
    }

    fn filter(&self, fault: &Fault<'_>) -> Result<(), Stop> {
        // If the exception is not a page fault, exit.
        if !fault.is_page_fault() {
            self.print(format_args!("Exception code = {}.", fault.code().number()))?;
            let message = format!("a fault that is not a page fault: {}", fault.code());
            return Err(Stop::new(Reason::OtherFault, message));
        }
        self.print("Exception is a page fault.")?;
        // If the reserved pages are used up, exit.
        if self.pages.load(Ordering::Relaxed) >= self.page_limit {
            self.print("Exception: out of pages.")?;
            let message = "the pages are used up".to_owned();
            return Err(Stop::new(Reason::OutOfPages, message));
        }
        // Otherwise, commit another page.
        let committed = match fault.commit() {
            Ok(committed) => committed,
            Err(error) => {
                self.print("VirtualAlloc failed.")?;
                return Err(Stop::failed(Reason::CommitFailed)(error));
            }
        };
        self.print("Allocating another page.")?;
        // Increment the page count.
        let more = committed.len() / page_size();
        let before = self.pages.fetch_add(more, Ordering::Relaxed);
        if self.is_traced {
            lock(&self.steps).push(before + more);
        }
        // Continue execution where the page fault occurred.
        Ok(())
    }

    /// Calls the filter, and returns its verdict to the library.
    fn answer(&self, fault: &Fault<'_>) -> Verdict {
        match self.filter(fault) {
            Ok(()) => Verdict::Commit,
            Err(stop) => {
                *lock(&self.stop) = Some(stop);
                Verdict::Decline
            }
        }
    }
}

/// Locks a mutex. Ignores poisoning: every change under these locks is complete.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cost of the stores, read while the region was held.
struct Cost {
    stats: Stats,
    before: Usage,
    held: Usage,
    elapsed: Duration,
}

/// The program and its state when it ends.
struct Program<'a> {
    settings: &'a Demo,
    seh: Arc<Seh>,
    cost: Option<Cost>,
    // The region's pages when the stores had ended; empty if nothing is to be drawn.
    runs: Vec<Run>,
}

/// Runs the program; returns the exit status of the process.
pub(crate) fn run(settings: &Demo) -> i32 {
    let mut program = Program {
        settings,
        seh: Arc::new(Seh::new(settings)),
        cost: None,
        runs: Vec::new(),
    };
    let stop = program.run().err();
    if let Some(Stop {
        reason, message, ..
    }) = &stop
        && ![Reason::OtherFault, Reason::OutOfPages].contains(reason)
    {
        complain(message);
    }
    if settings.summary {
        program.summarize();
    }
    if settings.transcript() == Transcript::InJson
        && let Err(error) = program.print_json(stop.as_ref())
    {
        complain(cannot_print(error));
        return 1;
    }
    if let Err(message) = program.draw(stop.as_ref()) {
        complain(message);
        return 1;
    }
    stop.map_or(0, |stop| stop.status())
}

impl Program<'_> {
    /// `_tmain`.
    fn run(&mut self) -> Result<(), Stop> {
        let seh = Arc::clone(&self.seh);
        seh.print(format_args!("This computer has page size {}.", page_size()))?;

        let is_measured = self.settings.summary || self.settings.json;
        let usage = |read: fn() -> Usage| {
            if is_measured {
                read()
            } else {
                Usage::default()
            }
        };
        let before = usage(Usage::before);
        let start = Instant::now();
        let region = self.reserve()?;
        if let Some(page) = self.settings.other_fault_at {
            os::plant_other_fault(&region, page).map_err(|error| {
                let message = format!("cannot arrange the other fault: {error}");
                Stop::new(Reason::CannotPlantOtherFault, message)
            })?;
        }

        let stored = self.store(&region);
        let elapsed = start.elapsed();
        let held = usage(os::usage);
        if self.settings.is_drawn() {
            self.runs = map::region_runs(&region);
        }
        self.cost = Some(Cost {
            stats: region.stats(),
            before,
            held,
            elapsed,
        });
        if let Err(stop) = stored {
            // The `__except` handler. ExitProcess releases the block; here, dropping the region does.
            if stop.is_for_handler() {
                seh.print("Exiting process.")?;
            }
            return Err(stop);
        }

        // Release the block of pages when you are finished using them.
        let released = self.release(region);
        let how = released.as_ref().map_or("failed", |()| "succeeded");
        seh.print(format_args!("Release {how}."))?;
        released
    }

    fn reserve(&self) -> Result<Region, Stop> {
        let is_refused = self.settings.fail_reserve;
        let _plan = is_refused.then(|| inject::refuse(Call::Reserve, 1));
        let seh = Arc::clone(&self.seh);
        let reserved = Region::builder(self.settings.reserve_bytes())
            .growth(Growth::Pages(self.settings.growth))
            // So that a window of several pages stays within the limit.
            .commit_limit(self.settings.page_limit * page_size())
            .filter(move |fault| seh.answer(fault))
            .name("elbowroom demo")
            .build()
            .map_err(Stop::failed(Reason::ReserveFailed));
        if let Err(stop) = &reserved {
            let code = stop.os_code.unwrap_or(0);
            let told = "Error! VirtualAlloc reserve failed. with error code of";
            self.seh.print(format_args!("{told} {code}."))?;
        }
        reserved
    }

    /// Runs the loop. The touch of each new page is a page fault, which the filter decides.
    fn store(&self, region: &Region) -> Result<(), Stop> {
        let refused = self.settings.fail_commit_at;
        let _plan = refused.map(|nth| inject::refuse(Call::Commit, nth as u64));
        for i in 0..self.settings.page_limit * page_size() {
            let stored = match self.settings.char {
                Char::Narrow => region.try_write(i, b'a'),
                Char::Wide => region.try_write(2 * i, u16::from(b'a')),
            };
            if let Err(error) = stored {
                let declined = lock(&self.seh.stop).take();
                return Err(declined.unwrap_or_else(|| Stop::failed(Reason::StoreFailed)(error)));
            }
        }
        Ok(())
    }

    fn release(&self, region: Region) -> Result<(), Stop> {
        let is_refused = self.settings.fail_release;
        let _plan = is_refused.then(|| inject::refuse(Call::Release, 1));
        region
            .release()
            .map_err(Stop::failed(Reason::ReleaseFailed))
    }

    /// Prints and writes the pictures that the settings ask for, if a region was reserved.
    fn draw(&self, stop: Option<&Stop>) -> Result<(), String> {
        if self.runs.is_empty() {
            return Ok(());
        }
        let page = page_size() as u64;
        if self.settings.picture {
            let columns = output::columns().unwrap_or(output::COLUMNS);
            let text = Picture::fitting(&self.runs, page, columns).draw(paint(), columns);
            line(format_args!("\n{}", text.trim_end())).map_err(cannot_print)?;
        }
        let steps = lock(&self.seh.steps);
        let trace = Trace {
            reserved_bytes: self.runs.last().map_or(0, |run| run.end) - self.runs[0].start,
            page_size_bytes: page,
            committed_bytes: steps.iter().map(|&pages| pages as u64 * page).collect(),
            refusal: stop
                .filter(|stop| stop.is_for_handler())
                .map(Stop::in_short),
            runs: self.runs.clone(),
        };
        write_files([
            (&self.settings.svg, &|| trace.svg()),
            (&self.settings.html, &|| trace.html()),
        ])
    }
}
