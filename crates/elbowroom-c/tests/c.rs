//! Programs in C, C++ and Python against the library, compiled as strictly as a user might.

#![cfg(unix)]

use std::env::consts::DLL_SUFFIX;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use elbowroom_testing::is_emulated;

const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");
const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");

/// Returns whether a program works here, and says so if it does not.
fn is_there(program: &str, arguments: &[&str]) -> bool {
    if is_emulated() {
        eprintln!("skipped: the tests run in an emulator");
        return false;
    }
    let output = Command::new(program).args(arguments).output();
    let is_there = output.is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!("skipped: {program} {} does not work", arguments.join(" "));
    }
    is_there
}

/// Returns whether programs can be compiled and run here. In continuous integration they must be.
fn can_compile() -> bool {
    let can_compile = ["cc", "c++"].map(|compiler| is_there(compiler, &["--version"]));
    let is_ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(
        can_compile == [true; 2] || is_emulated() || !is_ci,
        "install compilers for C and C++, for example Debian's package build-essential"
    );
    can_compile == [true; 2]
}

/// Returns what a program prints, which must succeed.
fn succeed(command: &mut Command) -> String {
    let output: Output = command.output().expect("start the program");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn run(program: PathBuf) -> String {
    succeed(&mut Command::new(program))
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").expect("cargo runs the tests"));
    cargo.current_dir(PACKAGE);
    cargo
}

/// The files of the library, built once.
static LIBRARY: LazyLock<Vec<String>> = LazyLock::new(|| {
    let text = succeed(cargo().args(["build", "-p", "elbowroom-c", "--message-format=json"]));
    let messages = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    messages
        .filter(|message| {
            message["package_id"]
                .as_str()
                .is_some_and(|id| id.contains("elbowroom-c"))
        })
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(str::to_owned))
        .collect()
});

/// Returns the file of the library with this suffix.
fn library(suffix: &str) -> &'static str {
    let mut files = LIBRARY.iter();
    files
        .find(|file| file.ends_with(suffix))
        .unwrap_or_else(|| panic!("no {suffix}: {:?}", *LIBRARY))
}

/// Compiles a program against the static library. The arguments are separated by spaces.
fn compile(name: &str, arguments: &str) -> PathBuf {
    let program = Path::new(SCRATCH).join(name);
    let mut words = arguments.split(' ');
    let mut compile = Command::new(words.next().unwrap());
    compile
        .current_dir(PACKAGE)
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Iinclude"])
        .args(words)
        .arg("-o")
        .arg(&program)
        .arg(library(".a"))
        .args(["-lpthread", "-lm"]);
    if cfg!(target_os = "linux") {
        compile.arg("-ldl");
    }
    succeed(&mut compile);
    program
}

/// What the seed prints, with this number of pages and then the rest.
fn transcript(pages: usize, rest: &str) -> String {
    let page_size = room::page_size();
    let committed = "Exception is a page fault.\nAllocating another page.\n".repeat(pages);
    format!("This computer has page size {page_size}.\n{committed}{rest}")
}

#[test]
fn the_seed_commits_page_by_page() {
    if !can_compile() {
        return;
    }
    let program = compile("seed", "cc -std=c11 examples/c/seed.c");
    assert_eq!(run(program), transcript(80, "Release succeeded.\n"));
}

const SEED_OF_MICROSOFT: &str =
    "examples/c/seed_windows.c examples/c/windows/windows.c -Iexamples/c/windows";

#[test]
fn the_sample_of_microsoft_commits_page_by_page() {
    if !can_compile() {
        return;
    }
    // Optimised as well, because the sample jumps back into a function.
    for level in ["-O0", "-O2"] {
        let arguments = format!("cc -std=gnu11 {level} {SEED_OF_MICROSOFT}");
        let program = compile(&format!("seed_windows{level}"), &arguments);
        assert_eq!(run(program), transcript(80, "Release succeeded.\n"));
    }
}

#[test]
fn the_sample_of_microsoft_runs_out_of_pages() {
    if !can_compile() {
        return;
    }
    let arguments = format!("cc -std=gnu11 -DUNICODE -D_UNICODE {SEED_OF_MICROSOFT}");
    let program = compile("seed_windows_unicode", &arguments);
    let rest = "Exception is a page fault.\nException: out of pages.\nExiting process.\n";
    assert_eq!(run(program), transcript(80, rest));
}

#[test]
fn structured_exceptions_nest() {
    if !can_compile() {
        return;
    }
    let sources = "tests/c/exceptions.c examples/c/windows/windows.c -Iexamples/c/windows";
    run(compile("exceptions", &format!("cc -std=gnu11 {sources}")));
}

#[test]
fn every_function_does_what_the_header_says() {
    if !can_compile() {
        return;
    }
    run(compile("interface", "cc -std=c11 tests/c/interface.c"));
}

#[test]
fn refused_touches_can_be_left_by_siglongjmp() {
    if !can_compile() {
        return;
    }
    run(compile("jumps", "cc -std=gnu11 tests/c/jumps.c"));
}

#[test]
fn containers_of_cpp_keep_to_a_budget() {
    if !can_compile() {
        return;
    }
    let text = run(compile("tenants", "c++ -std=c++17 examples/c/tenants.cpp"));
    assert!(text.contains("tenant 1 is refused: "), "{text}");
    assert!(text.contains("the budget \"tenant 1\" of 1 MiB"), "{text}");
    assert!(text.ends_with("tenant 0 goes on\n"), "{text}");
}

/// Where nothing faults, since valgrind has no pages that commit on touch.
#[test]
fn nothing_leaks_under_valgrind() {
    if !can_compile() || !is_there("valgrind", &["--version"]) {
        return;
    }
    let interface = compile("interface_valgrind", "cc -std=c11 tests/c/interface.c");
    let tenants = compile("tenants_valgrind", "c++ -std=c++17 examples/c/tenants.cpp");
    for (program, argument) in [(interface, Some("quiet")), (tenants, None)] {
        let mut valgrind = Command::new("valgrind");
        valgrind
            .args(["--quiet", "--leak-check=full", "--error-exitcode=9"])
            .arg("--errors-for-leak-kinds=definite,indirect,possible")
            .arg(program)
            .args(argument);
        succeed(&mut valgrind);
    }
}

#[test]
fn an_array_of_numpy_commits_where_it_is_written() {
    if !is_there("python3", &["-c", "import numpy"]) {
        return;
    }
    let mut python = Command::new("python3");
    let script = python.current_dir(PACKAGE).arg("examples/c/array.py");
    let text = succeed(script.arg(library(DLL_SUFFIX)));
    assert_eq!(text, "137438953472 numbers; 1.5 499500.0\n");
}

/// With cargo-c, as a packager installs it.
#[test]
fn an_installed_library_is_found() {
    if !can_compile()
        || !is_there("cargo", &["capi", "--version"])
        || !is_there("pkg-config", &["--version"])
    {
        return;
    }
    let prefix = Path::new(SCRATCH).join("installed");
    let install = "cinstall --debug --libdir=lib --prefix";
    succeed(cargo().args(install.split(' ')).arg(&prefix));
    let path = prefix.join("lib/pkgconfig");

    let mut flags = Command::new("pkg-config");
    flags.args(["--cflags", "--libs", "elbowroom"]);
    let flags = succeed(flags.env("PKG_CONFIG_PATH", &path));
    let program = Path::new(SCRATCH).join("seed_installed");
    let mut compile = Command::new("cc");
    compile
        .current_dir(PACKAGE)
        .arg("examples/c/seed.c")
        .args(flags.split_whitespace())
        .arg("-o")
        .arg(&program);
    succeed(&mut compile);
    let seed = succeed(Command::new(program).env("LD_LIBRARY_PATH", prefix.join("lib")));
    assert_eq!(seed, transcript(80, "Release succeeded.\n"));

    if !is_there("cmake", &["--version"]) {
        return;
    }
    let build = Path::new(SCRATCH).join("cmake");
    let mut configure = Command::new("cmake");
    configure.args(["-S", "examples/c", "-B"]).arg(&build);
    succeed(configure.current_dir(PACKAGE).env("PKG_CONFIG_PATH", &path));
    succeed(Command::new("cmake").arg("--build").arg(&build));
    assert_eq!(
        run(build.join("seed")),
        transcript(80, "Release succeeded.\n")
    );
    assert!(run(build.join("tenants")).ends_with("tenant 0 goes on\n"));
}
