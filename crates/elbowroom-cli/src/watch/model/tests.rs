//! A model without a screen or threads.

use super::*;
use crate::args::{Means, Workload};
use crate::watch::look::{Bucket, Latency, RegionLook};
use crate::watch::workload::Limit;
use elbowroom::Growth;
use elbowroom_map::{Run, State};

pub(in crate::watch) const PAGE: u64 = 4096;
pub(in crate::watch) const ADDRESS: usize = 0x7000_0000;

/// Returns the workload of Microsoft's program after some faults.
pub(in crate::watch) fn seed(faults: u64) -> Look {
    let latency = Latency {
        outcome: "committed",
        count: faults,
        buckets: vec![
            Bucket {
                below_ns: 3072,
                count: faults / 2,
            },
            Bucket {
                below_ns: 12_288,
                count: faults - faults / 2,
            },
        ],
    };
    let mut pages = Vec::new();
    for (start, end, state) in [(0, faults, State::Resident), (faults, 80, State::Reserved)] {
        Run::new(start * PAGE, end * PAGE, state).push(&mut pages);
    }
    Look {
        regions: vec![RegionLook {
            name: "seed",
            backend: "protection".to_owned(),
            address: ADDRESS,
            reserved_bytes: 80 * PAGE,
            committed_bytes: faults * PAGE,
            resident_bytes: Some(faults * PAGE),
            commit_limit_bytes: 80 * PAGE,
            faults,
            commits: faults,
            declined: 0,
            pages,
        }],
        budgets: Vec::new(),
        latencies: if faults > 0 {
            vec![latency]
        } else {
            Vec::new()
        },
        workers: 1,
        ended: Vec::new(),
    }
}

pub(in crate::watch) fn fault(at: Instant, page: u64) -> Fault {
    Fault {
        at,
        duration: Duration::from_nanos(3400),
        thread: 7,
        region: ADDRESS,
        offset: page * PAGE,
        outcome: Outcome::Committed,
        committed_bytes: PAGE,
    }
}

pub(in crate::watch) fn model() -> (Model, Instant) {
    let now = Instant::now();
    (
        Model::new(Settings::new(Workload::Seed, Means::Protection), false, now),
        now,
    )
}

#[test]
fn keys_pause_and_step() {
    let (mut model, _) = model();
    assert_eq!(model.key(Key::Pause), Some(Effect::Pause(true)));
    assert_eq!(
        (model.state(), model.key(Key::Pause)),
        ("PAUSED", Some(Effect::Pause(false)))
    );
    assert_eq!(model.key(Key::Step), Some(Effect::Step));
    assert!(model.is_paused);
    assert_eq!(model.key(Key::Quit), Some(Effect::Quit));
}

#[test]
fn after_the_end_there_is_nothing_to_step() {
    let (mut model, now) = model();
    let refused = Some("by the commit limit".to_owned());
    let look = Look {
        ended: vec![Ended {
            worker: "writer",
            refused,
        }],
        ..seed(40)
    };
    model.see(look, [], 0, now);
    assert_eq!(
        (model.state(), model.status().as_str()),
        ("ENDED", "refused: writer by the commit limit")
    );
    assert_eq!(model.key(Key::Step), None);
    assert!(model.status().contains("no touches are left"));
    assert_eq!(model.log.len(), 1);
    assert_eq!(model.key(Key::Again), Some(Effect::Begin(model.settings)));
}

#[test]
fn growth_limit_and_workload_need_new_regions_and_say_so() {
    let (mut model, now) = model();
    let Some(Effect::Begin(settings)) = model.key(Key::Growth) else {
        panic!("no beginning")
    };
    assert_eq!(settings.growth, Growth::Pages(4));
    model.see(seed(3), [fault(now, 2)], 0, now);
    model.begin(settings, now);
    assert_eq!(
        model.status(),
        "growth 4 pages: new regions were made, as growth stays"
    );
    assert!(model.log.is_empty() && model.window_bytes.is_none() && model.look.faults() == 0);
    let Some(Effect::Begin(settings)) = model.key(Key::Limit) else {
        panic!("no beginning")
    };
    assert_eq!(
        (settings.limit, settings.growth),
        (Limit::Half, Growth::Pages(4))
    );
    let Some(Effect::Begin(settings)) = model.key(Key::Workload) else {
        panic!("no beginning")
    };
    assert_eq!(
        settings,
        Settings::new(Workload::Sequential, Means::Protection)
    );
    model.fail("no userfaultfd");
    assert_eq!(model.status(), "cannot start: no userfaultfd");
}

#[test]
fn any_key_ends_help_and_does_nothing_else() {
    let (mut model, _) = model();
    assert_eq!(model.key(Key::Help), None);
    assert!(model.is_helping);
    assert_eq!(model.key(Key::Quit), None);
    assert!(!model.is_helping);
    model.key(Key::Help);
    assert_eq!((model.key(Key::Other), model.is_helping), (None, false));
    model.key(Key::Help);
    assert_eq!(model.key(Key::Interrupt), Some(Effect::Quit));
}

#[test]
fn speeds_have_ends() {
    let (mut model, _) = model();
    let mut speeds = Vec::new();
    for _ in 0..20 {
        let Some(Effect::Speed(speed)) = model.key(Key::Faster) else {
            panic!("no speed")
        };
        speeds.push(speed);
    }
    assert_eq!((speeds[0], speeds[19]), (1, *SPEEDS.end()));
}

#[test]
fn rates_are_of_the_last_second() {
    let (mut model, now) = model();
    for tick in 0..40u64 {
        // A fault each 25 ms, from the start of the third second on.
        let faults = (tick.saturating_sub(20)) * 4;
        model.see(seed(faults), [], 0, now + Duration::from_millis(100 * tick));
    }
    assert!((model.rate() - 40.0).abs() < 1.0, "{}", model.rate());
    let rates = model.rates(4);
    assert_eq!(rates.len(), 4);
    assert!(rates.iter().all(|&faults| faults == 12), "{rates:?}");
}

#[test]
fn events_tell_windows_and_the_latest_touch() {
    let (mut model, now) = model();
    let large = Fault {
        committed_bytes: 16 * PAGE,
        ..fault(now, 0)
    };
    let limited = Fault {
        committed_bytes: 0,
        outcome: Outcome::Limited,
        ..fault(now, 33)
    };
    // Not of these regions, and of the same address before they were there.
    let foreign = Fault {
        region: 1,
        ..fault(now, 60)
    };
    let old = fault(now - Duration::from_secs(1), 50);
    model.see(
        seed(17),
        [large, fault(now, 16), limited, foreign, old],
        3,
        now,
    );
    assert_eq!(
        (model.window_bytes, model.largest_window_bytes),
        (Some(PAGE), 16 * PAGE)
    );
    assert_eq!(model.latest, Some((0, 33 * PAGE)));
    assert_eq!(model.log.len(), 3);
    assert_eq!(model.status(), "3 faults came too fast to be listed");
    for page in 0..1000 {
        model.see(seed(17), [fault(now, page % 80)], 0, now);
    }
    assert_eq!(model.log.len(), LOG);
}
