//! The memory of an `AppendVec`: a prefix for the elements and one for their flags.

#![allow(unsafe_code, reason = "finds flags in memory that it commits itself")]

use std::alloc::Layout;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};

use super::super::claims::Slots;
use super::super::prefix::{Extent, Prefix};
use super::super::share::{self, NO_MAX};
use super::super::{ContainerStats, Options, saturating_bytes};
use crate::error::{Error, Operation, Reason};
use crate::fault::fork_guard;
use crate::page::PageCount;
use crate::plain::Span;

/// Storage for elements of one layout, and for one byte beside each element.
pub(super) struct Storage {
    // The layout of one element.
    layout: Layout,
    // The maximum that the program set, or `NO_MAX`.
    asked_max_len: usize,
    prefixes: OnceLock<Prefixes>,
    // Copies of the prefixes' bases, for the fast path. Invariant: set before the capacity exceeds 0, and never changed
    // afterwards.
    elements: AtomicPtr<u8>,
    flags: AtomicPtr<AtomicU8>,
    // Invariant: at most the maximum of `prefixes`. The first `capacity` elements and their flags lie in committed
    // pages. Never decreases.
    capacity: AtomicUsize,
}

pub(super) struct Prefixes {
    // The number of elements that both prefixes have room for.
    max_len: usize,
    // None if elements take no space.
    elements: Option<Prefix>,
    flags: Prefix,
}

impl Storage {
    pub(super) const fn new(layout: Layout, max_len: usize) -> Storage {
        Storage {
            layout,
            asked_max_len: max_len,
            prefixes: OnceLock::new(),
            elements: AtomicPtr::new(ptr::without_provenance_mut(layout.align())),
            flags: AtomicPtr::new(ptr::null_mut()),
            capacity: AtomicUsize::new(0),
        }
    }

    /// Returns storage with the same options, in which nothing is committed.
    pub(super) fn like(&self) -> Result<Storage, Error> {
        let storage = Storage::new(self.layout, self.asked_max_len);
        match self.prefixes.get() {
            Some(prefixes) if self.asked_max_len != NO_MAX => {
                storage.reserve_addresses(0, || prefixes.options())?;
            }
            // The program set nothing except perhaps a maximum.
            _ => {}
        }
        Ok(storage)
    }

    /// Returns the maximum number of elements. Before the addresses are reserved, this is an upper bound.
    pub(super) fn max_len(&self) -> usize {
        match (self.prefixes.get(), self.asked_max_len) {
            (Some(prefixes), _) => prefixes.max_len,
            (None, NO_MAX) => share::BYTES_MAX / (self.layout.size() + 1),
            (None, asked) => asked,
        }
    }

    /// Returns the address of the first element, or a dangling pointer before there is memory.
    #[inline]
    pub(super) fn elements(&self) -> *mut u8 {
        // Relaxed: a thread that has an index or a length has seen the capacity, with Acquire.
        self.elements.load(Ordering::Relaxed)
    }

    /// Returns the range of bytes that `needed` elements need and that cannot be had, for an error.
    fn missing(&self, needed: usize) -> Range<usize> {
        let bytes = |count| saturating_bytes(count, self.layout.size());
        bytes(self.capacity().min(needed))..bytes(needed)
    }

    /// Reserves the addresses for a vector that can hold `needed` elements, unless that is done already.
    ///
    /// # Errors
    /// Returns the error of a vector that has reached its maximum, or the error of the system.
    pub(super) fn reserve_for(&self, needed: usize) -> Result<&Prefixes, Error> {
        // Nothing is reserved for a length beyond the maximum.
        if needed <= self.asked_max_len {
            let prefixes = self.reserve_addresses(needed, Options::default)?;
            if needed <= prefixes.max_len {
                return Ok(prefixes);
            }
        }
        Err(self.full(needed))
    }

    /// Returns the error of a vector that has no room for `needed` elements.
    #[cold]
    fn full(&self, needed: usize) -> Error {
        let missing = self.missing(needed);
        Error::full(Operation::Commit, missing, self.max_len(), "elements")
    }

    /// Reserves the addresses for `needed` elements, unless that is done already.
    pub(super) fn reserve_addresses(
        &self,
        needed: usize,
        options: impl FnOnce() -> Options,
    ) -> Result<&Prefixes, Error> {
        if let Some(prefixes) = self.prefixes.get() {
            return Ok(prefixes);
        }
        let made = match self.asked_max_len {
            NO_MAX => Prefixes::reserve_share(self.layout, needed)?,
            asked => Prefixes::reserve(self.layout, asked, options())?,
        };
        // No fork happens during this. If another thread was faster, the reservation made here is released.
        let _inside = fork_guard::enter();
        Ok(self.prefixes.get_or_init(|| made))
    }

    /// Clears the flags of elements.
    pub(super) fn clear_flags(&mut self, elements: Range<usize>) {
        for index in elements.start..elements.end.min(self.capacity()) {
            // Most flags were never set. They are not written, so that their pages stay untouched.
            let flag = self.flag(index);
            if flag.load(Ordering::Relaxed) != 0 {
                flag.store(0, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        self.prefixes
            .get()
            .map_or("", |prefixes| prefixes.flags.name())
    }

    pub(super) fn stats(&self) -> ContainerStats {
        let Some(prefixes) = self.prefixes.get() else {
            return ContainerStats::NOTHING;
        };
        let flags = prefixes.flags.stats();
        let Some(elements) = prefixes.elements.as_ref().map(Prefix::stats) else {
            return flags;
        };
        ContainerStats {
            reserved_bytes: elements.reserved_bytes + flags.reserved_bytes,
            committed_bytes: elements.committed_bytes + flags.committed_bytes,
            commit_limit_bytes: elements.commit_limit_bytes + flags.commit_limit_bytes,
            commits: elements.commits + flags.commits,
        }
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        let elements = self
            .prefixes
            .get()
            .and_then(|prefixes| prefixes.elements.as_ref());
        elements.map_or_else(Vec::new, Prefix::spans)
    }
}

impl Prefixes {
    fn reserve(layout: Layout, max_len: usize, options: Options) -> Result<Prefixes, Error> {
        let size = layout.size();
        let bytes = max_len.checked_mul(size);
        let bytes =
            bytes.ok_or_else(|| Error::new(Operation::Reserve, 0..usize::MAX, Reason::TooLarge))?;
        // The commit limit is divided in the ratio in which the two prefixes use it: `size` bytes for an element, one
        // byte for its flag.
        let limit = PageCount::inside(options.commit_limit_bytes);
        let for_flags = PageCount::new(limit.get().div_ceil(size.saturating_add(1)));
        let limited = |pages: PageCount| Options {
            commit_limit_bytes: pages.bytes(),
            ..options.clone()
        };
        let elements = match bytes {
            0 => None,
            bytes => Some(Prefix::reserve(
                bytes,
                layout.align(),
                Some(limited(limit.saturating_sub(for_flags))),
                0,
            )?),
        };
        // A vector with a maximum of 0 needs no flags; the builder reserves nothing for it.
        let limited = Some(limited(for_flags));
        let flags = Prefix::reserve_zeroed(max_len, align_of::<AtomicU8>(), limited)?;
        Ok(Prefixes {
            max_len,
            elements,
            flags,
        })
    }

    /// Returns the options that the vector was made with.
    fn options(&self) -> Options {
        let mut options = self.flags.options();
        if let Some(elements) = &self.elements {
            // The limit was divided between the two prefixes.
            options.commit_limit_bytes += elements.options().commit_limit_bytes;
        }
        options
    }

    /// Reserves a share of the address space for elements, and flags for as many.
    fn reserve_share(layout: Layout, needed: usize) -> Result<Prefixes, Error> {
        let size = layout.size();
        if size == 0 {
            // Elements without a size still have flags, and the memory of these is never reused.
            let max_len = share::next_bytes().max(needed.saturating_mul(2));
            let mut prefixes = Prefixes::reserve(layout, max_len, Options::default())?;
            prefixes.flags.count_as_share();
            return Ok(prefixes);
        }
        let bytes = needed.saturating_mul(size);
        let elements = Prefix::reserve_share(bytes, bytes, layout.align(), None)?;
        let max_len = elements.usable_bytes() / size;
        let mut flags = Prefix::reserve_zeroed(max_len, align_of::<AtomicU8>(), None)?;
        flags.count_as_share();
        Ok(Prefixes {
            max_len,
            elements: Some(elements),
            flags,
        })
    }
}

impl Slots for Storage {
    type Error = Error;

    #[inline]
    fn capacity(&self) -> usize {
        // Acquire: pairs with `grow`. The pages below the capacity are committed.
        self.capacity.load(Ordering::Acquire)
    }

    fn grow(&self, needed: usize) -> Result<(), Error> {
        if needed <= self.capacity() {
            return Ok(());
        }
        let &Prefixes {
            max_len,
            ref elements,
            ref flags,
        } = self.reserve_for(needed)?;
        let size = self.layout.size();
        let extent = if elements.is_some() {
            Extent::Exact
        } else {
            Extent::Ahead
        };
        let flagged = flags
            .grow(needed, extent)
            .map_err(|error| error.about(self.missing(needed)))?;
        let capacity = match elements {
            None => flagged.min(max_len),
            Some(prefix) => {
                // At most the maximum in elements, because the prefix is bounded by the maximum in bytes.
                let room = (prefix.grow(needed * size, Extent::Ahead)? / size).min(max_len);
                self.elements
                    .store(prefix.base().as_ptr(), Ordering::Relaxed);
                // The flags are committed as far ahead as the elements. If that is refused, only the needed ones are
                // committed.
                flags.grow(room, Extent::Exact).unwrap_or(flagged).min(room)
            }
        };
        self.flags
            .store(flags.base().as_ptr().cast(), Ordering::Relaxed);
        // Release: pairs with `capacity`, and publishes the bases as well.
        self.capacity.fetch_max(capacity, Ordering::Release);
        Ok(())
    }

    #[inline]
    fn flag(&self, index: usize) -> &AtomicU8 {
        debug_assert!(index < self.capacity());
        // Relaxed: the caller has seen the capacity, which was stored after the base.
        let flag = self.flags.load(Ordering::Relaxed).wrapping_add(index);
        // SAFETY: the index is below the capacity (contract of the trait, which only `Claims` uses), so the flag is on
        // a committed page that was zero at first. It is only accessed as an atomic, and stays committed while `self`
        // lives.
        unsafe { &*flag }
    }
}
