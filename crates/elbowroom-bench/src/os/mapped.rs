//! Files that are mapped by the crate memmap2.

#![allow(unsafe_code, reason = "maps files")]

use std::fs::{File, OpenOptions};
use std::path::Path;

use memmap2::{Mmap, MmapMut};

/// The access that the kernel is told to expect (madvise(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    None,
    Sequential,
    Random,
}

/// Maps a file of this program's own for reading. No process changes it while it is mapped.
pub(crate) fn map(path: &Path, advice: Advice) -> Result<Mmap, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    map_file(&file, advice)
}

pub(super) fn map_file(file: &File, advice: Advice) -> Result<Mmap, String> {
    // SAFETY: the bytes may not change while the map lives: only this program's files are mapped, which one process
    // after the other uses, and that process does not write to a file while it has this map of it.
    let map = unsafe { Mmap::map(file) }.map_err(|error| format!("mmap: {error}"))?;
    advise(&map, advice)?;
    Ok(map)
}

/// Maps a file of this program's own for writing. No other code accesses it while it is mapped.
pub(crate) fn map_mut(path: &Path) -> Result<MmapMut, String> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
    // SAFETY: the bytes may not change while the map lives, except through it: only this program's files are mapped,
    // which one process after the other uses, and that process accesses the file through this map alone.
    unsafe { MmapMut::map_mut(&file) }.map_err(|error| format!("mmap: {error}"))
}

#[cfg(unix)]
fn advise(map: &Mmap, advice: Advice) -> Result<(), String> {
    let advised = match advice {
        Advice::None => Ok(()),
        Advice::Sequential => map.advise(memmap2::Advice::Sequential),
        Advice::Random => map.advise(memmap2::Advice::Random),
    };
    advised.map_err(|error| format!("madvise: {error}"))
}

#[cfg(not(unix))]
fn advise(_: &Mmap, advice: Advice) -> Result<(), String> {
    match advice {
        Advice::None => Ok(()),
        Advice::Sequential | Advice::Random => Err("madvise is Unix's".to_owned()),
    }
}
