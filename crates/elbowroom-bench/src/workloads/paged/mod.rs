//! Data larger than memory: `elbowroom-pager` against mapped files, plain reads and NumPy, within the same limit.

mod bounded;
mod data;
mod numpy;
mod random;
mod resident;
mod scan;
mod sort;
mod touch;

pub(crate) use data::Folder;

use crate::plan::{Comparison, Scale};

/// Returns all comparisons of this module.
pub(crate) fn comparisons(scale: Scale) -> Vec<Comparison> {
    let mut all = vec![scan::comparison(scale), random::comparison(scale)];
    all.push(sort::comparison(scale));
    all.extend(resident::comparisons(scale));
    all.extend(touch::comparisons(scale));
    all
}
