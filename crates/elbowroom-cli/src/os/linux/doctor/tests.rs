//! Machines that are not there, judged.

use std::path::PathBuf;

use super::*;
use crate::os::unix::doctor::tests::good as good_unix;
use crate::os::unix::isolate::Failure;

const GIB: u64 = 1 << 30;

/// Returns a machine where all is well.
fn good() -> Facts {
    let memory = Memory {
        total_bytes: 64 * GIB,
        available_bytes: 60 * GIB,
        commit_limit_bytes: 40 * GIB,
        committed_bytes: 10 * GIB,
        huge_page_bytes: 2 << 20,
        ..Memory::default()
    };
    let some = |text: &str| Some(text.to_owned());
    Facts {
        unix: good_unix(),
        address_bits: Ok(47),
        overcommit: Some(2),
        memory: Some(memory),
        budget: (30 * GIB, "commit limit".to_owned()),
        cgroups: Vec::new(),
        max_map_count: Some(1_048_576),
        mappings: Some(30),
        seccomp: some("0"),
        seccomp_filters: some("0"),
        tracer: Some(0),
        thp_allowed: some("1"),
        thp_enabled: some("madvise"),
        thp_defrag: some("madvise"),
        populate_write: Ok(0),
        guard_install: Ok(0),
        pagemap_scan: Ok(0),
        procmap_query: Ok(0),
        anonymous_names: Ok(0),
        userfaultfd: [Ok(0x1ffff), Ok(0x1ffff), Ok(0x1ffff)],
        userfault_backend: Ok(2),
        userfault_monitor_backend: Ok(2),
    }
}

/// Returns the finding with this id, when a good machine is changed.
fn judged(id: &str, change: impl FnOnce(&mut Facts)) -> Finding {
    let mut facts = good();
    change(&mut facts);
    facts
        .judge()
        .into_iter()
        .find(|finding| finding.id == id)
        .unwrap()
}

#[test]
fn nothing_is_wrong_with_a_good_machine() {
    let findings = good().judge();
    for finding in &findings {
        assert_eq!(finding.level, Level::Ok, "{finding:?}");
        assert!(
            finding.change.is_none() && !finding.found.is_empty() && !finding.means.is_empty(),
            "{finding:?}"
        );
    }
    let mut ids: Vec<&str> = findings.iter().map(|finding| finding.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), findings.len());
}

#[test]
fn what_is_not_known_is_noted() {
    let unknown = Facts {
        overcommit: None,
        memory: None,
        max_map_count: None,
        mappings: None,
        seccomp: None,
        tracer: None,
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
    let full = |facts: &mut Facts| {
        let memory = facts.memory.as_mut().unwrap();
        memory.committed_bytes = memory.commit_limit_bytes + 1;
    };
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
    let finding = judged("commit_limit", |facts| {
        facts.memory.as_mut().unwrap().committed_bytes = 37 * GIB
    });
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
        judged("seccomp", move |facts| {
            facts.seccomp = Some(mode.to_owned())
        })
        .level
    };
    assert_eq!(
        [mode("1"), mode("2"), mode("3")],
        [Level::Missing, Level::Note, Level::Note]
    );
    let finding = judged("debugger", |facts| facts.tracer = Some(17));
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
        facts.thp_allowed = Some("0".to_owned())
    });
    assert!(finding.means.starts_with("Switched off"), "{finding:?}");
}

#[test]
fn what_the_kernel_lacks_is_noted_and_why() {
    let finding = judged("guard_install", |facts| {
        facts.guard_install = Err(Failure::Killed(libc::SIGSYS))
    });
    assert_eq!(
        (finding.level, &finding.value),
        (Level::Note, &json!(false))
    );
    assert_eq!(
        finding.found,
        "no: a seccomp filter ends the process that asks"
    );
    let lost = Err(Failure::Lost("no child".to_owned()));
    assert!(
        judged("guard_install", |facts| facts.guard_install = lost)
            .value
            .is_null()
    );
    let finding = judged("userfaultfd_features", |facts| {
        facts.userfaultfd = [
            Err(Failure::Refused(libc::EPERM)),
            Ok(1 << 7),
            Err(Failure::Refused(libc::ENOENT)),
        ];
    });
    assert_eq!(
        (finding.level, finding.value),
        (Level::Ok, json!(["SIGBUS"]))
    );
    let finding = judged("userfaultfd_features", |facts| {
        facts.userfaultfd = [Ok(1), Ok(1), Ok(1)]
    });
    assert_eq!(finding.level, Level::Note);
    let finding = judged("userfault_backend", |facts| {
        facts.userfault_backend = Err(Failure::Refused(libc::EPERM))
    });
    assert_eq!(finding.level, Level::Note);
    let refused = Err(Failure::Refused(libc::EPERM));
    let finding = judged("userfault_monitor_backend", |facts| {
        facts.userfault_monitor_backend = refused
    });
    assert!(
        finding.level == Level::Note && finding.means.contains("CAP_SYS_PTRACE"),
        "{finding:?}"
    );
}

#[test]
fn memory_is_read() {
    let meminfo = "MemTotal: 8 kB\nMemAvailable: 5 kB\nSwapTotal: 4 kB\nSwapFree: 3 kB\nCommitLimit: 2 kB\n\
                   Committed_AS: 1 kB\nHugePages_Total: 7\nHugePages_Free: 6\nHugepagesize: 2048 kB\n";
    let expected = Memory {
        total_bytes: 8 << 10,
        available_bytes: 5 << 10,
        swap_total_bytes: 4 << 10,
        swap_free_bytes: 3 << 10,
        commit_limit_bytes: 2 << 10,
        committed_bytes: 1 << 10,
        huge_pages: 7,
        huge_pages_free: 6,
        huge_page_bytes: 2 << 20,
    };
    assert_eq!(Memory::parse(meminfo), Some(expected));
    assert_eq!(Memory::parse("MemTotal: 8 kB\n"), None);
}
