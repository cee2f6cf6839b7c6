//! `ReservedVec`: its elements are moved, iterated over, compared and lent as those of a `Vec`.

use crate::common::page;

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read as _, Write as _};
use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind};

use elbowroom::{ReservedVec, reserved_vec};

use super::reserved_vec::panic_of;

#[test]
fn drains_as_vec_does() {
    let make = || ReservedVec::from([0, 1, 2, 3, 4]);
    let mut vec = make();
    assert!(vec.drain(1..=2).eq([1, 2]));
    assert_eq!(vec, [0, 3, 4]);
    assert!(vec.drain(..).rev().eq([4, 3, 0]));
    assert!(vec.is_empty());
    let mut vec = make();
    assert_eq!(vec.drain(2..2).next(), None);
    assert_eq!(vec.drain(5..).next(), None);
    assert!(
        vec.drain((std::ops::Bound::Excluded(0), std::ops::Bound::Unbounded))
            .eq([1, 2, 3, 4])
    );
    assert_eq!(vec, [0]);
    let mut vec = make();
    {
        let mut drain = vec.drain(1..4);
        assert_eq!(
            (drain.next(), drain.next_back(), drain.len()),
            (Some(1), Some(3), 1)
        );
        assert_eq!(drain.as_slice(), [2]);
        assert_eq!(format!("{drain:?}"), "Drain([2])");
    }
    assert_eq!(vec, [0, 4]);
    let mut vec = make();
    std::mem::forget(vec.drain(1..3));
    assert_eq!(vec, [0]);
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "an inverted range is what is tested"
    )]
    let deeds: [fn(&mut ReservedVec<i32>); 3] = [
        |vec| drop(vec.drain(4..6)),
        |vec| drop(vec.drain(3..2)),
        |vec| drop(vec.drain(..=usize::MAX)),
    ];
    for deed in deeds {
        let mut vec = make();
        assert!(panic_of(|| deed(&mut vec)).contains("not inside the length of 5"));
        assert_eq!(vec, make());
    }
}

#[test]
fn splices_as_vec_does() {
    let make = || ReservedVec::from([0, 1, 2, 3, 4]);
    let mut vec = make();
    assert!(vec.splice(1..3, [10, 11, 12]).eq([1, 2]));
    assert_eq!(vec, [0, 10, 11, 12, 3, 4]);
    vec.splice(..1, []);
    assert_eq!(vec, [10, 11, 12, 3, 4]);
    vec.splice(5.., [7, 8].into_iter().filter(|_| true));
    assert_eq!(vec, [10, 11, 12, 3, 4, 7, 8]);
    vec.splice(.., []);
    assert!(vec.is_empty());
    let mut vec = make();
    std::mem::forget(vec.splice(1..3, [9]));
    assert_eq!(vec, [0]);
    // No room for all of the replacement: a part is in place, and the elements behind it are not lost.
    let mut vec = ReservedVec::with_max_len(6);
    vec.extend([0, 1, 2, 3, 4]);
    let text = panic_of(|| vec.splice(1..2, [10, 11, 12]));
    assert!(text.contains("its maximum of 6 elements"), "{text}");
    assert_eq!(vec, [0, 10, 2, 3, 4]);
    // With `try_splice`, nothing is replaced and nothing is lost.
    let refused = vec.try_splice(1..2, 10..).unwrap_err();
    assert!(refused.is_limit());
    assert_eq!(vec, [0, 10, 2, 3, 4]);
    vec.push(5);
    assert!(
        vec.try_splice(..2, [6, 7]).unwrap().eq([0, 10]),
        "as many in a full one"
    );
    assert_eq!(vec, [6, 7, 2, 3, 4, 5]);
    assert!(panic_of(|| vec.try_splice(3..9, [])).contains("is not inside the length of 6"));
}

#[test]
fn filters_as_vec_does() {
    let mut vec: ReservedVec<u32> = (0..20).collect();
    vec.retain(|n| n % 2 == 0);
    assert_eq!(vec, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
    vec.retain_mut(|n| {
        *n += 1;
        *n % 3 == 0
    });
    assert_eq!(vec, [3, 9, 15]);
    assert!(vec.extract_if(1.., |n| *n > 10).eq([15]));
    assert_eq!(vec, [3, 9]);
    drop(vec.extract_if(.., |_| true));
    assert_eq!(vec, [3, 9]);
    std::mem::forget(vec.extract_if(.., |_| true));
    assert!(vec.is_empty());
    let mut vec = ReservedVec::from(["a", "A", "b", "b", "B", "a"]);
    vec.dedup();
    assert_eq!(vec, ["a", "A", "b", "B", "a"]);
    vec.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
    assert_eq!(vec, ["a", "b", "a"]);
    vec.dedup_by_key(|_| 0);
    assert_eq!(vec, ["a"]);
    vec.dedup();
    assert_eq!(vec.pop_if(|last| last == &"b"), None);
    assert_eq!(vec.pop_if(|last| last == &"a"), Some("a"));
    assert_eq!(vec.pop_if(|_| true), None);
}

#[test]
fn indices_are_checked() {
    let mut vec = ReservedVec::from([1, 2, 3]);
    assert_eq!(
        panic_of(|| vec.insert(4, 0)),
        "index 4 is beyond the length of 3"
    );
    assert_eq!(
        panic_of(|| vec.remove(3)),
        "index 3 is not below the length of 3"
    );
    assert_eq!(
        panic_of(|| vec.swap_remove(3)),
        "index 3 is not below the length of 3"
    );
    assert_eq!(
        panic_of(|| vec.split_off(4)),
        "index 4 is beyond the length of 3"
    );
    assert!(catch_unwind(|| vec[3]).is_err());
    assert_eq!(vec[1..], [2, 3]);
    assert_eq!(vec, [1, 2, 3]);
}

#[test]
fn iterators_may_announce_what_they_like() {
    struct Liar(u32, usize);

    impl Iterator for Liar {
        type Item = u32;

        fn next(&mut self) -> Option<u32> {
            self.0 = self.0.checked_sub(1)?;
            Some(self.0)
        }

        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.1, Some(self.1))
        }
    }

    let mut vec = ReservedVec::with_max_len(1000);
    vec.extend(Liar(5, 0));
    vec.extend(Liar(5, 500));
    assert_eq!(vec, [4, 3, 2, 1, 0, 4, 3, 2, 1, 0]);
    vec.splice(2..4, Liar(3, 0));
    vec.splice(0..2, Liar(1, 100));
    assert_eq!(vec, [0, 2, 1, 0, 0, 4, 3, 2, 1, 0]);
    // As in a `Vec`, an announced length that is impossible is refused before the first element.
    assert!(vec.try_extend(Liar(1, usize::MAX)).unwrap_err().is_limit());
    assert_eq!(vec.len(), 10);

    /// Panics if it is asked again after its end.
    struct Once(bool);

    impl Iterator for Once {
        type Item = u32;

        fn next(&mut self) -> Option<u32> {
            assert!(!self.0, "asked after the end");
            self.0 = true;
            None
        }
    }

    vec.extend(Once(false));
    vec.extend(std::iter::repeat_n(7, vec.max_len() - vec.len()));
    vec.extend(Once(false));
}

#[test]
fn owning_iterators_go_both_ways() {
    let vec: ReservedVec<String> = ["a", "b", "c", "d"].map(String::from).into_iter().collect();
    let mut elements = vec.into_iter();
    assert_eq!(elements.next().as_deref(), Some("a"));
    assert_eq!(elements.next_back().as_deref(), Some("d"));
    assert_eq!(
        (elements.len(), elements.as_slice()),
        (2, &["b", "c"].map(String::from)[..])
    );
    elements.as_mut_slice()[0].push('!');
    let clone = elements.clone();
    assert_eq!(format!("{clone:?}"), r#"IntoIter(["b!", "c"])"#);
    assert_eq!(elements.collect::<Vec<_>>(), ["b!", "c"]);
    assert_eq!(clone.count(), 2);
    let mut vec = ReservedVec::from([1, 2, 3]);
    for element in &mut vec {
        *element *= 2;
    }
    assert_eq!((&vec).into_iter().sum::<i32>(), 12);
}

#[test]
#[allow(
    clippy::mutable_key_type,
    reason = "the elements decide on equality, and they do not change"
)]
fn converts_and_compares_as_a_slice() {
    let vec = ReservedVec::from(vec![1, 2, 3]);
    assert_eq!(vec, [1, 2, 3]);
    assert_eq!(vec, &[1, 2, 3]);
    assert_eq!(vec, [1, 2, 3][..]);
    assert_eq!(vec, &[1, 2, 3][..]);
    assert_eq!(vec, &mut [1, 2, 3][..]);
    assert_eq!(vec, vec![1, 2, 3]);
    assert_eq!([1, 2, 3], vec);
    assert_eq!(vec![1, 2, 3], vec);
    assert_eq!(&[1, 2, 3][..], vec);
    assert_ne!(vec, [1, 2]);
    assert_eq!(ReservedVec::from(&[1, 2, 3][..]), vec);
    assert_eq!(Vec::from(vec.clone()), [1, 2, 3]);
    let greater = ReservedVec::from([1, 2, 4]);
    assert!(vec < greater);
    assert_eq!(
        vec.cmp(&ReservedVec::from([1, 2])),
        std::cmp::Ordering::Greater
    );
    assert_eq!(format!("{vec:?}"), "[1, 2, 3]");
    let hash = |value: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        value(&mut hasher);
        hasher.finish()
    };
    assert_eq!(
        hash(&|hasher| vec.hash(hasher)),
        hash(&|hasher| [1, 2, 3][..].hash(hasher))
    );
    let set = HashSet::from([vec]);
    assert!(set.contains(&[1, 2, 3][..]));
    let slice: &[i32] = set.iter().next().unwrap().borrow();
    assert_eq!(slice, [1, 2, 3]);
    let mut vec = ReservedVec::default();
    vec.extend(&[3, 1, 2]);
    vec.sort();
    let slice: &mut [i32] = vec.as_mut();
    slice[0] = 0;
    assert_eq!(vec.binary_search(&2), Ok(1));
    assert_eq!(vec, [0, 2, 3]);
}

#[test]
fn a_vector_of_bytes_is_a_writer() {
    let mut vec = ReservedVec::builder(page(1)).build().unwrap();
    write!(vec, "{:?}-two", Some(1)).unwrap();
    vec.flush().unwrap();
    assert_eq!(vec, b"Some(1)-two");
    let error = std::io::copy(&mut std::io::repeat(0).take(page(1) as u64), &mut vec).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory);
    assert!(
        error
            .get_ref()
            .unwrap()
            .downcast_ref::<elbowroom::Error>()
            .unwrap()
            .is_limit()
    );
}

#[test]
fn leaked_elements_live_for_ever() {
    let mut vec = ReservedVec::with_max_len(100);
    vec.extend([1, 2, 3]);
    let leaked: &'static mut [i32] = vec.leak();
    leaked[0] = 7;
    assert_eq!(leaked, [7, 2, 3]);
    let empty: &'static mut [u8] = ReservedVec::new().leak();
    assert!(empty.is_empty());
}

#[test]
fn threads_and_lifetimes_as_vec() {
    fn everywhere<T: Send + Sync + UnwindSafe + RefUnwindSafe + Unpin>() {}
    everywhere::<ReservedVec<String>>();
    everywhere::<reserved_vec::IntoIter<String>>();
    fn across<T: Send + Sync>() {}
    across::<reserved_vec::Drain<'static, String>>();
    across::<reserved_vec::Splice<'static, std::vec::IntoIter<String>>>();

    // Covariant: the 'static elements may stand in for shorter-lived ones.
    fn shorter<'a>(vec: ReservedVec<&'static str>, _: &'a str) -> ReservedVec<&'a str> {
        vec
    }
    fn shorter_drain<'a>(
        drain: reserved_vec::Drain<'a, &'static str>,
    ) -> reserved_vec::Drain<'a, &'a str> {
        drain
    }
    let local = String::from("local");
    let mut vec = shorter(ReservedVec::from(["static"]), &local);
    vec.push(&local);
    let mut statics = ReservedVec::from(["a", "b"]);
    assert!(shorter_drain(statics.drain(..)).eq(["a", "b"]));
    std::thread::scope(|scope| {
        let vec = &vec;
        scope.spawn(move || assert_eq!(vec, &["static", "local"]));
    });
}

#[cfg(feature = "serde")]
#[test]
fn is_a_sequence_to_serde() {
    let vec = ReservedVec::from([1u8, 2, 3]);
    let text = serde_json::to_string(&vec).unwrap();
    assert_eq!(text, "[1,2,3]");
    assert_eq!(serde_json::from_str::<ReservedVec<u8>>(&text).unwrap(), vec);
    assert!(serde_json::from_str::<ReservedVec<u8>>("[1,2,300]").is_err());
    assert!(
        serde_json::from_str::<ReservedVec<u8>>("7")
            .unwrap_err()
            .to_string()
            .contains("a sequence")
    );
}
