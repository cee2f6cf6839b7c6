//! The two ways that Microsoft's page names, side by side: committing everything up front, and committing on touch.

use std::time::{Duration, Instant};

use elbowroom::{Error, Growth, Region, page_size};
use serde::Serialize;

use crate::args::Compare;
use crate::meter::{Change, human_time, known, nanoseconds};
use crate::os::{self, Accounting, UpFront};
use crate::output::{complain, json, print};
use crate::size::{human, human_change};
use crate::usage::Usage;

/// What one way took, seen while its memory was held.
#[derive(Serialize)]
struct Cost {
    reserved_bytes: usize,
    /// Faults that the library resolved.
    library_faults: u64,
    #[serde(flatten)]
    change: Change,
    elapsed_ns: u64,
}

/// Runs both, and prints what each cost.
pub(crate) fn run(settings: &Compare) -> Result<i32, String> {
    let up_front = up_front(settings);
    let on_touch = on_touch(settings);
    for (name, result) in [("up front", &up_front), ("on touch", &on_touch)] {
        if let Err(error) = result {
            complain(format_args!("{name}: {error}"));
        }
    }
    print(if settings.json {
        json_of(settings, &up_front, &on_touch)
    } else {
        table(settings, &up_front, &on_touch)
    })
}

fn up_front(settings: &Compare) -> Result<Cost, Error> {
    let (block, change, elapsed_ns) = measure(|| {
        let mut block = UpFront::new(settings.reserve_bytes)?;
        for offset in touched(settings) {
            block.write(offset, 1);
        }
        Ok(block)
    })?;
    Ok(Cost {
        reserved_bytes: block.len(),
        library_faults: 0,
        change,
        elapsed_ns,
    })
}

fn on_touch(settings: &Compare) -> Result<Cost, Error> {
    let growth = settings.growth.map_or_else(Growth::default, Growth::Pages);
    let (region, change, elapsed_ns) = measure(|| {
        let region = Region::builder(settings.reserve_bytes)
            .growth(growth)
            .build()?;
        for offset in touched(settings) {
            region.try_write(offset, 1u8)?;
        }
        Ok(region)
    })?;
    Ok(Cost {
        reserved_bytes: region.len(),
        library_faults: region.stats().faults,
        change,
        elapsed_ns,
    })
}

/// One byte in each page to touch.
fn touched(settings: &Compare) -> impl Iterator<Item = usize> {
    (0..settings.touch_bytes).step_by(page_size())
}

/// Measures `take`. The figures are read while its result is held.
fn measure<H>(take: impl FnOnce() -> Result<H, Error>) -> Result<(H, Change, u64), Error> {
    let before = Usage::before();
    let start = Instant::now();
    let held = take()?;
    let elapsed_ns = nanoseconds(start.elapsed());
    Ok((held, os::usage().since(&before), elapsed_ns))
}

fn table(
    settings: &Compare,
    up_front: &Result<Cost, Error>,
    on_touch: &Result<Cost, Error>,
) -> String {
    let show = |result: &Result<Cost, Error>, figure: fn(&Cost) -> String| match result {
        Ok(cost) => figure(cost),
        Err(_) => "-".to_owned(),
    };
    let outcome = |result: &Result<Cost, Error>| match result {
        Ok(_) => "succeeded".to_owned(),
        Err(error) => error
            .os_code()
            .map_or("failed".to_owned(), |code| format!("failed: error {code}")),
    };
    let row = |name: &'static str, figure: fn(&Cost) -> String| {
        [
            name.to_owned(),
            show(up_front, figure),
            show(on_touch, figure),
        ]
    };
    let rows = [
        ["".to_owned(), "up front".to_owned(), "on touch".to_owned()],
        ["outcome".to_owned(), outcome(up_front), outcome(on_touch)],
        row("reserved", |cost| human(cost.reserved_bytes as u64)),
        row("commit charge, system", |cost| {
            known(cost.change.system_commit_growth_bytes, human_change)
        }),
        row("commit charge, this process", |cost| {
            known(cost.change.process_commit_growth_bytes, human_change)
        }),
        row("resident", |cost| {
            known(cost.change.resident_growth_bytes, human_change)
        }),
        row("faults, the library's", |cost| {
            cost.library_faults.to_string()
        }),
        row("faults, the kernel's", |cost| {
            known(cost.change.kernel_faults, |faults| faults)
        }),
        row("time", |cost| {
            human_time(Duration::from_nanos(cost.elapsed_ns))
        }),
    ];
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];

    let mut text = format!(
        "{} of {} touched, one write a page\n\n",
        human(settings.touch_bytes as u64),
        human(settings.reserve_bytes as u64)
    );
    for [name, up_front, on_touch] in &rows {
        text += &format!(
            "{name:<0$}  {up_front:>1$}  {on_touch:>2$}\n",
            widths[0], widths[1], widths[2]
        );
    }
    text += "\nCommit charge is memory that the system has promised, resident is memory that is in use.\n\
             The figures were read while it was held; the system's include what other programs did meanwhile.";
    match os::accounting() {
        Accounting::Limited => text,
        Accounting::Unlimited => {
            text + "\nThis system promises without limit (vm.overcommit_memory is 1): committing up front does not \
                    fail here."
        }
        Accounting::Unknown => text + "\nWhether this system limits its promises is not known.",
    }
}

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    page_size_bytes: usize,
    reserve_bytes: usize,
    touch_bytes: usize,
    /// Null where it is not known.
    commit_is_limited: Option<bool>,
    up_front: WayReport<'a>,
    on_touch: WayReport<'a>,
}

/// One way: what it cost, or why it failed. The other is null.
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
    WayReport {
        cost: way.as_ref().ok(),
        error: way.as_ref().err().map(|error| ErrorReport {
            os_code: error.os_code(),
            message: error.to_string(),
        }),
    }
}

fn json_of(
    settings: &Compare,
    up_front: &Result<Cost, Error>,
    on_touch: &Result<Cost, Error>,
) -> String {
    json(&Report {
        page_size_bytes: page_size(),
        reserve_bytes: settings.reserve_bytes,
        touch_bytes: settings.touch_bytes,
        commit_is_limited: match os::accounting() {
            Accounting::Limited => Some(true),
            Accounting::Unlimited => Some(false),
            Accounting::Unknown => None,
        },
        up_front: report(up_front),
        on_touch: report(on_touch),
    })
}
