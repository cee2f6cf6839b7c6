//! Linux: /proc/PID/smaps for the mappings, pagemap for the pages.

#![allow(unsafe_code, reason = "kill with signal 0")]

mod pagemap;
mod smaps;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::pages::{Run, State};
use crate::snapshot::{Figures, Kind, Mapping, Region, Snapshot};
use pagemap::{PageFlags, Pagemap};
use smaps::Entry;

/// Inaccessible memory of at most this size is a guard; more is reserved to be committed later.
const GUARD_MAX_BYTES: u64 = 64 << 10;

pub(crate) fn snapshot(pid: u32) -> Result<Snapshot, Error> {
    let started = start_time(pid);
    let folder = folder(pid);
    let smaps = fs::read(folder.join("smaps")).map_err(|error| explain(pid, &error))?;
    // Paths may be of any bytes.
    let smaps = String::from_utf8_lossy(&smaps);
    // The text is incomplete if the process ends while it is read, and empty if it has ended before.
    if started.is_none() || start_time(pid) != started {
        return Err(explain(pid, &io::Error::from_raw_os_error(libc::ESRCH)));
    }
    let entries = smaps::parse(&smaps)
        .ok_or_else(|| Error::other(format!("what /proc/{pid}/smaps says is not understood")))?;
    if entries.is_empty() {
        let why = "a part of the kernel, or a process that has ended";
        return Err(Error::gone(format!(
            "process {pid} has no memory of its own: {why}"
        )));
    }
    let program = fs::read_link(folder.join("exe")).map(|path| path.to_string_lossy().into_owned());
    let program = program
        .ok()
        .or_else(|| text(format!("/proc/{pid}/comm")).map(|name| name.trim().to_owned()));
    let mut mappings = mappings(&entries);
    classify_private(&mut mappings);
    Ok(Snapshot {
        pid,
        program: program.unwrap_or_default(),
        page_size_bytes: elbowroom::page_size() as u64,
        mappings,
    })
}

/// Returns when the process started, in ticks, which tells it from another of the same number. `None` if there is none.
fn start_time(pid: u32) -> Option<u64> {
    stat(&process_folder(pid))?.nth(19)?.parse().ok()
}

fn process_folder(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// Returns the folder that describes the memory of a process: its own, or if its first thread has ended, that of a
/// thread that still runs. The folder of a thread that has ended shows no memory.
fn folder(pid: u32) -> PathBuf {
    let process = process_folder(pid);
    let has_ended = |folder: &Path| {
        stat(folder).is_none_or(|mut fields| matches!(fields.next().as_deref(), Some("Z" | "X")))
    };
    if !has_ended(&process) {
        return process;
    }
    let threads = fs::read_dir(process.join("task")).into_iter().flatten();
    let mut folders = threads.flatten().map(|thread| thread.path());
    folders.find(|thread| !has_ended(thread)).unwrap_or(process)
}

/// Returns the fields of `stat` in the folder of a process or thread, from the third on: the state (proc_pid_stat(5)).
fn stat(folder: &Path) -> Option<impl Iterator<Item = String>> {
    let stat = text(folder.join("stat"))?;
    // The second field, in brackets, may hold anything.
    let fields: Vec<String> = stat
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    Some(fields.into_iter())
}

/// Returns an error with a remedy.
fn explain(pid: u32, error: &io::Error) -> Error {
    let code = error.raw_os_error();
    // If /proc is mounted with hidepid, it does not show processes of other users.
    let is_hidden = code == Some(libc::ENOENT) && exists(pid);
    match code {
        Some(libc::ENOENT | libc::ESRCH) if !fs::exists("/proc/self/smaps").unwrap_or(false) => {
            Error::other(
                "/proc/PID/smaps is not there: mount /proc, or take a kernel with CONFIG_PROC_PAGE_MONITOR",
            )
        }
        Some(libc::ENOENT | libc::ESRCH) if !is_hidden => {
            Error::gone(format!("there is no process {pid}, or it has just ended"))
        }
        Some(libc::EACCES | libc::EPERM | libc::ENOENT) => Error::forbidden(format!(
            "process {pid} may not be looked at: it is another user's, or protects itself; run this as that user, \
             or with CAP_SYS_PTRACE (sudo)"
        )),
        _ => Error::other(format!("process {pid} cannot be looked at: {error}")),
    }
}

/// Returns the text of a file, or `None` if it cannot be read. Names in it may have any bytes.
fn text(path: impl AsRef<Path>) -> Option<String> {
    Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned())
}

/// Returns whether there is such a process, of any user (kill(2)).
fn exists(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return false;
    };
    // SAFETY: kill has no preconditions, and signal 0 is not delivered (kill(2)).
    let result = unsafe { libc::kill(pid, 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

fn mappings(entries: &[Entry]) -> Vec<Mapping> {
    let programs: HashSet<&str> = entries
        .iter()
        .filter(|entry| {
            entry.name.starts_with('/') && entry.access.as_bytes().get(2) == Some(&b'x')
        })
        .map(|entry| entry.name.as_str())
        .collect();
    entries
        .iter()
        .map(|entry| mapping(entry, &programs))
        .collect()
}

fn mapping(entry: &Entry, programs: &HashSet<&str>) -> Mapping {
    let reserved_bytes = entry.end - entry.start;
    // A missing page of a userfaultfd range is not committed by a touch; it is reserved until it is filled.
    let is_filled_on_demand = entry.has_flag("um");
    let committed_bytes = match () {
        () if !entry.is_accessible() => 0,
        () if is_filled_on_demand => entry.resident_bytes + entry.swapped_bytes,
        () => reserved_bytes,
    };
    let figures = Figures {
        reserved_bytes,
        committed_bytes,
        charged_bytes: entry.flags.is_some().then(|| {
            if entry.has_flag("ac") {
                reserved_bytes
            } else {
                0
            }
        }),
        resident_bytes: Some(entry.resident_bytes),
        dirty_bytes: Some(entry.dirty_bytes),
        huge_bytes: Some(entry.huge_bytes),
        swapped_bytes: Some(entry.swapped_bytes),
    };
    let (kind, name) = kind_and_name(entry, programs);
    Mapping {
        start: entry.start,
        end: entry.end,
        kind,
        name,
        access: entry.access.clone(),
        allocation: None,
        figures,
    }
}

fn kind_and_name(entry: &Entry, programs: &HashSet<&str>) -> (Kind, String) {
    let name = entry.name.as_str();
    let own = |kind| (kind, name.to_owned());
    if let Some(given) = name
        .strip_prefix("[anon:")
        .and_then(|name| name.strip_suffix(']'))
    {
        return (Kind::Named, given.to_owned());
    }
    if let Some(given) = name
        .strip_prefix("[anon_shmem:")
        .and_then(|name| name.strip_suffix(']'))
    {
        return (Kind::Shared, given.to_owned());
    }
    match name {
        "[heap]" => own(Kind::Heap),
        _ if name.starts_with("[stack") => own(Kind::Stack),
        _ if name.starts_with('[') => own(Kind::System),
        "" if entry.access.ends_with('s') => own(Kind::Shared),
        // The kernel's name for mappings of MAP_HUGETLB, which no file has.
        "/anon_hugepage (deleted)" if entry.access.ends_with('s') => own(Kind::Shared),
        "/anon_hugepage (deleted)" => own(Kind::Anonymous),
        // `classify_private` decides later, from the neighbours.
        "" => own(Kind::Anonymous),
        _ if programs.contains(name) => own(Kind::Image),
        _ if ["/dev/shm/", "/memfd:", "/SYSV", "/dev/zero"]
            .iter()
            .any(|start| name.starts_with(start)) =>
        {
            own(Kind::Shared)
        }
        _ => own(Kind::File),
    }
}

/// Sets the kind of private mappings without a name. Adjacent ones are taken as one, and are a reservation if a part of
/// them is not accessible.
fn classify_private(mappings: &mut [Mapping]) {
    let is_nameless =
        |mapping: &Mapping| mapping.kind == Kind::Anonymous && mapping.name.is_empty();
    let touches = |a: &Mapping, b: &Mapping| a.end == b.start && is_nameless(a) && is_nameless(b);
    for group in mappings.chunk_by_mut(touches) {
        if !is_nameless(&group[0]) {
            continue;
        }
        let bytes: u64 = group
            .iter()
            .map(|mapping| mapping.end - mapping.start)
            .sum();
        let accessible = |mapping: &&Mapping| !mapping.access.starts_with("---");
        let kind = match group.iter().filter(accessible).count() {
            0 if bytes <= GUARD_MAX_BYTES => Kind::Guard,
            0 => Kind::Reserved,
            count if count < group.len() => Kind::Reservation,
            _ => Kind::Anonymous,
        };
        for mapping in group {
            mapping.kind = kind;
        }
    }
}

pub(crate) fn page_runs(snapshot: &Snapshot, region: &Region) -> Result<Vec<Run>, Error> {
    let pid = snapshot.pid;
    let pagemap = Pagemap::open(&folder(pid), snapshot.page_size_bytes)
        .map_err(|error| explain(pid, &error))?;
    let mut runs = Vec::new();
    for mapping in &snapshot.mappings {
        if region.start <= mapping.start && mapping.end <= region.end {
            add_runs(&pagemap, mapping, &mut runs).map_err(|error| explain(pid, &error))?;
        }
    }
    // The pagemap of a process that has ended shows no pages.
    if start_time(pid).is_none() {
        return Err(explain(pid, &io::Error::from_raw_os_error(libc::ESRCH)));
    }
    Ok(runs)
}

fn add_runs(pagemap: &Pagemap, mapping: &Mapping, runs: &mut Vec<Run>) -> io::Result<()> {
    let is_accessible = !mapping.access.starts_with("---");
    // If only filled pages count as committed, the others are reserved.
    let is_whole = mapping.figures.committed_bytes == mapping.end - mapping.start;
    let untouched = match mapping.kind {
        Kind::Guard => State::Guard,
        _ if is_accessible && is_whole => State::Committed,
        _ => State::Reserved,
    };
    let mut at = mapping.start;
    let mut tell = |range: std::ops::Range<u64>, flags: PageFlags| {
        Run::new(at, range.start, untouched).push(runs);
        let state = match flags {
            PageFlags { is_guard: true, .. } => State::Guard,
            PageFlags {
                is_present: true,
                is_huge: true,
                ..
            } => State::Huge,
            PageFlags {
                is_present: true, ..
            } => State::Resident,
            PageFlags {
                is_swapped: true, ..
            } => State::Swapped,
            _ => untouched,
        };
        Run::new(range.start, range.end, state).push(runs);
        at = range.end;
    };
    // Inaccessible ranges hold no pages, and may be huge. Pages of the kernel's half cannot be asked for.
    if is_accessible && mapping.start >> 63 == 0 {
        pagemap.runs(mapping.start..mapping.end, &mut tell)?;
    }
    Run::new(at, mapping.end, untouched).push(runs);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the kinds and names of the mappings in a text with one line per mapping.
    fn kinds(lines: &str) -> Vec<(Kind, String)> {
        let mut mappings = mappings(&smaps::parse(lines).unwrap());
        classify_private(&mut mappings);
        mappings
            .into_iter()
            .map(|mapping| (mapping.kind, mapping.name))
            .collect()
    }

    #[test]
    fn kinds_are_told_by_name_and_place() {
        let text = "\
00400000-00401000 r--p 00000000 fe:00 7                          /usr/bin/prog
00401000-00402000 r-xp 00001000 fe:00 7                          /usr/bin/prog
00500000-00521000 rw-p 00000000 00:00 0                          [heap]
10000000-10001000 r--p 00000000 fe:00 8                          /usr/lib/locale-archive
10001000-10002000 rw-s 00000000 00:01 9                          /memfd:queue (deleted)
10002000-10003000 rw-s 00000000 00:00 0
20000000-20010000 rw-p 00000000 00:00 0                          [anon:elbowroom demo]
20010000-20f00000 ---p 00000000 00:00 0                          [anon:elbowroom demo]
20f00000-21100000 rw-p 00000000 00:0f 9                          /anon_hugepage (deleted)
21100000-21300000 rw-s 00000000 00:0f 9                          /anon_hugepage (deleted)
30000000-30001000 ---p 00000000 00:00 0
40000000-48000000 ---p 00000000 00:00 0
50000000-50021000 rw-p 00000000 00:00 0
50021000-54000000 ---p 00000000 00:00 0
60000000-60001000 rw-p 00000000 00:00 0
7f000000-7f002000 r--p 00000000 00:00 0                          [vvar]
7ff00000-7ff21000 rw-p 00000000 00:00 0                          [stack]
";
        let kinds = kinds(text);
        let kinds: Vec<(Kind, &str)> = kinds
            .iter()
            .map(|(kind, name)| (*kind, name.as_str()))
            .collect();
        assert_eq!(
            kinds,
            [
                (Kind::Image, "/usr/bin/prog"),
                (Kind::Image, "/usr/bin/prog"),
                (Kind::Heap, "[heap]"),
                (Kind::File, "/usr/lib/locale-archive"),
                (Kind::Shared, "/memfd:queue (deleted)"),
                (Kind::Shared, ""),
                (Kind::Named, "elbowroom demo"),
                (Kind::Named, "elbowroom demo"),
                (Kind::Anonymous, "/anon_hugepage (deleted)"),
                (Kind::Shared, "/anon_hugepage (deleted)"),
                (Kind::Guard, ""),
                (Kind::Reserved, ""),
                (Kind::Reservation, ""),
                (Kind::Reservation, ""),
                (Kind::Anonymous, ""),
                (Kind::System, "[vvar]"),
                (Kind::Stack, "[stack]"),
            ]
        );
    }

    #[test]
    fn committed_mappings_have_access_and_flags() {
        let figures = |line: &str, rest: &str| {
            let text = format!("{line}\nRss: 8 kB\nSwap: 4 kB\n{rest}");
            mappings(&smaps::parse(&text).unwrap())[0].figures
        };
        let size = 64 << 10;
        let usual = figures("10000000-10010000 rw-p 0 0:0 0", "VmFlags: rd wr ac\n");
        assert_eq!(
            (usual.committed_bytes, usual.charged_bytes),
            (size, Some(size))
        );
        let file = figures("10000000-10010000 r--p 0 0:0 7 /a", "VmFlags: rd mr\n");
        assert_eq!((file.committed_bytes, file.charged_bytes), (size, Some(0)));
        let reserved = figures("10000000-10010000 ---p 0 0:0 0", "");
        assert_eq!(
            (reserved.committed_bytes, reserved.charged_bytes),
            (0, None)
        );
        // Missing pages of a userfaultfd are no more than reserved.
        let missing = figures("10000000-10010000 rw-p 0 0:0 0", "VmFlags: rd wr nr um\n");
        assert_eq!(
            (missing.committed_bytes, missing.charged_bytes),
            (12 << 10, Some(0))
        );
    }

    #[test]
    fn what_cannot_be_looked_at_is_explained() {
        let explain = |code| explain(std::process::id(), &io::Error::from_raw_os_error(code));
        let forbidden = explain(libc::EACCES);
        assert!(forbidden.is_forbidden() && forbidden.to_string().contains("CAP_SYS_PTRACE"));
        // The process exists, so it is hidden.
        assert!(explain(libc::ENOENT).is_forbidden());
        let gone = explain(libc::ESRCH);
        assert!(gone.is_gone() && gone.to_string().contains("or it has just ended"));
        let other = explain(libc::EIO);
        assert!(
            !other.is_gone()
                && !other.is_forbidden()
                && other.to_string().contains("cannot be looked at: ")
        );
        assert!(!exists(u32::MAX) && exists(std::process::id()));
    }
}
