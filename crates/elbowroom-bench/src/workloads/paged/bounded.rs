//! Samples within a limit on memory, of files that are not cached.

use std::env;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use elbowroom_measure::{nanoseconds, timed};
use elbowroom_pager::PagedArray;
use elbowroom_testing::ControlGroup;

use super::data;
use crate::os;
use crate::plan::{Contender, Scale};
use crate::sample::{Extra, Sample, Traffic};

/// The memory of a process besides the limit: its program, the stacks of its threads, tables, and the interpreter of a
/// contender.
pub(super) const ROOM: usize = 32 << 20;

/// The largest share of a file that may be cached when a sample begins.
const CACHED_SHARE_MAX: f64 = 0.01;

/// The variable with the limit on memory in MiB.
const LIMIT_VARIABLE: &str = "ELBOWROOM_BENCH_LIMIT_MIB";

/// Returns the limit on memory that was asked for.
pub(crate) fn limit() -> Result<Option<usize>, String> {
    let Ok(text) = env::var(LIMIT_VARIABLE) else {
        return Ok(None);
    };
    let mebibytes = text.parse::<usize>().ok().filter(|&number| number > 0);
    // The data is eight times as large.
    let bytes = mebibytes.and_then(|number| number.checked_mul(8 << 20));
    match bytes {
        Some(bytes) => Ok(Some(bytes / 8)),
        None => Err(format!(
            "{LIMIT_VARIABLE} is \"{text}\"; it takes a number of MiB"
        )),
    }
}

/// The limit on memory, and the size of the data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) limit: usize,
    pub(super) data: usize,
}

impl Bounds {
    /// Returns the limit that was asked for, or else this one, and data that is eight times as large.
    pub(super) fn new(scale: Scale, default: usize) -> Bounds {
        // `main` has refused what is no number.
        let asked = limit().ok().flatten();
        let limit = scale.of(asked.unwrap_or(default), 1 << 20);
        Bounds {
            limit,
            data: 8 * limit,
        }
    }
}

/// The result of the work of a contender.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The sum of the numbers that it read.
    pub(super) sum: u64,
    pub(super) traffic: Option<Traffic>,
    pub(super) note: Option<String>,
}

impl Done {
    pub(super) fn sum(sum: u64) -> Done {
        Done {
            sum,
            ..Done::default()
        }
    }

    /// Returns the result of an array of which `bytes_asked` bytes were needed.
    pub(super) fn of_array(sum: u64, array: &PagedArray<u64>, bytes_asked: usize) -> Done {
        let stats = array.stats();
        let traffic = Traffic {
            requests: stats.reads,
            bytes_asked: bytes_asked as u64,
            bytes_moved: stats.bytes_read,
        };
        Done {
            sum,
            traffic: Some(traffic),
            note: None,
        }
    }
}

/// Work on a file, or its check.
pub(super) type Work<R> = Rc<dyn Fn(&Path) -> Result<R, String>>;

/// Returns a contender that reads the file of numbers. `check` tells before the measurement if it is impossible here;
/// `expected` returns the sum that the work has to find.
pub(super) fn reader(
    name: impl Into<String>,
    bounds: Bounds,
    expected: impl Fn() -> u64 + 'static,
    check: impl Fn(&Path) -> Result<(), String> + 'static,
    work: impl Fn(&Path) -> Result<Done, String> + 'static,
) -> Contender {
    let work: Work<Done> = Rc::new(work);
    Contender::new(name, move || {
        let file = data::file(bounds.data)?;
        check(&file)?;
        let expected = expected();
        let work = Rc::clone(&work);
        Ok(Box::new(move || {
            let (sample, sum) = within(bounds.limit, &[&file], || work(&file));
            assert_eq!(sum, expected, "the sum of the numbers that were read");
            sample
        }))
    })
}

/// Returns that a contender needs no check.
pub(super) fn always(_: &Path) -> Result<(), String> {
    Ok(())
}

/// Times work within a limit on memory. First takes files out of the page cache. Returns the sum as well.
pub(super) fn within(
    limit: usize,
    files: &[&Path],
    work: impl FnOnce() -> Result<Done, String>,
) -> (Sample, u64) {
    let mut notes: Vec<String> = files.iter().filter_map(|path| cool(path)).collect();
    let name = data::place();
    // The name of the run.
    let name = name
        .file_name()
        .map_or("elbowroom-bench".into(), |name| name.to_string_lossy());
    let group = ControlGroup::enter(&name, limit + ROOM);
    let children = os::children_cpu_time();
    let (done, mut times) = timed(work);
    if let (Some(cpu_ns), Some(before), Some(after)) =
        (&mut times.cpu_ns, children, os::children_cpu_time())
    {
        *cpu_ns += nanoseconds(after.saturating_sub(before));
    }
    if let Err(why) = group {
        notes.push(format!(
            "There was no control group ({why}): contenders could use all memory of the machine as page cache."
        ));
    }
    let done = done.unwrap_or_else(|why| panic!("{why}"));
    notes.extend(done.note);
    let extra = Extra {
        traffic: done.traffic,
        notes,
        ..Extra::default()
    };
    (Sample { times, extra }, done.sum)
}

/// Takes a file out of the page cache. Returns why it is not cold.
fn cool(path: &Path) -> Option<String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return Some(format!("{}: {error}.", path.display())),
    };
    if os::is_in_memory(&file) {
        return Some(
            "The files were in a file system in memory: set ELBOWROOM_BENCH_DATA_DIR to a folder on a disk.".to_owned(),
        );
    }
    match os::evict(&file) {
        Ok(share) if share <= CACHED_SHARE_MAX => None,
        Ok(_) => Some("Files were partly in the page cache when samples began.".to_owned()),
        Err(why) => Some(format!(
            "Files were in the page cache when samples began: {why}."
        )),
    }
}
