//! Findings that several systems share: pages, and the memory that a system and a process may still commit.

#![allow(dead_code, reason = "not every platform has such limits")]

use serde_json::json;

use super::finding::{Finding, Level, MODEST_BYTES, Section};
use crate::size::human;

/// Returns the level for the rest of a limit.
pub(crate) fn level_of(left: u64) -> Level {
    if left < MODEST_BYTES {
        Level::Warning
    } else {
        Level::Note
    }
}

pub(crate) fn page_size(bytes: u64) -> Finding {
    Finding::new("page_size", Section::Addresses, "page size")
        .found(human(bytes), bytes)
        .means("The unit of committing, decommitting and protecting.")
}

/// Returns the finding on the granularity of reservations. `more` continues its meaning.
pub(crate) fn granularity(bytes: u64, more: &str) -> Finding {
    Finding::new("allocation_granularity", Section::Addresses, "granularity")
        .found(human(bytes), bytes)
        .means(format!(
            "Every reservation starts at a multiple of it{more}."
        ))
}

/// Returns the finding on the system's commit limit. `change` says how to raise it.
pub(crate) fn commit_limit(limit: u64, committed: u64, is_enforced: bool, change: &str) -> Finding {
    let left = limit.saturating_sub(committed);
    let value = json!({
        "limit_bytes": limit,
        "committed_bytes": committed,
        "left_bytes": left,
        "enforced": is_enforced,
    });
    let finding = Finding::new("commit_limit", Section::Commit, "commit limit").found(
        format!(
            "{}, {} committed by all programs",
            human(limit),
            human(committed)
        ),
        value,
    );
    if !is_enforced {
        return finding.note("Not enforced in this mode: no commit fails because of it.");
    }
    let means = format!(
        "{} can still be committed before commits fail.",
        human(left)
    );
    match left {
        0 => finding.but(Level::Missing, means, change),
        _ if left < MODEST_BYTES || left < limit / 10 => finding.but(Level::Warning, means, change),
        _ => finding.means(means),
    }
}

/// Returns the finding on [`elbowroom::Budget::for_process`]: its bytes, and the limit that they come from.
pub(crate) fn process_budget(bytes: u64, limit: &str) -> Finding {
    let finding = Finding::new("process_budget", Section::Commit, "budget of this process").found(
        format!("{}, by {limit}", human(bytes)),
        json!({ "bytes": bytes, "limit": limit }),
    );
    let means = "The lowest of all limits, which Budget::for_process() sets for regions.";
    if bytes < MODEST_BYTES {
        return finding.but(Level::Warning, means, "Raise this limit.");
    }
    finding.means(means)
}
