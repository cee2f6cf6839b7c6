//! Parts of an arena that are freed at the end of a call.

use std::alloc::Layout;
use std::fmt;
use std::mem::MaybeUninit;

use super::arena_box::ArenaBox;
use super::blocks::Arena;
use crate::error::Error;

/// A part of an [`Arena`] that is freed when a call ends.
///
/// [`Arena::scope`] opens a scope and lends it to a closure, and [`Scope::scope`] opens one within it. A value
/// allocated in a scope lasts until the scope ends. It stays usable while inner scopes are open, but the outer scope
/// cannot allocate then. The compiler checks all of this, at no cost at run time.
///
/// ```
/// use elbowroom::Arena;
///
/// let mut arena = Arena::new();
/// let longest = arena.scope(|scope| {
///     let words = scope.alloc_slice_fill_iter("some words of a text".split(' '));
///     let mut longest = 0;
///     for &word in &*words {
///         // The memory that one word takes is free again for the next one.
///         scope.scope(|inner| {
///             let spelled = inner.alloc_slice_fill_iter(word.chars());
///             longest = longest.max(spelled.len());
///         });
///     }
///     longest
/// });
/// assert_eq!(longest, 5);
/// assert_eq!(arena.allocated_bytes(), 0);
/// ```
///
/// Allocated values cannot leave the scope:
///
/// ```compile_fail,E0521
/// let mut arena = elbowroom::Arena::new();
/// let mut kept = None;
/// arena.scope(|scope| kept = Some(scope.alloc(1)));
/// ```
///
/// The outer scope cannot allocate while an inner one is open, because the inner one would free that memory at its end:
///
/// ```compile_fail,E0502
/// let mut arena = elbowroom::Arena::new();
/// arena.scope(|outer| {
///     outer.scope(|_inner| {
///         outer.alloc(1);
///     });
/// });
/// ```
pub struct Scope<'a> {
    // Invariant: among an arena and its scopes, only the innermost scope can be used. The others are borrowed
    // exclusively by the call that opened it.
    arena: &'a Arena,
}

/// Frees, when it is dropped, the blocks that were handed out since it was made.
struct Mark<'a> {
    arena: &'a Arena,
    allocated_bytes: usize,
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.arena.rewind(self.allocated_bytes);
    }
}

impl<'a> Scope<'a> {
    pub(super) fn open<R>(arena: &mut Arena, f: impl FnOnce(&mut Scope<'_>) -> R) -> R {
        let mut whole = Scope { arena };
        whole.scope(f)
    }

    /// Calls `f` with a scope within this one. Values allocated in this one stay usable meanwhile.
    pub fn scope<R>(&mut self, f: impl FnOnce(&mut Scope<'_>) -> R) -> R {
        let mark = Mark {
            arena: self.arena,
            allocated_bytes: self.arena.allocated_bytes(),
        };
        // Dropped after the call, also if that panics. The memory it frees was allocated through this `Scope`, whose
        // lifetime `f` cannot name, so no reference to it is left in the result or in anything that `f` has changed.
        f(&mut Scope { arena: mark.arena })
    }

    /// Returns [`Arena::allocated_bytes`] of the whole arena.
    pub fn allocated_bytes(&self) -> usize {
        self.arena.allocated_bytes()
    }

    /// Returns [`Arena::remaining_capacity`] of the whole arena.
    pub fn remaining_capacity(&self) -> usize {
        self.arena.remaining_capacity()
    }

    /// Returns the arena, for methods in this module whose results do not outlive the borrow of `self`.
    #[cfg(feature = "allocator-api2")]
    pub(super) fn arena(&self) -> &Arena {
        self.arena
    }
}

/// Defines methods that call the arena's method of the same name. The result lives as long as the borrow of the arena.
macro_rules! allocate_in_arena {
    ($($name:ident[$($generic:ident $(: $bound:ident)?),*]($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl<'a> Scope<'a> {
            $(
                #[doc = concat!("[`Arena::", stringify!($name), "`], for as long as the scope lasts.")]
                #[inline]
                #[track_caller]
                pub fn $name<$($generic $(: $bound)?),*>(&self, $($argument: $type),*) -> $result {
                    self.arena.$name($($argument),*)
                }
            )*
        }
    };
}

allocate_in_arena! {
    alloc[T](value: T) -> &'a mut T;
    try_alloc[T](value: T) -> Result<&'a mut T, Error>;
    alloc_with[T](make: impl FnOnce() -> T) -> &'a mut T;
    try_alloc_with[T](make: impl FnOnce() -> T) -> Result<&'a mut T, Error>;
    alloc_box[T](value: T) -> ArenaBox<'a, T>;
    try_alloc_box[T](value: T) -> Result<ArenaBox<'a, T>, Error>;
    alloc_slice_copy[T: Copy](values: &[T]) -> &'a mut [T];
    try_alloc_slice_copy[T: Copy](values: &[T]) -> Result<&'a mut [T], Error>;
    alloc_slice_clone[T: Clone](values: &[T]) -> &'a mut [T];
    try_alloc_slice_clone[T: Clone](values: &[T]) -> Result<&'a mut [T], Error>;
    alloc_slice_fill_with[T](len: usize, make: impl FnMut(usize) -> T) -> &'a mut [T];
    try_alloc_slice_fill_with[T](len: usize, make: impl FnMut(usize) -> T) -> Result<&'a mut [T], Error>;
    alloc_slice_fill_default[T: Default](len: usize) -> &'a mut [T];
    try_alloc_slice_fill_default[T: Default](len: usize) -> Result<&'a mut [T], Error>;
    alloc_slice_fill_iter[T](values: impl IntoIterator<Item = T>) -> &'a mut [T];
    try_alloc_slice_fill_iter[T](values: impl IntoIterator<Item = T>) -> Result<&'a mut [T], Error>;
    alloc_str[](text: &str) -> &'a mut str;
    try_alloc_str[](text: &str) -> Result<&'a mut str, Error>;
    alloc_try_with[T, E](make: impl FnOnce() -> Result<T, E>) -> Result<&'a mut T, E>;
    try_alloc_try_with[T, E](make: impl FnOnce() -> Result<T, E>) -> Result<Result<&'a mut T, E>, Error>;
    alloc_slice_try_fill_with[T, E](len: usize, make: impl FnMut(usize) -> Result<T, E>) -> Result<&'a mut [T], E>;
    try_alloc_slice_try_fill_with[T, E](len: usize, make: impl FnMut(usize) -> Result<T, E>)
        -> Result<Result<&'a mut [T], E>, Error>;
    alloc_slice_try_fill_iter[T, E](values: impl IntoIterator<Item = Result<T, E>>) -> Result<&'a mut [T], E>;
    try_alloc_slice_try_fill_iter[T, E](values: impl IntoIterator<Item = Result<T, E>>)
        -> Result<Result<&'a mut [T], E>, Error>;
    alloc_fmt[](text: fmt::Arguments<'_>) -> &'a mut str;
    try_alloc_fmt[](text: fmt::Arguments<'_>) -> Result<&'a mut str, Error>;
    alloc_layout[](layout: Layout) -> &'a mut [MaybeUninit<u8>];
    try_alloc_layout[](layout: Layout) -> Result<&'a mut [MaybeUninit<u8>], Error>;
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("arena", self.arena).finish()
    }
}
