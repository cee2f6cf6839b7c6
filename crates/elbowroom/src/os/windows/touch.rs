//! Makes pages resident by touching them.
//!
//! Windows has no call for this. PrefetchVirtualMemory reads pages from disk, adds nothing to the working set, and may
//! do nothing. VirtualLock is bound by the working set's quota, and undoing it would undo the program's own locks.
//!
//! No lock is held meanwhile, so a page may be decommitted or protected just when it is touched. Such a fault must not
//! be handled as a fault of its region. The handler recognises it by a mark in the first result register, where
//! accessors never have it, and ends the touching.

#![allow(unsafe_code, reason = "touches pages that may fault")]

use std::arch::asm;

use super::trap::Trap;
use crate::os::table::{access_entry, resume_after};

/// The value in the first result register while pages are touched. Accessors have 0 or a byte there.
const MARK: u64 = u64::MAX;

/// Ends the touching of pages where it has faulted. Returns false if the fault is another one.
pub(super) fn leave(trap: &mut Trap) -> bool {
    if trap.result() != MARK {
        return false;
    }
    match resume_after(trap.program_counter()) {
        Some(resume) => {
            trap.recover(resume, 0);
            true
        }
        None => false,
    }
}

/// Touches a byte of every page from `start` to `end`, by a write that changes nothing, until a page faults. Concurrent
/// writes of other threads are preserved.
///
/// # Safety
/// The range is whole pages of a live reservation, and is not empty. If a page may be other than readable and writable,
/// the handler is installed.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn touch(start: *mut u8, end: *mut u8, page: usize) {
    // SAFETY: a locked `or` of zero leaves the byte unchanged, even if another thread writes it at that moment (Intel
    // SDM volume 2, LOCK), so memory does not change for the compiler. A page that faults ends the loop (`leave`);
    // without a handler no page faults (contract). The block writes the declared registers and the flags.
    unsafe {
        asm!(
            "2:",
            "lock or byte ptr [{at}], 0",
            "add {at}, {page}",
            "cmp {at}, {end}",
            "jb 2b",
            "3:",
            access_entry!("2b", "3b"),
            at = inout(reg) start => _,
            end = in(reg) end,
            page = in(reg) page,
            inout("rax") MARK => _,
            options(nostack),
        );
    }
}

/// Touches a byte of every page from `start` to `end`, by a write that changes nothing, until a page faults. Concurrent
/// writes of other threads are preserved.
///
/// # Safety
/// The range is whole pages of a live reservation, and is not empty. If a page may be other than readable and writable,
/// the handler is installed.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn touch(start: *mut u8, end: *mut u8, page: usize) {
    // SAFETY: the store happens only if no other thread has written the byte since the load; otherwise both are
    // repeated (Arm ARM, "Load-Exclusive and Store-Exclusive"). So the byte stays unchanged, and memory does not change
    // for the compiler. A page that faults ends the loop (`leave`); without a handler no page faults (contract). The
    // block writes the declared registers and the flags.
    unsafe {
        asm!(
            "2:",
            "ldxrb {byte:w}, [{at}]",
            "stxrb {failed:w}, {byte:w}, [{at}]",
            "cbnz {failed:w}, 2b",
            "add {at}, {at}, {page}",
            "cmp {at}, {end}",
            "b.lo 2b",
            "3:",
            access_entry!("2b", "3b"),
            at = inout(reg) start => _,
            end = in(reg) end,
            page = in(reg) page,
            byte = out(reg) _,
            failed = out(reg) _,
            inout("x0") MARK => _,
            options(nostack),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use crate::{Region, page};

    #[test]
    fn pages_that_are_not_committed_stay_so_and_no_region_is_asked() {
        let size = page::size();
        let region = Region::builder(8 * size)
            .filter(|_| unreachable!("the filter is not asked"))
            .build()
            .unwrap();
        region.commit(0..2 * size).unwrap();
        region.commit(4 * size..5 * size).unwrap();
        region.try_write(size, 7u8).unwrap();
        let base = NonNull::new(region.as_ptr()).unwrap();
        // From the start, and from a page that faults at once.
        for first in [0, 2, 4] {
            // SAFETY: the offset is less than the eight pages of the region.
            let start = unsafe { base.add(first * size) };
            // SAFETY: whole pages of the region's reservation, which lives until the end of the test.
            let pages = unsafe { crate::os::Pages::new(start, (8 - first) * size) };
            // SAFETY: the handler is installed while the region lives.
            unsafe { crate::os::populate(pages) };
        }
        let stats = region.stats();
        assert_eq!((stats.committed_bytes, stats.faults), (3 * size, 0));
        assert_eq!(region.try_read::<u8>(size).unwrap(), 7);
    }
}
