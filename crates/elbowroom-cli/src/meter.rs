//! The system's figures on memory at one moment, and their changes.

use std::fmt;
use std::time::Duration;

pub(crate) use elbowroom_measure::nanoseconds;
use serde::{Deserialize, Serialize};

use crate::os;
use crate::usage::Usage;

/// The change of the figures from one moment to another.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) system_commit_growth_bytes: Option<i64>,
    pub(crate) process_commit_growth_bytes: Option<i64>,
    pub(crate) resident_growth_bytes: Option<i64>,
    pub(crate) kernel_faults: Option<i64>,
}

impl Usage {
    /// Reads the figures before a measurement.
    pub(crate) fn before() -> Usage {
        // The first reading allocates memory itself.
        os::usage();
        os::usage()
    }

    pub(crate) fn since(&self, before: &Usage) -> Change {
        let change = |figure: fn(&Usage) -> Option<u64>| {
            Some(figure(self)?.wrapping_sub(figure(before)?) as i64)
        };
        Change {
            system_commit_growth_bytes: change(|usage| usage.system_commit_bytes),
            process_commit_growth_bytes: change(|usage| usage.process_commit_bytes),
            resident_growth_bytes: change(|usage| usage.resident_bytes),
            kernel_faults: change(|usage| usage.kernel_faults),
        }
    }
}

/// Returns a figure as text, or text that says that it is not known.
pub(crate) fn known<T, D: fmt::Display>(figure: Option<T>, show: impl FnOnce(T) -> D) -> String {
    let shown = figure.map(|figure| show(figure).to_string());
    shown.unwrap_or_else(|| "not known here".to_owned())
}

/// Returns a time for people.
pub(crate) fn human_time(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
