//! `elbowroom page copy`.

use std::io::Write;

use elbowroom_pager::PagedArray;
use serde::Serialize;

use super::open::{options, told};
use super::replace::{Beside, Ending, exists};
use super::report::{Cost, Percent};
use crate::args::PageCopy;
use crate::output::{json, print};

#[derive(Serialize)]
struct Report<'a> {
    location: &'a str,
    target: String,
    bytes: usize,
    cost: Cost,
}

pub(super) fn run(settings: &PageCopy) -> Result<i32, String> {
    let target = &settings.target;
    let is_url = target.to_str().is_some_and(|text| text.contains("://"));
    if is_url {
        return Err(format!(
            "cannot write {}: a copy is written to a path",
            target.display()
        ));
    }
    let options = options::<u8>(&settings.limits).offset(settings.offset as u64);
    let array = options.open(&settings.location).map_err(told)?;
    if target.exists() && !settings.force {
        return Err(exists(target));
    }
    // From here on a signal does not end the process, so that no file is left behind.
    let ending = Ending::new()?;
    let mut beside = Beside::new(target, "copy")?;
    copy(&array, &mut beside, &ending)?;
    let report = Report {
        location: array.location(),
        target: target.to_string_lossy().into_owned(),
        bytes: array.len(),
        cost: Cost::of(&array),
    };
    let text = settings.limits.json.then(|| json(&report));
    // So that a file may take the place of the one it was copied from, also where an open file is not replaced.
    drop(array);
    beside.make_durable()?;
    beside.take_place(target, settings.force)?;
    text.map_or(Ok(0), print)
}

/// Copies all bytes.
fn copy(array: &PagedArray<u8>, beside: &mut Beside, ending: &Ending) -> Result<(), String> {
    let mut percent = Percent::new("copying", array.len());
    for chunk in array.scan(..).map_err(told)? {
        ending.check()?;
        let chunk = chunk.map_err(told)?;
        let written = beside.file.write_all(&chunk);
        written.map_err(|error| beside.cannot_write(error))?;
        percent.add(chunk.len());
    }
    Ok(())
}
