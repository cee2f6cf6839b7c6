//! Linux: /proc/PID/smaps for the mappings, pagemap for the pages.

#![allow(unsafe_code, reason = "kill with signal 0")]

mod pagemap;
mod smaps;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::error::Error;
use crate::picture::{Run, State};
use crate::snapshot::{Figures, Kind, Mapping, Region, Snapshot};
use pagemap::{PageFlags, Pagemap};
use smaps::Entry;

/// An inaccessible piece of at most this size keeps its neighbours apart; a larger one is there to be committed.
const GUARD_MAX_BYTES: u64 = 64 << 10;

pub(crate) fn snapshot(pid: u32) -> Result<Snapshot, Error> {
    let started = start_time(pid);
    let smaps = fs::read(format!("/proc/{pid}/smaps")).map_err(|error| explain(pid, &error))?;
    // Paths may be of any bytes.
    let smaps = String::from_utf8_lossy(&smaps);
    // A process that ends while it is read leaves half a text, and one that has ended before, none.
    if started.is_none() || start_time(pid) != started {
        return Err(explain(pid, &io::Error::from_raw_os_error(libc::ESRCH)));
    }
    let entries = smaps::parse(&smaps);
    let entries = entries.ok_or_else(|| Error::other(format!("what /proc/{pid}/smaps says is not understood")))?;
    if entries.is_empty() {
        let why = "a part of the kernel, or a process that has ended";
        return Err(Error::gone(format!("process {pid} has no memory of its own: {why}")));
    }
    let program = fs::read_link(format!("/proc/{pid}/exe")).map(|path| path.to_string_lossy().into_owned());
    let program = program.ok().or_else(|| text(format!("/proc/{pid}/comm")).map(|name| name.trim().to_owned()));
    let mut mappings = mappings(&entries);
    classify_private(&mut mappings);
    Ok(Snapshot { pid, program: program.unwrap_or_default(), page_size_bytes: elbowroom::page_size() as u64, mappings })
}

/// When the process started, in ticks: what tells it from another of the same number. `None` if there is none.
fn start_time(pid: u32) -> Option<u64> {
    let stat = text(format!("/proc/{pid}/stat"))?;
    // proc_pid_stat(5): the second field, in brackets, may hold anything; the 22nd is the time.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// What to do about it.
fn explain(pid: u32, error: &io::Error) -> Error {
    let code = error.raw_os_error();
    // Where /proc is mounted so that it hides the processes of others (hidepid), an existing one is not there.
    let is_hidden = code == Some(libc::ENOENT) && exists(pid);
    match code {
        Some(libc::ENOENT | libc::ESRCH) if !fs::exists("/proc/self/smaps").unwrap_or(false) => {
            Error::other("/proc/PID/smaps is not there: mount /proc, or take a kernel with CONFIG_PROC_PAGE_MONITOR")
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

/// A file's text; `None` where it is not there or may not be read. Names in it may be of any bytes.
fn text(path: impl AsRef<Path>) -> Option<String> {
    Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned())
}

/// Whether there is such a process, whosever it is (kill(2)).
fn exists(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 is none: only whether it could be sent is found out.
    let result = unsafe { libc::kill(pid, 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

fn mappings(entries: &[Entry]) -> Vec<Mapping> {
    let programs: HashSet<&str> = entries
        .iter()
        .filter(|entry| entry.name.starts_with('/') && entry.access.as_bytes().get(2) == Some(&b'x'))
        .map(|entry| entry.name.as_str())
        .collect();
    entries.iter().map(|entry| mapping(entry, &programs)).collect()
}

fn mapping(entry: &Entry, programs: &HashSet<&str>) -> Mapping {
    let reserved_bytes = entry.end - entry.start;
    // Missing pages of a userfaultfd are not to be had for a touch: reserved, until somebody fills them.
    let is_filled_on_demand = entry.has_flag("um");
    let committed_bytes = match () {
        () if !entry.is_accessible() => 0,
        () if is_filled_on_demand => entry.resident_bytes + entry.swapped_bytes,
        () => reserved_bytes,
    };
    let figures = Figures {
        reserved_bytes,
        committed_bytes,
        charged_bytes: entry.flags.is_some().then(|| if entry.has_flag("ac") { reserved_bytes } else { 0 }),
        resident_bytes: Some(entry.resident_bytes),
        dirty_bytes: Some(entry.dirty_bytes),
        huge_bytes: Some(entry.huge_bytes),
        swapped_bytes: Some(entry.swapped_bytes),
    };
    let (kind, name) = kind_and_name(entry, programs);
    Mapping { start: entry.start, end: entry.end, kind, name, access: entry.access.clone(), allocation: None, figures }
}

fn kind_and_name(entry: &Entry, programs: &HashSet<&str>) -> (Kind, String) {
    let name = entry.name.as_str();
    let own = |kind| (kind, name.to_owned());
    if let Some(given) = name.strip_prefix("[anon:").and_then(|name| name.strip_suffix(']')) {
        return (Kind::Named, given.to_owned());
    }
    if let Some(given) = name.strip_prefix("[anon_shmem:").and_then(|name| name.strip_suffix(']')) {
        return (Kind::Shared, given.to_owned());
    }
    match name {
        "[heap]" => own(Kind::Heap),
        _ if name.starts_with("[stack") => own(Kind::Stack),
        _ if name.starts_with('[') => own(Kind::System),
        "" if entry.access.ends_with('s') => own(Kind::Shared),
        // What it is shows with its neighbours.
        "" => own(Kind::Anonymous),
        _ if programs.contains(name) => own(Kind::Image),
        _ if ["/dev/shm/", "/memfd:", "/SYSV", "/dev/zero"].iter().any(|start| name.starts_with(start)) => {
            own(Kind::Shared)
        }
        _ => own(Kind::File),
    }
}

/// Nameless private mappings that touch are taken as one: that some of them are not accessible makes it a reservation.
fn classify_private(mappings: &mut [Mapping]) {
    let touches = |a: &Mapping, b: &Mapping| a.end == b.start && a.kind == Kind::Anonymous && b.kind == Kind::Anonymous;
    for group in mappings.chunk_by_mut(touches) {
        if group[0].kind != Kind::Anonymous {
            continue;
        }
        let bytes: u64 = group.iter().map(|mapping| mapping.end - mapping.start).sum();
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

pub(super) fn scan_is_known(pagemap: &File) -> io::Result<()> {
    pagemap::scan_is_known(pagemap).map_err(io::Error::from_raw_os_error)
}

pub(crate) fn page_runs(snapshot: &Snapshot, region: &Region) -> Result<Vec<Run>, Error> {
    let pid = snapshot.pid;
    let pagemap = Pagemap::open(pid, snapshot.page_size_bytes).map_err(|error| explain(pid, &error))?;
    let mut runs = Vec::new();
    for mapping in &snapshot.mappings {
        if region.start <= mapping.start && mapping.end <= region.end {
            add_runs(&pagemap, mapping, &mut runs).map_err(|error| explain(pid, &error))?;
        }
    }
    // Of a process that has ended, pagemap says that nothing is there.
    if start_time(pid).is_none() {
        return Err(explain(pid, &io::Error::from_raw_os_error(libc::ESRCH)));
    }
    Ok(runs)
}

fn add_runs(pagemap: &Pagemap, mapping: &Mapping, runs: &mut Vec<Run>) -> io::Result<()> {
    let is_accessible = !mapping.access.starts_with("---");
    // Where only what is filled counts as committed, the rest is reserved.
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
            PageFlags { is_present: true, is_huge: true, .. } => State::Huge,
            PageFlags { is_present: true, .. } => State::Resident,
            PageFlags { is_swapped: true, .. } => State::Swapped,
            _ => untouched,
        };
        Run::new(range.start, range.end, state).push(runs);
        at = range.end;
    };
    // Of what cannot be touched nothing need be asked: it may be vast. And the kernel's own half cannot be.
    if is_accessible && mapping.start >> 63 == 0 {
        pagemap.runs(mapping.start..mapping.end, &mut tell)?;
    }
    Run::new(at, mapping.end, untouched).push(runs);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds and names of the mappings of a text, one line a mapping, without figures.
    fn kinds(lines: &str) -> Vec<(Kind, String)> {
        let mut mappings = mappings(&smaps::parse(lines).unwrap());
        classify_private(&mut mappings);
        mappings.into_iter().map(|mapping| (mapping.kind, mapping.name)).collect()
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
30000000-30001000 ---p 00000000 00:00 0
40000000-48000000 ---p 00000000 00:00 0
50000000-50021000 rw-p 00000000 00:00 0
50021000-54000000 ---p 00000000 00:00 0
60000000-60001000 rw-p 00000000 00:00 0
7f000000-7f002000 r--p 00000000 00:00 0                          [vvar]
7ff00000-7ff21000 rw-p 00000000 00:00 0                          [stack]
";
        let kinds = kinds(text);
        let kinds: Vec<(Kind, &str)> = kinds.iter().map(|(kind, name)| (*kind, name.as_str())).collect();
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
    fn what_is_committed_is_told_by_access_and_flags() {
        let figures = |line: &str, rest: &str| {
            let text = format!("{line}\nRss: 8 kB\nSwap: 4 kB\n{rest}");
            mappings(&smaps::parse(&text).unwrap())[0].figures
        };
        let size = 64 << 10;
        let usual = figures("10000000-10010000 rw-p 0 0:0 0", "VmFlags: rd wr ac\n");
        assert_eq!((usual.committed_bytes, usual.charged_bytes), (size, Some(size)));
        let file = figures("10000000-10010000 r--p 0 0:0 7 /a", "VmFlags: rd mr\n");
        assert_eq!((file.committed_bytes, file.charged_bytes), (size, Some(0)));
        let reserved = figures("10000000-10010000 ---p 0 0:0 0", "");
        assert_eq!((reserved.committed_bytes, reserved.charged_bytes), (0, None));
        // Missing pages of a userfaultfd are no more than reserved.
        let missing = figures("10000000-10010000 rw-p 0 0:0 0", "VmFlags: rd wr nr um\n");
        assert_eq!((missing.committed_bytes, missing.charged_bytes), (12 << 10, Some(0)));
    }

    #[test]
    fn what_cannot_be_looked_at_is_explained() {
        let explain = |code| explain(std::process::id(), &io::Error::from_raw_os_error(code));
        let forbidden = explain(libc::EACCES);
        assert!(forbidden.is_forbidden() && forbidden.to_string().contains("CAP_SYS_PTRACE"));
        // It is there: so it is hidden.
        assert!(explain(libc::ENOENT).is_forbidden());
        let gone = explain(libc::ESRCH);
        assert!(gone.is_gone() && gone.to_string().contains("or it has just ended"));
        let other = explain(libc::EIO);
        assert!(!other.is_gone() && !other.is_forbidden() && other.to_string().contains("cannot be looked at: "));
        assert!(!exists(u32::MAX) && exists(std::process::id()));
    }
}
