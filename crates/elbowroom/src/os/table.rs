//! The exception table: its place in the program, for each object format.
//!
//! Each accessor's asm writes one entry into a separate section, with [`access_entry!`]. The linker gathers the entries
//! of the whole program, wherever the accessors were inlined. This module finds the gathered section again.

#![allow(unsafe_code, reason = "makes a slice of what the linker gathered")]

use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicPtr, Ordering};

/// One accessor: the instructions in `start..end` may fault, and after a refusal the thread continues at `end`.
///
/// The fields are distances from their own addresses, so the table needs no relocation at load time.
#[repr(C)]
pub(crate) struct AccessEntry {
    start: i32,
    end: i32,
}

impl AccessEntry {
    /// Returns the addresses of `start` and `end`.
    pub(crate) fn addresses(&self) -> (usize, usize) {
        let resolve = |field: &i32| {
            (&raw const *field)
                .addr()
                .wrapping_add_signed(*field as isize)
        };
        (resolve(&self.start), resolve(&self.end))
    }
}

// The number is the version of the entries' format: two versions of this library in one program share a section if they
// share the number.
//
// Nothing in the program refers to an entry, and it must be kept as long as its code. "R" (SHF_GNU_RETAIN) and
// no_dead_strip tell this to the linker. PE has no such flag, and GNU ld drops whatever is not referred to. There, an
// instruction without effect refers to the entry.

#[cfg(not(any(windows, target_vendor = "apple")))]
macro_rules! access_section {
    () => {
        ".pushsection elbowroom_access_1,\"aR\",@progbits"
    };
}

#[cfg(target_vendor = "apple")]
macro_rules! access_section {
    () => {
        ".pushsection __TEXT,__elbowroom_1,regular,no_dead_strip"
    };
}

// Eight characters: a longer section name is not in the image's section table.
#[cfg(windows)]
macro_rules! access_section {
    () => {
        ".pushsection .elbrm_1,\"dr\""
    };
}

/// Hides the symbols that the linker defines for the section. Another object of the process may contain a copy of the
/// library, and each copy must find its own table, even if a program exports all its symbols (`-rdynamic`).
#[cfg(not(any(windows, target_vendor = "apple")))]
macro_rules! hidden_bounds {
    () => {
        ".hidden __start_elbowroom_access_1\n.hidden __stop_elbowroom_access_1"
    };
}

// Mach-O binds a name to the object that defines it, so nothing is needed.
#[cfg(target_vendor = "apple")]
macro_rules! hidden_bounds {
    () => {
        ""
    };
}

#[cfg(not(all(windows, target_arch = "x86_64")))]
macro_rules! access_anchor {
    () => {
        ""
    };
}

#[cfg(all(windows, target_arch = "x86_64"))]
macro_rules! access_anchor {
    () => {
        "nop dword ptr [rip + 6f]\n"
    };
}

/// The asm text that enters the instructions between two labels into the exception table. It defines label 6.
macro_rules! access_entry {
    ($start:literal, $end:literal) => {
        concat!(
            $crate::os::access_anchor!(),
            $crate::os::access_section!(),
            "\n.balign 4\n6: .long ",
            $start,
            " - .\n.long ",
            $end,
            " - .\n.popsection"
        )
    };
}

pub(crate) use {access_anchor, access_entry, access_section};

/// Returns all entries of the program, in the order of linking.
#[cfg(not(windows))]
pub(crate) fn exception_table() -> &'static [AccessEntry] {
    // The linker defines these two for a section whose name is an identifier (ELF), or on request (Mach-O).
    unsafe extern "C" {
        #[cfg_attr(not(target_vendor = "apple"), link_name = "__start_elbowroom_access_1")]
        #[cfg_attr(
            target_vendor = "apple",
            link_name = "\x01section$start$__TEXT$__elbowroom_1"
        )]
        static START: [AccessEntry; 0];
        #[cfg_attr(not(target_vendor = "apple"), link_name = "__stop_elbowroom_access_1")]
        #[cfg_attr(
            target_vendor = "apple",
            link_name = "\x01section$end$__TEXT$__elbowroom_1"
        )]
        static STOP: [AccessEntry; 0];
    }
    // The two symbols exist only if the section does, so a program without any accessor defines it empty here.
    // SAFETY: the block contains no instruction and no data.
    unsafe {
        std::arch::asm!(
            access_section!(),
            ".popsection",
            hidden_bounds!(),
            options(nomem, nostack, preserves_flags)
        )
    };
    let start: *const AccessEntry = (&raw const START).cast();
    let bytes = (&raw const STOP).addr() - start.addr();
    // SAFETY: the section holds only entries written by `access_entry!`, each 8 bytes long and 4-byte aligned. The
    // linker lays them end to end between the two symbols, and nothing writes to it.
    unsafe { slice::from_raw_parts(start, bytes / size_of::<AccessEntry>()) }
}

/// Returns all entries of the program, in the order of linking. The section is found by its name in the image's
/// headers.
#[cfg(windows)]
pub(crate) fn exception_table() -> &'static [AccessEntry] {
    super::windows::image::image_section(*b".elbrm_1").map_or(&[], |(start, bytes)| {
        // SAFETY: the section holds only entries written by `access_entry!`, each 8 bytes long and 4-byte aligned, end
        // to end from its start. It is mapped as long as this code is, and read-only.
        unsafe { slice::from_raw_parts(start.cast(), bytes / size_of::<AccessEntry>()) }
    })
}

/// The exception table, sorted by start, as addresses. Leaked; null until [`sort_table`] has run.
static SORTED: AtomicPtr<Vec<(usize, usize)>> = AtomicPtr::new(ptr::null_mut());

/// Sorts the table, once. It allocates, so it runs before a handler is installed. Only one thread at a time may call
/// it.
pub(crate) fn sort_table() {
    if SORTED.load(Ordering::Relaxed).is_null() {
        let entries = exception_table().iter();
        let mut table: Vec<_> = entries.map(AccessEntry::addresses).collect();
        table.sort_unstable();
        SORTED.store(Box::leak(Box::new(table)), Ordering::Release);
    }
}

/// Returns where a thread continues whose fault at `program_counter` was refused, or `None` if that is not inside an
/// accessor.
pub(crate) fn resume_after(program_counter: usize) -> Option<usize> {
    // SAFETY: the pointer is null, or to a Vec that `sort_table` has leaked and that nothing changes.
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

        sort_table();
        // SAFETY: the pointer is to a Vec that `sort_table` has leaked and that nothing changes.
        let table = unsafe { &*SORTED.load(Ordering::Acquire) };
        assert!(table.len() >= 4, "{table:x?}");
        assert!(
            table
                .iter()
                .all(|(start, end)| start < end && end - start < 256),
            "{table:x?}"
        );
        assert!(
            table
                .windows(2)
                .all(|pair| pair[0].1 <= pair[1].0 || pair[0] == pair[1]),
            "{table:x?}"
        );
        for &(start, end) in table {
            assert_eq!(resume_after(start), Some(end));
            assert_eq!(resume_after(end - 1), Some(end));
        }
        assert_eq!(resume_after(table[0].0 - 1), None);
        assert_eq!(resume_after(0), None);
        assert_eq!(resume_after(usize::MAX), None);
    }
}
