//! Instructions that may fault and be refused: one `asm!` each, entered in the exception table.
//!
//! The code of an accessor stores, loads or copies in one asm block whose first and last address it writes into the
//! table (`access_entry!`). If the fault handler refuses a fault at an address in between, it makes the thread continue
//! at the end of the block, with the refusal in the first result register (rax, x0), which the block sets to 0 before
//! it begins. No Rust frame is left, no destructor skipped: to the compiler the block has returned one of two values.
//!
//! What the compiler knows about each block: it may read and write any memory (neither `nomem` nor `readonly`, not for
//! loads either), so a filter that runs in the middle of it is no more than a function called from it: it may write
//! what the code around the access reads, such as a thread-local variable. To other threads, each block is a sequence
//! of plain loads and stores, of which an aligned one of up to 8 bytes is indivisible.
//!
//! Which bytes were touched when a block was refused is exact: single loads and stores are naturally aligned (so they
//! lie in one page), copies go upwards and keep the number of bytes left in a register.

#![allow(unsafe_code, reason = "asm that touches memory which may not be there")]

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::os;

#[cfg(target_arch = "aarch64")]
#[path = "access_aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "access_x86_64.rs"]
mod arch;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
#[path = "access_unsupported.rs"]
mod arch;

pub(crate) use arch::{
    copy_from_region, copy_to_region, fill, load_1, load_2, load_4, load_8, store_1, store_2, store_4, store_8,
};

/// What a copying block says when it ends.
pub(crate) struct Copied {
    /// The packed refusal, or 0.
    pub(crate) refusal: u64,
    /// Bytes not copied; 0 without a refusal.
    pub(crate) left: usize,
}

/// The exception table, sorted by start, as addresses. Leaked; null until `prepare`.
static SORTED: AtomicPtr<Vec<(usize, usize)>> = AtomicPtr::new(ptr::null_mut());

/// Sorts the table, once. Allocates, so it is done before a handler is installed; the caller sees to it that only one
/// thread does.
pub(crate) fn prepare() {
    if SORTED.load(Ordering::Relaxed).is_null() {
        let mut table: Vec<_> = os::exception_table().iter().map(os::AccessEntry::addresses).collect();
        table.sort_unstable();
        SORTED.store(Box::leak(Box::new(table)), Ordering::Release);
    }
}

/// Where a thread continues whose fault at `program_counter` was refused; `None` if that is not in an accessor.
pub(crate) fn resume_after(program_counter: usize) -> Option<usize> {
    // SAFETY: null or a leaked Vec that is never changed.
    let table = unsafe { SORTED.load(Ordering::Acquire).as_ref() }?;
    let after = table.partition_point(|&(start, _)| start <= program_counter);
    let &(start, end) = table.get(after.checked_sub(1)?)?;
    (start <= program_counter && program_counter < end).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_accessor_in_order() {
        let region = crate::Region::new(1).unwrap();
        region.try_write(0, 1u64).unwrap();
        region.try_fill(8..16, 2).unwrap();
        region.try_copy_from_slice(16, &[3; 8]).unwrap();
        assert_eq!(region.try_read::<[u64; 3]>(0).unwrap()[0], 1);

        prepare();
        // SAFETY: leaked by `prepare`.
        let table = unsafe { &*SORTED.load(Ordering::Acquire) };
        assert!(table.len() >= 4, "{table:x?}");
        assert!(table.iter().all(|(start, end)| start < end && end - start < 256), "{table:x?}");
        assert!(table.windows(2).all(|pair| pair[0].1 <= pair[1].0 || pair[0] == pair[1]), "{table:x?}");
        for &(start, end) in table {
            assert_eq!(resume_after(start), Some(end));
            assert_eq!(resume_after(end - 1), Some(end));
        }
        assert_eq!(resume_after(table[0].0 - 1), None);
        assert_eq!(resume_after(0), None);
        assert_eq!(resume_after(usize::MAX), None);
    }
}
