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
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fold {
    Sum,
    Min,
    Max,
}

/// The JSON object; the parts of other results are left out.
#[derive(Serialize)]
struct Report<'a> {
    location: &'a str,
    elements: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    cost: Cost,
}

pub(super) fn run<T: Number>(fold: Fold, opened: Opened<'_>) -> Result<i32, String> {
    let is_json = opened.source.limits.json;
    let array = opened.array::<T>()?;
    let (text, value, index) = match fold {
        Fold::Sum => {
            let mut sum = T::Sum::default();
            each(&array, "adding", |_, element| sum.add(element))?;
            let (text, value) = sum.result();
            (text, value, None)
        }
        Fold::Min | Fold::Max => {
            let (element, index) = extreme(&array, fold)?;
            (format!("{element:?}"), element.json(), Some(index))
        }
    };
    if !is_json {
        return print(text);
    }
    let of = |which| (which == fold).then(|| value.clone());
    print(json(&Report {
        location: array.location(),
        elements: array.len(),
        sum: of(Fold::Sum),
        min: of(Fold::Min),
        max: of(Fold::Max),
        index,
        cost: Cost::of(&array),
    }))
}

/// Returns the first element that is smaller or larger than all others, or the first NaN, and its index.
fn extreme<T: Number>(array: &PagedArray<T>, fold: Fold) -> Result<(T, usize), String> {
    let wanted = match fold {
        Fold::Max => Ordering::Greater,
        _ => Ordering::Less,
    };
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
        let chunk = chunk.map_err(told)?;
        for &element in &*chunk {
            visit(index, element);
            index += 1;
        }
        percent.add(chunk.len());
    }
    Ok(())
}
