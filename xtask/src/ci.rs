//! `cargo xtask ci`: every check but `cargo test`, one after the other, then a table of what became of each.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::platforms::{self, HOST_PAGE_SIZE, Platform};
use crate::workspace::{Deadline, build_folder, cargo};
use crate::{counts, debian, fuzz, msrv, tidy, trixie};

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Install what a step needs, rather than skip the step.
    install: bool,
    /// The steps to run; empty means all.
    only: Vec<String>,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--install" => options.install = true,
                "--only" => {
                    let Some(steps) = args.next() else { bail!("--only needs the names of steps") };
                    options.only.extend(steps.split(',').map(str::to_owned));
                }
                unknown => bail!("ci has no option `{unknown}`"),
            }
        }
        let known: Vec<&str> = steps().iter().map(|step| step.name).collect();
        if let Some(unknown) = options.only.iter().find(|name| !known.contains(&name.as_str())) {
            bail!("no step `{unknown}`; the steps are {}", known.join(", "));
        }
        Ok(options)
    }

    fn wants(&self, step: &Step) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == step.name)
    }
}

/// One check.
struct Step {
    name: &'static str,
    /// The Debian packages without which it cannot run.
    packages: Vec<&'static str>,
    /// A check that takes longer hangs, and is killed.
    limit: Duration,
    check: Box<dyn Fn(Deadline) -> Result<()>>,
}

impl Step {
    fn new(name: &'static str, minutes: u64, check: impl Fn(Deadline) -> Result<()> + 'static) -> Self {
        let limit = Duration::from_secs(60 * minutes);
        Self { name, packages: Vec::new(), limit, check: Box::new(check) }
    }

    fn needs(self, packages: &[&'static str]) -> Self {
        Self { packages: packages.to_vec(), ..self }
    }
}

fn steps() -> Vec<Step> {
    vec![
        Step::new("fmt", 2, |deadline| deadline.run(cargo().args(["fmt", "--all", "--check"]))),
        Step::new("clippy", 10, |deadline| {
            let args = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
            deadline.run(cargo().args(args))
        }),
        Step::new("docs", 10, |deadline| {
            // The command and the library have one name. Together their pages would collide; in turn, those of the
            // library overwrite those of the command.
            for packages in [["--package", "elbowroom-cli"], ["--workspace", "--exclude=elbowroom-cli"]] {
                let mut doc = cargo();
                doc.arg("doc").args(packages).env("RUSTDOCFLAGS", "-D warnings");
                doc.args(["--no-deps", "--all-features", "--document-private-items"]);
                deadline.run(&doc)?;
            }
            Ok(())
        }),
        Step::new("tidy", 1, |_| tidy::check()),
        Step::new("package", 10, |deadline| {
            // A dry run builds the packages as their users will, and needs no account.
            let packages = ["-p", "elbowroom", "-p", "elbowroom-map"];
            deadline.run(cargo().args(["publish", "--dry-run", "--allow-dirty"]).args(packages))
        }),
        Step::new("msrv", 10, msrv::check).needs(&[trixie::KEYRING_PACKAGE]),
        // Optimised, because that is when the compiler makes use of what unsafe code promises.
        Step::new("release", 15, |deadline| {
            deadline.run(cargo().args(["test", "--workspace", "--all-features", "--release", "--no-fail-fast"]))
        }),
        Step::new("counts", 10, |deadline| counts::run(&["--check".to_owned()], deadline)).needs(&["valgrind"]),
        // Every order of the threads' steps that the memory model allows.
        Step::new("models", 10, |deadline| {
            let mut test = cargo();
            test.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", build_folder().join("models"));
            deadline.run(test.args(["test", "-p", "elbowroom", "--lib", "--release", "models::"]))
        }),
        // That the fuzz targets have not rotted.
        Step::new("fuzz", 10, fuzz::check),
        test_on("windows", Platform::Windows),
        test_on("arm64-4k", Platform::Arm64 { page_size: HOST_PAGE_SIZE }),
        test_on("arm64-16k", Platform::Arm64 { page_size: 16 << 10 }),
        test_on("arm64-64k", Platform::Arm64 { page_size: 64 << 10 }),
        check_on("macos", "deny", &["aarch64-apple-darwin", "x86_64-apple-darwin"]),
        check_on("windows-msvc", "deny", &["x86_64-pc-windows-msvc", "aarch64-pc-windows-msvc"]),
        // A system that the library does not support: it must compile there, and refuse when it runs. Much of it has
        // no use there, so warnings say nothing.
        check_on("freebsd", "allow", &["x86_64-unknown-freebsd"]),
    ]
}

/// Runs the tests on another platform.
fn test_on(name: &'static str, platform: Platform) -> Step {
    Step::new(name, 15, move |deadline| {
        let mut test = platform.cargo("test")?;
        test.args(["--workspace", "--exclude", "xtask", "--all-features", "--no-fail-fast"]);
        if matches!(platform, Platform::Arm64 { page_size } if page_size != HOST_PAGE_SIZE) {
            // Not those in the documentation, which show off reservations too large for the emulator of these pages.
            test.arg("--tests");
            // An emulator's figures say nothing; that the benchmarks compile is seen with small pages.
            test.arg("--exclude=elbowroom-bench");
        }
        let result = deadline.run(&test);
        if platform == Platform::Windows {
            platforms::stop_wine();
        }
        result
    })
    .needs(&platform.packages())
}

/// Type-checks for targets whose programs cannot run here; Clippy does not come there, so warnings are told what to do.
fn check_on(name: &'static str, warnings: &'static str, targets: &'static [&'static str]) -> Step {
    let platforms = targets.iter().map(|target| Platform::CheckOnly(target));
    let packages: Vec<&str> = platforms.clone().flat_map(Platform::packages).collect();
    Step::new(name, 10, move |deadline| {
        for platform in platforms.clone() {
            let mut check = platform.cargo("check")?;
            check.arg("-Zwarnings").env("CARGO_BUILD_WARNINGS", warnings);
            deadline.run(check.args(["--workspace", "--exclude", "xtask", "--all-targets"]))?;
        }
        Ok(())
    })
    .needs(&packages)
}

enum Outcome {
    Ok,
    Skipped { missing: Vec<&'static str> },
    Failed(String),
}

impl Outcome {
    fn is_fine(&self, may_skip: bool) -> bool {
        match self {
            Self::Ok => true,
            Self::Skipped { .. } => may_skip,
            Self::Failed(_) => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Skipped { missing } => write!(f, "skipped: install {}", missing.join(" ")),
            Self::Failed(why) => write!(f, "FAILED: {why}"),
        }
    }
}

struct Row {
    name: &'static str,
    outcome: Outcome,
    seconds: f64,
}

/// Runs the steps; true if none failed.
pub(crate) fn run(options: &Options) -> bool {
    let steps: Vec<Step> = steps().into_iter().filter(|step| options.wants(step)).collect();
    let mut rows = Vec::new();
    if options.install {
        rows.extend(install(&steps));
    }
    for step in &steps {
        rows.push(timed(step.name, || {
            let missing = debian::missing(&step.packages);
            if !missing.is_empty() {
                return Outcome::Skipped { missing };
            }
            outcome((step.check)(Deadline::after(step.limit)))
        }));
    }
    println!("\n{:<14} {:>7}  result", "step", "seconds");
    for Row { name, outcome, seconds } in &rows {
        println!("{name:<14} {seconds:>7.1}  {outcome}");
    }
    // Whoever can install things, or is continuous integration, has no reason to skip any.
    let may_skip = !options.install && std::env::var("CI").as_deref() != Ok("true");
    rows.iter().all(|row| row.outcome.is_fine(may_skip))
}

/// Installs what the steps need; nothing to do gives no row.
fn install(steps: &[Step]) -> Option<Row> {
    let mut needed: Vec<&str> = steps.iter().flat_map(|step| step.packages.iter().copied()).collect();
    needed.sort_unstable();
    needed.dedup();
    let missing = debian::missing(&needed);
    let limit = Duration::from_secs(60 * 15);
    (!missing.is_empty()).then(|| timed("install", || outcome(debian::install(&missing, Deadline::after(limit)))))
}

fn timed(name: &'static str, work: impl FnOnce() -> Outcome) -> Row {
    println!("\n== {name}");
    let start = Instant::now();
    let outcome = work();
    let seconds = start.elapsed().as_secs_f64();
    println!("== {name}: {outcome}, {seconds:.1} s");
    Row { name, outcome, seconds }
}

fn outcome(result: Result<()>) -> Outcome {
    match result {
        Ok(()) => Outcome::Ok,
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    fn chosen(options: &Options) -> Vec<&'static str> {
        steps().iter().filter(|step| options.wants(step)).map(|step| step.name).collect()
    }

    #[test]
    fn options_choose_the_steps() {
        let all = parse(&[]).unwrap();
        assert!(!all.install && chosen(&all).len() == steps().len());
        let some = parse(&["--install", "--only", "tidy,fmt"]).unwrap();
        assert!(some.install);
        assert_eq!(chosen(&some), ["fmt", "tidy"]);
    }

    #[test]
    fn unknown_options_and_steps_are_errors() {
        for args in [&["--instal"][..], &["--only"], &["--only", "fmt,nothing"], &["fmt"]] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn skipping_fails_where_nothing_may_be_skipped() {
        let skipped = Outcome::Skipped { missing: vec!["wine"] };
        assert!(skipped.is_fine(true) && !skipped.is_fine(false));
        assert_eq!(skipped.to_string(), "skipped: install wine");
        assert!(Outcome::Ok.is_fine(false) && !Outcome::Failed(String::new()).is_fine(true));
    }
}
