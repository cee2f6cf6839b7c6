//! Linux: how much this process may still commit, and which limit says so.

use std::fs;
use std::path::{Path, PathBuf};

use crate::os::Headroom;

/// The tightest of the limits that the system sets.
pub(crate) fn headroom() -> Headroom {
    let cgroups = cgroups(&text("/proc/self/cgroup"), &text("/proc/self/mountinfo"));
    let bounds = cgroups.iter().filter_map(cgroup_headroom).chain(rlimits()).chain([system()]);
    bounds.min_by_key(|headroom| headroom.bytes).unwrap_or(Headroom { bytes: usize::MAX, limit: "none" })
}

/// A file's text; empty where there is none, which then sets no limit.
fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A field of /proc/meminfo or /proc/self/status, `NAME:  NUMBER kB`, in bytes.
fn field(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: usize = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// What the machine has: in strict mode what is left of its commit limit, else all of its memory and swap.
fn system() -> Headroom {
    let meminfo = text("/proc/meminfo");
    let known = |name| field(&meminfo, name).unwrap_or(usize::MAX);
    if text("/proc/sys/vm/overcommit_memory").trim() == "2" {
        let bytes = known("CommitLimit").saturating_sub(field(&meminfo, "Committed_AS").unwrap_or(0));
        return Headroom { bytes, limit: "commit limit (vm.overcommit_memory is 2)" };
    }
    Headroom { bytes: known("MemTotal").saturating_add(known("SwapTotal")), limit: "memory and swap" }
}

/// RLIMIT_AS and RLIMIT_DATA, less what counts towards them.
fn rlimits() -> impl Iterator<Item = Headroom> {
    let status = text("/proc/self/status");
    let limits = [(libc::RLIMIT_AS, "VmSize", "RLIMIT_AS"), (libc::RLIMIT_DATA, "VmData", "RLIMIT_DATA")];
    limits.into_iter().filter_map(move |(resource, used, name)| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is live and writable (getrlimit(2)).
        if unsafe { libc::getrlimit(resource, &mut limit) } != 0 || limit.rlim_cur == libc::RLIM_INFINITY {
            return None;
        }
        let bytes = usize::try_from(limit.rlim_cur).ok()?.saturating_sub(field(&status, used)?);
        Some(Headroom { bytes, limit: name })
    })
}

/// A memory control group: its folder, and which of the two kinds it is.
#[derive(Debug, PartialEq, Eq)]
struct Cgroup {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The memory control groups of a process and all above them, from its /proc/PID/cgroup and /proc/PID/mountinfo
/// (cgroups(7), proc_pid_mountinfo(5)).
fn cgroups(cgroup: &str, mountinfo: &str) -> Vec<Cgroup> {
    let mut found = Vec::new();
    for line in cgroup.lines() {
        // HIERARCHY:CONTROLLERS:PATH
        let mut parts = line.splitn(3, ':');
        let (Some(hierarchy), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let version = match hierarchy {
            "0" => Version::Two,
            _ if controllers.split(',').any(|controller| controller == "memory") => Version::One,
            _ => continue,
        };
        let Some((root, mount)) = mountinfo.lines().find_map(|line| mount_of(line, version)) else { continue };
        // What the mount shows of the hierarchy starts at `root`.
        let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new("")).to_owned();
        found.extend(below.ancestors().map(|below| Cgroup { folder: mount.join(below), version }));
    }
    found
}

/// The root and the mount point, if this line of mountinfo mounts the memory controllers of that version.
fn mount_of(line: &str, version: Version) -> Option<(&Path, PathBuf)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, mount) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let is_it = match (version, kind.next()?) {
        (Version::Two, "cgroup2") => true,
        (Version::One, "cgroup") => kind.nth(1)?.split(',').any(|option| option == "memory"),
        _ => false,
    };
    // A space in the path is written \040.
    is_it.then(|| (Path::new(root), PathBuf::from(mount.replace("\\040", " "))))
}

fn cgroup_headroom(cgroup: &Cgroup) -> Option<Headroom> {
    let (limit_file, used_file, limit) = match cgroup.version {
        Version::One => ("memory.limit_in_bytes", "memory.usage_in_bytes", "cgroup memory.limit_in_bytes"),
        Version::Two => ("memory.max", "memory.current", "cgroup memory.max"),
    };
    let number = |file| text(cgroup.folder.join(file)).trim().parse::<usize>().ok();
    // Version 2 writes "max" where there is no limit, which is no number; version 1 a number beyond all memory.
    let bytes = number(limit_file)?.saturating_sub(number(used_file).unwrap_or(0));
    Some(Headroom { bytes, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(cgroup: &str, mountinfo: &str) -> Vec<String> {
        let found = cgroups(cgroup, mountinfo);
        found.iter().map(|cgroup| format!("{:?} {}", cgroup.version, cgroup.folder.display())).collect()
    }

    #[test]
    fn version_two() {
        let mountinfo = "25 30 0:23 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(
            folders("0::/user.slice/app.scope\n", mountinfo),
            ["Two /sys/fs/cgroup/user.slice/app.scope", "Two /sys/fs/cgroup/user.slice", "Two /sys/fs/cgroup/"]
        );
        assert_eq!(folders("0::/\n", mountinfo), ["Two /sys/fs/cgroup/"]);
    }

    #[test]
    fn version_one_beside_an_empty_version_two() {
        let mountinfo = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                         35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
        assert_eq!(
            folders("4:memory:/a/b\n1:cpu:/x\n0::/\n", mountinfo),
            ["One /sys/fs/cgroup/memory/a/b", "One /sys/fs/cgroup/memory/a", "One /sys/fs/cgroup/memory/"]
        );
    }

    #[test]
    fn a_container_sees_its_own_part() {
        let mountinfo = "35 31 0:32 /docker/77 /my\\040cgroup/memory ro - cgroup cgroup rw,memory";
        assert_eq!(
            folders("4:cpu,memory:/docker/77/job\n", mountinfo),
            ["One /my cgroup/memory/job", "One /my cgroup/memory/"]
        );
        // A path outside of what is mounted: its mount is all that can be seen.
        assert_eq!(folders("4:memory:/elsewhere\n", mountinfo), ["One /my cgroup/memory/"]);
    }

    #[test]
    fn nonsense_sets_no_limit() {
        for text in ["", "x", "::", "4:memory", "0::/a"] {
            assert!(folders(text, "").is_empty());
            assert!(folders(text, "a b c - d").is_empty());
        }
        assert_eq!(field("A:  12 kB\nB: x\n", "A"), Some(12 << 10));
        assert_eq!(field("A:  12 kB\nB: x\n", "B"), None);
        assert_eq!(field("A:  12 kB\nB: x\n", "C"), None);
    }

    #[test]
    fn this_machine_has_some() {
        let headroom = headroom();
        assert!(headroom.bytes > 0 && headroom.limit != "none", "{headroom:?}");
    }
}
