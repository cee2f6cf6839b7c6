//! Systems whose address spaces this crate cannot read, such as macOS.

use crate::error::Error;
use crate::pages::Run;
use crate::snapshot::{Region, Snapshot};

pub(crate) fn snapshot(_: u32) -> Result<Snapshot, Error> {
    Err(Error::other(
        "this system's address spaces cannot be read here; on macOS, see vmmap(1)",
    ))
}

pub(crate) fn page_runs(_: &Snapshot, _: &Region) -> Result<Vec<Run>, Error> {
    Err(Error::other("this system's pages cannot be read here"))
}
