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

/// Storage for elements of one layout, and a byte beside each.
pub(super) struct Storage {
    // Of one element.
    layout: Layout,
    // What the vector was told, or `NO_MAX`.
    asked_max_len: usize,
    prefixes: OnceLock<Prefixes>,
    // Copies for the fast path: the bases of the prefixes. Invariant: set before the capacity is more than 0, and never
    // changed after.
    elements: AtomicPtr<u8>,
    flags: AtomicPtr<AtomicU8>,
    // Invariant: at most the maximum of `prefixes`; so many elements, and their flags, lie in committed pages. Never
    // less than before.
    capacity: AtomicUsize,
}

pub(super) struct Prefixes {
    // How many elements both have room for.
    max_len: usize,
    // None where elements take no space.
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

    /// Returns storage of the same kind, in which nothing is committed.
    pub(super) fn like(&self) -> Result<Storage, Error> {
        let storage = Storage::new(self.layout, self.asked_max_len);
        match self.prefixes.get() {
            Some(prefixes) if self.asked_max_len != NO_MAX => {
                storage.reserve_addresses(0, || prefixes.options())?;
            }
            // Nothing was asked for but perhaps a maximum.
            _ => {}
        }
        Ok(storage)
    }

    /// Returns how many elements there can be; before the addresses are reserved, at most.
    pub(super) fn max_len(&self) -> usize {
        match (self.prefixes.get(), self.asked_max_len) {
            (Some(prefixes), _) => prefixes.max_len,
            (None, NO_MAX) => share::BYTES_MAX / (self.layout.size() + 1),
            (None, asked) => asked,
        }
    }

    /// The first element, in memory if there is any.
    #[inline]
    pub(super) fn elements(&self) -> *mut u8 {
        // Relaxed: a thread that has an index or a length has seen the capacity, with Acquire.
        self.elements.load(Ordering::Relaxed)
    }

    /// The bytes that are missing where there is to be room for so many elements.
    fn missing(&self, needed: usize) -> Range<usize> {
        let bytes = |count| saturating_bytes(count, self.layout.size());
        bytes(self.capacity().min(needed))..bytes(needed)
    }

    /// Reserves the addresses, if that is not done, for a vector that can have `needed` elements.
    ///
    /// # Errors
    /// Returns the error of a vector that can have no more than its maximum, or that of the system.
    pub(super) fn reserve_for(&self, needed: usize) -> Result<&Prefixes, Error> {
        // Nothing is reserved for what there can never be.
        if needed <= self.asked_max_len {
            let prefixes = self.reserve_addresses(needed, Options::default)?;
            if needed <= prefixes.max_len {
                return Ok(prefixes);
            }
        }
        Err(self.full(needed))
    }

    /// The error of a vector that has no room for `needed` elements.
    #[cold]
    fn full(&self, needed: usize) -> Error {
        let missing = self.missing(needed);
        Error::full(Operation::Commit, missing, self.max_len(), "elements")
    }

    /// Reserves the addresses, if that is not done, where `needed` elements are needed now.
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
        // No fork in the middle of it. If another thread was faster, what was made here is given back.
        let _inside = fork_guard::enter();
        Ok(self.prefixes.get_or_init(|| made))
    }

    /// Makes the flags of elements 0.
    pub(super) fn clear_flags(&mut self, elements: Range<usize>) {
        for index in elements.start..elements.end.min(self.capacity()) {
            // Most were never set; those are not written, so that their pages stay as they are.
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
        // What may be committed is shared out by how much of it each needs when all is used.
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
        // A vector of no elements at all has no need of flags; the builder reserves nothing for it.
        let limited = Some(limited(for_flags));
        let flags = Prefix::reserve_zeroed(max_len, align_of::<AtomicU8>(), limited)?;
        Ok(Prefixes {
            max_len,
            elements,
            flags,
        })
    }

    /// What the vector was made with.
    fn options(&self) -> Options {
        let mut options = self.flags.options();
        if let Some(elements) = &self.elements {
            // The limit was shared out between the two.
            options.commit_limit_bytes += elements.options().commit_limit_bytes;
        }
        options
    }

    /// Reserves a share of the address space for elements, and the flags for as many.
    fn reserve_share(layout: Layout, needed: usize) -> Result<Prefixes, Error> {
        let size = layout.size();
        if size == 0 {
            // Elements that take no space have their flags, and these are never taken over.
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
        // Acquire: pairs with `grow`; the pages below it are committed.
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
                // At most the maximum in elements is so in bytes.
                let room = (prefix.grow(needed * size, Extent::Ahead)? / size).min(max_len);
                self.elements
                    .store(prefix.base().as_ptr(), Ordering::Relaxed);
                // Ahead as far as the elements are; if that is refused, there is what is needed.
                flags.grow(room, Extent::Exact).unwrap_or(flagged).min(room)
            }
        };
        self.flags
            .store(flags.base().as_ptr().cast(), Ordering::Relaxed);
        // Release: pairs with `capacity`; it passes on the bases, too.
        self.capacity.fetch_max(capacity, Ordering::Release);
        Ok(())
    }

    #[inline]
    fn flag(&self, index: usize) -> &AtomicU8 {
        debug_assert!(index < self.capacity());
        // Relaxed: the caller knows of the storage, so it has seen the capacity.
        let flag = self.flags.load(Ordering::Relaxed).wrapping_add(index);
        // SAFETY: of an index below the capacity (contract of the trait, which only `Claims` uses), so on a committed
        // page that was zero at first; touched as an atomic only, and committed for the life of this.
        unsafe { &*flag }
    }
}
