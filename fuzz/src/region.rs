//! `Region` against a list of bytes: the pages that a touch commits, the refusals of limits and the filter, and the
//! position at which a refused accessor has stopped.

use std::ops::Range;

use arbitrary::Arbitrary;
use bytemuck::{NoUninit, Pod};
use elbowroom::{Backend, Error, Growth, PageState, Region, Verdict, page_size};

use crate::steps::Steps;

/// The fuzzer's input.
#[derive(Arbitrary, Debug)]
pub struct Input {
    is_on_userfault: bool,
    limit: u8,
    window: u8,
    /// The first page that the filter declines; without it there is no filter.
    declined: Option<u8>,
    steps: Steps<Step>,
}

const PAGES: usize = 24;

#[derive(Arbitrary, Debug)]
enum Step {
    Write(Place, u8, Size),
    Read(Place, Size),
    Fill(Place, u16, u8),
    CopyIn(Place, u16, u8),
    CopyOut(Place, u16),
    Commit(Place, u16),
    Decommit(Place, u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Size {
    One,
    Two,
    Four,
    Eight,
    Odd,
}

/// An offset near the edge of a page.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Place {
    page: u8,
    offset: i8,
}

impl Place {
    fn offset(self) -> usize {
        let page = usize::from(self.page) % (PAGES + 1);
        (page * page_size()).saturating_add_signed(self.offset.into())
    }

    /// Returns a range of at most a little over two pages that ends at most at the end of the guard page.
    fn range(self, len: u16) -> Range<usize> {
        let end = (self.offset() + usize::from(len) * page_size() / 25_000)
            .min((PAGES + 1) * page_size());
        self.offset().min(end)..end
    }
}

struct Subject {
    region: Region,
    pages: Vec<Option<Vec<u8>>>,
    window: usize,
    limit: usize,
    declined: usize,
}

/// The reason for a refused touch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Refused {
    End,
    Filter,
    Limit,
}

impl Subject {
    fn committed(&self) -> usize {
        self.pages.iter().flatten().count()
    }

    /// Touches a page in the model, as the processor does in the region.
    fn touch(&mut self, page: usize) -> Result<(), Refused> {
        if self.pages.get(page).is_some_and(Option::is_some) {
            return Ok(());
        }
        // The filter is also asked about the guard page.
        if page >= self.declined {
            return Err(Refused::Filter);
        }
        if page >= PAGES {
            return Err(Refused::End);
        }
        let mut room = self.limit - self.committed();
        if room == 0 {
            return Err(Refused::Limit);
        }
        // The free pages around the page in its aligned window, within the limits: first upwards, then downwards.
        let first = page - page % self.window;
        let is_free = |&page: &usize| self.pages[page].is_none();
        let above = (page..(first + self.window).min(PAGES))
            .take_while(is_free)
            .collect::<Vec<_>>();
        let below = (first..page).rev().take_while(is_free).collect::<Vec<_>>();
        for page in above.into_iter().chain(below) {
            if room > 0 {
                self.pages[page] = Some(vec![0; page_size()]);
                room -= 1;
            }
        }
        Ok(())
    }

    /// Touches bytes in order. Returns the position and the reason of a refusal.
    fn walk(
        &mut self,
        range: Range<usize>,
        mut each: impl FnMut(usize, &mut u8),
    ) -> Option<(usize, Refused)> {
        for at in range.clone() {
            let page = at / page_size();
            if let Err(refused) = self.touch(page) {
                return Some((at, refused));
            }
            let bytes = self.pages[page].as_mut().expect("touched");
            each(at - range.start, &mut bytes[at % page_size()]);
        }
        None
    }

    fn write<T: NoUninit>(&mut self, place: Place, value: T) {
        let range = place.offset()..place.offset() + size_of::<T>();
        let result = self.region.try_write(range.start, value);
        let bytes = bytemuck::bytes_of(&value);
        let stopped = self.walk_in_reach(range.clone(), |n, byte| *byte = bytes[n]);
        check(&range, &result, stopped);
    }

    fn read<T: Pod>(&mut self, place: Place) {
        let range = place.offset()..place.offset() + size_of::<T>();
        let result = self.region.try_read::<T>(range.start);
        let mut expected = vec![0; size_of::<T>()];
        let stopped = self.walk_in_reach(range.clone(), |n, byte| expected[n] = *byte);
        check(&range, &result, stopped);
        assert!(
            result.is_err() || result.is_ok_and(|value| bytemuck::bytes_of(&value) == expected)
        );
    }

    /// Touches bytes in order, unless the range goes past the guard page: then nothing is touched.
    fn walk_in_reach(
        &mut self,
        range: Range<usize>,
        each: impl FnMut(usize, &mut u8),
    ) -> Option<(usize, Refused)> {
        if range.end > (PAGES + 1) * page_size() {
            Some((range.start, Refused::End))
        } else {
            self.walk(range, each)
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write(place, value, size) => match size {
                Size::One => self.write(place, value),
                Size::Two => self.write(place, u16::from_ne_bytes([value; 2])),
                Size::Four => self.write(place, u32::from_ne_bytes([value; 4])),
                Size::Eight => self.write(place, u64::from_ne_bytes([value; 8])),
                Size::Odd => self.write(place, [value; 20]),
            },
            Step::Read(place, size) => match size {
                Size::One => self.read::<u8>(place),
                Size::Two => self.read::<u16>(place),
                Size::Four => self.read::<u32>(place),
                Size::Eight => self.read::<u64>(place),
                Size::Odd => self.read::<[u8; 20]>(place),
            },
            Step::Fill(place, len, value) => {
                let range = place.range(len);
                let result = self.region.try_fill(range.clone(), value);
                check(
                    &range,
                    &result,
                    self.walk(range.clone(), |_, byte| *byte = value),
                );
            }
            Step::CopyIn(place, len, value) => {
                let range = place.range(len);
                let bytes = range
                    .clone()
                    .map(|at| value.wrapping_add(at as u8))
                    .collect::<Vec<_>>();
                let result = self.region.try_copy_from_slice(range.start, &bytes);
                check(
                    &range,
                    &result,
                    self.walk(range.clone(), |n, byte| *byte = bytes[n]),
                );
            }
            Step::CopyOut(place, len) => {
                let range = place.range(len);
                let mut bytes = vec![0xee; range.len()];
                let mut expected = bytes.clone();
                let result = self.region.try_copy_to_slice(range.start, &mut bytes);
                check(
                    &range,
                    &result,
                    self.walk(range.clone(), |n, byte| expected[n] = *byte),
                );
                assert!(bytes == expected);
            }
            Step::Commit(place, len) => {
                let range = place.range(len);
                let pages = range.start / page_size()..range.end.div_ceil(page_size());
                let result = self.region.commit(range.clone());
                let refused = if range.end > PAGES * page_size() {
                    Some(Refused::End)
                } else if range.is_empty() {
                    None
                } else {
                    let missing = self.pages[pages.clone()]
                        .iter()
                        .filter(|page| page.is_none())
                        .count();
                    (missing > self.limit - self.committed()).then_some(Refused::Limit)
                };
                assert_eq!(result.err().map(|error| reason(&error)), refused);
                if refused.is_none() && !range.is_empty() {
                    self.pages[pages].iter_mut().for_each(|page| {
                        page.get_or_insert_with(|| vec![0; page_size()]);
                    });
                }
            }
            Step::Decommit(place, len) => {
                let range = place.range(len);
                let result = self.region.decommit(range.clone());
                if range.end > PAGES * page_size() {
                    assert_eq!(reason(&result.expect_err("not inside")), Refused::End);
                } else {
                    result.expect("inside");
                    if !range.is_empty() {
                        self.pages[range.start / page_size()..range.end.div_ceil(page_size())]
                            .fill(None);
                    }
                }
            }
        }
        let committed = |page: usize| {
            let at = page * page_size();
            let span = self
                .region
                .spans()
                .into_iter()
                .find(|span| span.range.contains(&at));
            span.is_some_and(|span| span.state == PageState::Committed)
        };
        assert!((0..PAGES).all(|page| committed(page) == self.pages[page].is_some()));
        assert_eq!(
            self.region.stats().committed_bytes,
            self.committed() * page_size()
        );
    }
}

fn reason(error: &Error) -> Refused {
    match () {
        () if error.is_invalid_range() => Refused::End,
        () if error.is_declined() => Refused::Filter,
        () if error.is_limit() => Refused::Limit,
        () => panic!("refused without a reason: {error}"),
    }
}

/// Checks that an accessor stopped where the model did, for the same reason.
fn check<T>(range: &Range<usize>, result: &Result<T, Error>, stopped: Option<(usize, Refused)>) {
    let error = result.as_ref().err();
    assert_eq!(
        error.map(|error| (error.range(), reason(error))),
        stopped.map(|(at, why)| (at..range.end, why))
    );
}

/// Runs the operations of the input, and panics if container and model differ.
pub fn run(input: Input) {
    let (window, limit) = (
        1 + usize::from(input.window % 9),
        1 + usize::from(input.limit) % PAGES,
    );
    let declined = input.declined.map_or(usize::MAX, usize::from);
    let backend = if input.is_on_userfault {
        Backend::Auto
    } else {
        Backend::Protection
    };
    let mut builder = Region::builder(PAGES * page_size())
        .growth(Growth::Pages(window))
        .backend(backend);
    if input.declined.is_some() {
        builder = builder.filter(move |fault| match fault.offset() / page_size() {
            page if page < declined => Verdict::Commit,
            _ => Verdict::Decline,
        });
    }
    let region = builder
        .commit_limit(limit * page_size())
        .build()
        .expect("a small region");
    let mut subject = Subject {
        region,
        pages: vec![None; PAGES],
        window,
        limit,
        declined,
    };
    for step in &input.steps.0 {
        subject.step(step);
    }
    for (page, bytes) in subject.pages.iter().enumerate() {
        let Some(expected) = bytes else { continue };
        let mut bytes = vec![0; page_size()];
        subject
            .region
            .try_copy_to_slice(page * page_size(), &mut bytes)
            .expect("committed");
        assert!(bytes == *expected, "page {page}");
    }
}
