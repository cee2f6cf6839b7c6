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
    // SAFETY: getrlimit(2) writes one `rlimit` to the address, which is that of a live, writable and aligned one.
    let is_known = unsafe { libc::getrlimit(libc::RLIMIT_DATA, &mut limit) } == 0;
    let is_unlimited = is_known && limit.rlim_cur == libc::RLIM_INFINITY;
    // Locked memory, which is populated as soon as it is accessible, refuses the advice (madvise(2), EINVAL).
    // SAFETY: no reference points into the pages: nothing has their address yet (contract of `may_keep_access` in
    // `os/mod.rs`).
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
        // SAFETY: without MAP_FIXED, mmap(2) makes a new mapping and changes no existing one.
        let page = unsafe { libc::mmap(ptr::null_mut(), len, access, kind, -1, 0) };
        if page == libc::MAP_FAILED {
            return false;
        }
        let byte = page.cast::<u8>();
        // SAFETY: mmap(2) has succeeded, so the byte is the first of a writable page, aligned as every byte is. Only
        // this function has its address.
        unsafe { byte.write_volatile(1) };
        // SAFETY: the range is the whole of the mapping that this function made. The call removes its contents
        // (madvise(2), MADV_DONTNEED), to which no reference points, because none was made.
        let is_accepted = unsafe { libc::madvise(page, len, libc::MADV_DONTNEED) } == 0;
        // SAFETY: the byte is the first of a page that is mapped and readable, also after the advice, which unmaps
        // nothing. It is initialised: it is the 1 written above or the system's zero. Only this function has its
        // address.
        let is_zero = unsafe { byte.read_volatile() } == 0;
        // SAFETY: the range is the whole of the mapping that this function made, so munmap(2) removes nothing else. It
        // has no use afterwards: only this function has its address.
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
    // SAFETY: the range is whole pages of a live reservation (`Pages`), so no other memory changes. They are of an
    // anonymous private mapping (`reserve`), which stays mapped with its access. Their contents are lost, and no
    // reference points to them (contract).
    let result = unsafe { libc::madvise(pages.start(), pages.len(), libc::MADV_DONTNEED) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}
