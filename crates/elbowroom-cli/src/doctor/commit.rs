//! What a system and a process may still commit.

#![allow(dead_code, reason = "not every platform has such limits")]

use serde_json::json;

use super::{Finding, Level, MODEST_BYTES, Section};
use crate::size::human;

/// The commit limit of the system, what all programs have committed of it, and what raises it.
pub(crate) fn commit_limit(limit: u64, committed: u64, is_enforced: bool, change: &str) -> Finding {
    let left = limit.saturating_sub(committed);
    let value =
        json!({ "limit_bytes": limit, "committed_bytes": committed, "left_bytes": left, "enforced": is_enforced });
    let finding = Finding::new("commit_limit", Section::Commit, "commit limit")
        .found(format!("{}, {} committed by all programs", human(limit), human(committed)), value);
    if !is_enforced {
        return finding.means("Not enforced in this mode.");
    }
    let means = format!("{} can still be committed before commits fail.", human(left));
    match left {
        0 => finding.but(Level::Missing, means, change),
        _ if left < MODEST_BYTES || left < limit / 10 => finding.but(Level::Warning, means, change),
        _ => finding.means(means),
    }
}

/// What [`elbowroom::Budget::for_process`] allows, and which limit says so.
pub(crate) fn process_budget(bytes: u64, limit: &str) -> Finding {
    let finding = Finding::new("process_budget", Section::Commit, "budget of this process")
        .found(format!("{}, by {limit}", human(bytes)), json!({ "bytes": bytes, "limit": limit }));
    let means = "The tightest of all limits, and what Budget::for_process() lets regions commit.";
    if bytes < MODEST_BYTES {
        return finding.but(Level::Warning, means, "Raise the limit that it names.");
    }
    finding.means(means)
}
