//! Parallel iterators and collecting (rayon), as rayon has for `Vec`.

#![allow(unsafe_code, reason = "moves elements out of a vector")]

use std::mem::{self, ManuallyDrop};
use std::ptr;
use std::slice;

use ::rayon::iter::plumbing::{self, Consumer, Producer, ProducerCallback, UnindexedConsumer};
use ::rayon::iter::{
    FromParallelIterator, IndexedParallelIterator, IntoParallelIterator, ParallelExtend,
    ParallelIterator,
};

use super::{ReservedVec, accept};

impl<'a, T: Sync> IntoParallelIterator for &'a ReservedVec<T> {
    type Item = &'a T;
    type Iter = ::rayon::slice::Iter<'a, T>;

    fn into_par_iter(self) -> ::rayon::slice::Iter<'a, T> {
        self.as_slice().into_par_iter()
    }
}

impl<'a, T: Send> IntoParallelIterator for &'a mut ReservedVec<T> {
    type Item = &'a mut T;
    type Iter = ::rayon::slice::IterMut<'a, T>;

    fn into_par_iter(self) -> ::rayon::slice::IterMut<'a, T> {
        self.as_mut_slice().into_par_iter()
    }
}

impl<T: Send> IntoParallelIterator for ReservedVec<T> {
    type Item = T;
    type Iter = IntoParIter<T>;

    fn into_par_iter(self) -> IntoParIter<T> {
        IntoParIter { vec: self }
    }
}

impl<T: Send> ParallelExtend<T> for ReservedVec<T> {
    /// Appends all elements, in order. If their number is known in advance (for a range, a slice, or a `map` of them),
    /// several threads make the elements in place. Otherwise, for example after a `filter`, they are collected on the
    /// heap first and then moved in.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_reserve`](ReservedVec::try_reserve) would return; nothing is
    /// appended then.
    fn par_extend<I: IntoParallelIterator<Item = T>>(&mut self, elements: I) {
        let elements = elements.into_par_iter();
        if let Some(count) = elements.opt_len() {
            self.reserve(count);
            return self.collect_in_place(count, elements);
        }
        let parts = elements.collect_vec_list();
        accept(self.make_room(parts.iter().map(Vec::len).sum()));
        self.extend(parts.into_iter().flatten());
    }
}

impl<'a, T: Copy + Send + Sync + 'a> ParallelExtend<&'a T> for ReservedVec<T> {
    /// # Panics
    /// See the implementation for elements by value.
    fn par_extend<I: IntoParallelIterator<Item = &'a T>>(&mut self, elements: I) {
        self.par_extend(elements.into_par_iter().copied());
    }
}

impl<T: Send> FromParallelIterator<T> for ReservedVec<T> {
    /// Collects into a vector with the maximum of [`ReservedVec::new`].
    ///
    /// # Panics
    /// See `par_extend`.
    fn from_par_iter<I: IntoParallelIterator<Item = T>>(elements: I) -> ReservedVec<T> {
        let mut vec = ReservedVec::new();
        vec.par_extend(elements);
        vec
    }
}

/// The elements of a [`ReservedVec`] by value, as a parallel iterator of rayon.
#[derive(Clone, Debug)]
pub struct IntoParIter<T> {
    vec: ReservedVec<T>,
}

impl<T: Send> ParallelIterator for IntoParIter<T> {
    type Item = T;

    fn drive_unindexed<C: UnindexedConsumer<T>>(self, consumer: C) -> C::Result {
        plumbing::bridge(self, consumer)
    }

    fn opt_len(&self) -> Option<usize> {
        Some(self.vec.owned.len)
    }
}

impl<T: Send> IndexedParallelIterator for IntoParIter<T> {
    fn len(&self) -> usize {
        self.vec.owned.len
    }

    fn drive<C: Consumer<T>>(self, consumer: C) -> C::Result {
        plumbing::bridge(self, consumer)
    }

    fn with_producer<C: ProducerCallback<T>>(mut self, callback: C) -> C::Output {
        // The vector gives the memory back afterwards.
        callback.callback(self.vec.give_out())
    }
}

impl<T> ReservedVec<T> {
    fn give_out(&mut self) -> Part<'_, T> {
        let first = self.as_mut_ptr().cast::<ManuallyDrop<T>>();
        // Set before the elements are given out, so that the vector does not drop them as well.
        let count = mem::take(&mut self.owned.len);
        // SAFETY: the elements are initialised, and ManuallyDrop has the same layout and drops nothing. The vector is
        // exclusively borrowed meanwhile, and no longer counts them as its own.
        let elements = unsafe { slice::from_raw_parts_mut(first, count) };
        Part {
            elements: elements.iter_mut(),
        }
    }
}

/// A part of the elements, for one thread.
struct Part<'a, T> {
    // Invariant: initialised elements, which nothing else takes or drops.
    elements: slice::IterMut<'a, ManuallyDrop<T>>,
}

impl<T> Iterator for Part<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let element = self.elements.next()?;
        // SAFETY: the element is initialised (invariant), and has just left the iterator, so it is taken once.
        Some(unsafe { ManuallyDrop::take(element) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.elements.size_hint()
    }
}

impl<T> DoubleEndedIterator for Part<'_, T> {
    fn next_back(&mut self) -> Option<T> {
        let element = self.elements.next_back()?;
        // SAFETY: the element is initialised (invariant), and has just left the iterator, so it is taken once.
        Some(unsafe { ManuallyDrop::take(element) })
    }
}

impl<T> ExactSizeIterator for Part<'_, T> {}

impl<T: Send> Producer for Part<'_, T> {
    type Item = T;
    type IntoIter = Self;

    fn into_iter(self) -> Self {
        self
    }

    fn split_at(mut self, index: usize) -> (Self, Self) {
        let (front, back) = mem::take(&mut self.elements)
            .into_slice()
            .split_at_mut(index);
        (
            Part {
                elements: front.iter_mut(),
            },
            Part {
                elements: back.iter_mut(),
            },
        )
    }
}

impl<T> Drop for Part<'_, T> {
    fn drop(&mut self) {
        let rest = ptr::from_mut(mem::take(&mut self.elements).into_slice()) as *mut [T];
        // SAFETY: the elements are initialised (invariant), and ManuallyDrop has the same layout as they.
        unsafe { ptr::drop_in_place(rest) };
    }
}
