//! Child processes of this program, which take measurements.

use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;

use crate::os::ending;

/// Runs a child process and reads the JSON that it prints.
///
/// # Errors
/// Fails if the child cannot be started, or ends without an answer. The message then says how it ended, with the last
/// line of its standard error.
pub fn ask<T: DeserializeOwned>(child: &mut Command) -> Result<T, String> {
    let output = child.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("no process for it: {error}"))?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let how = ending(output.status);
        let message = String::from_utf8_lossy(&output.stderr);
        match message.lines().last() {
            Some(last) => format!("{how}: {last}"),
            None => how,
        }
    })
}
