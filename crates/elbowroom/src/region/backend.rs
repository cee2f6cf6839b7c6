//! How the pages of a region come and go.

#![allow(unsafe_code, reason = "changes pages of mappings")]

use std::sync::{Arc, Weak};

use super::filter::Fault;
use crate::fault::fork::{self, AtFork, Kept, Rank};
use crate::mapping::Mapping;
use crate::os::{self, Userfault};
use crate::page::{PageCount, PageIndex, PageRange};
use crate::plain::{FaultAccess, OsCode};
use crate::sync::{QuietGuard, QuietMutex};

/// The means by which a region commits a page that is touched.
///
/// - [`Protection`](Backend::Protection), everywhere: for runs of pages.
/// - [`Userfault`](Backend::Userfault), on Linux: for single pages here and there.
/// - [`UserfaultMonitor`](Backend::UserfaultMonitor), on Linux: for memory that system calls fill.
///
/// | | `Protection` | `Userfault` | `UserfaultMonitor` |
/// |---|---|---|---|
/// | privilege | none | none since Linux 5.11 | yes, see there |
/// | a touch | raises SIGSEGV, an access violation | raises SIGBUS | sleeps while a thread commits |
/// | a system call's touch | fails with EFAULT | fails with EFAULT | as the program's |
/// | separate runs of committed pages | some 32,000 a process on Linux | any number | any number |
/// | system's commit limit | charged, can refuse | not charged | not charged |
/// | huge pages | yes | no | no |
/// | a filter can [fill](crate::Fault::fill) | no | yes | yes |
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
    /// is made; so it is to RLIMIT_DATA. All such regions of a process share one file descriptor. If other code closes
    /// it, missing pages read as zero, and no filter and no limit is asked.
    Userfault,
    /// userfaultfd(2), served by threads of the region's own: a thread that touches a reserved page sleeps until the
    /// page is committed, also inside a system call. `read(2)` straight into the region works; a refusal by a limit or
    /// by the filter gives it EFAULT or a short count.
    ///
    /// A filter runs on these threads: as many as [`filter_threads`](crate::RegionBuilder::filter_threads), at least
    /// one. Commits are charged as with [`Userfault`](Backend::Userfault). A forked child has no such threads. There
    /// the region goes on as `Userfault`, and with a filter every touch is refused. A touch that is refused in an
    /// accessor or through a pointer arrives as SIGSEGV.
    UserfaultMonitor,
    /// [`Userfault`](Backend::Userfault) where the system allows it, else [`Protection`](Backend::Protection). Which of
    /// the two it is, [`Region::backend`](crate::Region::backend) tells.
    Auto,
}

/// The userfaultfd of all regions that use signals, while there is one.
static SHARED: QuietMutex<Weak<Userfault>> = QuietMutex::new(Weak::new());

/// A region's backend at work.
pub(super) enum Pager {
    Protection,
    // Invariant: attached to the pages of the region and its guard page.
    Userfault(Arc<Userfault>),
    Served(Served),
}

/// The userfaultfd of one region alone, with threads that serve it.
pub(super) struct Served {
    // Invariant: attached to the pages of the region and its guard page. In a process of this generation it reports
    // events; in a forked child it raises signals.
    userfault: Userfault,
    generation: usize,
}

impl Served {
    /// Returns the userfaultfd, unless this process is a forked child, which has no such threads.
    pub(super) fn events(&self) -> Option<&Userfault> {
        (fork::generation() == self.generation).then_some(&self.userfault)
    }
}

impl Pager {
    /// Prepares the first `pages` of a mapping that nobody else knows yet.
    pub(super) fn new(
        backend: Backend,
        mapping: &Mapping,
        pages: PageCount,
    ) -> Result<Pager, OsCode> {
        match backend {
            Backend::Protection => Ok(Pager::Protection),
            Backend::Userfault => Pager::userfault(mapping, pages),
            Backend::UserfaultMonitor => {
                let userfault = os::open_userfault_for_events()?;
                attach(&userfault, mapping, pages)?;
                Ok(Pager::Served(Served {
                    userfault,
                    generation: fork::generation(),
                }))
            }
            Backend::Auto => Pager::userfault(mapping, pages).or(Ok(Pager::Protection)),
        }
    }

    fn userfault(mapping: &Mapping, pages: PageCount) -> Result<Pager, OsCode> {
        let userfault = shared()?;
        attach(&userfault, mapping, pages)?;
        Ok(Pager::Userfault(userfault))
    }

    /// Returns what the pages are attached to, if they are.
    fn attached(&self) -> Option<&Userfault> {
        match self {
            Pager::Protection => None,
            Pager::Userfault(userfault) => Some(userfault),
            Pager::Served(served) => Some(&served.userfault),
        }
    }

    /// Returns the userfaultfd whose events are served in this process, if there is one.
    pub(super) fn events(&self) -> Option<&Userfault> {
        match self {
            Pager::Served(served) => served.events(),
            _ => None,
        }
    }

    pub(super) fn backend(&self) -> Backend {
        match self {
            Pager::Protection => Backend::Protection,
            Pager::Userfault(_) => Backend::Userfault,
            Pager::Served(_) => Backend::UserfaultMonitor,
        }
    }

    /// Whether a fault is a touch of a page that is not there, which a commit cures.
    pub(super) fn is_page_fault(&self, is_inaccessible: bool, is_missing: bool) -> bool {
        is_inaccessible || (is_missing && self.attached().is_some())
    }

    /// Commits reserved pages, one of which is about to be written, if that is known.
    ///
    /// # Safety
    /// The pages are reserved, or no reference points into them: a refusal takes them away.
    pub(super) unsafe fn commit(
        &self,
        mapping: &Mapping,
        pages: PageRange,
        written: Option<PageIndex>,
    ) -> Result<(), OsCode> {
        let Some(userfault) = self.attached() else {
            // SAFETY: the contract, passed on.
            return unsafe { mapping.commit(pages) };
        };
        let filled = match written {
            Some(page) => mapping.fill_written(page, userfault),
            None => Ok(()),
        };
        let filled = match (filled, written) {
            (Ok(()), Some(page)) if pages == page.alone() => Ok(()),
            (Ok(()), _) => mapping.fill(pages, userfault),
            (refused, _) => refused,
        };
        filled.inspect_err(|_| {
            // Those that were filled before memory ran out.
            // SAFETY: no reference points into the pages: they were reserved, and none was announced since (contract).
            unsafe { self.uncommit(mapping, pages) };
        })
    }

    /// Commits reserved pages with these contents, which are as long as the pages. Returns false if it cannot, because
    /// the pages are not attached.
    pub(super) fn fill(
        &self,
        mapping: &Mapping,
        pages: PageRange,
        contents: &[u8],
    ) -> Result<bool, OsCode> {
        let Some(userfault) = self.attached() else {
            return Ok(false);
        };
        let filled = mapping.fill_with(pages, userfault, contents);
        filled.map(|()| true).inspect_err(|_| {
            // Those that were filled before memory ran out.
            // SAFETY: no reference points into the pages: they were reserved, and none was announced since.
            unsafe { self.uncommit(mapping, pages) };
        })
    }

    /// Makes pages reserved again that were committed a moment ago. If the system refuses, they are accessible without
    /// use, until they are committed or released.
    ///
    /// # Safety
    /// The pages were not announced as committed, so no reference points into them.
    pub(super) unsafe fn uncommit(&self, mapping: &Mapping, pages: PageRange) {
        match self.attached() {
            // SAFETY: the pages were not announced as committed, so no reference points into them (contract).
            None => unsafe { mapping.uncommit(pages) },
            // SAFETY: no reference points into the pages (contract).
            Some(userfault) => drop(unsafe { mapping.empty(pages, userfault) }),
        }
    }

    /// Makes pages reserved, whatever they are.
    ///
    /// # Safety
    /// No reference points into the pages.
    pub(super) unsafe fn decommit(
        &self,
        mapping: &Mapping,
        pages: PageRange,
    ) -> Result<(), OsCode> {
        match self.attached() {
            // SAFETY: no reference points into the pages (contract).
            None => unsafe { mapping.decommit(pages) },
            // SAFETY: no reference points into the pages (contract).
            Some(userfault) => unsafe { mapping.empty(pages, userfault) },
        }
    }

    /// Makes committed pages resident that were committed because `page` is about to be written. `huge` are those of
    /// them for which huge pages are wanted.
    ///
    /// Without a lock, because it may take a while. Another thread may decommit the pages meanwhile; they then stay
    /// reserved.
    ///
    /// # Safety
    /// The fault handler is installed.
    pub(super) unsafe fn prefault(
        &self,
        mapping: &Mapping,
        pages: PageRange,
        page: PageIndex,
        huge: PageRange,
    ) {
        match self {
            Pager::Protection => {
                if !huge.is_empty() {
                    mapping.advise_huge(huge);
                }
                // A single page, too: the instruction runs again for certain, and this costs less than the kernel's
                // page fault would.
                // SAFETY: the handler is installed (contract).
                unsafe { mapping.prefault(pages) };
            }
            // It has no huge pages, and the page that is written is filled already.
            // SAFETY: the handler is installed (contract).
            Pager::Userfault(_) if pages != page.alone() => unsafe { mapping.prefault(pages) },
            Pager::Userfault(_) => {}
            // A prefault touches pages. If another thread has just decommitted one, the touch waits for the threads
            // that serve the region, and this may be one of them.
            Pager::Served(_) => {}
        }
    }

    /// Returns whether the access of a fault on a page that is committed will work now; `None` if the system does not
    /// tell.
    pub(super) fn allows(
        &self,
        mapping: &Mapping,
        fault: &Fault<'_>,
    ) -> Result<Option<bool>, OsCode> {
        match self.attached() {
            // Missing in the page table: nobody has touched it since it was committed, and now it is a forked child's.
            // Or another thread has just filled it; threads that wait for it are woken.
            Some(userfault) if fault.is_missing() => {
                let page = PageIndex::holding(fault.offset()).alone();
                mapping.fill(page, userfault)?;
                self.wake(mapping, page);
                Ok(Some(fault.access() != FaultAccess::Execute))
            }
            _ => Ok(os::allows(fault.address(), fault.access())),
        }
    }

    /// Wakes the threads that wait for pages that have just been committed and accounted for, where threads may wait.
    pub(super) fn wake(&self, mapping: &Mapping, pages: PageRange) {
        if let Some(userfault) = self.events() {
            mapping.wake(pages, userfault);
        }
    }

    /// In a forked child: makes missing pages fault again, of the first `pages` of the mapping.
    pub(super) fn reattach(&self, mapping: &Mapping, pages: PageCount) -> Result<(), OsCode> {
        match self {
            Pager::Protection => Ok(()),
            // Opened again already, for all regions that share it.
            Pager::Userfault(userfault) => {
                mapping.reattach(PageRange::new(0, pages.get()), userfault)
            }
            Pager::Served(Served { userfault, .. }) => {
                userfault.reopen()?;
                mapping.reattach(PageRange::new(0, pages.get()), userfault)
            }
        }
    }
}

/// Attaches the first `pages` of a mapping that nobody else knows yet.
fn attach(userfault: &Userfault, mapping: &Mapping, pages: PageCount) -> Result<(), OsCode> {
    // SAFETY: the mapping was just made, and no other code knows of it, so no reference points into it.
    unsafe { mapping.attach(PageRange::new(0, pages.get()), userfault) }
}

fn shared() -> Result<Arc<Userfault>, OsCode> {
    fork::register(Rank::Backend, &STATE);
    let mut shared = SHARED.lock();
    if let Some(userfault) = shared.upgrade() {
        return Ok(userfault);
    }
    let userfault = Arc::new(os::open_userfault()?);
    *shared = Arc::downgrade(&userfault);
    Ok(userfault)
}

/// The shared userfaultfd at a fork: its lock.
struct AtForkOfShared(Kept<QuietGuard<'static, Weak<Userfault>>>);

static AT_FORK: AtForkOfShared = AtForkOfShared(Kept::new());

static STATE: &dyn AtFork = &AT_FORK;

impl AtFork for AtForkOfShared {
    fn hold(&self) {
        let shared = SHARED.lock();
        // SAFETY: this thread holds SHARED, which every caller of these methods takes first.
        unsafe { self.0.keep(shared) };
    }

    unsafe fn let_go(&self) {
        // SAFETY: kept in `hold` by this thread or the one that it is a copy of (contract).
        drop(unsafe { self.0.take() });
    }

    fn in_child(&self) {
        // The descriptor is the parent's.
        let userfault = SHARED.lock().upgrade();
        if let Some(userfault) = userfault {
            // On failure the regions cannot be attached: `Pager::reattach` says so.
            let _ = userfault.reopen();
        }
    }
}
