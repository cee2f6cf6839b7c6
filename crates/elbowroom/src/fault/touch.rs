//! A fault, however the system reported it.

use crate::os::{self, Missing, Trap};
use crate::plain::{FaultAccess, FaultCode};

/// What the dispatcher and a region's filter learn of a fault.
#[derive(Clone, Copy)]
pub(crate) struct Touch {
    /// The address that was touched.
    pub(crate) address: usize,
    pub(crate) access: FaultAccess,
    pub(crate) code: FaultCode,
    /// Whether the memory may not be accessed.
    pub(crate) is_inaccessible: bool,
    /// Whether the page is missing from memory that may be accessed: a userfaultfd is to fill it.
    pub(crate) is_missing: bool,
}

impl Touch {
    pub(super) fn of(trap: &Trap) -> Touch {
        Touch {
            address: trap.address(),
            access: trap.access(),
            code: trap.code(),
            is_inaccessible: trap.is_page_fault(),
            is_missing: os::is_missing_page(trap),
        }
    }
}

impl From<Missing> for Touch {
    fn from(missing: Missing) -> Touch {
        let Missing {
            address,
            access,
            flags,
            ..
        } = missing;
        Touch {
            address,
            access,
            code: FaultCode::Event { flags },
            is_inaccessible: false,
            is_missing: true,
        }
    }
}
