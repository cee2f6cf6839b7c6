//! A fault, in the form that is common to all systems.

use crate::os::Trap;
use crate::os::userfault::{self, Missing};
use crate::plain::{FaultAccess, FaultCode};

/// The dispatcher's and the filter's information about a fault.
#[derive(Clone, Copy)]
pub(crate) struct Touch {
    /// The address that was touched.
    pub(crate) address: usize,
    pub(crate) access: FaultAccess,
    pub(crate) code: FaultCode,
    /// Whether the program has no access to the memory.
    pub(crate) is_inaccessible: bool,
    /// Whether the memory is accessible and the page is missing, to be filled by userfaultfd.
    pub(crate) is_missing: bool,
}

impl Touch {
    pub(super) fn of(trap: &Trap) -> Touch {
        Touch {
            address: trap.address(),
            access: trap.access(),
            code: trap.code(),
            is_inaccessible: trap.is_page_fault(),
            is_missing: userfault::is_missing_page(trap),
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
