//! Bare memory on Unix.

#![allow(unsafe_code, reason = "system calls")]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::time::Duration;

use elbowroom_measure::{Pages, prefault};

fn map(len: usize, protection: libc::c_int) -> Result<*mut u8, String> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
    // SAFETY: a new mapping at an address that the kernel chooses replaces no existing memory (mmap(2)).
    let base = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        Err(format!("mmap: {}", io::Error::last_os_error()))
    } else {
        Ok(base.cast())
    }
}

/// Unmaps an unused part of a mapping that this module made. The part may be empty.
fn unmap(start: *mut u8, len: usize) {
    if len > 0 {
        // SAFETY: every caller passes a mapping that `map` made, or a part of one, and no pointer to it is used any
        // more.
        unsafe { libc::munmap(start.cast(), len) };
    }
}

/// Makes the two system calls that every reservation needs.
pub(crate) fn reserve_and_release(len: usize) -> Result<(), String> {
    unmap(map(len, libc::PROT_NONE)?, len);
    Ok(())
}

/// Fills the buffer with the bytes from `offset` on.
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> Result<(), String> {
    let read = file.read_exact_at(buffer, offset);
    read.map_err(|error| error.to_string())
}

/// Returns the processor time of the child processes that have ended and were waited for.
pub(crate) fn children_cpu_time() -> Option<Duration> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the place is live and has the size of the structure that getrusage(2) fills.
    let result = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: the call has filled the structure, since it returned 0.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| {
        let seconds = Duration::from_secs(time.tv_sec.try_into().ok()?);
        Some(seconds + Duration::from_micros(time.tv_usec.try_into().ok()?))
    };
    Some(time(usage.ru_utime)? + time(usage.ru_stime)?)
}

/// The alignment of a block for huge pages, whose size may differ on this machine.
const ALIGNMENT: usize = 2 << 20;

/// Memory that is committed as a whole.
pub(crate) struct Block {
    // Invariant: the start of a mapping of `len` bytes that only this value owns.
    base: *mut u8,
    len: usize,
}

impl Block {
    /// Commits `len` bytes, a multiple of the page size. Huge pages start at a multiple of their size.
    pub(crate) fn new(len: usize, pages: Pages) -> Result<Block, String> {
        let surplus = if pages == Pages::HugePopulated {
            ALIGNMENT
        } else {
            0
        };
        let mapping = map(len + surplus, libc::PROT_READ | libc::PROT_WRITE)?;
        let before = if surplus == 0 {
            0
        } else {
            mapping.align_offset(ALIGNMENT)
        };
        let base = mapping.wrapping_add(before);
        unmap(mapping, before);
        unmap(base.wrapping_add(len), surplus - before);
        let block = Block { base, len };
        // SAFETY: `base..base + len` are whole pages (contract of `new`) of the mapping just made, which is readable
        // and writable, and to which no other code has a pointer.
        unsafe { prefault(base, len, pages) }?;
        Ok(block)
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        unmap(self.base, self.len);
    }
}
