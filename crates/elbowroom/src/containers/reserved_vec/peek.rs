//! The last element, borrowed to be changed or popped.

#![allow(unsafe_code, reason = "knows that there is an element")]

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::ReservedVec;

/// A reference to the last element of a [`ReservedVec`]; made by [`ReservedVec::peek_mut`].
pub struct PeekMut<'a, T> {
    // Invariant: not empty.
    vec: &'a mut ReservedVec<T>,
}

impl<T> ReservedVec<T> {
    /// Returns a reference to the last element, which [`PeekMut::pop`] can then remove.
    ///
    /// ```
    /// use elbowroom::reserved_vec::PeekMut;
    ///
    /// let mut work = elbowroom::reserved_vec![3, 1];
    /// while let Some(mut left) = work.peek_mut() {
    ///     *left -= 1;
    ///     if *left == 0 {
    ///         PeekMut::pop(left);
    ///     }
    /// }
    /// assert!(work.is_empty());
    /// ```
    pub fn peek_mut(&mut self) -> Option<PeekMut<'_, T>> {
        (!self.is_empty()).then_some(PeekMut { vec: self })
    }
}

impl<T> PeekMut<'_, T> {
    /// Removes the element from the vector and returns it.
    pub fn pop(this: Self) -> T {
        // SAFETY: the vector is not empty (invariant).
        unsafe { this.vec.pop().unwrap_unchecked() }
    }
}

impl<T> Deref for PeekMut<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the vector is not empty (invariant).
        unsafe { self.vec.last().unwrap_unchecked() }
    }
}

impl<T> DerefMut for PeekMut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the vector is not empty (invariant).
        unsafe { self.vec.last_mut().unwrap_unchecked() }
    }
}

impl<T: fmt::Debug> fmt::Debug for PeekMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PeekMut").field(&**self).finish()
    }
}
