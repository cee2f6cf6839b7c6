//! `elbowroom page`: numbers in files that are larger than the memory that may be used.
//!
//! `open` makes arrays from the command line, `number` is what the element types have in common, and the others are one
//! file for each kind of work.

/// Evaluates an expression in which the type `$T` is the one that a name stands for.
macro_rules! with_type {
    ($dtype:expr, $T:ident => $work:expr) => {
        with_type!($dtype, $T => $work, U8 u8 U16 u16 U32 u32 U64 u64 I8 i8 I16 i16 I32 i32 I64 i64 F32 f32 F64 f64)
    };
    ($dtype:expr, $T:ident => $work:expr, $($name:ident $type:ident)*) => {
        match $dtype {
            $(crate::args::Dtype::$name => {
                type $T = $type;
                $work
            })*
        }
    };
}

mod copy;
mod fold;
mod number;
mod open;
mod replace;
mod report;
mod show;
mod sort;

use crate::args::{PageCommand, Source};
use fold::Fold;
use open::Opened;

/// Does the work, and returns the exit status of the process.
pub(crate) fn run(command: &PageCommand) -> Result<i32, String> {
    match command {
        PageCommand::Info(source) => show::info(source),
        PageCommand::Sum(source) => fold(Fold::Sum, source),
        PageCommand::Min(source) => fold(Fold::Min, source),
        PageCommand::Max(source) => fold(Fold::Max, source),
        PageCommand::Cat(cat) => {
            let opened = Opened::new(&cat.source)?;
            with_type!(opened.dtype()?, T => show::cat::<T>(cat, opened))
        }
        PageCommand::Gather(gather) => {
            let opened = Opened::new(&gather.source)?;
            with_type!(opened.dtype()?, T => show::gather::<T>(gather, opened))
        }
        PageCommand::Sort(sort) => sort::run(sort),
        PageCommand::Copy(copy) => copy::run(copy),
    }
}

fn fold(fold: Fold, source: &Source) -> Result<i32, String> {
    let opened = Opened::new(source)?;
    with_type!(opened.dtype()?, T => fold::run::<T>(fold, opened))
}
