//! Sequences of operations against a model that keeps every byte in a vector.

#![allow(
    unsafe_code,
    reason = "a reservation's memory is reached through plain pointers"
)]

use crate::common;

use std::ops::Range;

use elbowroom::{Access, Backend, Growth, PageState, Region, Reservation, Span, page_size};
use proptest::prelude::*;

const PAGES: usize = 24;

/// The model of a page: `None` if reserved, otherwise its access and bytes.
type Page = Option<(Access, Vec<u8>)>;

fn touched(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() {
        0..0
    } else {
        range.start / page_size()..range.end.div_ceil(page_size())
    }
}

/// Returns the spans that these pages should have.
fn spans(model: &[Page]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (n, page) in model.iter().enumerate() {
        let (state, access) = match page {
            None => (PageState::Reserved, Access::None),
            Some((access, _)) => (PageState::Committed, *access),
        };
        match spans.last_mut() {
            Some(last) if (last.state, last.access) == (state, access) => {
                last.range.end += page_size()
            }
            _ => spans.push(Span {
                range: n * page_size()..(n + 1) * page_size(),
                state,
                access,
            }),
        }
    }
    spans
}

/// A byte range inside the subject, or slightly beyond its end.
fn range() -> impl Strategy<Value = Range<usize>> {
    // In 64ths of a page, so that edges and middles are both met.
    (0..PAGES * 64 + 8, 0..6 * 64usize).prop_map(|(start, len)| {
        let unit = page_size() / 64;
        start * unit..(start + len) * unit
    })
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Range<usize>),
    Decommit(Range<usize>),
    Protect(Range<usize>, Access),
    Write(Range<usize>, u8),
    Read(Range<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let access = prop::sample::select(vec![
        Access::None,
        Access::Read,
        Access::ReadWrite,
        Access::ReadExecute,
    ]);
    prop_oneof![
        range().prop_map(Step::Commit),
        range().prop_map(Step::Decommit),
        (range(), access).prop_map(|(range, access)| Step::Protect(range, access)),
        (range(), any::<u8>()).prop_map(|(range, byte)| Step::Write(range, byte)),
        range().prop_map(Step::Read),
    ]
}

fn zeros() -> Vec<u8> {
    vec![0; page_size()]
}

fn reservation_behaves(steps: Vec<Step>, keeps_access: bool) -> Result<(), TestCaseError> {
    let block = Reservation::builder(PAGES * page_size());
    let block = block.keep_access(keeps_access).build().unwrap();
    let mut model: Vec<Page> = vec![None; PAGES];
    for step in steps {
        let (range, result) = match &step {
            Step::Commit(range) => (range, block.commit(range.clone())),
            Step::Decommit(range) => (range, block.decommit(range.clone())),
            Step::Protect(range, access) => (range, block.protect(range.clone(), *access)),
            Step::Write(range, _) | Step::Read(range) => (range, Ok(())),
        };
        if range.end > block.len() {
            prop_assert_eq!(
                result.err().map(|error| error.is_invalid_range()),
                range_error(&step)
            );
            continue;
        }
        let pages = touched(range);
        match step {
            Step::Commit(_) => {
                result.unwrap();
                for page in &mut model[pages] {
                    page.get_or_insert_with(|| (Access::ReadWrite, zeros()));
                }
            }
            Step::Decommit(_) => {
                result.unwrap();
                model[pages].fill(None);
            }
            Step::Protect(_, access) => {
                let all = model[pages.clone()].iter().all(Option::is_some);
                prop_assert_eq!(
                    result.err().map(|error| error.is_not_committed()),
                    (!all).then_some(true)
                );
                if all {
                    model[pages]
                        .iter_mut()
                        .flatten()
                        .for_each(|page| page.0 = access);
                }
            }
            Step::Write(range, byte) => {
                for at in range {
                    if let Some((Access::ReadWrite, bytes)) = &mut model[at / page_size()] {
                        // SAFETY: the model says that the byte is committed and writable; nothing refers to it.
                        unsafe { block.as_ptr().wrapping_add(at).write_volatile(byte) };
                        bytes[at % page_size()] = byte;
                    }
                }
            }
            Step::Read(range) => {
                for at in range {
                    match &model[at / page_size()] {
                        None | Some((Access::None, _)) => {}
                        Some((_, bytes)) => {
                            // SAFETY: the model says that the byte is committed and readable.
                            let byte = unsafe { block.as_ptr().wrapping_add(at).read_volatile() };
                            prop_assert_eq!(byte, bytes[at % page_size()]);
                        }
                    }
                }
            }
        }
        prop_assert_eq!(block.spans(), spans(&model));
    }
    Ok(())
}

/// Returns the expected error of a step that reaches beyond the end; reads and writes are then not done.
fn range_error(step: &Step) -> Option<bool> {
    match step {
        Step::Write(..) | Step::Read(_) => None,
        _ => Some(true),
    }
}

/// The model of a region: the committed pages, and the rule for what a touch commits.
struct RegionModel {
    pages: Vec<Page>,
    window: usize,
    limit: usize,
}

impl RegionModel {
    fn committed(&self) -> usize {
        self.pages.iter().flatten().count()
    }

    /// Touches page `n`. Returns false if the limit refuses.
    fn touch(&mut self, n: usize) -> bool {
        if self.pages[n].is_some() {
            return true;
        }
        let mut room = self.limit - self.committed();
        if room == 0 {
            return false;
        }
        // The free pages around `n` in its aligned window: upwards first, then downwards, while there is room.
        let first = n - n % self.window;
        let last = (first + self.window).min(PAGES);
        let above = (n..last)
            .take_while(|&at| self.pages[at].is_none())
            .collect::<Vec<_>>();
        let below = (first..n)
            .rev()
            .take_while(|&at| self.pages[at].is_none())
            .collect::<Vec<_>>();
        for at in above.into_iter().chain(below) {
            if room > 0 {
                self.pages[at] = Some((Access::ReadWrite, zeros()));
                room -= 1;
            }
        }
        true
    }

    /// Touches byte after byte. Returns the first one refused.
    fn walk(&mut self, range: Range<usize>, mut byte: impl FnMut(usize, &mut u8)) -> usize {
        for at in range.clone() {
            let n = at / page_size();
            if n >= PAGES || !self.touch(n) {
                return at;
            }
            let (_, bytes) = self.pages[n].as_mut().unwrap();
            byte(at - range.start, &mut bytes[at % page_size()]);
        }
        range.end
    }
}

fn region_behaves(
    steps: Vec<Step>,
    backend: Backend,
    window: usize,
    limit: usize,
) -> Result<(), TestCaseError> {
    let region = Region::builder(PAGES * page_size())
        .growth(Growth::Pages(window))
        .backend(backend)
        .commit_limit(limit * page_size())
        .build()
        .unwrap();
    let mut model = RegionModel {
        pages: vec![None; PAGES],
        window,
        limit,
    };
    for step in steps {
        match step {
            Step::Commit(range) => {
                let result = region.commit(range.clone());
                if range.end > region.len() {
                    prop_assert!(result.unwrap_err().is_invalid_range());
                    continue;
                }
                let missing = model.pages[touched(&range)]
                    .iter()
                    .filter(|page| page.is_none())
                    .count();
                if missing > limit - model.committed() {
                    prop_assert!(result.unwrap_err().is_limit());
                } else {
                    result.unwrap();
                    for page in &mut model.pages[touched(&range)] {
                        page.get_or_insert_with(|| (Access::ReadWrite, zeros()));
                    }
                }
            }
            Step::Decommit(range) => {
                let result = region.decommit(range.clone());
                if range.end > region.len() {
                    prop_assert!(result.unwrap_err().is_invalid_range());
                    continue;
                }
                result.unwrap();
                model.pages[touched(&range)].fill(None);
            }
            Step::Write(range, byte) => {
                let result = region.try_fill(range.clone(), byte);
                check(
                    &range,
                    result,
                    model.walk(range.clone(), |_, at| *at = byte),
                )?;
            }
            // A region has no protect; the step stands for the other way to write.
            Step::Protect(range, _) => {
                let source: Vec<u8> = (0..range.len()).map(|n| n as u8).collect();
                let result = region.try_copy_from_slice(range.start, &source);
                check(
                    &range,
                    result,
                    model.walk(range.clone(), |n, at| *at = source[n]),
                )?;
            }
            Step::Read(range) => {
                let mut bytes = vec![0xee; range.len()];
                let mut expected = bytes.clone();
                let result = region.try_copy_to_slice(range.start, &mut bytes);
                check(
                    &range,
                    result,
                    model.walk(range.clone(), |n, at| expected[n] = *at),
                )?;
                prop_assert!(bytes == expected, "read");
            }
        }
        prop_assert_eq!(region.spans(), spans(&model.pages));
        prop_assert_eq!(
            region.stats().committed_bytes,
            model.committed() * page_size()
        );
    }
    // Every committed page has the contents of the model.
    for (n, page) in model.pages.iter().enumerate() {
        if let Some((_, expected)) = page {
            let mut bytes = zeros();
            region
                .try_copy_to_slice(n * page_size(), &mut bytes)
                .unwrap();
            prop_assert!(&bytes == expected, "page {}", n);
        }
    }
    Ok(())
}

/// Checks that the accessor stopped where the model did.
fn check(
    range: &Range<usize>,
    result: Result<(), elbowroom::Error>,
    stopped: usize,
) -> Result<(), TestCaseError> {
    match result {
        Ok(()) => prop_assert_eq!(stopped, range.end),
        Err(error) => {
            prop_assert_eq!(error.range(), stopped..range.end);
            prop_assert_eq!(error.is_invalid_range(), stopped >= PAGES * page_size());
            prop_assert_eq!(error.is_limit(), stopped < PAGES * page_size());
        }
    }
    Ok(())
}

/// Ranges for a region end inside its guard page.
fn within_reach(mut step: Step) -> Step {
    let (Step::Commit(range)
    | Step::Decommit(range)
    | Step::Protect(range, _)
    | Step::Write(range, _)
    | Step::Read(range)) = &mut step;
    range.end = range.end.min((PAGES + 1) * page_size());
    range.start = range.start.min(range.end);
    step
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(common::times(48)) })]

    #[test]
    fn a_reservation_behaves_like_its_model(
        steps in prop::collection::vec(step(), 1..40),
        keeps_access in any::<bool>(),
    ) {
        reservation_behaves(steps, keeps_access)?;
    }

    #[test]
    fn a_region_behaves_like_its_model(
        steps in prop::collection::vec(step().prop_map(within_reach), 1..40),
        backend in prop::sample::select(vec![Backend::Protection, Backend::Auto]),
        window in 1usize..9,
        limit in 1usize..=PAGES,
    ) {
        region_behaves(steps, backend, window, limit)?;
    }
}
