//! Makes arrays from the command line.

use std::ffi::OsStr;
use std::path::Path;

use clap::ValueEnum;
use elbowroom_pager::{Error, Npy, NpyHeader, NpyType, PagedArray, PagedOptions};

use crate::args::{Dtype, Limits, Source};

/// A location, with its header if it is a `.npy` file.
pub(super) struct Opened<'a> {
    pub(super) source: &'a Source,
    /// `None` for a raw file, which is not open yet.
    npy: Option<Npy>,
}

impl<'a> Opened<'a> {
    pub(super) fn new(source: &'a Source) -> Result<Opened<'a>, String> {
        if !is_npy(&source.location) {
            return Ok(Opened { source, npy: None });
        }
        if source.offset.is_some() {
            return Err(format!(
                "{}: the header of a .npy file says where its elements start; leave --offset out",
                source.location.to_string_lossy()
            ));
        }
        let npy = Some(Npy::open(&source.location).map_err(told)?);
        Ok(Opened { source, npy })
    }

    /// Returns the header of a `.npy` file.
    pub(super) fn header(&self) -> Option<&NpyHeader> {
        self.npy.as_ref().map(Npy::header)
    }

    /// Returns the type of the elements: what the command line says, or the header of a `.npy` file.
    pub(super) fn dtype(&self) -> Result<Dtype, String> {
        let location = self.source.location.to_string_lossy();
        match (self.source.dtype, self.header()) {
            (Some(dtype), _) => Ok(dtype),
            (None, Some(header)) => dtype_of(header).ok_or_else(|| {
                format!(
                    "{location}: there is no type here for its elements, `{}` (NumPy's name)",
                    header.descr()
                )
            }),
            (None, None) => Err(format!(
                "{location}: say with --dtype what its elements are, such as f64"
            )),
        }
    }

    /// Returns where in the file the first element is, in bytes.
    pub(super) fn offset(&self) -> u64 {
        let given = self.source.offset.unwrap_or(0) as u64;
        self.header().map_or(given, NpyHeader::data_offset)
    }

    /// Returns the elements, for reading.
    pub(super) fn array<T: NpyType>(self) -> Result<PagedArray<T>, String> {
        let options = options(&self.source.limits);
        self.array_with(options)
    }

    /// Returns the elements, opened with these options.
    pub(super) fn array_with<T: NpyType>(
        self,
        options: PagedOptions<T>,
    ) -> Result<PagedArray<T>, String> {
        let options = options.offset(self.offset());
        let array = match self.npy {
            Some(npy) => npy.array(options),
            None => options.open(&self.source.location),
        };
        array.map_err(told)
    }
}

/// Returns whether the location is a `.npy` file by its name.
fn is_npy(location: &OsStr) -> bool {
    let extension = Path::new(location).extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("npy"))
}

/// Returns the type that a header names, in whatever byte order. Opening the array checks the order.
pub(super) fn dtype_of(header: &NpyHeader) -> Option<Dtype> {
    let (kind, bytes) = header.descr().get(1..)?.split_at_checked(1)?;
    let bits = bytes.parse::<u8>().ok()?.checked_mul(8)?;
    Dtype::from_str(&format!("{kind}{bits}"), false).ok()
}

/// Returns options with the limits of the command line.
pub(super) fn options<T: NpyType>(limits: &Limits) -> PagedOptions<T> {
    let options = PagedArray::options().resident_limit(limits.resident_bytes);
    let options = match limits.threads {
        Some(count) => options.threads(count.get()),
        None => options,
    };
    match limits.page_bytes {
        Some(bytes) => options.page_size(bytes),
        None => options,
    }
}

/// Words an error for the user.
pub(super) fn told(error: Error) -> String {
    error.to_string()
}
