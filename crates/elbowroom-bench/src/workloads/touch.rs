//! Touches of memory, page by page, in order and scattered, with every way of committing it.

#![allow(
    unsafe_code,
    reason = "writes through plain pointers, as programs do whose memory commits on touch"
)]

use std::hint::black_box;

use elbowroom::{Backend, Growth, Region, RegionBuilder, Size, page_size};
use elbowroom_measure::{Pages, shuffled};

use super::OURS;
use crate::os::{BareHandler, Block, PipeManaged};
use crate::plan::{Comparison, Contender, Scale};
use crate::sample::timed;

/// Memory that is committed up front, which the kernel makes resident page by page when it is touched.
pub(crate) const UP_FRONT: &str = "up front, 4 KiB pages on demand";
/// Memory that is committed up front and prefaulted.
pub(crate) const HUGE: &str = "up front, huge pages populated";
/// The lower bound for every way of getting zeroed memory.
pub(crate) const ZEROING: &str = "zeroing of memory that is there";
pub(crate) const BARE: &str = "bare handler, a page a fault";
pub(crate) const ONE_PAGE: &str = "elbowroom, a page a fault";
pub(crate) const USERFAULT: &str = "elbowroom, userfault";
pub(crate) const MONITOR: &str = "elbowroom, userfault monitor";
pub(crate) const PIPE: &str = "userspace-pagefault";

/// The names of the comparisons by size, with their sizes.
pub(crate) const SIZES: [(&str, usize); 5] = [
    ("fill-64k", 64 << 10),
    ("fill-1m", 1 << 20),
    ("fill-16m", 16 << 20),
    ("fill-128m", 128 << 20),
    ("fill-1g", 1 << 30),
];

/// The windows of the comparison of mechanisms, in bytes.
pub(crate) const WINDOWS: [usize; 7] = [
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
];

/// The order in which pages are touched, and how much of each page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// One write to each page, upwards.
    InOrder,
    /// Every word, upwards.
    EveryWord,
    /// One write to each page, in random order.
    Scattered,
}

impl Manner {
    /// # Safety
    /// `len` bytes from `base` on are writable, or are committed when they are touched; no other code accesses them.
    /// `base` is aligned to a page, and `order` has the numbers of the pages.
    unsafe fn touch(self, base: *mut u8, len: usize, order: &[usize]) {
        match self {
            // SAFETY: the range satisfies the caller's contract; `base` and the step are multiples of 8.
            Manner::InOrder => unsafe { step_over(base, len, page_size()) },
            // SAFETY: the range satisfies the caller's contract; `base` and the step are multiples of 8.
            Manner::EveryWord => unsafe { step_over(base, len, size_of::<u64>()) },
            // SAFETY: `base` and `order` satisfy the caller's contract, which is the callee's.
            Manner::Scattered => unsafe { scatter(base, order) },
        }
    }
}

/// Writes a word at every step.
///
/// # Safety
/// As for [`Manner::touch`]; the base and the step are multiples of 8.
#[inline(never)]
unsafe fn step_over(base: *mut u8, len: usize, step: usize) {
    for offset in (0..len).step_by(step) {
        // SAFETY: the word is inside the range that is writable or becomes so (contract), and aligned.
        unsafe { base.wrapping_add(offset).cast::<u64>().write_volatile(1) };
    }
}

/// Writes a word to each page, in this order.
///
/// # Safety
/// As for [`Manner::touch`].
#[inline(never)]
unsafe fn scatter(base: *mut u8, order: &[usize]) {
    for page in order {
        // SAFETY: the word is inside the range that is writable or becomes so (contract), and aligned.
        unsafe {
            base.wrapping_add(page * page_size())
                .cast::<u64>()
                .write_volatile(1)
        };
    }
}

/// A way of getting memory that is committed before or at the first touch.
trait Touchable {
    fn base(&self) -> *mut u8;
}

impl Touchable for Region {
    fn base(&self) -> *mut u8 {
        self.as_ptr()
    }
}

impl Touchable for Block {
    fn base(&self) -> *mut u8 {
        Block::base(self)
    }
}

impl Touchable for BareHandler {
    fn base(&self) -> *mut u8 {
        BareHandler::base(self)
    }
}

impl Touchable for PipeManaged {
    fn base(&self) -> *mut u8 {
        PipeManaged::base(self)
    }
}

/// Returns a contender that makes memory of `len` bytes and touches it. Both are timed.
fn contender<M: Touchable>(
    name: impl Into<String>,
    manner: Manner,
    len: usize,
    make: impl Fn(usize) -> Result<M, String> + Clone + 'static,
) -> Contender {
    Contender::new(name, move || {
        // Fails early if the system has no such memory.
        drop(make(len)?);
        let make = make.clone();
        let order = shuffled(len / page_size());
        Ok(Box::new(move || {
            timed(|| {
                let memory = make(len).expect("it could be made just before");
                // SAFETY: the memory was made just now with `len` bytes that may be touched; only this code has a
                // pointer to it.
                unsafe { manner.touch(memory.base(), len, &order) };
                memory
            })
        }))
    })
}

fn region(
    name: impl Into<String>,
    manner: Manner,
    len: usize,
    options: impl Fn(RegionBuilder) -> RegionBuilder + Clone + 'static,
) -> Contender {
    contender(name, manner, len, move |len| {
        options(Region::builder(len))
            .build()
            .map_err(|error| error.to_string())
    })
}

fn up_front(manner: Manner, len: usize) -> Contender {
    contender(UP_FRONT, manner, len, |len| Block::new(len, Pages::Demand))
}

fn huge(manner: Manner, len: usize) -> Contender {
    contender(HUGE, manner, len, |len| {
        Block::new(len, Pages::HugePopulated)
    })
}

/// Returns a contender that only sets memory to zero that is present in huge pages already.
fn zeroing(len: usize) -> Contender {
    Contender::new(ZEROING, move || {
        drop(Block::new(len, Pages::HugePopulated)?);
        Ok(Box::new(move || {
            let block =
                Block::new(len, Pages::HugePopulated).expect("it could be made just before");
            timed(|| {
                // SAFETY: the block has `len` committed bytes; only this code has a pointer to it.
                unsafe { block.base().write_bytes(0, len) };
                black_box(block)
            })
        }))
    })
}

/// Returns the lower bound for pushes of words: it writes them in order to huge pages that were populated up front.
pub(crate) fn words_up_front(len: usize) -> Contender {
    huge(Manner::EveryWord, len)
}

fn bare(manner: Manner, len: usize) -> Contender {
    contender(BARE, manner, len, |len| BareHandler::new(len, page_size()))
}

fn one_page(manner: Manner, len: usize) -> Contender {
    region(ONE_PAGE, manner, len, |builder| {
        builder.growth(Growth::Pages(1))
    })
}

/// Returns the name of a window in the comparison of mechanisms.
pub(crate) fn window_name(bytes: usize) -> String {
    if bytes < 1 << 20 {
        format!("window of {} KiB", bytes >> 10)
    } else {
        format!("window of {} MiB", bytes >> 20)
    }
}

/// Returns all comparisons of this module.
pub(crate) fn comparisons(scale: Scale) -> Vec<Comparison> {
    let mut all = Vec::new();
    for (name, full) in SIZES {
        let len = scale.of(full, full.min(1 << 20));
        all.push(fill(name, len, Manner::InOrder, "one write a page"));
    }
    let len = scale.of(128 << 20, 1 << 20);
    all.push(fill(
        "fill-words-128m",
        len,
        Manner::EveryWord,
        "every word",
    ));

    let len = scale.of(64 << 20, 1 << 20);
    let manner = Manner::InOrder;
    let mut mechanisms = vec![
        region(OURS, manner, len, |builder| builder),
        up_front(manner, len),
        huge(manner, len),
    ];
    mechanisms.push(bare(manner, len));
    mechanisms.push(one_page(manner, len));
    // A window is at least a page.
    for window in WINDOWS.into_iter().filter(|&window| window > page_size()) {
        let pages = window / page_size();
        mechanisms.push(region(window_name(window), manner, len, move |builder| {
            builder.growth(Growth::Pages(pages))
        }));
    }
    mechanisms.push(region("elbowroom, no huge pages", manner, len, |builder| {
        builder.huge_pages(false)
    }));
    mechanisms.extend(backends(manner, len));
    let title = format!(
        "{} MiB touched in order, one write a page, by every mechanism",
        len >> 20
    );
    all.push(
        Comparison::new("mechanisms", title, (len / page_size(), "page"), mechanisms)
            .data(len)
            .goal(ONE_PAGE, BARE, 1.10),
    );

    let len = scale.of(32 << 20, 1 << 20);
    let mut scattered = vec![
        region(OURS, Manner::Scattered, len, |builder| builder),
        bare(Manner::Scattered, len),
        one_page(Manner::Scattered, len),
        up_front(Manner::Scattered, len),
    ];
    scattered.extend(backends(Manner::Scattered, len));
    let title = format!(
        "first touches of the pages of {} MiB in random order",
        len >> 20
    );
    all.push(
        Comparison::new("scattered", title, (len / page_size(), "page"), scattered)
            .data(len)
            .goal(OURS, BARE, 1.10)
            .goal(ONE_PAGE, BARE, 1.10),
    );
    all
}

fn fill(name: &'static str, len: usize, manner: Manner, how: &str) -> Comparison {
    let title = format!(
        "{} of memory touched in order, {how}, from nothing",
        Size(len as u64)
    );
    let contenders = vec![
        region(OURS, manner, len, |builder| builder),
        up_front(manner, len),
        huge(manner, len),
    ];
    let comparison =
        Comparison::new(name, title, (len / page_size(), "page"), contenders).data(len);
    // In smaller workloads, the first small windows take most of the time.
    if matches!(name, "fill-128m" | "fill-1g") {
        comparison
            .limit(ZEROING, zeroing(len))
            .goal(OURS, UP_FRONT, 0.20)
            .goal(OURS, HUGE, 1.10)
    } else {
        comparison
    }
}

fn backends(manner: Manner, len: usize) -> [Contender; 3] {
    [
        region(USERFAULT, manner, len, |builder| {
            builder.backend(Backend::Userfault)
        }),
        region(MONITOR, manner, len, |builder| {
            builder.backend(Backend::UserfaultMonitor)
        }),
        contender(PIPE, manner, len, PipeManaged::new),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_touched_once_whatever_the_order() {
        for pages in [1, 2, 3, 64, 100] {
            for manner in [Manner::InOrder, Manner::Scattered, Manner::EveryWord] {
                let region = Region::builder(pages * page_size())
                    .growth(Growth::Pages(1))
                    .build()
                    .unwrap();
                // SAFETY: the region has `pages` pages and commits on touch; no other code accesses it.
                unsafe { manner.touch(region.as_ptr(), region.len(), &shuffled(pages)) };
                let stats = region.stats();
                assert_eq!(stats.committed_bytes, pages * page_size(), "{manner:?}");
                assert_eq!(stats.faults, pages as u64, "{manner:?}");
            }
        }
    }
}
