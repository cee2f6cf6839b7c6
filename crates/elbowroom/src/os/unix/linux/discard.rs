//! Gives memory back without a change of mappings: madvise(2).

use std::fs;
use std::ptr;
use std::sync::OnceLock;

use super::super::errno::last_error;
use super::super::size::page_size;
use crate::os::pages::Pages;
use crate::plain::OsCode;

/// Returns whether pages may be accessible without memory, at no charge.
pub(crate) fn may_keep_access(pages: Pages<'_>) -> bool {
    // Modes 0 and 1 do not add up what is accessible; mode 2 does (proc_sys_vm(5)).
    let mode = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap_or_default();
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // RLIMIT_DATA counts private writable mappings (getrlimit(2), since Linux 4.7).
    // SAFETY: `limit` is live and writable (getrlimit(2)).
    let is_known = unsafe { libc::getrlimit(libc::RLIMIT_DATA, &mut limit) } == 0;
    let is_unlimited = is_known && limit.rlim_cur == libc::RLIM_INFINITY;
    // Locked memory, which is populated as soon as it is accessible, refuses the advice (madvise(2), EINVAL).
    // SAFETY: no reference points into the pages: nothing has their address yet (contract in `os/mod.rs`).
    let may_discard = || unsafe { discard(pages) }.is_ok();
    matches!(mode.trim(), "0" | "1") && is_unlimited && may_discard() && discards()
}

/// Returns whether the kernel does as advised. Emulators accept the advice and may do nothing, so one page is tried.
fn discards() -> bool {
    static DISCARDS: OnceLock<bool> = OnceLock::new();
    *DISCARDS.get_or_init(|| {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANON;
        let len = page_size();
        // SAFETY: mmap(2) without MAP_FIXED makes a new mapping and leaves every existing one alone.
        let page = unsafe { libc::mmap(ptr::null_mut(), len, access, kind, -1, 0) };
        if page == libc::MAP_FAILED {
            return false;
        }
        let byte = page.cast::<u8>();
        // SAFETY: the first byte of a mapping that was made above, readable and writable, and that nothing else uses.
        unsafe { byte.write_volatile(1) };
        // SAFETY: the mapping that was made above, to whose contents no reference points (madvise(2)).
        let is_accepted = unsafe { libc::madvise(page, len, libc::MADV_DONTNEED) } == 0;
        // SAFETY: the first byte of a mapping that was made above, readable and writable, and that nothing else uses.
        let is_zero = unsafe { byte.read_volatile() } == 0;
        // SAFETY: the mapping that was made above, which nothing uses any more (munmap(2)).
        unsafe { libc::munmap(page, len) };
        is_accepted && is_zero
    })
}

/// Calls madvise(2) with MADV_NOHUGEPAGE.
pub(crate) fn refuse_huge(pages: Pages<'_>) {
    // SAFETY: whole pages of a live reservation (`Pages`); their contents and access do not change (madvise(2)). The
    // call fails on a kernel without huge pages, where it has nothing to do.
    unsafe { libc::madvise(pages.start(), pages.len(), libc::MADV_NOHUGEPAGE) };
}

/// # Safety
/// See [`os::discard`](crate::os::discard).
pub(crate) unsafe fn discard(pages: Pages<'_>) -> Result<(), OsCode> {
    // "Subsequent accesses of pages in the range will succeed, but will result in ... zero-fill-on-demand pages for
    // anonymous private mappings" (madvise(2)).
    // SAFETY: whole pages of a live reservation (`Pages`), an anonymous private mapping. No reference points to their
    // contents (contract), which are lost.
    let result = unsafe { libc::madvise(pages.start(), pages.len(), libc::MADV_DONTNEED) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}
