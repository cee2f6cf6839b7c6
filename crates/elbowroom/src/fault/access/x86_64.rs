//! x86-64. `rep movsb` and `rep stosb` keep their progress in registers and can be interrupted after any byte (Intel
//! SDM volume 2, REP), so a refused copy knows how much is left. The ABIs guarantee a clear direction flag.

use std::arch::asm;

use super::copied::Copied;
use crate::os::access_entry;

macro_rules! single {
    ($store:ident, $load:ident, $type:ty, $class:ident, $operand:literal, $width:literal) => {
        /// Stores `value` at `base + offset`. Returns 0, or the packed refusal.
        ///
        /// # Safety
        /// The address is naturally aligned and among a live region's addresses (guard page included), and no reference
        /// points there.
        #[inline(always)]
        pub(crate) unsafe fn $store(base: *mut u8, offset: usize, value: $type) -> u64 {
            let mut refusal: u64 = 0;
            // SAFETY: the block makes one store to memory that the region owns. If it faults, the handler commits the
            // page, or sets rax and continues behind the block.
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

        /// Loads from `base + offset`. Returns the value, and 0 or the packed refusal. After a refusal the value is
        /// whatever the register held.
        ///
        /// # Safety
        /// The address is naturally aligned and among a live region's addresses (guard page included).
        #[inline(always)]
        pub(crate) unsafe fn $load(base: *const u8, offset: usize) -> ($type, u64) {
            let mut refusal: u64 = 0;
            let value: $type;
            // SAFETY: the block makes one load from memory that the region owns. If it faults, the handler commits the
            // page, or sets rax and continues behind the block.
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

/// Copies `len` bytes into or out of a region.
///
/// # Safety
/// One of `from` and `to` is among a live region's addresses (guard page included) for `len` bytes. `from` is readable,
/// or in the region; `to` is writable, or in the region, where no reference points.
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) -> Copied {
    let mut refusal: u64 = 0;
    let mut left = len;
    // SAFETY: the block copies exactly `len` bytes from `from` to `to` (contract), or ends early after a refusal.
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
/// `from` is readable for `len` bytes. `to..to + len` is among a live region's addresses (guard page included), and no
/// reference points there.
pub(crate) unsafe fn copy_to_region(from: *const u8, to: *mut u8, len: usize) -> Copied {
    // SAFETY: `from` is readable, and `to` is in the region, where no reference points (contract).
    unsafe { copy(from, to, len) }
}

/// Copies `len` bytes out of a region.
///
/// # Safety
/// `from..from + len` is among a live region's addresses (guard page included). `to` is writable for `len` bytes.
pub(crate) unsafe fn copy_from_region(from: *const u8, to: *mut u8, len: usize) -> Copied {
    // SAFETY: `from` is in the region, and `to` is writable (contract).
    unsafe { copy(from, to, len) }
}

/// Sets `len` bytes of a region.
///
/// # Safety
/// `to..to + len` is among a live region's addresses (guard page included), and no reference points there.
pub(crate) unsafe fn fill(to: *mut u8, byte: u8, len: usize) -> Copied {
    // In the other blocks rax holds only the refusal. Here the instruction takes the byte in al. The rest of rax stays
    // zero until a refusal, and the byte is removed again.
    let mut rax = u64::from(byte);
    let mut left = len;
    // SAFETY: the block writes exactly `len` bytes at `to` (contract), or ends early after a refusal.
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
    // A block that ran to its end has no bytes left, and a refused one has some.
    Copied {
        refusal: if left == 0 { 0 } else { rax },
        left,
    }
}
