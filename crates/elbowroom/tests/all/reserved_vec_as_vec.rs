//! Other features of `Vec`: conversions, a macro, newer methods.

#![allow(unsafe_code, reason = "counts elements without a size")]

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BinaryHeap, VecDeque};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Arc;

use elbowroom::reserved_vec::{IntoIter, PeekMut};
use elbowroom::{ReservedVec, page_size, reserved_vec};

#[test]
fn the_macro_makes_what_vec_makes() {
    assert_eq!(reserved_vec![1, 2, 3], vec![1, 2, 3]);
    assert_eq!(reserved_vec!["a".to_owned(); 3], vec!["a"; 3]);
    let none: ReservedVec<u8> = reserved_vec![];
    assert!(none.is_empty());
    assert_eq!(reserved_vec![(); 4].len(), 4);
}

#[test]
fn a_capacity_is_there_at_once() {
    let vec = ReservedVec::<u64>::with_capacity(1000);
    assert!(vec.capacity() >= 1000 && vec.is_empty());
    assert!(vec.stats().committed_bytes >= 8000);
    assert_eq!(
        ReservedVec::<u64>::with_capacity(0).stats().committed_bytes,
        0
    );
}

#[test]
fn converts_from_what_vec_converts_from() {
    let expected = vec![3, 1, 2];
    let mut array = [3, 1, 2];
    assert_eq!(ReservedVec::from(&array), expected);
    assert_eq!(ReservedVec::from(&mut array), expected);
    assert_eq!(ReservedVec::from(&mut array[..]), expected);
    assert_eq!(ReservedVec::from(Cow::Borrowed(&array[..])), expected);
    assert_eq!(
        ReservedVec::from(Cow::<[i32]>::Owned(expected.clone())),
        expected
    );
    assert_eq!(ReservedVec::from(Box::<[i32]>::from(array)), expected);
    let mut deque = VecDeque::from([1, 2]);
    deque.push_front(3);
    assert_eq!(ReservedVec::from(deque), expected);
    let mut heap = Vec::from(ReservedVec::from(BinaryHeap::from(array)));
    heap.sort_unstable();
    assert_eq!(heap, [1, 2, 3]);
    assert_eq!(ReservedVec::from("abc"), b"abc");
    assert_eq!(ReservedVec::from("abc".to_owned()), b"abc");
    assert_eq!(ReservedVec::from(c"abc".to_owned()), b"abc");
}

#[test]
fn converts_into_what_vec_converts_into() {
    let texts = || reserved_vec!["a".to_owned(), "b".to_owned()];
    let expected = ["a", "b"];
    assert_eq!(*texts().into_boxed_slice(), expected);
    assert_eq!(*Box::<[String]>::from(texts()), expected);
    assert_eq!(*Rc::<[String]>::from(texts()), expected);
    assert_eq!(*Arc::<[String]>::from(texts()), expected);
    assert_eq!(VecDeque::from(texts()), expected);
    assert_eq!(BinaryHeap::from(texts()).into_sorted_vec(), expected);
    assert_eq!(*Cow::<[String]>::from(texts()), expected);
    let lent = texts();
    assert!(matches!(Cow::from(&lent), Cow::Borrowed(slice) if slice.as_ptr() == lent.as_ptr()));
    assert_eq!(<[String; 2]>::try_from(texts()).unwrap(), expected);
    assert_eq!(<[String; 3]>::try_from(texts()).unwrap_err(), expected);
    assert_eq!(*Box::<[String; 2]>::try_from(texts()).unwrap(), expected);
    assert_eq!(Box::<[String; 1]>::try_from(texts()).unwrap_err(), expected);
    assert_eq!(<[(); 2]>::try_from(reserved_vec![(); 2]).unwrap(), [(); 2]);
}

#[test]
fn compares_with_what_may_be_borrowed() {
    let cow = Cow::Borrowed(&[1, 2][..]);
    assert_eq!(reserved_vec![1, 2], cow);
    assert_eq!(cow, reserved_vec![1, 2]);
    assert_ne!(reserved_vec![1], cow);
    let mut deque = VecDeque::from([2]);
    deque.push_front(1);
    assert_eq!(deque, reserved_vec![1, 2]);
    assert_ne!(deque, reserved_vec![2, 1]);
}

#[test]
fn flattened_elements_stay_where_they_were() {
    let mut arrays = ReservedVec::<[u16; 3]>::with_max_len(100_000);
    arrays.extend((0..1000).map(|i| [i, i, i + 1]));
    let address = arrays.as_ptr().cast();
    let (capacity, max_len) = (arrays.capacity(), arrays.max_len());
    let mut flat = arrays.into_flattened();
    assert_eq!((flat.as_ptr(), flat.len()), (address, 3000));
    assert_eq!(flat.max_len(), 3 * max_len);
    assert!(flat.capacity() >= 3 * capacity);
    assert_eq!(flat[2997..], [999, 999, 1000]);
    // Up to the maximum, and no further.
    flat.resize(300_000, 7);
    assert!(flat.try_push(1).is_err());

    let mut of_a_share = reserved_vec![[1, 2]; 5].into_flattened();
    of_a_share.extend(std::iter::repeat_n(3, 100_000));
    assert_eq!(of_a_share.len(), 100_010);
    assert_eq!(reserved_vec![[(); 3]; 5].into_flattened().len(), 15);
    assert_eq!(reserved_vec![[0; 0]; 5].into_flattened(), [0; 0]);
    assert!(ReservedVec::<[u8; 2]>::new().into_flattened().is_empty());
    let mut units = ReservedVec::<[(); 2]>::new();
    // SAFETY: elements without a size need no memory and no value.
    unsafe { units.set_len(usize::MAX) };
    assert!(panic::catch_unwind(AssertUnwindSafe(|| units.into_flattened())).is_err());
}

/// Counts drops.
#[derive(Clone)]
struct Counted<'a>(&'a Cell<usize>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn every_element_is_dropped_once() {
    let drops = Cell::new(0);
    let vec = |len| -> ReservedVec<Counted<'_>> { (0..len).map(|_| Counted(&drops)).collect() };
    drop(vec(4).into_boxed_slice());
    assert_eq!(drops.take(), 4);
    let arrays: ReservedVec<[Counted<'_>; 2]> = [[(); 2]; 3]
        .map(|pair| pair.map(|()| Counted(&drops)))
        .into_iter()
        .collect();
    drop(arrays.into_flattened());
    assert_eq!(drops.take(), 6);
    drop(<[Counted<'_>; 2]>::try_from(vec(2)));
    drop(<[Counted<'_>; 2]>::try_from(vec(3)));
    assert_eq!(drops.take(), 5);
    let mut some = vec(5);
    let mut drain = some.drain(1..4);
    drop(drain.next());
    drain.keep_rest();
    assert_eq!((some.len(), drops.take()), (4, 1));
    PeekMut::pop(some.peek_mut().unwrap());
    assert_eq!((some.len(), drops.take()), (3, 1));
    let mut elements = some.into_iter();
    elements.next();
    assert_eq!(drops.take(), 1);
    drop(elements);
    assert_eq!(drops.take(), 2);
}

#[test]
fn what_a_drain_keeps_is_what_was_left() {
    for (from_front, from_back) in [(0, 0), (1, 0), (0, 2), (1, 1), (3, 0), (2, 1)] {
        let mut vec: ReservedVec<String> = (0..6).map(|i| i.to_string()).collect();
        let mut expected: Vec<String> = vec.to_vec();
        let mut drain = vec.drain(2..5);
        for _ in 0..from_front {
            drain.next();
        }
        for _ in 0..from_back {
            drain.next_back();
        }
        drain.keep_rest();
        expected.drain(5 - from_back..5);
        expected.drain(2..2 + from_front);
        assert_eq!(vec, expected);
    }
}

#[test]
fn the_newer_methods_do_as_vecs() {
    let mut vec = reserved_vec![1, 2];
    *vec.push_mut(0) = 3;
    *vec.insert_mut(0, 9) = 0;
    assert_eq!(vec, [0, 1, 2, 3]);
    assert_eq!((vec.try_remove(4), vec.try_remove(1)), (None, Some(1)));
    assert_eq!(vec, [0, 2, 3]);
    assert!(ReservedVec::<u8>::new().peek_mut().is_none());
    *vec.peek_mut().unwrap() += 1;
    assert_eq!(vec, [0, 2, 4]);
    assert_eq!(IntoIter::<String>::default().next(), None);
}

#[test]
fn a_push_within_the_capacity_commits_nothing() {
    let mut vec = ReservedVec::<u8>::with_max_len(4 * page_size());
    assert_eq!(vec.push_within_capacity(1), Err(1));
    vec.reserve_exact(1);
    let commits = vec.stats().commits;
    for _ in 0..page_size() {
        *vec.push_within_capacity(1).unwrap() += 1;
    }
    assert_eq!(vec.push_within_capacity(1), Err(1));
    assert_eq!(vec.stats().commits, commits);
    assert!(vec.iter().all(|&byte| byte == 2));
    let mut units = ReservedVec::with_max_len(1);
    assert_eq!(units.push_within_capacity(()), Ok(&mut ()));
    assert_eq!(units.push_within_capacity(()), Err(()));
}

#[test]
fn an_element_that_panics_when_dropped_takes_none_with_it() {
    struct Fuse<'a>(&'a Cell<usize>, bool);
    impl Drop for Fuse<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            assert!(!self.1, "burns");
        }
    }
    let drops = Cell::new(0);
    let vec: ReservedVec<_> = (0..5).map(|i| Fuse(&drops, i == 2)).collect();
    let elements = vec.into_iter();
    assert!(panic::catch_unwind(AssertUnwindSafe(|| drop(elements))).is_err());
    assert_eq!(drops.take(), 5);
    let vec: ReservedVec<_> = (0..5).map(|i| Fuse(&drops, i == 2)).collect();
    assert!(panic::catch_unwind(AssertUnwindSafe(|| drop(vec))).is_err());
    assert_eq!(drops.take(), 5);
}
