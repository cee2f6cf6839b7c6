//! NumPy's memmap, in a process of Python.

use std::path::Path;
use std::process::{Command, Stdio};

use super::bounded::Done;

/// The beginning of the programs.
const BEGINNING: &str =
    "import sys, numpy; version = f'NumPy {numpy.__version__}, Python {sys.version.split()[0]}'";

/// Fails if there is no Python with NumPy.
pub(super) fn check(_: &Path) -> Result<(), String> {
    run("print(0, version)", Path::new("")).map(drop)
}

/// Runs a program of Python, which finds the path of the file in `sys.argv[1]` and prints a sum and `version`.
pub(super) fn run(program: &str, file: &Path) -> Result<Done, String> {
    let mut python = Command::new("python3");
    python
        .args(["-c", &format!("{BEGINNING}\n{program}")])
        .arg(file);
    let output = python.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("python3: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let result = text.trim().split_once(' ');
    let result = result.and_then(|(sum, version)| Some((sum.parse().ok()?, version)));
    let Some((sum, version)) = result else {
        let message = String::from_utf8_lossy(&output.stderr);
        let last = message.lines().last().unwrap_or_default();
        return Err(format!("python3: {last} ({})", output.status));
    };
    Ok(Done {
        note: Some(format!(
            "numpy.memmap is that of {version}, whose start is part of the time."
        )),
        ..Done::sum(sum)
    })
}
