//! What other people's libraries and programs do in a process with regions.

#[cfg(target_os = "linux")]
mod all {
    mod handlers;
    mod java;
    mod python;
    mod tasks;
    mod wasm;

    use std::env;
    use std::path::PathBuf;
    use std::process::{Command, Output};

    /// Runs one ignored test of this program, by its full name, in a process of its own.
    fn run_alone(test: &str) -> Output {
        let mut command = Command::new(env::current_exe().expect("the test program's own path"));
        command.args([test, "--exact", "--ignored", "--nocapture"]);
        command.output().expect("the child starts")
    }

    /// The functions of this package as a shared object, which `cargo test` builds beside its tests.
    fn shared_object() -> PathBuf {
        let program = env::current_exe().expect("the test program's own path");
        program.with_file_name("libelbowroom_clients.so")
    }

    /// Says that a program is missing. In continuous integration nothing may be.
    fn skip(what: &str) {
        assert!(env::var_os("CI").is_none(), "{what} is not there");
        eprintln!("skipped: {what} is not there");
    }
}
