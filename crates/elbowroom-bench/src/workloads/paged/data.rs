//! The numbers of the files, and where the files are.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;

/// A folder for the files of one run. It is made when a file is, and removed when this is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The variable with the folder for files: for the program, one in which it makes its own; for a child process, the
    /// program's.
    pub(crate) const VARIABLE: &str = "ELBOWROOM_BENCH_DATA_DIR";

    pub(crate) fn new() -> Folder {
        Folder(place().join(format!("elbowroom-bench-{}", process::id())))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It exists only if a file was made.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the folder that was asked for; otherwise that of the program, which is on a disk unlike many for temporary
/// files.
pub(super) fn place() -> PathBuf {
    let beside = || Some(env::current_exe().ok()?.parent()?.to_owned());
    let asked = env::var_os(Folder::VARIABLE).map(PathBuf::from);
    asked.or_else(beside).unwrap_or_else(env::temp_dir)
}

/// Returns the number at an index: the output of SplitMix64.
pub(super) fn number(index: u64) -> u64 {
    let mut bits = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Returns the first numbers that there are.
pub(super) fn numbers(bytes: usize) -> impl Iterator<Item = u64> {
    (0..(bytes / 8) as u64).map(number)
}

/// Returns the sum of numbers, without a check for overflow.
#[inline(never)]
pub(super) fn sum(numbers: &[u64]) -> u64 {
    numbers
        .iter()
        .fold(0, |sum, &number| sum.wrapping_add(number))
}

/// Returns a file with the first numbers. Writes it unless it exists.
pub(super) fn file(bytes: usize) -> Result<PathBuf, String> {
    let folder = place();
    let path = folder.join(format!("numbers-{bytes}"));
    let fault = |error: io::Error| format!("{}: {error}", path.display());
    if path.exists() {
        return Ok(path);
    }
    // The name is that of a complete file.
    let part = path.with_extension("part");
    let write = || {
        fs::create_dir_all(&folder)?;
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&part)?);
        for number in numbers(bytes) {
            file.write_all(&number.to_ne_bytes())?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(&part, &path)
    };
    write().map_err(fault)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_that_of_all_numbers() {
        let all: Vec<u64> = numbers(8 * 1000).collect();
        assert_eq!(all.len(), 1000);
        assert_eq!(sum(&all), numbers(8000).fold(0, u64::wrapping_add));
        assert!(!all.is_sorted() && all[999] == number(999));
    }
}
