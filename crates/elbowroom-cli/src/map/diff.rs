//! The changes between two snapshots.

use std::collections::BTreeMap;

use elbowroom_map::{FigureColumns, Figures, Kind, Region, Snapshot, escaped, shortened};
use serde::Serialize;

use crate::output::Paint;
use crate::size::Sizes;

/// A difference of figures, in bytes.
pub(crate) type Changes = [Option<i64>; 7];

/// One region that has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Changed {
    pub(crate) what: What,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) start: u64,
    #[serde(serialize_with = "by_name")]
    pub(crate) changes: Changes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    New,
    Gone,
    Changed,
}

/// A process and its program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Process {
    pid: u32,
    program: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Diff {
    /// Whether both snapshots have the same process number and program.
    pub(crate) is_same_process: bool,
    /// The earlier snapshot.
    before: Process,
    #[serde(skip)]
    now: Process,
    /// The changes of all regions together.
    #[serde(serialize_with = "by_name")]
    pub(crate) total: Changes,
    pub(crate) regions: Vec<Changed>,
}

fn by_name<S: serde::Serializer>(changes: &Changes, serializer: S) -> Result<S::Ok, S::Error> {
    let names = Figures::NAMES.map(|name| format!("{name}_change_bytes"));
    serializer.collect_map(names.iter().zip(changes))
}

/// Returns the changes from `before` to `now`. A region is the same if it starts at the same address and has the same
/// kind and name: it may have grown, or be a reservation that was committed.
pub(crate) fn diff(before: &Snapshot, now: &Snapshot) -> Diff {
    let key = |region: &Region| (region.start, family(region.kind), region.name.clone());
    let mut regions: BTreeMap<_, [Option<Region>; 2]> = BTreeMap::new();
    for (at, snapshot) in [before, now].into_iter().enumerate() {
        for region in snapshot.regions() {
            let key = key(&region);
            regions.entry(key).or_default()[at] = Some(region);
        }
    }
    let changed = regions.into_values().filter_map(|pair| {
        let figures = |region: &Option<Region>| {
            region
                .as_ref()
                .map_or(Figures::NONE, |region| region.figures)
        };
        let changes = changes(&figures(&pair[0]), &figures(&pair[1]));
        let [before, now] = pair;
        let what = match (&before, &now) {
            (None, _) => What::New,
            (_, None) => What::Gone,
            _ if changes.iter().all(|change| change.unwrap_or(0) == 0) => return None,
            _ => What::Changed,
        };
        let Region {
            kind, name, start, ..
        } = now.or(before)?;
        Some(Changed {
            what,
            kind,
            name,
            start,
            changes,
        })
    });
    let mut changed: Vec<Changed> = changed.collect();
    changed.sort_by_key(|region| {
        let [reserved, others @ ..] = region.changes.map(|change| change.map(i64::unsigned_abs));
        std::cmp::Reverse((others.into_iter().flatten().max(), reserved))
    });
    let process = |snapshot: &Snapshot| Process {
        pid: snapshot.pid,
        program: snapshot.program.clone(),
    };
    let [before_process, now_process] = [before, now].map(process);
    Diff {
        is_same_process: before_process == now_process,
        before: before_process,
        now: now_process,
        total: changes(&before.total(), &now.total()),
        regions: changed,
    }
}

/// Returns one kind for all kinds that memory without a name can have, because its kind can change.
fn family(kind: Kind) -> Kind {
    match kind {
        Kind::Reservation | Kind::Reserved | Kind::Guard => Kind::Anonymous,
        kind => kind,
    }
}

fn changes(before: &Figures, now: &Figures) -> Changes {
    let (before, now) = (before.bytes(), now.bytes());
    std::array::from_fn(|at| Some(now[at]?.wrapping_sub(before[at]?) as i64))
}

/// The columns before the figures.
const START_COLUMNS: usize = 20;

/// Returns the text: at most `rows_max` regions, in lines of at most `columns`.
pub(crate) fn text(diff: &Diff, rows_max: usize, paint: Paint, columns: usize) -> String {
    let process = |start: &str, Process { pid, program }: &Process, end: &str| {
        let start = format!("{start}process {pid} ");
        let room = columns.saturating_sub(start.len() + end.len());
        format!("{start}{}{end}\n", shortened(&escaped(program), room))
    };
    let mut text = match diff.is_same_process {
        true => process("", &diff.now, ": what has changed"),
        false => process("", &diff.now, "") + &process("compared with ", &diff.before, ""),
    };
    text.push('\n');
    let shown = || diff.regions.iter().take(rows_max);
    let all = || shown().map(|region| region.changes).chain([diff.total]);
    // Room for an address, or for more.
    let names = if columns < 80 { 13 } else { 22 };
    let figures = FigureColumns::fitting(
        std::array::from_fn(|at| at < 2 || all().any(|changes| changes[at] != Some(0))),
        12,
        columns.saturating_sub(START_COLUMNS + 2 + names),
    );
    let sizes = Sizes::of(all().flat_map(|changes| {
        figures
            .of(changes)
            .flatten()
            .map(i64::unsigned_abs)
            .collect::<Vec<_>>()
    }));
    let header = format!("{:<8}{:<12}{}", "", "kind", figures.line(Figures::NAMES));
    text += &format!("{}\n", paint.bold(&header));
    let mut line = |what: &str, kind: &str, changes: &Changes, name: &str| {
        let cells = changes.map(|change| sizes.change_cell(change));
        let line = format!("{what:<8}{kind:<12}{}", figures.line(cells));
        let room = columns.saturating_sub(line.chars().count() + 2);
        let line = format!("{line}  {}", shortened(name, room));
        text += &format!("{}\n", line.trim_end());
    };
    line("", "all", &diff.total, "");
    for region in shown() {
        let what = match region.what {
            What::New => "new",
            What::Gone => "gone",
            What::Changed => "changed",
        };
        let name = format!("{:x} {}", region.start, escaped(&region.name));
        line(what, region.kind.word(), &region.changes, name.trim_end());
    }
    match diff.regions.len() {
        0 => text += "Nothing has changed.\n",
        all if all > rows_max => {
            text += &format!("and {} more; --all shows them\n", all - rows_max);
        }
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{PAGE, mapping, snapshot};
    use super::*;

    #[test]
    fn the_same_has_not_changed() {
        let diff = diff(&snapshot(), &snapshot());
        assert_eq!(diff.total, [Some(0); 7]);
        assert!(diff.regions.is_empty());
        let text = text(&diff, 9, Paint::Plain, usize::MAX);
        assert!(text.starts_with("process 17 /bin/prog: what has changed\n\n"));
        assert!(text.ends_with("Nothing has changed.\n"));
    }

    #[test]
    fn another_process_is_told() {
        let now = Snapshot {
            pid: 18,
            program: "/bin/pr\x1bg".to_owned(),
            ..snapshot()
        };
        let diff = diff(&snapshot(), &now);
        let text = text(&diff, 9, Paint::Plain, usize::MAX);
        let head = "process 18 /bin/pr\\u{1b}g\ncompared with process 17 /bin/prog\n\n";
        assert!(text.starts_with(head), "{text}");
        let json = serde_json::to_value(&diff).unwrap();
        assert_eq!(json["is_same_process"], false);
        assert_eq!(json["before"]["pid"], 17);
    }

    #[test]
    fn what_has_changed_is_told() {
        let before = snapshot();
        let mut now = snapshot();
        // The heap has grown, a cache is gone, and a reservation is new.
        now.mappings[2] = mapping(0x10_3000, 6, Kind::Heap, "[heap]");
        now.mappings.remove(3);
        now.mappings
            .push(mapping(0x70_0000, 1, Kind::Reservation, ""));
        let diff = diff(&before, &now);
        let seen = diff.regions.iter();
        let seen = seen.map(|region| (region.what, region.kind, region.changes[0]));
        let page = PAGE as i64;
        let expected = [
            (What::Changed, Kind::Heap, Some(2 * page)),
            (What::Gone, Kind::Named, Some(-page)),
            (What::New, Kind::Reservation, Some(page)),
        ];
        assert_eq!(seen.collect::<Vec<_>>(), expected);
        assert_eq!(diff.total[0], Some(2 * page));
        let text = text(&diff, 2, Paint::Plain, usize::MAX);
        let heap = "changed heap              +8 KiB      +8 KiB           -  103000 [heap]";
        assert!(text.contains(heap), "{text}");
        assert!(text.ends_with("and 1 more; --all shows them\n"), "{text}");
        let json = serde_json::to_value(&diff).unwrap();
        let changes = &json["regions"][1]["changes"];
        assert_eq!(changes["resident_change_bytes"], -page);
    }

    #[test]
    fn a_reservation_that_is_committed_is_the_same() {
        let (mut before, mut now) = (snapshot(), snapshot());
        before.mappings[5].kind = Kind::Reserved;
        now.mappings[5].kind = Kind::Reservation;
        now.mappings[5].figures.resident_bytes = Some(3 * PAGE);
        let diff = diff(&before, &now);
        assert_eq!(diff.regions.len(), 1);
        assert_eq!(diff.regions[0].what, What::Changed);
        assert_eq!(diff.regions[0].changes[3], Some(2 * PAGE as i64));
    }

    #[test]
    fn it_fits_its_columns() {
        let mut now = snapshot();
        now.mappings[2] = mapping(0x10_3000, 6, Kind::Heap, "[heap]");
        for (at, mapping) in now.mappings.iter_mut().enumerate() {
            mapping.name = format!("/a/long/path/{}of-a-library-{at}.so", "x/".repeat(60));
            let figures = &mut mapping.figures;
            (figures.dirty_bytes, figures.swapped_bytes) = (Some(1023 << 20), Some(9 << 50));
            figures.charged_bytes = Some(5 << 40);
        }
        now.program = "/a/long/path/to/a/program".repeat(9);
        let diff = diff(&snapshot(), &now);
        for columns in [60, 80, 120, 200] {
            let text = text(&diff, 9, Paint::Plain, columns);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(columns), "{columns}: {text}");
            assert!(text.contains("-3.so\n"), "{text}");
            assert_eq!(text.contains("swapped"), columns >= 120, "{text}");
        }
    }
}
