//! A control group with a limit on memory (cgroups(7)). The limit also holds for the page cache of its processes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use elbowroom_measure::proc;

/// The folder of the memory controller, the name of the controller in /proc/self/cgroup, and the files with the limit
/// and with that on swap: in version 1 and in version 2.
const VERSIONS: [(&str, &str, &str, (&str, &str)); 2] = [
    (
        "/sys/fs/cgroup/memory",
        "memory",
        "memory.limit_in_bytes",
        ("memory.swappiness", "0"),
    ),
    ("/sys/fs/cgroup", "", "memory.max", ("memory.swap.max", "0")),
];

/// A control group with this process in it. When it is dropped, the process returns to the group where it was before.
pub(crate) struct ControlGroup {
    group: PathBuf,
    home: PathBuf,
}

impl ControlGroup {
    /// Makes a group of this name, and puts this process into it. Memory that the process has already is not counted.
    pub(crate) fn enter(name: &str, limit_bytes: usize) -> Result<ControlGroup, String> {
        let mut failure = "this system has no control groups for memory".to_owned();
        for (mount, controller, limit, swap) in VERSIONS {
            let Some(homes) = homes(mount, controller) else {
                continue;
            };
            // A group that has processes may have no groups in it, so its parents are tried as well.
            for parent in &homes {
                let group = parent.join(name);
                let entered = ControlGroup::enter_at(&group, limit, swap, limit_bytes);
                match entered {
                    Ok(()) => {
                        let home = homes[0].clone();
                        return Ok(ControlGroup { group, home });
                    }
                    Err(error) => {
                        failure = format!("{}: {error}", group.display());
                        // It may not exist.
                        let _ = fs::remove_dir(&group);
                    }
                }
            }
        }
        Err(failure)
    }

    fn enter_at(
        group: &Path,
        limit: &str,
        (swap, value): (&str, &str),
        limit_bytes: usize,
    ) -> io::Result<()> {
        match fs::create_dir(group) {
            // A process that was killed has left it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        fs::write(group.join(limit), limit_bytes.to_string())?;
        // Without swap there is no such file.
        let _ = fs::write(group.join(swap), value);
        fs::write(group.join("cgroup.procs"), process::id().to_string())
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // What fails here leaves an empty folder, which the next sample uses.
        let _ = fs::write(self.home.join("cgroup.procs"), process::id().to_string());
        let _ = fs::remove_dir(&self.group);
    }
}

/// Returns the folder of the group where this process is, and those around it.
fn homes(mount: &str, controller: &str) -> Option<Vec<PathBuf>> {
    let groups = proc::text("/proc/self/cgroup")?;
    let path = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let mut controllers = fields.next()?.split(',');
        let path = fields.next()?;
        controllers.any(|name| name == controller).then_some(path)
    })?;
    let home = Path::new(mount).join(path.trim_start_matches('/'));
    // A container may not see the outer groups.
    let homes = home.ancestors().filter(|place| place.starts_with(mount));
    let homes: Vec<PathBuf> = homes
        .filter(|place| place.join("cgroup.procs").exists())
        .map(Path::to_owned)
        .collect();
    (!homes.is_empty()).then_some(homes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_the_group_until_it_is_dropped() {
        let name = format!("elbowroom-bench-test-{}", process::id());
        let groups = || proc::text("/proc/self/cgroup").unwrap_or_default();
        let group = match ControlGroup::enter(&name, 1 << 30) {
            Ok(group) => group,
            Err(why) => return println!("skipped: {why}"),
        };
        let folder = group.group.clone();
        assert!(groups().contains(&name), "{}", groups());
        drop(group);
        assert!(!groups().contains(&name), "{}", groups());
        // One that was left behind is used.
        fs::create_dir(&folder).unwrap();
        drop(ControlGroup::enter(&name, 1 << 30).unwrap());
        assert!(!folder.exists());
    }
}
