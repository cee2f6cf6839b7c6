//! Programs in C and C++ against the static library, compiled as strictly as a user might.

#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// Returns whether programs for this platform can be compiled and run here, and says why not.
fn is_possible(compiler: &str) -> bool {
    if std::env::var_os("ELBOWROOM_TEST_RUNNER").is_some() {
        eprintln!("skipped: the tests run in an emulator");
        return false;
    }
    let is_there = Command::new(compiler).arg("--version").output().is_ok();
    let is_ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(is_there || !is_ci, "there is no {compiler}");
    if !is_there {
        eprintln!(
            "skipped: there is no {compiler}; install it, for example Debian's package build-essential"
        );
    }
    is_there
}

/// Returns the output of a program that must succeed.
fn succeed(command: &mut Command) -> Output {
    let output = command.output().expect("start the program");
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// The static library, built once.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let mut build = Command::new(cargo);
    build.args(["build", "-p", "elbowroom-c", "--message-format=json"]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = succeed(&mut build);
    let text = String::from_utf8(output.stdout).unwrap();
    let messages = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let files: Vec<String> = messages
        .filter(|message| {
            message["package_id"]
                .as_str()
                .is_some_and(|id| id.contains("elbowroom-c"))
        })
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(str::to_owned))
        .collect();
    let library = files.iter().find(|file| file.ends_with(".a"));
    library
        .unwrap_or_else(|| panic!("no library: {files:?}"))
        .into()
});

/// Compiles a source file of this package, and returns the program.
fn compile(compiler: &str, standard: &str, source: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stem = Path::new(source).file_stem().unwrap();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(stem);
    let mut compile = Command::new(compiler);
    compile
        .arg(format!("-std={standard}"))
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(package.join("include"))
        .arg(package.join(source))
        .arg("-o")
        .arg(&program)
        .arg(&*LIBRARY)
        .args(["-lpthread", "-lm"]);
    if cfg!(target_os = "linux") {
        compile.arg("-ldl");
    }
    succeed(&mut compile);
    program
}

#[test]
fn the_seed_commits_page_by_page() {
    if !is_possible("cc") {
        return;
    }
    let program = compile("cc", "c11", "examples/c/seed.c");
    let text = String::from_utf8(succeed(&mut Command::new(program)).stdout).unwrap();
    let pages = text.matches("Exception is a page fault.\nAllocating another page.\n");
    assert_eq!(pages.count(), 80, "{text}");
    assert!(text.ends_with("Release succeeded.\n"), "{text}");
}

#[test]
fn every_function_does_what_the_header_says() {
    if !is_possible("cc") {
        return;
    }
    let program = compile("cc", "c11", "tests/c/interface.c");
    succeed(&mut Command::new(program));
}

#[test]
fn containers_of_cpp_keep_to_a_budget() {
    if !is_possible("c++") {
        return;
    }
    let program = compile("c++", "c++17", "examples/c/tenants.cpp");
    let text = String::from_utf8(succeed(&mut Command::new(program)).stdout).unwrap();
    assert!(text.contains("tenant 1 is refused: "), "{text}");
    assert!(text.contains("the budget \"tenant 1\" of 1 MiB"), "{text}");
    assert!(text.ends_with("tenant 0 goes on\n"), "{text}");
}
