//! `cargo xtask counts`: the instructions of the most important paths, counted by Valgrind.
//!
//! Instructions are not time. But the count is the same in each run, also on a busy machine, so it shows when a change
//! makes a path longer. `benches/COUNTS.md` has the counts and the compiler with which they were made; `--check`
//! compares with this file.

use std::env::consts::ARCH;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use xshell::{Shell, cmd};

use crate::workspace::{shell, target_folder};

const FILE: &str = "benches/COUNTS.md";

/// The operations that are counted without optimisation as well, as a debug build of a program compiles the library.
const UNOPTIMISED: [&str; 2] = ["vec", "vec-std"];

/// An operation: its name, its instructions and its description.
type Count = (String, f64, String);

/// Counts the instructions, and writes the file or compares with it.
pub(crate) fn run(is_check: bool) -> Result<()> {
    let sh = shell()?;
    let compiler = cmd!(sh, "rustc --version").read()?;
    let counts = count(&sh)?;
    let text = text(&compiler, &counts);
    if !is_check {
        print!("{text}");
        return Ok(sh.write_file(FILE, text)?);
    }
    let kept = sh.read_file(FILE)?;
    if !kept.contains(&compiler) {
        print!("{text}\nNot compared: {FILE} was made with another compiler.\n");
        return Ok(());
    }
    compare(&kept, &counts)
}

fn count(sh: &Shell) -> Result<Vec<Count>> {
    let mut counts = Vec::new();
    for (profile, folder) in [("release", "release"), ("dev", "debug")] {
        cmd!(sh, "cargo build --profile {profile} -p elbowroom-bench").run()?;
        let program = target_folder().join(folder).join("elbowroom-bench");
        for line in cmd!(sh, "{program} count").read()?.lines() {
            let [name, times, what] = line.split('\t').collect::<Vec<_>>()[..] else {
                bail!("odd line: {line}")
            };
            let times = times.parse().with_context(|| format!("odd line: {line}"))?;
            let counted = || count_of(sh, &program, name, times);
            if profile == "release" {
                counts.push((name.to_owned(), counted()?, what.to_owned()));
            } else if UNOPTIMISED.contains(&name) {
                let what = format!("{what}, without optimisation");
                counts.push((format!("{name}-debug"), counted()?, what));
            }
        }
    }
    Ok(counts)
}

/// Returns the instructions of one operation of a program.
fn count_of(sh: &Shell, program: &Path, name: &str, times: u32) -> Result<f64> {
    let collected = |times: u32| -> Result<u64> {
        let times = times.to_string();
        // All registers must be exact when a fault is resumed.
        let options = "--tool=callgrind --callgrind-out-file=/dev/null \
            --vex-iropt-register-updates=allregs-at-mem-access";
        let options = options.split_whitespace();
        let count = cmd!(sh, "valgrind {options...} {program} count {name} {times}");
        let said = count.quiet().read_stderr()?;
        let figure = said.lines().find_map(|line| line.split_once("Collected :"));
        let (_, figure) = figure.with_context(|| format!("no count: {said}"))?;
        Ok(figure.trim().parse()?)
    };
    let more = collected(2 * times)?.checked_sub(collected(times)?);
    let more = more.context("twice as many took less")?;
    Ok((more as f64 / f64::from(times) * 10.0).round() / 10.0)
}

fn text(compiler: &str, counts: &[Count]) -> String {
    let by = format!("Written by `cargo xtask counts`, with {compiler} on {ARCH}.");
    let mut text = format!("# Instructions\n\n{by} The kernel's are not counted.\n\n");
    text += "| | instructions | |\n|---|---|---|\n";
    for (name, instructions, what) in counts {
        text += &format!("| `{name}` | {instructions} | {what} |\n");
    }
    text
}

/// Fails if a count exceeds the one in the text.
fn compare(kept: &str, counts: &[Count]) -> Result<()> {
    let mut longer = String::new();
    for (name, now, _) in counts {
        let row = format!("| `{name}` | ");
        let figure = |line: &str| line.strip_prefix(&row)?.split(' ').next()?.parse().ok();
        let before: Option<f64> = kept.lines().find_map(figure);
        let before = before.with_context(|| format!("{FILE} has no `{name}`"))?;
        println!("{name:<16} {before:>8} {now:>8}");
        // Counts differ a little between versions of the C library.
        if *now > before * 1.05 + 1.0 {
            longer += &format!("\n  {name}: {now}, was {before}");
        }
    }
    let advice = "if it is worth it, cargo xtask counts";
    ensure!(
        longer.is_empty(),
        "longer than in {FILE}; {advice}:{longer}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_paths_are_found() {
        let counts = |now| [("push".to_owned(), now, "a `push`".to_owned())];
        let kept = text("rustc 1.2.3", &counts(99.5));
        assert!(compare(&kept, &counts(105.0)).is_ok());
        assert!(compare(&kept, &counts(50.0)).is_ok());
        for (kept, words) in [(&kept[..], "push: 107, was 99.5"), ("", "has no `push`")] {
            let error = compare(kept, &counts(107.0)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
