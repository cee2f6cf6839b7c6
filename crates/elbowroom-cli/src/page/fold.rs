//! One result of all elements: the sum, the smallest, the largest.

use std::cmp::Ordering;

use elbowroom_pager::PagedArray;
use serde::Serialize;
use serde_json::Value;

use super::number::{Number, Sum};
use super::open::{Opened, told};
use super::report::{Cost, Percent};
use crate::output::{json, print};

/// The result to compute.
#[derive(Clone, Copy)]
pub(super) enum Fold {
    Sum,
    Min,
    Max,
}

#[derive(Serialize)]
struct Report<'a> {
    location: &'a str,
    elements: usize,
    #[serde(flatten)]
    result: Found,
    cost: Cost,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Found {
    Sum(Value),
    #[serde(untagged)]
    Min {
        min: Value,
        index: usize,
    },
    #[serde(untagged)]
    Max {
        max: Value,
        index: usize,
    },
}

pub(super) fn run<T: Number>(fold: Fold, opened: Opened<'_>) -> Result<i32, String> {
    let is_json = opened.source.limits.json;
    let array = opened.array::<T>()?;
    let (text, result) = match fold {
        Fold::Sum => {
            let mut sum = T::Sum::default();
            each(&array, "adding", |_, element| sum.add(element))?;
            let (text, value) = sum.result();
            (text, Found::Sum(value))
        }
        Fold::Min => {
            let (min, index) = extreme(&array, Ordering::Less)?;
            let text = format!("{min:?}");
            let min = min.json();
            (text, Found::Min { min, index })
        }
        Fold::Max => {
            let (max, index) = extreme(&array, Ordering::Greater)?;
            let text = format!("{max:?}");
            let max = max.json();
            (text, Found::Max { max, index })
        }
    };
    if !is_json {
        return print(text);
    }
    print(json(&Report {
        location: array.location(),
        elements: array.len(),
        result,
        cost: Cost::of(&array),
    }))
}

/// Returns the first element that comes before all others in an order, or the first NaN, and its index.
fn extreme<T: Number>(array: &PagedArray<T>, wanted: Ordering) -> Result<(T, usize), String> {
    let mut best: Option<(T, usize)> = None;
    each(array, "searching", |index, element| {
        let is_better = match best {
            None => true,
            Some((best, _)) if best.is_nan() => false,
            Some((best, _)) => element.is_nan() || element.order(best) == wanted,
        };
        if is_better {
            best = Some((element, index));
        }
    })?;
    best.ok_or_else(|| format!("{}: it has no elements", array.location()))
}

/// Calls a function for each element, in order.
fn each<T: Number>(
    array: &PagedArray<T>,
    what: &'static str,
    mut visit: impl FnMut(usize, T),
) -> Result<(), String> {
    let mut percent = Percent::new(what, array.len());
    let mut index = 0;
    for chunk in array.scan(..).map_err(told)? {
        let chunk = chunk.map_err(told);
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(message) => {
                percent.end();
                return Err(message);
            }
        };
        for &element in &*chunk {
            visit(index, element);
            index += 1;
        }
        percent.add(chunk.len());
    }
    percent.end();
    Ok(())
}
