//! Linux: what /proc says.

#![allow(unsafe_code, reason = "prctl, getauxval, mincore and madvise")]

mod doctor;
mod probe;
mod proc;

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use proc::kibibytes;

use super::plain::{Accounting, Pages};
use crate::usage::Usage;

pub(crate) use super::unix::signals::system;
pub(crate) use super::unix::{
    cpu_time, ending, forgo_core_file, free_bytes, give_owner, is_utf8, plant_other_fault,
    terminal_is_gone, when_asked_to_end,
};
pub(crate) use doctor::examine;

pub(crate) fn usage() -> Usage {
    let mappings = Mappings::read();
    Usage {
        system_commit_bytes: committed_as(),
        process_commit_bytes: mappings.as_ref().map(|mappings| mappings.accountable_bytes),
        resident_bytes: mappings.as_ref().map(|mappings| mappings.resident_bytes),
        kernel_faults: super::unix::minor_faults(),
    }
}

/// proc_sys_vm(5): overcommit_memory is 0 for a heuristic, 1 for always and 2 for strict accounting.
pub(crate) fn accounting() -> Accounting {
    match std::fs::read_to_string("/proc/sys/vm/overcommit_memory")
        .as_deref()
        .map(str::trim)
    {
        Ok("1") => Accounting::Unlimited,
        Ok("0" | "2") => Accounting::Limited,
        _ => Accounting::Unknown,
    }
}

/// proc_meminfo(5): Committed_AS.
fn committed_as() -> Option<u64> {
    let file = File::open("/proc/meminfo").ok()?;
    BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| kibibytes(line.strip_prefix("Committed_AS:")?))
}

/// proc_meminfo(5): MemAvailable, since Linux 3.14.
pub(crate) fn available_bytes() -> Option<u64> {
    proc::field_bytes(&proc::text("/proc/meminfo")?, "MemAvailable")
}

/// proc_meminfo(5): strict accounting refuses beyond CommitLimit, the heuristic beyond all memory and swap.
pub(crate) fn commit_limit_bytes() -> Option<u64> {
    let meminfo = proc::text("/proc/meminfo")?;
    let bytes = |name| proc::field_bytes(&meminfo, name).unwrap_or(0);
    let limit = bytes("CommitLimit").max(bytes("MemTotal") + bytes("SwapTotal"));
    (limit > 0).then_some(limit)
}

/// madvise(2).
///
/// # Safety
/// `base..base + len` are whole committed pages of the caller's.
pub(super) unsafe fn bring_in(base: *mut u8, len: usize, pages: Pages) -> Result<(), String> {
    let advise = |advice: libc::c_int| {
        // SAFETY: the caller's own pages; none of these kinds of advice changes what they hold.
        let result = unsafe { libc::madvise(base.cast(), len, advice) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    match pages {
        Pages::Demand | Pages::Populated => match advise(libc::MADV_NOHUGEPAGE) {
            // A kernel without huge pages does not know the advice, and needs none.
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => {
                return Err(format!("madvise: {error}"));
            }
            _ => {}
        },
        Pages::HugePopulated => {
            if let Some(why) = no_huge_pages() {
                return Err(why);
            }
            advise(libc::MADV_HUGEPAGE).map_err(|error| format!("MADV_HUGEPAGE: {error}"))?;
        }
    }
    if pages == Pages::Demand {
        return Ok(());
    }
    advise(libc::MADV_POPULATE_WRITE).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => {
            "this kernel cannot bring pages in on request (MADV_POPULATE_WRITE, Linux 5.14)"
                .to_owned()
        }
        _ => format!("MADV_POPULATE_WRITE: {error}"),
    })
}

/// Returns why there are no transparent huge pages, or `None` if there may be some.
fn no_huge_pages() -> Option<String> {
    const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    match proc::text(SETTING) {
        None => return Some("this kernel has no transparent huge pages".to_owned()),
        Some(text) if proc::chosen(&text) == Some("never") => {
            return Some(format!(
                "{SETTING} is never; `echo madvise` into it as root turns huge pages on"
            ));
        }
        Some(_) => {}
    }
    // PR_SET_THP_DISABLE(2const).
    let status = proc::text("/proc/self/status")?;
    (proc::field(&status, "THP_enabled") == Some("0"))
        .then(|| "huge pages are off for this process (prctl)".to_owned())
}

/// The sums over this process's mappings.
#[derive(Default)]
struct Mappings {
    // Those with the flag "ac": the ones that the kernel counts in Committed_AS.
    accountable_bytes: u64,
    resident_bytes: u64,
}

impl Mappings {
    /// proc_pid_smaps(5). `None` without it, or without its VmFlags.
    fn read() -> Option<Mappings> {
        let mut file = BufReader::new(File::open("/proc/self/smaps").ok()?);
        let mut sums = Mappings::default();
        let mut size = 0;
        let mut saw_flags = false;
        // One buffer for all lines: what is measured is this process.
        let mut line = String::new();
        while file.read_line(&mut line).ok()? > 0 {
            if let Some(rest) = line.strip_prefix("Size:") {
                size = kibibytes(rest)?;
            } else if let Some(rest) = line.strip_prefix("Rss:") {
                sums.resident_bytes += kibibytes(rest)?;
            } else if let Some(flags) = line.strip_prefix("VmFlags:") {
                saw_flags = true;
                if flags.split_whitespace().any(|flag| flag == "ac") {
                    sums.accountable_bytes += size;
                }
            }
            line.clear();
        }
        saw_flags.then_some(sums)
    }
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
    // SAFETY: no preconditions; 0 for what the kernel does not tell.
    match unsafe { libc::getauxval(AT_MINSIGSTKSZ) } {
        0 => libc::MINSIGSTKSZ as u64,
        bytes => bytes,
    }
}
