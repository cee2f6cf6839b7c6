//! Machines that are not there, judged.

use std::path::PathBuf;

use super::kernel::{judge, userfaultfd_features};
use super::*;
use crate::os::unix::isolate::{Failure, Probe};

#[test]
fn commits_depend_on_the_mode() {
    let meminfo = |text: &str| Meminfo(Some(text.to_owned()));
    let full = meminfo("CommitLimit: 41943040 kB\nCommitted_AS: 41943041 kB\n");
    let swap = meminfo("MemTotal: 64 kB\nMemFree: 60 kB\nSwapTotal: 4 kB\nSwapFree: 3 kB\n");
    let pool = meminfo("HugePages_Total: 7\nHugePages_Free: 6\nHugepagesize: 2048 kB\n");
    Level::Ok.is_of([
        (address_bits(47), "47 bits"),
        (address_bits(56), "only on request"),
        (overcommit(Some(2)), "strict"),
        (memory(&swap), "60 KiB available of 64 KiB, swap 3"),
        (huge_page_pool(&pool), "7 pages of 2 MiB, 6 free"),
    ]);
    Level::Note.is_of([
        (address_bits(42), "Few addresses"),
        (overcommit(None), "not known"),
        (overcommit(Some(0)), "heuristic"),
        (commit_limit(&full, Some(0)), "Not enforced"),
        (commit_limit(&Meminfo(None), Some(2)), NO_MEMINFO),
        (memory(&meminfo("MemTotal: 8 kB\n")), NO_MEMINFO),
        (huge_page_pool(&Meminfo(None)), NO_MEMINFO),
    ]);
    Level::Warning.is_of([(overcommit(Some(1)), "without limit")]);
    Level::Missing.is_of([(commit_limit(&full, Some(2)), "\"left_bytes\":0")]);
}

#[test]
fn limits_and_observers_are_told() {
    let limit = |limit_bytes: usize, is_hard| {
        let mut limit = elbowroom::system_limits().remove(0);
        limit.file = Some(PathBuf::from(format!("/{limit_bytes}")));
        (limit.limit_bytes, limit.used_bytes, limit.is_hard) = (limit_bytes, 1 << 29, is_hard);
        limit
    };
    let (large, small) = (limit(9 << 30, true), limit(1 << 30, false));
    let mappings = |max, used| mappings(Some(max), Some(used));
    let filters = "Seccomp:\t2\nSeccomp_filters:\t3\n";
    Level::Ok.is_of([
        (cgroups(&[]), "no limit"),
        (mappings(1 << 20, 30), "some 524273 runs."),
        (seccomp("Seccomp:\t0\n"), "off"),
        (tracer("TracerPid:\t0\n"), "none"),
    ]);
    Level::Note.is_of([
        (cgroups(std::slice::from_ref(&large)), "ends a process"),
        (mappings(65_530, 30), "65530"),
        (super::mappings(None, Some(1)), "cannot be read"),
        (seccomp(filters), "filtered (3 installed)"),
        (seccomp("Seccomp:\t3\n"), "not known"),
        (tracer("TracerPid:\t17\n"), "process 17"),
        (tracer(""), "not known"),
    ]);
    Level::Warning.is_of([
        (
            cgroups(&[large, small]),
            "1 GiB, 512 MiB used (/1073741824)",
        ),
        (mappings(1_048_576, 1_048_000), "some 288 runs."),
    ]);
    Level::Missing.is_of([(seccomp("Seccomp:\t1\n"), "strict")]);
}

#[test]
fn huge_pages_may_cost() {
    let (always, madvise, own) = (Some("always"), Some("madvise"), Some("1"));
    Level::Ok.is_of([
        (huge_pages(madvise, own), "MADV_HUGEPAGE"),
        (huge_page_effort(always, madvise), "may wait for them"),
        (huge_page_effort(Some("defer"), always), "No touch waits"),
    ]);
    Level::Note.is_of([
        (huge_pages(always, own), "all of it resident"),
        (huge_pages(Some("never"), own), "gets none"),
        (huge_pages(always, Some("0")), "Switched off"),
        (huge_pages(None, own), "This kernel has none"),
        (huge_page_effort(None, always), "no such setting"),
    ]);
    Level::Warning.is_of([(huge_page_effort(always, always), "A touch may wait")]);
}

#[test]
fn what_the_kernel_lacks_is_noted_and_why() {
    let judged = |id: &str, probe: Probe| {
        judge((OFFERS.iter().find(|offer| offer.id == id).unwrap(), &probe))
    };
    let refused = || Err(Failure::Refused(libc::EPERM));
    let killed = Err(Failure::Killed(libc::SIGSYS));
    let lost = Err(Failure::Lost("no child".to_owned()));
    Level::Ok.is_of([
        (judged("guard_install", Ok(0)), "\"found\":\"yes\""),
        (judged("userfault_backend", Ok(0)), "\"found\":\"works\""),
    ]);
    Level::Note.is_of([
        (judged("guard_install", killed), "no: a seccomp filter"),
        (judged("guard_install", lost), "be tried: no child."),
        (judged("userfault_backend", refused()), "does not work: "),
        (
            judged("userfault_monitor_backend", refused()),
            "CAP_SYS_PTRACE",
        ),
    ]);
}

#[test]
fn the_features_are_those_of_the_first_door_that_opens() {
    let refused = Err(Failure::Refused(libc::EPERM));
    let features = |full: &Probe, user: &Probe| {
        let offers: Vec<Probe> = OFFERS
            .iter()
            .map(|offer| match offer.id {
                "userfaultfd" => full.clone(),
                "userfaultfd_user_mode" => user.clone(),
                id if id.contains("userfaultfd") => refused.clone(),
                _ => Ok(0x1ffff),
            })
            .collect();
        userfaultfd_features(&offers)
    };
    Level::Ok.is_of([(features(&refused, &Ok(1 << 7)), "[\"SIGBUS\"]")]);
    Level::Note.is_of([
        (features(&Ok(1), &refused), "[\"PAGEFAULT_FLAG_WP\"]"),
        (features(&refused, &refused), "[]"),
    ]);
}
