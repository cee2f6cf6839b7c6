//! The common interface of the types of elements: an order, a sum, and a text.

use std::cmp::Ordering;
use std::fmt::Debug;

use elbowroom_pager::NpyType;
use serde_json::Value;

/// A type of elements.
pub(super) trait Number: NpyType + Copy + Debug + Send + Sync {
    /// Adds elements up.
    type Sum: Sum<Self>;

    /// Compares in the order that elements are sorted in. Floating-point numbers: as `total_cmp`.
    fn order(self, other: Self) -> Ordering;

    fn is_nan(self) -> bool;

    /// Returns the JSON value. NaN and infinities are strings.
    fn json(self) -> Value;
}

/// A running sum.
pub(super) trait Sum<T>: Default {
    fn add(&mut self, element: T);

    /// Returns the text and the JSON value.
    fn result(&self) -> (String, Value);
}

/// The sum of integers. No file has enough of them to overflow it: 2^63 elements of 64 bits sum to 127 bits at most.
#[derive(Default)]
pub(super) struct Exact(i128);

impl<T: Into<i128>> Sum<T> for Exact {
    fn add(&mut self, element: T) {
        self.0 += element.into();
    }

    fn result(&self) -> (String, Value) {
        (self.0.to_string(), whole(self.0))
    }
}

/// Returns an integer as JSON: a number if it fits in 64 bits, and else a string of its digits.
fn whole(value: i128) -> Value {
    let small = i64::try_from(value).map(Value::from);
    small
        .or_else(|_| u64::try_from(value).map(Value::from))
        .unwrap_or_else(|_| Value::from(value.to_string()))
}

/// The sum of floating-point numbers, with the errors of the roundings added at the end (Neumaier 1974).
#[derive(Default)]
pub(super) struct Compensated {
    sum: f64,
    lost: f64,
}

impl<T: Into<f64>> Sum<T> for Compensated {
    fn add(&mut self, element: T) {
        let element = element.into();
        let sum = self.sum + element;
        self.lost += if self.sum.abs() >= element.abs() {
            (self.sum - sum) + element
        } else {
            (element - sum) + self.sum
        };
        self.sum = sum;
    }

    fn result(&self) -> (String, Value) {
        // Of an infinity, what is lost is NaN.
        let total = if self.sum.is_finite() {
            self.sum + self.lost
        } else {
            self.sum
        };
        (format!("{total:?}"), total.json())
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Number for $type {
            type Sum = Exact;

            fn order(self, other: $type) -> Ordering {
                self.cmp(&other)
            }

            fn is_nan(self) -> bool {
                false
            }

            fn json(self) -> Value {
                self.into()
            }
        }
    )*};
}

macro_rules! floats {
    ($($type:ty),*) => {$(
        impl Number for $type {
            type Sum = Compensated;

            fn order(self, other: $type) -> Ordering {
                self.total_cmp(&other)
            }

            fn is_nan(self) -> bool {
                <$type>::is_nan(self)
            }

            fn json(self) -> Value {
                if self.is_finite() {
                    // By its shortest text: 0.1f32 is 0.1, and not the f64 next to it.
                    let shortest = format!("{self:?}").parse::<f64>();
                    shortest.map_or(Value::Null, Value::from)
                } else {
                    format!("{self:?}").into()
                }
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, i8, i16, i32, i64);
floats!(f32, f64);

#[cfg(test)]
mod tests {
    use super::*;

    fn sum<T: Number>(elements: &[T]) -> (String, Value) {
        let mut sum = T::Sum::default();
        elements.iter().for_each(|&element| sum.add(element));
        sum.result()
    }

    #[test]
    fn sums_of_integers_do_not_overflow() {
        assert_eq!(sum(&[u8::MAX; 3]), ("765".into(), 765.into()));
        let large = "36893488147419103230";
        assert_eq!(sum(&[u64::MAX; 2]), (large.into(), large.into()));
        assert_eq!(sum(&[i64::MIN, 1]).1, Value::from(i64::MIN + 1));
        assert_eq!(sum(&[u64::MAX]).1, Value::from(u64::MAX));
    }

    #[test]
    fn sums_of_floats_keep_what_rounding_loses() {
        assert_eq!(sum(&[1e100, 1.0, -1e100]).0, "1.0");
        assert_eq!(sum(&[1e16, 1.0, 1.0]).0, "1.0000000000000002e16");
        assert_eq!(sum(&[0.1f32]).0, "0.10000000149011612");
        assert_eq!(sum(&[f64::INFINITY, 1.0]), ("inf".into(), "inf".into()));
        let opposite = [f64::INFINITY, f64::NEG_INFINITY];
        assert_eq!(sum(&opposite), ("NaN".into(), "NaN".into()));
        assert_eq!(sum::<f64>(&[]).0, "0.0");
    }

    #[test]
    fn floats_are_ordered_and_written() {
        assert_eq!((-0.0f64).order(0.0), Ordering::Less);
        assert_eq!(f32::NAN.order(f32::INFINITY), Ordering::Greater);
        assert_eq!(0.1f32.json().to_string(), "0.1");
        assert_eq!((-f32::INFINITY).json(), "-inf");
        assert_eq!(f64::MAX.json(), f64::MAX);
    }
}
