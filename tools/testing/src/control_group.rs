//! A control group with a limit on memory (cgroups(7)). The limit also holds for the page cache of its processes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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

/// A control group of Linux with a limit on memory. When this is dropped, the process leaves the group, which is then
/// removed.
#[derive(Debug)]
pub struct ControlGroup {
    folder: PathBuf,
    /// The group where this process was before.
    home: PathBuf,
    /// The file that contains the limit.
    pub limit_file: PathBuf,
}

impl ControlGroup {
    /// Makes a group of this name within that of this process, or within one around it.
    ///
    /// A group that a killed process has left is used again.
    ///
    /// # Errors
    /// Fails with the reason if this user may not make groups, or if the system has none for memory.
    pub fn new(name: &str, limit_bytes: usize) -> Result<ControlGroup, String> {
        ControlGroup::make(name, limit_bytes, false)
    }

    /// Makes a group as [`new`](ControlGroup::new) does, and puts this process into it.
    ///
    /// Memory that the process has already is not counted.
    ///
    /// # Errors
    /// Fails as [`new`](ControlGroup::new) does.
    pub fn enter(name: &str, limit_bytes: usize) -> Result<ControlGroup, String> {
        ControlGroup::make(name, limit_bytes, true)
    }

    fn make(name: &str, limit_bytes: usize, is_entered: bool) -> Result<ControlGroup, String> {
        let mut failure = "this system has no control groups for memory".to_owned();
        for (mount, controller, limit, swap) in VERSIONS {
            let homes = homes(mount, controller);
            // A group that has processes may have no groups in it, so its parents are tried as well.
            for parent in &homes {
                let folder = parent.join(name);
                let group = ControlGroup {
                    home: homes[0].clone(),
                    limit_file: folder.join(limit),
                    folder,
                };
                match group.set_up(limit_bytes, swap, is_entered) {
                    Ok(()) => return Ok(group),
                    Err(error) => failure = format!("{}: {error}", group.folder.display()),
                }
            }
        }
        Err(failure)
    }

    fn set_up(
        &self,
        limit_bytes: usize,
        (swap, value): (&str, &str),
        is_entered: bool,
    ) -> io::Result<()> {
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        fs::write(&self.limit_file, limit_bytes.to_string())?;
        // Without swap there is no such file.
        let _ = fs::write(self.folder.join(swap), value);
        if is_entered {
            fs::write(self.processes(), "0")?;
        }
        Ok(())
    }

    /// Returns the file that processes enter the group by, each with a write of its number, or of 0.
    pub fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // A group that is in use cannot be removed, so the process leaves it. What fails here leaves an empty folder.
        let _ = fs::write(self.home.join("cgroup.procs"), "0");
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Returns the folder of the group where this process is, and those around it. There are none without the controller.
fn homes(mount: &str, controller: &str) -> Vec<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let mut controllers = fields.next()?.split(',');
        let path = fields.next()?;
        controllers.any(|name| name == controller).then_some(path)
    });
    let home = path.map(|path| Path::new(mount).join(path.trim_start_matches('/')));
    // A container may not see the outer groups.
    let homes = home.iter().flat_map(|home| home.ancestors());
    homes
        .filter(|place| place.starts_with(mount) && place.join("cgroup.procs").exists())
        .map(Path::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_the_group_until_it_is_dropped() {
        let name = format!("elbowroom-testing-{}", std::process::id());
        let groups = || fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let group = match ControlGroup::enter(&name, 1 << 30) {
            Ok(group) => group,
            Err(why) => return println!("skipped: {why}"),
        };
        let folder = group.folder.clone();
        assert!(groups().contains(&name), "{}", groups());
        drop(group);
        assert!(!groups().contains(&name), "{}", groups());
        // One that was left behind is used.
        fs::create_dir(&folder).unwrap();
        drop(ControlGroup::enter(&name, 1 << 30).unwrap());
        assert!(!folder.exists());
    }
}
