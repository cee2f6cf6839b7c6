//! `cargo xtask counts`: how many instructions the paths take that matter most, counted by Valgrind.
//!
//! Instructions are not time. But the count is the same each time, on a busy machine as well, so a change that makes a
//! path longer shows. `benches/COUNTS.md` keeps the counts with the compiler they were made with; `--check` compares
//! with it.

use std::env::consts::ARCH;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{Deadline, cargo, output, program, root, target_folder};

const FILE: &str = "benches/COUNTS.md";

/// For all of it, building included.
pub(crate) const LIMIT: Duration = Duration::from_secs(60 * 15);

/// What a count may exceed the one that was kept by: other versions of the C library differ a little.
fn allowed(kept: f64) -> f64 {
    kept * 1.05 + 1.0
}

/// An operation and its instructions.
#[derive(Clone, Debug, PartialEq)]
struct Count {
    name: String,
    what: String,
    instructions: f64,
}

/// Counts and writes the file, or with `--check` compares with it.
pub(crate) fn run(args: &[String], deadline: Deadline) -> Result<()> {
    let is_check = match args {
        [] => false,
        [option] if option == "--check" => true,
        _ => bail!("counts knows only the option --check"),
    };
    let compiler = output(program("rustc").arg("--version"))?.trim().to_owned();
    let counts = count(deadline)?;
    let text = text(&compiler, &counts);
    let file = root().join(FILE);
    if !is_check {
        print!("{text}");
        return fs::write(&file, text).with_context(|| format!("write {FILE}"));
    }
    let kept = fs::read_to_string(&file).with_context(|| format!("read {FILE}"))?;
    if !kept.contains(&compiler) {
        print!("{text}\nNot compared: {FILE} was made with another compiler.\n");
        return Ok(());
    }
    compare(&parse(&kept), &counts)
}

fn count(deadline: Deadline) -> Result<Vec<Count>> {
    deadline.run(cargo().args(["build", "--release", "-p", "elbowroom-bench"]))?;
    let benchmarks = target_folder().join("release").join("elbowroom-bench");
    let list = output(Command::new(&benchmarks).arg("count"))?;
    let mut counts = Vec::new();
    for line in list.lines() {
        let [name, times, what] = line.split('\t').collect::<Vec<_>>()[..] else { bail!("odd line: {line}") };
        let times: u32 = times.parse().with_context(|| format!("odd line: {line}"))?;
        let collected = |times: u32| -> Result<u64> {
            let mut valgrind = program("valgrind");
            valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
            // Where a fault is resumed, all registers must be right.
            valgrind.arg("--vex-iropt-register-updates=allregs-at-mem-access").arg(&benchmarks);
            valgrind.args(["count", name, &times.to_string()]);
            collected(&mut valgrind).with_context(|| format!("count {name}"))
        };
        let more = collected(2 * times)?.checked_sub(collected(times)?).context("twice as many took less")?;
        let instructions = (more as f64 / f64::from(times) * 10.0).round() / 10.0;
        counts.push(Count { name: name.to_owned(), what: what.to_owned(), instructions });
    }
    Ok(counts)
}

/// Runs a program under callgrind, and finds its instructions in what that says at the end.
fn collected(valgrind: &mut Command) -> Result<u64> {
    let output = valgrind.output().context("start valgrind (Debian's package valgrind)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}\n{said}", output.status);
    let figure = said.lines().find_map(|line| line.split_once("Collected :")).context("valgrind tells no count")?.1;
    figure.trim().parse().with_context(|| format!("what valgrind said: {figure}"))
}

fn text(compiler: &str, counts: &[Count]) -> String {
    let mut text = format!(
        "# Instructions\n\nWritten by `cargo xtask counts`, with {compiler} on {ARCH}. The kernel's are not counted.\n\
         \n| | instructions | |\n|---|---|---|\n"
    );
    for Count { name, what, instructions } in counts {
        let _ = writeln!(text, "| `{name}` | {instructions} | {what} |");
    }
    text
}

fn parse(text: &str) -> Vec<Count> {
    let row = |line: &str| {
        let [_, name, instructions, what, _] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            return None;
        };
        let instructions = instructions.parse().ok()?;
        Some(Count { name: name.trim_matches('`').to_owned(), what: what.to_owned(), instructions })
    };
    text.lines().filter_map(row).collect()
}

fn compare(kept: &[Count], counts: &[Count]) -> Result<()> {
    let mut longer = String::new();
    for count in counts {
        let Some(kept) = kept.iter().find(|kept| kept.name == count.name) else {
            bail!("{FILE} has no `{}`: cargo xtask counts", count.name);
        };
        println!("{:<16} {:>8} {:>8}", count.name, kept.instructions, count.instructions);
        if count.instructions > allowed(kept.instructions) {
            let _ = write!(longer, "\n  {}: {}, was {}", count.name, count.instructions, kept.instructions);
        }
    }
    ensure!(longer.is_empty(), "longer than {FILE} says; if it is worth it, cargo xtask counts:{longer}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(instructions: f64) -> Vec<Count> {
        vec![Count { name: "push".to_owned(), what: "a `push`".to_owned(), instructions }]
    }

    #[test]
    fn what_is_written_can_be_read() {
        let text = text("rustc 1.2.3", &counts(7.5));
        assert!(text.contains("rustc 1.2.3"));
        assert_eq!(parse(&text), counts(7.5));
    }

    #[test]
    fn longer_paths_are_found() {
        assert!(compare(&counts(100.0), &counts(106.0)).is_ok());
        assert!(compare(&counts(100.0), &counts(50.0)).is_ok());
        let error = compare(&counts(100.0), &counts(107.0)).unwrap_err().to_string();
        assert!(error.contains("push: 107, was 100"), "{error}");
        assert!(compare(&[], &counts(1.0)).unwrap_err().to_string().contains("has no `push`"));
    }
}
