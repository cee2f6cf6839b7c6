//! The lowest layer: plain types without behaviour of their own.

mod access;
mod fault_code;
mod os_code;
mod place;
mod size;
mod span;
mod system_limit;

pub use access::Access;
pub(crate) use access::Placement;
pub use fault_code::{FaultAccess, FaultCode};
pub(crate) use os_code::OsCode;
pub use place::Place;
pub use size::Size;
pub use span::{PageState, Span};
pub use system_limit::SystemLimit;
