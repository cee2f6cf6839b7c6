//! The common parts of the passes of a sort: progress, reading and writing.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytemuck::{AnyBitPattern, NoUninit, cast_slice, cast_slice_mut};

use crate::error::{Cause, Error, Operation};
use crate::store::Source;

/// A function that receives the number of elements written so far, and of all to write. It returns whether to go on.
pub(super) type Observer<'a> = Box<dyn FnMut(usize, usize) -> bool + Send + 'a>;

/// The progress of a sort.
pub(super) struct Work<'a> {
    location: &'a str,
    all: usize,
    seen: Mutex<(usize, Option<Observer<'a>>)>,
}

impl<'a> Work<'a> {
    /// Returns the progress of a sort of this location, which ends when `all` elements are written.
    pub(super) fn new(location: &'a str, all: usize, observe: Option<Observer<'a>>) -> Work<'a> {
        Work {
            location,
            all,
            seen: Mutex::new((0, observe)),
        }
    }

    /// Adds `count` written elements, and reports them. Fails if the observer stops the sort.
    pub(super) fn add(&self, count: usize) -> Result<(), Error> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, observe) = &mut *seen;
        *done += count;
        let goes_on = observe
            .as_mut()
            .is_none_or(|observe| observe(*done, self.all));
        if goes_on {
            return Ok(());
        }
        let stopped = std::io::Error::new(std::io::ErrorKind::Interrupted, "it was stopped");
        Err(Error::new(
            Operation::Sort,
            self.location,
            0..0,
            Cause::Io(stopped),
        ))
    }
}

/// Reads elements from `start` on.
pub(super) fn read<T: AnyBitPattern + NoUninit>(
    from: &Source,
    start: usize,
    elements: &mut [T],
) -> Result<(), Error> {
    from.counters.ask(size_of_val(elements));
    from.read(start * size_of::<T>(), cast_slice_mut(elements))
}

/// Writes elements from `start` on.
pub(super) fn write<T: NoUninit>(to: &Source, start: usize, elements: &[T]) -> Result<(), Error> {
    to.counters.ask(size_of_val(elements));
    to.write(
        Operation::Write,
        start * size_of::<T>(),
        cast_slice(elements),
    )
}

/// Splits a range into the runs in it.
pub(super) fn runs_of(range: Range<usize>, run: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range
        .step_by(run)
        .map(move |start| start..end.min(start.saturating_add(run)))
}
