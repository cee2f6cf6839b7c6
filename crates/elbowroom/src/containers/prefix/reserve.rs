//! The addresses of a prefix: from the cache, from the system, or as a share of the address space.

use std::mem::{self, ManuallyDrop};

use super::super::Options;
use super::super::cache::Cache;
use super::super::share::{self, Share};
use super::Prefix;
use super::inner::Inner;
use super::warm::{CACHE, try_twice};
use crate::error::{Cause, Error, Operation};
use crate::mapping::{self, Mapping};
use crate::os;
use crate::page::{self, PageCount};
use crate::plain::Placement;
use crate::region::Growth;

/// The divisor of a share that the system has refused, for the next try.
const GIVE_WAY: usize = 16;

impl Inner {
    /// Returns whether a container that needs `len` bytes at a multiple of `align` may take this prefix over. A prefix
    /// that is much too long is refused, because other containers would lack its addresses.
    pub(in super::super) fn fits(&self, len: usize, align: usize) -> bool {
        const SHORT: usize = 1 << 20;
        let has = self.mapping.len();
        let is_close = has <= 4 * SHORT || has / 4 <= len;
        self.is_aligned(align) && len <= has && is_close
    }

    /// Returns whether the base is a multiple of `align`, a power of two.
    #[inline(always)]
    fn is_aligned(&self, align: usize) -> bool {
        self.mapping.base().addr().get() & (align - 1) == 0
    }
}

impl Prefix {
    /// Reserves room for `max_bytes` at a multiple of `align` (a power of two), with options or the defaults. The first
    /// `written` bytes are about to be written. Committed pages may have any contents, for example those of an earlier
    /// prefix. Pages are committed only if they come from the cache.
    pub(crate) fn reserve(
        max_bytes: usize,
        align: usize,
        options: Option<Options>,
        written: usize,
    ) -> Result<Prefix, Error> {
        Prefix::reserve_from(&CACHE, max_bytes, align, options, written)
    }

    pub(in super::super) fn reserve_from(
        cache: &'static Cache<Inner>,
        max_bytes: usize,
        align: usize,
        mut options: Option<Options>,
        written: usize,
    ) -> Result<Prefix, Error> {
        let len = tried!(mapping::whole_pages(max_bytes));
        // The name of a kept mapping would have to be removed again.
        let is_plain = match &options {
            Some(options) => options.name.is_empty(),
            None => true,
        };
        if is_plain {
            let begin = |inner: &mut Inner, bin| {
                inner.share = None;
                inner.growing.get_mut().bin = Some(bin);
                let usable = PageCount::inside(len);
                inner.begin(usable, &mut options, PageCount::holding(written))
            };
            if let Some(inner) = cache.take(|inner| inner.fits(len, align), begin) {
                let inner = ManuallyDrop::new(inner);
                return Ok(Prefix { inner });
            }
        }
        Prefix::reserve_zeroed(max_bytes, align, options)
    }

    /// Reserves a [`share`] of the address space, for a container without a maximum that needs `needed` bytes now. The
    /// share is at least twice that, if the system has it. The first `written` bytes are about to be written.
    pub(crate) fn reserve_share(
        needed: usize,
        written: usize,
        align: usize,
        mut options: Option<Options>,
    ) -> Result<Prefix, Error> {
        let mut bytes = share::next_bytes().max(needed.saturating_mul(2));
        // The share of a dropped container is taken over whole, because its addresses are reserved in any case.
        let fits = |inner: &Inner| match &inner.share {
            Some(share) => share.bytes() >= bytes && inner.is_aligned(align),
            None => false,
        };
        let begin = |inner: &mut Inner, bin| {
            inner.growing.get_mut().bin = Some(bin);
            let bytes = match &inner.share {
                Some(share) => share.bytes(),
                None => 0,
            };
            let written = PageCount::holding(written);
            inner.begin(PageCount::inside(bytes), &mut options, written)
        };
        if let Some(inner) = CACHE.take(fits, begin) {
            let inner = ManuallyDrop::new(inner);
            return Ok(Prefix { inner });
        }
        loop {
            let refused = match Prefix::reserve(bytes, align, options.clone(), written) {
                Ok(mut prefix) => {
                    prefix.count_as_share();
                    return Ok(prefix);
                }
                Err(error) => error,
            };
            if !refused.is_out_of_memory() || bytes <= needed {
                return Err(refused);
            }
            // In large steps, because the rest of the process may need the remaining addresses.
            bytes = (bytes / GIVE_WAY).max(needed);
        }
    }

    /// Counts the prefix among the shares.
    pub(crate) fn count_as_share(&mut self) {
        self.inner.share = Some(Share::take(self.usable_bytes()));
    }

    /// Returns whether the prefix is a share, and not as large as the program has set.
    pub(crate) fn is_share(&self) -> bool {
        self.inner.share.is_some()
    }

    /// Reserves as [`reserve`](Prefix::reserve) does, with committed pages that are zero at first. Pages that are
    /// committed again after [`shrink`](Prefix::shrink) are zero as well.
    pub(crate) fn reserve_zeroed(
        max_bytes: usize,
        align: usize,
        options: Option<Options>,
    ) -> Result<Prefix, Error> {
        let mut options = options.unwrap_or_default();
        let len = mapping::whole_pages(max_bytes)?;
        let usable = PageCount::inside(len);
        // Huge pages lie at multiples of their size, and address space is cheap.
        let huge = page::huge_size();
        let (len, align) = match options.growth {
            Growth::Adaptive { .. } if options.huge_pages && len >= huge => {
                (len.next_multiple_of(huge), align.max(huge))
            }
            _ => (len, align),
        };
        share::look_again();
        let name = mem::take(&mut options.name);
        let mapping = try_twice(|| {
            Mapping::reserve(
                len,
                align.max(os::granularity()),
                Placement::Anywhere,
                name.clone(),
            )
            .map_err(|code| Error::new(Operation::Reserve, 0..max_bytes, Cause::os(code)))
        })?;
        let inner = Box::new(Inner::new(mapping, usable, options));
        Ok(Prefix {
            inner: ManuallyDrop::new(inner),
        })
    }
}
