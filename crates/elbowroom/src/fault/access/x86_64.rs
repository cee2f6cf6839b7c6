//! x86-64. `rep movsb` and `rep stosb` keep their progress in registers and can be interrupted after any byte (Intel
//! SDM volume 2, REP), so a refused copy knows what is left; the ABIs guarantee a clear direction flag.

use std::arch::asm;

use super::copied::Copied;
use crate::os::access_entry;

macro_rules! single {
    ($store:ident, $load:ident, $type:ty, $class:ident, $operand:literal, $width:literal) => {
        /// Stores `value` at `base + offset`; 0, or the packed refusal.
        ///
        /// # Safety
        /// That address is naturally aligned and in a live region's addresses (guard page included), where no reference
        /// points.
        #[inline(always)]
        pub(crate) unsafe fn $store(base: *mut u8, offset: usize, value: $type) -> u64 {
            let mut refusal: u64 = 0;
            // SAFETY: one store to memory that the region owns; if it faults, the handler commits the page, or sets rax
            // and continues behind it.
            unsafe {
                asm!(
                    "2:",
                    concat!("mov ", $width, " ptr [{base} + {offset}], ", $operand),
                    "3:",
                    access_entry!("2b", "3b"),
                    base = in(reg) base,
                    offset = in(reg) offset,
                    value = in($class) value,
                    inout("rax") refusal,
                    options(nostack, preserves_flags),
                );
            }
            refusal
        }

        /// Loads from `base + offset`; the second is 0, or the packed refusal, with which the first is whatever the
        /// register held.
        ///
        /// # Safety
        /// That address is naturally aligned and in a live region's addresses (guard page included).
        #[inline(always)]
        pub(crate) unsafe fn $load(base: *const u8, offset: usize) -> ($type, u64) {
            let mut refusal: u64 = 0;
            let value: $type;
            // SAFETY: one load, with the same cure as a store.
            unsafe {
                asm!(
                    "2:",
                    concat!("mov ", $operand, ", ", $width, " ptr [{base} + {offset}]"),
                    "3:",
                    access_entry!("2b", "3b"),
                    base = in(reg) base,
                    offset = in(reg) offset,
                    value = out($class) value,
                    inout("rax") refusal,
                    options(nostack, preserves_flags),
                );
            }
            (value, refusal)
        }
    };
}

macro_rules! plain {
    ($store:ident, $load:ident, $type:ty, $class:ident, $operand:literal, $width:literal) => {
        /// Stores `value` at `base + offset`.
        ///
        /// # Safety
        /// That address is naturally aligned and in committed pages of a live region, where no reference points.
        #[inline(always)]
        pub(crate) unsafe fn $store(base: *mut u8, offset: usize, value: $type) {
            // SAFETY: one store to committed memory that the region owns (contract).
            unsafe {
                asm!(
                    concat!("mov ", $width, " ptr [{base} + {offset}], ", $operand),
                    base = in(reg) base,
                    offset = in(reg) offset,
                    value = in($class) value,
                    options(nostack, preserves_flags),
                );
            }
        }

        /// Loads from `base + offset`.
        ///
        /// # Safety
        /// That address is naturally aligned and in committed pages of a live region.
        #[inline(always)]
        pub(crate) unsafe fn $load(base: *const u8, offset: usize) -> $type {
            let value: $type;
            // SAFETY: one load from committed memory that the region owns (contract). It writes no memory.
            unsafe {
                asm!(
                    concat!("mov ", $operand, ", ", $width, " ptr [{base} + {offset}]"),
                    base = in(reg) base,
                    offset = in(reg) offset,
                    value = out($class) value,
                    options(nostack, preserves_flags, readonly),
                );
            }
            value
        }
    };
}

plain!(plain_store_1, plain_load_1, u8, reg_byte, "{value}", "byte");
plain!(plain_store_2, plain_load_2, u16, reg, "{value:x}", "word");
plain!(plain_store_4, plain_load_4, u32, reg, "{value:e}", "dword");
plain!(plain_store_8, plain_load_8, u64, reg, "{value:r}", "qword");

single!(store_1, load_1, u8, reg_byte, "{value}", "byte");
single!(store_2, load_2, u16, reg, "{value:x}", "word");
single!(store_4, load_4, u32, reg, "{value:e}", "dword");
single!(store_8, load_8, u64, reg, "{value:r}", "qword");

/// # Safety
/// `from` is readable and `to` in a live region's addresses (guard page included) for `len` bytes.
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) -> Copied {
    let mut refusal: u64 = 0;
    let mut left = len;
    // SAFETY: copies exactly `len` bytes from `from` to `to`, or ends early as the header says.
    unsafe {
        asm!(
            "2:",
            "rep movsb",
            "3:",
            access_entry!("2b", "3b"),
            inout("rcx") left,
            inout("rsi") from => _,
            inout("rdi") to => _,
            inout("rax") refusal,
            options(nostack, preserves_flags),
        );
    }
    Copied { refusal, left }
}

/// Copies `len` bytes into a region.
///
/// # Safety
/// `from` is readable for `len` bytes; `to..to + len` is in a live region's addresses (guard page included), where no
/// reference points.
pub(crate) unsafe fn copy_to_region(from: *const u8, to: *mut u8, len: usize) -> Copied {
    // SAFETY: the contract, passed on.
    unsafe { copy(from, to, len) }
}

/// Copies `len` bytes out of a region.
///
/// # Safety
/// `from..from + len` is in a live region's addresses (guard page included); `to` is writable for `len` bytes.
pub(crate) unsafe fn copy_from_region(from: *const u8, to: *mut u8, len: usize) -> Copied {
    // SAFETY: the contract, passed on; the roles of the two sides do not matter to the instruction.
    unsafe { copy(from, to, len) }
}

/// Sets `len` bytes of a region.
///
/// # Safety
/// `to..to + len` is in a live region's addresses (guard page included), where no reference points.
pub(crate) unsafe fn fill(to: *mut u8, byte: u8, len: usize) -> Copied {
    // rax holds the refusal everywhere else; here the instruction wants the byte in al. The rest of rax stays zero
    // until a refusal, and the byte is taken out again.
    let mut rax = u64::from(byte);
    let mut left = len;
    // SAFETY: writes exactly `len` bytes at `to`, or ends early as the header says.
    unsafe {
        asm!(
            "2:",
            "rep stosb",
            "3:",
            access_entry!("2b", "3b"),
            inout("rcx") left,
            inout("rdi") to => _,
            inout("rax") rax,
            options(nostack, preserves_flags),
        );
    }
    // A block that ran to its end has nothing left, and one that was refused has.
    Copied {
        refusal: if left == 0 { 0 } else { rax },
        left,
    }
}
