//! Data larger than memory: `elbowroom-pager` against mapped files, plain reads and NumPy, within the same limit.

mod bounded;
mod data;
mod numpy;
mod random;
#[cfg(feature = "remote")]
mod remote;
mod resident;
mod scan;
#[cfg(feature = "remote")]
mod server;
mod sort;
mod touch;

pub(crate) use bounded::limit;
pub(crate) use data::Folder;
#[cfg(feature = "remote")]
pub(crate) use server::serve;

use crate::plan::{Comparison, Scale};

/// Returns all comparisons of this module.
pub(crate) fn comparisons(scale: Scale) -> Vec<Comparison> {
    let mut all = vec![scan::comparison(scale), random::comparison(scale)];
    all.push(sort::comparison(scale));
    all.extend(resident::comparisons(scale));
    all.extend(touch::comparisons(scale));
    #[cfg(feature = "remote")]
    all.push(remote::comparison(scale));
    all
}
