//! The stand-in for a processor without accessors. No region can be made there, so nothing calls these functions.

use super::copied::Copied;
use crate::error::{Cause, Reason};

macro_rules! single {
    ($store:ident, $load:ident, $type:ty) => {
        /// # Safety
        /// None: it touches nothing.
        pub(crate) unsafe fn $store(_base: *mut u8, _offset: usize, _value: $type) -> u64 {
            refused()
        }

        /// # Safety
        /// None: it touches nothing.
        pub(crate) unsafe fn $load(_base: *const u8, _offset: usize) -> ($type, u64) {
            (0, refused())
        }
    };
}

macro_rules! plain {
    ($store:ident, $load:ident, $type:ty) => {
        /// # Safety
        /// None: it touches nothing.
        pub(crate) unsafe fn $store(_base: *mut u8, _offset: usize, _value: $type) {}

        /// # Safety
        /// None: it touches nothing.
        pub(crate) unsafe fn $load(_base: *const u8, _offset: usize) -> $type {
            0
        }
    };
}

plain!(plain_store_1, plain_load_1, u8);
plain!(plain_store_2, plain_load_2, u16);
plain!(plain_store_4, plain_load_4, u32);
plain!(plain_store_8, plain_load_8, u64);

single!(store_1, load_1, u8);
single!(store_2, load_2, u16);
single!(store_4, load_4, u32);
single!(store_8, load_8, u64);

/// # Safety
/// None: it touches nothing.
pub(crate) unsafe fn copy_to_region(_from: *const u8, _to: *mut u8, len: usize) -> Copied {
    Copied {
        refusal: refused(),
        left: len,
    }
}

/// # Safety
/// None: it touches nothing.
pub(crate) unsafe fn copy_from_region(_from: *const u8, _to: *mut u8, len: usize) -> Copied {
    Copied {
        refusal: refused(),
        left: len,
    }
}

/// # Safety
/// None: it touches nothing.
pub(crate) unsafe fn fill(_to: *mut u8, _byte: u8, len: usize) -> Copied {
    Copied {
        refusal: refused(),
        left: len,
    }
}

/// Returns the refusal of every access.
fn refused() -> u64 {
    Cause::from(Reason::OutOfRange).to_register()
}
