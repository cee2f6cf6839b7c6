//! [`Backend::UserfaultMonitor`]: threads of the region commit pages for threads that wait in the kernel.
//!
//! [`Backend::UserfaultMonitor`]: crate::Backend::UserfaultMonitor

mod poisoned;
mod region;
mod threads;

pub(super) use poisoned::Poisoned;
pub(in super::super) use region::ServedRegion;
pub(in super::super) use threads::Service;
