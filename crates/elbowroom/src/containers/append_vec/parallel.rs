//! Parallel iterators over a vector's elements (rayon).

use ::rayon::iter::IntoParallelIterator;
use ::rayon::slice::Iter;

use super::AppendVec;

impl<'a, T: Sync> IntoParallelIterator for &'a AppendVec<T> {
    type Item = &'a T;
    type Iter = Iter<'a, T>;

    /// Returns a parallel iterator over [`as_slice`](AppendVec::as_slice) at this moment.
    fn into_par_iter(self) -> Iter<'a, T> {
        self.as_slice().into_par_iter()
    }
}
