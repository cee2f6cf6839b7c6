//! The growth of a `Vec`, the address of a static.

#![allow(unsafe_code, reason = "keeps elements in memory that it commits itself")]

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;

use super::prefix::{Extent, Prefix};
use super::{ContainerBuilder, ContainerStats, Options, full};
use crate::error::{Cause, Error, Operation};
use crate::reservation::Span;

/// The bytes that a vector reserves if it is told no maximum.
const DEFAULT_MAX_BYTES: usize = 64 << 30;

/// A `Vec` that never moves.
///
/// It reserves addresses for its maximum length, and commits pages from the first on as it grows. An element stays
/// where it was pushed, so growing copies nothing and pointers to elements stay valid until the vector is dropped.
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
pub struct ReservedVec<T> {
    // Invariant: the base of `prefix`, or dangling before there is one and where T takes no space.
    ptr: NonNull<T>,
    // Invariant: at most `max_len`, and so many elements lie in committed pages of `prefix`. Where T takes no space, it
    // is `max_len`.
    capacity: usize,
    // Invariant: at most `capacity`; so many elements are initialised.
    len: usize,
    // Constant. Where there is a prefix, it has room for so many.
    max_len: usize,
    prefix: Option<Prefix>,
    // It owns elements, and drops them.
    elements: PhantomData<T>,
}

// SAFETY: it owns its elements and the memory they are in, as `Vec` does.
unsafe impl<T: Send> Send for ReservedVec<T> {}
// SAFETY: `&self` gives out `&T` and figures only.
unsafe impl<T: Sync> Sync for ReservedVec<T> {}

impl<T> ReservedVec<T> {
    const IS_ZERO_SIZED: bool = size_of::<T>() == 0;

    /// A vector that can hold 64 GiB. Nothing is reserved until the first element comes.
    pub const fn new() -> ReservedVec<T> {
        let max_len = if Self::IS_ZERO_SIZED { usize::MAX } else { DEFAULT_MAX_BYTES / size_of::<T>() };
        ReservedVec::with_max_len(max_len)
    }

    /// A vector that can hold `max_len` elements. Nothing is reserved until the first one comes.
    pub const fn with_max_len(max_len: usize) -> ReservedVec<T> {
        ReservedVec {
            ptr: NonNull::dangling(),
            capacity: if Self::IS_ZERO_SIZED { max_len } else { 0 },
            len: 0,
            max_len,
            prefix: None,
            elements: PhantomData,
        }
    }

    /// A vector with a limit, a budget, a growth policy or a name.
    pub fn builder(max_len: usize) -> ContainerBuilder<ReservedVec<T>> {
        ContainerBuilder::new(max_len)
    }

    /// Reserves the addresses.
    fn reserve_addresses(&mut self, options: Options) -> Result<&mut Prefix, Error> {
        let max_bytes = self.max_len.checked_mul(size_of::<T>());
        let max_bytes = max_bytes.ok_or_else(|| Error::new(Operation::Reserve, 0..usize::MAX, Cause::TooLarge))?;
        let prefix = Prefix::reserve(max_bytes, align_of::<T>(), options)?;
        self.ptr = prefix.base().cast();
        Ok(self.prefix.insert(prefix))
    }

    /// Makes room for `more` elements, of which there is not enough.
    fn grow(&mut self, more: usize, extent: Extent) -> Result<(), Error> {
        let needed = self.len.checked_add(more).filter(|&needed| needed <= self.max_len);
        let needed = needed.ok_or_else(|| full(self.len, more, self.max_len, size_of::<T>()))?;
        if self.prefix.is_none() {
            self.reserve_addresses(Options::default())?;
        }
        // Always there; and what is at most the maximum in elements is so in bytes.
        if let Some(prefix) = &mut self.prefix {
            let committed = prefix.grow_mut(needed * size_of::<T>(), extent)?;
            self.capacity = (committed / size_of::<T>()).min(self.max_len);
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn grow_for_push(&mut self) {
        if let Err(error) = self.grow(1, Extent::Ahead) {
            refused(&error);
        }
    }

    /// Appends an element.
    ///
    /// # Panics
    /// If there is no memory for it, with the error's text; see [`try_reserve`](ReservedVec::try_reserve).
    #[inline]
    #[track_caller]
    pub fn push(&mut self, value: T) {
        if self.len == self.capacity {
            self.grow_for_push();
        }
        // SAFETY: below the capacity, so inside the committed pages (or of no size), and behind the last element.
        let place = unsafe { self.ptr.add(self.len) };
        // SAFETY: valid for writes and aligned, as the base is; nothing is there that would have to be dropped.
        unsafe { place.write(value) };
        self.len += 1;
    }

    /// Makes room for `additional` elements more, and ahead of that what the growth policy says.
    ///
    /// # Errors
    /// `is_limit()` beyond the maximum length, the commit limit or a budget; `is_out_of_memory()` if the system
    /// refuses. Then nothing has changed.
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), Error> {
        if additional <= self.capacity - self.len { Ok(()) } else { self.grow(additional, Extent::Ahead) }
    }

    /// Makes room for `additional` elements more, in whole pages.
    ///
    /// # Errors
    /// As [`try_reserve`](ReservedVec::try_reserve).
    pub fn try_reserve_exact(&mut self, additional: usize) -> Result<(), Error> {
        if additional <= self.capacity - self.len { Ok(()) } else { self.grow(additional, Extent::Exact) }
    }

    /// Keeps the first `len` elements and drops the rest.
    pub fn truncate(&mut self, len: usize) {
        let Some(dropped) = self.len.checked_sub(len) else { return };
        // SAFETY: at most the length.
        let first = unsafe { self.ptr.add(len) };
        let rest = ptr::slice_from_raw_parts_mut(first.as_ptr(), dropped);
        // Before anything is dropped: if that panics, the rest leaks and nothing is dropped twice.
        self.len = len;
        // SAFETY: initialised elements that the vector no longer counts as its own.
        unsafe { ptr::drop_in_place(rest) };
    }

    /// Gives back what is committed beyond `min_capacity` elements and the length, as far as the system lets it.
    pub fn shrink_to(&mut self, min_capacity: usize) {
        let Some(prefix) = &mut self.prefix else { return };
        let keep = min_capacity.clamp(self.len, self.max_len);
        // SAFETY: the elements are before it, and the exclusive borrow says that nobody has a reference to the rest.
        let shrunk = unsafe { prefix.shrink(keep * size_of::<T>()) };
        if let Ok(committed) = shrunk {
            self.capacity = (committed / size_of::<T>()).min(self.max_len);
            self.ptr = prefix.base().cast();
        }
    }

    /// How many elements fit into what is committed.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many elements the vector can ever hold.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// The name it was given, or the empty string.
    pub fn name(&self) -> &str {
        self.prefix.as_ref().map_or("", Prefix::name)
    }

    /// What the vector has used and done so far.
    pub fn stats(&self) -> ContainerStats {
        self.prefix.as_ref().map_or(ContainerStats::NOTHING, Prefix::stats)
    }

    /// The state of every page, in order.
    pub fn spans(&self) -> Vec<Span> {
        self.prefix.as_ref().map_or_else(Vec::new, Prefix::spans)
    }

    /// The first element, or a dangling pointer before there is one.
    pub const fn as_ptr(&self) -> *const T {
        self.ptr.as_ptr()
    }
}

impl<T> ContainerBuilder<ReservedVec<T>> {
    /// Reserves the addresses and makes the vector.
    ///
    /// # Errors
    /// `is_invalid_range()` if the maximum is beyond the address space, `is_out_of_memory()` if no gap that large is
    /// free or the process may not have more.
    pub fn build(self) -> Result<ReservedVec<T>, Error> {
        let mut vec = ReservedVec::with_max_len(self.max);
        if self.max > 0 && !ReservedVec::<T>::IS_ZERO_SIZED {
            vec.reserve_addresses(self.options)?;
        }
        Ok(vec)
    }
}

/// Panics as a method does that cannot return an error.
#[cold]
#[track_caller]
fn refused(error: &Error) -> ! {
    panic!("{error}") // PANIC: what std's vector does too; each caller's documentation says so.
}

impl<T> Default for ReservedVec<T> {
    fn default() -> ReservedVec<T> {
        ReservedVec::new()
    }
}

impl<T> Drop for ReservedVec<T> {
    fn drop(&mut self) {
        if mem::needs_drop::<T>() {
            self.truncate(0);
        }
    }
}

impl<T> Deref for ReservedVec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: so many elements are initialised, on committed pages (or of no size), which stay so while borrowed.
        unsafe { slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for ReservedVec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl<T: fmt::Debug> fmt::Debug for ReservedVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T> Extend<T> for ReservedVec<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        elements.into_iter().for_each(|element| self.push(element));
    }
}
