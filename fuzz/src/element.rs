//! Counted elements of various sizes and alignments, which panic on request.

use std::cell::Cell;
use std::fmt::Debug;
use std::panic::{self, AssertUnwindSafe};
use std::thread;

use arbitrary::Arbitrary;

thread_local! {
    static ALIVE: Cell<isize> = const { Cell::new(0) };
    static FUSE: Cell<u8> = const { Cell::new(0) };
}

/// Returns the number of live counted elements on this thread.
pub(crate) fn alive() -> isize {
    ALIVE.get()
}

/// The payload of a requested panic.
struct Asked;

/// Panics if the fuse has burnt down. Clones, drops and closures call it.
pub(crate) fn tick() {
    // A panic during a panic would end the process.
    if thread::panicking() || FUSE.get() == 0 {
        return;
    }
    FUSE.set(FUSE.get() - 1);
    if FUSE.get() == 0 {
        blow();
    }
}

/// Panics, for [`with_fuse`] to catch.
pub(crate) fn blow() -> ! {
    // Does not call the panic hook, with which a fuzzer notices panics.
    panic::resume_unwind(Box::new(Asked))
}

/// Removes the fuse, so that later ticks do not panic.
pub(crate) fn disarm() {
    FUSE.set(0);
}

/// Runs `deed`, in which the nth tick panics if n is not 0. Returns `None` if it panicked.
pub(crate) fn with_fuse<R>(fuse: u8, deed: impl FnOnce() -> R) -> Option<R> {
    FUSE.set(fuse);
    let result = panic::catch_unwind(AssertUnwindSafe(deed));
    FUSE.set(0);
    match result {
        Ok(value) => Some(value),
        Err(payload) if payload.is::<Asked>() => None,
        Err(payload) => panic::resume_unwind(payload),
    }
}

/// A counted element.
#[derive(Debug)]
pub(crate) struct Counted;

impl Counted {
    pub(crate) fn new() -> Counted {
        ALIVE.set(ALIVE.get() + 1);
        Counted
    }
}

impl Clone for Counted {
    fn clone(&self) -> Counted {
        tick();
        Counted::new()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
        tick();
    }
}

/// An element that the model stores as a byte.
pub(crate) trait Element: Clone + Debug {
    /// Whether live elements of the type are counted.
    const IS_COUNTED: bool;
    /// The bits of the byte that the element stores.
    const KEPT: u8 = u8::MAX;

    fn make(value: u8) -> Self;
    fn value(&self) -> u8;
}

impl Element for u8 {
    const IS_COUNTED: bool = false;

    fn make(value: u8) -> u8 {
        value
    }

    fn value(&self) -> u8 {
        *self
    }
}

/// An element that owns memory, so that AddressSanitizer also notices a second drop or a leak.
#[derive(Clone, Debug)]
pub(crate) struct Boxed(Box<u8>, Counted);

impl Element for Boxed {
    const IS_COUNTED: bool = true;

    fn make(value: u8) -> Boxed {
        Boxed(Box::new(value), Counted::new())
    }

    fn value(&self) -> u8 {
        *self.0
    }
}

/// An element whose size divides no page.
#[derive(Clone, Debug)]
pub(crate) struct Odd([u8; 619], Counted);

impl Element for Odd {
    const IS_COUNTED: bool = true;

    fn make(value: u8) -> Odd {
        Odd([value; 619], Counted::new())
    }

    fn value(&self) -> u8 {
        assert!(
            self.0.iter().all(|&byte| byte == self.0[0]),
            "torn: {self:?}"
        );
        self.0[0]
    }
}

/// An element of size zero.
#[derive(Clone, Debug)]
pub(crate) struct Nothing(Counted);

impl Element for Nothing {
    const IS_COUNTED: bool = true;
    const KEPT: u8 = 0;

    fn make(_: u8) -> Nothing {
        Nothing(Counted::new())
    }

    fn value(&self) -> u8 {
        0
    }
}

/// An element whose alignment exceeds the smallest page.
#[derive(Clone, Debug)]
#[repr(align(8192))]
pub(crate) struct Aligned(u8, Counted);

impl Element for Aligned {
    const IS_COUNTED: bool = true;

    fn make(value: u8) -> Aligned {
        Aligned(value, Counted::new())
    }

    fn value(&self) -> u8 {
        assert_eq!((&raw const *self).addr() % align_of::<Aligned>(), 0);
        self.0
    }
}

/// The type of the elements.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Kind {
    Byte,
    Boxed,
    Odd,
    Nothing,
    Aligned,
}

/// Calls a function that is generic over the element type, with the type of a kind.
macro_rules! with_kind {
    ($kind:expr, $function:ident($($argument:expr),*)) => {{
        use $crate::element::{Aligned, Boxed, Kind, Nothing, Odd};
        match $kind {
            Kind::Byte => $function::<u8>($($argument),*),
            Kind::Boxed => $function::<Boxed>($($argument),*),
            Kind::Odd => $function::<Odd>($($argument),*),
            Kind::Nothing => $function::<Nothing>($($argument),*),
            Kind::Aligned => $function::<Aligned>($($argument),*),
        }
    }};
}

pub(crate) use with_kind;
