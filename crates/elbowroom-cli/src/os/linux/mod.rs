//! Linux: figures from /proc.

#![allow(unsafe_code, reason = "getauxval and mincore")]

mod doctor;
mod probe;

use elbowroom_map::Snapshot;
use elbowroom_measure::proc;

use super::plain::Accounting;
use crate::usage::Usage;

pub(crate) use super::unix::signals::system;
pub(crate) use super::unix::{
    forgo_core_file, free_bytes, give_owner, is_utf8, plant_other_fault, terminal_is_gone,
    when_asked_to_end,
};
pub(crate) use doctor::examine;

pub(crate) fn usage() -> Usage {
    let mappings = Snapshot::of_self().ok().map(|snapshot| snapshot.total());
    Usage {
        system_commit_bytes: meminfo("Committed_AS"),
        process_commit_bytes: mappings.and_then(|mappings| mappings.charged_bytes),
        resident_bytes: mappings.and_then(|mappings| mappings.resident_bytes),
        kernel_faults: super::unix::minor_faults(),
    }
}

/// proc_sys_vm(5): overcommit_memory is 0 for a heuristic, 1 for always and 2 for strict accounting.
pub(crate) fn accounting() -> Accounting {
    match proc::number("/proc/sys/vm/overcommit_memory") {
        Some(1) => Accounting::Unlimited,
        Some(0 | 2) => Accounting::Limited,
        _ => Accounting::Unknown,
    }
}

/// Returns a size of proc_meminfo(5).
fn meminfo(name: &str) -> Option<u64> {
    proc::field_bytes(&proc::text("/proc/meminfo")?, name)
}

/// Since Linux 3.14.
pub(crate) fn available_bytes() -> Option<u64> {
    meminfo("MemAvailable")
}

/// Strict accounting refuses beyond CommitLimit, the heuristic beyond all memory and swap.
pub(crate) fn commit_limit_bytes() -> Option<u64> {
    let bytes = |name| meminfo(name).unwrap_or(0);
    let limit = bytes("CommitLimit").max(bytes("MemTotal") + bytes("SwapTotal"));
    (limit > 0).then_some(limit)
}

/// Returns the bytes of this process that are in memory (proc_pid_statm(5)). Cheaper than [`usage`].
fn resident_bytes() -> Option<u64> {
    let statm = proc::text("/proc/self/statm")?;
    statm
        .split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()?
        .checked_mul(elbowroom::page_size() as u64)
}

/// Returns which pages of a region are in memory: mincore(2).
pub(crate) fn resident_pages(
    region: &elbowroom::Region,
    _: &[elbowroom::Span],
) -> Option<Vec<bool>> {
    // No system has smaller pages. An emulator whose pages are larger than its machine's may answer for the machine's.
    const LEAST_PAGE: usize = 4096;
    let mut pages = vec![0u8; region.len() / LEAST_PAGE];
    // SAFETY: the addresses are only looked up, and the answer is a byte for each page of the length: at most as many
    // as there is room for.
    let result = unsafe { libc::mincore(region.as_ptr().cast(), region.len(), pages.as_mut_ptr()) };
    pages.truncate(region.len() / elbowroom::page_size());
    // The other bits mean nothing.
    (result == 0).then(|| pages.into_iter().map(|page| page & 1 != 0).collect())
}

/// Returns the largest size of a signal frame, which depends on the processor's registers (getauxval(3), since 5.14).
fn signal_frame_max_bytes() -> u64 {
    const AT_MINSIGSTKSZ: libc::c_ulong = 51;
    // SAFETY: getauxval has no preconditions; it returns 0 for an unknown entry.
    match unsafe { libc::getauxval(AT_MINSIGSTKSZ) } {
        0 => libc::MINSIGSTKSZ as u64,
        bytes => bytes,
    }
}
