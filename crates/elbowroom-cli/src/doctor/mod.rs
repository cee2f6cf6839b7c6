//! `elbowroom doctor`: what this machine lets a program reserve and commit, and what to expect.
//!
//! Three steps: the platform gathers facts by trying things out (`os::examine`), judges them as `findings`, and here
//! the report is shown.

mod view;

use crate::args::Doctor;
use crate::os;
use crate::output::{self, paint, print};

/// Examines, shows, and returns the exit status of the process.
pub(crate) fn run(settings: &Doctor) -> Result<i32, String> {
    let report = os::examine();
    let columns = output::columns().unwrap_or(view::DEFAULT_COLUMNS);
    let text = if settings.json {
        view::json(&report)
    } else {
        view::text(&report, settings.all, paint(), columns)
    };
    print(text.trim_end_matches('\n')).map(|_| report.status())
}
