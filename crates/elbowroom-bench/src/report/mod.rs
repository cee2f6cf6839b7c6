//! The results of each processor with their plots, and RESULTS.md, which shows the processors side by side.

mod plot;
mod plots;
mod record;
mod tables;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

pub(crate) use tables::{goals, section};

use self::plot::Plot;
use self::record::Record;
use crate::os;
use crate::plan::Scale;
use crate::run::{self, Outcome};
use crate::workloads;
use crate::workloads::memory;
use crate::workloads::paged::Folder;

/// The chapters: a heading, an introduction, and the starts of the names of the comparisons.
const CHAPTERS: [(&str, &str, &[&str]); 11] = [
    (
        "Filling memory",
        "Everything from nothing: the memory is reserved and committed within the time. elbowroom commits on touch, \
         with its default growth; the others commit all of it first. Fresh memory is zero, and the kernel has to make \
         it so: the last line of the large ones is that alone, for memory that is there already.",
        &["fill-"],
    ),
    (
        "Mechanisms",
        "Windows are those of `Growth::Pages`, which commit pages without prefaulting them; `elbowroom` is the default \
         growth. The userfault monitor and userspace-pagefault hand each fault to another thread: the processor time \
         is that of both threads. It excludes the time they wait for each other, which the wall clock includes.",
        &["mechanisms", "scattered"],
    ),
    (
        "Vectors of one thread",
        "Those that end with a drop and begin again show what becomes of the memory in between. The last line of the \
         first one is no vector: words written one after the other to huge pages that were populated up front.",
        &["push-128m", "push-100k", "push-reserved", "come-and-go"],
    ),
    (
        "The pause at a push",
        "512 pushes at a time, by the thread's processor time, so that a clock can be read and other programs do not \
         count: an upper bound of the worst single push. The percentiles are of single pushes by the same clock, which \
         takes most of the time of a common push itself.",
        &["worst-push", "push-latency"],
    ),
    (
        "Vectors of several threads",
        "`a counter and an array` is one locked instruction that tells pushes apart, and a store to memory that is \
         there: it does not know which elements are finished, as a vector must. Two threads that do nothing but push \
         spend their time on handing cache lines to each other, and elements that lie side by side, as those of a \
         slice must, share lines. The peers spread elements out (see what they commit) and stop for page faults, in \
         which the other thread runs alone.",
        &["append-"],
    ),
    ("Arenas", "", &["arena-"]),
    (
        "Accessors",
        "Of volatile accesses one after the other, the compiler makes a loop in which the processor stores twice a \
         cycle; an access that may be refused is an instruction that the compiler does not look into, and \
         `one instruction in assembly` is a loop of nothing else, without a check. `held cells` are those of a range \
         that `Region::hold` keeps committed. In no order, the next address takes longer than either.",
        &["access-", "copy-"],
    ),
    ("Reserving", "", &["reserve-"]),
    (
        "Scaling",
        "Threads by the wall clock.",
        &["live-regions", "threads"],
    ),
    (
        "Data larger than memory",
        "`elbowroom` is a `PagedArray`, or for `paged-touch` a `PagedSlice`, of the crate elbowroom-pager. Files are \
         eight times as large as the limit on memory. Each sample of a file begins with none of it in the page cache, \
         in a control group whose limit holds for the process and its page cache together, and lasts from opening to \
         closing. Times are by the wall clock where a disk or a server takes part. `paged-touch` counts the processor \
         time of both threads, the one that touches and the one that fills.",
        &["paged-"],
    ),
    ("Memory", "", &[]),
];

/// Makes all comparisons, and writes or prints the results.
pub(crate) fn write(
    scale: Scale,
    out: Option<PathBuf>,
    json: Option<PathBuf>,
) -> Result<(), String> {
    let start = Instant::now();
    let load_before = os::load();
    let data = Folder::new();
    let mut outcomes = Vec::new();
    let comparisons = workloads::comparisons(scale);
    for (n, comparison) in comparisons.iter().enumerate() {
        eprintln!(
            "{:>4} s  {}/{}  {}",
            start.elapsed().as_secs(),
            n + 1,
            comparisons.len(),
            comparison.name
        );
        outcomes.push(run::make(comparison, scale, &data));
    }
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    let mut machine = os::machine();
    machine.push((
        "processors",
        std::thread::available_parallelism()
            .map_or(0, usize::from)
            .to_string(),
    ));
    machine.push(("page size", format!("{} bytes", elbowroom::page_size())));
    if let (Some(before), Some(after)) = (load_before, os::load()) {
        machine.push((
            "load average before and after",
            format!("{before} and {after}"),
        ));
    }
    machine.push(("took", format!("{minutes:.1} minutes")));
    machine.push(("built with", env!("BUILT_WITH").to_owned()));

    if let Some(json) = json {
        let report = Json {
            machine: &machine,
            comparisons: &outcomes,
        };
        let text = serde_json::to_string(&report).map_err(|error| error.to_string())?;
        store(&json, &text)?;
    }
    let folder = match (out, scale) {
        (Some(folder), _) => folder,
        (None, Scale::Full) => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches"),
        (None, Scale::Quick) => {
            print!("{}", text(&machine, &outcomes, &[]));
            return Ok(());
        }
    };
    let processor = machine.iter().find(|(name, _)| *name == "processor");
    let processor = processor.map_or("an unknown processor", |(_, value)| value);
    let record = Record::new(processor, &outcomes);
    let own = folder.join(record::FOLDER).join(record.folder());
    fs::create_dir_all(&own).map_err(|error| format!("{}: {error}", own.display()))?;
    machine.push(("date", record.date().to_owned()));
    let plots = plots::draw(&own, &outcomes)?;
    store(&own.join("README.md"), &text(&machine, &outcomes, &plots))?;
    record.store(&folder)?;
    let records = record::read_all(&folder)?;
    store(&folder.join("RESULTS.md"), &overview(&records))
}

/// All results, for programs.
#[derive(Serialize)]
struct Json<'a> {
    machine: &'a [(&'static str, String)],
    comparisons: &'a [Outcome],
}

fn store(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

const METHOD: &str = "\
Contenders take turns, A B C A B C. Where the state of page tables or of an allocator would carry over, each sample is \
taken in a process of its own; else all take short turns in one process. Times are medians with their quartiles, of \
processor time (the kernel's work included) unless a table says otherwise, since other programs use the machine too. A \
goal is judged by the median of the ratios of consecutive samples, which ran under the same conditions: compare \
ratios, not times. Before the clock starts, a process touches and frees as much memory as it is about to use, so that \
the host of a virtual machine need not supply it during the measurement. Memory is measured in a separate run, as the \
process's peak, including the pages of the program that were loaded.";

const GOALS: &str = "\
\"The limit's\" is the ratio of the contender that does only the unavoidable work: zeroing, a locked instruction, an \
access. It is the last one of its table below.";

const OVERVIEW: &str = "\
Each column is a processor, with the date and the version of its last measurement; its heading leads to all figures. A \
figure is the time of the first contender relative to the time of the second (lower is better). A figure in bold \
exceeds the column `at most`; DESIGN.md says why.";

/// Returns the chapter with the goals on all processors.
fn overview(records: &[Record]) -> String {
    let mut text = String::from(
        "# Results\n\nWritten by `cargo run --release -p elbowroom-bench -- report`.\n\n",
    );
    let _ = write!(
        text,
        "{}\n\n{}\n\n## Goals\n\n{}",
        tables::wrapped(OVERVIEW),
        tables::wrapped(METHOD),
        record::side_by_side(records)
    );
    text
}

/// Returns the text with all figures of one processor.
fn text(machine: &[(&str, String)], outcomes: &[Outcome], plots: &[Plot]) -> String {
    let mut text = String::from("# Results on one processor\n\n");
    text += "[RESULTS.md](../../RESULTS.md) says how they were measured, and has those of other processors.\n\n";
    text += "## The machine\n\n| | |\n|---|---|\n";
    for (name, value) in machine {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text += "\n## The peers\n\n| | version |\n|---|---|\n";
    for (name, version) in tables::versions() {
        let _ = writeln!(text, "| {name} | {version} |");
    }
    let _ = write!(
        text,
        "\n## Goals\n\n{}\n\n{}",
        tables::wrapped(GOALS),
        goals(outcomes)
    );
    for (heading, preface, names) in CHAPTERS {
        let _ = write!(text, "\n## {heading}\n");
        if !preface.is_empty() {
            let _ = write!(text, "\n{}\n", tables::wrapped(preface));
        }
        for plot in plots.iter().filter(|plot| plot.chapter == heading) {
            let _ = write!(text, "\n![{}]({})\n", plot.shows, plot.file);
        }
        let belongs = |outcome: &&Outcome| names.iter().any(|name| outcome.name.starts_with(name));
        for outcome in outcomes.iter().filter(belongs) {
            let _ = write!(text, "\n{}", section(outcome));
        }
    }
    let memory = memory::SIZES
        .iter()
        .filter_map(|(name, _)| outcomes.iter().find(|outcome| outcome.name == *name));
    text + "\n" + &tables::memory(&memory.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_comparison_has_its_chapter() {
        for comparison in workloads::comparisons(Scale::Quick) {
            let name = comparison.name;
            let chapters = CHAPTERS
                .iter()
                .filter(|chapter| chapter.2.iter().any(|start| name.starts_with(start)));
            let wanted = usize::from(!memory::SIZES.iter().any(|size| size.0 == name));
            assert_eq!(chapters.count(), wanted, "{name}");
        }
    }
}
