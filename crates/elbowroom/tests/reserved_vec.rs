//! `ReservedVec`: behaves as `Vec`, never moves, and commits within its limits.

use elbowroom::{Budget, Growth, ReservedVec, page_size};

#[test]
fn grows_without_moving() {
    let mut vec = ReservedVec::with_max_len(1 << 24);
    vec.push(0u64);
    let base = vec.as_ptr();
    vec.extend(1..1 << 20);
    assert_eq!(vec.as_ptr(), base);
    assert!(vec.iter().copied().eq(0..1 << 20));
}

#[test]
fn limits_and_budgets_are_exact() {
    let budget = Budget::new(10 * page_size());
    let mut vec = ReservedVec::<u8>::builder(100 * page_size())
        .commit_limit(5 * page_size())
        .growth(Growth::Pages(4))
        .budget(&budget)
        .build()
        .unwrap();
    vec.push(1);
    assert_eq!(vec.stats().committed_bytes, 4 * page_size());
    assert_eq!(budget.committed_bytes(), 4 * page_size());
    assert!(vec.try_reserve(5 * page_size()).unwrap_err().is_limit());
    vec.try_reserve(5 * page_size() - 1).unwrap();
    assert_eq!(vec.capacity(), 5 * page_size());
    vec.shrink_to(0);
    assert_eq!(budget.committed_bytes(), page_size());
    assert_eq!(vec[0], 1);
    drop(vec);
    assert_eq!(budget.committed_bytes(), 0);
}

#[test]
fn a_full_vector_says_so() {
    let mut vec = ReservedVec::with_max_len(3);
    vec.extend([1, 2, 3]);
    assert_eq!(vec.capacity(), 3);
    let error = vec.try_reserve(1).unwrap_err();
    assert!(error.is_limit());
    let text = "cannot commit bytes 12..16 (4 bytes): its maximum of 3 elements is reached; make it with a larger one";
    assert_eq!(error.to_string(), text);
}
