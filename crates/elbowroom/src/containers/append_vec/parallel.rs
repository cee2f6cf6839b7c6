//! A vector's elements on rayon's threads.

use ::rayon::iter::IntoParallelIterator;
use ::rayon::slice::Iter;

use super::AppendVec;

impl<'a, T: Sync> IntoParallelIterator for &'a AppendVec<T> {
    type Item = &'a T;
    type Iter = Iter<'a, T>;

    /// The elements of [`as_slice`](AppendVec::as_slice), as it is now.
    fn into_par_iter(self) -> Iter<'a, T> {
        self.as_slice().into_par_iter()
    }
}
