//! Types with traits of the crate zerocopy, where traits of bytemuck are required.

use std::sync::atomic::{AtomicU32, Ordering};

use elbowroom::{DemandArray, Growth, Region, Zerocopy, page_size};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Record {
    key: u32,
    kind: [u8; 4],
    value: u64,
    rest: [u8; 9],
    flags: [u8; 7],
}

/// A type with padding, for which zero is valid but not all bytes are.
#[derive(Clone, Copy, Debug, PartialEq, FromZeros)]
#[repr(u8)]
enum State {
    Empty,
    Full { count: u64, dirty: bool },
}

#[test]
fn a_region_holds_records_wherever_they_lie() {
    let region = Region::builder(8 * page_size())
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    let record = Record {
        key: 7,
        value: u64::MAX,
        rest: [3; 9],
        ..Record::default()
    };
    // On two pages, and not aligned.
    let at = 3 * page_size() - 11;
    region.try_write(at, Zerocopy(record)).unwrap();
    assert_eq!(region.try_read::<Zerocopy<Record>>(at).unwrap().0, record);
    assert_eq!(region.try_read::<Zerocopy<u8>>(at), Ok(Zerocopy(7)));
    assert_eq!(
        *region.try_read::<Zerocopy<Record>>(0).unwrap(),
        Record::default()
    );
    assert!(
        region
            .try_read::<Zerocopy<Record>>(8 * page_size() - 1)
            .unwrap_err()
            .is_invalid_range()
    );
}

#[test]
fn an_array_begins_with_what_zero_means() {
    let mut states = DemandArray::<Zerocopy<State>>::new(1 << 20).unwrap();
    assert_eq!(states.get(77_777).unwrap().0, State::Empty);
    states
        .set(
            77_777,
            State::Full {
                count: 3,
                dirty: true,
            }
            .into(),
        )
        .unwrap();
    states
        .update(77_778, |state| {
            **state = State::Full {
                count: 4,
                dirty: false,
            }
        })
        .unwrap();
    assert_eq!(
        states
            .slice(77_776..77_779)
            .unwrap()
            .iter()
            .map(|state| state.0)
            .collect::<Vec<_>>(),
        [
            State::Empty,
            State::Full {
                count: 3,
                dirty: true
            },
            State::Full {
                count: 4,
                dirty: false
            }
        ]
    );
    states.clear_range(0..1 << 20).unwrap();
    assert_eq!(states.get(77_777).unwrap().0, State::Empty);
}

#[test]
fn what_is_shared_or_refers_to_others_may_be_zero_too() {
    let hits = DemandArray::<Zerocopy<AtomicU32>>::new(1 << 20).unwrap();
    hits.touch(9).unwrap().fetch_add(2, Ordering::Relaxed);
    assert_eq!(hits.touch(9).unwrap().load(Ordering::Relaxed), 2);
    let mut names = DemandArray::<Zerocopy<Option<&u64>>>::new(100).unwrap();
    names.set(50, Zerocopy(Some(&7))).unwrap();
    assert_eq!(names.get(50).unwrap().0, Some(&7));
    assert_eq!(names.get(51).unwrap().0, None);
}
