//! Conversions from and to other collections.

#![allow(unsafe_code, reason = "moves the elements of vectors as bytes")]

use std::borrow::Cow;
use std::collections::{BinaryHeap, VecDeque};
use std::ffi::CString;
use std::mem;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use super::super::drop_glue::DropGlue;
use super::{Owned, ReservedVec, accept};
use crate::containers::share;

impl<T> ReservedVec<T> {
    /// Returns an empty vector as [`new`](ReservedVec::new) does, with room for `capacity` elements.
    ///
    /// Prefer [`with_max_len`](ReservedVec::with_max_len), which reserves addresses and commits nothing, unless the
    /// memory must be committed in advance.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_reserve`](ReservedVec::try_reserve) would return.
    #[track_caller]
    pub fn with_capacity(capacity: usize) -> ReservedVec<T> {
        let mut vec = ReservedVec::new();
        vec.reserve_exact(capacity);
        vec
    }

    /// Moves the elements into a block from the allocator, of exactly their length.
    pub fn into_boxed_slice(self) -> Box<[T]> {
        Vec::from(self).into_boxed_slice()
    }
}

impl<T, const N: usize> ReservedVec<[T; N]> {
    /// Returns the elements of the arrays, in the same memory.
    ///
    /// ```
    /// let pairs = elbowroom::reserved_vec![[1, 2], [3, 4]];
    /// assert_eq!(pairs.into_flattened(), [1, 2, 3, 4]);
    /// ```
    ///
    /// # Panics
    /// Panics if the elements take no space and are more than `usize` counts.
    #[track_caller]
    #[expect(clippy::expect_used, reason = "as std's vector, documented")]
    pub fn into_flattened(mut self) -> ReservedVec<T> {
        let len = self.owned.len.checked_mul(N).expect("length overflow");
        let max_len = if self.max_len == share::NO_MAX {
            share::NO_MAX
        } else {
            self.max_len.saturating_mul(N)
        };
        // The arrays no longer belong to this vector.
        self.owned.len = 0;
        let mut flat = ReservedVec {
            owned: Owned {
                ptr: self.owned.ptr,
                len,
                glue: DropGlue::of::<T>(),
            },
            ready: self.ready.saturating_mul(N),
            max_len,
            prefix: self.prefix.take(),
            elements: std::marker::PhantomData,
        };
        if ReservedVec::<T>::IS_ZERO_SIZED {
            flat.ready = flat.max_len;
        }
        flat
    }
}

impl<T> From<Vec<T>> for ReservedVec<T> {
    /// Moves the elements into a vector with the maximum of [`ReservedVec::new`], or of the length if that is larger.
    /// To avoid a panic, use [`try_extend`](ReservedVec::try_extend) on a new vector.
    ///
    /// # Panics
    /// Panics with the text of the error that [`try_reserve`](ReservedVec::try_reserve) would return.
    #[track_caller]
    fn from(mut elements: Vec<T>) -> ReservedVec<T> {
        let count = elements.len();
        let mut vec = ReservedVec::new();
        accept(vec.make_room(count));
        // SAFETY: 0 is at most the capacity, and leaves no element that would have to be initialised. From here on, the
        // `Vec` does not count the elements as its own.
        unsafe { elements.set_len(0) };
        // SAFETY: the first `count` elements of the `Vec`'s buffer are initialised, and nothing else reads them.
        // `make_room` has made `count` places of the empty vector ready for writes. Both pointers are aligned for T,
        // and two vectors never share memory.
        unsafe { ptr::copy_nonoverlapping(elements.as_ptr(), vec.as_mut_ptr(), count) };
        vec.owned.len = count;
        vec
    }
}

impl<T> From<ReservedVec<T>> for Vec<T> {
    fn from(mut elements: ReservedVec<T>) -> Vec<T> {
        let mut vec = Vec::with_capacity(elements.owned.len);
        let count = mem::take(&mut elements.owned.len);
        // SAFETY: the first `count` elements of the old vector are initialised, and it no longer counts them as its
        // own. The new one is empty and has a capacity of at least `count`. Both pointers are aligned for T, and two
        // vectors never share memory.
        unsafe { ptr::copy_nonoverlapping(elements.as_ptr(), vec.as_mut_ptr(), count) };
        // SAFETY: `count` is the capacity that was asked for, so at most the capacity. The elements from 0, the old
        // length, to `count` were initialised by the copy.
        unsafe { vec.set_len(count) };
        vec
    }
}

/// Implements conversions that clone the elements of a slice.
macro_rules! clone_from_slice {
    ($([$($parameters:tt)*] $source:ty;)*) => {$(
        impl<T: Clone, $($parameters)*> From<$source> for ReservedVec<T> {
            /// # Panics
            /// See the conversion from `Vec`.
            #[track_caller]
            fn from(elements: $source) -> ReservedVec<T> {
                let mut vec = ReservedVec::new();
                vec.extend_from_slice(&elements[..]);
                vec
            }
        }
    )*};
}

clone_from_slice! {
    [] &[T];
    [] &mut [T];
    [const N: usize] &[T; N];
    [const N: usize] &mut [T; N];
}

impl<T: Clone> From<Cow<'_, [T]>> for ReservedVec<T> {
    /// # Panics
    /// See the conversion from `Vec`.
    #[track_caller]
    fn from(elements: Cow<'_, [T]>) -> ReservedVec<T> {
        match elements {
            Cow::Borrowed(elements) => elements.into(),
            Cow::Owned(elements) => elements.into(),
        }
    }
}

/// Implements conversions that move the elements out of another collection.
macro_rules! move_from {
    ($([$($parameters:tt)*] $source:ty, $element:ty;)*) => {$(
        impl<$($parameters)*> From<$source> for ReservedVec<$element> {
            /// # Panics
            /// See the conversion from `Vec`.
            #[track_caller]
            fn from(elements: $source) -> ReservedVec<$element> {
                Vec::from(elements).into()
            }
        }
    )*};
}

move_from! {
    [T] Box<[T]>, T;
    [T] VecDeque<T>, T;
    [T] BinaryHeap<T>, T;
    [] String, u8;
    [] &str, u8;
    [] CString, u8;
}

impl<T, const N: usize> From<[T; N]> for ReservedVec<T> {
    /// # Panics
    /// See the conversion from `Vec`.
    #[track_caller]
    fn from(elements: [T; N]) -> ReservedVec<T> {
        let mut vec = ReservedVec::new();
        vec.extend(elements);
        vec
    }
}

/// Implements conversions into collections that std makes from a `Vec`.
macro_rules! move_into {
    ($([$($parameters:tt)*] $target:ty;)*) => {$(
        impl<$($parameters)*> From<ReservedVec<T>> for $target {
            fn from(elements: ReservedVec<T>) -> $target {
                Vec::from(elements).into()
            }
        }
    )*};
}

move_into! {
    [T] Box<[T]>;
    [T] Rc<[T]>;
    [T] Arc<[T]>;
    [T] VecDeque<T>;
    [T: Ord] BinaryHeap<T>;
    ['a, T: Clone] Cow<'a, [T]>;
}

impl<'a, T: Clone> From<&'a ReservedVec<T>> for Cow<'a, [T]> {
    fn from(elements: &'a ReservedVec<T>) -> Cow<'a, [T]> {
        Cow::Borrowed(elements)
    }
}

impl<T, const N: usize> TryFrom<ReservedVec<T>> for Box<[T; N]> {
    type Error = ReservedVec<T>;

    /// Returns the elements as an array, or returns the vector if its length differs.
    fn try_from(elements: ReservedVec<T>) -> Result<Box<[T; N]>, ReservedVec<T>> {
        if elements.owned.len != N {
            return Err(elements);
        }
        Box::try_from(Vec::from(elements)).map_err(ReservedVec::from)
    }
}

impl<T, const N: usize> TryFrom<ReservedVec<T>> for [T; N] {
    type Error = ReservedVec<T>;

    /// Returns the elements as an array, or returns the vector if its length differs.
    fn try_from(mut elements: ReservedVec<T>) -> Result<[T; N], ReservedVec<T>> {
        if elements.owned.len != N {
            return Err(elements);
        }
        elements.owned.len = 0;
        // SAFETY: the vector has `N` initialised and aligned elements, which it no longer counts as its own.
        Ok(unsafe { elements.as_ptr().cast::<[T; N]>().read() })
    }
}

/// Creates a [`ReservedVec`] with the given elements, as std's `vec!` creates a `Vec`.
///
/// ```
/// use elbowroom::{ReservedVec, reserved_vec};
///
/// let squares = reserved_vec![1, 4, 9];
/// let zeros = reserved_vec![0; 1_000];
/// let none: ReservedVec<u8> = reserved_vec![];
/// assert_eq!((squares.len(), zeros.len(), none.len()), (3, 1_000, 0));
/// ```
///
/// # Panics
/// Panics with the text of the error that [`try_reserve`](crate::ReservedVec::try_reserve) would return.
#[macro_export]
macro_rules! reserved_vec {
    () => {
        $crate::ReservedVec::new()
    };
    ($element:expr; $len:expr) => {{
        let mut vec = $crate::ReservedVec::new();
        vec.resize($len, $element);
        vec
    }};
    ($($element:expr),+ $(,)?) => {
        $crate::ReservedVec::from([$($element),+])
    };
}
