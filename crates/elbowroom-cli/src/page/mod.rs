//! `elbowroom page`: numbers in files that are larger than the memory that may be used.
//!
//! `open` makes arrays from the command line, `number` is what the element types have in common, and the others are one
//! file for each kind of work.

mod copy;
mod fold;
mod number;
mod open;
mod replace;
mod report;
mod show;
mod typed;

use crate::args::{PageCat, PageCommand, PageGather};
use fold::Fold;
use number::Number;
use typed::{Work, typed};

/// Does the work, and returns the exit status of the process.
pub(crate) fn run(command: &PageCommand) -> Result<i32, String> {
    match command {
        PageCommand::Info(info) => show::info(&info.source),
        PageCommand::Sum(sum) => typed(open::dtype(&sum.source)?, Fold::Sum(&sum.source)),
        PageCommand::Min(min) => typed(open::dtype(&min.source)?, Fold::Min(&min.source)),
        PageCommand::Max(max) => typed(open::dtype(&max.source)?, Fold::Max(&max.source)),
        PageCommand::Cat(cat) => typed(open::dtype(&cat.source)?, cat),
        PageCommand::Gather(gather) => typed(open::dtype(&gather.source)?, gather),
        PageCommand::Copy(copy) => copy::run(copy),
    }
}

impl Work for Fold<'_> {
    fn run<T: Number>(self) -> Result<i32, String> {
        fold::run::<T>(&self)
    }
}

impl Work for &PageCat {
    fn run<T: Number>(self) -> Result<i32, String> {
        show::cat::<T>(self)
    }
}

impl Work for &PageGather {
    fn run<T: Number>(self) -> Result<i32, String> {
        show::gather::<T>(self)
    }
}
