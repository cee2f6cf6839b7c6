//! The memory of an arena: handing out blocks, and growth.

#![allow(unsafe_code, reason = "hands out memory that it commits itself")]

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::{self, NonNull};

use super::super::prefix::{Extent, PendingCallbacks, Prefix};
use super::super::reserved_vec::accept;
use super::super::share;
use super::super::{ContainerStats, Options};
use crate::error::{Error, Operation, Reason};
use crate::plain::Span;

/// An allocator for values of all types, which lie one behind another and are freed all at once.
///
/// An allocation advances a pointer and compares it with the end of the committed memory; beyond it, the arena commits
/// more. The memory is one piece: there are no chunks to fill, and the last block can grow in place up to the end of
/// the arena.
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
/// The arena does not know its contents, so a value in it is never dropped, neither when the arena is reset nor when
/// the arena is dropped. Resources that such a value owns elsewhere (the buffer of a `String`, a file) leak. Use values
/// that own nothing, or keep them as an [`ArenaBox`](crate::arena::ArenaBox), which drops its value:
///
/// ```
/// let arena = elbowroom::Arena::new();
/// let name = arena.alloc_box(String::from("dropped"));
/// std::thread::scope(|scope| {
///     scope.spawn(move || assert_eq!(*name, "dropped"));
/// });
/// ```
///
/// Alternatively, put the collection itself into the arena: with the feature `allocator-api2`, `&Arena` is an allocator
/// for the `Box` and `Vec` of the crate `allocator-api2` and for the maps of `hashbrown`, which drop their contents.
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
/// limit or a budget; `is_out_of_memory()` if the system refuses; `is_invalid_range()` if the requested size or the
/// maximum is beyond the address space. The arena is unchanged then, and a value or function that was passed in is
/// dropped. [`try_alloc_with`](Arena::try_alloc_with) makes the value only when there is room for it. The plain forms
/// panic with the error's text.
///
/// # One thread at a time
///
/// An arena can be sent to another thread, but not shared: give each thread its own. The maximum limits addresses only,
/// so an unused arena costs nothing. Small arenas that are made and dropped in turn reuse each other's memory without a
/// system call: see [`trim`](crate::trim).
pub struct Arena {
    // The first byte that is not handed out, with the mapping's provenance. Invariant: between the base and `end`, and
    // no lent reference reaches beyond it. Dangling, and equal to `end`, while there is no prefix.
    next: Cell<NonNull<u8>>,
    // An address. Invariant: at most isize::MAX; the pages from the base up to it are committed.
    end: Cell<usize>,
    max_bytes: usize,
    // The commit limit for the prefix, until there is one.
    commit_limit_bytes: usize,
    // Borrowed only while none of the program's code runs.
    prefix: RefCell<Option<Prefix>>,
}

// SAFETY: the arena owns its memory, and nothing in it is lent while it moves to another thread. It never accesses
// values again after it has lent them.
unsafe impl Send for Arena {}

// A panic in a function that makes values, or in a budget's callback, leaves the arena consistent.
impl UnwindSafe for Arena {}
impl RefUnwindSafe for Arena {}

impl Arena {
    /// Returns an empty arena, which has reserved nothing.
    pub(super) const fn unreserved(max_bytes: usize) -> Arena {
        let nowhere = NonNull::dangling();
        Arena {
            next: Cell::new(nowhere),
            end: Cell::new(1),
            max_bytes,
            commit_limit_bytes: usize::MAX,
            prefix: RefCell::new(None),
        }
    }

    /// Frees the whole arena, in a few instructions.
    ///
    /// Its pages stay committed for later allocations; [`shrink_to_fit`](Arena::shrink_to_fit) gives them back.
    pub fn reset(&mut self) {
        self.rewind(0);
    }

    /// Frees everything except the first `allocated_bytes`: all that was allocated since
    /// [`allocated_bytes`](Arena::allocated_bytes) returned that number.
    ///
    /// If the number is larger than the present one, nothing changes.
    ///
    /// The number is a checkpoint for code that keeps pointers or offsets into the arena instead of references. No
    /// reference outlives the call. If one must, open a [`scope`](Arena::scope) instead.
    ///
    /// ```
    /// let mut arena = elbowroom::Arena::new();
    /// let header: *const u64 = arena.alloc(7);
    /// let checkpoint = arena.allocated_bytes();
    /// arena.alloc_slice_fill_default::<u8>(1000);
    /// arena.reset_to(checkpoint);
    /// assert_eq!(arena.allocated_bytes(), checkpoint);
    /// // SAFETY: the arena lives, and the value lies before the checkpoint.
    /// assert_eq!(unsafe { *header }, 7);
    /// ```
    pub fn reset_to(&mut self, allocated_bytes: usize) {
        if allocated_bytes < self.allocated_bytes() {
            self.rewind(allocated_bytes);
        }
    }

    /// Changes the commit limit, rounded down to whole pages, for later allocations.
    ///
    /// Pages committed beyond it stay committed and can be allocated.
    ///
    /// ```
    /// use elbowroom::{Arena, page_size};
    ///
    /// let mut arena = Arena::new();
    /// arena.set_commit_limit(page_size());
    /// let refused = arena.try_alloc_slice_fill_default::<u8>(page_size() + 1);
    /// assert!(refused.unwrap_err().is_limit());
    /// arena.set_commit_limit(usize::MAX);
    /// arena.alloc_slice_fill_default::<u8>(page_size() + 1);
    /// ```
    pub fn set_commit_limit(&mut self, bytes: usize) {
        self.commit_limit_bytes = bytes;
        if let Some(prefix) = self.prefix.get_mut() {
            prefix.set_commit_limit(bytes);
        }
    }

    /// Gives the pages behind the allocated bytes back to the system.
    ///
    /// The addresses stay reserved. On Linux the system may refuse if the process has reached its limit of mappings;
    /// the pages then stay committed.
    pub fn shrink_to_fit(&mut self) {
        let keep = self.allocated_bytes();
        let Some(prefix) = self.prefix.get_mut() else {
            return;
        };
        // SAFETY: all bytes handed out lie before `keep`, and the exclusive borrow shows that nothing is being handed
        // out.
        if let Ok(committed) = unsafe { prefix.shrink(keep) } {
            // The pointer is taken anew from the mapping: the compiler may have assumptions about the old one.
            let base = prefix.base();
            self.end
                .set(self.end.get().min(base.addr().get() + committed));
            self.next
                .set(base.map_addr(|base| base.saturating_add(keep)));
        }
    }

    /// Returns the number of bytes allocated, including gaps for alignment.
    pub fn allocated_bytes(&self) -> usize {
        let prefix = self.prefix.borrow();
        prefix.as_ref().map_or(0, |prefix| {
            self.next.get().addr().get() - prefix.base().addr().get()
        })
    }

    /// Returns the memory and the number of growths of the arena.
    pub fn stats(&self) -> ContainerStats {
        self.prefix
            .borrow()
            .as_ref()
            .map_or(ContainerStats::NOTHING, Prefix::stats)
    }

    /// Returns the state of every page, in order: the committed ones, then the reserved ones.
    ///
    /// The list is empty before anything is reserved.
    pub fn spans(&self) -> Vec<Span> {
        self.prefix
            .borrow()
            .as_ref()
            .map_or_else(Vec::new, Prefix::spans)
    }
}

/// The part of a layout that is known at compile time.
#[derive(Clone, Copy)]
pub(super) enum Fit {
    /// The size is a multiple of the alignment, as for every type. The end of a block can then be computed without its
    /// start, which saves one instruction in the chain that consecutive allocations wait for.
    Whole,
    Any,
}

/// Allocation of blocks of bytes.
impl Arena {
    /// Returns a block that has no other owner, for as long as the arena is borrowed or until the block is freed.
    #[inline(always)]
    #[track_caller]
    pub(super) fn place(&self, layout: Layout, fit: Fit) -> NonNull<u8> {
        match self.place_in_ready(layout, fit) {
            Some(place) => place,
            None => self.grow_or_panic(layout),
        }
    }

    /// Returns a block as [`place`](Arena::place) does, or an error.
    #[inline(always)]
    pub(super) fn try_place(&self, layout: Layout, fit: Fit) -> Result<NonNull<u8>, Error> {
        match self.place_in_ready(layout, fit) {
            Some(place) => Ok(place),
            None => self.grow_for(layout),
        }
    }

    /// Returns the next block if it fits into the memory that is committed and ready.
    #[inline(always)]
    pub(super) fn place_in_ready(&self, layout: Layout, fit: Fit) -> Option<NonNull<u8>> {
        if layout.size() == 0 {
            return NonNull::new(ptr::without_provenance_mut(layout.align()));
        }
        let (start, end) = self.next_of(layout, fit);
        (end <= self.end.get()).then(|| self.take(start, end))
    }

    /// Returns the start and the end of the next block of a layout.
    #[inline(always)]
    pub(super) fn next_of(&self, layout: Layout, fit: Fit) -> (usize, usize) {
        let (next, size, last) = (
            self.next.get().addr().get(),
            layout.size(),
            layout.align() - 1,
        );
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

    /// Hands out the block between two addresses. `start` is not before `next`, or is the start of the last block;
    /// `end` is not beyond the field `end`.
    #[inline(always)]
    pub(super) fn take(&self, start: usize, end: usize) -> NonNull<u8> {
        debug_assert!(start <= end && end <= self.end.get());
        self.next.set(self.at(end));
        self.at(start)
    }

    /// Returns a pointer to an address inside the mapping or at its end. Before there is a mapping, the dangling
    /// pointer.
    #[inline(always)]
    pub(super) fn at(&self, address: usize) -> NonNull<u8> {
        let pointer = self.next.get().as_ptr().with_addr(address);
        debug_assert!(!pointer.is_null());
        // SAFETY: no mapping begins at the address 0, and the dangling pointer is not null.
        unsafe { NonNull::new_unchecked(pointer) }
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    pub(super) fn grow_or_panic(&self, layout: Layout) -> NonNull<u8> {
        accept(self.grow_for(layout))
    }

    /// Returns the next block, beyond the memory that is ready.
    #[cold]
    #[inline(never)]
    pub(super) fn grow_for(&self, layout: Layout) -> Result<NonNull<u8>, Error> {
        if self.prefix.borrow().is_none() {
            // The alignment may need a gap of up to its own size.
            let needed = layout.size().saturating_add(layout.align());
            tried!(self.reserve_addresses(self.options(), needed, needed));
        }
        let (start, end) = self.next_of(layout, Fit::Any);
        let pending = tried!(self.get_ready(start, end, Extent::Ahead));
        let place = self.take(start, end);
        // Called last: a callback may allocate in this arena.
        pending.run();
        Ok(place)
    }

    /// Returns the options of the prefix of an arena without a builder, or `None` for the default.
    pub(super) fn options(&self) -> Option<Options> {
        if self.commit_limit_bytes == usize::MAX {
            return None;
        }
        Some(Options {
            commit_limit_bytes: self.commit_limit_bytes,
            ..Options::default()
        })
    }

    /// Reserves the addresses, for an allocation that needs `needed` bytes. Nothing is reserved before the call. The
    /// first `written` bytes are about to be written.
    pub(super) fn reserve_addresses(
        &self,
        options: Option<Options>,
        needed: usize,
        written: usize,
    ) -> Result<(), Error> {
        let reserved = match self.max_bytes {
            0 => return Err(Error::full(Operation::Commit, 0..0, 0, "bytes")),
            share::NO_MAX => Prefix::reserve_share(needed, written, 1, options),
            max_bytes => Prefix::reserve(max_bytes, 1, options, written),
        };
        let prefix = tried!(reserved);
        let base = prefix.base();
        // Establishes the invariant of `end`. No 64-bit system gives programs the upper half of the addresses.
        const ADDRESS_MAX: usize = isize::MAX as usize;
        let usable = prefix.usable_bytes();
        if usable > ADDRESS_MAX || base.addr().get() > ADDRESS_MAX - usable {
            return Err(Error::new(
                Operation::Reserve,
                0..prefix.usable_bytes(),
                Reason::TooLarge,
            ));
        }
        self.next.set(base);
        self.end.set(base.addr().get());
        *self.prefix.borrow_mut() = Some(prefix);
        Ok(())
    }

    /// Commits the memory up to the address `end`, which may lie beyond the reservation. Some of it is not ready yet.
    /// Nothing is written before `start`, which may lie far behind the last block: a gap for alignment is not
    /// prefaulted.
    pub(super) fn get_ready(
        &self,
        start: usize,
        end: usize,
        extent: Extent,
    ) -> Result<PendingCallbacks, Error> {
        let mut prefix = self.prefix.borrow_mut();
        let Some(prefix) = &mut *prefix else {
            // Unreachable: every caller has reserved memory or owns a block.
            return Err(Error::new(Operation::Commit, 0..0, Reason::NotCommitted));
        };
        let base = prefix.base().addr().get();
        match prefix.grow_from(start - base, end - base, extent) {
            Ok((ready, pending)) => {
                self.end.set(self.end.get().max(base + ready));
                Ok(pending)
            }
            Err(error) => Err(error),
        }
    }

    /// Frees everything except the first `allocated_bytes`. The freed bytes are no longer used.
    pub(super) fn rewind(&self, allocated_bytes: usize) {
        if let Some(prefix) = &*self.prefix.borrow() {
            self.next.set(
                prefix
                    .base()
                    .map_addr(|base| base.saturating_add(allocated_bytes)),
            );
        }
    }

    /// Returns whether a block is the last one handed out. A block without a size never is, wherever it lies.
    #[inline]
    pub(super) fn is_last(&self, block: NonNull<u8>, size: usize) -> bool {
        size > 0 && block.addr().get() + size == self.next.get().addr().get()
    }

    /// Enlarges a block or its alignment: in place if it is the last one, otherwise by copying it.
    ///
    /// # Safety
    /// The block was handed out with the layout `old` and belongs to the caller. On success it no longer does, and the
    /// returned block does. The size of `new` is not smaller than that of `old`.
    #[inline]
    pub(super) unsafe fn enlarge(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, Error> {
        let start = block.addr().get();
        if self.is_last(block, old.size()) && start % new.align() == 0 {
            // No overflow: `start` is at most isize::MAX, and so is the size of a layout.
            let end = start + new.size();
            if end > self.end.get() {
                return self.enlarge_last(start, end);
            }
            return Ok(self.take(start, end));
        }
        let place = self.try_place(new, Fit::Any)?;
        // SAFETY: both blocks have `old.size()` bytes (contract). The new one was just handed out, so it does not
        // overlap the old one.
        unsafe { place.copy_from_nonoverlapping(block, old.size()) };
        Ok(place)
    }

    #[cold]
    #[inline(never)]
    pub(super) fn enlarge_last(&self, start: usize, end: usize) -> Result<NonNull<u8>, Error> {
        let pending = self.get_ready(start, end, Extent::Ahead)?;
        let place = self.take(start, end);
        pending.run();
        Ok(place)
    }

    /// Frees the end of a block if it is the last one. Otherwise the end is lost until the next reset.
    ///
    /// # Safety
    /// The block was handed out with the size `old` and belongs to the caller. The caller keeps its first `new` bytes.
    #[inline]
    pub(super) unsafe fn cut(&self, block: NonNull<u8>, old: usize, new: usize) {
        if new < old && self.is_last(block, old) {
            self.take(block.addr().get(), block.addr().get() + new);
        }
    }

    /// Returns the address of the first byte that is not handed out. Before there is a prefix, the result is an address
    /// below every mapping.
    #[inline]
    pub(super) fn next_address(&self) -> usize {
        self.next.get().addr().get()
    }

    /// Frees a block and the padding before it if the block is the last one. Otherwise both are lost until the next
    /// reset.
    ///
    /// # Safety
    /// The block was handed out while [`next_address`](Arena::next_address) was `before`, and has the size `size`, as
    /// handed out or as last changed in place. It belonged to the caller until now.
    #[cold]
    pub(super) unsafe fn give_back(&self, block: NonNull<u8>, size: usize, before: usize) {
        if self.is_last(block, size) {
            let prefix = self.prefix.borrow();
            let base = prefix.as_ref().map(Prefix::base);
            // The first block begins at the base, because the prefix was reserved for it.
            let start = base.map_or(before, |base| before.max(base.addr().get()));
            self.next.set(self.at(start));
        }
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
