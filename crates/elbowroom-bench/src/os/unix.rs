//! Clocks and bare memory on Unix.

#![allow(unsafe_code, reason = "system calls")]

use std::io;
use std::ptr;
use std::time::Duration;

use super::Pages;

fn clock(id: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes to `time`.
    let result = unsafe { libc::clock_gettime(id, &raw mut time) };
    (result == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// What this process has used of the processors, in the kernel too.
pub(crate) fn cpu_time() -> Option<Duration> {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// What this thread has.
pub(crate) fn thread_cpu_time() -> Option<Duration> {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn map(len: usize, protection: libc::c_int) -> Result<*mut u8, String> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists (mmap(2)).
    let base = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        Err(format!("mmap: {}", io::Error::last_os_error()))
    } else {
        Ok(base.cast())
    }
}

/// Gives back a part of a mapping of this module's that nobody uses, or nothing of it.
fn unmap(start: *mut u8, len: usize) {
    if len > 0 {
        // SAFETY: only called with what `map` gave, or a part of it, to which nothing refers any more.
        unsafe { libc::munmap(start.cast(), len) };
    }
}

/// The two system calls that a reservation cannot do without.
pub(crate) fn reserve_and_release(len: usize) -> Result<(), String> {
    unmap(map(len, libc::PROT_NONE)?, len);
    Ok(())
}

/// The size of the huge pages that a block is aligned to, whatever size they have here.
const ALIGNMENT: usize = 2 << 20;

/// Memory committed whole.
pub(crate) struct Block {
    // Invariant: a mapping of its own, of `len` bytes.
    base: *mut u8,
    len: usize,
}

impl Block {
    /// Commits `len` bytes, a multiple of the page size; huge pages from a multiple of their size on.
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
        block.advise(len, pages)?;
        Ok(block)
    }

    #[cfg(target_os = "linux")]
    fn advise(&self, len: usize, pages: Pages) -> Result<(), String> {
        let advice: &[libc::c_int] = match pages {
            Pages::Demand => &[libc::MADV_NOHUGEPAGE],
            Pages::HugePopulated => &[libc::MADV_HUGEPAGE, libc::MADV_POPULATE_WRITE],
        };
        for &advice in advice {
            // SAFETY: inside the mapping; neither advice changes what it holds (madvise(2)).
            let result = unsafe { libc::madvise(self.base.cast(), len, advice) };
            let error = io::Error::last_os_error();
            // A kernel without huge pages does not know the advice about them; there is nothing to forgo.
            let is_moot =
                advice == libc::MADV_NOHUGEPAGE && error.raw_os_error() == Some(libc::EINVAL);
            if result != 0 && !is_moot {
                return Err(format!("madvise: {error}"));
            }
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn advise(&self, _: usize, pages: Pages) -> Result<(), String> {
        match pages {
            Pages::Demand => Ok(()),
            Pages::HugePopulated => Err("huge pages on demand are Linux's".to_owned()),
        }
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
