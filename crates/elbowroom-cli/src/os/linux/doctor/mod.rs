//! The facts that `elbowroom doctor` gathers on Linux, and their findings. The findings are a pure function of the
//! facts.

mod kernel;

use std::path::Path;

use elbowroom::{Budget, SystemLimit};
use serde_json::{Value, json};

use super::probe;
use crate::findings::{self, Finding, Level, Report, Section};
use crate::os::unix::doctor::{Facts as UnixFacts, Used};
use crate::os::unix::isolate::Probe;
use crate::size::human;
use elbowroom_measure::proc::{chosen, field, field_bytes, number, text};
use kernel::OFFERS;

/// The gathered facts; `None` if a file is missing or unreadable.
#[derive(Clone, Debug)]
struct Facts {
    unix: UnixFacts,
    address_bits: Probe,
    overcommit: Option<u64>,
    /// /proc/meminfo and /proc/self/status.
    meminfo: Option<String>,
    status: String,
    /// The limit of [`Budget::for_process`], and where it comes from.
    budget: (u64, String),
    /// The limits of control groups.
    cgroups: Vec<SystemLimit>,
    max_map_count: Option<u64>,
    mappings: Option<u64>,
    thp_enabled: Option<String>,
    thp_defrag: Option<String>,
    /// In the order of [`OFFERS`].
    offers: [Probe; OFFERS.len()],
}

pub(crate) fn examine() -> Report {
    let facts = Facts::gather();
    Report::new(facts.unix.system.clone(), facts.judge())
}

impl Facts {
    fn gather() -> Facts {
        let status = text("/proc/self/status").unwrap_or_default();
        let used: Used =
            ["VmSize", "VmData", "VmLck", "VmStk"].map(|name| field_bytes(&status, name));
        let budget = Budget::for_process();
        let huge = |file: &str| {
            let text = text(format!("/sys/kernel/mm/transparent_hugepage/{file}"))?;
            chosen(&text).map(str::to_owned)
        };
        Facts {
            unix: UnixFacts::gather(used, super::signal_frame_max_bytes(), super::resident_bytes),
            address_bits: probe::address_bits(),
            overcommit: number("/proc/sys/vm/overcommit_memory"),
            meminfo: text("/proc/meminfo"),
            status,
            budget: (budget.limit_bytes() as u64, budget.name().to_owned()),
            cgroups: elbowroom::system_limits()
                .into_iter()
                .filter(|limit| limit.file.is_some())
                .collect(),
            max_map_count: number("/proc/sys/vm/max_map_count"),
            mappings: text("/proc/self/maps").map(|maps| maps.lines().count() as u64),
            thp_enabled: huge("enabled"),
            thp_defrag: huge("defrag"),
            offers: OFFERS.map(|offer| (offer.probe)()),
        }
    }

    /// Judges the facts.
    fn judge(&self) -> Vec<Finding> {
        let mut findings = self.unix.judge();
        findings.extend([
            self.address_bits(),
            self.overcommit(),
            self.commit_limit(),
            findings::process_budget(self.budget.0, &self.budget.1),
            self.memory(),
        ]);
        findings.extend([
            self.cgroups(),
            self.mappings(),
            self.seccomp(),
            self.tracer(),
        ]);
        findings.extend([
            self.huge_pages(),
            self.huge_page_effort(),
            self.huge_page_pool(),
        ]);
        findings.extend(OFFERS.iter().zip(&self.offers).map(kernel::judge));
        findings.push(kernel::userfaultfd_features(&self.offers));
        findings
    }

    fn address_bits(&self) -> Finding {
        let finding = Finding::new("address_bits", Section::Addresses, "address space");
        match &self.address_bits {
            Ok(bits) => {
                let finding = finding.found(format!("{bits} bits: {}", human(1 << bits)), *bits);
                match bits {
                    ..=42 => finding.note("Few addresses: large reservations may not fit."),
                    48.. => finding.means(
                        "Found by trying. On x86-64 the kernel gives addresses above 47 bits only on request.",
                    ),
                    _ => finding.means("Found by trying. The total that one process can reserve."),
                }
            }
            Err(why) => finding.unknown(why),
        }
    }

    fn overcommit(&self) -> Finding {
        let finding = Finding::new("overcommit", Section::Commit, "overcommit");
        let found = |text: &str, mode: u64| {
            finding
                .clone()
                .found(format!("{text} (vm.overcommit_memory is {mode})"), mode)
        };
        match self.overcommit {
            Some(mode @ 0) => found("heuristic", mode).note(
                "One commit is refused if it is larger than all memory and swap together; many smaller ones are not. \
                 When memory runs out, the kernel ends a process. Give regions a limit of their own: commit_limit, a \
                 Budget, Budget::for_process().",
            ),
            Some(mode @ 1) => found("without limit", mode).but(
                Level::Warning,
                "No commit is refused. When memory runs out, the kernel ends a process. Only your own limits \
                 (commit_limit, a Budget) refuse commits before that.",
                "sysctl vm.overcommit_memory=0, or 2 for commits that fail as errors",
            ),
            Some(mode @ 2) => found("strict", mode).means(
                "The kernel counts committed memory. A commit past the limit fails with an error, and no process is \
                 ended.",
            ),
            _ => finding.unknown("/proc/sys/vm/overcommit_memory cannot be read"),
        }
    }

    /// Returns a figure of /proc/meminfo, in bytes or, without a unit, as it is.
    fn meminfo(&self, name: &str) -> Option<u64> {
        let meminfo = self.meminfo.as_deref()?;
        field_bytes(meminfo, name).or_else(|| field(meminfo, name)?.parse().ok())
    }

    fn commit_limit(&self) -> Finding {
        let figures = (self.meminfo("CommitLimit"), self.meminfo("Committed_AS"));
        let (Some(limit), Some(committed)) = figures else {
            let finding = Finding::new("commit_limit", Section::Commit, "commit limit");
            return finding.unknown(NO_MEMINFO);
        };
        let change = "Add swap, or raise vm.overcommit_ratio or vm.overcommit_kbytes";
        findings::commit_limit(limit, committed, self.overcommit == Some(2), change)
    }

    fn memory(&self) -> Finding {
        let finding = Finding::new("memory", Section::Commit, "memory");
        let available = self.meminfo("MemAvailable");
        let available = available.or_else(|| self.meminfo("MemFree"));
        let (Some(total), Some(available)) = (self.meminfo("MemTotal"), available) else {
            return finding.unknown(NO_MEMINFO);
        };
        let [swap, swap_free] =
            ["SwapTotal", "SwapFree"].map(|name| self.meminfo(name).unwrap_or(0));
        let swap_text = match swap {
            0 => "no swap".to_owned(),
            _ => format!("swap {} of {}", human(swap_free), human(swap)),
        };
        let value = json!({
            "total_bytes": total, "available_bytes": available, "swap_total_bytes": swap, "swap_free_bytes": swap_free,
        });
        let text = format!(
            "{} available of {}, {swap_text}",
            human(available),
            human(total)
        );
        finding
            .found(text, value)
            .means("Touched pages can use this much before other memory must be freed.")
    }

    fn cgroups(&self) -> Finding {
        let finding = Finding::new("cgroup_memory", Section::Limits, "cgroup memory");
        let limits: Vec<Value> = self
            .cgroups
            .iter()
            .map(|limit| {
                json!({
                    "file": limit.file, "limit_bytes": limit.limit_bytes,
                    "used_bytes": limit.used_bytes, "is_hard": limit.is_hard,
                })
            })
            .collect();
        let tightest = self
            .cgroups
            .iter()
            .min_by_key(|limit| limit.available_bytes());
        let Some(tightest) = tightest else {
            return finding
                .found("no limit", json!(limits))
                .means("No control group limits memory.");
        };
        let file = tightest.file.as_deref().unwrap_or(Path::new(tightest.name));
        let text = format!(
            "{}, {} used ({})",
            human(tightest.limit_bytes as u64),
            human(tightest.used_bytes as u64),
            file.display()
        );
        let past = if tightest.is_hard {
            "ends a process of the group"
        } else {
            "slows the group down"
        };
        let means = format!(
            "Pages count when they are touched. Past it the kernel {past}; commits are not refused."
        );
        finding.found(text, json!(limits)).but(
            findings::level_of(tightest.available_bytes() as u64),
            means,
            "Keep regions below it with Budget::for_process(), or raise it in the container's or service's settings",
        )
    }

    fn mappings(&self) -> Finding {
        let finding = Finding::new("max_map_count", Section::Limits, "mappings");
        let (Some(max), Some(used)) = (self.max_map_count, self.mappings) else {
            return finding.unknown("/proc/sys/vm/max_map_count or /proc/self/maps cannot be read");
        };
        let left = max.saturating_sub(used);
        let finding = finding.found(
            format!("{max} (vm.max_map_count), {used} used"),
            json!({ "max": max, "used": used }),
        );
        let means = format!(
            "A region takes one, and up to two more for each separate run of committed pages: room for some {} runs.",
            left / 2
        );
        let change = "For sparse regions: Backend::Userfault, a larger growth window, or sysctl \
             vm.max_map_count=1048576";
        match max {
            _ if left < 1000 => finding.but(Level::Warning, means, change),
            // The kernel's default.
            ..=65_530 => finding.but(Level::Note, means, change),
            _ => finding.means(means),
        }
    }

    fn seccomp(&self) -> Finding {
        let finding = Finding::new("seccomp", Section::Limits, "seccomp");
        let filters = field(&self.status, "Seccomp_filters").filter(|&filters| filters != "0");
        match field(&self.status, "Seccomp") {
            Some("0") => finding.found("off", "off").means("No system call is filtered."),
            Some("1") => finding.found("strict", "strict").but(
                Level::Missing,
                "Only read, write and exit are permitted: every memory call fails.",
                "Use a filter that allows mmap, munmap, mprotect, madvise, rt_sigaction, sigaltstack and futex",
            ),
            Some("2") => {
                let count = filters.map(|filters| format!(" ({filters} installed)")).unwrap_or_default();
                finding.found(format!("filtered{count}"), "filtered").note(
                    "A filter may refuse calls or end the process for them. Calls that it forbids to the probes are \
                     reported below as missing.",
                )
            }
            _ => finding.unknown("/proc/self/status does not say"),
        }
    }

    fn tracer(&self) -> Finding {
        let finding = Finding::new("debugger", Section::Faults, "debugger");
        let tracer: Option<u64> = field(&self.status, "TracerPid").and_then(|pid| pid.parse().ok());
        match tracer {
            Some(0) => finding.found("none", Value::Null).means("No debugger stops at the faults of regions."),
            Some(pid) => finding.found(format!("process {pid} traces this one"), pid).but(
                Level::Note,
                "A debugger stops at each fault of a region.",
                "gdb: handle SIGSEGV nostop noprint pass; lldb: process handle SIGSEGV -s false -n false -p true",
            ),
            None => finding.unknown("/proc/self/status does not say"),
        }
    }

    fn huge_pages(&self) -> Finding {
        let finding = Finding::new("transparent_huge_pages", Section::HugePages, "transparent");
        let Some(mode) = self.thp_enabled.as_deref() else {
            let finding = finding.found("none", Value::Null);
            return finding.note(
                "This kernel has none, or does not report them. Memory consists of small pages.",
            );
        };
        let finding = finding.found(mode, mode);
        if field(&self.status, "THP_enabled") == Some("0") {
            return finding.note(
                "Switched off for this process and what it starts (prctl PR_SET_THP_DISABLE).",
            );
        }
        match mode {
            "always" => finding.but(
                Level::Note,
                "One touched byte in a committed run of 2 MiB may make all of it resident.",
                "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
            ),
            "madvise" => finding.means(
                "Memory that asks for huge pages (MADV_HUGEPAGE) gets them: large windows of Growth::Adaptive do.",
            ),
            _ => finding.but(
                Level::Note,
                "Growth::Adaptive gets none for its large windows, so the kernel handles more faults.",
                "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
            ),
        }
    }

    fn huge_page_effort(&self) -> Finding {
        let finding = Finding::new(
            "transparent_huge_pages_defrag",
            Section::HugePages,
            "made room for",
        );
        let Some(mode) = self.thp_defrag.as_deref() else {
            return finding.unknown("This kernel has no such setting, or does not tell");
        };
        let finding = finding.found(format!("{mode} (defrag)"), mode);
        match mode {
            "always" if self.thp_enabled.as_deref() == Some("always") => finding.but(
                Level::Warning,
                "A touch may wait while the kernel moves pages to make room for a huge one.",
                "echo madvise > /sys/kernel/mm/transparent_hugepage/defrag",
            ),
            "always" | "madvise" | "defer+madvise" => finding
                .means("Memory that asks for huge pages may wait for them at its first touch."),
            _ => finding.means("No touch waits for a huge page."),
        }
    }

    fn huge_page_pool(&self) -> Finding {
        let finding = Finding::new("hugetlb", Section::HugePages, "pool (hugetlb)");
        if self.meminfo.is_none() {
            return finding.unknown(NO_MEMINFO);
        }
        // Without hugetlb the kernel leaves these out.
        let [total, free, size] = ["HugePages_Total", "HugePages_Free", "Hugepagesize"]
            .map(|name| self.meminfo(name).unwrap_or(0));
        let value = json!({ "pages": total, "free_pages": free, "page_size_bytes": size });
        let text = format!("{total} pages of {}, {free} free", human(size));
        finding
            .found(text, value)
            .means("Memory that is reserved for MAP_HUGETLB. Regions do not use it.")
    }
}

const NO_MEMINFO: &str = "/proc/meminfo cannot be read";

#[cfg(test)]
mod tests;
