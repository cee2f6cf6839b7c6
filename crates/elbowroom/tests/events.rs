//! The events of a recorder, and the figures of a timed region.

mod common;

use common::page;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use elbowroom::fault::{Event, Outcome, Recorder};
use elbowroom::{Backend, FaultAccess, Growth, Region, RegionBuilder, Verdict, page_size};

/// Lets one test run at a time: a process has one recorder, and the tests of this file run in parallel.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn builder(name: &str) -> RegionBuilder {
    Region::builder(page(64))
        .growth(Growth::Pages(1))
        .name(name)
}

fn events_of(recorder: &Recorder, region: &Region) -> Vec<Event> {
    recorder
        .events()
        .filter(|event| event.region == region.as_ptr().addr())
        .collect()
}

#[test]
fn an_event_tells_what_happened() {
    let _alone = one_at_a_time();
    let before = Instant::now();
    let recorder = Recorder::start(100).unwrap();
    let region = builder("tenant 7")
        .commit_limit(page(3))
        .filter(|fault| match fault.offset() / page_size() {
            9 => Verdict::Decline,
            // The filter commits by itself.
            10 => fault.commit().map_or(Verdict::Decline, |_| Verdict::Commit),
            _ => Verdict::Commit,
        })
        .build()
        .unwrap();
    region.try_write(page(1) + 8, 1u64).unwrap();
    region.try_read::<u8>(page(2)).unwrap();
    region.try_write(page(9), 1u8).unwrap_err();
    region.try_write(page(10), 1u8).unwrap();
    region.try_write(page(3), 1u8).unwrap_err();
    region.try_read::<u8>(region.len() + 1).unwrap_err();
    let events = events_of(&recorder, &region);
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.offset,
                event.access,
                event.outcome,
                event.committed_bytes,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (page(1) + 8, FaultAccess::Write, Outcome::Committed, page(1)),
            (page(2), FaultAccess::Read, Outcome::Committed, page(1)),
            (page(9), FaultAccess::Write, Outcome::Declined, 0),
            (page(10), FaultAccess::Write, Outcome::Committed, page(1)),
            (page(3), FaultAccess::Write, Outcome::Limited, 0),
            (page(64) + 1, FaultAccess::Read, Outcome::Failed, 0),
        ]
    );
    assert!(
        events
            .iter()
            .all(|event| event.region_name() == "tenant 7" && event.thread == events[0].thread)
    );
    assert!(
        events
            .iter()
            .all(|event| event.duration > Duration::ZERO && event.at >= before)
    );
    assert!(events.is_sorted_by_key(|event| event.at));
    let elsewhere = std::thread::scope(|scope| {
        scope
            .spawn(|| region.try_write(page(20), 1u8))
            .join()
            .unwrap()
            .unwrap_err();
        events_of(&recorder, &region)
    });
    assert_ne!(elsewhere[0].thread, events[0].thread);
    assert_eq!(recorder.lost(), 0);
}

#[test]
fn long_names_are_cut_between_characters() {
    let _alone = one_at_a_time();
    let recorder = Recorder::start(10).unwrap();
    let region = builder(&format!("{}öäü", "n".repeat(31))).build().unwrap();
    region.try_write(0, 1u8).unwrap();
    assert_eq!(
        events_of(&recorder, &region)[0].region_name(),
        "n".repeat(31)
    );
}

#[test]
fn there_is_one_recorder_at_a_time() {
    let _alone = one_at_a_time();
    let recorder = Recorder::start(10).unwrap();
    assert!(Recorder::start(10).is_none());
    drop(recorder);
    let region = builder("").build().unwrap();
    region.try_write(0, 1u8).unwrap();
    let recorder = Recorder::start(10).unwrap();
    assert_eq!(events_of(&recorder, &region), [], "nothing from before");
    // A panic drops a recorder on the stack.
    drop(recorder);
    drop(Recorder::start(0).unwrap());
}

#[test]
fn what_finds_no_room_is_counted() {
    let _alone = one_at_a_time();
    let recorder = Recorder::start(4).unwrap();
    let region = builder("").build().unwrap();
    for n in 0..10 {
        region.try_write(page(n), 1u8).unwrap();
    }
    let events = events_of(&recorder, &region);
    assert_eq!(
        events.iter().map(|event| event.offset).collect::<Vec<_>>(),
        [0, page(1), page(2), page(3)]
    );
    assert!(recorder.lost() >= 6);
    region.try_write(page(20), 1u8).unwrap();
    assert_eq!(events_of(&recorder, &region).len(), 1);
}

#[test]
fn many_threads_while_recorders_come_and_go() {
    let _alone = one_at_a_time();
    let region = builder("").build().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (region, done) = (&region, &done);
            scope.spawn(move || {
                for round in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                    let at = page((round * 5 + thread) % 64);
                    region.try_write(at, 1u8).unwrap();
                    region.decommit(at..at + 1).unwrap();
                }
            });
        }
        let _done = common::SetWhenDropped(&done);
        for _ in 0..common::times(200) {
            let recorder = Recorder::start(64).unwrap();
            std::thread::yield_now();
            for event in events_of(&recorder, &region) {
                assert_eq!(event.offset % page_size(), 0);
                assert!(
                    event.outcome.is_resolved() && event.committed_bytes <= page(1),
                    "{event:?}"
                );
            }
        }
    });
    // All events, if there is room for all.
    region.decommit(0..region.len()).unwrap();
    let before = region.stats().faults;
    let recorder = Recorder::start(1024).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let region = &region;
            scope.spawn(move || {
                (0..64).for_each(|n| region.try_write(page((n * 7 + thread) % 64), 1u8).unwrap())
            });
        }
    });
    let events = events_of(&recorder, &region);
    assert_eq!(events.len() as u64, region.stats().faults - before);
    assert_eq!(
        events
            .iter()
            .map(|event| event.committed_bytes)
            .sum::<usize>(),
        region.len()
    );
}

#[test]
fn a_timed_region_keeps_how_long_faults_took() {
    let _alone = one_at_a_time();
    let slow = Duration::from_millis(2);
    let region = builder("")
        .timed()
        .commit_limit(page(5))
        .filter(move |fault| {
            if fault.offset() == page(9) {
                std::thread::sleep(slow);
                return Verdict::Decline;
            }
            Verdict::Commit
        })
        .build()
        .unwrap();
    for n in 0..5 {
        region.try_write(page(n), 1u8).unwrap();
    }
    region.try_write(page(9), 1u8).unwrap_err();
    region.try_write(page(10), 1u8).unwrap_err();
    let stats = region.stats();
    let latency = |outcome| stats.latency(outcome).unwrap();
    let counts = Outcome::ALL.map(|outcome| latency(outcome).count());
    assert_eq!(counts, [5, 0, 1, 1, 0]);
    assert!(latency(Outcome::Declined).percentile(0.5) >= slow);
    assert!(latency(Outcome::Committed).percentile(1.0) > Duration::ZERO);
    assert_eq!(
        builder("").build().unwrap().stats().latency(Outcome::Raced),
        None
    );
}

#[test]
fn a_thread_that_waits_for_another_is_named() {
    let _alone = one_at_a_time();
    let recorder = Recorder::start(100).unwrap();
    let Ok(served) = builder("")
        .backend(Backend::UserfaultMonitor)
        .filter(|_| Verdict::Commit)
        .build()
    else {
        return;
    };
    let direct = builder("").build().unwrap();
    served.try_write(page(3) + 5, 1u8).unwrap();
    direct.try_write(page(3) + 5, 1u8).unwrap();
    // The waiting thread may be faster than the thread that served it.
    let mut events: Vec<Event> = Vec::new();
    while events.len() < 2 {
        let ours = [&served, &direct].map(|region| region.as_ptr().addr());
        events.extend(
            recorder
                .events()
                .filter(|event| ours.contains(&event.region)),
        );
    }
    let of = |region: &Region| {
        *events
            .iter()
            .find(|event| event.region == region.as_ptr().addr())
            .unwrap()
    };
    assert_eq!(
        of(&served).thread,
        of(&direct).thread,
        "the one that touched"
    );
    assert_eq!(
        (of(&served).outcome, of(&served).committed_bytes),
        (Outcome::Committed, page(1))
    );
}

#[cfg(feature = "tracing")]
#[test]
fn events_go_to_the_subscriber() {
    use std::sync::Arc;
    use tracing::field::{Field, Visit};
    use tracing::{Metadata, Subscriber, span};

    /// Keeps the level and the fields of each event as text.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() != "duration_ns" && field.name() != "thread" {
                self.0 += &format!(" {}={value:?}", field.name());
            }
        }
    }

    impl Subscriber for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "elbowroom::fault"
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut text = Text(event.metadata().level().to_string());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    let _alone = one_at_a_time();
    let recorder = Recorder::start(100).unwrap();
    let region = builder("log").commit_limit(page(1)).build().unwrap();
    region.try_write(0, 1u8).unwrap();
    region.try_read::<u8>(page(1)).unwrap_err();
    let kept = Kept::default();
    tracing::subscriber::with_default(kept.clone(), || assert!(recorder.trace() >= 2));
    let kept = kept.0.lock().unwrap();
    let of_log: Vec<&String> = kept
        .iter()
        .filter(|text| text.contains("region=\"log\""))
        .collect();
    let first = format!(
        "TRACE message=committed region=\"log\" offset=0 access=write committed_bytes={}",
        page(1)
    );
    let second = format!(
        "DEBUG message=limited region=\"log\" offset={} access=read committed_bytes=0",
        page(1)
    );
    assert_eq!(of_log, [&first, &second]);
}
