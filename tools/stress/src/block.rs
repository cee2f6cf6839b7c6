//! A reservation that one thread commits, decommits and protects explicitly.

#![allow(
    unsafe_code,
    reason = "a reservation's memory is reached through plain pointers"
)]

use std::ops::Range;

use elbowroom::inject::{self, Call};
use elbowroom::{Access, Error, PageState, Reservation, page_size};

use crate::finding::{Checked, check};
use crate::rng::Rng;

const ACCESSES: [Access; 4] = [
    Access::None,
    Access::Read,
    Access::ReadWrite,
    Access::ReadExecute,
];

/// A reservation and its expected contents: for each committed page the access and the bytes.
pub(crate) struct Block {
    block: Reservation,
    pages: Vec<Option<(Access, Box<[u8]>)>>,
}

impl Block {
    pub(crate) fn make(rng: &mut Rng) -> Checked<Block> {
        let pages = 1 + rng.below(40);
        let made = Reservation::builder(pages * page_size())
            .align(page_size() << rng.below(6))
            .name(if rng.one_in(2) { "stress" } else { "" })
            .build();
        let block = made.map_err(|error| format!("no reservation could be made: {error}"))?;
        Ok(Block {
            block,
            pages: (0..pages).map(|_| None).collect(),
        })
    }

    /// Does one operation. Returns whether it was refused.
    pub(crate) fn act(&mut self, rng: &mut Rng) -> Checked<bool> {
        let size = page_size();
        let start = rng.below(self.pages.len() + 1) * size + rng.below(size);
        let range = start..start + rng.below(8 * size);
        let touched = if range.is_empty() {
            0..0
        } else {
            range.start / size..range.end.div_ceil(size)
        };
        if range.end > self.block.len() {
            let results = [
                self.block.commit(range.clone()),
                self.block.decommit(range.clone()),
                self.block.protect(range.clone(), Access::Read),
            ];
            check!(
                results
                    .iter()
                    .all(|result| is(result, Error::is_invalid_range)),
                "past the end: {results:?}"
            );
            return Ok(true);
        }
        let refused = match rng.below(6) {
            0 | 1 => self.commit(range, touched, rng)?,
            2 => self.decommit(range, touched, rng)?,
            3 => self.protect(range, touched, rng)?,
            _ => {
                self.touch(&range, rng)?;
                false
            }
        };
        self.check_spans()?;
        Ok(refused)
    }

    fn commit(
        &mut self,
        range: Range<usize>,
        touched: Range<usize>,
        rng: &mut Rng,
    ) -> Checked<bool> {
        // One call for each run of reserved pages.
        let pages = &self.pages[touched.clone()];
        let gaps = pages
            .chunk_by(|a, b| a.is_none() == b.is_none())
            .filter(|run| run[0].is_none())
            .count();
        let nth = if rng.one_in(10) {
            1 + rng.below(3)
        } else {
            usize::MAX
        };
        let plan = (nth <= 3).then(|| inject::refuse(Call::Commit, nth as u64));
        let result = self.block.commit(range);
        drop(plan);
        if nth <= gaps {
            check!(
                is(&result, Error::is_out_of_memory),
                "commit answered {result:?}, should be refused"
            );
            return Ok(true);
        }
        check!(result.is_ok(), "commit answered {result:?}");
        for page in &mut self.pages[touched] {
            page.get_or_insert_with(|| (Access::ReadWrite, vec![0; page_size()].into()));
        }
        Ok(false)
    }

    fn decommit(
        &mut self,
        range: Range<usize>,
        touched: Range<usize>,
        rng: &mut Rng,
    ) -> Checked<bool> {
        let refuse = rng.one_in(10);
        let is_any = self.pages[touched.clone()].iter().any(Option::is_some);
        let plan = refuse.then(|| inject::refuse(Call::Decommit, 1));
        let result = self.block.decommit(range);
        drop(plan);
        if refuse && is_any {
            check!(
                is(&result, Error::is_out_of_memory),
                "decommit answered {result:?}, should be refused"
            );
            return Ok(true);
        }
        check!(result.is_ok(), "decommit answered {result:?}");
        self.pages[touched].fill_with(|| None);
        Ok(false)
    }

    fn protect(
        &mut self,
        range: Range<usize>,
        touched: Range<usize>,
        rng: &mut Rng,
    ) -> Checked<bool> {
        let access = ACCESSES[rng.below(4)];
        let result = self.block.protect(range, access);
        if !self.pages[touched.clone()].iter().all(Option::is_some) {
            check!(
                is(&result, Error::is_not_committed),
                "protect answered {result:?}, should find no page"
            );
            return Ok(true);
        }
        check!(result.is_ok(), "protect answered {result:?}");
        self.pages[touched]
            .iter_mut()
            .flatten()
            .for_each(|page| page.0 = access);
        Ok(false)
    }

    /// Reads the readable pages of the range, and writes the writable ones.
    fn touch(&mut self, range: &Range<usize>, rng: &mut Rng) -> Checked {
        for at in range.clone().step_by(1 + rng.below(64)) {
            let Some((access, bytes)) = &mut self.pages[at / page_size()] else {
                continue;
            };
            let byte = &mut bytes[at % page_size()];
            let address = self.block.as_ptr().wrapping_add(at);
            if *access != Access::None {
                // SAFETY: the page is committed and readable, and no other code has a pointer into the reservation.
                let seen = unsafe { address.read_volatile() };
                check!(
                    seen == *byte,
                    "byte {at} of a reservation is {seen}, should be {byte}"
                );
            }
            if *access == Access::ReadWrite {
                *byte = rng.next() as u8;
                // SAFETY: the page is committed and writable, and no other code has a pointer into the reservation.
                unsafe { address.write_volatile(*byte) };
            }
        }
        Ok(())
    }

    fn check_spans(&self) -> Checked {
        let mut next = 0;
        for span in self.block.spans() {
            check!(
                span.range.start == next && !span.range.is_empty(),
                "a span {span:?} at {next}"
            );
            for page in span.range.start / page_size()..span.range.end / page_size() {
                let expected = match &self.pages[page] {
                    Some((access, _)) => (PageState::Committed, *access),
                    None => (PageState::Reserved, Access::None),
                };
                check!(
                    (span.state, span.access) == expected,
                    "page {page} is {span:?}, should be {expected:?}"
                );
            }
            next = span.range.end;
        }
        check!(
            next == self.block.len(),
            "the spans of a reservation end at {next}"
        );
        Ok(())
    }

    pub(crate) fn end(self) -> Checked {
        self.check_spans()?;
        self.block
            .release()
            .map_err(|error| format!("release of a reservation: {error}"))
    }
}

fn is(result: &Result<(), Error>, kind: fn(&Error) -> bool) -> bool {
    result.as_ref().is_err_and(kind)
}
