//! A system whose address spaces nobody here knows how to read: macOS among them.

use std::fs::File;
use std::io;

use crate::error::Error;
use crate::picture::Run;
use crate::snapshot::{Region, Snapshot};

pub(crate) fn snapshot(_: u32) -> Result<Snapshot, Error> {
    Err(Error::other("this system's address spaces cannot be read here; on macOS, see vmmap(1)"))
}

pub(crate) fn page_runs(_: &Snapshot, _: &Region) -> Result<Vec<Run>, Error> {
    Err(Error::other("this system's pages cannot be read here"))
}

pub(super) fn scan_is_known(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
