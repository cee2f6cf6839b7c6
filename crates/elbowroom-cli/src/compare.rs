//! The two ways that Microsoft's page names, side by side: committing everything up front, and committing on touch.

use std::time::Duration;

use elbowroom::{Error, Growth, Region, page_size};
use elbowroom_measure::{Times, UpFront, busy, timed};
use serde::Serialize;

use crate::args::Compare;
use crate::bench::Room;
use crate::meter::{Change, human_time, known};
use crate::os::{self, Accounting};
use crate::output::{columns, complain, fitted, json, print};
use crate::size::{Size, Sizes};
use crate::usage::Usage;

/// The work that is done in both ways.
#[derive(Clone, Copy)]
struct Plan {
    reserve_bytes: usize,
    touch_bytes: usize,
    growth: Growth,
}

/// The part that is touched by default, if there is memory for it.
const TOUCH_BYTES: usize = 64 << 20;
/// The default reservation relative to what can be committed: Windows lets its page file grow to three times the
/// memory.
const TIMES: usize = 4;

impl Plan {
    fn new(settings: &Compare) -> Plan {
        let reserve_bytes = settings
            .reserve_bytes
            .unwrap_or_else(|| larger_than_memory().max(settings.touch_bytes.unwrap_or(1)));
        Plan {
            reserve_bytes,
            touch_bytes: settings.touch_bytes.unwrap_or_else(|| {
                let room = usize::try_from(Room::now().bytes / 8).unwrap_or(usize::MAX);
                TOUCH_BYTES.min(room).clamp(1, reserve_bytes)
            }),
            growth: settings.growth.map_or_else(Growth::default, Growth::Pages),
        }
    }
}

/// Returns a size that this machine cannot commit. If a limit of this process or the processor's addresses forbid such
/// a reservation, the result is the largest power of two that can be reserved.
fn larger_than_memory() -> usize {
    let limit = os::commit_limit_bytes().and_then(|limit| usize::try_from(limit).ok());
    let wanted = limit.map_or(1 << 40, |limit| limit.saturating_mul(TIMES));
    let mut len = wanted
        .checked_next_power_of_two()
        .unwrap_or(1 << (usize::BITS - 2));
    while len > page_size() && Region::new(len).is_err() {
        len /= 2;
    }
    len
}

/// The cost of one way, read while its memory was held.
#[derive(Serialize)]
struct Cost {
    reserved_bytes: usize,
    /// Faults that the library resolved.
    library_faults: u64,
    #[serde(flatten)]
    change: Change,
    elapsed_ns: u64,
    #[serde(skip)]
    times: Times,
}

/// Runs both, and prints what each cost.
pub(crate) fn run(settings: &Compare) -> Result<i32, String> {
    let plan = Plan::new(settings);
    let up_front = up_front(plan);
    let on_touch = on_touch(plan);
    for (name, result) in [("up front", &up_front), ("on touch", &on_touch)] {
        if let Err(error) = result {
            complain(format_args!("{name}: {error}"));
        }
    }
    print(if settings.json {
        json_of(plan, &up_front, &on_touch)
    } else {
        fitted(&table(plan, [&up_front, &on_touch]), columns())
    })
}

fn up_front(plan: Plan) -> Result<Cost, Error> {
    let take = || {
        let mut block = UpFront::new(plan.reserve_bytes)?;
        for offset in touched(plan) {
            block.write(offset, 1);
        }
        Ok(block)
    };
    measure(take, |block| (block.len(), 0))
}

fn on_touch(plan: Plan) -> Result<Cost, Error> {
    let take = || {
        let region = Region::builder(plan.reserve_bytes)
            .growth(plan.growth)
            .build()?;
        for offset in touched(plan) {
            region.try_write(offset, 1u8)?;
        }
        Ok(region)
    };
    measure(take, |region| (region.len(), region.stats().faults))
}

/// One byte in each page to touch.
fn touched(plan: Plan) -> impl Iterator<Item = usize> {
    (0..plan.touch_bytes).step_by(page_size())
}

/// Measures `take`. The figures are read while its result is held, of which `figures` returns the size and the faults.
fn measure<H>(
    take: impl FnOnce() -> Result<H, Error>,
    figures: impl FnOnce(&H) -> (usize, u64),
) -> Result<Cost, Error> {
    let before = Usage::before();
    let (held, times) = timed(take);
    let held = held?;
    let change = os::usage().since(&before);
    let (reserved_bytes, library_faults) = figures(&held);
    Ok(Cost {
        reserved_bytes,
        library_faults,
        change,
        elapsed_ns: times.wall_ns,
        times,
    })
}

fn table(plan: Plan, ways: [&Result<Cost, Error>; 2]) -> String {
    let outcome = |way: &Result<Cost, Error>| match way {
        Ok(_) => "succeeded".to_owned(),
        Err(error) => error
            .os_code()
            .map_or("failed".to_owned(), |code| format!("failed: error {code}")),
    };
    let costs = || ways.into_iter().flatten();
    let sizes = Sizes::of(costs().flat_map(|cost| {
        let Change {
            system_commit_growth_bytes: system,
            process_commit_growth_bytes: process,
            resident_growth_bytes: resident,
            ..
        } = cost.change;
        let changes = [system, process, resident].into_iter().flatten();
        changes
            .map(i64::unsigned_abs)
            .chain([cost.reserved_bytes as u64])
    }));
    let row = |name: &'static str, figure: &dyn Fn(&Cost) -> String| {
        let show = |way: &Result<Cost, Error>| way.as_ref().map_or("-".to_owned(), figure);
        (name, ways.map(show))
    };
    let change = |name: &'static str, figure: fn(&Change) -> Option<i64>| {
        row(name, &|cost| {
            known(figure(&cost.change), |bytes| sizes.change(bytes))
        })
    };
    let rows = [
        ("", ["up front", "on touch"].map(str::to_owned)),
        ("outcome", ways.map(outcome)),
        row("reserved", &|cost| sizes.text(cost.reserved_bytes as u64)),
        change("commit charge, system", |change| {
            change.system_commit_growth_bytes
        }),
        change("commit charge, this process", |change| {
            change.process_commit_growth_bytes
        }),
        change("resident", |change| change.resident_growth_bytes),
        row("faults, the library's", &|cost| {
            cost.library_faults.to_string()
        }),
        row("faults, the kernel's", &|cost| {
            known(cost.change.kernel_faults, |faults| faults)
        }),
        row("time", &|cost| {
            human_time(Duration::from_nanos(cost.elapsed_ns))
        }),
    ];
    let width = |at: usize| {
        rows.iter()
            .map(|(_, cells)| cells[at].len())
            .max()
            .unwrap_or(0)
    };
    let (names, widths) = ("commit charge, this process".len(), [width(0), width(1)]);

    let [touched, reserved] =
        [plan.touch_bytes, plan.reserve_bytes].map(|bytes| Size(bytes as u64));
    let mut text = format!("{touched} of {reserved} touched, one write a page\n\n");
    for (name, [up_front, on_touch]) in &rows {
        text += &format!(
            "{name:<names$}  {up_front:>0$}  {on_touch:>1$}\n",
            widths[0], widths[1]
        );
    }
    text += "\nCommit charge is memory that the system has promised, resident is memory that is in use.\n\
             The figures were read while the memory was held. Those of the system include changes by other programs.";
    if let Some(busy) = busy(costs().map(|cost| cost.times)) {
        text.push('\n');
        text += &busy;
    }
    text + match os::accounting() {
        Accounting::Limited => "",
        Accounting::Unlimited => {
            "\nThis system promises without limit (vm.overcommit_memory is 1): committing up front does not fail here."
        }
        Accounting::Unknown => "\nWhether this system limits its promises is not known.",
    }
}

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    page_size_bytes: usize,
    reserve_bytes: usize,
    touch_bytes: usize,
    /// Null if it is not known.
    commit_is_limited: Option<bool>,
    up_front: WayReport<'a>,
    on_touch: WayReport<'a>,
}

/// One way: its cost, or the reason why it failed. The other field is null.
#[derive(Serialize)]
struct WayReport<'a> {
    cost: Option<&'a Cost>,
    error: Option<ErrorReport>,
}

#[derive(Serialize)]
struct ErrorReport {
    os_code: Option<i32>,
    message: String,
}

fn report(way: &Result<Cost, Error>) -> WayReport<'_> {
    let error = way.as_ref().err().map(|error| ErrorReport {
        os_code: error.os_code(),
        message: error.to_string(),
    });
    let cost = way.as_ref().ok();
    WayReport { cost, error }
}

fn json_of(plan: Plan, up_front: &Result<Cost, Error>, on_touch: &Result<Cost, Error>) -> String {
    json(&Report {
        page_size_bytes: page_size(),
        reserve_bytes: plan.reserve_bytes,
        touch_bytes: plan.touch_bytes,
        commit_is_limited: match os::accounting() {
            Accounting::Limited => Some(true),
            Accounting::Unlimited => Some(false),
            Accounting::Unknown => None,
        },
        up_front: report(up_front),
        on_touch: report(on_touch),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(elapsed_ns: u64, cpu_ns: Option<u64>) -> Cost {
        Cost {
            reserved_bytes: 3 << 29,
            library_faults: 1,
            change: Change {
                system_commit_growth_bytes: Some(1 << 30),
                process_commit_growth_bytes: None,
                resident_growth_bytes: Some(4096),
                kernel_faults: Some(1),
            },
            elapsed_ns,
            times: Times {
                wall_ns: elapsed_ns,
                cpu_ns,
            },
        }
    }

    fn text(elapsed_ns: u64, cpu_ns: Option<u64>) -> String {
        let plan = Plan {
            reserve_bytes: 3 << 29,
            touch_bytes: 4096,
            growth: Growth::default(),
        };
        let ways = [cost(1000, Some(1000)), cost(elapsed_ns, cpu_ns)].map(Ok);
        table(plan, ways.each_ref())
    }

    #[test]
    fn a_busy_machine_is_told() {
        assert!(text(3000, Some(1000)).contains("This machine was busy: for 50 %"));
        for (elapsed_ns, cpu_ns) in [(3000, Some(2900)), (3000, None)] {
            assert!(!text(elapsed_ns, cpu_ns).contains("busy"));
        }
    }

    #[test]
    fn sizes_of_one_unit_have_the_same_decimals() {
        let text = text(1000, None);
        assert!(
            text.contains(" 1.5 GiB") && text.contains("+1.0 GiB"),
            "{text}"
        );
    }
}
