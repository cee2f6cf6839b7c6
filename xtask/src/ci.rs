//! `cargo xtask ci`: every check except `cargo test`, one after the other, then a table of the results.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::platforms::Platform::{Arm64, Windows};
use crate::platforms::{self, ALL, ARM64, RUST, WINDOWS};
use crate::workspace::{LIBRARIES, build_folder, cargo, shell};
use crate::{counts, debian, fuzz, msrv, tidy};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Installs the Debian packages that the steps need, instead of skipping steps
    #[arg(long)]
    install: bool,
    /// Runs only these steps
    #[arg(long, value_name = "STEP", value_delimiter = ',', value_parser = names())]
    only: Vec<String>,
}

/// A check: its name, the minutes after which it is killed because it hangs, and the Debian packages that it needs,
/// separated by spaces.
type Step = (&'static str, u64, &'static str, fn(&Shell) -> Result<()>);

const STEPS: &[Step] = &[
    ("fmt", 2, "", |sh| cargo(sh, "fmt --all --check")),
    ("clippy", 10, "", |sh| {
        let all = "--workspace --all-targets --all-features";
        cargo(sh, &format!("clippy {all} -- -D warnings"))
    }),
    ("docs", 10, "", |sh| {
        sh.set_var("RUSTDOCFLAGS", "-D warnings");
        // The command and the library have the same name. In one build their pages would collide; in two, those of the
        // library overwrite those of the command. With the examples, dependencies have the features that Clippy
        // checked.
        let doc = "doc --no-deps --all-features --document-private-items";
        let others = "--exclude elbowroom --exclude elbowroom-c --lib --bins --examples";
        cargo(sh, &format!("{doc} --workspace {others}"))?;
        cargo(sh, &format!("{doc} -p elbowroom"))
    }),
    ("tidy", 1, "", |_| tidy::check()),
    ("package", 10, "", |sh| {
        // A dry run builds the packages as their users will, and needs no account.
        forget_dry_runs(sh)?;
        cargo(sh, &format!("publish --dry-run --allow-dirty {LIBRARIES}"))
    }),
    ("msrv", 10, "debian-archive-keyring", |_| msrv::check()),
    ("features", 10, "", |sh| {
        // The tests with all features run optimised in the step release, and unoptimised only under emulators.
        // Overflows and debug assertions are checked in debug builds alone.
        let tests = "--lib --test all --test events --test gauges";
        let packages = "-p elbowroom -p elbowroom-telemetry";
        cargo(sh, &format!("test {packages} --all-features {tests}"))
    }),
    ("release", 15, "", |sh| {
        // Optimised, because only then does the compiler rely on the promises of unsafe code. The tests of the
        // benchmarks and of the documentation would find nothing more.
        let packages = "--workspace --exclude xtask --exclude elbowroom-bench";
        let test = "test --release --all-features --tests --no-fail-fast";
        cargo(sh, &format!("{test} {packages}"))
    }),
    ("counts", 10, "valgrind", |_| counts::run(true)),
    ("models", 10, "", |sh| {
        // Loom tries every order of the threads' steps that the memory model allows.
        sh.set_var("RUSTFLAGS", "--cfg loom");
        sh.set_var("CARGO_TARGET_DIR", build_folder().join("models"));
        let packages = "-p elbowroom -p elbowroom-pager";
        cargo(sh, &format!("test {packages} --lib --release models::"))
    }),
    // A real server for the S3 protocol, in Python.
    ("s3", 10, "python3-venv", |sh| {
        let folder = build_folder().join("moto");
        if !sh.path_exists(folder.join("bin/moto_server")) {
            cmd!(sh, "python3 -m venv {folder}").run()?;
            let pip = folder.join("bin/pip");
            cmd!(sh, "{pip} install --quiet moto[server]==5.2.5").run()?;
        }
        sh.set_var("ELBOWROOM_MOTO_SERVER", folder.join("bin/moto_server"));
        let test = "test -p elbowroom-pager --features remote --test all s3::";
        cargo(sh, test)
    }),
    // Shows that the fuzz targets compile and run.
    ("fuzz", 10, "", |_| fuzz::check()),
    // Programs of other projects, which must be installed.
    (
        "clients",
        10,
        "openjdk-17-jdk-headless python3-numpy",
        |sh| {
            cargo(sh, "fmt --manifest-path=clients/Cargo.toml --check")?;
            sh.set_var("CI", "true");
            let folder = build_folder().join("clients");
            sh.set_var("CARGO_TARGET_DIR", &folder);
            cargo(sh, "test --locked --manifest-path=clients/Cargo.toml")?;
            Ok(cmd!(sh, "clients/hashbrown/run {folder}").run()?)
        },
    ),
    ("windows", 15, WINDOWS, |sh| {
        platforms::test(sh, Windows)?;
        platforms::test_c_on_windows(sh)
    }),
    ("arm64-4k", 25, ARM64, |sh| platforms::test(sh, Arm64(4096))),
    ("arm64-16k", 25, ARM64, |sh| {
        platforms::test(sh, Arm64(16384))
    }),
    ("arm64-64k", 25, ARM64, |sh| {
        platforms::test(sh, Arm64(65536))
    }),
    // Only the library and the benchmarks depend on the processor, so the second target of a system checks the library
    // alone.
    ("macos", 10, RUST, |sh| {
        platforms::lint(sh, "aarch64-apple-darwin", ALL)?;
        platforms::lint(sh, "x86_64-apple-darwin", "--all-features -p elbowroom")
    }),
    ("windows-msvc", 10, RUST, |sh| {
        // The benchmarks were compiled in the step windows.
        let others = format!("{ALL} --exclude=elbowroom-bench");
        platforms::lint(sh, "x86_64-pc-windows-msvc", &others)?;
        platforms::lint(sh, "aarch64-pc-windows-msvc", "--all-features -p elbowroom")
    }),
    ("freebsd", 10, RUST, |sh| {
        // A system that the library does not support: it must compile there, and refuse when it runs. Much of it has
        // no use there, so warnings and lints say nothing.
        let others = format!("{ALL} --exclude=elbowroom-bench");
        Ok(platforms::check(sh, "x86_64-unknown-freebsd", &others).run()?)
    }),
];

fn names() -> Vec<&'static str> {
    STEPS.iter().map(|(name, ..)| *name).collect()
}

/// Runs each step in a separate process, which `timeout` ends with all its children. Fails if a step failed, or was
/// skipped although no step may be.
pub(crate) fn run_steps(options: &Options) -> Result<()> {
    let Options { install, only } = options;
    let sh = shell()?;
    let is_chosen = |(name, ..): &&Step| only.is_empty() || only.iter().any(|only| only == name);
    let steps: Vec<&Step> = STEPS.iter().filter(is_chosen).collect();
    if *install {
        let needed = steps.iter().map(|(_, _, packages, _)| *packages);
        debian::install(&sh, &needed.collect::<Vec<_>>().join(" "))?;
    }
    // With --install, or in continuous integration, no step may be skipped.
    let may_skip = !install && std::env::var("CI").as_deref() != Ok("true");
    let mut table = format!("\n{:<14} {:>7}  result", "step", "seconds");
    let mut failed = 0;
    for (name, minutes, packages, _) in steps {
        println!("\n== {name}");
        let start = Instant::now();
        let missing = debian::missing(&sh, packages);
        let (is_fine, result) = if missing.is_empty() {
            // At a terminal, Ctrl-C must reach the step.
            let foreground = std::io::stdin().is_terminal().then_some("--foreground");
            let (me, limit) = (std::env::current_exe()?, format!("{minutes}m"));
            let timeout = cmd!(sh, "timeout --kill-after=10 {foreground...} {limit}");
            let step = timeout.arg(me).args(["step", name]);
            let status = Command::from(step).status()?;
            if *packages == WINDOWS {
                // Wine's server keeps running after its programs end, and `timeout` does not end it.
                platforms::stop_wine(&sh)?;
            }
            match status.code() {
                Some(0) => (true, "ok".to_owned()),
                Some(124 | 137) => (false, format!("FAILED: not done in {minutes} minutes")),
                _ => (false, "FAILED".to_owned()),
            }
        } else {
            (may_skip, format!("skipped: install {}", missing.join(" ")))
        };
        failed += usize::from(!is_fine);
        let seconds = start.elapsed().as_secs_f64();
        println!("== {name}: {result}, {seconds:.1} s");
        table += &format!("\n{name:<14} {seconds:>7.1}  {result}");
    }
    println!("{table}");
    ensure!(failed == 0, "{failed} steps failed or were skipped");
    Ok(())
}

/// Runs one step in this process.
pub(crate) fn run_step(name: &str) -> Result<()> {
    let mut steps = STEPS.iter();
    let step = steps.find(|(step, ..)| *step == name);
    let (.., check) = step.with_context(|| format!("no step {name}"))?;
    check(&shell()?)
}

/// Removes the packages of earlier dry runs, which cargo keeps by name and version and would take for the present ones.
fn forget_dry_runs(sh: &Shell) -> Result<()> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var("HOME")?).join(".cargo"),
    };
    for folder in ["cache", "index", "src"] {
        let folder = home.join("registry").join(folder);
        for entry in sh.read_dir(folder).unwrap_or_default() {
            // The registry of a dry run has no host, so its folders have no name but a number.
            let name = entry.file_name().unwrap_or_default();
            if name.to_string_lossy().starts_with('-') {
                sh.remove_path(entry)?;
            }
        }
    }
    Ok(())
}
