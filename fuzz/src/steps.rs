//! A list of steps that takes all bytes that are left.

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::refusal::Refusal;

/// Something that is done to a container, and what goes wrong meanwhile.
#[derive(Arbitrary, Debug)]
pub(crate) struct Step<D> {
    pub(crate) deed: D,
    /// A call to the system fails in it.
    pub(crate) refusal: Option<Refusal>,
    /// The nth clone, drop or call of a function in it panics.
    pub(crate) fuse: Option<u8>,
}

/// Steps, one behind the other until the bytes end: so a fuzzer that inserts, removes or repeats bytes does the same to
/// steps. (A `Vec` has a byte before each that says whether it comes, of which every other says no.)
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
