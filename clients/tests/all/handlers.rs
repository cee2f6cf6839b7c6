//! crash-handler, attached before, after and between regions: touches are resolved, and a crash is told to it once.

use std::os::unix::process::ExitStatusExt;

use crash_handler::{CrashEventResult, CrashHandler, make_crash_event};
use elbowroom::{Region, fault};

use super::run_alone;

fn attach() -> CrashHandler {
    // SAFETY: the closure writes to standard error, by one system call.
    let event = unsafe {
        make_crash_event(|_| {
            let text = b"a crash is handled\n";
            libc::write(2, text.as_ptr().cast(), text.len());
            CrashEventResult::Handled(false)
        })
    };
    CrashHandler::attach(event).unwrap()
}

fn region() -> Region {
    let region = Region::new(1 << 20).unwrap();
    region.try_write(0, 1u8).unwrap();
    region
}

fn crash() {
    // SAFETY: none: the fault is what is tested.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
}

#[test]
fn a_crash_is_handled_once() {
    for order in ["before", "after", "between"] {
        let output = run_alone(&format!("all::handlers::{order}"));
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGSEGV),
            "{order}: {output:?}"
        );
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            text.matches("a crash is handled").count(),
            1,
            "{order}: {text}"
        );
        assert!(text.contains("touched"), "{order}: {text}");
    }
}

#[test]
#[ignore = "run by a_crash_is_handled_once in a process of its own"]
fn before() {
    let _handler = attach();
    let region = region();
    region.try_write(1 << 19, 1u8).unwrap();
    eprintln!("touched");
    crash();
}

#[test]
#[ignore = "run by a_crash_is_handled_once in a process of its own"]
fn after() {
    let region = region();
    let _handler = attach();
    // It takes every fault for a crash.
    fault::reinstall().unwrap();
    region.try_write(1 << 19, 1u8).unwrap();
    eprintln!("touched");
    crash();
}

#[test]
#[ignore = "run by a_crash_is_handled_once in a process of its own"]
fn between() {
    let first = region();
    let _handler = attach();
    let second = region();
    first.try_write(1 << 19, 1u8).unwrap();
    second.try_write(1 << 19, 1u8).unwrap();
    eprintln!("touched");
    crash();
}
