//! Microsoft's program, "Reserving and Committing Memory", with the library underneath.
//!
//! The original: a block of pages is reserved; a loop stores a character at a time through a plain pointer; on a page
//! fault an exception *filter* commits one more page and the store runs again; if the filter declines, the *handler*
//! ends the process. Here [`Program::run`] is its `_tmain`, and [`Seh::filter`] its `PageFaultExceptionFilter`.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use elbowroom::faulty::{self, Call};
use elbowroom::{Error, Fault, FaultCode, Growth, Region, Stats, Verdict, page_size};
use elbowroom_map::{CELLS_MAX, Picture, Run};
use serde::Serialize;

use crate::args::{Char, Demo, Transcript};
use crate::map;
use crate::meter::{Change, Usage, human_time, known, nanoseconds};
use crate::os;
use crate::output::{Paint, complain, line, note, write_file};
use crate::picture::Trace;
use crate::size::{human, human_change};

/// Why the program did not get to its end.
enum Stop {
    ReserveFailed(Error),
    /// The filter declined a fault that is not a page fault.
    OtherFault(FaultCode),
    /// The filter declined: the limit is reached.
    OutOfPages,
    /// The filter declined: the commit failed.
    CommitFailed(Error),
    /// The store was refused for another reason than the filter.
    StoreFailed(Error),
    ReleaseFailed(Error),
    CannotPlant(io::Error),
    CannotPrint(io::Error),
}

impl From<io::Error> for Stop {
    /// Only printing is done with `?`.
    fn from(error: io::Error) -> Stop {
        Stop::CannotPrint(error)
    }
}

impl Stop {
    /// What the filter declined, and the `__except` handler is there for.
    fn is_for_handler(&self) -> bool {
        matches!(self, Stop::OtherFault(_) | Stop::OutOfPages | Stop::CommitFailed(_) | Stop::StoreFailed(_))
    }

    fn reason(&self) -> &'static str {
        match self {
            Stop::ReserveFailed(_) => "reserve_failed",
            Stop::OtherFault(_) => "other_fault",
            Stop::OutOfPages => "out_of_pages",
            Stop::CommitFailed(_) => "commit_failed",
            Stop::StoreFailed(_) => "store_failed",
            Stop::ReleaseFailed(_) => "release_failed",
            Stop::CannotPlant(_) => "cannot_plant_other_fault",
            Stop::CannotPrint(_) => "cannot_print",
        }
    }

    /// The library's account of it, where there is one.
    fn error(&self) -> Option<&Error> {
        match self {
            Stop::ReserveFailed(error)
            | Stop::CommitFailed(error)
            | Stop::StoreFailed(error)
            | Stop::ReleaseFailed(error) => Some(error),
            _ => None,
        }
    }

    /// What Microsoft's program calls GetLastError: 0 if no system call has failed.
    fn os_code(&self) -> i32 {
        self.error().and_then(Error::os_code).unwrap_or(0)
    }

    /// A few words, without what the library has to say about it.
    fn in_short(&self) -> String {
        match (self, self.os_code()) {
            (Stop::OtherFault(_), _) => "it was no page fault".to_owned(),
            (Stop::OutOfPages, _) => "the pages are used up".to_owned(),
            (_, 0) => "the commit failed".to_owned(),
            (_, code) => format!("the commit failed with error {code}"),
        }
    }

    fn status(&self) -> i32 {
        if self.is_for_handler() {
            // ExitProcess(GetLastError())
            self.os_code()
        } else {
            // Microsoft's program exits with 0 when reserving or releasing fails. That would hide a failure.
            1
        }
    }
}

/// What the transcript leaves out, if anything.
impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::OtherFault(code) => write!(f, "a fault that is not a page fault: {code}"),
            Stop::OutOfPages => f.write_str("the pages are used up"),
            Stop::CannotPlant(error) => write!(f, "cannot arrange the other fault: {error}"),
            Stop::CannotPrint(error) => write!(f, "cannot write to standard output: {error}"),
            Stop::ReserveFailed(error)
            | Stop::CommitFailed(error)
            | Stop::StoreFailed(error)
            | Stop::ReleaseFailed(error) => error.fmt(f),
        }
    }
}

/// What the loop and the filter share. No lock is held while the loop stores: the filter runs in the midst of it.
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
            transcript: settings.transcript,
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
            return Err(Stop::OtherFault(fault.code()));
        }
        self.print("Exception is a page fault.")?;
        // If the reserved pages are used up, exit.
        if self.pages.load(Ordering::Relaxed) >= self.page_limit {
            self.print("Exception: out of pages.")?;
            return Err(Stop::OutOfPages);
        }
        // Otherwise, commit another page.
        let committed = match fault.commit() {
            Ok(committed) => committed,
            Err(error) => {
                self.print("VirtualAlloc failed.")?;
                return Err(Stop::CommitFailed(error));
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

    /// The filter as the library calls it.
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

/// Every change under these locks is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the stores cost, seen while the region was held.
struct Cost {
    stats: Stats,
    before: Usage,
    held: Usage,
    elapsed: Duration,
}

/// The program, and what is known of it when it ends.
struct Program<'a> {
    settings: &'a Demo,
    seh: Arc<Seh>,
    cost: Option<Cost>,
    // The region's pages when the stores had ended; empty if nothing is to be drawn.
    runs: Vec<Run>,
}

/// Runs the program; returns the exit status of the process.
pub(crate) fn run(settings: &Demo) -> i32 {
    let mut program = Program { settings, seh: Arc::new(Seh::new(settings)), cost: None, runs: Vec::new() };
    let stop = program.run().err();
    if let Some(stop) = stop.as_ref().filter(|stop| !matches!(stop, Stop::OtherFault(_) | Stop::OutOfPages)) {
        complain(stop);
    }
    if settings.summary {
        program.summarize();
    }
    if settings.transcript == Transcript::InJson
        && let Err(error) = program.print_json(stop.as_ref())
    {
        let stop = Stop::CannotPrint(error);
        complain(&stop);
        return stop.status();
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

        let before = if self.is_measured() { Usage::before() } else { Usage::default() };
        let start = Instant::now();
        let region = self.reserve()?;
        if let Some(page) = self.settings.other_fault_at {
            os::plant_other_fault(&region, page).map_err(Stop::CannotPlant)?;
        }

        let stored = self.store(&region);
        let elapsed = start.elapsed();
        let held = if self.is_measured() { os::usage() } else { Usage::default() };
        if self.settings.is_drawn() {
            self.runs = map::region_runs(&region);
        }
        self.cost = Some(Cost { stats: region.stats(), before, held, elapsed });
        if let Err(stop) = stored {
            // The `__except` handler. ExitProcess releases the block; here, dropping the region does.
            if stop.is_for_handler() {
                seh.print("Exiting process.")?;
            }
            return Err(stop);
        }

        // Release the block of pages when you are finished using them.
        let released = self.release(region);
        seh.print(format_args!("Release {}.", if released.is_ok() { "succeeded" } else { "failed" }))?;
        released
    }

    fn reserve(&self) -> Result<Region, Stop> {
        let _plan = self.settings.fail_reserve.then(|| faulty::refuse(Call::Reserve, 1));
        let seh = Arc::clone(&self.seh);
        let reserved = Region::builder(self.settings.reserve_bytes)
            .growth(Growth::Pages(self.settings.growth))
            // So that a window of several pages stays within the limit.
            .commit_limit(self.settings.page_limit * page_size())
            .filter(move |fault| seh.answer(fault))
            .name("elbowroom demo")
            .build()
            .map_err(Stop::ReserveFailed);
        if let Err(stop) = &reserved {
            let code = stop.os_code();
            self.seh.print(format_args!("Error! VirtualAlloc reserve failed. with error code of {code}."))?;
        }
        reserved
    }

    /// The loop. The touch of each new page is a page fault, and the filter is asked.
    fn store(&self, region: &Region) -> Result<(), Stop> {
        let _plan = self.settings.fail_commit_at.map(|nth| faulty::refuse(Call::Commit, nth as u64));
        for i in 0..self.settings.page_limit * page_size() {
            let stored = match self.settings.char {
                Char::Narrow => region.try_write(i, b'a'),
                Char::Wide => region.try_write(2 * i, u16::from(b'a')),
            };
            if let Err(error) = stored {
                let declined = lock(&self.seh.stop).take();
                return Err(declined.unwrap_or(Stop::StoreFailed(error)));
            }
        }
        Ok(())
    }

    fn release(&self, region: Region) -> Result<(), Stop> {
        let _plan = self.settings.fail_release.then(|| faulty::refuse(Call::Release, 1));
        region.release().map_err(Stop::ReleaseFailed)
    }

    fn is_measured(&self) -> bool {
        self.settings.summary || self.settings.transcript == Transcript::InJson
    }

    /// The pictures that are wanted, of a region that was reserved.
    fn draw(&self, stop: Option<&Stop>) -> Result<(), String> {
        if self.runs.is_empty() {
            return Ok(());
        }
        let page = page_size() as u64;
        if self.settings.picture {
            let text = Picture::new(&self.runs, page, CELLS_MAX).draw(Paint::for_output().into());
            line(format_args!("\n{}", text.trim_end())).map_err(|error| Stop::CannotPrint(error).to_string())?;
        }
        let trace = Trace {
            reserved_bytes: self.runs.last().map_or(0, |run| run.end) - self.runs[0].start,
            page_size_bytes: page,
            committed_bytes: lock(&self.seh.steps).iter().map(|&pages| pages as u64 * page).collect(),
            refusal: stop.filter(|stop| stop.is_for_handler()).map(Stop::in_short),
            runs: self.runs.clone(),
        };
        for (file, draw) in
            [(&self.settings.svg, Trace::svg as fn(&Trace) -> String), (&self.settings.html, Trace::html)]
        {
            if let Some(file) = file {
                write_file(file, &draw(&trace))?;
            }
        }
        Ok(())
    }

    fn summarize(&self) {
        let Some(Cost { stats, before, held, elapsed }) = &self.cost else {
            note("reserved         nothing");
            return;
        };
        let page = page_size();
        let size = |bytes: usize| human(bytes as u64);
        let change = held.since(before);
        let pages = stats.committed_bytes / page;
        note(format_args!("reserved         {}", size(stats.reserved_bytes)));
        note(format_args!("committed        {}: {pages} pages of {}", size(stats.committed_bytes), size(page)));
        note(format_args!(
            "commit charge    system {} before, {} after ({}); this process {}",
            known(before.system_commit_bytes, human),
            known(held.system_commit_bytes, human),
            known(change.system_commit_growth_bytes, human_change),
            known(change.process_commit_growth_bytes, human_change),
        ));
        note(format_args!("resident         {}", known(change.resident_growth_bytes, human_change)));
        note(format_args!("faults           {}, {} declined", stats.faults, stats.declined));
        note(format_args!("time             {}", human_time(*elapsed)));
    }

    fn print_json(&self, stop: Option<&Stop>) -> io::Result<()> {
        let lines = lock(&self.seh.lines);
        let report = Report {
            page_size_bytes: page_size(),
            transcript: &lines,
            cost: self.cost.as_ref().map(CostReport::new),
            exit: ExitReport {
                reason: stop.map_or("released", Stop::reason),
                status: stop.map_or(0, Stop::status),
                os_code: stop.and_then(Stop::error).and_then(Error::os_code),
                message: stop.map(Stop::to_string),
            },
        };
        line(serde_json::to_string(&report)?)
    }
}

/// The JSON object. `cost` is null if nothing was reserved.
#[derive(Serialize)]
struct Report<'a> {
    page_size_bytes: usize,
    transcript: &'a [String],
    cost: Option<CostReport>,
    exit: ExitReport,
}

#[derive(Serialize)]
struct CostReport {
    reserved_bytes: usize,
    committed_bytes: usize,
    faults: u64,
    commits: u64,
    declined: u64,
    system_commit_before_bytes: Option<u64>,
    system_commit_after_bytes: Option<u64>,
    #[serde(flatten)]
    change: Change,
    elapsed_ns: u64,
}

impl CostReport {
    fn new(cost: &Cost) -> CostReport {
        let Cost { stats, before, held, elapsed } = cost;
        CostReport {
            reserved_bytes: stats.reserved_bytes,
            committed_bytes: stats.committed_bytes,
            faults: stats.faults,
            commits: stats.commits,
            declined: stats.declined,
            system_commit_before_bytes: before.system_commit_bytes,
            system_commit_after_bytes: held.system_commit_bytes,
            change: held.since(before),
            elapsed_ns: nanoseconds(*elapsed),
        }
    }
}

#[derive(Serialize)]
struct ExitReport {
    reason: &'static str,
    status: i32,
    os_code: Option<i32>,
    message: Option<String>,
}
