//! Figures from /proc, and the peer that exists on Linux only.

use std::env::consts::ARCH;
use std::fs::File;
use std::os::unix::fs::FileExt;

use elbowroom_measure::proc;

use super::Memory;

/// Whether a child process can use mimalloc as its global allocator.
pub(crate) const HAS_MIMALLOC: bool = true;

/// Returns exact figures: proc_pid_smaps(5) walks the page tables, while other files show counters that lag behind.
pub(crate) fn memory() -> Option<Memory> {
    let smaps = proc::text("/proc/self/smaps_rollup")?;
    let status = proc::text("/proc/self/status")?;
    Some(Memory {
        resident: proc::field_bytes(&smaps, "Rss")?,
        committed: proc::field_bytes(&status, "VmData")?,
    })
}

/// An open /proc/self/statm.
pub(crate) struct MemoryGauge {
    statm: File,
}

impl MemoryGauge {
    pub(crate) fn new() -> Option<MemoryGauge> {
        Some(MemoryGauge {
            statm: File::open("/proc/self/statm").ok()?,
        })
    }

    /// Returns the figures of [`memory`] with less precision: stacks count as committed, and the resident size can be
    /// wrong by some hundred KiB.
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

/// Returns the load averages of the last 1, 5 and 15 minutes.
pub(crate) fn load() -> Option<String> {
    let text = proc::text("/proc/loadavg")?;
    let averages: Vec<&str> = text.split_whitespace().take(3).collect();
    Some(averages.join(" "))
}

pub(crate) fn machine() -> Vec<(&'static str, String)> {
    let read = |path: &str| {
        proc::text(path).map_or_else(|| "not known".to_owned(), |text| text.trim().to_owned())
    };
    let cpuinfo = read("/proc/cpuinfo");
    // The name is followed by tabs and a colon.
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    let mut processor = field("model name").unwrap_or_else(|| ARCH.to_owned());
    if field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")) {
        processor += ", in a virtual machine";
    }
    let meminfo = read("/proc/meminfo");
    let memory = |name| {
        let bytes = proc::field_bytes(&meminfo, name);
        bytes.map_or(String::new(), |bytes| format!("{} MiB", bytes >> 20))
    };
    let (total, free) = (memory("MemTotal"), memory("MemAvailable"));
    let system = format!("Linux {} {ARCH}", read("/proc/sys/kernel/osrelease"));
    let huge = |file: &str| read(&format!("/sys/kernel/mm/transparent_hugepage/{file}"));
    vec![
        ("processor", processor),
        ("system", system),
        ("memory", format!("{total}, {free} of it free at the start")),
        ("transparent huge pages", huge("enabled")),
        ("their defragmentation", huge("defrag")),
        (
            "vm.overcommit_memory",
            read("/proc/sys/vm/overcommit_memory"),
        ),
        ("vm.max_map_count", read("/proc/sys/vm/max_map_count")),
    ]
}

/// Memory whose faults a signal handler passes to a thread over a pipe.
pub(crate) struct PipeManaged(userspace_pagefault::PagedSegment<'static>);

/// Leaves every new page zero.
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
