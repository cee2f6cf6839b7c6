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
use std::slice;

use super::claims::{Claims, Slots};
use super::drop_glue::DropGlue;
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
mod push_slice;
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
    owned: Owned,
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

/// The elements of a vector, which are dropped with this: see [`DropGlue`].
struct Owned {
    claims: Claims,
    // Invariant: made for the layout of the elements.
    storage: Storage,
    // Invariant: of the type of the elements.
    glue: DropGlue,
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
            owned: Owned {
                claims: Claims::new(),
                storage,
                glue: DropGlue::of::<T>(),
            },
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
        let index = accept(self.owned.claims.claim(&self.owned.storage));
        // SAFETY: claimed just now.
        (index, unsafe { self.finish(index, value) })
    }

    /// Appends an element. Its index, and where it is.
    ///
    /// # Errors
    /// See [above](AppendVec#errors); the element is in the error.
    #[inline]
    pub fn try_push(&self, value: T) -> Result<(usize, &T), PushError<T>> {
        match self.owned.claims.claim(&self.owned.storage) {
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
        let index = accept(self.owned.claims.claim(&self.owned.storage));
        // SAFETY: claimed just now.
        (index, unsafe { self.finish_with(index, make) })
    }

    /// Appends the element that `make` makes of its index, as [`push_with`](AppendVec::push_with).
    ///
    /// # Errors
    /// See [above](AppendVec#errors); `make` was not called.
    #[inline]
    pub fn try_push_with(&self, make: impl FnOnce(usize) -> T) -> Result<(usize, &T), Error> {
        let index = self.owned.claims.claim(&self.owned.storage)?;
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
        self.owned.claims.publish(index, &self.owned.storage);
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
                let indices = self.1..self.1 + 1;
                self.0
                    .owned
                    .claims
                    .give_back(indices, &self.0.owned.storage);
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
        self.owned
            .storage
            .elements()
            .cast::<T>()
            .wrapping_add(index)
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
            let needed = self.owned.claims.claimed().saturating_add(additional);
            if needed <= self.owned.storage.capacity() {
                return Ok(());
            }
            self.owned.storage.grow(needed)?;
            self.owned.claims.reopen(&self.owned.storage);
        }
    }

    /// Returns how many elements there are before the first unfinished one. Wait-free.
    #[inline]
    pub fn len(&self) -> usize {
        self.owned.claims.published(&self.owned.storage)
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
        self.truncate(0);
    }

    /// Keeps the elements before the index `len` and drops all others, also those behind an unfinished one. What is
    /// committed stays so.
    ///
    /// ```
    /// let mut names = elbowroom::AppendVec::new();
    /// names.extend(["a", "b", "c"]);
    /// names.truncate(1);
    /// assert_eq!(names, ["a"]);
    /// assert_eq!(names.push("d").0, 1);
    /// ```
    pub fn truncate(&mut self, len: usize) {
        drop(self.owned.take_from(len));
    }

    /// Removes the element with the highest index and returns it, or `None` if there is none.
    ///
    /// An element behind an unfinished one comes first, though [`last`](AppendVec::last) does not see it.
    ///
    /// ```
    /// let mut names = elbowroom::AppendVec::new();
    /// names.extend(["a", "b"]);
    /// assert_eq!(names.pop(), Some("b"));
    /// assert_eq!(names.pop(), Some("a"));
    /// assert_eq!(names.pop(), None);
    /// ```
    pub fn pop(&mut self) -> Option<T> {
        let last = self.owned.claims.last_finished(&self.owned.storage)?;
        self.owned.take_from(last).forget();
        // SAFETY: the element is finished: it lies in committed pages, was written before this call, and is aligned. It
        // was the vector's until the line before, and nothing else has it now.
        Some(unsafe { self.place(last).read() })
    }

    /// Returns how many elements fit into the committed pages.
    pub fn capacity(&self) -> usize {
        self.owned.storage.capacity()
    }

    /// Returns how many elements the vector can ever hold.
    pub fn max_len(&self) -> usize {
        self.owned.storage.max_len()
    }

    /// Returns the name, or the empty string.
    pub fn name(&self) -> &str {
        self.owned.storage.name()
    }

    /// Returns what the vector has used and done so far.
    pub fn stats(&self) -> ContainerStats {
        self.owned.storage.stats()
    }

    /// Returns the state of every page that is for elements, in order.
    pub fn spans(&self) -> Vec<Span> {
        self.owned.storage.spans()
    }
}

impl Owned {
    /// Takes out all elements, also those that are finished behind an unfinished one.
    fn take(&mut self) -> Taken {
        // The flags may stay: no element comes after these.
        self.take_claimed(0)
    }

    /// Takes out the elements from `len` on, and lets others be pushed in their place.
    fn take_from(&mut self, len: usize) -> Taken {
        let elements = self.take_claimed(len);
        // Before any of them is dropped: if that panics, the vector is whole.
        self.storage.clear_flags(elements.range.clone());
        elements
    }

    fn take_claimed(&mut self, len: usize) -> Taken {
        let (end, holes) = self.claims.truncate(len, &self.storage);
        Taken {
            first: self.storage.elements(),
            range: len..end,
            holes,
            glue: self.glue,
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// Elements that a vector no longer counts as its own. They are dropped with this, which goes before their memory.
struct Taken {
    // Invariant: where the elements of the vector lie.
    first: *mut u8,
    // Invariant: the indices of initialised elements, except for the holes; nothing else has them.
    range: Range<usize>,
    // Invariant: in order, inside the range.
    holes: Vec<usize>,
    // Invariant: of the type of the elements.
    glue: DropGlue,
}

impl Taken {
    /// Returns how many elements these are.
    fn len(&self) -> usize {
        self.range.len() - self.holes.len()
    }

    /// Returns the indices of the elements, as runs. They are no longer among these: the caller owns them.
    fn give_out(&mut self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Range { start, end } = mem::take(&mut self.range);
        let holes = mem::take(&mut self.holes);
        let ends = holes.clone().into_iter().chain([end]);
        let starts = std::iter::once(start).chain(holes.into_iter().map(|hole| hole + 1));
        starts.zip(ends).map(|(start, end)| start..end)
    }

    /// Leaves the elements to the caller.
    fn forget(mut self) {
        self.range = 0..0;
        self.holes.clear();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        drop_each(self.give_out(), |run| {
            // SAFETY: initialised elements of the type of `glue`, in the memory of the vector, which goes later
            // (invariants). They were given out to this function, so nothing else uses them.
            unsafe { self.glue.drop(self.first, run) };
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
            vec.owned.storage.reserve_addresses(0, || self.options)?;
        }
        Ok(vec)
    }
}

impl<T> Default for AppendVec<T> {
    fn default() -> AppendVec<T> {
        AppendVec::new()
    }
}
