//! A list of steps that uses all remaining bytes.

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::refusal::Refusal;

/// An operation on a container, and the failures during it.
#[derive(Arbitrary, Debug)]
pub(crate) struct Step<D> {
    pub(crate) deed: D,
    /// The system call that fails during the step.
    pub(crate) refusal: Option<Refusal>,
    /// The number of the clone, drop or function call that panics during the step.
    pub(crate) fuse: Option<u8>,
}

/// Steps until the bytes end, so that a fuzzer that inserts, removes or repeats bytes does the same to steps. (In a
/// `Vec`, a byte before each element says whether it follows, and half of such bytes end the list.)
#[derive(Debug)]
pub(crate) struct Steps<T>(pub(crate) Vec<T>);

impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for Steps<T> {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Steps<T>> {
        let mut steps = Vec::new();
        while !bytes.is_empty() {
            steps.push(bytes.arbitrary()?);
        }
        Ok(Steps(steps))
    }
}
