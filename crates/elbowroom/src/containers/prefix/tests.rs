//! The guarantees of a prefix to the containers.

use super::*;
use crate::page;
use crate::region::Growth;

const PAGES: usize = 64;

fn prefix(growth: Growth, budget: Option<&Budget>) -> Prefix {
    let options = Options {
        growth,
        budget: budget.cloned(),
        ..Options::default()
    };
    Prefix::reserve_zeroed(PAGES * page::size(), 1, Some(options)).unwrap()
}

fn bytes(pages: usize) -> usize {
    pages * page::size()
}

#[test]
fn threads_grow_it_and_each_gets_what_it_needs() {
    let budget = Budget::new(bytes(PAGES));
    let prefix = prefix(Growth::Pages(3), Some(&budget));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (prefix, budget) = (&prefix, &budget);
            scope.spawn(move || {
                for page in 0..PAGES {
                    let end = bytes(page) + thread + 1;
                    let committed = prefix.grow(end, Extent::Ahead).unwrap();
                    assert!(end <= committed && committed <= budget.limit_bytes());
                    let place = prefix.base().as_ptr().wrapping_add(end - 1);
                    // SAFETY: committed, and this thread's own byte of the page.
                    unsafe { place.write(thread as u8 + 1) };
                }
            });
        }
    });
    assert_eq!(prefix.committed_bytes(), bytes(PAGES));
    assert_eq!(budget.committed_bytes(), bytes(PAGES));
    for page in 0..PAGES {
        let first: *const [u8; 5] = prefix.base().as_ptr().wrapping_add(bytes(page)).cast();
        // SAFETY: committed, and written by threads that have ended.
        assert_eq!(unsafe { first.read() }, [1, 2, 3, 4, 0]);
    }
}

#[test]
fn what_is_reserved_for_later_is_committed_and_not_ready() {
    let mut prefix = prefix(Growth::default(), None);
    assert_eq!(prefix.grow_mut(1, Extent::Ahead).unwrap(), bytes(1));
    assert_eq!(prefix.grow_mut(bytes(50), Extent::Later).unwrap(), bytes(1));
    assert_eq!(prefix.committed_bytes(), bytes(50));
    // Windows follow the use, within the committed pages.
    assert_eq!(
        prefix.grow_mut(bytes(1) + 1, Extent::Ahead).unwrap(),
        bytes(2)
    );
    assert_eq!(
        prefix.grow_mut(bytes(2) + 1, Extent::Ahead).unwrap(),
        bytes(4)
    );
    assert_eq!(
        prefix.grow_mut(bytes(40), Extent::Ahead).unwrap(),
        bytes(40)
    );
    assert_eq!(
        prefix.grow_mut(bytes(40) + 1, Extent::Ahead).unwrap(),
        bytes(50)
    );
    assert_eq!(prefix.stats().commits, 2);
    assert_eq!(
        prefix.grow_mut(bytes(51), Extent::Exact).unwrap(),
        bytes(50)
    );
    // SAFETY: nothing refers to the prefix's pages.
    assert_eq!(unsafe { prefix.shrink(bytes(3)) }.unwrap(), bytes(3));
    assert_eq!(
        prefix.grow_mut(bytes(3) + 1, Extent::Ahead).unwrap(),
        bytes(6)
    );
    assert_eq!(
        prefix
            .grow_mut(bytes(PAGES) + 1, Extent::Ahead)
            .unwrap_err()
            .range(),
        bytes(6)..bytes(PAGES) + 1
    );
}

#[test]
fn a_large_one_lies_where_huge_pages_do() {
    if page::huge_size() > 64 << 20 {
        return; // Too much for an emulator.
    }
    let large = |options| Prefix::reserve_zeroed(page::huge_size() + 1, 1, Some(options)).unwrap();
    assert_eq!(
        large(Options::default()).base().addr().get() % page::huge_size(),
        0
    );
    let stats = large(Options::default()).stats();
    assert_eq!(stats.reserved_bytes, page::huge_size() + page::size());
}
