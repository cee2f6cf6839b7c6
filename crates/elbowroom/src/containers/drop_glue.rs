//! Drops elements through a function pointer, so that the container's `Drop` does not name their type.
//!
//! The compiler assumes that a type with an `impl<T> Drop` uses its `T`s when it is dropped. A vector of references
//! would therefore have to be dropped before the values that they refer to. Std's `Vec` avoids this by an attribute
//! that only std may use. Here, the part of a container with the `Drop` does not name `T` and keeps a `DropGlue`
//! instead. A `PhantomData<T>` beside it tells the compiler that `T`s are dropped.
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
//! Elements whose own `Drop` uses what they refer to must still be dropped before it. Only the first of these two
//! programs compiles; the second declares the two names in the other order:
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
//! The same rule holds for the iterators by value:
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
//! elements = elbowroom::AppendVec::from_iter([Last(&value)]).into_iter();
//! ```

#![allow(unsafe_code, reason = "drops elements through pointers")]

use std::mem;
use std::ops::Range;
use std::ptr;

/// A function that drops elements of one type, or nothing if they need no drop.
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

    /// Drops the elements with the indices `range` of those that lie from `first` on.
    ///
    /// # Safety
    /// - `first` is aligned for the type that this was made [of](DropGlue::of). Elements of that type lie at all
    ///   indices of `range`, in one allocation with `first`.
    /// - The elements are initialised, nothing uses them afterwards, and no reference to them is alive.
    #[inline]
    pub(super) unsafe fn drop(self, first: *mut u8, range: Range<usize>) {
        if let Some(drop) = self.0 {
            // SAFETY: `drop` is the function for the type that this was made of. For that type, `first` is aligned, and
            // the elements of `range` are initialised, in one allocation with `first`, and used by nothing else
            // (contract).
            unsafe { drop(first, range) };
        }
    }
}

/// # Safety
/// The clauses of [`DropGlue::drop`] hold, with elements of the type `T`.
unsafe fn drop_elements<T>(first: *mut u8, range: Range<usize>) {
    let start = first.cast::<T>().wrapping_add(range.start);
    let elements = ptr::slice_from_raw_parts_mut(start, range.len());
    // SAFETY: the elements are aligned and initialised, and nothing uses them afterwards (contract).
    unsafe { ptr::drop_in_place(elements) };
}
