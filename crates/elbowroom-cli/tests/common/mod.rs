//! Running the command, here or under an emulator.

pub(crate) mod files;

use std::process::{Command, Output};

/// Returns the command with these arguments, separated by spaces.
pub(crate) fn elbowroom(args: &str) -> Command {
    let mut command = elbowroom_testing::command(env!("CARGO_BIN_EXE_elbowroom"));
    command.args(args.split_whitespace());
    command
}

/// Runs the command, and returns its output and its status.
pub(crate) fn run(args: &str) -> Outcome {
    // Wine refuses now and then to start a program (error 1359).
    let output = elbowroom(args)
        .output()
        .or_else(|_| elbowroom(args).output());
    Outcome::new(output.unwrap())
}

/// The output and the status of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn new(output: Output) -> Outcome {
        Outcome {
            status: output.status.code().expect("ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Returns the cells of a picture: the text after the addresses in its lines.
pub(crate) fn cells(picture: &str) -> String {
    let lines = picture.lines().filter_map(|line| {
        let (address, cells) = line.trim_start().split_once("  ")?;
        u64::from_str_radix(address, 16).is_ok().then_some(cells)
    });
    lines.collect()
}
