//! Makes arrays from the command line.

use std::ffi::OsStr;
use std::path::Path;

use elbowroom_pager::{Error, NpyHeader, NpyType, PagedArray, PagedOptions};

use crate::args::{Dtype, Limits, Source};

/// Returns whether the location is a `.npy` file by its name.
pub(super) fn is_npy(location: &OsStr) -> bool {
    let extension = Path::new(location).extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("npy"))
}

/// Reads the header of a `.npy` file, or returns `None` for a raw file.
pub(super) fn header(source: &Source) -> Result<Option<NpyHeader>, String> {
    if !is_npy(&source.location) {
        return Ok(None);
    }
    if source.offset.is_some() {
        return Err(format!(
            "{}: the header of a .npy file says where its elements start; leave --offset out",
            source.location.to_string_lossy()
        ));
    }
    NpyHeader::open(&source.location).map(Some).map_err(told)
}

/// Returns the type of the elements: what the command line says, or the header of a `.npy` file.
pub(super) fn dtype(source: &Source) -> Result<Dtype, String> {
    let header = header(source)?;
    match (source.dtype, header) {
        (Some(dtype), _) => Ok(dtype),
        (None, Some(header)) => dtype_of(&header).ok_or_else(|| {
            format!(
                "{}: there is no type here for its elements, `{}` (NumPy's name)",
                source.location.to_string_lossy(),
                header.descr()
            )
        }),
        (None, None) => Err(format!(
            "{}: say with --dtype what its elements are, such as f64",
            source.location.to_string_lossy()
        )),
    }
}

/// Returns the type that a header names, in whatever byte order. Opening the array checks the order.
pub(super) fn dtype_of(header: &NpyHeader) -> Option<Dtype> {
    let mut chars = header.descr().chars();
    chars.next();
    Some(match chars.as_str() {
        "u1" => Dtype::U8,
        "u2" => Dtype::U16,
        "u4" => Dtype::U32,
        "u8" => Dtype::U64,
        "i1" => Dtype::I8,
        "i2" => Dtype::I16,
        "i4" => Dtype::I32,
        "i8" => Dtype::I64,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        _ => return None,
    })
}

/// Opens the elements for reading.
pub(super) fn array<T: NpyType>(source: &Source) -> Result<PagedArray<T>, String> {
    let options = options(&source.limits);
    if is_npy(&source.location) {
        let opened = options.open_npy(&source.location);
        return opened.map(|(array, _)| array).map_err(told);
    }
    let options = options.offset(source.offset.unwrap_or(0) as u64);
    options.open(&source.location).map_err(told)
}

/// Returns options with the limits of the command line.
pub(super) fn options<T: NpyType>(limits: &Limits) -> PagedOptions<T> {
    let options = PagedArray::options().resident_limit(limits.resident_bytes);
    match limits.page_bytes {
        Some(bytes) => options.page_size(bytes),
        None => options,
    }
}

/// Words an error for the user.
pub(super) fn told(error: Error) -> String {
    error.to_string()
}
