//! The findings of `elbowroom doctor` on Linux. Each is a pure function of what was measured.

mod kernel;

use std::path::Path;

use elbowroom::{Budget, SystemLimit};
use serde_json::{Value, json};

use super::probe;
use crate::findings::{self, Finding, Level, Report, Section, level_of};
use crate::os::unix::doctor;
use crate::os::unix::signals::system;
use crate::size::Size;
use elbowroom_measure::proc::{chosen, field, field_bytes, number, text};
use kernel::OFFERS;

const NO_MEMINFO: &str = "/proc/meminfo cannot be read";

pub(crate) fn examine() -> Report {
    let status = text("/proc/self/status").unwrap_or_default();
    let used = ["VmSize", "VmData", "VmLck", "VmStk"].map(|name| field_bytes(&status, name));
    let mut all = doctor::findings(used, super::signal_frame_max_bytes(), super::resident_bytes);
    let huge = |file: &str| {
        let text = text(format!("/sys/kernel/mm/transparent_hugepage/{file}"))?;
        chosen(&text).map(str::to_owned)
    };
    let (huge_mode, huge_effort) = (huge("enabled"), huge("defrag"));
    let overcommit_mode = number("/proc/sys/vm/overcommit_memory");
    let meminfo = Meminfo(text("/proc/meminfo"));
    let mut limits = elbowroom::system_limits();
    limits.retain(|limit| limit.file.is_some());
    let maps = text("/proc/self/maps").map(|maps| maps.lines().count() as u64);
    let offers = OFFERS.map(|offer| (offer.probe)());
    all.extend([
        match probe::address_bits() {
            Ok(bits) => address_bits(bits),
            Err(why) => {
                Finding::new("address_bits", Section::Addresses, "address space").unknown(why)
            }
        },
        overcommit(overcommit_mode),
        commit_limit(&meminfo, overcommit_mode),
        findings::process_budget(&Budget::for_process()),
        memory(&meminfo),
        cgroups(&limits),
        mappings(number("/proc/sys/vm/max_map_count"), maps),
        seccomp(&status),
        tracer(&status),
        huge_pages(huge_mode.as_deref(), field(&status, "THP_enabled")),
        huge_page_effort(huge_effort.as_deref(), huge_mode.as_deref()),
        huge_page_pool(&meminfo),
    ]);
    all.extend(OFFERS.iter().zip(&offers).map(kernel::judge));
    all.push(kernel::userfaultfd_features(&offers));
    Report::new(system(), all)
}

/// The text of /proc/meminfo, if it can be read.
struct Meminfo(Option<String>);

impl Meminfo {
    /// Returns a figure in bytes or, without a unit, as it is.
    fn get(&self, name: &str) -> Option<u64> {
        let meminfo = self.0.as_deref()?;
        field_bytes(meminfo, name).or_else(|| field(meminfo, name)?.parse().ok())
    }
}

fn address_bits(bits: u64) -> Finding {
    let means = match bits {
        48.. => {
            "Measured with trial mappings. On x86-64 the kernel gives addresses above 47 bits only on request."
        }
        _ => "Measured with trial mappings. One process can reserve this much in total.",
    };
    findings::address_bits(bits, 42, means)
}

fn overcommit(mode: Option<u64>) -> Finding {
    let finding = Finding::new("overcommit", Section::Commit, "overcommit");
    let found = |text: &str, mode: u64| {
        finding
            .clone()
            .found(format!("{text} (vm.overcommit_memory is {mode})"), mode)
    };
    match mode {
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

fn commit_limit(meminfo: &Meminfo, mode: Option<u64>) -> Finding {
    let figures = meminfo.get("CommitLimit").zip(meminfo.get("Committed_AS"));
    let change = "Add swap, or raise vm.overcommit_ratio or vm.overcommit_kbytes";
    findings::commit_limit(figures, mode == Some(2), change, NO_MEMINFO)
}

fn memory(meminfo: &Meminfo) -> Finding {
    let available = meminfo
        .get("MemAvailable")
        .or_else(|| meminfo.get("MemFree"));
    let swap = ["SwapTotal", "SwapFree"].map(|name| meminfo.get(name).unwrap_or(0));
    findings::memory(
        meminfo.get("MemTotal").zip(available),
        Some(swap.into()),
        NO_MEMINFO,
    )
}

/// Returns the finding on the limits of control groups.
fn cgroups(limits: &[SystemLimit]) -> Finding {
    let finding = Finding::new("cgroup_memory", Section::Limits, "cgroup memory");
    let value = |limit: &SystemLimit| {
        json!({
            "file": limit.file, "limit_bytes": limit.limit_bytes,
            "used_bytes": limit.used_bytes, "is_hard": limit.is_hard,
        })
    };
    let values: Vec<Value> = limits.iter().map(value).collect();
    let Some(tightest) = limits.iter().min_by_key(|limit| limit.available_bytes()) else {
        return finding
            .found("no limit", json!(values))
            .means("No control group limits memory.");
    };
    let file = tightest.file.as_deref().unwrap_or(Path::new(tightest.name));
    let [limit, used] = [tightest.limit_bytes, tightest.used_bytes].map(|bytes| Size(bytes as u64));
    let text = format!("{limit}, {used} used ({})", file.display());
    let past = if tightest.is_hard {
        "ends a process of the group"
    } else {
        "slows the group down"
    };
    finding.found(text, json!(values)).but(
        level_of(tightest.available_bytes() as u64),
        format!("Pages count when they are touched. Beyond the limit, the kernel {past}; commits are not refused."),
        "Keep regions below it with Budget::for_process(), or raise it in the container's or service's settings",
    )
}

fn mappings(max: Option<u64>, used: Option<u64>) -> Finding {
    let finding = Finding::new("max_map_count", Section::Limits, "mappings");
    let (Some(max), Some(used)) = (max, used) else {
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

/// Returns the finding on filters of system calls, from /proc/self/status.
fn seccomp(status: &str) -> Finding {
    let finding = Finding::new("seccomp", Section::Limits, "seccomp");
    let filters = field(status, "Seccomp_filters").filter(|&filters| filters != "0");
    match field(status, "Seccomp") {
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
        _ => finding.unknown("/proc/self/status does not report it"),
    }
}

/// Returns the finding on a debugger, from /proc/self/status.
fn tracer(status: &str) -> Finding {
    let finding = Finding::new("debugger", Section::Faults, "debugger");
    let tracer: Option<u64> = field(status, "TracerPid").and_then(|pid| pid.parse().ok());
    match tracer {
        Some(0) => finding.found("none", Value::Null).means("No debugger stops at the faults of regions."),
        Some(pid) => finding.found(format!("process {pid} traces this one"), pid).but(
            Level::Note,
            "A debugger stops at each fault of a region.",
            "gdb: handle SIGSEGV nostop noprint pass; lldb: process handle SIGSEGV -s false -n false -p true",
        ),
        None => finding.unknown("/proc/self/status does not report it"),
    }
}

/// Returns the finding on the mode of huge pages. `own` is the setting of this process, 0 if they are switched off.
fn huge_pages(mode: Option<&str>, own: Option<&str>) -> Finding {
    let finding = Finding::new("transparent_huge_pages", Section::HugePages, "transparent");
    let Some(mode) = mode else {
        let finding = finding.found("none", Value::Null);
        return finding.note(
            "This kernel has none, or does not report them. Memory consists of small pages.",
        );
    };
    let finding = finding.found(mode, mode);
    if own == Some("0") {
        return finding
            .note("Switched off for this process and what it starts (prctl PR_SET_THP_DISABLE).");
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

/// Returns the finding on the work that the kernel does for huge pages, if they are in this mode.
fn huge_page_effort(effort: Option<&str>, mode: Option<&str>) -> Finding {
    let id = "transparent_huge_pages_defrag";
    let finding = Finding::new(id, Section::HugePages, "made room for");
    let Some(effort) = effort else {
        return finding.unknown("This kernel has no such setting, or does not report it");
    };
    let finding = finding.found(format!("{effort} (defrag)"), effort);
    match effort {
        "always" if mode == Some("always") => finding.but(
            Level::Warning,
            "A touch may wait while the kernel moves pages to make room for a huge one.",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/defrag",
        ),
        "always" | "madvise" | "defer+madvise" => {
            finding.means("Memory that asks for huge pages may wait for them at its first touch.")
        }
        _ => finding.means("No touch waits for a huge page."),
    }
}

fn huge_page_pool(meminfo: &Meminfo) -> Finding {
    let finding = Finding::new("hugetlb", Section::HugePages, "pool (hugetlb)");
    if meminfo.0.is_none() {
        return finding.unknown(NO_MEMINFO);
    }
    // Without hugetlb the kernel leaves these out.
    let [total, free, size] = ["HugePages_Total", "HugePages_Free", "Hugepagesize"]
        .map(|name| meminfo.get(name).unwrap_or(0));
    let value = json!({ "pages": total, "free_pages": free, "page_size_bytes": size });
    let text = format!("{total} pages of {}, {free} free", Size(size));
    finding
        .found(text, value)
        .means("Memory that is reserved for MAP_HUGETLB. Regions do not use it.")
}

#[cfg(test)]
mod tests;
