//! `ReservedVec`: the guarantees of `Vec`, stable addresses, and limits.

use crate::common::{self, page};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use elbowroom::{Budget, Growth, PageState, ReservedVec};

/// A vector with windows of one page.
fn in_pages<T>(max_len: usize) -> ReservedVec<T> {
    ReservedVec::builder(max_len)
        .growth(Growth::Pages(1))
        .build()
        .unwrap()
}

/// Returns the text of the panic of `deed`.
pub(super) fn panic_of<R>(deed: impl FnOnce() -> R) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(deed()))).expect_err("it panics");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

#[test]
fn grows_without_moving() {
    // Less under an emulator, which brings in each page by itself.
    let bytes: usize = if common::is_emulated() || cfg!(windows) {
        64 << 20
    } else {
        1 << 30
    };
    let mut vec = ReservedVec::<[u64; 512]>::with_max_len(common::vast() / 8 / 4096);
    vec.push([1; 512]);
    let first: *const u64 = &vec[0][7];
    for n in 1..bytes / 4096 {
        vec.push([n as u64; 512]);
    }
    assert_eq!(vec.stats().committed_bytes, bytes);
    // A pointer from before all growth stays valid, also after the vector itself has moved.
    let vec = Box::new(vec);
    assert_eq!(first, &raw const vec[0][7]);
    assert!(
        vec.iter()
            .enumerate()
            .skip(1)
            .all(|(n, element)| element[0] == n as u64 && element[511] == n as u64)
    );
}

#[test]
fn reserves_nothing_until_the_first_element() {
    static VEC: Mutex<ReservedVec<u64>> = Mutex::new(ReservedVec::new());
    let mut vec = VEC.lock().unwrap();
    assert_eq!(
        (vec.len(), vec.capacity(), vec.stats().reserved_bytes),
        (0, 0, 0)
    );
    assert!(vec.spans().is_empty());
    assert_eq!(vec.max_len(), (64 << 30) / 8);
    // Operations that do not grow need no memory.
    vec.clear();
    vec.shrink_to_fit();
    vec.reserve(0);
    vec.extend([0u64; 0]);
    vec.sort_unstable();
    assert!(vec.clone().is_empty());
    assert_eq!(vec.drain(..).next(), None);
    assert_eq!(vec.pop(), None);
    assert_eq!(vec.stats().reserved_bytes, 0);
}

#[test]
fn limits_and_budgets_are_exact() {
    let budget = Budget::new(page(10));
    let mut vec = ReservedVec::<u8>::builder(page(100))
        .commit_limit(page(5))
        .growth(Growth::Pages(4))
        .budget(&budget)
        .build()
        .unwrap();
    vec.push(1);
    assert_eq!(vec.stats().committed_bytes, page(4));
    assert_eq!(budget.committed_bytes(), page(4));
    assert!(vec.try_reserve(page(5)).unwrap_err().is_limit());
    vec.try_reserve(page(5) - 1).unwrap();
    assert_eq!(vec.capacity(), page(5));
    assert_eq!(vec.stats().commits, 2);
    vec.shrink_to(page(2) - 3);
    assert_eq!(
        (vec.capacity(), budget.committed_bytes()),
        (page(2), page(2))
    );
    vec.shrink_to_fit();
    assert_eq!(
        (vec.capacity(), budget.committed_bytes()),
        (page(1), page(1))
    );
    assert_eq!(vec[0], 1);
    let spans = vec.spans();
    assert_eq!(
        (spans[0].range.clone(), spans[0].state),
        (0..page(1), PageState::Committed)
    );
    assert_eq!(
        (spans[1].range.clone(), spans[1].state),
        (page(1)..page(100), PageState::Reserved)
    );
    drop(vec);
    assert_eq!(budget.committed_bytes(), 0);
}

#[test]
fn a_refusal_names_the_budget_and_a_window_shrinks() {
    let budget = Budget::builder(page(6)).name("tenant").build();
    let mut one: ReservedVec<u8> = ReservedVec::builder(page(100))
        .budget(&budget)
        .build()
        .unwrap();
    let mut other: ReservedVec<u8> = ReservedVec::builder(page(100))
        .budget(&budget)
        .growth(Growth::Pages(4))
        .build()
        .unwrap();
    one.resize(page(3), 1);
    // The window of four pages takes the three that are left.
    other.push(2);
    assert_eq!(other.capacity(), page(3));
    let refused = one.try_push(3).unwrap_err();
    assert_eq!(refused.error().budget().map(Budget::name), Some("tenant"));
    assert_eq!(refused.error().range(), page(3)..page(3) + 1);
    assert_eq!(refused.into_parts().0, 3);
    drop(other);
    one.try_push(3).unwrap();
}

#[test]
fn a_callback_of_the_budget_may_use_the_same_budget() {
    let heard = std::sync::Arc::new(Mutex::new(Vec::new()));
    let budget = {
        let heard = std::sync::Arc::clone(&heard);
        Budget::builder(page(100))
            .on_reaching(page(2), move |budget| {
                let mut vec: ReservedVec<u8> = ReservedVec::builder(page(1))
                    .budget(budget)
                    .build()
                    .unwrap();
                vec.push(1);
                heard.lock().unwrap().push(budget.committed_bytes());
            })
            .build()
    };
    let mut vec: ReservedVec<u8> = ReservedVec::builder(page(50))
        .budget(&budget)
        .build()
        .unwrap();
    vec.resize(page(3), 1);
    assert_eq!(*heard.lock().unwrap(), [page(4)]);
}

#[test]
fn a_full_vector_says_so() {
    let mut vec = ReservedVec::with_max_len(3);
    vec.extend([1, 2, 3]);
    assert_eq!((vec.capacity(), vec.max_len()), (3, 3));
    let text = "cannot commit 4 bytes at byte 12: that is more than its maximum of 3 elements; \
        make it with a larger one";
    assert_eq!(vec.try_reserve(1).unwrap_err().to_string(), text);
    assert_eq!(vec.try_push(4).unwrap_err().to_string(), text);
    assert_eq!(panic_of(|| vec.push(4)), text);
    assert_eq!(panic_of(|| vec.insert(0, 4)), text);
    assert_eq!(panic_of(|| vec.extend([4])), text);
    assert_eq!(panic_of(|| vec.extend_from_slice(&[4])), text);
    assert_eq!(panic_of(|| vec.extend_from_within(..1)), text);
    assert_eq!(panic_of(|| vec.resize(4, 4)), text);
    assert_eq!(panic_of(|| vec.reserve(1)), text);
    assert_eq!(vec, [1, 2, 3]);
    let mut none = ReservedVec::with_max_len(0);
    assert!(none.try_push(1).unwrap_err().error().is_limit());
    assert_eq!(none.stats().reserved_bytes, 0);
}

#[test]
fn sizes_that_overflow_are_refused() {
    let mut vec = ReservedVec::<u64>::with_max_len(1 << 20);
    vec.push(1);
    for more in [
        usize::MAX,
        usize::MAX / 8,
        usize::MAX / 8 + 1,
        isize::MAX as usize,
        1 << 20,
    ] {
        assert!(vec.try_reserve(more).unwrap_err().is_limit(), "{more}");
        assert!(
            vec.try_reserve_exact(more).unwrap_err().is_limit(),
            "{more}"
        );
    }
    assert!(vec.try_resize(usize::MAX, 1).unwrap_err().is_limit());
    assert_eq!(vec, [1]);
    for max_len in [
        usize::MAX,
        usize::MAX / 8,
        usize::MAX / 8 + 1,
        isize::MAX as usize / 8 + 1,
    ] {
        let mut vec = ReservedVec::<u64>::with_max_len(max_len);
        let refused = vec.try_push(1).unwrap_err();
        assert!(refused.error().is_invalid_range(), "{max_len}: {refused}");
        assert!(
            ReservedVec::<u64>::builder(max_len)
                .build()
                .unwrap_err()
                .is_invalid_range()
        );
    }
}

#[test]
fn a_refused_reserve_names_what_was_asked_and_the_maximum() {
    let mut bytes = ReservedVec::<u8>::with_max_len(1 << 20);
    bytes.push(1);
    let text = "cannot commit 8 EiB (9223372036854775807 bytes) at byte 1: that is more than its maximum of \
        1048576 elements; make it with a larger one";
    for refused in [
        bytes.try_reserve(isize::MAX as usize),
        bytes.try_reserve_exact(isize::MAX as usize),
    ] {
        assert_eq!(refused.unwrap_err().to_string(), text);
    }
    assert_eq!(panic_of(|| bytes.reserve(isize::MAX as usize)), text);
    assert_eq!(bytes, [1]);
}

#[test]
fn elements_of_no_size_need_no_memory() {
    let mut vec = ReservedVec::<()>::new();
    assert_eq!((vec.capacity(), vec.max_len()), (usize::MAX, usize::MAX));
    vec.resize(1 << 16, ());
    vec.truncate(10);
    vec.insert(3, ());
    vec.extend_from_slice(&[(); 5]);
    assert_eq!(vec.drain(2..4).count(), 2);
    assert_eq!(vec.splice(1..3, [(); 7]).count(), 2);
    assert_eq!(vec.iter().count(), 19);
    assert_eq!(vec.spare_capacity_mut().len(), usize::MAX - 19);
    assert_eq!(vec.into_iter().rev().count(), 19);
    let mut few = ReservedVec::builder(2).build().unwrap();
    few.extend([(), ()]);
    assert!(few.try_push(()).unwrap_err().error().is_limit());
    assert!(few.as_ptr().is_aligned());
    assert_eq!(few.stats().reserved_bytes, 0);
}

#[test]
fn any_alignment_is_kept() {
    #[repr(align(2097152))]
    struct Huge(u8);
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(65536))]
    struct Empty;

    let huge = || {
        let mut vec = ReservedVec::with_max_len(4);
        for n in 0..3 {
            vec.push(Huge(n));
            assert_eq!((&raw const vec[usize::from(n)]).addr() % (2 << 20), 0);
        }
        assert!(vec.iter().map(|huge| huge.0).eq(0..3));
    };
    // A stack for several such elements.
    std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(huge)
        .unwrap()
        .join()
        .unwrap();
    let mut empty = ReservedVec::new();
    empty.extend([Empty; 3]);
    assert!(empty.as_ptr().is_aligned());
    assert_eq!(empty, [Empty; 3]);
}

#[test]
fn reserving_commits_ahead_and_shrinking_gives_back() {
    let mut vec: ReservedVec<u8> = in_pages(page(100));
    let base = vec.as_ptr();
    vec.reserve(page(7) + 1);
    assert_eq!(vec.capacity(), page(8));
    vec.resize(page(8), 3);
    assert_eq!(vec.stats().commits, 1);
    vec.truncate(page(2));
    vec.shrink_to_fit();
    assert_eq!(vec.capacity(), page(2));
    vec.reserve_exact(1);
    assert_eq!(vec.capacity(), page(3));
    // Pages that were given back and committed again are zero, and the others are unchanged.
    assert!(vec.spare_capacity_mut().len() == page(1));
    vec.resize(page(10), 4);
    assert_eq!(vec.iter().filter(|&&byte| byte == 3).count(), page(2));
    assert_eq!(vec.as_ptr(), base);
    vec.clear();
    vec.shrink_to_fit();
    assert_eq!((vec.capacity(), vec.stats().committed_bytes), (0, 0));
    vec.push(9);
    assert_eq!((vec.as_ptr(), vec[0]), (base, 9));
}

#[test]
fn spare_capacity_is_filled_and_counted() {
    let mut vec: ReservedVec<u32> = in_pages(1000);
    vec.push(1);
    vec.reserve(10);
    for (n, place) in vec.spare_capacity_mut()[..10].iter_mut().enumerate() {
        place.write(n as u32);
    }
    #[allow(unsafe_code, reason = "what is tested")]
    // SAFETY: ten were written, after the first.
    unsafe {
        vec.set_len(11)
    };
    assert_eq!(vec[1..], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // A reservation that was not filled by pushes, and is longer than what `ready` covers.
    let mut vec: ReservedVec<u8> = ReservedVec::with_max_len(page(100));
    vec.reserve(page(50));
    vec.spare_capacity_mut()[..page(40)].fill(std::mem::MaybeUninit::new(5));
    #[allow(unsafe_code, reason = "what is tested")]
    // SAFETY: the first `len` elements were written.
    unsafe {
        vec.set_len(page(40))
    };
    vec.push(6);
    vec.extend_from_within(page(39)..);
    assert_eq!(vec.len(), page(41) + 2);
    assert_eq!(vec.iter().filter(|&&byte| byte == 5).count(), page(41));
}

#[test]
fn a_failed_extend_takes_nothing() {
    let mut vec = in_pages(page(1));
    vec.resize(page(1) - 3, 0u8);
    // Without an announced length, the number of elements is not known in advance.
    assert!(
        vec.try_extend((0..10).filter(|_| true))
            .unwrap_err()
            .is_limit()
    );
    assert_eq!(vec.len(), page(1) - 3);
    // The plain form keeps the elements that had room, as after a panic in the iterator.
    panic_of(|| vec.extend((1..10).filter(|_| true)));
    assert_eq!(vec[page(1) - 4..], [0, 1, 2, 3]);
}

#[test]
fn clones_and_parts_keep_the_rules() {
    let budget = Budget::new(page(100));
    let mut vec = ReservedVec::builder(page(20))
        .name("original")
        .commit_limit(page(2))
        .growth(Growth::Pages(1))
        .budget(&budget)
        .build()
        .unwrap();
    vec.extend([1u8, 2, 3]);
    let mut clone = vec.clone();
    let part = vec.split_off(1);
    assert_eq!(
        (&vec[..], &part[..], &clone[..]),
        (&[1][..], &[2, 3][..], &[1, 2, 3][..])
    );
    for other in [&clone, &part] {
        assert_eq!((other.name(), other.max_len()), ("original", page(20)));
        assert_eq!(other.stats().commit_limit_bytes, page(2));
    }
    assert_eq!(budget.committed_bytes(), page(3));
    assert!(clone.try_resize(page(2) + 1, 0).unwrap_err().is_limit());
    let mut plain = ReservedVec::from([9; 5]);
    plain.clone_from(&clone);
    assert_eq!(plain, [1, 2, 3]);
    assert_eq!(plain.name(), "");
    // The second vector is charged to the same budget, and refused by it.
    let tight = Budget::new(page(1));
    let mut vec = ReservedVec::builder(page(20))
        .growth(Growth::Pages(1))
        .budget(&tight)
        .build()
        .unwrap();
    vec.push(1u8);
    assert!(vec.try_clone().unwrap_err().is_limit());
    assert!(vec.try_split_off(0).unwrap_err().is_limit());
    assert_eq!(vec, [1]);
}

#[test]
fn many_threads_make_and_drop_vectors() {
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            scope.spawn(move || {
                for round in 0..u64::from(common::times(300)) {
                    let vecs: Vec<ReservedVec<u64>> = (0..10)
                        .map(|n| {
                            let mut vec = ReservedVec::with_max_len(1 << 16);
                            vec.extend((0..300 * n).map(|i| i ^ thread ^ round));
                            vec
                        })
                        .collect();
                    for (n, vec) in (0..).zip(&vecs) {
                        assert!(
                            vec.iter()
                                .copied()
                                .eq((0..300 * n).map(|i| i ^ thread ^ round))
                        );
                    }
                }
            });
        }
    });
    elbowroom::trim();
}
