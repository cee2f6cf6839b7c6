//! A `Vec` whose elements never move.

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
use super::{ContainerStats, Options, full};
use crate::error::{Error, Operation, Reason};
use crate::plain::Span;

mod builder;
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

/// A vector with the methods of `Vec`, whose elements never move.
///
/// It reserves addresses for its maximum length, and commits pages from the first one on as it grows. Growing copies
/// nothing and needs no second block of memory. Pointers to elements stay valid for the life of the vector.
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
/// # Differences from `Vec`
///
/// The methods have the names and meanings of `Vec`'s methods, and the vector can be passed to a function that takes
/// `&[T]` or `&mut [T]`. The differences:
///
/// - The length is bounded, by [`max_len`](ReservedVec::max_len) and by the limits given to the
///   [builder](ReservedVec::builder).
/// - Each method that may need memory has a form that returns an [`Error`] where `Vec` would abort: `try_push`,
///   `try_extend` and so on. On an error, the vector is unchanged. The plain forms panic with the error's text. Only
///   std can make its `TryReserveError`. If `?` needs an error of std, an [`Error`] converts into an
///   [`io::Error`](std::io::Error), of the kind `OutOfMemory` if a limit or the system has refused.
/// - A `Cursor` around it reads and seeks, but does not write: only std can add that to its `Cursor`. A vector of bytes
///   implements `Write` itself, by appending.
/// - [`shrink_to_fit`](ReservedVec::shrink_to_fit) gives pages back to the system in place.
///
/// # What it costs
///
/// Reserving takes a system call and no memory. Address space is limited: to 128 TiB on most machines, and to less if
/// the process has a limit (RLIMIT_AS). Vectors without a maximum share half of it: see [`new`](ReservedVec::new). A
/// vector with an element takes at least a page, and on Linux two of the 65,530 mappings that a process may have
/// (`vm.max_map_count`). For tens of thousands of small vectors, use `Vec`.
///
/// Small vectors that are made and dropped in turn reuse each other's memory without a system call: see
/// [`trim`](crate::trim). Making a vector, pushing once and dropping it takes about twice the time of a `Vec`, measured
/// on an AMD EPYC (`come-and-go-8` of the benchmarks). A debug build of a program compiles the library without
/// optimisation, and this takes about eight times as long as with a `Vec` in the same build. With these lines in the
/// program's `Cargo.toml`, it takes about four times as long:
///
/// ```toml
/// [profile.dev.package.elbowroom]
/// opt-level = 3
/// ```
///
/// # Pointers
///
/// From the first element on, [`as_ptr`](ReservedVec::as_ptr) returns the same address for the life of the vector, even
/// if the vector itself is moved. A pointer from it may be used for every element, also after the vector has grown, as
/// long as no `&mut` to the same element is alive.
pub struct ReservedVec<T> {
    // Dropped before `prefix`, which owns their memory: fields are dropped in declaration order.
    owned: Owned,
    // The number of elements that can be written without asking the prefix. Invariant: at most the capacity, so they
    // lie in committed pages. If T has no size, it is `max_len`.
    ready: usize,
    // Invariant: once there is a prefix, `max_len` is constant and the prefix has room for this many elements, so their
    // size in bytes does not overflow.
    max_len: usize,
    prefix: Option<Prefix>,
    // The vector owns and drops its elements.
    elements: PhantomData<T>,
}

/// The elements of a vector. Dropping this drops them.
struct Owned {
    // Invariant: the base of the prefix, aligned for the elements. Dangling and aligned before there is a prefix, and
    // if the elements have no size.
    ptr: NonNull<u8>,
    // Invariant: at most `ready`; the first `len` elements are initialised.
    len: usize,
    // Invariant: made for the type of the elements.
    glue: DropGlue,
}

// SAFETY: the vector owns its elements and their memory, as `Vec` does; so T must be Send.
unsafe impl<T: Send> Send for ReservedVec<T> {}
// SAFETY: `&self` gives out `&T` and plain figures only.
unsafe impl<T: Sync> Sync for ReservedVec<T> {}

// A panic leaves the vector consistent, with the contents that the method documents.
impl<T: UnwindSafe> UnwindSafe for ReservedVec<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for ReservedVec<T> {}

impl<T> ReservedVec<T> {
    const IS_ZERO_SIZED: bool = size_of::<T>() == 0;

    /// Returns an empty vector, which has reserved nothing.
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

    /// Reserves the addresses, with options or the defaults. Nothing is reserved before the call. `written` elements
    /// are about to be written.
    fn reserve_addresses(&mut self, options: Option<Options>, written: usize) -> Result<(), Error> {
        let Some(max_bytes) = self.max_len.checked_mul(size_of::<T>()) else {
            return Err(Error::new(
                Operation::Reserve,
                0..usize::MAX,
                Reason::TooLarge,
            ));
        };
        let written = written * size_of::<T>();
        let prefix = tried!(Prefix::reserve(
            max_bytes,
            align_of::<T>(),
            options,
            written
        ));
        self.owned.ptr = prefix.base();
        self.prefix = Some(prefix);
        Ok(())
    }

    /// Reserves the addresses of a vector without a maximum, for at least `needed` elements. `written` of them are
    /// about to be written.
    fn reserve_share(&mut self, needed: usize, written: usize) -> Result<(), Error> {
        let size = size_of::<T>();
        let Some(bytes) = needed.checked_mul(size) else {
            let max_len = isize::MAX as usize / size;
            return Err(full(self.owned.len, needed, max_len, size));
        };
        let prefix = tried!(Prefix::reserve_share(
            bytes,
            written * size,
            align_of::<T>(),
            None
        ));
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

    /// Returns an empty vector with the same maximum, limits, budget, growth policy and name.
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

    /// Commits memory for `more` elements behind the first `used`. Not all of them are ready (or, for an exact extent,
    /// committed). `used` is the length, or more while elements are being moved inside the vector.
    #[cold]
    fn grow(&mut self, used: usize, more: usize, extent: Extent) -> Result<(), Error> {
        if !self.may_hold(used, more) {
            return Err(full(used, more, self.max_len, size_of::<T>()));
        }
        if self.prefix.is_none() {
            let written = match extent {
                Extent::Ahead => used + more,
                Extent::Later | Extent::Exact => 0,
            };
            let reserved = if self.max_len == share::NO_MAX {
                self.reserve_share(used + more, written)
            } else {
                self.reserve_addresses(None, written)
            };
            tried!(reserved);
            if !self.may_hold(used, more) {
                return Err(full(used, more, self.max_len, size_of::<T>()));
            }
        }
        if let Some(prefix) = &mut self.prefix {
            let needed = (used + more) * size_of::<T>();
            let ready = tried!(prefix.grow_mut(needed, extent));
            let ready = self.elements_in(ready);
            if ready > self.ready {
                self.ready = ready;
            }
        }
        Ok(())
    }

    /// Returns whether the vector can hold `more` elements in addition to `used`.
    #[inline(always)]
    fn may_hold(&self, used: usize, more: usize) -> bool {
        more <= self.max_len && used <= self.max_len - more
    }

    /// Makes room for `more` elements behind the last one. They are about to be written.
    #[inline]
    fn make_room(&mut self, more: usize) -> Result<(), Error> {
        if more <= self.ready - self.owned.len {
            Ok(())
        } else {
            self.grow(self.owned.len, more, Extent::Ahead)
        }
    }

    /// Returns the number of elements in this many bytes of the prefix.
    fn elements_in(&self, bytes: usize) -> usize {
        (bytes / size_of::<T>()).min(self.max_len)
    }

    /// Makes room for `additional` more elements, and ahead of them as the growth policy says.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_reserve`](ReservedVec::try_reserve) would return.
    #[track_caller]
    pub fn reserve(&mut self, additional: usize) {
        accept(self.try_reserve(additional));
    }

    /// Makes room for `additional` more elements, and ahead of them as the growth policy says.
    ///
    /// # Errors
    /// `is_limit()` beyond the maximum length, the commit limit or a budget; `is_out_of_memory()` if the system
    /// refuses; `is_invalid_range()` if the maximum length is beyond the address space. Nothing has changed then.
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), Error> {
        self.reserve_for(additional, Extent::Later)
    }

    /// Makes room for `additional` more elements, rounded up to whole pages.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_reserve`](ReservedVec::try_reserve) would return.
    #[track_caller]
    pub fn reserve_exact(&mut self, additional: usize) {
        accept(self.try_reserve_exact(additional));
    }

    /// Makes room for `additional` more elements, rounded up to whole pages.
    ///
    /// # Errors
    /// See [`try_reserve`](ReservedVec::try_reserve).
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

    /// Gives the pages behind the last element back to the system.
    ///
    /// The addresses stay reserved. On Linux the system may refuse if the process has reached its limit of mappings;
    /// the pages then stay committed.
    pub fn shrink_to_fit(&mut self) {
        self.shrink_to(0);
    }

    /// Gives back the pages behind the last element, as [`shrink_to_fit`](ReservedVec::shrink_to_fit) does, but keeps
    /// room for `min_capacity` elements.
    pub fn shrink_to(&mut self, min_capacity: usize) {
        let Some(prefix) = &mut self.prefix else {
            return;
        };
        let keep = min_capacity.min(self.max_len).max(self.owned.len) * size_of::<T>();
        // SAFETY: all elements lie before `keep`, and the exclusive borrow shows that there is no reference to the
        // rest.
        if let Ok(committed) = unsafe { prefix.shrink(keep) } {
            // The pointer is taken anew from the mapping: the compiler may have assumptions about the old one.
            self.owned.ptr = prefix.base();
            self.ready = self.ready.min(self.elements_in(committed));
        }
    }

    /// Returns the number of elements that fit into the committed pages.
    pub fn capacity(&self) -> usize {
        match &self.prefix {
            Some(prefix) => self.elements_in(prefix.committed_bytes()),
            None => self.ready,
        }
    }

    /// Returns the largest number of elements that the vector can hold.
    ///
    /// A vector that [`new`](ReservedVec::new) made determines it when it gets its first element; before that, this is
    /// an upper bound.
    pub const fn max_len(&self) -> usize {
        if self.max_len == share::NO_MAX && !Self::IS_ZERO_SIZED {
            share::BYTES_MAX / size_of::<T>()
        } else {
            self.max_len
        }
    }

    /// Returns the number of elements.
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

    /// Returns the memory and the number of growths of the vector.
    pub fn stats(&self) -> ContainerStats {
        self.prefix
            .as_ref()
            .map_or(ContainerStats::NOTHING, Prefix::stats)
    }

    /// Returns the state of every page, in order: the committed ones, then the reserved ones.
    ///
    /// The list is empty before anything is reserved. Pages that the vector has taken over from another one, and not
    /// grown into, count as reserved (see [`trim`](crate::trim)).
    pub fn spans(&self) -> Vec<Span> {
        self.prefix.as_ref().map_or_else(Vec::new, Prefix::spans)
    }

    /// Returns the address of the first element.
    ///
    /// It is dangling until the vector gets its first element (or until the builder has made it), and never changes
    /// afterwards.
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
        // SAFETY: the first `len` elements are initialised, and on committed pages (or have no size). They stay so
        // while borrowed, because decommitting takes `&mut self`.
        unsafe { slice::from_raw_parts(self.owned.ptr.cast().as_ptr(), self.owned.len) }
    }

    /// Returns the elements.
    #[inline]
    pub const fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: the first `len` elements are initialised, and on committed pages (or have no size). They stay so
        // while borrowed, and the borrow is exclusive.
        unsafe { slice::from_raw_parts_mut(self.owned.ptr.cast().as_ptr(), self.owned.len) }
    }

    /// Returns the address of an element, valid up to the capacity.
    #[inline(always)]
    const fn place(&self, index: usize) -> *mut T {
        self.owned.ptr.cast::<T>().as_ptr().wrapping_add(index)
    }

    /// Consumes the vector and returns its elements for `'a`. Their memory is never released, and their charge never
    /// refunded.
    pub fn leak<'a>(self) -> &'a mut [T]
    where
        T: 'a,
    {
        mem::ManuallyDrop::new(self).leaked()
    }

    /// Returns the elements for `'a`. The caller must keep the vector from being dropped.
    fn leaked<'a>(&mut self) -> &'a mut [T] {
        // SAFETY: the elements are initialised and on committed pages. The only caller forgets the vector, so they stay
        // so for ever, and nothing else can reach them.
        unsafe { slice::from_raw_parts_mut(self.owned.ptr.cast().as_ptr(), self.owned.len) }
    }
}

/// Panics with the error's text, for methods that return no error.
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
        // SAFETY: the pointer is aligned, and the first `len` elements are initialised and of the type of `glue`
        // (invariants), on committed pages, which the prefix gives back later. Nothing uses them afterwards.
        unsafe { self.glue.drop(self.ptr.as_ptr(), 0..self.len) };
    }
}
