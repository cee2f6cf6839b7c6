//! Values of all kinds, one behind the other, that go all at once.
//!
//! ```text
//!  base            next        end (ready)      committed            the reservation's end
//!  | handed out    | free      | free, later    | reserved           |
//! ```

#![allow(unsafe_code, reason = "lends memory that it commits itself")]

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem::MaybeUninit;
use std::panic::RefUnwindSafe;
use std::ptr::{self, NonNull};
use std::slice;

use super::prefix::{Extent, Prefix, Untold};
use super::reserved_vec::{DEFAULT_MAX_BYTES, accept};
use super::{ContainerBuilder, ContainerStats, Options};
use crate::error::{Cause, Error, Operation};
use crate::reservation::Span;
use slice_builder::SliceBuilder;

#[cfg(feature = "allocator-api2")]
mod allocator;
mod scope;
mod slice_builder;

pub use scope::Scope;

/// Memory for values of all kinds, one behind the other, that go all at once.
///
/// An allocation moves a pointer on and compares it with the end of what is committed; beyond that, the arena commits
/// more. It lies in one piece: there are no chunks to fill up, and a block that is the last one grows where it is, up
/// to the whole arena.
///
/// ```
/// use elbowroom::Arena;
///
/// struct Node<'a> {
///     name: &'a str,
///     parent: Option<&'a Node<'a>>,
/// }
///
/// let mut arena = Arena::new();
/// let root: &Node = arena.alloc(Node { name: "root", parent: None });
/// let leaf = arena.alloc(Node { name: arena.alloc_str("leaf"), parent: Some(root) });
/// assert_eq!(leaf.parent.map(|parent| parent.name), Some("root"));
///
/// arena.reset(); // nothing that was lent can still be used
/// assert_eq!(arena.allocated_bytes(), 0);
/// ```
///
/// # Nothing is dropped
///
/// The arena does not know what is in it, so a value that is put there is never dropped: not when the arena is reset,
/// nor when it is dropped itself. What such a value owns elsewhere (the memory of a `String`, a file) stays. Let values
/// own nothing, or have the owner in the arena too: with the feature `allocator-api2`, `&Arena` is an allocator for the
/// `Box` and `Vec` of the crate `allocator-api2` and for the maps of `hashbrown`, which drop what they hold.
///
#[cfg_attr(feature = "allocator-api2", doc = "```")]
#[cfg_attr(not(feature = "allocator-api2"), doc = "```ignore")]
/// use allocator_api2::{boxed::Box, vec::Vec};
/// use elbowroom::Arena;
///
/// let arena = Arena::new();
/// let name = Box::new_in(String::from("dropped"), &arena);
/// let mut squares = Vec::new_in(&arena);
/// squares.push(0u64);
/// let first = squares.as_ptr();
/// squares.extend((1..100_000).map(|n| n * n));
/// assert_eq!(squares.as_ptr(), first); // the last block grows where it is
/// # drop(name);
/// ```
///
/// # Errors
///
/// Each method has a form with `try_` that returns an [`Error`]: `is_limit()` beyond the arena's maximum, its commit
/// limit or a budget; `is_out_of_memory()` if the system refuses; `is_invalid_range()` if what is asked for, or the
/// maximum, is beyond the address space. Then the arena is as it was. The plain forms panic with the error's text. A
/// value or function that was passed in is dropped then; [`try_alloc_with`](Arena::try_alloc_with) makes the value only
/// when there is room for it.
///
/// # One thread at a time
///
/// An arena may be sent to another thread, but not shared: give each thread its own. Its maximum is of addresses, so
/// arenas cost nothing before they are used. Small ones that come and go take over each other's memory without a
/// system call: see [`trim`](crate::trim).
pub struct Arena {
    // The first byte that is not handed out, of the mapping's provenance. Invariant: not before the base, nor behind
    // `end`, and no lent reference reaches behind it. Dangling, and equal to `end`, while there is no prefix.
    next: Cell<NonNull<u8>>,
    // An address. Invariant: at most isize::MAX, and pages from the base up to it are committed.
    end: Cell<usize>,
    max_bytes: usize,
    // Borrowed only while no code of the program's runs.
    prefix: RefCell<Option<Prefix>>,
}

// SAFETY: it owns its memory, and while it moves to another thread nothing in it is lent. What was put there is never
// touched again.
unsafe impl Send for Arena {}

// A panic leaves it whole.
impl RefUnwindSafe for Arena {}

impl Arena {
    /// An arena that can hold 64 GiB. Nothing is reserved until something is allocated.
    pub const fn new() -> Arena {
        Arena::with_max_bytes(DEFAULT_MAX_BYTES)
    }

    /// An arena that can hold `max_bytes`, rounded up to whole pages. Nothing is reserved until something is allocated,
    /// and then the addresses for all of it.
    pub const fn with_max_bytes(max_bytes: usize) -> Arena {
        let nowhere = NonNull::dangling();
        Arena { next: Cell::new(nowhere), end: Cell::new(1), max_bytes, prefix: RefCell::new(None) }
    }

    /// An arena with a commit limit, a budget, a growth policy or a name, for at most `max_bytes`.
    ///
    /// ```
    /// use elbowroom::{Arena, Budget};
    ///
    /// let budget = Budget::new(1 << 20);
    /// let arena = Arena::builder(1 << 30).name("request").budget(&budget).build()?;
    /// arena.alloc_slice_fill_default::<u64>(1000);
    /// let refused = arena.try_alloc_slice_fill_default::<u64>(1_000_000).unwrap_err();
    /// assert_eq!(refused.budget(), Some(&budget));
    /// # Ok::<(), elbowroom::Error>(())
    /// ```
    pub fn builder(max_bytes: usize) -> ContainerBuilder<Arena> {
        ContainerBuilder::new(max_bytes)
    }
}

#[expect(clippy::mut_from_ref, reason = "each time another place")]
impl Arena {
    /// Puts a value into the arena.
    ///
    /// # Panics
    /// See [above](Arena#errors), as all that follow.
    #[inline]
    #[track_caller]
    pub fn alloc<T>(&self, value: T) -> &mut T {
        self.alloc_with(|| value)
    }

    /// [`alloc`](Arena::alloc), or an error.
    ///
    /// # Errors
    /// See [above](Arena#errors), as all that follow.
    #[inline]
    pub fn try_alloc<T>(&self, value: T) -> Result<&mut T, Error> {
        self.try_alloc_with(|| value)
    }

    /// Makes room for a value, and then puts there what `make` returns, without a copy of it on the stack if the
    /// optimiser sees the way. `make` may allocate in the arena itself.
    ///
    /// ```
    /// let arena = elbowroom::Arena::new();
    /// let table = arena.alloc_with(|| [0u8; 100_000]);
    /// table[7] = 1;
    /// ```
    #[inline]
    #[track_caller]
    pub fn alloc_with<T>(&self, make: impl FnOnce() -> T) -> &mut T {
        let place = self.place(Layout::new::<T>(), Fit::Whole);
        // SAFETY: a place for a T, from this moment the caller's.
        unsafe { room::<T>(place) }.write(make())
    }

    /// [`alloc_with`](Arena::alloc_with), or an error, and then `make` was not called.
    #[inline]
    pub fn try_alloc_with<T>(&self, make: impl FnOnce() -> T) -> Result<&mut T, Error> {
        let place = self.try_place(Layout::new::<T>(), Fit::Whole)?;
        // SAFETY: as in `alloc_with`.
        Ok(unsafe { room::<T>(place) }.write(make()))
    }

    /// Puts a copy of `values` into the arena.
    #[inline]
    #[track_caller]
    pub fn alloc_slice_copy<T: Copy>(&self, values: &[T]) -> &mut [T] {
        let place = self.place(Layout::for_value(values), Fit::Whole);
        // SAFETY: a place for so many Ts, from this moment the caller's.
        unsafe { copy_to(place, values) }
    }

    /// [`alloc_slice_copy`](Arena::alloc_slice_copy), or an error.
    #[inline]
    pub fn try_alloc_slice_copy<T: Copy>(&self, values: &[T]) -> Result<&mut [T], Error> {
        let place = self.try_place(Layout::for_value(values), Fit::Whole)?;
        // SAFETY: as in `alloc_slice_copy`.
        Ok(unsafe { copy_to(place, values) })
    }

    /// Puts clones of `values` into the arena. If a clone panics, those made before it are dropped.
    #[inline]
    #[track_caller]
    pub fn alloc_slice_clone<T: Clone>(&self, values: &[T]) -> &mut [T] {
        accept(self.try_alloc_slice_clone(values))
    }

    /// [`alloc_slice_clone`](Arena::alloc_slice_clone), or an error, and then nothing was cloned.
    #[inline]
    pub fn try_alloc_slice_clone<T: Clone>(&self, values: &[T]) -> Result<&mut [T], Error> {
        let mut slice = SliceBuilder::with_capacity(self, values.len())?;
        slice.fill(|index| values.get(index).cloned());
        Ok(slice.finish())
    }

    /// Makes room for `len` values, and then puts there what `make` returns for 0, 1 and so on. If it panics, the
    /// values before that are dropped.
    ///
    /// ```
    /// let arena = elbowroom::Arena::new();
    /// let squares = arena.alloc_slice_fill_with(5, |n| n * n);
    /// assert_eq!(squares, [0, 1, 4, 9, 16]);
    /// ```
    #[inline]
    #[track_caller]
    pub fn alloc_slice_fill_with<T>(&self, len: usize, make: impl FnMut(usize) -> T) -> &mut [T] {
        accept(self.try_alloc_slice_fill_with(len, make))
    }

    /// [`alloc_slice_fill_with`](Arena::alloc_slice_fill_with), or an error, and then `make` was not called.
    #[inline]
    pub fn try_alloc_slice_fill_with<T>(
        &self,
        len: usize,
        mut make: impl FnMut(usize) -> T,
    ) -> Result<&mut [T], Error> {
        let mut slice = SliceBuilder::with_capacity(self, len)?;
        slice.fill(|index| Some(make(index)));
        Ok(slice.finish())
    }

    /// Puts `len` default values into the arena.
    #[inline]
    #[track_caller]
    pub fn alloc_slice_fill_default<T: Default>(&self, len: usize) -> &mut [T] {
        self.alloc_slice_fill_with(len, |_| T::default())
    }

    /// [`alloc_slice_fill_default`](Arena::alloc_slice_fill_default), or an error.
    #[inline]
    pub fn try_alloc_slice_fill_default<T: Default>(&self, len: usize) -> Result<&mut [T], Error> {
        self.try_alloc_slice_fill_with(len, |_| T::default())
    }

    /// Puts all that `values` yields into the arena, however much that is: the slice grows where it is, unless the
    /// iterator allocates in the arena itself.
    ///
    /// ```
    /// let arena = elbowroom::Arena::new();
    /// let words = arena.alloc_slice_fill_iter("a few words".split(' '));
    /// assert_eq!(words, ["a", "few", "words"]);
    /// ```
    #[inline]
    #[track_caller]
    pub fn alloc_slice_fill_iter<T>(&self, values: impl IntoIterator<Item = T>) -> &mut [T] {
        accept(self.try_alloc_slice_fill_iter(values))
    }

    /// [`alloc_slice_fill_iter`](Arena::alloc_slice_fill_iter), or an error, and then what it had yielded is dropped.
    #[inline]
    pub fn try_alloc_slice_fill_iter<T>(&self, values: impl IntoIterator<Item = T>) -> Result<&mut [T], Error> {
        let mut values = values.into_iter();
        let mut slice = SliceBuilder::with_capacity(self, values.size_hint().0)?;
        while slice.fill(|_| values.next()) {
            let Some(value) = values.next() else { break };
            slice.push(value)?;
        }
        Ok(slice.finish())
    }

    /// Puts a copy of `text` into the arena.
    #[inline]
    #[track_caller]
    pub fn alloc_str(&self, text: &str) -> &mut str {
        let bytes = self.alloc_slice_copy(text.as_bytes());
        // SAFETY: a copy of UTF-8.
        unsafe { std::str::from_utf8_unchecked_mut(bytes) }
    }

    /// [`alloc_str`](Arena::alloc_str), or an error.
    #[inline]
    pub fn try_alloc_str(&self, text: &str) -> Result<&mut str, Error> {
        let bytes = self.try_alloc_slice_copy(text.as_bytes())?;
        // SAFETY: as above.
        Ok(unsafe { std::str::from_utf8_unchecked_mut(bytes) })
    }

    /// Bytes of the size and alignment of `layout`. What they hold is unknown: perhaps what was there before a reset,
    /// or what a container that is gone left there.
    #[inline]
    #[track_caller]
    pub fn alloc_layout(&self, layout: Layout) -> &mut [MaybeUninit<u8>] {
        let place = self.place(layout, Fit::Any);
        // SAFETY: so many bytes, from this moment the caller's; MaybeUninit asks for nothing else.
        unsafe { slice::from_raw_parts_mut(place.cast().as_ptr(), layout.size()) }
    }

    /// [`alloc_layout`](Arena::alloc_layout), or an error.
    #[inline]
    pub fn try_alloc_layout(&self, layout: Layout) -> Result<&mut [MaybeUninit<u8>], Error> {
        let place = self.try_place(layout, Fit::Any)?;
        // SAFETY: as in `alloc_layout`.
        Ok(unsafe { slice::from_raw_parts_mut(place.cast().as_ptr(), layout.size()) })
    }
}

impl Arena {
    /// Calls `f` with a part of the arena, and then makes that part free again, in a few instructions. What `f`
    /// allocates there cannot leave it. See [`Scope`].
    pub fn scope<R>(&mut self, f: impl FnOnce(&mut Scope<'_>) -> R) -> R {
        Scope::open(self, f)
    }

    /// Makes the whole arena free again, in a few instructions. Its pages stay committed for what comes next;
    /// [`shrink_to_fit`](Arena::shrink_to_fit) gives them back.
    pub fn reset(&mut self) {
        self.rewind(0);
    }

    /// Gives back the pages behind what is allocated, as far as the system lets it (on Linux it may refuse where the
    /// process has run out of mappings). The addresses stay reserved.
    pub fn shrink_to_fit(&mut self) {
        let keep = self.allocated_bytes();
        let Some(prefix) = self.prefix.get_mut() else { return };
        // SAFETY: what is handed out is before that, and the exclusive borrow says that nothing is being handed out.
        if let Ok(committed) = unsafe { prefix.shrink(keep) } {
            // Taken anew from the mapping: whatever was known of the pages that are gone is known of an old pointer.
            let base = prefix.base();
            self.end.set(self.end.get().min(base.addr().get() + committed));
            self.next.set(base.map_addr(|base| base.saturating_add(keep)));
        }
    }

    /// How many bytes from the base on are handed out, gaps for alignment included.
    pub fn allocated_bytes(&self) -> usize {
        let prefix = self.prefix.borrow();
        prefix.as_ref().map_or(0, |prefix| self.next.get().addr().get() - prefix.base().addr().get())
    }

    /// What the arena has used and done so far.
    pub fn stats(&self) -> ContainerStats {
        self.prefix.borrow().as_ref().map_or(ContainerStats::NOTHING, Prefix::stats)
    }

    /// The state of every page, in order: what is committed, then what is only reserved. Empty before anything is
    /// reserved.
    pub fn spans(&self) -> Vec<Span> {
        self.prefix.borrow().as_ref().map_or_else(Vec::new, Prefix::spans)
    }
}

/// What is known of a layout when the program is compiled.
#[derive(Clone, Copy)]
enum Fit {
    /// The size is a multiple of the alignment, as that of a type is: so the end of a block can be had without its
    /// start, one instruction earlier. Each allocation waits for the end of the one before.
    Whole,
    Any,
}

/// Blocks of bytes.
impl Arena {
    /// A place that nobody else has, for as long as the arena is borrowed, or until it is made free again.
    #[inline(always)]
    #[track_caller]
    fn place(&self, layout: Layout, fit: Fit) -> NonNull<u8> {
        match self.place_in_ready(layout, fit) {
            Some(place) => place,
            None => self.grow_or_panic(layout),
        }
    }

    /// [`place`](Arena::place), or an error.
    #[inline(always)]
    fn try_place(&self, layout: Layout, fit: Fit) -> Result<NonNull<u8>, Error> {
        match self.place_in_ready(layout, fit) {
            Some(place) => Ok(place),
            None => self.grow_for(layout),
        }
    }

    /// The next place, if it is in what is committed and ready.
    #[inline(always)]
    fn place_in_ready(&self, layout: Layout, fit: Fit) -> Option<NonNull<u8>> {
        if layout.size() == 0 {
            return NonNull::new(ptr::without_provenance_mut(layout.align()));
        }
        let (start, end) = self.next_of(layout, fit);
        (end <= self.end.get()).then(|| self.take(start, end))
    }

    /// The addresses of the next block of some size.
    #[inline(always)]
    fn next_of(&self, layout: Layout, fit: Fit) -> (usize, usize) {
        let (next, size, last) = (self.next.get().addr().get(), layout.size(), layout.align() - 1);
        // No overflow: `next` is at most isize::MAX, and so is the sum of the size and `last` (std::alloc::Layout).
        match fit {
            Fit::Whole => {
                let end = (next + size + last) & !last;
                (end - size, end)
            }
            Fit::Any => {
                let start = (next + last) & !last;
                (start, start + size)
            }
        }
    }

    /// Hands out the block between two addresses, of which the first is not before `next`, or is that of the last
    /// block, and the second not behind `end`.
    #[inline(always)]
    fn take(&self, start: usize, end: usize) -> NonNull<u8> {
        debug_assert!(start <= end && end <= self.end.get());
        self.next.set(self.at(end));
        self.at(start)
    }

    /// A pointer to an address inside the mapping or at its end, or to the dangling one before there is a mapping.
    #[inline(always)]
    fn at(&self, address: usize) -> NonNull<u8> {
        let pointer = self.next.get().as_ptr().with_addr(address);
        debug_assert!(!pointer.is_null());
        // SAFETY: no mapping begins at the address 0, nor is the dangling pointer null.
        unsafe { NonNull::new_unchecked(pointer) }
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn grow_or_panic(&self, layout: Layout) -> NonNull<u8> {
        accept(self.grow_for(layout))
    }

    /// The next place, beyond what is ready.
    #[cold]
    #[inline(never)]
    fn grow_for(&self, layout: Layout) -> Result<NonNull<u8>, Error> {
        if self.prefix.borrow().is_none() {
            self.reserve_addresses(Options::default())?;
        }
        let (start, end) = self.next_of(layout, Fit::Any);
        let untold = self.get_ready(end)?;
        let place = self.take(start, end);
        // Not before: what is called may allocate here too.
        untold.tell();
        Ok(place)
    }

    /// Reserves the addresses, which has not been done.
    fn reserve_addresses(&self, options: Options) -> Result<(), Error> {
        if self.max_bytes == 0 {
            return Err(Error::new(Operation::Commit, 0..0, Cause::Full { max: 0, unit: "bytes" }));
        }
        let prefix = Prefix::reserve(self.max_bytes, 1, options)?;
        let base = prefix.base();
        // The invariant of `end`; no system of 64 bits gives programs the upper half of the addresses.
        if base.addr().get().checked_add(prefix.usable_bytes()).is_none_or(|end| end > isize::MAX as usize) {
            return Err(Error::new(Operation::Reserve, 0..self.max_bytes, Cause::TooLarge));
        }
        self.next.set(base);
        self.end.set(base.addr().get());
        *self.prefix.borrow_mut() = Some(prefix);
        Ok(())
    }

    /// Commits what is up to an address in the reservation or behind it, of which not all is ready.
    fn get_ready(&self, end: usize) -> Result<Untold, Error> {
        let mut prefix = self.prefix.borrow_mut();
        let Some(prefix) = &mut *prefix else {
            // Never: each caller has reserved, or has a block.
            return Err(Error::new(Operation::Commit, 0..0, Cause::NotCommitted));
        };
        let base = prefix.base().addr().get();
        let (ready, untold) = prefix.grow_untold(end - base, Extent::Ahead)?;
        self.end.set(self.end.get().max(base + ready));
        Ok(untold)
    }

    /// Makes all free again but the first bytes. Nobody may use the others any more.
    fn rewind(&self, allocated_bytes: usize) {
        if let Some(prefix) = &*self.prefix.borrow() {
            self.next.set(prefix.base().map_addr(|base| base.saturating_add(allocated_bytes)));
        }
    }

    /// Whether a block is handed out, and nothing behind it. One of no size never was, wherever it lies.
    #[inline]
    fn is_last(&self, block: NonNull<u8>, size: usize) -> bool {
        size > 0 && block.addr().get() + size == self.next.get().addr().get()
    }

    /// Makes a block larger, or its alignment: where it is if it is the last one, else by copying it.
    ///
    /// # Safety
    /// The block was handed out with the layout `old` and is still the caller's. On success it is so no more, but the
    /// one returned is. The size of `new` is no less than that of `old`.
    #[inline]
    unsafe fn enlarge(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<u8>, Error> {
        let start = block.addr().get();
        if self.is_last(block, old.size()) && start % new.align() == 0 {
            // No overflow: as in `next_of`.
            let end = start + new.size();
            if end > self.end.get() {
                return self.enlarge_last(start, end);
            }
            return Ok(self.take(start, end));
        }
        let place = self.try_place(new, Fit::Any)?;
        // SAFETY: both have so many bytes (contract), and what was just handed out is apart from what was before.
        unsafe { place.copy_from_nonoverlapping(block, old.size()) };
        Ok(place)
    }

    #[cold]
    #[inline(never)]
    fn enlarge_last(&self, start: usize, end: usize) -> Result<NonNull<u8>, Error> {
        let untold = self.get_ready(end)?;
        let place = self.take(start, end);
        untold.tell();
        Ok(place)
    }

    /// Makes the end of a block free if it is the last one, and whatever else is lost until the next reset.
    ///
    /// # Safety
    /// The block was handed out with the size `old` and is still the caller's. Of that the first `new` bytes stay his.
    #[inline]
    unsafe fn cut(&self, block: NonNull<u8>, old: usize, new: usize) {
        if new < old && self.is_last(block, old) {
            self.take(block.addr().get(), block.addr().get() + new);
        }
    }
}

/// A place for a value.
///
/// # Safety
/// `place` has the size and alignment of a T, and is the caller's for the lifetime.
#[inline(always)]
unsafe fn room<'a, T>(place: NonNull<u8>) -> &'a mut MaybeUninit<T> {
    // SAFETY: aligned, so large and nobody else's (contract); MaybeUninit asks for nothing else.
    unsafe { place.cast().as_mut() }
}

/// Copies values to a place.
///
/// # Safety
/// `place` has the size and alignment of `values`, and is the caller's for the lifetime.
#[inline(always)]
unsafe fn copy_to<'a, T: Copy>(place: NonNull<u8>, values: &[T]) -> &'a mut [T] {
    let place = place.cast::<T>().as_ptr();
    // SAFETY: so many Ts are at one and have room at the other, which is nobody else's (contract).
    unsafe { ptr::copy_nonoverlapping(values.as_ptr(), place, values.len()) };
    // SAFETY: as above, and just written.
    unsafe { slice::from_raw_parts_mut(place, values.len()) }
}

impl ContainerBuilder<Arena> {
    /// Reserves the addresses and makes the arena.
    ///
    /// # Errors
    /// `is_invalid_range()` if the maximum is beyond the address space, `is_out_of_memory()` if no gap that large is
    /// free or the process may not have more (RLIMIT_AS, a job object).
    pub fn build(self) -> Result<Arena, Error> {
        let arena = Arena::with_max_bytes(self.max);
        if self.max > 0 {
            arena.reserve_addresses(self.options)?;
        }
        Ok(arena)
    }
}

impl Default for Arena {
    fn default() -> Arena {
        Arena::new()
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("allocated_bytes", &self.allocated_bytes())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
