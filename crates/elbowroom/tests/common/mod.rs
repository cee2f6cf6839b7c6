//! Helpers that several test programs share.

#![allow(dead_code, unused_imports, reason = "each test program uses its part")]

use std::env;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use elbowroom::{Backend, Region};
pub(crate) use elbowroom_testing::is_emulated;

/// Returns the bytes of `count` pages.
pub(crate) fn page(count: usize) -> usize {
    count * elbowroom::page_size()
}

/// Returns a very large size: 16 TiB, or less if an emulator keeps data for every reserved page.
pub(crate) fn vast() -> usize {
    match () {
        () if is_emulated() => 4 << 30,
        // Wine keeps a byte for each page.
        () if cfg!(windows) => 1 << 40,
        () => 16 << 40,
    }
}

/// Returns how many times to try something: fewer under an emulator, which is about fifty times slower.
pub(crate) fn times(natively: u32) -> u32 {
    if is_emulated() {
        natively.div_ceil(10)
    } else {
        natively
    }
}

/// Sets its flag when dropped, also if the thread that holds it panics, so that threads waiting for the flag stop.
pub(crate) struct SetWhenDropped<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns a command that runs this test program again with ROLE set.
pub(crate) fn child(role: &str) -> Command {
    let program = env::current_exe().expect("the test program's own path");
    let mut command = elbowroom_testing::command(program);
    command.env("ROLE", role).env_remove("RUST_BACKTRACE");
    command
}

/// Runs a child to its end.
pub(crate) fn run(role: &str) -> Output {
    child(role).output().expect("the child starts")
}

/// Runs one ignored test of this program, by its full name, in a separate process.
pub(crate) fn run_alone(test: &str) -> Output {
    child("")
        .args([test, "--exact", "--ignored", "--nocapture"])
        .output()
        .expect("the child starts")
}

/// Returns the backends on userfaultfd that this system has.
pub(crate) fn userfault_backends() -> Vec<Backend> {
    let mut backends = vec![Backend::Userfault, Backend::UserfaultMonitor];
    backends.retain(
        |&backend| match Region::builder(1).backend(backend).build() {
            Ok(_) => true,
            Err(error) => {
                eprintln!("not tried: {error}");
                false
            }
        },
    );
    backends
}
