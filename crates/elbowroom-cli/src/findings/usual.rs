//! Findings that several systems share: pages, addresses, a trial of a region, and the memory that may still be
//! committed.

#![allow(dead_code, reason = "not every platform has such limits")]

use elbowroom::Budget;
use serde_json::{Value, json};

use super::finding::{Finding, Level, MODEST_BYTES, Section};
use super::largest::Largest;
use crate::size::Size;

/// The result of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    Works,
    /// The trial failed, for this reason.
    Fails(String),
    /// The trial was not made, for this reason.
    NotTried(String),
}

/// Returns the findings that each system has. `resident_bytes` returns the resident size of this process, and `touch`
/// is a complete trial of a region.
pub(crate) fn usual(resident_bytes: impl Fn() -> Option<u64>, touch: Trial) -> Vec<Finding> {
    let page = elbowroom::page_size();
    let granularity = elbowroom::allocation_granularity();
    vec![
        Finding::new("page_size", Section::Addresses, "page size")
            .found(Size(page as u64).to_string(), page)
            .means("The unit of committing, decommitting and protecting."),
        Finding::new("allocation_granularity", Section::Addresses, "granularity")
            .found(Size(granularity as u64).to_string(), granularity)
            .means(if granularity > page {
                "Reservations start at multiples of this size. Small ones waste the addresses up to the next multiple."
            } else {
                "Reservations start at multiples of this size."
            }),
        Largest::find(resident_bytes).judge(),
        commit_on_touch(touch),
    ]
}

/// Returns the finding on commit on touch.
fn commit_on_touch(trial: Trial) -> Finding {
    let finding = Finding::new("commit_on_touch", Section::Faults, "commit on touch");
    match trial {
        Trial::Works => {
            let means = "Tried in a child process: what was touched was committed, and no more.";
            finding.found("works", true).means(means)
        }
        Trial::NotTried(why) => finding.found("not known", Value::Null).but(
            Level::Warning,
            format!("It could not be tried: {why}."),
            "Let this program start a process.",
        ),
        Trial::Fails(why) => finding.found(format!("does not work: {why}"), false).but(
            Level::Missing,
            "A region cannot commit on touch here. A Reservation, which is committed by hand, may still work.",
            "See the other findings, above all blocked signals, seccomp and the limits.",
        ),
    }
}

/// Returns the finding on addresses of this number of bits. Up to `few` they are few.
pub(crate) fn address_bits(bits: u64, few: u64, means: &str) -> Finding {
    let finding = Finding::new("address_bits", Section::Addresses, "address space");
    let finding = finding.found(format!("{bits} bits: {}", Size(1 << bits)), bits);
    if bits <= few {
        return finding.note("Few addresses: large reservations may not fit.");
    }
    finding.means(means)
}

/// Returns the finding on the system's commit limit, from this limit and what all programs have committed. `change`
/// says how to raise it, and `unknown` why it is not known.
pub(crate) fn commit_limit(
    figures: Option<(u64, u64)>,
    is_enforced: bool,
    change: &str,
    unknown: &str,
) -> Finding {
    let finding = Finding::new("commit_limit", Section::Commit, "commit limit");
    let Some((limit, committed)) = figures else {
        return finding.unknown(unknown);
    };
    let left = limit.saturating_sub(committed);
    let value = json!({
        "limit_bytes": limit, "committed_bytes": committed, "left_bytes": left, "enforced": is_enforced,
    });
    let text = format!(
        "{}, {} committed by all programs",
        Size(limit),
        Size(committed)
    );
    let finding = finding.found(text, value);
    if !is_enforced {
        return finding.note("Not enforced in this mode: no commit fails because of it.");
    }
    let means = format!("{} can still be committed before commits fail.", Size(left));
    match left {
        0 => finding.but(Level::Missing, means, change),
        _ if left < MODEST_BYTES || left < limit / 10 => finding.but(Level::Warning, means, change),
        _ => finding.means(means),
    }
}

/// Returns the finding on the whole and the available memory, and on the whole and the free swap where it is separate.
pub(crate) fn memory(
    figures: Option<(u64, u64)>,
    swap: Option<(u64, u64)>,
    unknown: &str,
) -> Finding {
    let finding = Finding::new("memory", Section::Commit, "memory");
    let Some((total, available)) = figures else {
        return finding.unknown(unknown);
    };
    let mut value = json!({ "total_bytes": total, "available_bytes": available });
    let mut text = format!("{} available of {}", Size(available), Size(total));
    if let Some((swap, free)) = swap {
        value["swap_total_bytes"] = swap.into();
        value["swap_free_bytes"] = free.into();
        text += &match swap {
            0 => ", no swap".to_owned(),
            _ => format!(", swap {} of {}", Size(free), Size(swap)),
        };
    }
    finding
        .found(text, value)
        .means("Touched pages can use this much before other memory must be freed.")
}

/// Returns the finding on [`Budget::for_process`].
pub(crate) fn process_budget(budget: &Budget) -> Finding {
    let (bytes, limit) = (budget.limit_bytes() as u64, budget.name());
    let finding = Finding::new("process_budget", Section::Commit, "budget of this process").found(
        format!("{}, by {limit}", Size(bytes)),
        json!({ "bytes": bytes, "limit": limit }),
    );
    let means = "The lowest of all limits, which Budget::for_process() sets for regions.";
    if bytes < MODEST_BYTES {
        return finding.but(Level::Warning, means, "Raise this limit.");
    }
    finding.means(means)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn limits_are_as_bad_as_they_are_small() {
        let limit =
            |committed| commit_limit(Some((40 * GIB, committed * GIB)), true, "Add swap.", "");
        let budget = |bytes| process_budget(&Budget::builder(bytes).name("a limit").build());
        Level::Ok.is_of([
            (limit(10), "30 GiB can still"),
            (budget(30 << 30), "30 GiB, by a limit"),
            (memory(Some((64, 60)), None, ""), "60 B available of 64 B\""),
            (memory(Some((64, 60)), Some((0, 0)), ""), "of 64 B, no swap"),
            (
                memory(Some((64, 60)), Some((4, 3)), ""),
                "of 64 B, swap 3 B of 4 B",
            ),
            (address_bits(47, 42, "Well."), "47 bits: 128 TiB"),
        ]);
        Level::Warning.is_of([(limit(37), "Add swap."), (budget(1 << 20), "Raise")]);
        Level::Missing.is_of([(limit(41), "\"left_bytes\":0")]);
        Level::Note.is_of([
            (
                commit_limit(Some((GIB, GIB)), false, "", ""),
                "Not enforced",
            ),
            (commit_limit(None, true, "", "Why"), "Why."),
            (memory(None, None, "Why"), "Why."),
            (address_bits(42, 42, ""), "Few addresses"),
        ]);
    }

    #[test]
    fn a_trial_is_told() {
        Level::Ok.is_of([(commit_on_touch(Trial::Works), "works")]);
        Level::Missing.is_of([(
            commit_on_touch(Trial::Fails("why".to_owned())),
            "does not work: why",
        )]);
        Level::Warning.is_of([(
            commit_on_touch(Trial::NotTried("why".to_owned())),
            "be tried: why.",
        )]);
    }
}
