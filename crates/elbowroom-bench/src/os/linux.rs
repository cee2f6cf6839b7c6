//! What Linux tells in /proc, and the peer that is built for it only.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::Memory;

/// Whether a child can have mimalloc for its global allocator.
pub(crate) const HAS_MIMALLOC: bool = true;

/// Exact figures: proc_pid_smaps(5) walks the page tables, where other files give counters that lag behind.
pub(crate) fn memory() -> Option<Memory> {
    let smaps = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(Memory {
        resident: kilobytes(&smaps, "Rss:")?,
        committed: kilobytes(&status, "VmData:")?,
    })
}

/// The value of a line such as `Rss:   12 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// /proc/self/statm, kept open.
pub(crate) struct MemoryGauge {
    statm: File,
}

impl MemoryGauge {
    pub(crate) fn new() -> Option<MemoryGauge> {
        Some(MemoryGauge {
            statm: File::open("/proc/self/statm").ok()?,
        })
    }

    /// As [`memory`], but with the pages of stacks counted as committed, and what is resident off by some hundred KiB.
    pub(crate) fn read(&self) -> Memory {
        let mut text = [0; 256];
        let len = self.statm.read_at(&mut text, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..len]);
        // proc_pid_statm(5): size, resident, shared, text, lib, data.
        let pages: Vec<u64> = text
            .split_whitespace()
            .filter_map(|field| field.parse().ok())
            .collect();
        let bytes = |field: usize| {
            pages
                .get(field)
                .map_or(0, |pages| pages * elbowroom::page_size() as u64)
        };
        Memory {
            resident: bytes(1),
            committed: bytes(5),
        }
    }
}

/// The load average of the last minute, five and fifteen.
pub(crate) fn load() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    Some(
        text.split_whitespace()
            .take(3)
            .collect::<Vec<_>>()
            .join(" "),
    )
}

pub(crate) fn machine() -> Vec<(&'static str, String)> {
    let read = |path: &str| {
        fs::read_to_string(path).map_or_else(|_| "not known".to_owned(), |text| text.trim().into())
    };
    let cpuinfo = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    let is_virtual =
        field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let model = field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let meminfo = read("/proc/meminfo");
    let memory = |name: &str| {
        kilobytes(&meminfo, name).map_or(String::new(), |bytes| format!("{} MiB", bytes >> 20))
    };
    vec![
        (
            "processor",
            if is_virtual {
                format!("{model}, in a virtual machine")
            } else {
                model
            },
        ),
        (
            "system",
            format!(
                "Linux {} {}",
                read("/proc/sys/kernel/osrelease"),
                std::env::consts::ARCH
            ),
        ),
        (
            "memory",
            format!(
                "{}, {} of it free at the start",
                memory("MemTotal:"),
                memory("MemAvailable:")
            ),
        ),
        (
            "transparent huge pages",
            read("/sys/kernel/mm/transparent_hugepage/enabled"),
        ),
        (
            "their defragmentation",
            read("/sys/kernel/mm/transparent_hugepage/defrag"),
        ),
        (
            "vm.overcommit_memory",
            read("/proc/sys/vm/overcommit_memory"),
        ),
        ("vm.max_map_count", read("/proc/sys/vm/max_map_count")),
    ]
}

/// Memory whose faults a signal handler hands to a thread, over a pipe.
pub(crate) struct PipeManaged(userspace_pagefault::PagedSegment<'static>);

/// Gives every page as it is: zero.
struct Zeros;

impl userspace_pagefault::PageStore for Zeros {
    fn page_fault(
        &mut self,
        _: usize,
        _: usize,
        _: userspace_pagefault::AccessType,
    ) -> Option<userspace_pagefault::PageChunks<'_>> {
        None
    }
}

impl PipeManaged {
    pub(crate) fn new(len: usize) -> Result<PipeManaged, String> {
        let segment = userspace_pagefault::PagedSegment::new(len, Zeros, None);
        segment
            .map(PipeManaged)
            .map_err(|error| format!("{error:?}"))
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.0.as_raw_parts().0
    }
}
