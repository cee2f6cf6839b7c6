//! How the pages of a region come and go.

#![allow(unsafe_code, reason = "changes pages of mappings")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Fault;
use crate::error::OsCode;
use crate::fault::FaultAccess;
use crate::os::{self, Userfault};
use crate::page::{PageCount, PageIndex, PageRange};
use crate::reservation::Mapping;

/// By what means a region commits a page that is touched.
///
/// | | [`Protection`](Backend::Protection) | [`Userfault`](Backend::Userfault) |
/// |---|---|---|
/// | where | everywhere | Linux 4.14 (without privileges: 5.11) |
/// | a touch raises | SIGSEGV, an access violation | SIGBUS |
/// | separate runs of committed pages | about 32,000 a process on Linux (`vm.max_map_count`) | any number |
/// | system's commit limit | charged, and can refuse | not charged; the memory itself can run out |
/// | huge pages | yes | no |
/// | suits | runs of pages | single pages here and there |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// Reserved pages may not be accessed, and a commit makes them accessible: mprotect(2), VirtualAlloc. On Linux each
    /// separate run of committed pages is a mapping of its own, of which a process may have some 65,000.
    #[default]
    Protection,
    /// userfaultfd(2), told to raise SIGBUS: reserved pages are accessible and missing, and a commit fills them with
    /// zeros. The region is one mapping, however its pages lie.
    ///
    /// Not charged to the system's commit limit. In strict mode (`vm.overcommit_memory=2`) the whole region is, when it
    /// is made; so it is to RLIMIT_DATA. All such regions of a process share one file descriptor: do not close
    /// descriptors that are not yours, as missing pages then read as zero with nobody asked.
    Userfault,
    /// [`Userfault`](Backend::Userfault) where the system allows it, else [`Protection`](Backend::Protection). Which of
    /// the two it is, [`Region::backend`](crate::Region::backend) tells.
    Auto,
}

/// The userfaultfd of all regions that use signals, while there is one.
static SHARED: Mutex<Weak<Userfault>> = Mutex::new(Weak::new());

/// A region's backend at work.
pub(super) enum Pager {
    Protection,
    // Invariant: attached to the pages of the region and its guard page.
    Userfault(Arc<Userfault>),
}

impl Pager {
    /// Prepares the first `pages` of a mapping that nobody else knows yet.
    pub(super) fn new(backend: Backend, mapping: &Mapping, pages: PageCount) -> Result<Pager, OsCode> {
        match backend {
            Backend::Protection => Ok(Pager::Protection),
            Backend::Userfault => Pager::userfault(mapping, pages),
            Backend::Auto => Pager::userfault(mapping, pages).or(Ok(Pager::Protection)),
        }
    }

    fn userfault(mapping: &Mapping, pages: PageCount) -> Result<Pager, OsCode> {
        let userfault = shared()?;
        // SAFETY: all pages of a mapping that was just made are reserved, and nobody knows of it (see `new`).
        unsafe { mapping.attach(PageRange::new(0, pages.get()), &userfault) }?;
        Ok(Pager::Userfault(userfault))
    }

    pub(super) fn backend(&self) -> Backend {
        match self {
            Pager::Protection => Backend::Protection,
            Pager::Userfault(_) => Backend::Userfault,
        }
    }

    /// Whether a fault is a touch of a page that is not there, which a commit cures.
    pub(super) fn is_page_fault(&self, is_inaccessible: bool, is_missing: bool) -> bool {
        is_inaccessible || (is_missing && matches!(self, Pager::Userfault(_)))
    }

    /// Commits reserved pages, one of which is about to be written, if that is known.
    ///
    /// # Safety
    /// `pages` are inside this mapping, which is the one that the pager was made for, and reserved.
    pub(super) unsafe fn commit(
        &self,
        mapping: &Mapping,
        pages: PageRange,
        written: Option<PageIndex>,
    ) -> Result<(), OsCode> {
        match self {
            // SAFETY: the contract, passed on.
            Pager::Protection => unsafe { mapping.commit(pages) },
            Pager::Userfault(userfault) => {
                let filled = match written {
                    // SAFETY: attached (invariant).
                    Some(page) => unsafe { mapping.fill_written(page, userfault) },
                    None => Ok(()),
                };
                let filled = match (filled, written) {
                    (Ok(()), Some(page)) if pages == page.alone() => Ok(()),
                    // SAFETY: attached (invariant).
                    (Ok(()), _) => unsafe { mapping.fill(pages, userfault) },
                    (refused, _) => refused,
                };
                filled.inspect_err(|_| {
                    // Those that were filled before memory ran out. Should this fail, they are there for nothing.
                    // SAFETY: the same pages, of which nobody has been told.
                    let _ = unsafe { mapping.empty(pages, userfault) };
                })
            }
        }
    }

    /// Makes pages reserved, whatever they are.
    ///
    /// # Safety
    /// As for `commit`, and no reference points into the pages.
    pub(super) unsafe fn decommit(&self, mapping: &Mapping, pages: PageRange) -> Result<(), OsCode> {
        match self {
            // SAFETY: the contract, passed on.
            Pager::Protection => unsafe { mapping.decommit(pages) },
            // SAFETY: the contract, passed on; the pages are attached (invariant).
            Pager::Userfault(userfault) => unsafe { mapping.empty(pages, userfault) },
        }
    }

    /// Whether the access of a fault on a page that is committed will work now; `None` if the system does not tell.
    ///
    /// # Safety
    /// As for `commit`, of the page of the fault, but that it is committed.
    pub(super) unsafe fn allows(&self, mapping: &Mapping, fault: &Fault<'_>) -> Result<Option<bool>, OsCode> {
        match self {
            // Missing in the page table: nobody has touched it since it was committed, and now it is a forked child's.
            // Or another thread has just filled it.
            Pager::Userfault(userfault) if fault.is_missing => {
                // SAFETY: attached (invariant).
                unsafe { mapping.fill(PageIndex::holding(fault.offset()).alone(), userfault) }?;
                Ok(Some(fault.access() != FaultAccess::Execute))
            }
            _ => Ok(os::allows(fault.address(), fault.access())),
        }
    }

    /// In a forked child: makes missing pages fault again, of the first `pages` of the mapping.
    pub(super) fn reattach(&self, mapping: &Mapping, pages: PageCount) -> Result<(), OsCode> {
        match self {
            Pager::Protection => Ok(()),
            Pager::Userfault(userfault) => mapping.reattach(PageRange::new(0, pages.get()), userfault),
        }
    }
}

fn lock() -> MutexGuard<'static, Weak<Userfault>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shared() -> Result<Arc<Userfault>, OsCode> {
    let mut shared = lock();
    if let Some(userfault) = shared.upgrade() {
        return Ok(userfault);
    }
    let userfault = Arc::new(os::open_userfault()?);
    *shared = Arc::downgrade(&userfault);
    Ok(userfault)
}

/// The shared userfaultfd, locked across a fork.
pub(crate) struct Held(MutexGuard<'static, Weak<Userfault>>);

pub(crate) fn hold() -> Held {
    Held(lock())
}

impl Held {
    /// In a forked child: the descriptor is the parent's. Regions are told by [`Pager::reattach`] whether that failed.
    pub(crate) fn reopen(&self) {
        if let Some(userfault) = self.0.upgrade() {
            // Without one, the regions cannot be attached, and say so.
            let _ = userfault.reopen();
        }
    }
}
