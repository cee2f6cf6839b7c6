//! Drops elements whose type is not named.
//!
//! A type with an `impl<T> Drop` may use its `T`s when it is dropped, as far as the compiler knows. So a vector of
//! references would have to go before what they refer to, which std's `Vec` need not, by an attribute that only std may
//! use. Here the part of a container that has the `Drop` does not name `T`, and keeps this instead. The container has a
//! `PhantomData<T>` beside it, by which the compiler knows that `T`s are dropped.
//!
//! ```
//! use elbowroom::ReservedVec;
//!
//! let (mut vec, value);
//! vec = ReservedVec::new();
//! value = 1;
//! vec.push(&value); // The value is dropped first.
//! let mut elements = vec.into_iter();
//! assert_eq!(elements.next(), Some(&1));
//! ```
//!
//! The same holds for elements that refer to each other:
//!
//! ```
//! use std::cell::Cell;
//!
//! use elbowroom::AppendVec;
//!
//! struct Node<'a>(Cell<Option<&'a Node<'a>>>);
//!
//! let nodes = AppendVec::new();
//! let (_, a) = nodes.push(Node(Cell::new(None)));
//! let (_, b) = nodes.push(Node(Cell::new(Some(a))));
//! a.0.set(Some(b));
//! ```
//!
//! Elements that look at what they refer to when they are dropped must still go before it. With the two names in the
//! other order, this compiles:
//!
//! ```
//! struct Last<'a>(&'a i32);
//!
//! impl Drop for Last<'_> {
//!     fn drop(&mut self) {
//!         assert_eq!(*self.0, 1);
//!     }
//! }
//!
//! let (value, mut vec);
//! vec = elbowroom::ReservedVec::new();
//! value = 1;
//! vec.push(Last(&value));
//! ```
//!
//! ```compile_fail,E0597
//! struct Last<'a>(&'a i32);
//!
//! impl Drop for Last<'_> {
//!     fn drop(&mut self) {
//!         assert_eq!(*self.0, 1);
//!     }
//! }
//!
//! let (mut vec, value);
//! vec = elbowroom::ReservedVec::new();
//! value = 1;
//! vec.push(Last(&value));
//! ```
//!
//! So must the iterator by value:
//!
//! ```compile_fail,E0597
//! struct Last<'a>(&'a i32);
//!
//! impl Drop for Last<'_> {
//!     fn drop(&mut self) {
//!         assert_eq!(*self.0, 1);
//!     }
//! }
//!
//! let (elements, value);
//! value = 1;
//! elements = elbowroom::ReservedVec::from([Last(&value)]).into_iter();
//! ```

#![allow(unsafe_code, reason = "drops elements through pointers")]

use std::mem;
use std::ops::Range;
use std::ptr;

/// Drops elements of one type, or does nothing if they need no drop.
#[derive(Clone, Copy)]
pub(super) struct DropGlue(Option<unsafe fn(*mut u8, Range<usize>)>);

impl DropGlue {
    pub(super) const fn of<T>() -> DropGlue {
        DropGlue(if mem::needs_drop::<T>() {
            Some(drop_elements::<T>)
        } else {
            None
        })
    }

    /// Drops the elements `range` of those that lie from `first` on.
    ///
    /// # Safety
    /// - `first` is aligned for the type that this was made [of](DropGlue::of), and elements of it lie at all indices
    ///   of `range`, in one allocation with `first`.
    /// - They are initialised, nothing uses them afterwards, and no reference to them is alive.
    #[inline]
    pub(super) unsafe fn drop(self, first: *mut u8, range: Range<usize>) {
        if let Some(drop) = self.0 {
            // SAFETY: `drop` is the function for the type that this was made of. For that type, `first` is aligned, and
            // the elements of `range` are initialised, in one allocation with it and used by nothing else (contract).
            unsafe { drop(first, range) };
        }
    }
}

/// # Safety
/// As for [`DropGlue::drop`], with elements of the type `T`.
unsafe fn drop_elements<T>(first: *mut u8, range: Range<usize>) {
    let start = first.cast::<T>().wrapping_add(range.start);
    let elements = ptr::slice_from_raw_parts_mut(start, range.len());
    // SAFETY: aligned and initialised elements, which nothing uses any more (contract).
    unsafe { ptr::drop_in_place(elements) };
}
