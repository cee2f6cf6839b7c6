//! The ways to commit and decommit the pages of a region.

#![allow(unsafe_code, reason = "changes pages of mappings")]

use std::sync::{Arc, Weak};

use super::filter::Fault;
use crate::fault::fork::{self, AtFork, Kept, Rank};
use crate::mapping::Mapping;
use crate::os;
use crate::os::userfault::{self, Userfault};
use crate::page::{PageCount, PageIndex, PageRange};
use crate::plain::{FaultAccess, OsCode};
use crate::sync::{QuietGuard, QuietMutex};

/// The way in which a region commits a touched page.
///
/// - [`Protection`](Backend::Protection), on all systems: for runs of pages.
/// - [`Userfault`](Backend::Userfault), on Linux: for scattered single pages.
/// - [`UserfaultMonitor`](Backend::UserfaultMonitor), on Linux: for memory that system calls fill.
///
/// | | `Protection` | `Userfault` | `UserfaultMonitor` |
/// |---|---|---|---|
/// | privilege | none | none since Linux 5.11 | required, see below |
/// | a touch | raises SIGSEGV, an access violation | raises SIGBUS | sleeps while a thread commits |
/// | a system call's touch | fails with EFAULT | fails with EFAULT | works like the program's |
/// | separate runs of committed pages | some 32,000 a process on Linux | any number | any number |
/// | system's commit limit | charged, can refuse | not charged | not charged |
/// | huge pages | yes | no | no |
/// | a filter can [fill](crate::Fault::fill) | no | yes | yes |
///
/// ```
/// use elbowroom::{Backend, Region};
///
/// let region = Region::builder(1 << 30).backend(Backend::Auto).build()?;
/// region.try_write(1 << 29, 7u8)?;
/// assert_ne!(region.backend(), Backend::Auto); // the one that was chosen
/// # Ok::<(), elbowroom::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// Reserved pages are inaccessible, and a commit makes them accessible: mprotect(2), VirtualAlloc. On Linux each
    /// separate run of committed pages is a mapping, and a process may have some 65,000 of them.
    #[default]
    Protection,
    /// userfaultfd(2) that raises SIGBUS: reserved pages are accessible and missing, and a commit fills them with
    /// zeros. The region is one mapping, wherever its pages lie.
    ///
    /// Commits are not charged to the system's commit limit. In strict mode (`vm.overcommit_memory=2`), the whole
    /// region is charged when it is made, and it always counts whole towards RLIMIT_DATA. All such regions of a process
    /// share one file descriptor. If other code closes it, missing pages read as zero, and neither filters nor limits
    /// apply.
    Userfault,
    /// userfaultfd(2) served by the region's own threads: a thread that touches a reserved page sleeps until the page
    /// is committed, also inside a system call. So `read(2)` straight into the region works; if a limit or the filter
    /// refuses, it fails with EFAULT or returns a short count.
    ///
    /// A filter runs on these threads: as many as [`filter_threads`](crate::RegionBuilder::filter_threads) says, but at
    /// least one. Commits are charged as with [`Userfault`](Backend::Userfault). A forked child has no such threads:
    /// there the region continues as `Userfault`, and with a filter every touch is refused. A refused touch in an
    /// accessor or through a pointer arrives as SIGSEGV.
    UserfaultMonitor,
    /// [`Userfault`](Backend::Userfault) if the system allows it, otherwise [`Protection`](Backend::Protection).
    /// [`Region::backend`](crate::Region::backend) returns the one chosen.
    Auto,
}

/// The userfaultfd that all regions with signals share, while there are any.
static SHARED: QuietMutex<Weak<Userfault>> = QuietMutex::new(Weak::new());

/// The backend of one region.
pub(super) enum Pager {
    Protection,
    // Invariant: attached to the pages of the region and to its guard page.
    Userfault(Arc<Userfault>),
    Served(Served),
}

/// The userfaultfd of a single region, with the threads that serve it.
pub(super) struct Served {
    // Invariant: attached to the pages of the region and to its guard page. In a process of this generation it reports
    // events; in a forked child it raises signals.
    userfault: Userfault,
    generation: usize,
}

impl Served {
    /// Returns the userfaultfd, or `None` if this process is a forked child, which has no such threads.
    pub(super) fn events(&self) -> Option<&Userfault> {
        (fork::generation() == self.generation).then_some(&self.userfault)
    }
}

impl Pager {
    /// Prepares the first `pages` of a new mapping that no other code knows yet.
    pub(super) fn new(
        backend: Backend,
        mapping: &Mapping,
        pages: PageCount,
    ) -> Result<Pager, OsCode> {
        match backend {
            Backend::Protection => Ok(Pager::Protection),
            Backend::Userfault => Pager::userfault(mapping, pages),
            Backend::UserfaultMonitor => {
                let userfault = userfault::open_for_events()?;
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

    /// Returns the userfaultfd that the pages are attached to, if any.
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

    /// Returns whether a fault is a touch of an absent page, which a commit resolves.
    pub(super) fn is_page_fault(&self, is_inaccessible: bool, is_missing: bool) -> bool {
        is_inaccessible || (is_missing && self.attached().is_some())
    }

    /// Commits reserved pages. If `written` is known, that one of them is about to be written.
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
            // SAFETY: the pages are reserved, or no reference points into them (contract).
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
            // Undoes the pages that were filled before memory ran out.
            // SAFETY: no reference points into the pages: they were reserved, and were not announced as committed since
            // (contract).
            unsafe { self.uncommit(mapping, pages) };
        })
    }

    /// Commits reserved pages with these contents, which are exactly as long as the pages. Returns false if the pages
    /// are not attached to a userfaultfd, and cannot be filled.
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

    /// Makes pages reserved again that were committed a moment ago. If the system refuses, they stay accessible and
    /// unused until they are committed or released.
    ///
    /// # Safety
    /// The pages were not announced as committed, so no reference points into them.
    pub(super) unsafe fn uncommit(&self, mapping: &Mapping, pages: PageRange) {
        match self.attached() {
            // SAFETY: the pages were not announced as committed, so no reference points into them (contract).
            None => unsafe { mapping.uncommit(pages) },
            // SAFETY: the pages were not announced as committed, so no reference points into them (contract).
            Some(userfault) => drop(unsafe { mapping.empty(pages, userfault) }),
        }
    }

    /// Makes pages reserved, in whatever state they are.
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

    /// Makes pages resident that were committed because `page` is about to be written. `huge` is the part of them for
    /// which huge pages are wanted.
    ///
    /// The caller holds no lock, because this may take a while. If another thread decommits the pages meanwhile, they
    /// stay reserved.
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
                // A single page is prefaulted, too: the instruction runs again in any case, and this costs less than
                // the kernel's page fault.
                // SAFETY: the handler is installed (contract).
                unsafe { mapping.prefault(pages) };
            }
            // This backend has no huge pages, and the written page is filled already.
            // SAFETY: the handler is installed (contract).
            Pager::Userfault(_) if pages != page.alone() => unsafe { mapping.prefault(pages) },
            Pager::Userfault(_) => {}
            // A prefault touches pages. If another thread has just decommitted one, the touch waits for the threads
            // that serve the region, and this may be one of them.
            Pager::Served(_) => {}
        }
    }

    /// Returns whether the access of a fault on a committed page will work now, or `None` if the system does not tell.
    pub(super) fn allows(
        &self,
        mapping: &Mapping,
        fault: &Fault<'_>,
    ) -> Result<Option<bool>, OsCode> {
        match self.attached() {
            // The page is missing in the page table. Either it was committed and never touched, and this is a forked
            // child; or another thread has just filled it, and waiting threads are woken.
            Some(userfault) if fault.is_missing() => {
                let page = PageIndex::holding(fault.offset()).alone();
                mapping.fill(page, userfault)?;
                self.wake(mapping, page);
                Ok(Some(fault.access() != FaultAccess::Execute))
            }
            _ => Ok(os::allows(fault.address(), fault.access())),
        }
    }

    /// Wakes the threads that wait for pages that have just been committed and accounted for, if the backend lets
    /// threads wait.
    pub(super) fn wake(&self, mapping: &Mapping, pages: PageRange) {
        if let Some(userfault) = self.events() {
            mapping.wake(pages, userfault);
        }
    }

    /// Makes the missing pages among the first `pages` of the mapping fault again, in a forked child.
    pub(super) fn reattach(&self, mapping: &Mapping, pages: PageCount) -> Result<(), OsCode> {
        match self {
            Pager::Protection => Ok(()),
            // It has been opened again already, for all regions that share it.
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

/// Attaches the first `pages` of a new mapping that no other code knows yet.
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
    let userfault = Arc::new(userfault::open()?);
    *shared = Arc::downgrade(&userfault);
    Ok(userfault)
}

/// The lock of the shared userfaultfd, across a fork.
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
        // The descriptor serves the parent's memory.
        let userfault = SHARED.lock().upgrade();
        if let Some(userfault) = userfault {
            // If it fails, the regions cannot be attached, and `Pager::reattach` returns that error.
            let _ = userfault.reopen();
        }
    }
}
