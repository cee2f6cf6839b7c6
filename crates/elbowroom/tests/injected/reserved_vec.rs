//! The system refuses each call that a `ReservedVec` makes: the result is an error or a panic with its text, the vector
//! is unchanged, the budget is charged with the committed bytes, and the next try works.

use super::alone;
use std::panic::{AssertUnwindSafe, catch_unwind};

use elbowroom::inject::{self, Call};
use elbowroom::{Budget, Error, Growth, ReservedVec, page_size};

/// An element of a size that nearly fills a page of any size.
type Element = [u16; 32];

fn elements(count: usize) -> impl Iterator<Item = Element> + Clone {
    (0..count).map(|n| [n as u16; 32])
}

fn per_page() -> usize {
    page_size() / size_of::<Element>()
}

struct Subject {
    vec: ReservedVec<Element>,
    budget: Budget,
}

/// Returns a vector that has nearly filled two pages, and whose next growth is by three pages.
fn subject(growth: Growth) -> Subject {
    let budget = Budget::new(1000 * page_size());
    // With a name, so that no memory is taken over from a dropped vector or left to the next one.
    let vec = ReservedVec::builder(100 * per_page())
        .name("injected")
        .growth(growth)
        .budget(&budget)
        .build();
    let mut vec = vec.unwrap();
    vec.extend(elements(2 * per_page() - 1));
    vec.shrink_to_fit();
    Subject { vec, budget }
}

type Deed = fn(&mut ReservedVec<Element>) -> Result<(), Error>;

const DEEDS: &[(&str, Deed)] = &[
    ("try_push", |vec| {
        vec.try_push([7; 32])?;
        Ok(vec.try_push([8; 32])?)
    }),
    ("try_insert", |vec| {
        vec.try_insert(1, [7; 32])?;
        Ok(vec.try_insert(2, [8; 32])?)
    }),
    ("try_extend", |vec| vec.try_extend(elements(3 * per_page()))),
    ("try_extend unannounced", |vec| {
        vec.try_extend(elements(3 * per_page()).filter(|_| true))
    }),
    ("try_extend_from_slice", |vec| {
        vec.try_extend_from_slice(&[[7; 32]; 2])
    }),
    ("try_extend_from_within", |vec| {
        vec.try_extend_from_within(..per_page())
    }),
    ("try_append", |vec| {
        let mut other = ReservedVec::with_max_len(10);
        // Two elements fit into memory without a system call, or fail here.
        other.try_extend([[7; 32]; 2])?;
        vec.try_append(&mut other)
            .inspect_err(|_| assert_eq!(other.len(), 2))
    }),
    ("try_splice", |vec| {
        vec.try_splice(1..2, elements(3 * per_page())).map(drop)
    }),
    ("try_splice unannounced", |vec| {
        vec.try_splice(1..2, elements(3 * per_page()).filter(|_| true))
            .map(drop)
    }),
    ("try_resize", |vec| vec.try_resize(4 * per_page(), [7; 32])),
    ("try_resize_with", |vec| {
        vec.try_resize_with(4 * per_page(), || [7; 32])
    }),
    ("try_reserve", |vec| vec.try_reserve(2)),
    ("try_reserve_exact", |vec| vec.try_reserve_exact(2)),
    ("try_split_off", |vec| {
        vec.try_split_off(per_page()).map(drop)
    }),
    ("try_clone", |vec| vec.try_clone().map(drop)),
];

/// Runs each deed with the nth call of a kind refused, for n from 1 until no call is left to refuse.
fn refuse_each(call: Call, growth: Growth) -> u32 {
    let mut refusals = 0;
    for &(name, deed) in DEEDS {
        for nth in 1.. {
            let Subject { mut vec, budget } = subject(growth);
            let (before, base, committed) = (vec.to_vec(), vec.as_ptr(), budget.committed_bytes());
            // If the cache is empty, a refusal is final.
            elbowroom::trim();
            let plan = inject::refuse(call, nth);
            let result = deed(&mut vec);
            let has_happened = plan.happened();
            drop(plan);
            assert_eq!(vec.as_ptr(), base);
            if let Err(error) = &result {
                assert!(
                    has_happened && error.is_out_of_memory(),
                    "{name} at {nth}: {error}"
                );
                refusals += 1;
                let is_whole = match name {
                    // Two steps, of which the first may have happened.
                    "try_push" | "try_insert" => vec.len() <= before.len() + 1,
                    _ => vec == before,
                };
                assert!(is_whole, "{name} at {nth}");
                if !["try_push", "try_insert"].contains(&name) && call == Call::Commit {
                    assert!(
                        budget.committed_bytes() - committed <= 3 * page_size(),
                        "{name} at {nth}"
                    );
                }
                deed(&mut vec).expect("the next try");
            }
            assert_eq!(
                budget.committed_bytes(),
                vec.stats().committed_bytes,
                "{name} at {nth}"
            );
            drop(vec);
            assert_eq!(budget.committed_bytes(), 0, "{name} at {nth}");
            if !has_happened {
                break;
            }
        }
    }
    refusals
}

#[test]
fn commits_that_are_refused_change_nothing() {
    let _alone = alone();
    assert!(refuse_each(Call::Commit, Growth::Pages(1)) >= DEEDS.len() as u32);
    // A window that is refused is tried again with what is needed, so fewer refusals come out.
    refuse_each(Call::Commit, Growth::Pages(3));
    refuse_each(Call::Commit, Growth::default());
}

#[test]
fn addresses_that_are_refused_change_nothing() {
    let _alone = alone();
    assert_eq!(
        refuse_each(Call::Reserve, Growth::Pages(1)),
        5,
        "split_off, clone, append's other vector, and splice's two"
    );
}

#[test]
fn the_default_maximum_gives_way_and_others_do_not() {
    let _alone = alone();
    elbowroom::trim();
    let mut vec = ReservedVec::<u8>::new();
    let asked = vec.max_len();
    let plan = inject::refuse(Call::Reserve, 1);
    vec.push(1);
    assert!(plan.happened());
    drop(plan);
    assert!(vec.max_len() <= asked / 16);
    drop(vec);
    elbowroom::trim();
    let mut vec = ReservedVec::<u8>::with_max_len(asked / 256);
    let plan = inject::refuse(Call::Reserve, 1);
    assert!(vec.try_push(1).unwrap_err().error().is_out_of_memory());
    assert!(plan.happened());
    drop(plan);
    assert_eq!(vec.max_len(), asked / 256);
    vec.push(1);
}

#[test]
fn a_window_that_is_refused_shrinks_to_what_is_needed() {
    let _alone = alone();
    let Subject { mut vec, budget } = subject(Growth::Pages(50));
    elbowroom::trim();
    let plan = inject::refuse(Call::Commit, 1);
    vec.try_extend_from_slice(&[[7; 32]; 2]).unwrap();
    assert!(plan.happened());
    assert_eq!(vec.stats().committed_bytes, 3 * page_size());
    assert_eq!(budget.committed_bytes(), 3 * page_size());
    assert_eq!(budget.peak_bytes(), 50 * page_size());
}

#[test]
fn what_is_not_brought_in_is_brought_in_later() {
    let _alone = alone();
    let mut vec = ReservedVec::with_max_len(1 << 20);
    vec.push(1u64);
    let plan = inject::refuse(Call::Populate, 1);
    vec.extend(0..1 << 17);
    drop(plan);
    assert!(vec.iter().copied().skip(1).eq(0..1 << 17));
}

#[test]
fn pages_that_are_not_taken_back_stay() {
    let _alone = alone();
    let Subject { mut vec, budget } = subject(Growth::Pages(1));
    vec.truncate(1);
    let plan = inject::refuse(Call::Decommit, 1);
    vec.shrink_to_fit();
    assert!(plan.happened());
    drop(plan);
    assert_eq!(
        (vec.capacity(), budget.committed_bytes()),
        (2 * per_page(), 2 * page_size())
    );
    vec.shrink_to_fit();
    assert_eq!(
        (vec.capacity(), budget.committed_bytes()),
        (per_page(), page_size())
    );
}

#[test]
fn a_mapping_that_is_not_released_is_refunded_if_its_pages_are() {
    let _alone = alone();
    let Subject { vec, budget } = subject(Growth::Pages(1));
    let plan = inject::refuse(Call::Release, 1);
    drop(vec);
    assert!(plan.happened());
    assert_eq!(budget.committed_bytes(), 0);
}

#[test]
fn memory_that_is_kept_gives_way() {
    let _alone = alone();
    elbowroom::trim();
    let mut kept: ReservedVec<u8> = ReservedVec::with_max_len(1 << 20);
    kept.push(1);
    drop(kept);
    // The first try is refused; what the vector above has left is given back, and the second works.
    let Subject { mut vec, .. } = subject(Growth::Pages(1));
    let plan = inject::refuse(Call::Commit, 1);
    vec.try_reserve(2).unwrap();
    assert!(plan.happened());
    drop(plan);
    let mut kept: ReservedVec<u8> = ReservedVec::with_max_len(1 << 20);
    kept.push(1);
    drop(kept);
    let plan = inject::refuse(Call::Reserve, 1);
    drop(
        ReservedVec::<u8>::builder(1 << 20)
            .name("injected")
            .build()
            .unwrap(),
    );
    assert!(plan.happened());
}

#[test]
fn the_plain_forms_panic_with_the_text() {
    let _alone = alone();
    let Subject { mut vec, .. } = subject(Growth::Pages(1));
    vec.push([1; 32]);
    let before = vec.to_vec();
    elbowroom::trim();
    let plan = inject::refuse(Call::Commit, 1);
    let panic = catch_unwind(AssertUnwindSafe(|| vec.push([2; 32]))).unwrap_err();
    drop(plan);
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(
        text.starts_with("cannot commit ") && text.contains(" at byte "),
        "{text}"
    );
    assert_eq!(vec, before);
}
