//! Sequences of operations against a plain `Vec`, with any page size and limit, and a store that fails.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::atomic::Ordering;

use bytemuck::{AnyBitPattern, NoUninit};
use elbowroom::inject::{self, Call};
use elbowroom::page_size;
use elbowroom_pager::{Error, PagedArray};
use proptest::prelude::*;

use crate::common::{Failure, Flaky, is_emulated, is_injected};

#[derive(Clone, Debug)]
enum Step {
    Get(u16),
    Set(u16, u8),
    Slice(u16, u16),
    Fill(u16, u16, u8),
    Scan(u16, u16),
    Gather(Vec<u16>),
    Prefetch(u16, u16),
    Writers(u8, u8),
    Hold(u16, u16, u16),
    Flush,
    Resize(u16),
    Fail(u8, u8, bool),
    Heal,
    /// The next step has a system call refused.
    Refuse(bool, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let place = any::<u16>;
    let short = || prop_oneof![3 => 0..2000u16, 1 => any::<u16>()];
    prop_oneof![
        6 => place().prop_map(Step::Get),
        6 => (place(), any::<u8>()).prop_map(|(at, value)| Step::Set(at, value)),
        4 => (place(), short()).prop_map(|(at, len)| Step::Slice(at, len)),
        4 => (place(), short(), any::<u8>()).prop_map(|(at, len, value)| Step::Fill(at, len, value)),
        2 => (place(), place()).prop_map(|(at, len)| Step::Scan(at, len)),
        2 => prop::collection::vec(place(), 0..50).prop_map(Step::Gather),
        1 => (place(), short()).prop_map(|(at, len)| Step::Prefetch(at, len)),
        1 => (1..6u8, any::<u8>()).prop_map(|(count, value)| Step::Writers(count, value)),
        1 => (place(), short(), place()).prop_map(|(at, len, other)| Step::Hold(at, len, other)),
        1 => Just(Step::Flush),
        1 => place().prop_map(Step::Resize),
        1 => (0..4u8, 1..4u8, any::<bool>()).prop_map(|(after, count, half)| Step::Fail(after, count, half)),
        1 => Just(Step::Heal),
        1 => (any::<bool>(), 1..4u8).prop_map(|(is_commit, nth)| Step::Refuse(is_commit, nth)),
    ]
}

#[derive(Clone, Debug)]
struct Setting {
    page: usize,
    limit_pages: usize,
    read_ahead_pages: usize,
    threads: usize,
    offset: usize,
    pages: usize,
}

fn setting() -> impl Strategy<Value = Setting> {
    (
        0..3u32,
        1..7usize,
        0..4usize,
        0..3usize,
        0..200usize,
        0..20usize,
    )
        .prop_map(
            |(shift, limit_pages, read_ahead_pages, threads, offset, pages)| Setting {
                page: page_size() << shift,
                limit_pages,
                read_ahead_pages,
                threads,
                offset,
                pages,
            },
        )
}

/// Checks an error against what can go wrong: the store, and the limit for elements on more pages than it allows.
fn judge(error: &Error, flaky: &Flaky, failed: usize, may_exceed: bool, is_refused: bool) {
    let failed_now = flaky.failed.load(Ordering::Relaxed) > failed;
    assert!(
        is_injected(error) && failed_now
            || error.is_limit() && may_exceed
            || error.is_out_of_memory() && is_refused,
        "{error} (failed: {failed_now}, may exceed: {may_exceed})"
    );
}

fn run<T>(setting: &Setting, steps: &[Step], make: impl Fn(u64) -> T)
where
    T: AnyBitPattern + NoUninit + PartialEq + Debug,
{
    let size = size_of::<T>();
    let len_max = setting.pages * setting.page / size + 100;
    let mut model: Vec<T> = (0..len_max as u64 / 2).map(&make).collect();
    let mut bytes = vec![0xab; setting.offset];
    bytes.extend_from_slice(bytemuck::cast_slice(&model));
    let flaky = Flaky::new(bytes);
    let limit = setting.limit_pages * setting.page;
    let mut array = PagedArray::<T>::options()
        .writable(true)
        .offset(setting.offset as u64)
        .max_len(len_max)
        .page_size(setting.page)
        .resident_limit(limit)
        .read_ahead(setting.read_ahead_pages * setting.page)
        .threads(setting.threads)
        .open_store(std::sync::Arc::clone(&flaky))
        .unwrap();
    let base = array.as_ptr();
    // Threads that read ahead and write behind have pages for a moment, but they never make another fail.
    let exceeds = |range: &Range<usize>| {
        !range.is_empty() && {
            let first = range.start * size / setting.page;
            (range.end * size).div_ceil(setting.page) - first > setting.limit_pages
        }
    };
    let mut refusal = None;
    for step in steps {
        // In force until the end of the step after the one that made it.
        let plan = refusal.take();
        let len = model.len();
        let failed = flaky.failed.load(Ordering::Relaxed);
        let index = |at: u16| (len > 0).then(|| at as usize % len);
        let is_refused = plan.is_some();
        let judge_step = |error: &Error, flaky: &Flaky, failed: usize, may_exceed: bool| {
            judge(error, flaky, failed, may_exceed, is_refused);
        };
        let part = |at: u16, count: u16| {
            let start = at as usize % (len + 1);
            start..(start + count as usize).min(len)
        };
        match step {
            &Step::Get(at) => {
                let Some(index) = index(at) else { continue };
                match array.get(index) {
                    Ok(value) => assert_eq!(value, model[index]),
                    Err(error) => judge_step(&error, &flaky, failed, exceeds(&(index..index + 1))),
                }
                assert!(array.get(len).unwrap_err().is_out_of_range());
            }
            &Step::Set(at, value) => {
                let Some(index) = index(at) else { continue };
                let value = make(u64::from(value));
                match array.set(index, value) {
                    Ok(()) => model[index] = value,
                    Err(error) => judge_step(&error, &flaky, failed, exceeds(&(index..index + 1))),
                }
            }
            &Step::Slice(at, count) => {
                let range = part(at, count);
                match array.slice(range.clone()) {
                    Ok(slice) => {
                        assert_eq!(slice[..], model[range.clone()]);
                        assert_eq!(slice.as_ptr(), base.wrapping_add(range.start));
                    }
                    Err(error) => judge_step(&error, &flaky, failed, exceeds(&range)),
                }
            }
            &Step::Fill(at, count, value) => {
                let (range, value) = (part(at, count), make(u64::from(value)));
                match array.slice_mut(range.clone()) {
                    Ok(mut slice) => {
                        assert_eq!(slice[..], model[range.clone()]);
                        slice.fill(value);
                        model[range].fill(value);
                    }
                    Err(error) => judge_step(&error, &flaky, failed, exceeds(&range)),
                }
            }
            &Step::Scan(at, count) => {
                let range = part(at, count);
                let mut next = range.start;
                let mut is_whole = true;
                for chunk in array.scan(range.clone()).unwrap() {
                    match chunk {
                        Ok(chunk) => {
                            assert_eq!(chunk[..], model[next..next + chunk.len()]);
                            next += chunk.len();
                        }
                        Err(error) => {
                            // The element on a border makes a chunk a page longer.
                            judge_step(&error, &flaky, failed, setting.page % size != 0);
                            is_whole = false;
                        }
                    }
                }
                assert!(!is_whole || next == range.end.max(range.start));
            }
            Step::Gather(places) => {
                let indices: Vec<usize> = places.iter().filter_map(|&at| index(at)).collect();
                match array.gather(&indices) {
                    Ok(values) => {
                        let expected: Vec<T> = indices.iter().map(|&index| model[index]).collect();
                        assert_eq!(values, expected);
                    }
                    Err(error) => judge_step(&error, &flaky, failed, setting.page % size != 0),
                }
            }
            &Step::Prefetch(at, count) => array.prefetch([part(at, count)]).unwrap(),
            &Step::Writers(count, value) => {
                let value = make(u64::from(value));
                let writers = array.writers(count.into()).unwrap();
                assert!(writers.len() <= count as usize);
                let mut end = 0;
                for mut writer in writers {
                    assert_eq!(writer.range().start, end);
                    end = writer.range().end;
                    let Some(last) = writer.len().checked_sub(1) else {
                        continue;
                    };
                    match writer.set(last, value) {
                        Ok(()) => model[end - 1] = value,
                        Err(error) => judge_step(&error, &flaky, failed, exceeds(&(end - 1..end))),
                    }
                }
                assert_eq!(end, len);
            }
            &Step::Hold(at, count, other) => {
                let (range, Some(index)) = (part(at, count), index(other)) else {
                    continue;
                };
                let Ok(slice) = array.slice(range.clone()) else {
                    continue;
                };
                match array.get(index) {
                    Ok(value) => assert_eq!(value, model[index]),
                    // What is lent leaves no room, perhaps.
                    Err(error) => judge_step(&error, &flaky, failed, true),
                }
                assert_eq!(slice[..], model[range]);
            }
            Step::Flush => match array.flush() {
                Ok(()) => {
                    assert_eq!(array.stats().bytes_dirty, 0);
                    let stored = flaky.memory.to_vec();
                    assert_eq!(
                        stored[setting.offset..],
                        *bytemuck::cast_slice::<T, u8>(&model)
                    );
                }
                Err(error) => judge_step(&error, &flaky, failed, false),
            },
            &Step::Resize(to) => {
                let to = to as usize % (len_max + 3);
                match array.resize(to) {
                    Ok(()) => {
                        assert!(to <= len_max);
                        model.resize(to, T::zeroed());
                    }
                    Err(error) => judge_step(&error, &flaky, failed, to > len_max),
                }
                assert_eq!(array.len(), model.len());
            }
            &Step::Fail(after, count, is_half) => {
                let failure = if is_half {
                    Failure::HalfWay
                } else {
                    Failure::Refused
                };
                flaky.fail(after.into(), count.into(), failure);
            }
            Step::Heal => flaky.heal(),
            &Step::Refuse(is_commit, nth) => {
                drop(plan);
                let call = if is_commit {
                    Call::Commit
                } else {
                    Call::Decommit
                };
                refusal = Some(inject::refuse(call, nth.into()));
                continue;
            }
        }
        let stats = array.stats();
        assert!(stats.bytes_resident_max <= limit, "{stats:?}");
        assert!(stats.bytes_dirty <= stats.bytes_resident_max, "{stats:?}");
    }
    drop(refusal);
    flaky.heal();
    array.flush().unwrap();
    let stored = flaky.memory.to_vec();
    assert!(stored[..setting.offset].iter().all(|&byte| byte == 0xab));
    assert_eq!(
        stored[setting.offset..],
        *bytemuck::cast_slice::<T, u8>(&model)
    );
    for (start, chunk) in model.chunks(7).enumerate() {
        for (index, expected) in chunk
            .iter()
            .enumerate()
            .map(|(at, value)| (start * 7 + at, value))
        {
            let is_beyond = exceeds(&(index..index + 1));
            match array.get(index) {
                Ok(value) => assert_eq!(value, *expected),
                Err(error) => assert!(error.is_limit() && is_beyond, "{error}"),
            }
        }
    }
}

fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    let cases = if is_emulated() { 10 } else { 100 };
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(cases)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn words_as_a_vec(setting in setting(), steps in prop::collection::vec(step(), 1..60)) {
        run(&setting, &steps, |seed| seed as u32 ^ 0x0102_0304);
    }

    #[test]
    fn elements_across_pages_as_a_vec(setting in setting(), steps in prop::collection::vec(step(), 1..60)) {
        run(&setting, &steps, |seed| [seed as u8, (seed >> 8) as u8, 0x55]);
    }
}
