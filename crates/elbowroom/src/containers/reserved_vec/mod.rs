//! The growth of a `Vec`, the address of a static.

#![allow(unsafe_code, reason = "keeps elements in memory that it commits itself")]

use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::{self, NonNull};
use std::slice;

use super::prefix::{Extent, Prefix};
use super::{ContainerBuilder, ContainerStats, Options, full};
use crate::error::{Cause, Error, Operation};
use crate::reservation::Span;

mod drain;
mod edit;
mod extend;
mod into_iter;
#[cfg(feature = "rayon")]
mod rayon;
mod retain;
#[cfg(feature = "serde")]
mod serde;
mod splice;
mod traits;

pub use drain::Drain;
pub use into_iter::IntoIter;
#[cfg(feature = "rayon")]
pub use rayon::IntoParIter;
pub use retain::ExtractIf;
pub use splice::Splice;

/// The bytes that a vector or an arena can hold if it is told no maximum.
pub(super) const DEFAULT_MAX_BYTES: usize = 64 << 30;
/// The least that a vector's default gives way to.
const LEAST_DEFAULT_BYTES: usize = 16 << 20;
/// What it is divided by each time.
const GIVE_WAY: usize = 16;

/// A `Vec` that never moves: the growth of a vector, the address of a static.
///
/// It reserves addresses for its maximum length and commits pages from the first on as it grows. An element stays where
/// it was pushed: growing copies nothing, takes no second block of memory while it does, and pointers to elements stay
/// valid for the life of the vector.
///
/// ```
/// use elbowroom::ReservedVec;
///
/// let mut names = ReservedVec::with_max_len(1_000_000);
/// names.push("first");
/// let first = names.as_ptr();
/// names.extend(std::iter::repeat_n("more", 100_000));
/// assert_eq!(names.as_ptr(), first);
/// assert_eq!(names[0], "first");
/// ```
///
/// # As `Vec`, but
///
/// Methods have `Vec`'s names and do what they do there; what takes a `&[T]` or `&mut [T]` takes this too. The
/// differences:
///
/// - The length is bounded, by [`max_len`](ReservedVec::max_len) and by the limits given to the
///   [builder](ReservedVec::builder).
/// - Each method that may need memory has a form that returns an [`Error`] where `Vec` would abort: `try_push`,
///   `try_extend` and so on. On an error the vector holds what it held. The plain forms panic with the error's text.
/// - [`shrink_to_fit`](ReservedVec::shrink_to_fit) gives pages back to the system in place.
///
/// # What it costs
///
/// Reserving takes a system call and no memory, but of addresses there is an end: 128 TiB on most machines, some two
/// thousand vectors of the default maximum of 64 GiB, and fewer where the process is limited (RLIMIT_AS). Where there
/// are more of them, say how long each can get. A vector takes at least a page once it has an element, and on Linux two
/// of the 65,530 mappings that a process may have (`vm.max_map_count`): use `Vec` for tens of thousands of little
/// things.
///
/// Small vectors that come and go take over each other's memory without a system call: see [`trim`](crate::trim).
///
/// # Pointers
///
/// From the first element on, [`as_ptr`](ReservedVec::as_ptr) gives the same address for the life of the vector, moves
/// of the vector itself included. A pointer from it may be used wherever an element is, also after the vector has
/// grown, as long as no `&mut` to the same element is alive.
pub struct ReservedVec<T> {
    // Invariant: the base of `prefix`; dangling before there is one and where T takes no space.
    ptr: NonNull<T>,
    // How many elements can be written without a look at the prefix. Invariant: at most the capacity, so they lie in
    // committed pages. Where T takes no space, it is `max_len`.
    ready: usize,
    // Invariant: at most `ready`; so many elements are initialised.
    len: usize,
    // Invariant: where there is a prefix, constant, and it has room for so many, so that their bytes do not overflow.
    max_len: usize,
    prefix: Option<Prefix>,
    // It owns elements, and drops them.
    elements: PhantomData<T>,
}

// SAFETY: it owns its elements and the memory they are in, as `Vec` does.
unsafe impl<T: Send> Send for ReservedVec<T> {}
// SAFETY: `&self` gives out `&T` and figures only.
unsafe impl<T: Sync> Sync for ReservedVec<T> {}

// A panic leaves the vector whole: what it holds then is what its methods say.
impl<T: UnwindSafe> UnwindSafe for ReservedVec<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for ReservedVec<T> {}

impl<T> ReservedVec<T> {
    const IS_ZERO_SIZED: bool = size_of::<T>() == 0;

    const DEFAULT_MAX_LEN: usize = if Self::IS_ZERO_SIZED { usize::MAX } else { DEFAULT_MAX_BYTES / size_of::<T>() };

    /// A vector that can hold 64 GiB. Nothing is reserved until the first element comes; and if the system has no gap
    /// that large then, or lets the process have no more, a sixteenth of it, and so on down to 16 MiB.
    pub const fn new() -> ReservedVec<T> {
        ReservedVec::with_max_len(Self::DEFAULT_MAX_LEN)
    }

    /// A vector that can hold `max_len` elements. Nothing is reserved until the first one comes, and then the addresses
    /// for all of them.
    pub const fn with_max_len(max_len: usize) -> ReservedVec<T> {
        ReservedVec {
            ptr: NonNull::dangling(),
            ready: if Self::IS_ZERO_SIZED { max_len } else { 0 },
            len: 0,
            max_len,
            prefix: None,
            elements: PhantomData,
        }
    }

    /// A vector with a commit limit, a budget, a growth policy or a name, for at most `max_len` elements.
    ///
    /// ```
    /// use elbowroom::{ReservedVec, page_size};
    ///
    /// let mut bytes = ReservedVec::<u8>::builder(1 << 30).name("input").commit_limit(page_size()).build()?;
    /// bytes.resize(page_size(), 0);
    /// let refused = bytes.try_push(1).unwrap_err();
    /// assert!(refused.error().is_limit());
    /// assert_eq!(refused.into_value(), 1);
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    pub fn builder(max_len: usize) -> ContainerBuilder<ReservedVec<T>> {
        ContainerBuilder::new(max_len)
    }

    /// Reserves the addresses, which has not been done.
    fn reserve_addresses(&mut self, options: Options) -> Result<(), Error> {
        let max_bytes = self.max_len.checked_mul(size_of::<T>());
        let max_bytes = max_bytes.ok_or_else(|| Error::new(Operation::Reserve, 0..usize::MAX, Cause::TooLarge))?;
        let prefix = Prefix::reserve(max_bytes, align_of::<T>(), options)?;
        self.ptr = prefix.base().cast();
        self.prefix = Some(prefix);
        Ok(())
    }

    /// Reserves the addresses; of a vector that was told no maximum, fewer if need be. In large steps, since somebody
    /// else may need what is left.
    fn reserve_or_give_way(&mut self, options: &Options) -> Result<(), Error> {
        let asked = self.max_len;
        let least = if asked == Self::DEFAULT_MAX_LEN { LEAST_DEFAULT_BYTES / size_of::<T>() } else { asked };
        loop {
            match self.reserve_addresses(options.clone()) {
                Err(error) if error.is_out_of_memory() && self.max_len / GIVE_WAY >= least.max(1) => {
                    self.max_len /= GIVE_WAY;
                }
                Err(error) => {
                    self.max_len = asked;
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// An empty vector with the same maximum, limits, budget, growth and name.
    fn like(&self) -> Result<ReservedVec<T>, Error> {
        let mut vec = ReservedVec::with_max_len(self.max_len);
        if let Some(prefix) = &self.prefix {
            vec.reserve_or_give_way(&prefix.options())?;
        }
        Ok(vec)
    }

    /// Commits memory for `more` elements behind the first `used`, of which not all are ready (or committed, if that is
    /// the extent). `used` is the length, or more while elements are on their way inside the vector.
    #[cold]
    fn grow(&mut self, used: usize, more: usize, extent: Extent) -> Result<(), Error> {
        let mut needed = self.may_hold(used, more)?;
        if self.prefix.is_none() {
            self.reserve_or_give_way(&Options::default())?;
            needed = self.may_hold(used, more)?;
        }
        if let Some(prefix) = &mut self.prefix {
            let ready = prefix.grow_mut(needed * size_of::<T>(), extent)?;
            self.ready = self.ready.max(self.elements_in(ready));
        }
        Ok(())
    }

    /// How many elements are `more` behind the first `used`, if the vector may hold so many.
    fn may_hold(&self, used: usize, more: usize) -> Result<usize, Error> {
        let needed = used.checked_add(more).filter(|&needed| needed <= self.max_len);
        needed.ok_or_else(|| full(used, more, self.max_len, size_of::<T>()))
    }

    /// Makes room for `more` elements behind the last, which are about to be written.
    #[inline]
    fn make_room(&mut self, more: usize) -> Result<(), Error> {
        if more <= self.ready - self.len { Ok(()) } else { self.grow(self.len, more, Extent::Ahead) }
    }

    /// How many elements lie in so many bytes of the prefix.
    fn elements_in(&self, bytes: usize) -> usize {
        (bytes / size_of::<T>()).min(self.max_len)
    }

    /// Makes room for `additional` elements more, and ahead of them what the growth policy says.
    ///
    /// # Panics
    /// With the text of the error that [`try_reserve`](ReservedVec::try_reserve) would return.
    #[track_caller]
    pub fn reserve(&mut self, additional: usize) {
        accept(self.try_reserve(additional));
    }

    /// Makes room for `additional` elements more, and ahead of them what the growth policy says.
    ///
    /// # Errors
    /// `is_limit()` beyond the maximum length, the commit limit or a budget; `is_out_of_memory()` if the system
    /// refuses; `is_invalid_range()` if the maximum length is beyond the address space. Then nothing has changed.
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), Error> {
        self.reserve_for(additional, Extent::Later)
    }

    /// Makes room for `additional` elements more, in whole pages.
    ///
    /// # Panics
    /// With the text of the error that [`try_reserve`](ReservedVec::try_reserve) would return.
    #[track_caller]
    pub fn reserve_exact(&mut self, additional: usize) {
        accept(self.try_reserve_exact(additional));
    }

    /// Makes room for `additional` elements more, in whole pages.
    ///
    /// # Errors
    /// As [`try_reserve`](ReservedVec::try_reserve).
    pub fn try_reserve_exact(&mut self, additional: usize) -> Result<(), Error> {
        self.reserve_for(additional, Extent::Exact)
    }

    fn reserve_for(&mut self, additional: usize, extent: Extent) -> Result<(), Error> {
        if additional <= self.capacity() - self.len { Ok(()) } else { self.grow(self.len, additional, extent) }
    }

    /// Gives back the pages behind the last element, as far as the system lets it (on Linux it may refuse where the
    /// process has run out of mappings). The addresses stay reserved.
    pub fn shrink_to_fit(&mut self) {
        self.shrink_to(0);
    }

    /// Gives back the pages behind the last element and behind the first `min_capacity`, as far as the system lets it.
    pub fn shrink_to(&mut self, min_capacity: usize) {
        let Some(prefix) = &mut self.prefix else { return };
        let keep = min_capacity.min(self.max_len).max(self.len) * size_of::<T>();
        // SAFETY: the elements are before that, and the exclusive borrow says that nobody has a reference to the rest.
        if let Ok(committed) = unsafe { prefix.shrink(keep) } {
            // Taken anew from the mapping: whatever was known of the pages that are gone is known of an old pointer.
            self.ptr = prefix.base().cast();
            self.ready = self.ready.min(self.elements_in(committed));
        }
    }

    /// How many elements fit into what is committed.
    pub fn capacity(&self) -> usize {
        match &self.prefix {
            Some(prefix) => self.elements_in(prefix.committed_bytes()),
            None => self.ready,
        }
    }

    /// How many elements the vector can ever hold. (One that [`new`](ReservedVec::new) made may come to hold less, when
    /// its first element comes.)
    pub const fn max_len(&self) -> usize {
        self.max_len
    }

    /// How many elements the vector holds.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The name it was given, or the empty string.
    pub fn name(&self) -> &str {
        self.prefix.as_ref().map_or("", Prefix::name)
    }

    /// What the vector has used and done so far.
    pub fn stats(&self) -> ContainerStats {
        self.prefix.as_ref().map_or(ContainerStats::NOTHING, Prefix::stats)
    }

    /// The state of every page, in order: what is committed, then what is only reserved. Empty before anything is
    /// reserved. What the vector has taken over from another and not grown into counts as reserved (see
    /// [`trim`](crate::trim)).
    pub fn spans(&self) -> Vec<Span> {
        self.prefix.as_ref().map_or_else(Vec::new, Prefix::spans)
    }

    /// Where the elements are: the same for the life of the vector from the first element on (from the beginning if the
    /// builder made it), dangling before that.
    #[inline]
    pub const fn as_ptr(&self) -> *const T {
        self.ptr.as_ptr()
    }

    /// [`as_ptr`](ReservedVec::as_ptr), to write through.
    #[inline]
    pub const fn as_mut_ptr(&mut self) -> *mut T {
        self.ptr.as_ptr()
    }

    /// The elements.
    #[inline]
    pub const fn as_slice(&self) -> &[T] {
        // SAFETY: so many elements are initialised, on committed pages (or of no size), and stay so while borrowed:
        // what decommits takes `&mut self`.
        unsafe { slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The elements.
    #[inline]
    pub const fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`, and borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }

    /// What is committed behind the last element, to be filled and then counted with
    /// [`set_len`](ReservedVec::set_len). What it holds is unknown: perhaps what a vector that is gone left there.
    #[inline]
    pub fn spare_capacity_mut(&mut self) -> &mut [MaybeUninit<T>] {
        let spare = self.place(self.len).cast();
        // SAFETY: from the last element to the capacity the pages are committed (or T takes no space), and borrowed
        // exclusively; MaybeUninit asks for nothing else.
        unsafe { slice::from_raw_parts_mut(spare, self.capacity() - self.len) }
    }

    /// Changes the length, and nothing else.
    ///
    /// # Safety
    /// `len` is at most the [`capacity`](ReservedVec::capacity), and the first `len` elements are initialised.
    #[inline]
    pub unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.capacity());
        self.ready = self.ready.max(len);
        self.len = len;
    }

    /// The place of an element, which may be used up to the capacity.
    #[inline(always)]
    const fn place(&self, index: usize) -> *mut T {
        self.ptr.as_ptr().wrapping_add(index)
    }

    /// Gives up the vector and lets its elements live for ever. Their memory is never given back, nor its charge.
    pub fn leak<'a>(self) -> &'a mut [T]
    where
        T: 'a,
    {
        mem::ManuallyDrop::new(self).leaked()
    }

    /// The elements, for as long as the caller will keep the vector from being dropped.
    fn leaked<'a>(&mut self) -> &'a mut [T] {
        // SAFETY: initialised and committed; the one caller forgets the vector, so they stay so for good, and nobody
        // else can reach them.
        unsafe { slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl<T> ContainerBuilder<ReservedVec<T>> {
    /// Reserves the addresses and makes the vector.
    ///
    /// # Errors
    /// `is_invalid_range()` if the maximum is beyond the address space, `is_out_of_memory()` if no gap that large is
    /// free or the process may not have more (RLIMIT_AS, a job object).
    pub fn build(self) -> Result<ReservedVec<T>, Error> {
        let mut vec = ReservedVec::with_max_len(self.max);
        if self.max > 0 && !ReservedVec::<T>::IS_ZERO_SIZED {
            vec.reserve_addresses(self.options)?;
        }
        Ok(vec)
    }
}

/// Panics with the error's text, as a method does that cannot return it.
#[inline]
#[track_caller]
pub(super) fn accept<T>(result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => refused(&error),
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn refused(error: &Error) -> ! {
    panic!("{error}") // PANIC: as std's vector; each caller's documentation says so.
}

impl<T> Drop for ReservedVec<T> {
    fn drop(&mut self) {
        let elements = ptr::from_mut(self.as_mut_slice());
        // SAFETY: initialised elements, dropped once: nothing looks at them after this.
        unsafe { ptr::drop_in_place(elements) };
    }
}
