//! `AppendVec`, with panics, refusals and drops counted.

// loom's models do not include `AppendVec`.
#![cfg(not(loom))]

use crate::common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use elbowroom::{AppendVec, Growth, page_size};

/// A vector of moderate size: an emulator cannot reserve the default of 64 GiB for each.
pub(super) fn moderate<T>() -> AppendVec<T> {
    AppendVec::with_max_len(1 << 20)
}

#[test]
fn holes_are_no_elements() {
    let vec = moderate();
    let panicking = |value: u64| {
        let push = AssertUnwindSafe(|| {
            vec.push_with(|_| {
                vec.push(value);
                panic::resume_unwind(Box::new(()))
            });
        });
        assert!(panic::catch_unwind(push).is_err());
    };
    vec.push(10);
    panicking(12);
    assert_eq!(vec.as_slice(), [10]);
    assert_eq!((vec.get(1), vec[2]), (None, 12));
    // The push inside the closure fills index 1, and the closure's own index then is the hole.
    panicking(14);
    assert_eq!(
        (vec.get(0), vec.get(1), vec.get(2)),
        (Some(&10), None, Some(&12))
    );
    assert_eq!(vec[3], 14);
    let elements = vec.into_iter();
    assert_eq!(elements.len(), 3);
    assert_eq!(elements.collect::<Vec<_>>(), [10, 12, 14]);
}

/// Counts its drops, and checks that it is dropped only once.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>, bool);

impl Counted {
    fn new(drops: &Arc<AtomicUsize>) -> Counted {
        Counted(Arc::clone(drops), false)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert!(!std::mem::replace(&mut self.1, true), "dropped twice");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn elements_are_dropped_once() {
    let drops = Arc::new(AtomicUsize::new(0));
    let dropped = || drops.swap(0, Ordering::Relaxed);
    let mut vec = moderate();
    vec.extend((0..1000).map(|_| Counted::new(&drops)));
    assert_eq!(dropped(), 0);
    vec.clear();
    assert_eq!((dropped(), vec.len()), (1000, 0));

    // A hole, with elements on both sides of it.
    vec.extend((0..10).map(|_| Counted::new(&drops)));
    let push = AssertUnwindSafe(|| {
        vec.push_with(|_| {
            vec.extend((0..5).map(|_| Counted::new(&drops)));
            panic::resume_unwind(Box::new(()))
        });
    });
    assert!(panic::catch_unwind(push).is_err());
    assert_eq!((vec.len(), dropped()), (10, 0));
    let mut elements = vec.into_iter();
    assert_eq!(elements.len(), 15);
    drop(elements.nth(11));
    assert_eq!(dropped(), 12);
    drop(elements);
    assert_eq!(dropped(), 3);

    let vec = AppendVec::with_max_len(3);
    vec.extend((0..3).map(|_| Counted::new(&drops)));
    drop(vec.try_push(Counted::new(&drops)).unwrap_err().into_value());
    assert_eq!(dropped(), 1, "the refused one");
    drop(vec);
    assert_eq!(dropped(), 3);
}

#[test]
fn a_panic_in_a_drop_drops_nothing_twice() {
    struct Fussy(Arc<AtomicUsize>, u32);
    impl Drop for Fussy {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            if self.1 == 5 {
                panic::resume_unwind(Box::new(()));
            }
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let mut vec = moderate();
    vec.extend((0..10).map(|n| Fussy(Arc::clone(&drops), n)));
    assert!(panic::catch_unwind(AssertUnwindSafe(|| vec.clear())).is_err());
    assert_eq!(drops.load(Ordering::Relaxed), 10);
    assert!(vec.is_empty());
    vec.extend((0..10).map(|n| Fussy(Arc::clone(&drops), n)));
    assert!(panic::catch_unwind(AssertUnwindSafe(|| vec.truncate(3))).is_err());
    assert_eq!((vec.len(), drops.load(Ordering::Relaxed)), (3, 17));
    vec.extend((3..6).map(|n| Fussy(Arc::clone(&drops), n)));
    assert!(panic::catch_unwind(AssertUnwindSafe(|| drop(vec.pop()))).is_err());
    assert_eq!((vec.len(), drops.load(Ordering::Relaxed)), (5, 18));
    drop(vec);
    assert_eq!(drops.load(Ordering::Relaxed), 23);

    // No element is left undropped, wherever it lies behind the one that panics: directly, behind a hole, or further
    // back.
    let ways: [fn(AppendVec<Fussy>); 3] =
        [drop, |mut vec| vec.clear(), |vec| drop(vec.into_iter())];
    for drop_all in ways {
        drops.store(0, Ordering::Relaxed);
        let vec = moderate();
        vec.extend((0..8).map(|n| Fussy(Arc::clone(&drops), n)));
        let push = AssertUnwindSafe(|| {
            vec.push_with(|_| {
                vec.extend((8..12).map(|n| Fussy(Arc::clone(&drops), n)));
                panic::resume_unwind(Box::new(()))
            });
        });
        assert!(panic::catch_unwind(push).is_err());
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        assert!(panic::catch_unwind(AssertUnwindSafe(|| drop_all(vec))).is_err());
        assert_eq!(drops.load(Ordering::Relaxed), 12);
    }
}

#[test]
fn limits_count_the_flags_and_refuse_for_good() {
    let limit = 10 * page_size();
    let vec = AppendVec::<u64>::builder(1 << 30)
        .growth(Growth::Pages(1))
        .commit_limit(limit)
        .build()
        .unwrap();
    let mut pushed = 0;
    while vec.try_push(pushed).is_ok() {
        pushed += 1;
        assert!(vec.stats().committed_bytes <= limit);
    }
    // About eight pages of elements, and their flags.
    assert!(pushed as usize >= 8 * page_size() / 8);
    for _ in 0..1000 {
        assert!(vec.try_push(0).unwrap_err().error().is_limit());
    }
    assert_eq!(vec.as_slice(), (0..pushed).collect::<Vec<_>>());
    assert!(vec.try_extend(0..5).unwrap_err().is_limit());
    assert!(vec.try_reserve(1).unwrap_err().is_limit());
    assert!(vec.try_reserve(usize::MAX).unwrap_err().is_limit());
    assert_eq!(vec.len() as u64, pushed);
}

#[test]
fn elements_of_no_size() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }
    let vec = moderate();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| vec.extend((0..5000).map(|_| Nothing)));
        }
    });
    assert_eq!(vec.as_slice().len(), 20_000);
    assert!(vec.get(19_999).is_some() && vec.get(20_000).is_none());
    drop(vec);
    assert_eq!(DROPS.load(Ordering::Relaxed), 20_000);
}

#[test]
fn elements_aligned_to_more_than_a_page() {
    #[derive(Clone, Copy)]
    #[repr(align(8192))]
    struct Wide(usize);

    let vec = moderate();
    for number in 0..20 {
        assert_eq!(
            std::ptr::from_ref(vec.push(Wide(number)).1).addr() % 8192,
            0
        );
    }
    assert!(vec.iter().enumerate().all(|(index, wide)| wide.0 == index));
}

#[test]
fn nothing_is_reserved_before_the_first_element() {
    static SHARED: AppendVec<String> = AppendVec::with_max_len(1 << 20);
    assert_eq!(SHARED.stats().reserved_bytes, 0);
    assert!(SHARED.as_slice().is_empty() && SHARED.get(0).is_none() && SHARED.spans().is_empty());
    SHARED.push("one".to_owned());
    assert_eq!(format!("{SHARED:?}"), r#"["one"]"#);
    assert!(SHARED.stats().committed_bytes > 0 && SHARED.capacity() > 0);
    assert!(SHARED.max_len() * size_of::<String>() <= SHARED.stats().reserved_bytes);

    let none = AppendVec::<u8>::builder(0).build().unwrap();
    assert!(none.try_push(1).unwrap_err().error().is_limit());
    assert!(
        AppendVec::<u64>::builder(usize::MAX)
            .build()
            .unwrap_err()
            .is_invalid_range()
    );
    assert!(
        AppendVec::<u64>::with_max_len(usize::MAX)
            .try_push(1)
            .unwrap_err()
            .error()
            .is_invalid_range()
    );
    assert_eq!(
        AppendVec::<u8>::builder(5)
            .name("log")
            .build()
            .unwrap()
            .name(),
        "log"
    );
}

const _: () = {
    const fn shareable<T: Send + Sync>() {}
    const fn sendable<T: Send>() {}
    shareable::<AppendVec<String>>();
    sendable::<AppendVec<std::cell::Cell<u8>>>();
    shareable::<elbowroom::append_vec::IntoIter<String>>();
};

#[test]
fn a_vector_that_is_told_no_maximum() {
    if common::is_emulated() {
        return;
    }
    let mut vec: AppendVec<u16> = (0..3000).collect();
    assert!(vec.iter().copied().eq(0..3000) && (&vec).into_iter().len() == 3000);
    assert!(vec.max_len() >= 1 << 32);
    Extend::extend(&mut vec, [7]);
    assert_eq!(vec.into_iter().next_back(), Some(7));
    assert_eq!(AppendVec::<()>::default().max_len(), 1 << 36);
    static SHARED: AppendVec<u8> = AppendVec::new();
    assert_eq!(SHARED.push(1), (0, &1));
}

#[test]
fn an_index_without_an_element_panics_with_the_length() {
    let vec = moderate();
    vec.extend(0..3);
    assert_eq!(vec[2], 2);
    let message = panic::catch_unwind(|| vec[3]).unwrap_err();
    assert!(
        message
            .downcast_ref::<String>()
            .unwrap()
            .contains("index 3")
    );
}

#[cfg(feature = "inject")]
mod refused {
    use elbowroom::inject::{self, Call};
    use elbowroom::{Budget, PushError, trim};

    use super::*;

    /// Pushes while the nth call of a kind is refused. Returns `None` if the refusal had no effect: there were fewer
    /// calls, the call was for more than was needed, or it was tried again because containers of other tests had left
    /// memory behind.
    fn push_refused(vec: &AppendVec<u64>, call: Call, nth: u64) -> Option<PushError<u64>> {
        trim();
        let plan = inject::refuse(call, nth);
        let refused = vec.try_push(7).err();
        assert!(refused.is_none() || plan.happened());
        refused
    }

    #[test]
    fn a_refused_growth_leaves_the_vector_as_it_was() {
        let full = || {
            // A vector with a name takes over no pages.
            let vec = AppendVec::<u64>::builder(1 << 20)
                .name("full")
                .growth(Growth::Pages(1))
                .build()
                .unwrap();
            // To the end of the flags' first page, and so of the elements' pages too.
            vec.extend(0..page_size() as u64);
            assert_eq!(vec.len(), vec.capacity());
            vec
        };
        let mut felt = 0;
        // There is one call for the flags and one for the elements. Some of the refusals may have no effect.
        for nth in (1..=2).cycle().take(40) {
            let vec = full();
            let (len, committed) = (vec.len(), vec.stats().committed_bytes);
            let Some(refused) = push_refused(&vec, Call::Commit, nth) else {
                continue;
            };
            felt |= nth;
            assert!(refused.error().is_out_of_memory());
            assert_eq!(refused.error().offset(), len * 8);
            assert_eq!(refused.into_value(), 7);
            assert!(
                vec.stats().committed_bytes <= committed + page_size(),
                "no more than a page of flags"
            );
            assert_eq!(vec.as_slice(), (0..len as u64).collect::<Vec<_>>());
            assert_eq!(vec.push(8), (len, &8));
            assert_eq!(vec.len(), len + 1);
        }
        assert_eq!(felt, 3, "each was felt");
    }

    #[test]
    fn whatever_grows_can_be_refused_and_tried_again() {
        type Deed = fn(&AppendVec<u64>) -> Result<(), elbowroom::Error>;
        const DEEDS: [(&str, Deed); 4] = [
            ("try_push", |vec| Ok(vec.try_push(7).map(|_| ())?)),
            ("try_push_with", |vec| vec.try_push_with(|_| 7).map(|_| ())),
            ("try_extend", |vec| {
                vec.try_extend(std::iter::repeat_n(7, 2 * page_size()))
            }),
            ("try_reserve", |vec| vec.try_reserve(2 * page_size())),
        ];
        for (name, deed) in DEEDS {
            let mut felt = 0;
            for nth in (1..=4).cycle().take(common::times(80) as usize) {
                // With a name, so that it takes over no pages, and full to the last element.
                let budget = Budget::new(1 << 30);
                let builder = AppendVec::<u64>::builder(1 << 20)
                    .name("full")
                    .growth(Growth::Pages(1))
                    .budget(&budget);
                let vec = builder.build().unwrap();
                vec.extend(0..page_size() as u64);
                trim();
                let plan = inject::refuse(Call::Commit, nth);
                let result = deed(&vec);
                let has_happened = plan.happened();
                drop(plan);
                if let Err(error) = result {
                    felt += 1;
                    assert!(
                        has_happened && error.is_out_of_memory(),
                        "{name} at {nth}: {error}"
                    );
                    // What was appended before it stays; nothing else does.
                    let (before, more) = vec.as_slice().split_at(page_size());
                    assert!(
                        before.iter().copied().eq(0..page_size() as u64),
                        "{name} at {nth}"
                    );
                    assert!(more.iter().all(|&element| element == 7), "{name} at {nth}");
                    assert!(more.is_empty() || name == "try_extend", "{name} at {nth}");
                    let len = vec.len();
                    deed(&vec).expect("the next try");
                    assert_eq!(vec.push(8).0, vec.len() - 1, "no index is lost");
                    assert!(
                        vec.len() > len
                            && vec.as_slice()[page_size()..vec.len() - 1]
                                .iter()
                                .all(|&element| element == 7)
                    );
                }
                assert_eq!(
                    budget.committed_bytes(),
                    vec.stats().committed_bytes,
                    "{name} at {nth}"
                );
            }
            assert!(felt > 0, "{name}: some were felt");
        }
    }

    #[test]
    fn a_refused_reservation_is_tried_again() {
        let mut felt = 0;
        for nth in (1..=2).cycle().take(40) {
            let vec = AppendVec::with_max_len(1 << 20);
            let Some(refused) = push_refused(&vec, Call::Reserve, nth) else {
                continue;
            };
            felt |= nth;
            assert!(refused.error().is_out_of_memory());
            assert_eq!((vec.len(), vec.stats().reserved_bytes), (0, 0));
            assert_eq!(vec.push(2), (0, &2));
            assert_eq!(vec.as_slice(), [2]);
        }
        assert!(felt & 1 == 1, "the first was felt");
    }
}
