//! A vector that many threads append to, and whose elements are a slice all the while.

#![allow(
    unsafe_code,
    reason = "keeps elements in memory that it commits itself, and hands out claims to it"
)]

use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem;
use std::ops::Range;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::slice;

use super::claims::{Claims, Slots};
use super::reserved_vec::accept;
use super::share;
use super::{ContainerBuilder, ContainerStats, PushError, drop_each};
use crate::error::Error;
use crate::plain::Span;
use storage::Storage;

mod access;
mod finished;
mod into_iter;
#[cfg(feature = "rayon")]
mod parallel;
mod storage;
mod traits;

pub use finished::Finished;
pub use into_iter::IntoIter;

/// A vector that any number of threads append to at once, through `&self`, and that is a slice all the while.
///
/// Elements never move: a reference to one stays valid until the vector is dropped or cleared, and all elements that
/// are there so far are one `&[T]`, whatever is appended meanwhile. No thread ever waits for a reader, and no reader
/// for anybody.
///
/// ```
/// use elbowroom::AppendVec;
///
/// static SEEN: AppendVec<String> = AppendVec::new();
///
/// std::thread::scope(|scope| {
///     for name in ["a", "b", "c"] {
///         scope.spawn(move || {
///             let (index, stored) = SEEN.push(name.repeat(3));
///             assert_eq!(&SEEN[index], stored);
///         });
///     }
/// });
/// let mut all = SEEN.as_slice().to_vec();
/// all.sort();
/// assert_eq!(all, ["aaa", "bbb", "ccc"]);
/// ```
///
/// # What is seen when
///
/// A push *claims* an index, writes the element, and with that has *finished*.
///
/// - [`get`](AppendVec::get) and indexing show an element as soon as its own push has finished. To the thread that
///   pushed it, and to the threads that it tells of it, that is at once.
/// - [`as_slice`](AppendVec::as_slice), [`iter`](AppendVec::iter) and [`len`](AppendVec::len) show the elements from
///   the first on up to one that is unfinished. An element is in the slice if its push and those of all lower indices
///   happened before the call: a thread sees what it pushed, unless another's push of a lower index is, as far as it
///   can know, still under way. What has been in one slice is in every later one.
///
/// So a thread that is stopped in the middle of a push holds back the *sight* of later elements in slices, and nothing
/// else: others push, and reach what they pushed by its index. From its claim to its end a [`push`](AppendVec::push)
/// is a few instructions. For [`push_with`](AppendVec::push_with) it is as long as the closure takes: do slow work
/// before it. If the closure panics, its index is used by the next push, of whatever thread, and until then slices end
/// there. What is finished behind it is not lost: it is reached by index, yielded by `into_iter` and dropped in its
/// time.
///
/// # Errors
///
/// Each method that may need memory has a form that returns an [`Error`]: `is_limit()` beyond
/// [`max_len`](AppendVec::max_len), the commit limit or a budget; `is_out_of_memory()` if the system refuses. Then no
/// element was added, no index is lost, and once there is room again pushes succeed again. The plain forms panic with
/// the error's text.
///
/// # What it costs
///
/// Beside the elements there is a byte for each, committed along with it; limits and [`stats`](AppendVec::stats) count
/// those too. It takes memory only where pushes overtake each other.
///
/// In a child process made by `fork`, a push that another thread was in the middle of never finishes.
pub struct AppendVec<T> {
    claims: Claims,
    // Invariant: made for elements of T's layout.
    storage: Storage,
    /// It owns elements, and drops them. As it takes them through `&self`, a vector of long-lived references must not
    /// pass for one of shorter-lived ones, as it would with `PhantomData<T>`:
    ///
    /// ```compile_fail,E0597
    /// let names = elbowroom::AppendVec::<&'static str>::new();
    /// {
    ///     let short_lived = String::from("name");
    ///     names.push(&short_lived);
    /// }
    /// println!("{names:?}");
    /// ```
    elements: PhantomData<UnsafeCell<T>>,
}

// SAFETY: `&self` gives out `&T`, so T must be Sync; and it takes Ts that the owner of the vector then has, so Send.
// The rest is atomics, locks and memory that belongs to no thread.
unsafe impl<T: Send + Sync> Sync for AppendVec<T> {}

// A panic, in a closure or a drop, leaves every element whole.
impl<T: UnwindSafe> UnwindSafe for AppendVec<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for AppendVec<T> {}

impl<T> AppendVec<T> {
    /// Returns an empty vector whose maximum follows from the address space that is free: 64 GiB, or less by the rule
    /// of [`ReservedVec::new`](crate::ReservedVec::new). Nothing is reserved until the first element comes.
    pub const fn new() -> AppendVec<T> {
        AppendVec::unreserved(share::NO_MAX)
    }

    /// Returns an empty vector that can hold `max_len` elements. Nothing is reserved until the first one comes.
    pub const fn with_max_len(max_len: usize) -> AppendVec<T> {
        AppendVec::unreserved(share::told(max_len))
    }

    const fn unreserved(max_len: usize) -> AppendVec<T> {
        AppendVec::with_storage(Storage::new(Layout::new::<T>(), max_len))
    }

    /// Returns an empty vector with storage that is for elements of T's layout.
    const fn with_storage(storage: Storage) -> AppendVec<T> {
        AppendVec {
            claims: Claims::new(),
            storage,
            elements: PhantomData,
        }
    }

    /// Returns a builder for a vector with a limit, a budget, a growth policy or a name.
    pub fn builder(max_len: usize) -> ContainerBuilder<AppendVec<T>> {
        ContainerBuilder::new(max_len)
    }

    /// Appends an element. Its index, and where it is.
    ///
    /// # Panics
    /// With the text of the error that [`try_push`](AppendVec::try_push) would return.
    #[inline]
    #[track_caller]
    pub fn push(&self, value: T) -> (usize, &T) {
        let index = accept(self.claims.claim(&self.storage));
        // SAFETY: claimed just now.
        (index, unsafe { self.finish(index, value) })
    }

    /// Appends an element. Its index, and where it is.
    ///
    /// # Errors
    /// See [above](AppendVec#errors); the element is in the error.
    #[inline]
    pub fn try_push(&self, value: T) -> Result<(usize, &T), PushError<T>> {
        match self.claims.claim(&self.storage) {
            // SAFETY: claimed just now.
            Ok(index) => Ok((index, unsafe { self.finish(index, value) })),
            Err(error) => Err(PushError::new(value, error)),
        }
    }

    /// Appends the element that `make` makes of its index.
    ///
    /// Slices end before this element until `make` has returned: see [above](AppendVec#what-is-seen-when).
    ///
    /// # Panics
    /// With the text of the error that [`try_push_with`](AppendVec::try_push_with) would return.
    #[inline]
    #[track_caller]
    pub fn push_with(&self, make: impl FnOnce(usize) -> T) -> (usize, &T) {
        let index = accept(self.claims.claim(&self.storage));
        // SAFETY: claimed just now.
        (index, unsafe { self.finish_with(index, make) })
    }

    /// Appends the element that `make` makes of its index, as [`push_with`](AppendVec::push_with).
    ///
    /// # Errors
    /// See [above](AppendVec#errors); `make` was not called.
    #[inline]
    pub fn try_push_with(&self, make: impl FnOnce(usize) -> T) -> Result<(usize, &T), Error> {
        let index = self.claims.claim(&self.storage)?;
        // SAFETY: claimed just now.
        Ok((index, unsafe { self.finish_with(index, make) }))
    }

    /// Appends the elements of an iterator, each by itself: what other threads push comes between them.
    ///
    /// # Panics
    /// With the text of the error that [`try_extend`](AppendVec::try_extend) would return.
    #[track_caller]
    pub fn extend(&self, elements: impl IntoIterator<Item = T>) {
        accept(self.try_extend(elements));
    }

    /// Appends the elements of an iterator, each by itself.
    ///
    /// # Errors
    /// See [above](AppendVec#errors). The elements that were appended stay; the one that was refused is dropped.
    pub fn try_extend(&self, elements: impl IntoIterator<Item = T>) -> Result<(), Error> {
        elements
            .into_iter()
            .try_for_each(|element| Ok(self.try_push(element).map(|_| ())?))
    }

    /// Writes a claimed element.
    ///
    /// # Safety
    /// The calling thread has claimed the index, and calls this once for it.
    #[inline]
    unsafe fn finish(&self, index: usize, value: T) -> &T {
        let place = self.place(index);
        // SAFETY: an index that was claimed is below the capacity, so this is in committed pages, and aligned, as the
        // base is; nobody else writes there (contract), and nobody reads it before it is published.
        unsafe { place.write(value) };
        self.claims.publish(index, &self.storage);
        // SAFETY: written just now, and never again while `self` is borrowed.
        unsafe { &*place }
    }

    /// Makes and writes a claimed element, or gives the index back.
    ///
    /// # Safety
    /// As for `finish`.
    #[inline]
    unsafe fn finish_with(&self, index: usize, make: impl FnOnce(usize) -> T) -> &T {
        struct GiveBack<'a, T>(&'a AppendVec<T>, usize);
        impl<T> Drop for GiveBack<'_, T> {
            fn drop(&mut self) {
                self.0.claims.give_back(self.1, &self.0.storage);
            }
        }
        let unwinding = GiveBack(self, index);
        let value = make(index);
        mem::forget(unwinding);
        // SAFETY: the contract, passed on.
        unsafe { self.finish(index, value) }
    }

    /// Where an element is, or is to be.
    #[inline]
    fn place(&self, index: usize) -> *mut T {
        self.storage.elements().cast::<T>().wrapping_add(index)
    }

    /// Makes room for `additional` elements, and ahead of that what the growth policy says.
    ///
    /// When it returns, there is room for this many elements beyond those that were pushed by then, on any thread.
    ///
    /// # Panics
    /// With the text of the error that [`try_reserve`](AppendVec::try_reserve) would return.
    #[track_caller]
    pub fn reserve(&self, additional: usize) {
        accept(self.try_reserve(additional));
    }

    /// Makes room for `additional` elements, as [`reserve`](AppendVec::reserve).
    ///
    /// # Errors
    /// See [above](AppendVec#errors).
    pub fn try_reserve(&self, additional: usize) -> Result<(), Error> {
        loop {
            let needed = self.claims.claimed().saturating_add(additional);
            if needed <= self.storage.capacity() {
                return Ok(());
            }
            self.storage.grow(needed)?;
            self.claims.reopen(&self.storage);
        }
    }

    /// Returns how many elements there are before the first unfinished one. Wait-free.
    #[inline]
    pub fn len(&self) -> usize {
        self.claims.published(&self.storage)
    }

    /// Returns whether [`len`](AppendVec::len) is 0.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the elements before the first unfinished one: see [above](AppendVec#what-is-seen-when). Wait-free.
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        let len = self.len();
        // SAFETY: so many elements are finished: they lie in committed pages, were written before this call, and are
        // not written again while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.place(0), len) }
    }

    /// Drops all elements. What is committed stays so.
    pub fn clear(&mut self) {
        let elements = self.take();
        // Before anything is dropped: if that panics, nothing is dropped twice.
        self.storage.clear_flags(elements.end);
        // SAFETY: elements that the vector no longer counts as its own.
        unsafe { elements.drop_in_place(self.place(0)) };
    }

    /// Leaves the vector without elements, and says which there were. Flags are as they were.
    fn take(&mut self) -> Taken {
        let (end, holes) = self.claims.reset(&self.storage);
        Taken { end, holes }
    }

    /// Returns how many elements fit into the committed pages.
    pub fn capacity(&self) -> usize {
        self.storage.capacity()
    }

    /// Returns how many elements the vector can ever hold.
    pub fn max_len(&self) -> usize {
        self.storage.max_len()
    }

    /// Returns the name, or the empty string.
    pub fn name(&self) -> &str {
        self.storage.name()
    }

    /// Returns what the vector has used and done so far.
    pub fn stats(&self) -> ContainerStats {
        self.storage.stats()
    }

    /// Returns the state of every page that is for elements, in order.
    pub fn spans(&self) -> Vec<Span> {
        self.storage.spans()
    }
}

/// Which elements there were: those before an end, but for holes, which are in order.
struct Taken {
    end: usize,
    holes: Vec<usize>,
}

impl Taken {
    /// The elements as runs.
    fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.holes.iter().map(|&hole| hole + 1));
        let ends = self.holes.iter().copied().chain([self.end]);
        starts.zip(ends).map(|(start, end)| start..end)
    }

    /// # Safety
    /// `first` points at the first of the elements, all of which may be dropped.
    unsafe fn drop_in_place<T>(&self, first: *mut T) {
        if !mem::needs_drop::<T>() {
            return;
        }
        drop_each(self.runs(), |run| {
            let elements = ptr::slice_from_raw_parts_mut(first.wrapping_add(run.start), run.len());
            // SAFETY: finished elements, once each (contract).
            unsafe { ptr::drop_in_place(elements) };
        });
    }
}

impl<T> ContainerBuilder<AppendVec<T>> {
    /// Reserves the addresses and makes the vector.
    ///
    /// # Errors
    /// `is_invalid_range()` if the maximum is beyond the address space, `is_out_of_memory()` if no gap that large is
    /// free or the process may not have more.
    pub fn build(self) -> Result<AppendVec<T>, Error> {
        let vec = AppendVec::with_max_len(self.max);
        if self.max > 0 {
            vec.storage.reserve_addresses(0, || self.options)?;
        }
        Ok(vec)
    }
}

impl<T> Default for AppendVec<T> {
    fn default() -> AppendVec<T> {
        AppendVec::new()
    }
}

impl<T> Drop for AppendVec<T> {
    fn drop(&mut self) {
        let elements = self.take();
        // SAFETY: elements that the vector no longer counts as its own.
        unsafe { elements.drop_in_place(self.place(0)) };
    }
}
