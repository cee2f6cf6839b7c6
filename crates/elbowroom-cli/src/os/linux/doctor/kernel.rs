//! What this kernel offers beyond what every kernel does.

use serde_json::json;

use super::{Facts, unknown};
use crate::findings::{Finding, Section};
use crate::os::unix::isolate::{Failure, Probe};

/// Something that the kernel offers or not, by a probe.
fn offer(
    id: &'static str,
    what: &'static str,
    probe: &Probe,
    [yes, no]: [&str; 2],
    with: &str,
    without: &str,
) -> Finding {
    let finding = Finding::new(id, Section::Kernel, what);
    match probe {
        Ok(_) => finding.found(yes, true).means(with),
        Err(Failure::Lost(why)) => unknown(finding, &format!("It could not be tried: {why}")),
        Err(why) => finding.found(format!("{no}: {why}"), false).note(without),
    }
}

impl Facts {
    pub(super) fn kernel(&self) -> [Finding; 5] {
        let offer = |id, what, probe: &Probe, with: &str, without: &str| {
            offer(id, what, probe, ["yes", "no"], with, without)
        };
        [
            offer(
                "populate_write",
                "MADV_POPULATE_WRITE",
                &self.populate_write,
                "Whether a touch will work can be asked, and pages brought in ahead, without a fault.",
                "Since 5.14. Whether a touch will work is read from /proc instead, which is slower.",
            ),
            offer(
                "guard_install",
                "MADV_GUARD_INSTALL",
                &self.guard_install,
                "Guard pages inside a mapping. They are told apart from pages that a touch may commit.",
                "Since 6.13. Guard pages are mappings of their own.",
            ),
            offer(
                "pagemap_scan",
                "PAGEMAP_SCAN",
                &self.pagemap_scan,
                "`elbowroom map` finds resident and huge pages by ranges.",
                "Since 6.7. `elbowroom map` reads page by page, and cannot tell which pages are huge.",
            ),
            offer(
                "procmap_query",
                "PROCMAP_QUERY",
                &self.procmap_query,
                "A mapping's protection can be asked by address.",
                "Since 6.11. A mapping's protection is read from /proc/self/maps: slower, the more there are.",
            ),
            offer(
                "anonymous_names",
                "names of mappings",
                &self.anonymous_names,
                "A region's name is shown in /proc/PID/maps and by `elbowroom map`, as [anon:NAME].",
                "The kernel was built without CONFIG_ANON_VMA_NAME: a region's name is in errors only, and not in \
                 /proc/PID/maps.",
            ),
        ]
    }

    pub(super) fn userfaultfd(&self) -> [Finding; 6] {
        const WORTH: &str =
            "Only regions with a Backend of that name use it; others commit by mprotect.";
        let door = |id, what, probe: &Probe, means: &str| {
            offer(id, what, probe, ["yes", "no"], means, WORTH)
        };
        let [full, user, device] = &self.userfaultfd;
        let features = Finding::new(
            "userfaultfd_features",
            Section::Kernel,
            "userfaultfd features",
        );
        let features = match full.as_ref().or(user.as_ref()).or(device.as_ref()) {
            Ok(bits) => {
                let has = |bit: u32| bits & (1 << bit) != 0;
                let names: Vec<&str> = UFFD_FEATURES
                    .iter()
                    .filter(|&&(bit, _)| has(bit))
                    .map(|&(_, name)| name)
                    .collect();
                let features = features.found(names.join(" "), json!(names));
                if has(UFFD_FEATURE_SIGBUS) {
                    features.means("Faults can come as SIGBUS, which Backend::Userfault takes.")
                } else {
                    features.note("Faults cannot come as SIGBUS, without which there is no Backend::Userfault.")
                }
            }
            Err(_) => features
                .found("none that could be asked for", json!([]))
                .note(WORTH),
        };
        let backend = |id, what, probe: &Probe, with: &str, without: &str| {
            let with = format!("Tried in a child process. {with}");
            offer(id, what, probe, ["works", "does not work"], &with, without)
        };
        [
            backend(
                "userfault_backend",
                "Backend::Userfault",
                &self.userfault_backend,
                "Any number of scattered pages in one mapping; its commits are not charged.",
                "Regions commit by mprotect, at most half as many separate runs of pages as there may be mappings.",
            ),
            backend(
                "userfault_monitor_backend",
                "Backend::UserfaultMonitor",
                &self.userfault_monitor_backend,
                "Touches by system calls also commit.",
                "System calls fail with EFAULT on pages that are not committed. It takes CAP_SYS_PTRACE, \
                 vm.unprivileged_userfaultfd=1 or access to /dev/userfaultfd.",
            ),
            door(
                "userfaultfd",
                "userfaultfd",
                full,
                "Also for faults of system calls, which takes a privilege or vm.unprivileged_userfaultfd=1.",
            ),
            door(
                "userfaultfd_user_mode",
                "userfaultfd, user mode",
                user,
                "UFFD_USER_MODE_ONLY: without privilege, for faults of the program alone.",
            ),
            door(
                "dev_userfaultfd",
                "/dev/userfaultfd",
                device,
                "Open to users with permission for the file.",
            ),
            features,
        ]
    }
}

const UFFD_FEATURE_SIGBUS: u32 = 7;

/// UFFD_FEATURE_* (include/uapi/linux/userfaultfd.h), by bit.
const UFFD_FEATURES: [(u32, &str); 17] = [
    (0, "PAGEFAULT_FLAG_WP"),
    (1, "EVENT_FORK"),
    (2, "EVENT_REMAP"),
    (3, "EVENT_REMOVE"),
    (4, "MISSING_HUGETLBFS"),
    (5, "MISSING_SHMEM"),
    (6, "EVENT_UNMAP"),
    (7, "SIGBUS"),
    (8, "THREAD_ID"),
    (9, "MINOR_HUGETLBFS"),
    (10, "MINOR_SHMEM"),
    (11, "EXACT_ADDRESS"),
    (12, "WP_HUGETLBFS_SHMEM"),
    (13, "WP_UNPOPULATED"),
    (14, "POISON"),
    (15, "WP_ASYNC"),
    (16, "MOVE"),
];
