//! The optional features of this kernel.

use elbowroom::Backend;
use serde_json::json;

use super::super::probe::{self, Door};
use crate::findings::{Finding, Section};
use crate::os::unix::doctor::touch;
use crate::os::unix::isolate::{Failure, Probe, isolated};

/// An optional feature of the kernel, which a probe detects.
pub(super) struct Offer {
    pub(super) id: &'static str,
    what: &'static str,
    pub(super) probe: fn() -> Probe,
    /// The meaning with the feature, and without it.
    with: &'static str,
    without: &'static str,
}

const fn offer(
    id: &'static str,
    what: &'static str,
    probe: fn() -> Probe,
    with: &'static str,
    without: &'static str,
) -> Offer {
    Offer {
        id,
        what,
        probe,
        with,
        without,
    }
}

const WORTH: &str = "Only regions with a Backend of that name use it; others commit by mprotect.";

pub(super) const OFFERS: [Offer; 10] = [
    offer(
        "populate_write",
        "MADV_POPULATE_WRITE",
        probe::populate_write,
        "Pages can be prefaulted, and access to them can be tested without a fault.",
        "Since 5.14. Access to a page is looked up in /proc instead, which is slower.",
    ),
    offer(
        "guard_install",
        "MADV_GUARD_INSTALL",
        probe::guard_install,
        "A guard page can lie inside a mapping, and differs from a page that a touch may commit.",
        "Since 6.13. Without it, each guard page is a separate mapping.",
    ),
    offer(
        "pagemap_scan",
        "PAGEMAP_SCAN",
        probe::pagemap_scan,
        "`elbowroom map` finds resident and huge pages by ranges.",
        "Since 6.7. `elbowroom map` reads page by page, and cannot tell which pages are huge.",
    ),
    offer(
        "procmap_query",
        "PROCMAP_QUERY",
        probe::procmap_query,
        "A mapping's protection can be asked by address.",
        "Since 6.11. A mapping's protection is read from /proc/self/maps: slower, the more there are.",
    ),
    offer(
        "anonymous_names",
        "names of mappings",
        probe::anonymous_names,
        "A region's name is shown in /proc/PID/maps and by `elbowroom map`, as [anon:NAME].",
        "The kernel was built without CONFIG_ANON_VMA_NAME: a region's name is in errors only, and not in \
         /proc/PID/maps.",
    ),
    offer(
        "userfault_backend",
        "Backend::Userfault",
        || isolated(|| touch(Backend::Userfault)),
        "Tried in a child process. Any number of scattered pages in one mapping; its commits are not charged.",
        "Regions commit by mprotect, at most half as many separate runs of pages as there may be mappings.",
    ),
    offer(
        "userfault_monitor_backend",
        "Backend::UserfaultMonitor",
        || isolated(|| touch(Backend::UserfaultMonitor)),
        "Tried in a child process. Touches by system calls also commit.",
        "System calls fail with EFAULT on pages that are not committed. It takes CAP_SYS_PTRACE, \
         vm.unprivileged_userfaultfd=1 or access to /dev/userfaultfd.",
    ),
    offer(
        "userfaultfd",
        "userfaultfd",
        || probe::userfaultfd(Door::Full),
        "Also for faults of system calls, which takes a privilege or vm.unprivileged_userfaultfd=1.",
        WORTH,
    ),
    offer(
        "userfaultfd_user_mode",
        "userfaultfd, user mode",
        || probe::userfaultfd(Door::UserMode),
        "UFFD_USER_MODE_ONLY: without privilege, for faults of the program alone.",
        WORTH,
    ),
    offer(
        "dev_userfaultfd",
        "/dev/userfaultfd",
        || probe::userfaultfd(Door::Device),
        "Open to users with permission for the file.",
        WORTH,
    ),
];

/// Returns the finding on a feature.
pub(super) fn judge((offer, probe): (&Offer, &Probe)) -> Finding {
    let finding = Finding::new(offer.id, Section::Kernel, offer.what);
    let [yes, no] = match offer.id.ends_with("_backend") {
        true => ["works", "does not work"],
        false => ["yes", "no"],
    };
    match probe {
        Ok(_) => finding.found(yes, true).means(offer.with),
        Err(Failure::Lost(why)) => finding.unknown(format_args!("It could not be tried: {why}")),
        Err(why) => finding
            .found(format!("{no}: {why}"), false)
            .note(offer.without),
    }
}

/// Returns the finding on the features of a userfaultfd, which the probes reported when they opened one.
pub(super) fn userfaultfd_features(offers: &[Probe]) -> Finding {
    let what = "userfaultfd features";
    let finding = Finding::new("userfaultfd_features", Section::Kernel, what);
    let doors = OFFERS.iter().zip(offers);
    let mut doors = doors.filter(|(offer, _)| offer.id.contains("userfaultfd"));
    let Some(bits) = doors.find_map(|(_, bits)| bits.as_ref().ok()) else {
        return finding
            .found("none that could be asked for", json!([]))
            .note(WORTH);
    };
    let names = UFFD_FEATURES.split(' ').enumerate();
    let names: Vec<&str> = names
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, name)| name)
        .collect();
    let finding = finding.found(names.join(" "), json!(names));
    if names.contains(&"SIGBUS") {
        finding.means("Faults can come as SIGBUS, which Backend::Userfault takes.")
    } else {
        finding.note("Faults cannot come as SIGBUS, without which there is no Backend::Userfault.")
    }
}

/// UFFD_FEATURE_* (include/uapi/linux/userfaultfd.h), in the order of their bits.
const UFFD_FEATURES: &str = "PAGEFAULT_FLAG_WP EVENT_FORK EVENT_REMAP EVENT_REMOVE MISSING_HUGETLBFS MISSING_SHMEM \
    EVENT_UNMAP SIGBUS THREAD_ID MINOR_HUGETLBFS MINOR_SHMEM EXACT_ADDRESS WP_HUGETLBFS_SHMEM WP_UNPOPULATED POISON \
    WP_ASYNC MOVE";
