//! A vector that many threads append to, while its elements can be read as one slice.

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

/// A vector that any number of threads append to through `&self`, while its elements can be read as one slice.
///
/// Elements never move: a reference to one stays valid until the vector is dropped or cleared. All finished elements
/// are one `&[T]`, and appending does not invalidate it. Pushing threads never wait for readers, and readers never
/// wait.
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
/// # Which elements are visible, and when
///
/// A push *claims* an index and writes the element. The element is then *finished*.
///
/// - [`get`](AppendVec::get) and indexing return an element as soon as its own push has finished. The pushing thread
///   sees it at once, and so does every thread that synchronises with it.
/// - [`as_slice`](AppendVec::as_slice), [`iter`](AppendVec::iter) and [`len`](AppendVec::len) cover the elements before
///   the first unfinished one. An element is in the slice if its push and those of all lower indices happened before
///   the call. So a thread may not see its own last push in a slice while another thread's push of a lower index is in
///   progress. An element that has been in one slice is in every later one.
///
/// A thread that is stopped during a push therefore only hides later elements from slices. Other threads go on pushing,
/// and reach their elements by index. A [`push`](AppendVec::push) takes a few instructions from its claim to its end. A
/// [`push_with`](AppendVec::push_with) takes as long as its closure, so do slow work before the call. If the closure
/// panics, the next push of any thread uses the index; until then, slices end there. Finished elements behind it are
/// not lost: they can be reached by index, `into_iter` yields them, and they are dropped with the vector.
///
/// # Errors
///
/// Each method that may need memory has a form that returns an [`Error`]: `is_limit()` beyond
/// [`max_len`](AppendVec::max_len), the commit limit or a budget; `is_out_of_memory()` if the system refuses. Then no
/// element is added and no index is lost, and pushes succeed again once there is room. The plain forms panic with the
/// error's text.
///
/// # What it costs
///
/// Each element has a flag of one byte in addition, committed along with it. Limits and [`stats`](AppendVec::stats)
/// count the flags. A flag's page takes memory only where pushes overtake each other.
///
/// In a child process made by `fork`, a push that another thread had begun never finishes.
pub struct AppendVec<T> {
    owned: Owned,
    /// The vector owns and drops elements. It takes them through `&self`, so a vector of long-lived references must not
    /// coerce to one of shorter-lived references, as it would with `PhantomData<T>`:
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

/// The elements of a vector, dropped together with this value: see [`DropGlue`].
struct Owned {
    claims: Claims,
    // Invariant: made for the layout of T.
    storage: Storage,
    // Invariant: made for the type T.
    glue: DropGlue,
}

// SAFETY: `&self` gives out `&T`, so T must be Sync. It also accepts values that the owner of the vector receives, so T
// must be Send. Everything else is atomics, locks, and memory that is not bound to a thread.
unsafe impl<T: Send + Sync> Sync for AppendVec<T> {}

// A panic in a closure or a drop leaves every element intact.
impl<T: UnwindSafe> UnwindSafe for AppendVec<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for AppendVec<T> {}

impl<T> AppendVec<T> {
    /// Returns an empty vector whose maximum depends on the free address space: 64 GiB, or less by the rule of
    /// [`ReservedVec::new`](crate::ReservedVec::new).
    ///
    /// Nothing is reserved before the first push.
    pub const fn new() -> AppendVec<T> {
        AppendVec::unreserved(share::NO_MAX)
    }

    /// Returns an empty vector that can hold `max_len` elements. Nothing is reserved before the first push.
    pub const fn with_max_len(max_len: usize) -> AppendVec<T> {
        AppendVec::unreserved(share::told(max_len))
    }

    const fn unreserved(max_len: usize) -> AppendVec<T> {
        AppendVec::with_storage(Storage::new(Layout::new::<T>(), max_len))
    }

    /// Returns an empty vector. `storage` is made for elements of T's layout.
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

    /// Appends an element, and returns its index and a reference to it.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_push`](AppendVec::try_push) would return.
    #[inline]
    #[track_caller]
    pub fn push(&self, value: T) -> (usize, &T) {
        let index = accept(self.owned.claims.claim(&self.owned.storage));
        // SAFETY: this thread has just claimed the index, and finishes it only here.
        (index, unsafe { self.finish(index, value) })
    }

    /// Appends an element, and returns its index and a reference to it.
    ///
    /// # Errors
    /// See [above](AppendVec#errors); the error contains the element.
    #[inline]
    pub fn try_push(&self, value: T) -> Result<(usize, &T), PushError<T>> {
        match self.owned.claims.claim(&self.owned.storage) {
            // SAFETY: this thread has just claimed the index, and finishes it only here.
            Ok(index) => Ok((index, unsafe { self.finish(index, value) })),
            Err(error) => Err(PushError::new(value, error)),
        }
    }

    /// Appends the element that `make` returns for its index.
    ///
    /// Slices end before this element until `make` has returned: see
    /// [above](AppendVec#which-elements-are-visible-and-when).
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_push_with`](AppendVec::try_push_with) would return.
    #[inline]
    #[track_caller]
    pub fn push_with(&self, make: impl FnOnce(usize) -> T) -> (usize, &T) {
        let index = accept(self.owned.claims.claim(&self.owned.storage));
        // SAFETY: this thread has just claimed the index, and finishes it only here.
        (index, unsafe { self.finish_with(index, make) })
    }

    /// Appends the element that `make` returns for its index, as [`push_with`](AppendVec::push_with) does.
    ///
    /// # Errors
    /// See [above](AppendVec#errors); `make` is not called then.
    #[inline]
    pub fn try_push_with(&self, make: impl FnOnce(usize) -> T) -> Result<(usize, &T), Error> {
        let index = self.owned.claims.claim(&self.owned.storage)?;
        // SAFETY: this thread has just claimed the index, and finishes it only here.
        Ok((index, unsafe { self.finish_with(index, make) }))
    }

    /// Appends the elements of an iterator, each by itself: pushes of other threads may come between them.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_extend`](AppendVec::try_extend) would return.
    #[track_caller]
    pub fn extend(&self, elements: impl IntoIterator<Item = T>) {
        accept(self.try_extend(elements));
    }

    /// Appends the elements of an iterator, each by itself.
    ///
    /// # Errors
    /// See [above](AppendVec#errors). The elements appended before the error stay; the refused one is dropped.
    pub fn try_extend(&self, elements: impl IntoIterator<Item = T>) -> Result<(), Error> {
        elements
            .into_iter()
            .try_for_each(|element| Ok(self.try_push(element).map(|_| ())?))
    }

    /// Writes a claimed element.
    ///
    /// # Safety
    /// The calling thread has claimed `index`, and calls this function once for it.
    #[inline]
    unsafe fn finish(&self, index: usize, value: T) -> &T {
        let place = self.place(index);
        // SAFETY: a claimed index is below the capacity, so the place is in committed pages; it is aligned because the
        // base is. This thread alone has claimed the index (contract), and no thread reads the place before it is
        // published.
        unsafe { place.write(value) };
        self.owned.claims.publish(index, &self.owned.storage);
        // SAFETY: the element was just written, and is not written again while `self` is borrowed.
        unsafe { &*place }
    }

    /// Makes and writes the element of a claimed index. If `make` panics, gives the index back.
    ///
    /// # Safety
    /// The calling thread has claimed `index`, and calls this function once for it.
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
        // SAFETY: this thread has claimed the index, and calls `finish` once for it (contract of this function).
        unsafe { self.finish(index, value) }
    }

    /// Returns the address of an element, written or not.
    #[inline]
    fn place(&self, index: usize) -> *mut T {
        self.owned
            .storage
            .elements()
            .cast::<T>()
            .wrapping_add(index)
    }

    /// Makes room for `additional` elements, and ahead of them as the growth policy says.
    ///
    /// When it returns, there is room for this many elements beyond those that any thread has pushed by then.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_reserve`](AppendVec::try_reserve) would return.
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

    /// Returns the number of elements before the first unfinished one. Wait-free.
    #[inline]
    pub fn len(&self) -> usize {
        self.owned.claims.published(&self.owned.storage)
    }

    /// Returns whether [`len`](AppendVec::len) is 0.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the elements before the first unfinished one: see
    /// [above](AppendVec#which-elements-are-visible-and-when).
    ///
    /// Wait-free.
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        let len = self.len();
        // SAFETY: the first `len` elements are finished: they lie in committed pages, were written before this call,
        // and are not written again while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.place(0), len) }
    }

    /// Drops all elements. Committed pages stay committed.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Keeps the elements before the index `len` and drops all others, including those behind an unfinished one.
    ///
    /// Committed pages stay committed.
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
    /// An element behind an unfinished one is popped first, although [`last`](AppendVec::last) does not see it.
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
        // SAFETY: the element is finished: it lies in committed pages, was written before this call, and is aligned.
        // The line before removed it from the vector, so this is its only owner.
        Some(unsafe { self.place(last).read() })
    }

    /// Returns the number of elements that fit into the committed pages.
    pub fn capacity(&self) -> usize {
        self.owned.storage.capacity()
    }

    /// Returns the largest number of elements that the vector can hold.
    pub fn max_len(&self) -> usize {
        self.owned.storage.max_len()
    }

    /// Returns the name, or the empty string.
    pub fn name(&self) -> &str {
        self.owned.storage.name()
    }

    /// Returns the memory and the number of growths of the vector.
    pub fn stats(&self) -> ContainerStats {
        self.owned.storage.stats()
    }

    /// Returns the state of every page for elements, in order.
    pub fn spans(&self) -> Vec<Span> {
        self.owned.storage.spans()
    }
}

impl Owned {
    /// Takes out all elements, including finished ones behind an unfinished one.
    fn take(&mut self) -> Taken {
        // The flags may stay set: no element is pushed after these.
        self.take_claimed(0)
    }

    /// Takes out the elements from `len` on, and lets other elements be pushed in their place.
    fn take_from(&mut self, len: usize) -> Taken {
        let elements = self.take_claimed(len);
        // Done before any element is dropped: if a drop panics, the vector is consistent.
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

/// Elements that were removed from a vector. Dropping this drops them. It is dropped before their memory.
struct Taken {
    // Invariant: the address of the vector's element 0.
    first: *mut u8,
    // Invariant: the indices of initialised elements, except for `holes`. Nothing else owns them.
    range: Range<usize>,
    // Invariant: in ascending order, and inside the range.
    holes: Vec<usize>,
    // Invariant: made for the type of the elements.
    glue: DropGlue,
}

impl Taken {
    /// Returns the number of elements.
    fn len(&self) -> usize {
        self.range.len() - self.holes.len()
    }

    /// Returns the indices of the elements, as runs, and passes the ownership of the elements to the caller.
    fn give_out(&mut self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Range { start, end } = mem::take(&mut self.range);
        let holes = mem::take(&mut self.holes);
        let ends = holes.clone().into_iter().chain([end]);
        let starts = std::iter::once(start).chain(holes.into_iter().map(|hole| hole + 1));
        starts.zip(ends).map(|(start, end)| start..end)
    }

    /// Passes the ownership of the elements to the caller.
    fn forget(mut self) {
        self.range = 0..0;
        self.holes.clear();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        drop_each(self.give_out(), |run| {
            // SAFETY: the elements are initialised, of the type of `glue`, and in the memory of the vector, which is
            // released later (invariants). They were given out to this function, so nothing else uses them.
            unsafe { self.glue.drop(self.first, run) };
        });
    }
}

impl<T> ContainerBuilder<AppendVec<T>> {
    /// Reserves the addresses and builds the vector.
    ///
    /// # Errors
    /// `is_invalid_range()` if the maximum is beyond the address space; `is_out_of_memory()` if there is no free gap of
    /// that size, or if the process's limit on address space is reached.
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
