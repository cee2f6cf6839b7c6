//! An owned value in an arena.

#![allow(unsafe_code, reason = "drops and moves values that it owns")]

use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

use super::super::reserved_vec::accept;
use super::blocks::Arena;
use crate::error::Error;

/// An owned value in an [`Arena`], made by [`Arena::alloc_box`].
///
/// Dropping the box drops the value. The box is [`Send`] if the value is.
///
/// The value's memory is free again when the arena is reset, as with any value in it. A `Box` of the crate
/// `allocator-api2` with an `&Arena` differs: it gives its memory back when it is dropped, and must therefore stay on
/// the arena's thread.
///
/// ```
/// use elbowroom::Arena;
/// use elbowroom::arena::ArenaBox;
///
/// let arena = Arena::new();
/// let mut names = arena.alloc_box(vec![String::from("a")]);
/// names.push(String::from("b"));
/// let names: Vec<String> = ArenaBox::into_inner(names);
/// assert_eq!(names, ["a", "b"]);
/// ```
pub struct ArenaBox<'a, T>(
    // Invariant: the value is initialised, and this box owns it.
    &'a mut ManuallyDrop<T>,
);

impl<T> Drop for ArenaBox<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the value is initialised and owned by this box (invariant), which is not used afterwards.
        unsafe { ManuallyDrop::drop(self.0) };
    }
}

impl Arena {
    /// Puts a value into the arena, and returns an owner that drops it.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_alloc_box`](Arena::try_alloc_box) would return.
    #[inline]
    #[track_caller]
    pub fn alloc_box<T>(&self, value: T) -> ArenaBox<'_, T> {
        accept(self.try_alloc_box(value))
    }

    /// Allocates as [`alloc_box`](Arena::alloc_box) does, or drops the value and returns an error.
    ///
    /// # Errors
    /// See [above](Arena#errors).
    #[inline]
    pub fn try_alloc_box<T>(&self, value: T) -> Result<ArenaBox<'_, T>, Error> {
        Ok(ArenaBox(self.try_alloc_with(|| ManuallyDrop::new(value))?))
    }
}

impl<'a, T> ArenaBox<'a, T> {
    /// Moves the value out of the arena.
    ///
    /// This is an associated function, so that it does not hide a method of the value.
    #[inline]
    pub fn into_inner(boxed: ArenaBox<'a, T>) -> T {
        let mut boxed = ManuallyDrop::new(boxed);
        // SAFETY: the value is initialised and owned (invariant). It is taken once, because `boxed` is neither dropped
        // nor used afterwards.
        unsafe { ManuallyDrop::take(boxed.0) }
    }
}

impl<T> Deref for ArenaBox<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0
    }
}

impl<T> DerefMut for ArenaBox<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for ArenaBox<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for ArenaBox<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: PartialEq> PartialEq for ArenaBox<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for ArenaBox<'_, T> {}

impl<T: Hash> Hash for ArenaBox<'_, T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}
