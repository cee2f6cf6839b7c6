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
mod sort;
mod typed;

use crate::args::{PageCat, PageCommand, PageGather, Source};
use fold::Fold;
use number::Number;
use open::Opened;
use typed::{Work, typed};

/// Does the work, and returns the exit status of the process.
pub(crate) fn run(command: &PageCommand) -> Result<i32, String> {
    match command {
        PageCommand::Info(info) => show::info(&info.source),
        PageCommand::Sum(sum) => fold(Fold::Sum, &sum.source),
        PageCommand::Min(min) => fold(Fold::Min, &min.source),
        PageCommand::Max(max) => fold(Fold::Max, &max.source),
        PageCommand::Cat(cat) => {
            let opened = Opened::new(&cat.source)?;
            typed(opened.dtype()?, (cat, opened))
        }
        PageCommand::Gather(gather) => {
            let opened = Opened::new(&gather.source)?;
            typed(opened.dtype()?, (gather, opened))
        }
        PageCommand::Sort(sort) => sort::run(sort),
        PageCommand::Copy(copy) => copy::run(copy),
    }
}

fn fold(fold: Fold, source: &Source) -> Result<i32, String> {
    let opened = Opened::new(source)?;
    typed(opened.dtype()?, (fold, opened))
}

impl Work for (Fold, Opened<'_>) {
    fn run<T: Number>(self) -> Result<i32, String> {
        fold::run::<T>(self.0, self.1)
    }
}

impl Work for (&PageCat, Opened<'_>) {
    fn run<T: Number>(self) -> Result<i32, String> {
        show::cat::<T>(self.0, self.1)
    }
}

impl Work for (&PageGather, Opened<'_>) {
    fn run<T: Number>(self) -> Result<i32, String> {
        show::gather::<T>(self.0, self.1)
    }
}
