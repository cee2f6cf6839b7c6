//! Machines that are not there, judged.

use std::path::PathBuf;

use super::*;
use crate::findings::{assert_good, of_id};
use crate::os::unix::doctor::tests::good as good_unix;
use crate::os::unix::isolate::Failure;

const GIB: u64 = 1 << 30;

/// Returns a machine where all is well.
fn good() -> Facts {
    let meminfo = "MemTotal: 67108864 kB\nMemAvailable: 62914560 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n\
                   CommitLimit: 41943040 kB\nCommitted_AS: 10485760 kB\nHugePages_Total: 7\n\
                   HugePages_Free: 6\nHugepagesize: 2048 kB\n";
    let status = "Seccomp:\t0\nSeccomp_filters:\t0\nTracerPid:\t0\nTHP_enabled:\t1\n";
    let some = |text: &str| Some(text.to_owned());
    Facts {
        unix: good_unix(),
        address_bits: Ok(47),
        overcommit: Some(2),
        meminfo: some(meminfo),
        status: status.to_owned(),
        budget: (30 * GIB, "commit limit".to_owned()),
        cgroups: Vec::new(),
        max_map_count: Some(1_048_576),
        mappings: Some(30),
        thp_enabled: some("madvise"),
        thp_defrag: some("madvise"),
        offers: OFFERS.map(|_| Ok(0x1ffff)),
    }
}

/// Sets a value in a file of lines such as `NAME: VALUE`.
fn set(text: &mut String, name: &str, value: &str) {
    let is_other = |line: &&str| !line.starts_with(&format!("{name}:"));
    let others: Vec<&str> = text.lines().filter(is_other).collect();
    *text = format!("{}\n{name}: {value}\n", others.join("\n"));
}

/// Sets the answer of a probe.
fn answer(facts: &mut Facts, id: &str, probe: Probe) {
    let at = OFFERS.iter().position(|offer| offer.id == id).unwrap();
    facts.offers[at] = probe;
}

/// Returns the finding with this id, when a good machine is changed.
fn judged(id: &str, change: impl FnOnce(&mut Facts)) -> Finding {
    let mut facts = good();
    change(&mut facts);
    of_id(facts.judge(), id)
}

#[test]
fn nothing_is_wrong_with_a_good_machine() {
    assert_good(&good().judge());
}

#[test]
fn unknown_facts_are_noted() {
    let unknown = Facts {
        overcommit: None,
        meminfo: None,
        status: String::new(),
        max_map_count: None,
        mappings: None,
        thp_enabled: None,
        thp_defrag: None,
        address_bits: Err(Failure::Lost("no fork".to_owned())),
        ..good()
    };
    let notes = unknown
        .judge()
        .iter()
        .filter(|finding| finding.level == Level::Note)
        .count();
    // Memory is in three of them.
    assert_eq!(notes, 10);
}

#[test]
fn the_mode_of_overcommit_decides_what_a_limit_means() {
    assert_eq!(
        judged("overcommit", |facts| facts.overcommit = Some(0)).level,
        Level::Note
    );
    assert_eq!(
        judged("overcommit", |facts| facts.overcommit = Some(1)).level,
        Level::Warning
    );
    let committed = |facts: &mut Facts, gib: u64| {
        let kib = format!("{} kB", gib << 20);
        set(facts.meminfo.as_mut().unwrap(), "Committed_AS", &kib);
    };
    let full = |facts: &mut Facts| committed(facts, 41);
    let finding = judged("commit_limit", full);
    assert_eq!(
        (finding.level, &finding.value["left_bytes"]),
        (Level::Missing, &json!(0))
    );
    let finding = judged("commit_limit", |facts| {
        full(facts);
        facts.overcommit = Some(0);
    });
    assert_eq!(
        (finding.level, finding.means.as_str()),
        (
            Level::Note,
            "Not enforced in this mode: no commit fails because of it."
        )
    );
    let finding = judged("commit_limit", |facts| committed(facts, 37));
    assert_eq!(finding.level, Level::Warning);
    assert_eq!(
        judged("process_budget", |facts| facts.budget.0 = 1 << 20).level,
        Level::Warning
    );
}

#[test]
fn the_tightest_group_is_told() {
    let limit = |limit_bytes: u64, is_hard| {
        let mut limit = elbowroom::system_limits().remove(0);
        limit.file = Some(PathBuf::from(format!("/{limit_bytes}")));
        limit.limit_bytes = limit_bytes as usize;
        limit.used_bytes = GIB as usize / 2;
        limit.is_hard = is_hard;
        limit
    };
    let finding = judged("cgroup_memory", |facts| {
        facts.cgroups = vec![limit(9 * GIB, true), limit(GIB, false)]
    });
    assert_eq!(finding.level, Level::Warning);
    assert!(
        finding.found.starts_with("1 GiB, 512 MiB used") && finding.means.contains("slows"),
        "{finding:?}"
    );
    assert_eq!(finding.value.as_array().unwrap().len(), 2);
    let finding = judged("cgroup_memory", |facts| {
        facts.cgroups = vec![limit(9 * GIB, true)]
    });
    assert_eq!(finding.level, Level::Note);
    assert!(finding.means.contains("ends a process"), "{finding:?}");
}

#[test]
fn mappings_run_out() {
    assert_eq!(
        judged("max_map_count", |facts| facts.max_map_count = Some(65_530)).level,
        Level::Note
    );
    let finding = judged("max_map_count", |facts| facts.mappings = Some(1_048_000));
    assert_eq!(finding.level, Level::Warning);
    assert!(finding.means.ends_with("some 288 runs."), "{finding:?}");
}

#[test]
fn filters_and_debuggers_are_told() {
    let mode = |mode: &'static str| {
        judged("seccomp", |facts| set(&mut facts.status, "Seccomp", mode)).level
    };
    assert_eq!(
        [mode("1"), mode("2"), mode("3")],
        [Level::Missing, Level::Note, Level::Note]
    );
    let finding = judged("debugger", |facts| {
        set(&mut facts.status, "TracerPid", "17")
    });
    assert_eq!((finding.level, &finding.value), (Level::Note, &json!(17)));
}

#[test]
fn huge_pages_may_cost() {
    let mode = |mode: &'static str| {
        judged("transparent_huge_pages", move |facts| {
            facts.thp_enabled = Some(mode.to_owned())
        })
    };
    assert_eq!(
        (mode("always").level, mode("never").level),
        (Level::Note, Level::Note)
    );
    let finding = judged("transparent_huge_pages_defrag", |facts| {
        facts.thp_enabled = Some("always".to_owned());
        facts.thp_defrag = Some("always".to_owned());
    });
    assert_eq!(finding.level, Level::Warning);
    let finding = judged("transparent_huge_pages", |facts| {
        set(&mut facts.status, "THP_enabled", "0");
    });
    assert!(finding.means.starts_with("Switched off"), "{finding:?}");
}

#[test]
fn what_the_kernel_lacks_is_noted_and_why() {
    let judged = |id, probe: Probe| judged(id, |facts| answer(facts, id, probe));
    let finding = judged("guard_install", Err(Failure::Killed(libc::SIGSYS)));
    assert_eq!(
        (finding.level, &finding.value),
        (Level::Note, &json!(false))
    );
    assert_eq!(
        finding.found,
        "no: a seccomp filter ends the process that asks"
    );
    let finding = judged("guard_install", Err(Failure::Lost("no child".to_owned())));
    assert!(finding.value.is_null());
    let refused = || Err(Failure::Refused(libc::EPERM));
    let finding = judged("userfault_backend", refused());
    assert_eq!(finding.level, Level::Note);
    assert!(finding.found.starts_with("does not work: "), "{finding:?}");
    let finding = judged("userfault_monitor_backend", refused());
    assert!(
        finding.level == Level::Note && finding.means.contains("CAP_SYS_PTRACE"),
        "{finding:?}"
    );
}

#[test]
fn the_features_are_those_of_the_first_door_that_opens() {
    let features = |full: Probe, user: Probe| {
        judged("userfaultfd_features", |facts| {
            answer(facts, "userfaultfd", full);
            answer(facts, "userfaultfd_user_mode", user);
            answer(
                facts,
                "dev_userfaultfd",
                Err(Failure::Refused(libc::ENOENT)),
            );
        })
    };
    let refused = || Err(Failure::Refused(libc::EPERM));
    let finding = features(refused(), Ok(1 << 7));
    assert_eq!(
        (finding.level, finding.value),
        (Level::Ok, json!(["SIGBUS"]))
    );
    let finding = features(Ok(1), refused());
    assert_eq!(
        (finding.level, finding.value),
        (Level::Note, json!(["PAGEFAULT_FLAG_WP"]))
    );
    assert_eq!(features(refused(), refused()).value, json!([]));
}

#[test]
fn memory_is_read() {
    let finding = judged("hugetlb", |_| {});
    assert_eq!(finding.found, "7 pages of 2 MiB, 6 free");
    assert_eq!(
        judged("memory", |_| {}).found,
        "60 GiB available of 64 GiB, no swap"
    );
    let finding = judged("memory", |facts| {
        let meminfo = facts.meminfo.as_mut().unwrap();
        set(meminfo, "SwapTotal", "4 kB");
        set(meminfo, "SwapFree", "3 kB");
    });
    assert!(
        finding.found.ends_with(", swap 3 KiB of 4 KiB"),
        "{finding:?}"
    );
    let finding = judged("memory", |facts| {
        facts.meminfo = Some("MemTotal: 8 kB\n".to_owned())
    });
    assert!(finding.value.is_null(), "{finding:?}");
}
