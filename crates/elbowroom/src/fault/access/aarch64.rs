//! arm64. Loads and stores on the region's side are naturally aligned, so each lies in one page and a refused one has
//! touched nothing; a post-indexed access that faults leaves its base register as it was (Arm ARM, "Data Abort").

use std::arch::asm;

use super::copied::Copied;
use crate::os::access_entry;

macro_rules! single {
    ($store:ident, $load:ident, $type:ty, $str:literal, $ldr:literal, $operand:literal) => {
        /// Stores `value` at `base + offset`. Returns 0, or the packed refusal.
        ///
        /// # Safety
        /// The address is naturally aligned and among a live region's addresses (guard page included), and no reference
        /// points there.
        #[inline(always)]
        pub(crate) unsafe fn $store(base: *mut u8, offset: usize, value: $type) -> u64 {
            let mut refusal: u64 = 0;
            // SAFETY: the block makes one store to memory that the region owns. If it faults, the handler commits the
            // page, or sets x0 and continues behind the block.
            unsafe {
                asm!(
                    "2:",
                    concat!($str, " ", $operand, ", [{base}, {offset}]"),
                    "3:",
                    access_entry!("2b", "3b"),
                    base = in(reg) base,
                    offset = in(reg) offset,
                    value = in(reg) value,
                    inout("x0") refusal,
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
            // page, or sets the result register and continues behind the block.
            unsafe {
                asm!(
                    "2:",
                    concat!($ldr, " ", $operand, ", [{base}, {offset}]"),
                    "3:",
                    access_entry!("2b", "3b"),
                    base = in(reg) base,
                    offset = in(reg) offset,
                    value = out(reg) value,
                    inout("x0") refusal,
                    options(nostack, preserves_flags),
                );
            }
            (value, refusal)
        }
    };
}

macro_rules! plain {
    ($store:ident, $load:ident, $type:ty, $str:literal, $ldr:literal, $operand:literal) => {
        /// Stores `value` at `base + offset`.
        ///
        /// # Safety
        /// That address is naturally aligned and in committed pages of a live region, where no reference points.
        #[inline(always)]
        pub(crate) unsafe fn $store(base: *mut u8, offset: usize, value: $type) {
            // SAFETY: one store to committed memory that the region owns (contract).
            unsafe {
                asm!(
                    concat!($str, " ", $operand, ", [{base}, {offset}]"),
                    base = in(reg) base,
                    offset = in(reg) offset,
                    value = in(reg) value,
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
                    concat!($ldr, " ", $operand, ", [{base}, {offset}]"),
                    base = in(reg) base,
                    offset = in(reg) offset,
                    value = out(reg) value,
                    options(nostack, preserves_flags, readonly),
                );
            }
            value
        }
    };
}

plain!(plain_store_1, plain_load_1, u8, "strb", "ldrb", "{value:w}");
plain!(
    plain_store_2,
    plain_load_2,
    u16,
    "strh",
    "ldrh",
    "{value:w}"
);
plain!(plain_store_4, plain_load_4, u32, "str", "ldr", "{value:w}");
plain!(plain_store_8, plain_load_8, u64, "str", "ldr", "{value:x}");

single!(store_1, load_1, u8, "strb", "ldrb", "{value:w}");
single!(store_2, load_2, u16, "strh", "ldrh", "{value:w}");
single!(store_4, load_4, u32, "str", "ldr", "{value:w}");
single!(store_8, load_8, u64, "str", "ldr", "{value:x}");

macro_rules! copy {
    ($name:ident, $doc:literal, $region_side:literal) => {
        #[doc = $doc]
        ///
        /// # Safety
        /// One side is among a live region's addresses (guard page included) for `len` bytes, and no reference points
        /// there. The other side is readable or writable, as its role requires, for `len` bytes.
        pub(crate) unsafe fn $name(from: *const u8, to: *mut u8, len: usize) -> Copied {
            let mut refusal: u64 = 0;
            let mut left = len;
            // Copies single bytes until the region's side is 16-byte aligned, then pairs of 8 bytes, then single bytes.
            // SAFETY: the block copies exactly `len` bytes between the two sides (contract), or ends early after a
            // refusal. It writes only the registers declared.
            unsafe {
                asm!(
                    "2:",
                    "cbz {left}, 3f",
                    concat!("tst {", $region_side, "}, #15"),
                    "b.eq 4f",
                    "ldrb {a:w}, [{from}]",
                    "strb {a:w}, [{to}]",
                    "add {from}, {from}, #1",
                    "add {to}, {to}, #1",
                    "sub {left}, {left}, #1",
                    "b 2b",
                    "4:",
                    "cmp {left}, #16",
                    "b.lo 5f",
                    "ldp {a}, {b}, [{from}]",
                    "stp {a}, {b}, [{to}]",
                    "add {from}, {from}, #16",
                    "add {to}, {to}, #16",
                    "sub {left}, {left}, #16",
                    "b 4b",
                    "5:",
                    "cbz {left}, 3f",
                    "ldrb {a:w}, [{from}]",
                    "strb {a:w}, [{to}]",
                    "add {from}, {from}, #1",
                    "add {to}, {to}, #1",
                    "sub {left}, {left}, #1",
                    "b 5b",
                    "3:",
                    access_entry!("2b", "3b"),
                    left = inout(reg) left,
                    from = inout(reg) from => _,
                    to = inout(reg) to => _,
                    a = out(reg) _,
                    b = out(reg) _,
                    inout("x0") refusal,
                    options(nostack),
                );
            }
            Copied { refusal, left }
        }
    };
}

copy!(copy_to_region, "Copies `len` bytes into a region.", "to");
copy!(
    copy_from_region,
    "Copies `len` bytes out of a region.",
    "from"
);

/// Sets `len` bytes of a region.
///
/// # Safety
/// `to..to + len` is among a live region's addresses (guard page included), and no reference points there.
pub(crate) unsafe fn fill(to: *mut u8, byte: u8, len: usize) -> Copied {
    let mut refusal: u64 = 0;
    let mut left = len;
    let eight = u64::from_ne_bytes([byte; 8]);
    // SAFETY: the block writes exactly `len` bytes at `to` (contract), or ends early after a refusal. It writes only
    // the registers declared.
    unsafe {
        asm!(
            "2:",
            "cbz {left}, 3f",
            "tst {to}, #15",
            "b.eq 4f",
            "strb {eight:w}, [{to}]",
            "add {to}, {to}, #1",
            "sub {left}, {left}, #1",
            "b 2b",
            "4:",
            "cmp {left}, #16",
            "b.lo 5f",
            "stp {eight}, {eight}, [{to}]",
            "add {to}, {to}, #16",
            "sub {left}, {left}, #16",
            "b 4b",
            "5:",
            "cbz {left}, 3f",
            "strb {eight:w}, [{to}]",
            "add {to}, {to}, #1",
            "sub {left}, {left}, #1",
            "b 5b",
            "3:",
            access_entry!("2b", "3b"),
            left = inout(reg) left,
            to = inout(reg) to => _,
            eight = in(reg) eight,
            inout("x0") refusal,
            options(nostack),
        );
    }
    Copied { refusal, left }
}
