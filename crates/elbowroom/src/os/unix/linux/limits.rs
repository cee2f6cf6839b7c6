//! Linux: the limits on the memory of this process.

use std::fs;
use std::path::{Path, PathBuf};

use crate::plain::SystemLimit;

/// Returns all limits that are set.
pub(crate) fn limits() -> Vec<SystemLimit> {
    let cgroups = cgroups(&text("/proc/self/cgroup"), &text("/proc/self/mountinfo"));
    let mut limits: Vec<_> = cgroups.iter().flat_map(Cgroup::limits).collect();
    limits.extend(rlimits());
    limits.push(system());
    limits
}

/// Returns a file's text; an empty text if there is no file, which then sets no limit.
fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Returns a field of /proc/meminfo or /proc/self/status, `NAME:  NUMBER kB`, in bytes.
fn field(text: &str, name: &str) -> Option<usize> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: usize = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Returns the limit of the machine: in strict mode its commit limit, otherwise its memory and swap together.
fn system() -> SystemLimit {
    let meminfo = text("/proc/meminfo");
    let known = |name| field(&meminfo, name).unwrap_or(usize::MAX);
    let is_strict = text("/proc/sys/vm/overcommit_memory").trim() == "2";
    let (name, limit_bytes, used_bytes) = if is_strict {
        let used = field(&meminfo, "Committed_AS").unwrap_or(0);
        (
            "commit limit (vm.overcommit_memory is 2)",
            known("CommitLimit"),
            used,
        )
    } else {
        let all = known("MemTotal").saturating_add(known("SwapTotal"));
        ("memory and swap", all, 0)
    };
    SystemLimit {
        name,
        file: None,
        limit_bytes,
        used_bytes,
        is_hard: true,
    }
}

/// Returns RLIMIT_AS and RLIMIT_DATA, if they are set.
fn rlimits() -> impl Iterator<Item = SystemLimit> {
    let status = text("/proc/self/status");
    let limits = [
        (libc::RLIMIT_AS, "VmSize", "RLIMIT_AS"),
        (libc::RLIMIT_DATA, "VmData", "RLIMIT_DATA"),
    ];
    limits
        .into_iter()
        .filter_map(move |(resource, used, name)| {
            let mut limit = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: `limit` is live and writable (getrlimit(2)).
            if unsafe { libc::getrlimit(resource, &mut limit) } != 0
                || limit.rlim_cur == libc::RLIM_INFINITY
            {
                return None;
            }
            Some(SystemLimit {
                name,
                file: None,
                limit_bytes: usize::try_from(limit.rlim_cur).ok()?,
                used_bytes: field(&status, used)?,
                is_hard: true,
            })
        })
}

/// A memory control group: its folder and its version.
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

/// Returns the memory control groups of a process and all above them, from its /proc/PID/cgroup and /proc/PID/mountinfo
/// (cgroups(7), proc_pid_mountinfo(5)).
fn cgroups(cgroup: &str, mountinfo: &str) -> Vec<Cgroup> {
    let mut found = Vec::new();
    for line in cgroup.lines() {
        // HIERARCHY:CONTROLLERS:PATH
        let mut parts = line.splitn(3, ':');
        let (Some(hierarchy), Some(controllers), Some(path)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let version = match hierarchy {
            "0" => Version::Two,
            _ if controllers
                .split(',')
                .any(|controller| controller == "memory") =>
            {
                Version::One
            }
            _ => continue,
        };
        let Some((root, mount)) = mountinfo.lines().find_map(|line| mount_of(line, version)) else {
            continue;
        };
        // The mount shows the part of the hierarchy below `root`.
        let below = Path::new(path)
            .strip_prefix(root)
            .unwrap_or(Path::new(""))
            .to_owned();
        found.extend(below.ancestors().map(|below| Cgroup {
            folder: mount.join(below),
            version,
        }));
    }
    found
}

/// Returns the root and the mount point if this line of mountinfo mounts the memory controller of that version.
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
    // A space in the path is written as \040.
    is_it.then(|| (Path::new(root), PathBuf::from(mount.replace("\\040", " "))))
}

/// A file of a control group that holds a limit.
struct LimitFile {
    file: &'static str,
    name: &'static str,
    is_hard: bool,
}

impl Version {
    fn limit_files(self) -> &'static [LimitFile] {
        match self {
            Version::One => &[LimitFile {
                file: "memory.limit_in_bytes",
                name: "cgroup memory.limit_in_bytes",
                is_hard: true,
            }],
            Version::Two => &[
                LimitFile {
                    file: "memory.max",
                    name: "cgroup memory.max",
                    is_hard: true,
                },
                LimitFile {
                    file: "memory.high",
                    name: "cgroup memory.high",
                    is_hard: false,
                },
            ],
        }
    }

    fn used_file(self) -> &'static str {
        match self {
            Version::One => "memory.usage_in_bytes",
            Version::Two => "memory.current",
        }
    }

    /// Returns the fields of memory.stat for the file cache of the group and all groups below it.
    fn cache_fields(self) -> [&'static str; 2] {
        match self {
            Version::One => ["total_inactive_file", "total_active_file"],
            Version::Two => ["inactive_file", "active_file"],
        }
    }
}

/// A version 1 group without a limit has a number close to the largest, in whole pages.
const NO_LIMIT: usize = 1 << 62;

impl Cgroup {
    fn limits(&self) -> impl Iterator<Item = SystemLimit> {
        let number = |file| text(self.folder.join(file)).trim().parse::<usize>().ok();
        let used = number(self.version.used_file()).unwrap_or(0);
        let used_bytes = used.saturating_sub(cache(
            &text(self.folder.join("memory.stat")),
            self.version.cache_fields(),
        ));
        // Version 2 writes "max" if there is no limit, which does not parse as a number.
        let files = self.version.limit_files().iter();
        files.filter_map(move |limit| {
            Some(SystemLimit {
                name: limit.name,
                file: Some(self.folder.join(limit.file)),
                limit_bytes: number(limit.file).filter(|&bytes| bytes < NO_LIMIT)?,
                used_bytes,
                is_hard: limit.is_hard,
            })
        })
    }
}

/// Returns the bytes of file cache that a group is charged for, from its memory.stat: lines `NAME BYTES`.
fn cache(stat: &str, fields: [&str; 2]) -> usize {
    let sizes = stat.lines().filter_map(|line| {
        let (name, bytes) = line.split_once(' ')?;
        fields
            .contains(&name)
            .then_some(bytes)?
            .parse::<usize>()
            .ok()
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(cgroup: &str, mountinfo: &str) -> Vec<String> {
        let found = cgroups(cgroup, mountinfo);
        found
            .iter()
            .map(|cgroup| format!("{:?} {}", cgroup.version, cgroup.folder.display()))
            .collect()
    }

    #[test]
    fn version_two() {
        let mountinfo =
            "25 30 0:23 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(
            folders("0::/user.slice/app.scope\n", mountinfo),
            [
                "Two /sys/fs/cgroup/user.slice/app.scope",
                "Two /sys/fs/cgroup/user.slice",
                "Two /sys/fs/cgroup/"
            ]
        );
        assert_eq!(folders("0::/\n", mountinfo), ["Two /sys/fs/cgroup/"]);
    }

    #[test]
    fn version_one_beside_an_empty_version_two() {
        let mountinfo = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                         35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
        assert_eq!(
            folders("4:memory:/a/b\n1:cpu:/x\n0::/\n", mountinfo),
            [
                "One /sys/fs/cgroup/memory/a/b",
                "One /sys/fs/cgroup/memory/a",
                "One /sys/fs/cgroup/memory/"
            ]
        );
    }

    #[test]
    fn a_container_sees_its_own_part() {
        let mountinfo = "35 31 0:32 /docker/77 /my\\040cgroup/memory ro - cgroup cgroup rw,memory";
        assert_eq!(
            folders("4:cpu,memory:/docker/77/job\n", mountinfo),
            ["One /my cgroup/memory/job", "One /my cgroup/memory/"]
        );
        // The path is outside the mounted part, so only the mount point itself can be seen.
        assert_eq!(
            folders("4:memory:/elsewhere\n", mountinfo),
            ["One /my cgroup/memory/"]
        );
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
        let limits = limits();
        assert!(!limits.is_empty());
        assert!(
            limits.iter().all(|limit| limit.limit_bytes > 0),
            "{limits:?}"
        );
    }

    /// Returns the limits of a group with these files, in a folder that is removed afterwards.
    fn with_group(version: Version, files: &[(&str, &str)]) -> Vec<(&'static str, usize, usize)> {
        use std::sync::atomic::{AtomicU32, Ordering};
        // Each call has its own folder, because tests run side by side.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let folder = std::env::temp_dir().join(format!(
            "elbowroom-limits-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
        let group = Cgroup {
            folder: folder.clone(),
            version,
        };
        let limits = group
            .limits()
            .map(|limit| (limit.name, limit.limit_bytes, limit.used_bytes));
        let limits = limits.collect();
        fs::remove_dir_all(folder).unwrap();
        limits
    }

    #[test]
    fn the_cache_of_files_is_not_used_and_a_soft_limit_counts() {
        let files = [
            ("memory.max", "1073741824\n"),
            ("memory.high", "536870912\n"),
            ("memory.current", "1065353216\n"),
            (
                "memory.stat",
                "anon 58720256\nfile 1006632960\ninactive_file 900000000\nactive_file 106632960\n",
            ),
        ];
        assert_eq!(
            with_group(Version::Two, &files),
            [
                ("cgroup memory.max", 1 << 30, 58_720_256),
                ("cgroup memory.high", 1 << 29, 58_720_256)
            ]
        );
        let files = [
            ("memory.limit_in_bytes", "1073741824\n"),
            ("memory.usage_in_bytes", "1000000000\n"),
            (
                "memory.stat",
                "inactive_file 1\ntotal_inactive_file 600000000\ntotal_active_file 300000000\n",
            ),
        ];
        assert_eq!(
            with_group(Version::One, &files),
            [("cgroup memory.limit_in_bytes", 1 << 30, 100_000_000)]
        );
    }

    #[test]
    fn a_group_without_a_limit_has_none() {
        let files = [("memory.max", "max\n"), ("memory.high", "max\n")];
        assert!(with_group(Version::Two, &files).is_empty());
        let files = [("memory.limit_in_bytes", "9223372036854771712\n")];
        assert!(with_group(Version::One, &files).is_empty());
    }
}
