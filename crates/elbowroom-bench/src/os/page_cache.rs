//! The page cache of Linux.

#![allow(unsafe_code, reason = "system calls")]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use super::mapped::{Advice, map_file};

/// The number of requests to the kernel. A request leaves out pages that another processor is handling.
const TRIES: usize = 5;

/// Makes a file durable and takes it out of the page cache. Returns the share that stays cached.
pub(crate) fn evict(file: &File) -> Result<f64, String> {
    file.sync_all().map_err(|error| format!("fsync: {error}"))?;
    let mut cached = 1.0;
    for _ in 0..TRIES {
        // SAFETY: no preconditions; the length 0 means the whole file (posix_fadvise(2)).
        match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
            0 => {}
            code => {
                let error = io::Error::from_raw_os_error(code);
                return Err(format!("posix_fadvise: {error}"));
            }
        }
        cached = cached_share(file)?;
        if cached == 0.0 {
            break;
        }
    }
    Ok(cached)
}

/// Returns the share of a file that is in the page cache.
fn cached_share(file: &File) -> Result<f64, String> {
    let map = map_file(file, Advice::None)?;
    if map.is_empty() {
        return Ok(0.0);
    }
    let mut pages = vec![0_u8; map.len().div_ceil(elbowroom::page_size())];
    // SAFETY: the range is one live mapping, which starts at a page; the vector has a byte for each page of it
    // (mincore(2)).
    let result = unsafe {
        libc::mincore(
            map.as_ptr().cast_mut().cast(),
            map.len(),
            pages.as_mut_ptr().cast(),
        )
    };
    if result != 0 {
        return Err(format!("mincore: {}", io::Error::last_os_error()));
    }
    let cached = pages.iter().filter(|&&page| page & 1 == 1).count();
    Ok(cached as f64 / pages.len() as f64)
}

/// Returns whether the file system of a file is in memory.
pub(crate) fn is_in_memory(file: &File) -> bool {
    let mut system = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the place is live and has the size of the structure that fstatfs(2) fills.
    if unsafe { libc::fstatfs(file.as_raw_fd(), system.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call has filled the structure, since it returned 0.
    let system = unsafe { system.assume_init() };
    // The types differ between C libraries.
    i128::from(system.f_type) == i128::from(libc::TMPFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_cold_after_it() {
        if elbowroom_testing::is_emulated() {
            // mincore(2) of an emulator answers for the pages of the host, which may be smaller and so more.
            return;
        }
        // On a disk unlike many folders for temporary files.
        let folder = std::env::current_exe().unwrap();
        let path = folder.with_file_name(format!("elbowroom-cold-{}", std::process::id()));
        fs::write(&path, vec![7; 1 << 20]).unwrap();
        let file = File::open(&path).unwrap();
        fs::read(&path).unwrap();
        assert!(cached_share(&file).unwrap() > 0.9);
        if is_in_memory(&file) {
            println!("skipped: {} is in memory", path.display());
        } else {
            assert!(evict(&file).unwrap() < 0.1);
        }
        fs::remove_file(&path).unwrap();
    }
}
