//! The measurements of the `elbowroom` command and its benchmarks: interleaved samples in separate processes, by
//! processor time.
//!
//! This package is part of these two programs. Its interface may change in every version.

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
pub use os::{cpu_time, ending, prefault, proc, thread_cpu_time};
pub use pages::Pages;
pub use sample::{Clock, Sample, Series, Times, busy, nanoseconds, timed};
pub use spread::Spread;
pub use up_front::{UpFront, warm};
pub use words::{capitalised, three_digits, time, unit};
