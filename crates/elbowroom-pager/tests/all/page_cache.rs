//! What reads and writes leave in the page cache of Linux.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "asks the system which pages are in memory")]

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use elbowroom::page_size;
use elbowroom_pager::{PagedArray, PagedOptions};

use crate::common::{Random, TempFile, is_emulated};

const LEN: usize = 4 << 20;

fn contents(len: usize) -> Vec<u8> {
    let mut random = Random::new(5);
    (0..len).map(|_| random.number() as u8).collect()
}

/// Returns how many pages of the file are in the page cache.
fn cached_pages(file: &TempFile) -> usize {
    let file = File::open(file).unwrap();
    let len = file.metadata().unwrap().len() as usize;
    let mut states = vec![0; len.div_ceil(page_size())];
    // SAFETY: the call makes a new mapping at an address that the kernel chooses.
    let mapped = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(mapped, libc::MAP_FAILED);
    // SAFETY: the mapping has `len` bytes, and the vector one byte for each of its pages.
    let result = unsafe { libc::mincore(mapped, len, states.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: the mapping was made above, and nothing refers to it.
    unsafe { libc::munmap(mapped, len) };
    states.iter().filter(|&&state| state & 1 != 0).count()
}

/// A file that is on the disk and not in the page cache. `None` on a file system in memory and under an emulator, where
/// no file is.
fn cold_file(name: &str, bytes: &[u8]) -> Option<TempFile> {
    let file = TempFile::with(name, bytes);
    let open = File::open(&file).unwrap();
    open.sync_all().unwrap();
    // SAFETY: an open descriptor; the call touches no memory.
    unsafe { libc::posix_fadvise(open.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    if is_emulated() || cached_pages(&file) > 0 {
        println!("files here are always in memory");
        return None;
    }
    Some(file)
}

fn options() -> PagedOptions<u8> {
    PagedArray::<u8>::options().resident_limit(1 << 20)
}

fn scan(array: &PagedArray<u8>, expected: &[u8]) {
    let mut done = 0;
    for chunk in array.scan(..).unwrap() {
        let chunk = chunk.unwrap();
        assert!(chunk[..] == expected[done..done + chunk.len()]);
        done += chunk.len();
    }
    assert_eq!(done, expected.len());
}

#[test]
fn a_scan_leaves_no_page_in_the_page_cache() {
    // A whole number of blocks, a tail, and starts that are no multiple of anything.
    for (offset, tail) in [(0, 0), (0, 777), (8192, 1), (3, 0), (128, 4099)] {
        let bytes = contents(LEN + tail);
        let Some(file) = cold_file("scan-cache", &bytes) else {
            return;
        };
        let array = options().offset(offset as u64).open(&file).unwrap();
        scan(&array, &bytes[offset..]);
        drop(array);
        // The kernel drops whole pages of the cache, and reads ahead.
        let cached = cached_pages(&file) * page_size();
        assert!(cached <= LEN / 4, "{cached} bytes at {offset} and {tail}");
    }
}

#[test]
fn the_page_cache_is_filled_on_request() {
    let bytes = contents(LEN);
    let Some(file) = cold_file("filled-cache", &bytes) else {
        return;
    };
    scan(&options().page_cache(true).open(&file).unwrap(), &bytes);
    assert_eq!(cached_pages(&file), LEN / page_size());
}

#[test]
fn scattered_reads_leave_nothing_in_the_page_cache() {
    let bytes = contents(LEN);
    let Some(file) = cold_file("scattered-cache", &bytes) else {
        return;
    };
    let array = options().page_size(page_size()).open(&file).unwrap();
    let mut random = Random::new(9);
    let indices: Vec<usize> = (0..500).map(|_| random.below(LEN)).collect();
    let expected: Vec<u8> = indices.iter().map(|&index| bytes[index]).collect();
    assert_eq!(array.gather(&indices).unwrap(), expected);
    for &index in &indices {
        assert_eq!(array.get(index).unwrap(), bytes[index]);
    }
    drop(array);
    assert_eq!(cached_pages(&file), 0);
}

#[test]
fn what_is_in_the_page_cache_stays_there_and_is_read_from_it() {
    let bytes = contents(LEN);
    let Some(file) = cold_file("others-cache", &bytes) else {
        return;
    };
    assert!(fs::read(&file).unwrap() == bytes);
    let cached = cached_pages(&file);
    scan(&options().open(&file).unwrap(), &bytes);
    assert_eq!(cached_pages(&file), cached);
}

#[test]
fn a_flush_leaves_nothing_in_the_page_cache() {
    let Some(file) = cold_file("flush-cache", &contents(LEN)) else {
        return;
    };
    let mut array = options().writable(true).open(&file).unwrap();
    for start in (0..LEN).step_by(256 << 10) {
        array.slice_mut(start..start + (256 << 10)).unwrap().fill(3);
    }
    array.flush().unwrap();
    assert_eq!(cached_pages(&file), 0);
    // What was written is read past the page cache.
    scan(&array, &[3; LEN]);
}

#[test]
fn what_others_have_just_written_is_read() {
    // It is in the page cache and not on the disk, or on the disk and partly in the page cache.
    for round in 0..20_usize {
        let mut bytes = contents(256 << 10);
        let Some(file) = cold_file("dirty-cache", &bytes) else {
            return;
        };
        let start = round * 12_000;
        bytes[start..start + 5000].fill(round as u8);
        let open = File::options().write(true).open(&file).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&open, &bytes[start..start + 5000], start as u64)
            .unwrap();
        scan(&options().open(&file).unwrap(), &bytes);
    }
}

#[test]
fn a_file_system_in_memory_works_as_well() {
    // Kernels before 6.6 have no direct reads there.
    let folder = std::path::Path::new("/dev/shm");
    if !folder.is_dir() {
        return println!("there is none");
    }
    let path = folder.join(format!("elbowroom-pager-{}", std::process::id()));
    let file = TempFile(path);
    let bytes = contents(LEN + 5);
    if let Err(error) = fs::write(&file, &bytes) {
        return println!("{error}");
    }
    scan(&options().open(&file).unwrap(), &bytes);
    let mut array = options().writable(true).open(&file).unwrap();
    array.slice_mut(..300_000).unwrap().fill(1);
    array.flush().unwrap();
    assert!(fs::read(&file).unwrap()[..300_000] == [1; 300_000]);
}
