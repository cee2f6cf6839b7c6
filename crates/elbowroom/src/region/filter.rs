//! The types that a filter receives and returns.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;

use crate::error::Error;
use crate::fault::{OwnerId, Touch};
use crate::page::PageCount;
use crate::plain::{FaultAccess, FaultCode};

/// A filter, in the form that a region keeps.
pub(super) type Filter = dyn Fn(&Fault<'_>) -> Verdict + Send + Sync;

/// The operations of a region that a fault offers to its filter.
pub(super) trait Faulted: Sync {
    /// Returns the identity of the region.
    fn id(&self) -> OwnerId;

    /// Returns the name, or the empty string.
    fn name(&self) -> &str;

    /// Returns the number of committed bytes.
    fn committed_bytes(&self) -> usize;

    /// Returns the number of bytes that may be committed.
    fn commit_limit_bytes(&self) -> usize;

    /// Commits the window of a fault.
    fn commit_window_of(&self, fault: &Fault<'_>) -> Result<Range<usize>, Error>;

    /// Decommits pages.
    fn decommit(&self, range: Range<usize>) -> Result<(), Error>;

    /// Commits pages with these contents, from the page of a fault on.
    fn fill_from_page_of(&self, fault: &Fault<'_>, contents: &[u8]) -> Result<Range<usize>, Error>;

    /// Calls the filter.
    fn ask_filter(&self, fault: &Fault<'_>) -> Verdict;
}

/// A touch of an uncommitted page of a region, as its filter sees it.
///
/// ```
/// use elbowroom::{Region, Verdict, page_size};
///
/// let region = Region::builder(1 << 30)
///     .commit_limit(page_size())
///     .filter(|fault| match fault.commit() {
///         Ok(_) => Verdict::Commit,
///         Err(error) => {
///             eprintln!("{:?} of byte {}: {error}", fault.access(), fault.offset());
///             Verdict::Decline
///         }
///     })
///     .build()?;
/// region.try_write(0, 1u8)?;
/// assert!(region.try_write(1 << 20, 2u8).unwrap_err().is_declined());
/// # Ok::<(), elbowroom::Error>(())
/// ```
pub struct Fault<'a> {
    region: &'a dyn Faulted,
    touch: Touch,
    // The offset from the base of the region.
    offset: usize,
    is_page_fault: bool,
    // The pages that the filter has committed itself. The Cell also keeps a fault on the thread that handles it, where
    // asynchronous signals are blocked, as `commit` requires.
    committed: Cell<Option<PageCount>>,
}

impl<'a> Fault<'a> {
    /// Returns the fault of a touch at `offset` of a region. The caller states whether a commit resolves it.
    pub(super) fn new(
        region: &'a dyn Faulted,
        touch: Touch,
        offset: usize,
        is_page_fault: bool,
    ) -> Fault<'a> {
        Fault {
            region,
            touch,
            offset,
            is_page_fault,
            committed: Cell::new(None),
        }
    }

    /// Returns the address that was touched.
    pub fn address(&self) -> usize {
        self.touch.address
    }

    /// Returns the touched byte as an offset from the base of the region.
    ///
    /// The offset is `region.len()` or more for a touch of the guard page behind the region, which can
    /// never be committed.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Returns whether the instruction was reading, writing or executing.
    pub fn access(&self) -> FaultAccess {
        self.touch.access
    }

    /// Returns the platform's name for the fault: the signal and its code, or the exception code.
    pub fn code(&self) -> FaultCode {
        self.touch.code
    }

    /// Returns whether it is a page fault, which a commit resolves.
    ///
    /// Page faults are `EXCEPTION_ACCESS_VIOLATION`, SIGSEGV for memory that is not mapped or not accessible, and with
    /// [`Backend::Userfault`](crate::Backend::Userfault) SIGBUS for memory that is missing. Other faults in a region's
    /// addresses, such as a bus error of a file that the program has mapped there, reach the filter as well. They are
    /// refused in any case.
    pub fn is_page_fault(&self) -> bool {
        self.is_page_fault
    }

    /// Returns the name of the region, or the empty string.
    pub fn region_name(&self) -> &str {
        self.region.name()
    }

    /// Returns the number of committed bytes of the region.
    pub fn committed_bytes(&self) -> usize {
        self.region.committed_bytes()
    }

    /// Returns the region's commit limit in bytes.
    pub fn commit_limit_bytes(&self) -> usize {
        self.region.commit_limit_bytes()
    }

    /// Commits the window of this fault now, for a filter that needs to know whether the commit works.
    ///
    /// Without this call, the region commits after the filter has answered [`Verdict::Commit`].
    ///
    /// Returns the committed bytes. The range is empty if another thread has just committed the page.
    ///
    /// # Errors
    /// Fails as [`Region::commit`](crate::Region::commit) does, and with `is_invalid_range()` for a
    /// touch of the guard page behind the region.
    pub fn commit(&self) -> Result<Range<usize>, Error> {
        let bytes = self.region.commit_window_of(self)?;
        self.committed.set(Some(PageCount::inside(bytes.len())));
        Ok(bytes)
    }

    /// Commits pages with these contents, beginning with the page of this fault.
    ///
    /// No thread sees a page before its contents are complete. So a region can be a cache of a file or a database: the
    /// filter reads the bytes, fills the page and answers [`Verdict::Commit`]; a later
    /// [`decommit`](crate::Region::decommit) removes them from the cache.
    ///
    /// `contents` is a whole number of pages. It is used up to the first page that is already committed, as far as the
    /// limits leave room, but at least for the page of this fault. Returns the committed bytes. The range is empty if
    /// another thread has just committed the page of this fault.
    ///
    /// ```
    /// use elbowroom::{Backend, Region, Verdict, page_size};
    ///
    /// let source: Vec<u8> = (0..64 * page_size()).map(|n| (n % 251) as u8).collect();
    /// let bytes = source.clone();
    /// let region = Region::builder(source.len())
    ///     .backend(Backend::Userfault)
    ///     .filter(move |fault| {
    ///         let page = fault.offset() / page_size() * page_size();
    ///         match fault.fill(&bytes[page..page + page_size()]) {
    ///             Ok(_) => Verdict::Commit,
    ///             Err(_) => Verdict::Decline,
    ///         }
    ///     })
    ///     .build();
    /// // Linux, unless the system forbids userfaultfd.
    /// if let Ok(region) = region {
    ///     assert_eq!(region.try_read::<u8>(100_000)?, source[100_000]);
    ///     assert_eq!(region.stats().committed_bytes, page_size());
    ///     region.decommit(0..region.len())?;
    ///     assert_eq!(region.try_read::<u8>(100_001)?, source[100_001]);
    /// }
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails as [`commit`](Fault::commit) does. Fails with `is_unsupported()` for a region whose
    /// [`Backend`](crate::Backend) is [`Protection`](crate::Backend::Protection), the only one outside Linux: its
    /// commits make pages accessible before they could be filled. Fails with `is_invalid_range()` if `contents` is
    /// empty, not a whole number of pages, or longer than the rest of the region. Nothing has changed then.
    pub fn fill(&self, contents: &[u8]) -> Result<Range<usize>, Error> {
        let bytes = self.region.fill_from_page_of(self, contents)?;
        self.committed.set(Some(PageCount::inside(bytes.len())));
        Ok(bytes)
    }

    /// Decommits pages of the region, so that a filter can make room for the page of this fault.
    ///
    /// # Errors
    /// See [`Region::decommit`](crate::Region::decommit).
    pub fn decommit(&self, range: Range<usize>) -> Result<(), Error> {
        self.region.decommit(range)
    }

    /// Returns the number of pages that the filter has committed itself, if it has called [`commit`](Fault::commit) or
    /// [`fill`](Fault::fill).
    pub(super) fn committed(&self) -> Option<PageCount> {
        self.committed.get()
    }

    /// Returns whether the page is missing from accessible memory.
    pub(super) fn is_missing(&self) -> bool {
        self.touch.is_missing
    }

    pub(super) fn region(&self) -> &'a dyn Faulted {
        self.region
    }
}

impl fmt::Debug for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("region", &self.region_name())
            .field("offset", &self.offset())
            .field("access", &self.access())
            .field("code", &self.code())
            .finish_non_exhaustive()
    }
}

/// The answer of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Commit the page, within the region's limits, and run the faulting instruction again.
    Commit,
    /// Refuse the touch.
    ///
    /// An accessor returns an error. A touch through a plain pointer goes to the handlers that were
    /// installed before ours, which usually end the process.
    Decline,
}

thread_local! {
    /// The filters to drop after the one that this thread is dropping; `None` if it drops none.
    static WAITING: RefCell<Option<Vec<Box<Filter>>>> = const { RefCell::new(None) };
}

/// Drops a filter. Inside the drop of another filter, the drop is delayed until that one has ended. A filter may own a
/// region whose filter owns the next region, and so on; by recursion, a long chain would overflow the stack.
pub(super) fn drop_in_turn(filter: Box<Filter>) {
    let mut next = Some(filter);
    // If the thread's storage is gone, the filter is dropped at once.
    let is_first = WAITING.try_with(|waiting| match &mut *waiting.borrow_mut() {
        Some(waiting) => {
            waiting.extend(next.take());
            false
        }
        none => {
            *none = Some(Vec::new());
            true
        }
    });
    if is_first != Ok(true) {
        return drop(next);
    }
    /// Ends the turn, also if a destructor panics: the filters that still wait are dropped then.
    struct Turn;
    impl Drop for Turn {
        fn drop(&mut self) {
            let waiting = WAITING.try_with(|waiting| waiting.borrow_mut().take());
            drop(waiting);
        }
    }
    let _turn = Turn;
    while let Some(filter) = next.take() {
        drop(filter);
        next = WAITING
            .try_with(|waiting| waiting.borrow_mut().as_mut()?.pop())
            .ok()
            .flatten();
    }
}
