//! Tests that run only natively, because an emulator has its own limits, signals and /proc.

#![allow(
    unsafe_code,
    reason = "what a child prepares before it becomes the command"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::*;
use crate::common::{Outcome, elbowroom};
use elbowroom_testing::{ControlGroup, is_emulated};

mod system_calls;

use system_calls::{filter, install};

/// Returns the findings of a child that runs `prepare` before it becomes the command.
fn in_a_place(
    prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> Option<(Value, i32)> {
    if is_emulated() {
        return None;
    }
    let mut command = elbowroom("doctor --json");
    // SAFETY: every `prepare` only makes system calls, which are allowed between fork and exec.
    unsafe { command.pre_exec(prepare) };
    let outcome = Outcome::new(command.output().unwrap());
    Some((outcome.json(), outcome.status))
}

fn limit(
    resource: libc::__rlimit_resource_t,
    bytes: u64,
) -> impl FnMut() -> io::Result<()> + Send + Sync {
    move || {
        let limit = libc::rlimit {
            rlim_cur: bytes,
            rlim_max: bytes,
        };
        // SAFETY: the pointer is to a live structure (setrlimit(2)).
        match unsafe { libc::setrlimit(resource, &limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[test]
fn a_blocked_signal_is_missing() {
    let place = in_a_place(|| {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the pointer is to writable memory for a set; the call makes it an empty set.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: the set is initialised, and the signal is valid.
        unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGSEGV) };
        // SAFETY: the set is initialised; a null pointer asks for no old mask.
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
        Ok(())
    });
    let Some((json, status)) = place else { return };
    assert_eq!(status, 1);
    assert_eq!(json["worst"], "missing");
    assert_eq!(
        finding(&json, "blocked_signals")["value"],
        serde_json::json!(["SIGSEGV"])
    );
    // The touch is tried nevertheless, in a child process that it ends.
    let touch = finding(&json, "commit_on_touch");
    assert_eq!(
        (touch["level"].as_str(), touch["found"].as_str()),
        (Some("missing"), Some("does not work: ended by SIGSEGV"))
    );
}

#[test]
fn a_limit_on_addresses_is_found() {
    let Some((json, status)) = in_a_place(limit(libc::RLIMIT_AS, 512 << 20)) else {
        return;
    };
    assert_eq!(status, 0);
    let largest = finding(&json, "largest_reservation");
    let bytes = largest["value"].as_u64().unwrap();
    // The program itself takes some of it.
    assert!((480 << 20..512 << 20).contains(&bytes), "{largest}");
    assert_eq!(largest["level"], "warning");
    assert_eq!(
        finding(&json, "rlimit_as")["value"]["limit_bytes"],
        512 << 20
    );
    assert_eq!(finding(&json, "rlimit_as")["level"], "warning");
    assert!(
        finding(&json, "process_budget")["value"]["bytes"]
            .as_u64()
            .unwrap()
            < 512 << 20
    );
}

#[test]
fn a_limit_on_data_is_found() {
    let Some((json, status)) = in_a_place(limit(libc::RLIMIT_DATA, 256 << 20)) else {
        return;
    };
    assert_eq!(status, 0);
    assert_eq!(
        finding(&json, "rlimit_data")["value"]["limit_bytes"],
        256 << 20
    );
    assert!(
        finding(&json, "process_budget")["value"]["bytes"]
            .as_u64()
            .unwrap()
            < 256 << 20
    );
    // Addresses are no data.
    assert!(
        finding(&json, "largest_reservation")["value"]
            .as_u64()
            .unwrap()
            >= 1 << 30
    );
}

/// Only root can become a user without privileges.
#[test]
fn without_privileges_there_is_less_of_userfaultfd() {
    // SAFETY: no preconditions.
    if is_emulated() || unsafe { libc::geteuid() } != 0 {
        return;
    }
    let nobody = 65_534;
    let mut command = elbowroom("doctor --json");
    // The user `nobody` may be unable to enter a folder of the path.
    let Ok(output) = command.uid(nobody).gid(nobody).output() else {
        return;
    };
    let outcome = Outcome::new(output);
    let json = outcome.json();
    let is_for_all = std::fs::read_to_string("/proc/sys/vm/unprivileged_userfaultfd");
    if is_for_all.is_ok_and(|is_for_all| is_for_all.trim() == "0") {
        let full = finding(&json, "userfaultfd");
        assert_eq!(
            (full["value"].as_bool(), full["level"].as_str()),
            (Some(false), Some("note")),
            "{full}"
        );
    }
    // A feature that only some uses need is not a defect.
    assert_eq!(outcome.status, 0);
    assert_eq!(finding(&json, "commit_on_touch")["level"], "ok");
}

/// Needs the right to make control groups: root's, or a delegated group.
#[test]
fn a_small_control_group_is_found() {
    if is_emulated() {
        return;
    }
    let name = format!("elbowroom-doctor-{}", std::process::id());
    let group = match ControlGroup::new(&name, 192 << 20) {
        Ok(group) => group,
        Err(why) => return println!("skipped: {why}"),
    };
    let (processes, program) = (group.processes(), env!("CARGO_BIN_EXE_elbowroom"));
    let script = format!(
        "echo 0 > {} && exec {program} doctor --json",
        processes.display()
    );
    let outcome = Outcome::new(Command::new("sh").args(["-c", &script]).output().unwrap());
    let json = outcome.json();
    assert_eq!(outcome.status, 0);
    let limits = finding(&json, "cgroup_memory");
    let ours = limits["value"]
        .as_array()
        .unwrap()
        .iter()
        .find(|limit| limit["limit_bytes"] == 192 << 20);
    assert!(
        ours.is_some_and(|ours| ours["file"] == group.limit_file.to_str().unwrap()),
        "{limits}"
    );
    let budget = finding(&json, "process_budget");
    assert!(
        (100 << 20..=192 << 20).contains(&budget["value"]["bytes"].as_u64().unwrap()),
        "{budget}"
    );
}

/// A kernel, or a sandbox, without userfaultfd.
#[test]
fn no_userfaultfd_is_a_note() {
    let Some((json, status)) = filtered(
        libc::SYS_userfaultfd,
        libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
    ) else {
        return;
    };
    assert_eq!(status, 0);
    for id in ["userfaultfd", "userfaultfd_user_mode"] {
        let finding = finding(&json, id);
        assert_eq!(
            (finding["value"].as_bool(), finding["level"].as_str()),
            (Some(false), Some("note")),
            "{finding}"
        );
    }
    assert_eq!(finding(&json, "commit_on_touch")["level"], "ok");
}

/// Returns the findings if a filter gives this answer to one system call.
fn filtered(call: libc::c_long, answer: u32) -> Option<(Value, i32)> {
    let filter = filter(&[call], answer, libc::SECCOMP_RET_ALLOW);
    in_a_place(move || install(&filter))
}

/// A filter that ends the process for a system call, which must not end the command.
#[test]
fn a_deadly_filter_is_survived() {
    let Some((json, status)) = filtered(libc::SYS_userfaultfd, libc::SECCOMP_RET_KILL_PROCESS)
    else {
        return;
    };
    assert_eq!(status, 0);
    assert_eq!(finding(&json, "seccomp")["value"], "filtered");
    let userfaultfd = finding(&json, "userfaultfd");
    assert_eq!(userfaultfd["value"], false);
    assert_eq!(
        userfaultfd["found"],
        "no: a seccomp filter ends the process that asks"
    );
    assert_eq!(finding(&json, "commit_on_touch")["level"], "ok");
}

/// Nothing is left: no child, no core file, no mapping. The folder it runs in would show a core file.
#[test]
fn it_leaves_no_trace() {
    let folder = std::env::temp_dir().join(format!("elbowroom-doctor-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let outcome = Outcome::new(elbowroom("doctor").current_dir(&folder).output().unwrap());
    let left = std::fs::read_dir(&folder).unwrap().count();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!((outcome.stderr.as_str(), left), ("", 0));
}

/// Returns the output on a terminal, with these variables.
fn on_a_terminal(variables: &[(&str, &str)]) -> Option<String> {
    use std::fs::OpenOptions;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    // A container may have none.
    let mut master = options.open("/dev/ptmx").ok()?;
    let (unlock, mut number) = (0i32, 0i32);
    // SAFETY: the request reads an int, and the pointer is to one (ioctl_tty(2)).
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) };
    assert_eq!(result, 0);
    // SAFETY: the request writes an int, and the pointer is to a writable one (ioctl_tty(2)).
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
    assert_eq!(result, 0);
    let terminal = options.open(format!("/dev/pts/{number}")).ok()?;
    let size = libc::winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the request reads a winsize, and the pointer is to one (ioctl_tty(2)).
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(result, 0);
    let mut command = elbowroom("doctor --all");
    command
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .envs(variables.iter().copied());
    let mut child = command.stdout(terminal).spawn().unwrap();
    drop(command);
    let mut text = Vec::new();
    // Ends with EIO when no process has the terminal open.
    let _ = master.read_to_end(&mut text);
    child.wait().unwrap();
    Some(String::from_utf8(text).unwrap())
}

#[test]
fn terminals_get_colours_unless_they_are_unwanted() {
    if is_emulated() {
        return;
    }
    let Some(colourful) = on_a_terminal(&[]) else {
        return;
    };
    assert!(colourful.contains("\x1b[32mok"), "{colourful:?}");
    assert!(on_a_terminal(&[("NO_COLOR", "")]).unwrap().contains('\x1b'));
    for refused in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        let plain = on_a_terminal(&refused).unwrap();
        assert!(
            !plain.contains('\x1b') && plain.contains("page size"),
            "{plain:?}"
        );
        // As wide as the terminal.
        let widest = plain
            .lines()
            .map(|line| line.trim_end().chars().count())
            .max();
        assert!((60..=80).contains(&widest.unwrap()), "{plain}");
    }
}
