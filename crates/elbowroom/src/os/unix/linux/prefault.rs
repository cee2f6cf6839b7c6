//! Makes pages resident as a touch would, and checks whether a touch would work.

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::errno::last_error;
use super::super::size::{huge_page_size, page_size};
use super::proc_maps;
use crate::os::pages::Pages;
use crate::plain::{FaultAccess, OsCode};

/// Returns whether the program can make this access at `address` without a fault.
///
/// For data, the kernel is asked to make the page resident as the access would (madvise(2), MADV_POPULATE_READ and
/// MADV_POPULATE_WRITE, since 5.14). It knows about guard pages (MADV_GUARD_INSTALL) as well. Otherwise /proc is read.
pub(crate) fn allows(address: usize, access: FaultAccess) -> Option<bool> {
    let advice = match access {
        FaultAccess::Read => Some(libc::MADV_POPULATE_READ),
        FaultAccess::Write => Some(libc::MADV_POPULATE_WRITE),
        FaultAccess::Execute => None,
    };
    match advice
        .filter(|_| populates())
        .map(|advice| populate_page(address, advice))
    {
        Some(Ok(())) => Some(true),
        // "Populating failed because a SIGBUS would have been generated on actual memory access", or a guard page.
        Some(Err(OsCode(libc::EFAULT))) => Some(false),
        // The permissions do not allow it, or there is another reason: /proc decides.
        _ => proc_maps::query(address).map(|protection| protection.allows(access)),
    }
}

fn populate_page(address: usize, advice: i32) -> Result<(), OsCode> {
    let page = std::ptr::without_provenance_mut(address & !(page_size() - 1));
    // SAFETY: the call makes a page resident as a touch would, without changing contents (madvise(2)). For an address
    // that is not mapped it fails.
    let result = unsafe { libc::madvise(page, page_size(), advice) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// Calls madvise(2) with MADV_POPULATE_WRITE, in pieces: during a call, the kernel blocks other changes of the
/// process's mappings.
///
/// # Safety
/// See [`os::populate`](crate::os::populate).
pub(crate) unsafe fn populate(pages: Pages<'_>) {
    let piece = huge_page_size();
    if !populates() {
        return;
    }
    let (base, len) = (pages.start().cast::<u8>(), pages.len());
    let mut done = 0;
    while done < len {
        // Up to the next boundary between huge pages, so that each huge page is populated at once.
        let start = base.wrapping_add(done);
        let bytes = (piece - start.addr() % piece).min(len - done);
        // SAFETY: the pages belong to a live reservation (`Pages`), and are made resident as by a write, without
        // changing their contents. If they cannot be written, the call fails (madvise(2), MADV_POPULATE_WRITE).
        if unsafe { libc::madvise(start.cast(), bytes, libc::MADV_POPULATE_WRITE) } != 0 {
            return;
        }
        done += bytes;
    }
}

/// Calls madvise(2) with MADV_HUGEPAGE. It has no effect if huge pages are enabled for all memory or for none. Not
/// called on a kernel that cannot populate: the cost of huge pages that the program's touches populate is erratic.
pub(crate) fn advise_huge(pages: Pages<'_>) {
    if populates() {
        // SAFETY: whole pages of a live reservation (`Pages`); their contents and access do not change (madvise(2)).
        unsafe { libc::madvise(pages.start(), pages.len(), libc::MADV_HUGEPAGE) };
    }
}

/// Returns whether the kernel can populate. Emulators that do not know the advice accept everything, so it is tried on
/// the first page of the address space, where nothing is mapped.
fn populates() -> bool {
    const UNKNOWN: u32 = 0;
    const YES: u32 = 1;
    const NO: u32 = 2;
    static ANSWER: AtomicU32 = AtomicU32::new(UNKNOWN);
    if ANSWER.load(Ordering::Relaxed) == UNKNOWN {
        let refused = populate_page(0, libc::MADV_POPULATE_READ) == Err(OsCode(libc::ENOMEM));
        ANSWER.store(if refused { YES } else { NO }, Ordering::Relaxed);
    }
    ANSWER.load(Ordering::Relaxed) == YES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map_page(protection: i32) -> usize {
        // SAFETY: the call makes a new anonymous mapping at an address that the kernel chooses.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                1,
                protection,
                libc::MAP_PRIVATE | libc::MAP_ANON,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        page.addr()
    }

    #[test]
    fn what_is_allowed_is_what_was_mapped() {
        let cases = [
            (libc::PROT_NONE, [false, false, false]),
            (libc::PROT_READ, [true, false, false]),
            (libc::PROT_READ | libc::PROT_WRITE, [true, true, false]),
            (libc::PROT_READ | libc::PROT_EXEC, [true, false, true]),
        ];
        if std::env::var_os("ELBOWROOM_TEST_RUNNER").is_some() {
            return;
        }
        for (bits, expected) in cases {
            let address = map_page(bits) + 9;
            let accesses = [FaultAccess::Read, FaultAccess::Write, FaultAccess::Execute];
            assert_eq!(
                accesses.map(|access| allows(address, access)),
                expected.map(Some),
                "{bits}"
            );
        }
        // A guard page in a mapping that may be written (Linux 6.13; an older kernel refuses the advice).
        const MADV_GUARD_INSTALL: i32 = 102;
        let address = map_page(libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: the page belongs to this test alone.
        let guarded = unsafe {
            libc::madvise(
                std::ptr::without_provenance_mut(address),
                page_size(),
                MADV_GUARD_INSTALL,
            )
        };
        if guarded == 0 {
            assert_eq!(allows(address, FaultAccess::Write), Some(false));
            assert_eq!(allows(address, FaultAccess::Read), Some(false));
        }
    }
}
