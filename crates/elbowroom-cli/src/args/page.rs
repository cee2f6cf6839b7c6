//! The command line of `elbowroom page`.

use std::ffi::OsString;
use std::num::NonZero;
use std::ops::Range;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::size;

/// Work on files of numbers that are larger than the memory you may use
///
/// A file is read in pages, of which no more than --resident are in memory. It is raw, with elements of --dtype in
/// the byte order of this machine, or a .npy file of NumPy, which says itself what its elements are. A failure of the
/// disk, a file that is cut off and a file that another program changes are errors, and the exit status is 1.
#[derive(Args)]
#[command(after_help = examples!("
  elbowroom page info samples.npy
  elbowroom page sum samples.f64 --dtype f64 --resident 16MiB
  elbowroom page cat samples.npy --range 1000..1010
  elbowroom page gather samples.npy 5 1000000 7
  elbowroom page sort samples.npy --resident 1GiB
  elbowroom page copy samples.npy backup.npy"))]
pub(crate) struct Page {
    #[command(subcommand)]
    pub(crate) command: PageCommand,
}

#[derive(Subcommand)]
pub(crate) enum PageCommand {
    /// Show what a file holds, without reading its elements
    #[command(after_help = examples!(sizes: "
  elbowroom page info samples.npy
  elbowroom page info records.bin --dtype u32 --offset 512 --json"))]
    Info(Source),

    /// Print the sum of all elements
    ///
    /// The sum of integers is exact. Floating-point numbers are added as f64, with compensation (Neumaier).
    #[command(after_help = examples!(sizes: "
  elbowroom page sum samples.npy
  elbowroom page sum samples.f64 --dtype f64 --resident 16MiB --json"))]
    Sum(Source),

    /// Print the smallest element
    ///
    /// If an element is NaN, the result is NaN. --json also prints the index of the first such element.
    #[command(after_help = examples!(sizes: "
  elbowroom page min samples.npy
  elbowroom page min samples.f64 --dtype f64 --json | jq .index"))]
    Min(Source),

    /// Print the largest element
    ///
    /// If an element is NaN, the result is NaN. --json also prints the index of the first such element.
    #[command(after_help = examples!(sizes: "
  elbowroom page max samples.npy
  elbowroom page max samples.f64 --dtype f64 --json | jq .index"))]
    Max(Source),

    Cat(PageCat),
    Gather(PageGather),
    Sort(PageSort),
    Copy(PageCopy),
}

/// The type of the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

impl Dtype {
    /// Returns the name on the command line.
    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// The location, and what it holds.
#[derive(Args)]
pub(crate) struct Source {
    /// Path or URL of the file. A .npy file is known by the end of its name
    #[arg(value_name = "LOCATION")]
    pub(crate) location: OsString,

    /// Type of the elements [default: of a .npy file, what its header says]
    #[arg(long, value_enum)]
    pub(crate) dtype: Option<Dtype>,

    /// Number of bytes before the first element [default: 0, or the header of a .npy file]
    #[arg(long, value_name = "SIZE", value_parser = offset)]
    pub(crate) offset: Option<usize>,

    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// Options for the memory to use and the form of the result.
#[derive(Args)]
pub(crate) struct Limits {
    /// Most memory that holds parts of the file at one time
    #[arg(long = "resident", value_name = "SIZE", default_value = "64MiB", value_parser = size::parse)]
    pub(crate) resident_bytes: usize,

    /// Size of a page, a power of two [default: 64KiB, or what suits --resident]
    ///
    /// The unit of reading. Smaller pages read less for scattered elements.
    #[arg(long = "page", value_name = "SIZE", value_parser = size::parse)]
    pub(crate) page_bytes: Option<usize>,

    /// Number of threads that read ahead, or that sort [default: 16; to sort, one for each processor]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZero<usize>>,

    /// Print one JSON object. NaN and infinities are strings in it
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print elements in order, one a line
#[derive(Args)]
#[command(after_help = examples!(sizes: "
  elbowroom page cat samples.npy --range ..10            the first 10
  elbowroom page cat samples.i32 --dtype i32 | sort -n | tail -1"))]
pub(crate) struct PageCat {
    #[command(flatten)]
    pub(crate) source: Source,

    /// Indices of the elements to print; either end may be left out [default: all]
    #[arg(long, value_name = "START..END", value_parser = range)]
    pub(crate) range: Option<Indices>,
}

/// Print the elements at these indices, one a line, in this order
///
/// Pages are read once for many indices, adjacent pages at once. Without an index, indices are read from standard
/// input, separated by spaces or lines.
#[derive(Args)]
#[command(after_help = examples!(sizes: "
  elbowroom page gather samples.npy 5 1000000 7
  elbowroom page gather samples.f64 --dtype f64 --page 4KiB < indices.txt"))]
pub(crate) struct PageGather {
    #[command(flatten)]
    pub(crate) source: Source,

    /// Indices of elements, counted from 0
    #[arg(value_name = "INDEX")]
    pub(crate) indices: Vec<usize>,
}

/// Sort a file of any size in place, from the smallest element to the largest
///
/// The elements are sorted in new files beside the original, whose place the sorted file takes when it is complete.
/// So the file is the original or the sorted one at any time, also after a crash. The disk must have room for two
/// more of it. The sorted file is not put in place if another program changes the original meanwhile. Bytes before
/// and after the elements stay as they are; an array of several axes is sorted as one row, in the order of the file.
///
/// Floating-point numbers: -0 is before 0, and NaN is last, or first if its sign is negative.
///
/// Ctrl-C leaves nothing behind. After a kill or a crash, a hidden file beside the original may be left, whose name
/// ends in .sorted-PID and which can be removed.
#[derive(Args)]
#[command(after_help = examples!(sizes: "
  elbowroom page sort samples.npy
  elbowroom page sort samples.f64 --dtype f64 --resident 1GiB --threads 4 --json"))]
pub(crate) struct PageSort {
    #[command(flatten)]
    pub(crate) source: Source,
}

/// Copy the bytes of a file to a new file
///
/// The copy is written beside the target under another name, and takes its name at the end. So a target that exists
/// is whole. A .npy file is copied with its header; with --offset, a raw part of any file is copied.
#[derive(Args)]
#[command(after_help = examples!(sizes: "
  elbowroom page copy samples.npy backup.npy
  elbowroom page copy records.bin body.bin --offset 512 --force"))]
pub(crate) struct PageCopy {
    /// Path or URL of the file to copy
    #[arg(value_name = "LOCATION")]
    pub(crate) location: OsString,

    /// Path of the copy
    #[arg(value_name = "TARGET")]
    pub(crate) target: PathBuf,

    /// Number of bytes to leave out from the start
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = offset)]
    pub(crate) offset: usize,

    /// Replace the target if it exists
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// A range of indices; without an end it goes to the last element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Indices {
    start: usize,
    end: Option<usize>,
}

impl Indices {
    /// Returns the indices in an array of `len` elements.
    pub(crate) fn of(&self, len: usize) -> Range<usize> {
        self.start..self.end.unwrap_or(len)
    }
}

/// Reads a size that may be zero.
fn offset(text: &str) -> Result<usize, String> {
    match text {
        "0" => Ok(0),
        text => size::parse(text),
    }
}

fn range(text: &str) -> Result<Indices, String> {
    let form = "a range is START..END, such as 100..200, 100.. or ..200";
    let (start, end) = text.split_once("..").ok_or(form)?;
    let index = |text: &str| text.parse::<usize>().map_err(|_| form.to_owned());
    let start = if start.is_empty() { 0 } else { index(start)? };
    let end = (!end.is_empty()).then(|| index(end)).transpose()?;
    if end.is_some_and(|end| end < start) {
        return Err("the range ends before it starts".to_owned());
    }
    Ok(Indices { start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_offsets() {
        assert_eq!(range("3..9").unwrap().of(5), 3..9);
        assert_eq!(range("3..").unwrap().of(5), 3..5);
        assert_eq!(range("..").unwrap().of(5), 0..5);
        for text in ["", "3", "9..3", "-1..2", "a..", "1...2"] {
            assert!(range(text).is_err(), "{text}");
        }
        assert_eq!((offset("0"), offset("4K")), (Ok(0), Ok(4096)));
        assert!(offset("-1").is_err());
    }
}
