//! Parts of an arena that are free again at the end of a call.

use std::alloc::Layout;
use std::fmt;
use std::mem::MaybeUninit;

use super::arena_box::ArenaBox;
use super::blocks::Arena;
use crate::error::Error;

/// A part of an [`Arena`] that is free again when a call ends.
///
/// [`Arena::scope`] opens one and lends it to a closure, and [`Scope::scope`] opens one within it. What is allocated in
/// a scope lasts until that ends, also while scopes within it come and go; only allocating in it waits for them. All of
/// this is checked by the compiler and costs nothing.
///
/// ```
/// use elbowroom::Arena;
///
/// let mut arena = Arena::new();
/// let longest = arena.scope(|scope| {
///     let words = scope.alloc_slice_fill_iter("some words of a text".split(' '));
///     let mut longest = 0;
///     for &word in &*words {
///         // What one word takes is free again for the next one.
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
/// What was allocated cannot leave:
///
/// ```compile_fail,E0521
/// let mut arena = elbowroom::Arena::new();
/// let mut kept = None;
/// arena.scope(|scope| kept = Some(scope.alloc(1)));
/// ```
///
/// And nothing is put into the outer scope while an inner one is open, which would make it free with its own:
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
    // Invariant: of the scopes of an arena and the arena itself, the innermost is the only one that can be used: the
    // others are borrowed exclusively by the call that opened it.
    arena: &'a Arena,
}

/// Makes free again what was handed out since.
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

    /// Calls `f` with a scope within this one. What was allocated in this one stays, and can be used meanwhile.
    pub fn scope<R>(&mut self, f: impl FnOnce(&mut Scope<'_>) -> R) -> R {
        let mark = Mark {
            arena: self.arena,
            allocated_bytes: self.arena.allocated_bytes(),
        };
        // Dropped after the call, also if that panics. What it makes free was allocated by way of this `Scope`, whose
        // lifetime `f` cannot name, so that nothing of it is left in the result or in what `f` has changed.
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

    /// The arena that it is a part of, for those in this module that lend nothing for longer than `self` is borrowed.
    #[cfg(feature = "allocator-api2")]
    pub(super) fn arena(&self) -> &Arena {
        self.arena
    }
}

/// Each calls the arena's method of that name, whose result lives as long as the borrow of the arena.
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
