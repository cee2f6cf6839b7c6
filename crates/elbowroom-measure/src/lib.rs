//! How the `elbowroom` command and its benchmarks measure: samples taken in turns, in processes of their own, by the
//! processors' clock.
//!
//! This package is a part of those two programs. Its interface may change with every version.

mod child;
mod order;
mod os;
mod pages;
mod sample;
mod spread;
mod up_front;
mod words;

pub use child::ask;
pub use order::shuffled;
pub use os::{bring_in, cpu_time, ending, proc, thread_cpu_time};
pub use pages::Pages;
pub use sample::{Clock, Sample, Series, Times, busy, nanoseconds, timed};
pub use spread::Spread;
pub use up_front::{UpFront, warm};
pub use words::{capitalised, three_digits, time, unit};
