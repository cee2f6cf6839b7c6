//! `elbowroom page sort` and `copy`, interrupted, short of space or disturbed at any moment: files stay whole, and no
//! temporary file is left.
#![cfg(unix)]

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::common::elbowroom;
use crate::common::files::{Folder, ok, spread};
use elbowroom::page_size;
use elbowroom_testing::is_emulated;

fn spawn(args: &str) -> Child {
    let mut command = elbowroom(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn signal(child: &Child, signal: &str) {
    let id = child.id().to_string();
    // It may have ended.
    let _ = Command::new("kill")
        .args([signal, &id])
        .stderr(Stdio::null())
        .status();
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Numbers in disorder and in order, as bytes.
fn numbers(count: usize) -> (Vec<u8>, Vec<u8>) {
    let mut numbers: Vec<u64> = spread(count).collect();
    let bytes = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
    let original = bytes(&numbers);
    numbers.sort_unstable();
    (original, bytes(&numbers))
}

/// A sort that takes several passes.
fn slow_sort(location: &str) -> String {
    let limit = 4 * page_size();
    format!(
        "page sort {location} --dtype u64 --resident {limit} --page {} --threads 2",
        page_size()
    )
}

/// Moments from the first to the last of a run, the same in each test run.
fn moments() -> impl Iterator<Item = Duration> {
    (0..24u64).map(|number| Duration::from_millis(number * number * 2))
}

#[test]
fn a_sort_that_is_ended_leaves_the_original_or_the_sorted_file() {
    let folder = Folder::new("sort-ended");
    let (original, sorted) = numbers(512 << 10);
    let mut endings = [0; 3];
    for (number, moment) in moments().enumerate() {
        let location = folder.file("a", &original);
        let mut child = spawn(&slow_sort(&location));
        sleep(moment);
        let is_kill = number % 2 == 1;
        signal(&child, if is_kill { "-KILL" } else { "-INT" });
        let status = child.wait().unwrap();
        let found = fs::read(&location).unwrap();
        assert!(
            found == original || found == sorted,
            "{moment:?}: a mixture"
        );
        if status.success() {
            assert!(found == sorted);
            endings[0] += 1;
        } else if is_kill {
            endings[1] += 1;
        } else {
            // Before it has looked at its arguments, a signal ends it as any program.
            assert!(
                status.code() == Some(1) || status.signal().is_some(),
                "{status}"
            );
            endings[2] += 1;
        }
        let mut others = folder.names();
        others.retain(|name| name != "a");
        if is_kill {
            assert!(
                others.iter().all(|name| name.starts_with(".a.s")),
                "{others:?}"
            );
            others
                .iter()
                .for_each(|name| fs::remove_file(folder.path(name)).unwrap());
        }
        assert!(is_kill || others.is_empty(), "{moment:?}: {others:?}");
    }
    println!("{endings:?} finished, were killed, were interrupted");
    let location = folder.file("a", &original);
    interrupt_in_the_middle(&folder, spawn(&slow_sort(&location)));
    assert!(fs::read(&location).unwrap() == original);
}

/// Interrupts work that has begun. It must report the interruption and leave no file behind.
fn interrupt_in_the_middle(folder: &Folder, mut child: Child) {
    stop_in_the_middle(folder, &mut child);
    signal(&child, "-INT");
    signal(&child, "-CONT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output),
        "elbowroom: ended by signal 2; nothing was changed\n"
    );
    assert_eq!(folder.names(), ["a"]);
}

#[test]
fn a_copy_that_is_ended_leaves_the_whole_target_or_none() {
    let folder = Folder::new("copy-ended");
    let (bytes, _) = numbers(4 << 20);
    let location = folder.file("a", &bytes);
    let target = folder.path("b");
    let limit = 4 * page_size();
    let copy = format!("page copy {location} {target} --resident {limit}");
    for moment in moments() {
        let child = spawn(&copy);
        sleep(moment / 4);
        signal(&child, "-INT");
        if child.wait_with_output().unwrap().status.success() {
            assert!(fs::read(&target).unwrap() == bytes);
            fs::remove_file(&target).unwrap();
        }
        assert_eq!(folder.names(), ["a"], "{moment:?}");
    }
    interrupt_in_the_middle(&folder, spawn(&copy));
}

/// Waits until the work has begun, which takes a while, and stops the child there.
fn stop_in_the_middle(folder: &Folder, child: &mut Child) {
    let is_at_work = || folder.names().iter().any(|name| name.starts_with('.'));
    while !is_at_work() {
        assert!(child.try_wait().unwrap().is_none(), "it was over before");
        sleep(Duration::from_millis(1));
    }
    signal(child, "-STOP");
    sleep(Duration::from_millis(20));
    assert!(is_at_work(), "it was over before");
}

#[test]
fn a_file_that_changes_meanwhile_is_left_as_it_is() {
    let folder = Folder::new("sort-changed");
    let (original, _) = numbers(512 << 10);
    type Change = fn(&str);
    let changes: [Change; 4] = [
        |location| {
            File::options()
                .append(true)
                .open(location)
                .unwrap()
                .write_all(&[1])
                .unwrap()
        },
        |location| {
            File::options()
                .write(true)
                .open(location)
                .unwrap()
                .write_all(&[1; 8])
                .unwrap()
        },
        |location| {
            let new = format!("{location}.new");
            fs::write(&new, fs::read(location).unwrap()).unwrap();
            fs::rename(new, location).unwrap();
        },
        |location| fs::remove_file(location).unwrap(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let location = folder.file("a", &original);
        let mut child = spawn(&slow_sort(&location));
        stop_in_the_middle(&folder, &mut child);
        change(&location);
        let changed = fs::read(&location).ok();
        signal(&child, "-CONT");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{number}: {}", text(&output));
        assert!(
            text(&output).contains("changed by another program"),
            "{number}: {}",
            text(&output)
        );
        assert!(
            fs::read(&location).ok() == changed,
            "{number}: it was touched"
        );
        assert!(
            folder.names().iter().all(|name| name == "a"),
            "{:?}",
            folder.names()
        );
    }
}

/// A small file system in memory, unmounted in the end.
struct Tmpfs(Folder);

impl Tmpfs {
    fn mount(name: &str, bytes: usize) -> Option<Tmpfs> {
        let folder = Folder::new(name);
        let size = format!("size={bytes}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&folder.0)
            .output();
        mount
            .is_ok_and(|output| output.status.success())
            .then_some(Tmpfs(folder))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0.0).output();
    }
}

#[test]
fn a_full_disk_leaves_the_original() {
    let Some(disk) = Tmpfs::mount("sort-full", 16 << 20).filter(|_| !is_emulated()) else {
        return println!("no file system can be mounted here");
    };
    let folder = &disk.0;
    let (original, sorted) = numbers(512 << 10);
    let location = folder.file("a", &original);
    let filler = folder.file("filler", &vec![1; 8 << 20]);
    let output = spawn(&slow_sort(&location)).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let refusal = text(&output);
    assert!(
        refusal.contains("it takes 8 MiB beside it for a while, and the disk has 4 MiB free"),
        "{refusal}"
    );
    fs::remove_file(&filler).unwrap();

    // Room that is there at first, and gone later.
    let mut child = spawn(&slow_sort(&location));
    stop_in_the_middle(folder, &mut child);
    let mut filler = File::create(folder.path("filler")).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
    signal(&child, "-CONT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("No space left on device"),
        "{}",
        text(&output)
    );
    assert!(fs::read(&location).unwrap() == original);
    assert_eq!(folder.names(), ["a", "filler"]);

    fs::remove_file(folder.path("filler")).unwrap();
    drop(filler);
    ok(&slow_sort(&location));
    assert!(fs::read(&location).unwrap() == sorted);
}

#[test]
fn what_may_not_be_written_is_not_sorted() {
    let folder = Folder::new("sort-read-only");
    let location = folder.file("a", &[3, 2, 1]);
    let mode = |path: &str, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    // Root may write everywhere, so another user runs the command.
    let is_root = fs::metadata(&location).unwrap().uid() == 0;
    let sort = || {
        let mut command = elbowroom(&format!("page sort {location} --dtype u8"));
        if is_root {
            command.uid(65534).gid(65534);
        }
        command.output()
    };
    let home = folder.0.to_str().unwrap().to_owned();
    mode(&home, 0o555);
    mode(&location, 0o666);
    let Ok(output) = sort() else {
        return println!("another user cannot run the command here");
    };
    let refusal = text(&output);
    assert!(
        refusal.contains("cannot create ") && refusal.contains("Permission denied"),
        "{refusal}"
    );
    mode(&home, 0o777);
    mode(&location, 0o444);
    let output = sort().unwrap();
    assert!(
        text(&output).starts_with(&format!("elbowroom: cannot sort {location}: ")),
        "{}",
        text(&output)
    );
    assert_eq!(fs::read(&location).unwrap(), [3, 2, 1]);
    assert_eq!(folder.names(), ["a"]);
}

#[test]
fn links_and_permissions_stay() {
    let folder = Folder::new("sort-link");
    let location = folder.file("a", &[3, 2, 1]);
    fs::set_permissions(&location, Permissions::from_mode(0o640)).unwrap();
    let link = folder.path("link");
    symlink("a", &link).unwrap();
    ok(&format!("page sort {link} --dtype u8"));
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("a"));
    assert_eq!(fs::read(&location).unwrap(), [1, 2, 3]);
    assert_eq!(fs::metadata(&location).unwrap().mode() & 0o777, 0o640);
}
