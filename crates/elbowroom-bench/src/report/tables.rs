//! The results as tables in Markdown.

use std::fmt::Write as _;

use elbowroom::Size;
use elbowroom_measure::{Clock, capitalised, time};
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

use crate::run::{Entrant, Outcome};
use crate::workloads::memory;

/// The lock file with which this program was built.
const LOCK: &str = include_str!("../../../../Cargo.lock");

const PEERS: [&str; 10] = [
    "elbowroom",
    "virtual-buffer",
    "boxcar",
    "append-only-vec",
    "orx-concurrent-vec",
    "bumpalo",
    "memmap2",
    "object_store",
    "userspace-pagefault",
    "mimalloc",
];

/// Returns the library and its peers, with their versions.
pub(super) fn versions() -> Vec<(&'static str, &'static str)> {
    PEERS
        .iter()
        .filter_map(|&name| Some((name, version(name)?)))
        .collect()
}

fn version(name: &str) -> Option<&'static str> {
    let (_, rest) = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(rest.split_once('"')?.0)
}

/// Returns a size in a unit that people read easily.
pub(super) fn size(bytes: u64) -> String {
    Size(bytes).to_string()
}

/// Returns a ratio with two decimals, or one if it is large.
pub(super) fn ratio(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}

/// Wraps text into lines of at most 120 characters.
pub(super) fn wrapped(text: &str) -> String {
    let options = Options::new(120)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::fill(text, options)
}

/// Returns the section of one comparison.
pub(crate) fn section(outcome: &Outcome) -> String {
    let mut text = format!(
        "### `{}`\n\n{}. ",
        outcome.name,
        capitalised(&outcome.title)
    );
    let place = if outcome.is_apart {
        "each in a process of its own"
    } else {
        "in turns in one process"
    };
    let _ = writeln!(
        text,
        "Time for each {}; {} samples, {place}.\n",
        outcome.unit, outcome.rounds
    );
    let has_memory = outcome
        .contenders
        .iter()
        .any(|contender| contender.memory.is_some());
    let by_wall_clock = outcome.clock() == Clock::Wall;
    text += "| | median | quartiles | × the first |";
    let mut rule = "|---|---|---|---|".to_owned();
    text += if by_wall_clock {
        " processor time |"
    } else {
        " wall clock |"
    };
    rule += "---|";
    if has_memory {
        text += " peak resident | peak committed | committed ÷ data |";
        rule += "---|---|---|";
    }
    let _ = write!(text, "\n{rule}\n");
    for contender in &outcome.contenders {
        text += &row(outcome, contender, by_wall_clock, has_memory);
    }
    text += &percentiles(outcome);
    text += &traffic(outcome);
    for note in outcome.notes() {
        let _ = write!(text, "\n{}\n", wrapped(note));
    }
    text
}

fn row(outcome: &Outcome, contender: &Entrant, by_wall_clock: bool, has_memory: bool) -> String {
    let Some(spread) = outcome.time(contender, outcome.clock()) else {
        let why = contender.taken.refusal.as_deref().unwrap_or("no samples");
        return format!(
            "| {} | not measured: {} |\n",
            contender.name,
            why.replace('|', "/")
        );
    };
    let mut text = format!(
        "| {} | {} | {} to {} |",
        contender.name,
        time(spread.median),
        time(spread.lower_quartile),
        time(spread.upper_quartile)
    );
    let first = outcome
        .contenders
        .first()
        .and_then(|first| outcome.relative(contender, first));
    let _ = write!(text, " {} |", first.map_or(String::new(), ratio));
    let other = outcome.time(
        contender,
        if by_wall_clock {
            Clock::Cpu
        } else {
            Clock::Wall
        },
    );
    let _ = write!(
        text,
        " {} |",
        other.map_or(String::new(), |other| time(other.median))
    );
    if let (true, Some(memory)) = (has_memory, contender.memory) {
        let overshoot = outcome
            .data_bytes
            .map(|data| memory.peak_committed as f64 / data as f64);
        let _ = write!(
            text,
            " {} | {} | {} |",
            size(memory.peak_resident),
            size(memory.peak_committed),
            overshoot.map_or(String::new(), ratio)
        );
    }
    text + "\n"
}

/// Returns the distribution of the times of single steps.
fn percentiles(outcome: &Outcome) -> String {
    let Some(first) = outcome
        .contenders
        .iter()
        .find(|contender| !contender.steps().is_empty())
    else {
        return String::new();
    };
    let mut text = format!("\nThe longest {} of each share of them:\n\n|", outcome.unit);
    let mut rule = "|---|".to_owned();
    for step in first.steps() {
        let _ = write!(text, " | {}", share(step.share));
        rule += "---|";
    }
    let _ = write!(text, " |\n{rule}\n");
    for contender in &outcome.contenders {
        let _ = write!(text, "| {} |", contender.name);
        for step in contender.steps() {
            let _ = write!(text, " {} |", time(step.ns as f64));
        }
        text.push('\n');
    }
    text
}

/// Returns the reads of those contenders that count them.
fn traffic(outcome: &Outcome) -> String {
    let mut rows = String::new();
    for contender in &outcome.contenders {
        let Some(traffic) = contender.traffic() else {
            continue;
        };
        let _ = writeln!(
            rows,
            "| {} | {} | {} | {} |",
            contender.name,
            traffic.requests,
            size(traffic.bytes_moved),
            ratio(traffic.bytes_moved as f64 / traffic.bytes_asked as f64)
        );
    }
    if rows.is_empty() {
        return rows;
    }
    format!("\n| | reads | bytes moved | moved ÷ asked |\n|---|---|---|---|\n{rows}")
}

/// Returns a share in per cent, or "all" for the whole.
pub(super) fn share(share: f64) -> String {
    if share == 1.0 {
        "all".to_owned()
    } else {
        format!("{} %", (share * 1e9).round() / 1e7)
    }
}

/// Returns the table of goals and results.
pub(crate) fn goals(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| comparison | time of | to that of | at most | measured | quartiles | ratio of medians | ",
    );
    text += "by the wall clock | the limit's | |\n|---|---|---|---|---|---|---|---|---|---|\n";
    for outcome in outcomes {
        for verdict in &outcome.verdicts {
            let _ = write!(
                text,
                "| `{}` | {} | {} | {} |",
                outcome.name,
                verdict.ours,
                verdict.theirs,
                ratio(verdict.at_most)
            );
            let limit = verdict.limit.map_or(String::new(), ratio);
            let _ = match (verdict.measured, verdict.is_met()) {
                (Some(measured), Some(is_met)) => writeln!(
                    text,
                    " **{}** | {} to {} | {} | {} | {limit} | {} |",
                    ratio(measured.ratio.median),
                    ratio(measured.ratio.lower_quartile),
                    ratio(measured.ratio.upper_quartile),
                    ratio(measured.ratio_of_medians),
                    ratio(measured.ratio_by_wall_clock),
                    if is_met { "met" } else { "**missed**" }
                ),
                _ => writeln!(text, " | | | | | not measured |"),
            };
        }
    }
    text
}

/// Returns the table of the memory that containers take for data of each size.
pub(super) fn memory(outcomes: &[&Outcome]) -> String {
    let mut text = wrapped(
        "The memory of one container for this much data, with default growth, in a process that does nothing else: \
         peak committed, and peak resident where it differs. Small containers are counted by the dozen, so that the \
         memory they share is divided among them. Moments count in which a container's whole memory existed twice, \
         because it was copied to a larger block.",
    );
    text += "\n\n| data |";
    let mut rule = "|---|".to_owned();
    for name in memory::CONTENDERS {
        let _ = write!(text, " {name} |");
        rule += "---|";
    }
    let _ = write!(text, "\n{rule}\n");
    for outcome in outcomes {
        let count = memory::count(outcome.data_bytes.unwrap_or(0) / outcome_count(outcome)) as u64;
        let _ = write!(
            text,
            "| {} |",
            size(outcome.data_bytes.unwrap_or(0) as u64 / count)
        );
        for contender in &outcome.contenders {
            let Some(memory) = contender.memory else {
                text += " not measured |";
                continue;
            };
            let (committed, resident) =
                (memory.peak_committed / count, memory.peak_resident / count);
            let data = outcome.data_bytes.unwrap_or(0) as f64 / count as f64;
            let _ = write!(
                text,
                " {} ({}×)",
                size(committed),
                ratio(committed as f64 / data)
            );
            if resident.abs_diff(committed) * 50 > committed {
                let _ = write!(text, ", resident {}", size(resident));
            }
            text += " |";
        }
        text.push('\n');
    }
    text
}

/// Returns the number of containers that a comparison of memory keeps.
fn outcome_count(outcome: &Outcome) -> usize {
    let full = memory::SIZES
        .iter()
        .find(|(name, _)| *name == outcome.name)
        .map_or(1, |&(_, bytes)| bytes);
    memory::count(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_read_well() {
        assert_eq!(
            [0.5, 0.99, 0.999_999_9, 1.0].map(share),
            ["50 %", "99 %", "99.99999 %", "all"]
        );
    }

    #[test]
    fn every_peer_has_a_version() {
        assert_eq!(versions().len(), PEERS.len(), "{:?}", versions());
    }
}
