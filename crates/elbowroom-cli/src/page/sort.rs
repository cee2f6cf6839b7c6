//! `elbowroom page sort`.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use elbowroom_pager::{NpyType, PagedArray, Sort};
use serde::Serialize;

use super::number::Number;
use super::open::{Opened, options, told};
use super::replace::{Beside, Ending};
use super::report::{Cost, Percent};
use crate::args::{Limits, PageSort};
use crate::os;
use crate::output::{json, print};
use crate::size::Size;

/// The bytes that are copied between two checks for signals.
const PIECE_BYTES: u64 = 64 << 20;

#[derive(Serialize)]
struct Report<'a> {
    location: &'a str,
    elements: usize,
    bytes: usize,
    cost: Cost,
}

pub(super) fn run(settings: &PageSort) -> Result<i32, String> {
    // Before the file is opened: a change afterwards shows at the end.
    let original = Original::look(settings)?;
    let opened = Opened::new(&settings.source)?;
    with_type!(opened.dtype()?, T => sort::<T>(settings, &original, opened))
}

/// The file to sort, as it was at the beginning.
struct Original {
    path: PathBuf,
    metadata: Metadata,
}

impl Original {
    fn look(settings: &PageSort) -> Result<Original, String> {
        let location = &settings.source.location;
        let text = location.to_string_lossy();
        if text.contains("://") {
            return Err(format!(
                "cannot sort {text}: only a file with a path is sorted; copy an object to one"
            ));
        }
        let cannot = |error: io::Error| format!("cannot sort {text}: {error}");
        // Of a link, the file that it leads to is replaced.
        let path = fs::canonicalize(location).map_err(cannot)?;
        let metadata = fs::metadata(&path).map_err(cannot)?;
        if !metadata.is_file() {
            return Err(format!("cannot sort {text}: it is not a regular file"));
        }
        // A file that may not be written is not replaced either.
        OpenOptions::new().write(true).open(&path).map_err(cannot)?;
        Ok(Original { path, metadata })
    }

    /// Fails if the file is another one now, or has changed.
    fn check(&self) -> Result<(), String> {
        let state = |metadata: &Metadata| -> (u64, Option<SystemTime>, Option<SystemTime>) {
            (
                metadata.len(),
                metadata.modified().ok(),
                metadata.created().ok(),
            )
        };
        let now = fs::metadata(&self.path);
        if now.is_ok_and(|now| state(&now) == state(&self.metadata)) {
            return Ok(());
        }
        Err(format!(
            "{} was changed by another program while it was sorted; it is left as it is now",
            self.path.display()
        ))
    }

    /// Returns a copy beside it of all but the elements, whose bytes are holes.
    fn frame(&self, start: u64, end: u64, ending: &Ending) -> Result<Beside, String> {
        let beside = Beside::new(&self.path, "sorted")?;
        let copy = |from: u64, to: u64| {
            let (mut original, mut file) = (File::open(&self.path)?, &beside.file);
            original.seek(SeekFrom::Start(from))?;
            file.seek(SeekFrom::Start(from))?;
            let mut left = to.saturating_sub(from);
            while left > 0 && ending.check().is_ok() {
                let copied = io::copy(&mut (&original).take(left.min(PIECE_BYTES)), &mut file)?;
                if copied == 0 {
                    // It is shorter now, which the check at the end finds as well.
                    return Ok(());
                }
                left -= copied;
            }
            Ok(())
        };
        let fill = || -> io::Result<()> {
            beside.file.set_len(self.metadata.len())?;
            os::give_owner(&beside.file, &self.metadata);
            beside.file.set_permissions(self.metadata.permissions())?;
            copy(0, start)?;
            copy(end, self.metadata.len())
        };
        if let Err(error) = fill() {
            // The original may be gone.
            self.check()?;
            return Err(beside.cannot_write(error));
        }
        ending.check()?;
        Ok(beside)
    }
}

fn sort<T: Number>(
    settings: &PageSort,
    original: &Original,
    opened: Opened<'_>,
) -> Result<i32, String> {
    let limits = &settings.source.limits;
    let (page_bytes, memory_bytes) = shares(limits)?;
    let offset = opened.offset();
    let pages = options::<T>(limits).resident_limit(page_bytes);
    let source = opened.array_with(pages.clone())?;
    let bytes = source.len() * size_of::<T>();
    let threads = limits.threads.or(thread::available_parallelism().ok());
    let sort = Sort::new(memory_bytes).threads(threads.map_or(1, NonZero::get));
    let scratch_len = sort.scratch_len::<T>(source.len());
    let needed = original.metadata.len() + (scratch_len * size_of::<T>()) as u64;
    has_room(&original.path, needed)?;

    let ending = Ending::new()?;
    let beside = original.frame(offset, offset + bytes as u64, &ending)?;
    let new = pages.writable(true).threads(0);
    let target = new.clone().offset(offset).len(source.len());
    let mut target = target.open(&beside.path).map_err(told)?;
    let mut scratch = scratch(&original.path, new, scratch_len)?;
    let mut percent: Option<Percent> = None;
    let mut shown = 0;
    let sort = sort.observe(|done, all| {
        let percent = percent.get_or_insert_with(|| Percent::new("sorting", all));
        percent.add(done - shown);
        shown = done;
        ending.check().is_ok()
    });
    let sorted = sort.run(&source, &mut target, &mut scratch, |a, b| a.order(*b));
    drop(percent);
    ending.check()?;
    sorted.map_err(told)?;

    let report = Report {
        location: source.location(),
        elements: source.len(),
        bytes,
        cost: Cost::of(&source),
    };
    let text = limits.json.then(|| json(&report));
    // An open file is not replaced everywhere.
    drop((source, target, scratch));
    beside.make_durable()?;
    ending.check()?;
    original.check()?;
    beside.take_place(&original.path, true)?;
    text.map_or(Ok(0), print)
}

/// Splits the limit: an eighth for pages of the original, and the rest for sorting.
fn shares(limits: &Limits) -> Result<(usize, usize), String> {
    let page = limits.page_bytes.unwrap_or(0).max(elbowroom::page_size());
    let limit = limits.resident_bytes;
    let pages = (limit / 8).max(page);
    if pages > limit / 2 {
        return Err(format!(
            "a sort takes at least two pages; make --resident at least {}",
            Size(page as u64 * 2)
        ));
    }
    Ok((pages, limit - pages))
}

/// Returns an array over a new file without a name, in the folder of the original.
fn scratch<T: NpyType>(
    original: &Path,
    options: elbowroom_pager::PagedOptions<T>,
    len: usize,
) -> Result<PagedArray<T>, String> {
    let beside = Beside::new(original, "scratch")?;
    let made = beside.file.set_len((len * size_of::<T>()) as u64);
    made.map_err(|error| beside.cannot_write(error))?;
    // The name goes when this returns, and the file when the array is dropped, whatever ends the program.
    options.open(&beside.path).map_err(told)
}

/// Fails if the disk has no room for `needed` bytes beside the file.
fn has_room(path: &Path, needed: u64) -> Result<(), String> {
    let free = path.parent().and_then(os::free_bytes);
    match free {
        Some(free) if free < needed => Err(format!(
            "cannot sort {}: it takes {} beside it for a while, and the disk has {} free",
            path.display(),
            Size(needed),
            Size(free)
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_original_that_is_gone_was_changed() {
        let path = std::env::temp_dir().join(format!("elbowroom-gone-{}", std::process::id()));
        fs::write(&path, "abc").unwrap();
        let metadata = fs::metadata(&path).unwrap();
        let original = Original { path, metadata };
        fs::remove_file(&original.path).unwrap();
        let refused = original.frame(1, 2, &Ending::new().unwrap()).err().unwrap();
        assert!(refused.contains("changed by another program"), "{refused}");
    }
}
