//! `.npy` files whose header is read before the type of the elements is known.

use std::ffi::OsStr;
use std::fmt;

use super::options::refused;
use super::{PagedArray, PagedOptions, location};
use crate::error::Error;
use crate::npy::{NpyHeader, NpyType, Refusal};
use crate::store::Store;

/// A `.npy` file of NumPy, for a program that does not know the element type in advance. If the type is known, use
/// [`PagedOptions::open_npy`].
///
/// ```
/// # let path = std::env::temp_dir().join(format!("elbowroom-pager-npy-file-{}.npy", std::process::id()));
/// # let mut file = b"\x93NUMPY\x01\0\x46\0".to_vec();
/// # file.extend(format!("{:69}\n", "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }").bytes());
/// # file.extend((1..4).flat_map(i32::to_le_bytes));
/// # std::fs::write(&path, file).unwrap();
/// use elbowroom_pager::{Npy, PagedArray};
///
/// let npy = Npy::open(&path)?;
/// let sum = match npy.header().descr() {
///     "<i4" => npy.array::<i32>(PagedArray::options())?.slice(..)?.iter().map(|&x| f64::from(x)).sum(),
///     "<f8" => npy.array::<f64>(PagedArray::options())?.slice(..)?.iter().sum::<f64>(),
///     other => panic!("{other}"),
/// };
/// assert_eq!(sum, 6.0);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), elbowroom_pager::Error>(())
/// ```
pub struct Npy {
    store: Box<dyn Store>,
    location: String,
    header: NpyHeader,
}

impl Npy {
    /// Opens a location for reading, and reads the header.
    ///
    /// # Errors
    /// Fails with `is_invalid()` if it is not a `.npy` file; otherwise as [`PagedOptions::open`] does.
    pub fn open(location: impl AsRef<OsStr>) -> Result<Npy, Error> {
        Npy::with(location.as_ref(), false, false)
    }

    pub(super) fn with(
        location: &OsStr,
        is_writable: bool,
        fills_page_cache: bool,
    ) -> Result<Npy, Error> {
        let store = location::open(location, is_writable, fills_page_cache, None)?;
        let location = location.to_string_lossy().into_owned();
        match NpyHeader::read(&*store) {
            Ok(header) => Ok(Npy {
                store,
                location,
                header,
            }),
            Err(Refusal::Invalid(reason)) => Err(Error::invalid(&location, reason)),
            Err(Refusal::Store(refusal)) => Err(refused(&location, refusal)),
        }
    }

    /// Returns the header.
    pub fn header(&self) -> &NpyHeader {
        &self.header
    }

    /// Returns the elements, in the order of the file. The offset, the length and
    /// [`page_cache`](PagedOptions::page_cache) in the options have no effect.
    ///
    /// # Errors
    /// Fails with `is_invalid()` if the elements are of another type or byte order, or if the file is shorter than its
    /// header says; otherwise as [`PagedOptions::open_store`] does.
    pub fn array<T: NpyType>(self, options: PagedOptions<T>) -> Result<PagedArray<T>, Error> {
        let invalid = |reason| Err(Error::invalid(&self.location, reason));
        if let Err(reason) = self.header.check::<T>() {
            return invalid(reason);
        }
        let Some(len) = self.header.elements() else {
            return invalid("its shape is larger than can be addressed".into());
        };
        let options = options.offset(self.header.data_offset()).len(len);
        let mut array = options.open_boxed(self.store, &self.location)?;
        array.is_fixed = true;
        Ok(array)
    }
}

impl fmt::Debug for Npy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Npy")
            .field("location", &self.location)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
