//! Operations on ranges of a region, in the library and in the model.

#![allow(unsafe_code, reason = "plain pointers are one way to touch a region")]

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;

use elbowroom::inject::{self, Call};
use elbowroom::{Error, page_size};

use super::slot::Slot;
use crate::finding::{Checked, check};
use crate::model::{Ground, Stopped, Why};
use crate::rng::Rng;

/// An operation on a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Write,
    Read,
    Fill,
    CopyIn,
    CopyOut,
    ReadFrom,
    WriteTo,
    Commit,
    Decommit,
}

impl Slot {
    /// Does the operation in the library and in the model, and compares. Returns whether it was refused.
    pub(crate) fn act(
        &mut self,
        deed: Deed,
        range: Range<usize>,
        rng: &mut Rng,
        ground: &mut Ground,
    ) -> Checked<bool> {
        let planned = (self.may_refuse() && rng.one_in(20)).then(|| 1 + rng.below(3) as u64);
        let call = if deed == Deed::Decommit {
            Call::Decommit
        } else {
            Call::Commit
        };
        ground.plan(if call == Call::Commit {
            planned.unwrap_or(0)
        } else {
            0
        });
        let plan = planned.map(|nth| inject::refuse(call, nth));
        let (result, expected) = self.both(deed, range.clone(), rng, ground, planned)?;
        let happened = plan.as_ref().map(inject::Plan::happened);
        drop(plan);
        let in_model = ground.end_plan();
        if let (Some(happened), Call::Commit) = (happened, call) {
            check!(
                happened == in_model,
                "a refusal that was planned: it happened: {happened}, should: {in_model}"
            );
        }
        let is_refused = result.is_err();
        self.compare(result, expected, range.end, ground)?;
        Ok(is_refused)
    }

    /// Returns the results of the library and of the model.
    fn both(
        &mut self,
        deed: Deed,
        range: Range<usize>,
        rng: &mut Rng,
        ground: &mut Ground,
        planned: Option<u64>,
    ) -> Checked<(Result<(), Error>, Result<(), Stopped>)> {
        let whole = |result: Result<(), Why>| result.map_err(|why| (range.start, why));
        match deed {
            Deed::Commit => {
                return Ok((
                    self.region.commit(range.clone()),
                    whole(self.model.commit(&range, ground)),
                ));
            }
            Deed::Decommit => {
                let result = self.region.decommit(range.clone());
                // The library makes one call for the whole range, if any page in it is committed.
                let is_refused =
                    planned == Some(1) && self.model.count(&range).is_some_and(|pages| pages > 0);
                let expected = if is_refused {
                    Err(Why::System)
                } else {
                    self.model.decommit(&range, ground)
                };
                return Ok((result, whole(expected)));
            }
            _ => {}
        }
        // An accessor. It touches nothing past the guard page, and reads nothing that does not fit the buffer.
        let reach = match deed {
            Deed::ReadFrom => self.len(),
            _ => self.len() + page_size(),
        };
        if range.end > reach {
            return Ok((
                self.access(deed, &range, &mut [], rng.next())?,
                Err((range.start, Why::PastEnd)),
            ));
        }
        let mut bytes: Vec<u8> = (0..range.len()).map(|_| rng.next() as u8).collect();
        if deed == Deed::Fill {
            let first = bytes.first().copied().unwrap_or(0);
            bytes.fill(first);
        }
        let reads = matches!(deed, Deed::Read | Deed::CopyOut | Deed::WriteTo);
        let mut wanted = bytes.clone();
        let asked = self.model.asked;
        let expected = self.model.walk(range.clone(), ground, |at, content| {
            if reads {
                wanted[at..at + content.len()].copy_from_slice(content);
            } else {
                content.copy_from_slice(&bytes[at..at + content.len()]);
            }
        });
        let result = self.access(deed, &range, &mut bytes, 0)?;
        // A value, or the data for a writer, is complete or absent.
        if reads && (expected.is_ok() || deed == Deed::CopyOut) {
            let differs = bytes
                .iter()
                .zip(&wanted)
                .position(|(byte, wanted)| byte != wanted);
            if let Some(at) = differs {
                return Err(format!(
                    "byte {} is {}, should be {}",
                    range.start + at,
                    bytes[at],
                    wanted[at]
                ));
            }
        }
        if self.model.asked > asked {
            let page = self.seen.offset.load(Ordering::Relaxed) / page_size();
            check!(
                page == self.model.asked_page,
                "the filter saw page {page}, not {}",
                self.model.asked_page
            );
            check!(
                self.seen.is_write.load(Ordering::Relaxed) != reads,
                "the filter saw the wrong access"
            );
        }
        Ok((result, expected))
    }

    /// Calls the real accessor. Without bytes, it fails before it touches any.
    fn access(
        &self,
        deed: Deed,
        range: &Range<usize>,
        bytes: &mut [u8],
        seed: u64,
    ) -> Checked<Result<(), Error>> {
        let (region, start) = (&self.region, range.start);
        // The readers and writers here return only errors of the library.
        let inner = |result: io::Result<()>| match result.map_err(io::Error::downcast) {
            Ok(()) => Ok(Ok(())),
            Err(Ok(error)) => Ok(Err(error)),
            Err(Err(error)) => Err(format!("no error of the library's: {error}")),
        };
        Ok(match deed {
            Deed::Write => match *bytes {
                [a] => region.try_write(start, a),
                [a, b] => region.try_write(start, u16::from_ne_bytes([a, b])),
                [a, b, c] => region.try_write(start, [a, b, c]),
                [a, b, c, d] => region.try_write(start, u32::from_ne_bytes([a, b, c, d])),
                [a, b, c, d, e, f, g, h] => {
                    region.try_write(start, u64::from_ne_bytes([a, b, c, d, e, f, g, h]))
                }
                _ => self.copy_in(range, bytes, seed),
            },
            Deed::Read => match bytes.len() {
                1 => region
                    .try_read(start)
                    .map(|value: [u8; 1]| bytes.copy_from_slice(&value)),
                2 => region
                    .try_read(start)
                    .map(|value: [u8; 2]| bytes.copy_from_slice(&value)),
                3 => region
                    .try_read(start)
                    .map(|value: [u8; 3]| bytes.copy_from_slice(&value)),
                4 => region
                    .try_read(start)
                    .map(|value: [u8; 4]| bytes.copy_from_slice(&value)),
                8 => region
                    .try_read(start)
                    .map(|value: [u8; 8]| bytes.copy_from_slice(&value)),
                16 => region
                    .try_read(start)
                    .map(|value: [u8; 16]| bytes.copy_from_slice(&value)),
                _ => self.copy_out(range, bytes),
            },
            Deed::CopyOut => self.copy_out(range, bytes),
            Deed::Fill => {
                region.try_fill(range.clone(), bytes.first().copied().unwrap_or(seed as u8))
            }
            Deed::ReadFrom => {
                let filler = vec![seed as u8; range.len()];
                let mut source: &[u8] = if bytes.is_empty() { &filler } else { bytes };
                inner(region.read_from(range.clone(), &mut source).map(drop))?
            }
            Deed::WriteTo if !bytes.is_empty() => {
                let mut target: &mut [u8] = bytes;
                inner(region.write_to(range.clone(), &mut target))?
            }
            _ => self.copy_in(range, bytes, seed),
        })
    }

    fn copy_out(&self, range: &Range<usize>, bytes: &mut [u8]) -> Result<(), Error> {
        if bytes.len() == range.len() {
            self.region.try_copy_to_slice(range.start, bytes)
        } else {
            self.region
                .try_copy_to_slice(range.start, &mut vec![0; range.len()])
        }
    }

    fn copy_in(&self, range: &Range<usize>, bytes: &[u8], seed: u64) -> Result<(), Error> {
        if bytes.len() == range.len() {
            self.region.try_copy_from_slice(range.start, bytes)
        } else {
            self.region
                .try_copy_from_slice(range.start, &vec![seed as u8; range.len()])
        }
    }

    /// Checks that the result is the expected one, to the byte.
    fn compare(
        &self,
        result: Result<(), Error>,
        expected: Result<(), Stopped>,
        end: usize,
        ground: &Ground,
    ) -> Checked {
        match (&result, expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err((at, why))) => {
                check!(
                    error.range() == (at..end),
                    "it stopped at {:?}, should at {at}: {error}",
                    error.range()
                );
                let is_right = match why {
                    Why::PastEnd => error.is_invalid_range(),
                    Why::Limit => error.is_limit() && error.budget().is_none(),
                    Why::Budget(_) => error.is_limit() && error.budget().is_some(),
                    Why::Filter => {
                        error.is_declined() && !error.to_string().contains("filter thread")
                    }
                    Why::FilterThreadsGone => {
                        error.is_declined() && error.to_string().contains("filter thread")
                    }
                    Why::System => error.is_out_of_memory() && error.os_code().is_some(),
                };
                check!(is_right, "it was refused by {error:?}, should by {why:?}");
                if let (Some(budget), Why::Budget(index)) = (error.budget(), why) {
                    let (committed, _, _) = ground.figures(index);
                    let seen = budget.committed_bytes() / page_size();
                    check!(
                        seen == committed,
                        "a budget of {seen} pages refused, should be one of {committed}"
                    );
                }
            }
            _ => return Err(format!("it answered {result:?}, should {expected:?}")),
        }
        let committed = self.region.stats().committed_bytes;
        let expected = self.model.committed() * page_size();
        check!(
            committed == expected,
            "{committed} bytes are committed, should be {expected}"
        );
        Ok(())
    }

    /// Touches a page by a plain pointer, if that certainly works. Returns whether it did.
    pub(crate) fn plain(
        &mut self,
        at: usize,
        value: Option<u8>,
        ground: &mut Ground,
    ) -> Checked<bool> {
        let page = at / page_size();
        if at >= self.len() || !self.model.surely_works(page, ground) {
            return Ok(false);
        }
        let address = self.region.as_ptr().wrapping_add(at);
        // A plain touch only needs the page to be committed.
        let _ = self.model.touch(page, ground);
        let Some(content) = self.model.content.get_mut(&page) else {
            return Err(format!(
                "the model says that byte {at} can be touched, and cannot"
            ));
        };
        let byte = &mut content[at % page_size()];
        match value {
            Some(value) => {
                *byte = value;
                // SAFETY: the byte is inside the region, which commits on touch (the model has just checked that
                // nothing refuses it); only this thread uses the region, and no reference into it exists.
                unsafe { address.write_volatile(value) };
            }
            None => {
                // SAFETY: the byte is inside the region, which commits on touch (the model has just checked that
                // nothing refuses it); only this thread uses the region.
                let seen = unsafe { address.read_volatile() };
                check!(seen == *byte, "byte {at} is {seen}, should be {byte}");
            }
        }
        self.compare(Ok(()), Ok(()), at, ground)?;
        Ok(true)
    }
}
