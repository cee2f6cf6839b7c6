//! The growth of a `Vec`, the address of a static.

#![allow(
    unsafe_code,
    reason = "keeps elements in memory that it commits itself"
)]

use std::marker::PhantomData;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::slice;

use super::drop_glue::DropGlue;
use super::prefix::{Extent, Prefix};
use super::share;
use super::{ContainerBuilder, ContainerStats, Options, full};
use crate::error::{Error, Operation, Reason};
use crate::plain::Span;

#[cfg(feature = "rayon")]
mod collect;
mod convert;
mod drain;
mod edit;
mod extend;
mod into_iter;
#[cfg(feature = "rayon")]
mod parallel;
mod peek;
mod retain;
#[cfg(feature = "serde")]
mod serialized;
mod spare;
mod splice;
mod traits;

pub use drain::Drain;
pub use into_iter::IntoIter;
#[cfg(feature = "rayon")]
pub use parallel::IntoParIter;
pub use peek::PeekMut;
pub use retain::ExtractIf;
pub use splice::Splice;

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
/// # Differences to `Vec`
///
/// Methods have `Vec`'s names and meanings, and a function that takes a `&[T]` or `&mut [T]` takes this too. The
/// differences:
///
/// - The length is bounded, by [`max_len`](ReservedVec::max_len) and by the limits given to the
///   [builder](ReservedVec::builder).
/// - Each method that may need memory has a form that returns an [`Error`] where `Vec` would abort: `try_push`,
///   `try_extend` and so on. On an error the vector holds what it held. The plain forms panic with the error's text.
///   Std's `TryReserveError` can only be made by std; where `?` needs an error of std's, an [`Error`] turns into an
///   [`io::Error`](std::io::Error), of the kind `OutOfMemory` if a limit or the system has refused.
/// - A `Cursor` around it reads and seeks. It does not write, which only std can add to its `Cursor`. A vector of bytes
///   is itself a writer that appends.
/// - [`shrink_to_fit`](ReservedVec::shrink_to_fit) gives pages back to the system in place.
///
/// # What it costs
///
/// Reserving takes a system call and no memory. Addresses are limited: to 128 TiB on most machines, and to less if the
/// process has a limit (RLIMIT_AS). Vectors without a maximum share half of them: see [`new`](ReservedVec::new). A
/// vector takes at least a page once it has an element, and on Linux two of the 65,530 mappings that a process may
/// have (`vm.max_map_count`): use `Vec` for tens of thousands of small vectors.
///
/// Small vectors that come and go take over each other's memory without a system call: see [`trim`](crate::trim). A
/// vector that is made, pushed to once and dropped takes about twice the time of a `Vec`, measured on an AMD EPYC
/// (`come-and-go-8` of the benchmarks). A debug build of a program compiles the library without optimisation, and there
/// it takes about twenty times; with these lines in the `Cargo.toml` of the program, about four times:
///
/// ```toml
/// [profile.dev.package.elbowroom]
/// opt-level = 3
/// ```
///
/// # Pointers
///
/// From the first element on, [`as_ptr`](ReservedVec::as_ptr) gives the same address for the life of the vector, moves
/// of the vector itself included. A pointer from it may be used wherever an element is, also after the vector has
/// grown, as long as no `&mut` to the same element is alive.
pub struct ReservedVec<T> {
    // Dropped before `prefix`, which has their memory: fields are dropped in this order.
    owned: Owned,
    // How many elements can be written without a look at the prefix. Invariant: at most the capacity, so they lie in
    // committed pages. Where T takes no space, it is `max_len`.
    ready: usize,
    // Invariant: where there is a prefix, constant, and it has room for so many, so that their bytes do not overflow.
    max_len: usize,
    prefix: Option<Prefix>,
    // It owns elements, and drops them.
    elements: PhantomData<T>,
}

/// The elements of a vector, which are dropped with this.
struct Owned {
    // Invariant: the base of the prefix, aligned for the elements; dangling and aligned before there is one and where
    // the elements take no space.
    ptr: NonNull<u8>,
    // Invariant: at most `ready`; this many elements are initialised.
    len: usize,
    // Invariant: of the type of the elements.
    glue: DropGlue,
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

    /// Returns an empty vector whose maximum follows from the address space that is free.
    ///
    /// Nothing is reserved until the first element comes. Then the vector reserves 64 GiB; less if the address space
    /// is limited or if there are hundreds of such vectors, but at least twice what it needs at that moment, where
    /// the system has it. [`max_len`](ReservedVec::max_len) tells. The rule: half of the address space is left to
    /// everything else; of what the containers without a maximum have not taken of the other half, the next one takes
    /// a part in 16 + 2n, where n is their number, rounded down to a power of two. Memory that is kept for the next
    /// container (see [`trim`](crate::trim)) counts as one.
    pub const fn new() -> ReservedVec<T> {
        ReservedVec::unreserved(share::NO_MAX)
    }

    /// Returns an empty vector that can hold `max_len` elements. Nothing is reserved until the first one comes, and
    /// then the addresses for all of them.
    pub const fn with_max_len(max_len: usize) -> ReservedVec<T> {
        ReservedVec::unreserved(if Self::IS_ZERO_SIZED {
            max_len
        } else {
            share::told(max_len)
        })
    }

    const fn unreserved(max_len: usize) -> ReservedVec<T> {
        ReservedVec {
            owned: Owned {
                ptr: NonNull::<T>::dangling().cast(),
                len: 0,
                glue: DropGlue::of::<T>(),
            },
            ready: if Self::IS_ZERO_SIZED { max_len } else { 0 },
            max_len,
            prefix: None,
            elements: PhantomData,
        }
    }

    /// Returns a builder for a vector of at most `max_len` elements with a commit limit, a budget, a growth policy or a
    /// name.
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

    /// Reserves the addresses, which has not been done, with options or the default ones. `written` elements are about
    /// to be written.
    fn reserve_addresses(&mut self, options: Option<Options>, written: usize) -> Result<(), Error> {
        let max_bytes = self.max_len.checked_mul(size_of::<T>());
        let max_bytes = max_bytes
            .ok_or_else(|| Error::new(Operation::Reserve, 0..usize::MAX, Reason::TooLarge))?;
        let written = written * size_of::<T>();
        let prefix = Prefix::reserve(max_bytes, align_of::<T>(), options, written)?;
        self.owned.ptr = prefix.base();
        self.prefix = Some(prefix);
        Ok(())
    }

    /// Reserves the addresses of a vector that was told no maximum, for `needed` elements at least. `written` of them
    /// are about to be written.
    fn reserve_share(&mut self, needed: usize, written: usize) -> Result<(), Error> {
        let size = size_of::<T>();
        let needed = needed
            .checked_mul(size)
            .ok_or_else(|| full(self.owned.len, needed, isize::MAX as usize / size, size))?;
        let prefix = Prefix::reserve_share(needed, written * size, align_of::<T>(), None)?;
        self.max_len = prefix.usable_bytes() / size;
        self.owned.ptr = prefix.base();
        self.prefix = Some(prefix);
        Ok(())
    }

    /// Returns an empty vector with the same maximum, which has reserved nothing.
    fn with_same_max(&self) -> ReservedVec<T> {
        if self.prefix.as_ref().is_some_and(Prefix::is_share) {
            return ReservedVec::new();
        }
        ReservedVec::with_max_len(self.max_len)
    }

    /// Returns an empty vector with the same maximum, limits, budget, growth and name.
    fn like(&self) -> Result<ReservedVec<T>, Error> {
        let mut vec = self.with_same_max();
        match &self.prefix {
            Some(prefix) if !prefix.is_share() => {
                vec.reserve_addresses(Some(prefix.options()), 0)?
            }
            _ => {}
        }
        Ok(vec)
    }

    /// Commits memory for `more` elements behind the first `used`, of which not all are ready (or committed, if that is
    /// the extent). `used` is the length, or more while elements are on their way inside the vector.
    #[cold]
    fn grow(&mut self, used: usize, more: usize, extent: Extent) -> Result<(), Error> {
        let mut needed = self.may_hold(used, more)?;
        if self.prefix.is_none() {
            let written = if extent == Extent::Ahead { needed } else { 0 };
            if self.max_len == share::NO_MAX {
                self.reserve_share(needed, written)?;
            } else {
                self.reserve_addresses(None, written)?;
            }
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
        let needed = used
            .checked_add(more)
            .filter(|&needed| needed <= self.max_len);
        needed.ok_or_else(|| full(used, more, self.max_len, size_of::<T>()))
    }

    /// Makes room for `more` elements behind the last, which are about to be written.
    #[inline]
    fn make_room(&mut self, more: usize) -> Result<(), Error> {
        if more <= self.ready - self.owned.len {
            Ok(())
        } else {
            self.grow(self.owned.len, more, Extent::Ahead)
        }
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
        if additional <= self.capacity() - self.owned.len {
            Ok(())
        } else {
            self.grow(self.owned.len, additional, extent)
        }
    }

    /// Gives back the pages behind the last element, as far as the system lets it (on Linux it may refuse where the
    /// process has run out of mappings). The addresses stay reserved.
    pub fn shrink_to_fit(&mut self) {
        self.shrink_to(0);
    }

    /// Gives back the pages behind the last element and behind the first `min_capacity`, as far as the system lets it.
    pub fn shrink_to(&mut self, min_capacity: usize) {
        let Some(prefix) = &mut self.prefix else {
            return;
        };
        let keep = min_capacity.min(self.max_len).max(self.owned.len) * size_of::<T>();
        // SAFETY: the elements are before that, and the exclusive borrow says that nobody has a reference to the rest.
        if let Ok(committed) = unsafe { prefix.shrink(keep) } {
            // Taken anew from the mapping: whatever was known of the pages that are gone is known of an old pointer.
            self.owned.ptr = prefix.base();
            self.ready = self.ready.min(self.elements_in(committed));
        }
    }

    /// Returns how many elements fit into the committed pages.
    pub fn capacity(&self) -> usize {
        match &self.prefix {
            Some(prefix) => self.elements_in(prefix.committed_bytes()),
            None => self.ready,
        }
    }

    /// Returns how many elements the vector can ever hold. A vector that [`new`](ReservedVec::new) made knows it when
    /// its first element comes; before, this is the most that it can be.
    pub const fn max_len(&self) -> usize {
        if self.max_len == share::NO_MAX && !Self::IS_ZERO_SIZED {
            share::BYTES_MAX / size_of::<T>()
        } else {
            self.max_len
        }
    }

    /// Returns how many elements the vector holds.
    #[inline]
    pub const fn len(&self) -> usize {
        self.owned.len
    }

    /// Returns whether the vector is empty.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.owned.len == 0
    }

    /// Returns the name, or the empty string.
    pub fn name(&self) -> &str {
        self.prefix.as_ref().map_or("", Prefix::name)
    }

    /// Returns what the vector has used and done so far.
    pub fn stats(&self) -> ContainerStats {
        self.prefix
            .as_ref()
            .map_or(ContainerStats::NOTHING, Prefix::stats)
    }

    /// Returns the state of every page, in order: the committed ones, then the reserved ones. Empty before anything is
    /// reserved. What the vector has taken over from another and not grown into counts as reserved (see
    /// [`trim`](crate::trim)).
    pub fn spans(&self) -> Vec<Span> {
        self.prefix.as_ref().map_or_else(Vec::new, Prefix::spans)
    }

    /// Returns the address of the first element: the same for the life of the vector from the first element on (from
    /// the beginning if the builder made it), dangling before that.
    #[inline]
    pub const fn as_ptr(&self) -> *const T {
        self.owned.ptr.cast().as_ptr()
    }

    /// Returns the pointer of [`as_ptr`](ReservedVec::as_ptr), to write through.
    #[inline]
    pub const fn as_mut_ptr(&mut self) -> *mut T {
        self.owned.ptr.cast().as_ptr()
    }

    /// Returns the elements.
    #[inline]
    pub const fn as_slice(&self) -> &[T] {
        // SAFETY: so many elements are initialised, on committed pages (or of no size), and stay so while borrowed:
        // what decommits takes `&mut self`.
        unsafe { slice::from_raw_parts(self.owned.ptr.cast().as_ptr(), self.owned.len) }
    }

    /// Returns the elements.
    #[inline]
    pub const fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: so many elements are initialised, on committed pages (or of no size), and stay so while borrowed; the
        // borrow is exclusive.
        unsafe { slice::from_raw_parts_mut(self.owned.ptr.cast().as_ptr(), self.owned.len) }
    }

    /// The place of an element, which may be used up to the capacity.
    #[inline(always)]
    const fn place(&self, index: usize) -> *mut T {
        self.owned.ptr.cast::<T>().as_ptr().wrapping_add(index)
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
        unsafe { slice::from_raw_parts_mut(self.owned.ptr.cast().as_ptr(), self.owned.len) }
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
            // A builder is told a maximum.
            vec.reserve_addresses(Some(self.options), 0)?;
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
#[expect(
    clippy::panic,
    reason = "as std's vector; the documentation of each caller says so"
)]
fn refused(error: &Error) -> ! {
    panic!("{error}")
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the pointer is aligned, and this many elements of the type of `glue` are initialised (invariants), on
        // committed pages, which the prefix gives back later. Nothing uses them after this.
        unsafe { self.glue.drop(self.ptr.as_ptr(), 0..self.len) };
    }
}
