//! Runs generic work with the type that a name stands for.

use super::number::Number;
use crate::args::Dtype;

/// Work that is the same for all types of elements.
pub(super) trait Work {
    fn run<T: Number>(self) -> Result<i32, String>;
}

/// Does work on elements of this type.
pub(super) fn typed(dtype: Dtype, work: impl Work) -> Result<i32, String> {
    match dtype {
        Dtype::U8 => work.run::<u8>(),
        Dtype::U16 => work.run::<u16>(),
        Dtype::U32 => work.run::<u32>(),
        Dtype::U64 => work.run::<u64>(),
        Dtype::I8 => work.run::<i8>(),
        Dtype::I16 => work.run::<i16>(),
        Dtype::I32 => work.run::<i32>(),
        Dtype::I64 => work.run::<i64>(),
        Dtype::F32 => work.run::<f32>(),
        Dtype::F64 => work.run::<f64>(),
    }
}
