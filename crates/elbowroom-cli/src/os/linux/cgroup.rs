//! The limits on memory that control groups set.

use std::path::{Path, PathBuf};

use super::proc::text;

/// One limit of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CgroupLimit {
    /// The file that holds it.
    pub(super) file: PathBuf,
    pub(super) limit_bytes: u64,
    pub(super) used_bytes: Option<u64>,
    /// Past a hard limit the kernel ends processes; past a soft one it slows them down.
    pub(super) is_hard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// The files of limits, which of them are hard, and the file of what is used.
    fn files(self) -> (&'static [(&'static str, bool)], &'static str) {
        match self {
            Version::One => (&[("memory.limit_in_bytes", true)], "memory.usage_in_bytes"),
            Version::Two => (&[("memory.max", true), ("memory.high", false)], "memory.current"),
        }
    }
}

/// A version 1 group without a limit says so by a number close to the largest (in whole pages).
const NO_LIMIT: u64 = 1 << 62;

/// The limits of this process's groups and of all above them, from the innermost out.
pub(super) fn limits() -> Vec<CgroupLimit> {
    let number = |file: &Path| text(file).and_then(|text| text.trim().parse::<u64>().ok());
    let mut limits = Vec::new();
    let groups =
        groups(&text("/proc/self/cgroup").unwrap_or_default(), &text("/proc/self/mountinfo").unwrap_or_default());
    for (folder, version) in groups {
        let (files, used) = version.files();
        for &(file, is_hard) in files {
            let file = folder.join(file);
            // Version 2 writes "max" where there is no limit.
            if let Some(limit_bytes) = number(&file).filter(|&bytes| bytes < NO_LIMIT) {
                let used_bytes = number(&folder.join(used));
                limits.push(CgroupLimit { file, limit_bytes, used_bytes, is_hard });
            }
        }
    }
    limits
}

/// The folders of a process's memory groups and all above them, from its /proc/PID/cgroup and /proc/PID/mountinfo
/// (cgroups(7), proc_pid_mountinfo(5)).
fn groups(cgroup: &str, mountinfo: &str) -> Vec<(PathBuf, Version)> {
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
        let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        found.extend(below.ancestors().map(|below| (mount.join(below), version)));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(cgroup: &str, mountinfo: &str) -> Vec<String> {
        groups(cgroup, mountinfo).iter().map(|(folder, version)| format!("{version:?} {}", folder.display())).collect()
    }

    #[test]
    fn both_versions_are_found_with_all_above() {
        let mountinfo = "25 30 0:23 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
                         35 31 0:32 /docker/77 /my\\040cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(
            folders("4:cpu,memory:/docker/77/job\n1:cpu:/x\n0::/a.slice/b\n", mountinfo),
            [
                "One /my cgroup/memory/job",
                "One /my cgroup/memory/",
                "Two /sys/fs/cgroup/a.slice/b",
                "Two /sys/fs/cgroup/a.slice",
                "Two /sys/fs/cgroup/"
            ]
        );
    }

    #[test]
    fn nonsense_has_no_groups() {
        for text in ["", "x", "::", "4:memory", "0::/a"] {
            assert!(folders(text, "").is_empty() && folders(text, "a b c - d").is_empty());
        }
    }
}
