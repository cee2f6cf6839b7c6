//! Regions that one thread has to itself: everything about them is known beforehand.

#![allow(unsafe_code, reason = "plain pointers are one way to touch a region")]

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use elbowroom::inject::{self, Call};
use elbowroom::{
    Access, Budget, Error, Fault, FaultAccess, Growth, PageState, Region, Verdict, page_size,
};

use crate::finding::{Checked, check};
use crate::model::{Filter, Ground, Model, Stopped, Why};
use crate::rng::Rng;

/// What a filter noted.
#[derive(Default)]
struct Seen {
    asked: AtomicU64,
    offset: AtomicUsize,
    is_write: AtomicBool,
    // It saw something that must not be.
    is_wrong: AtomicBool,
}

/// The real budgets of a thread; the indices are the model's.
pub(crate) struct Budgets {
    pub(crate) nodes: Vec<Budget>,
    heard: Vec<Arc<AtomicU64>>,
}

impl Budgets {
    /// A tenant inside `root`, with two budgets inside and one inside of those.
    pub(crate) fn new(
        root: &Budget,
        tenant_pages: usize,
        ground: &mut Ground,
        rng: &mut Rng,
    ) -> Budgets {
        let mut budgets = Budgets {
            nodes: Vec::new(),
            heard: Vec::new(),
        };
        for parent in [None, Some(0), Some(0), Some(1)] {
            let pages = match parent {
                None => tenant_pages,
                Some(_) => rng.below(tenant_pages) + 1,
            };
            let threshold = 1 + rng.below(pages);
            let heard = Arc::new(AtomicU64::new(0));
            let count = Arc::clone(&heard);
            let above = parent.map_or(root, |parent: usize| &budgets.nodes[parent]);
            let node = Budget::builder(pages * page_size() + rng.below(page_size()))
                .child_of(above)
                .on_reaching(threshold * page_size(), move |_| {
                    count.fetch_add(1, Ordering::Relaxed);
                })
                .build();
            ground.add(pages, parent, Some(threshold));
            budgets.nodes.push(node);
            budgets.heard.push(heard);
        }
        budgets
    }

    /// Each budget is what the model says, and the sum of what is below it.
    pub(crate) fn check(&self, ground: &Ground, slots: &[Slot]) -> Checked {
        for (index, node) in self.nodes.iter().enumerate() {
            let (committed, peak, heard) = ground.figures(index);
            let models = slots
                .iter()
                .flat_map(|slot| std::iter::once(&slot.model).chain(slot.model.inner.as_deref()));
            let below = models.filter(|model| ground.is_below(model.budget, index));
            let sum: usize = below.map(Model::committed).sum();
            check!(
                sum == committed,
                "the model's budget {index} has {committed} pages of {sum}"
            );
            let seen = (node.committed_bytes(), node.peak_bytes());
            let expected = (committed * page_size(), peak * page_size());
            check!(
                seen == expected,
                "budget {index} has committed and at most {seen:?}, should {expected:?}"
            );
            let calls = self.heard[index].load(Ordering::Relaxed);
            check!(
                calls == heard,
                "the callback of budget {index} was called {calls} times, should {heard}"
            );
            let (room, expected) = (
                node.available_bytes(),
                ground.room(Some(index)) * page_size(),
            );
            check!(
                room == expected,
                "budget {index} has {room} bytes left, should {expected}"
            );
        }
        Ok(())
    }
}

/// A region and its model.
pub(crate) struct Slot {
    pub(crate) id: u64,
    region: Arc<Region>,
    pub(crate) model: Model,
    seen: Arc<Seen>,
    // The one that the filter touches.
    inner: Option<Box<Slot>>,
}

/// What a range operation does.
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
    /// Makes a region of random kind. `None` if that was refused, as planned.
    pub(crate) fn make(
        id: u64,
        rng: &mut Rng,
        ground: &mut Ground,
        budgets: &Budgets,
        may_monitor: bool,
    ) -> Result<Option<Slot>, String> {
        let filter = match rng.below(12) {
            0..=3 => Filter::None,
            4..=5 => Filter::Commits,
            6 => Filter::DeclinesEach(2 + rng.below(6)),
            7 => Filter::CommitsItself,
            8 => Filter::CommitsAndDeclines,
            9 => Filter::TouchesItself,
            _ => Filter::TouchesAnother,
        };
        let inner = match filter {
            Filter::TouchesAnother => {
                let model = Slot::random_model(rng, Filter::None, budgets);
                Some(Box::new(
                    Slot::build(id, model, None, rng, budgets)
                        .map_err(|error| format!("make: {error}"))?,
                ))
            }
            _ => None,
        };
        let mut model = Slot::random_model(rng, filter, budgets);
        model.monitored = filter != Filter::None && rng.one_in(6) && may_monitor;
        let refuse = match rng.below(40) {
            0 => Some(Call::Reserve),
            1 => Some(Call::InstallHandler),
            _ => None,
        };
        let plan = refuse.map(|call| inject::refuse(call, 1));
        let built = Slot::build(id, model, inner, rng, budgets);
        drop(plan);
        match (built, refuse) {
            (Ok(slot), None) => Ok(Some(slot)),
            (Ok(_), Some(call)) => Err(format!("a region was made though {call:?} was refused")),
            (Err(error), Some(_)) if error.is_out_of_memory() => Ok(None),
            (Err(error), _) => {
                let room = ground.room(Some(0));
                Err(format!(
                    "no region could be made, with {room} pages left: {error}"
                ))
            }
        }
    }

    fn random_model(rng: &mut Rng, filter: Filter, budgets: &Budgets) -> Model {
        let pages = match rng.below(10) {
            // So many that the table of pages is in the mapping.
            0 => (3 << 30) / page_size() + rng.below(3000),
            1..=2 => 64 + rng.below(448),
            _ => 1 + rng.below(64),
        };
        let window = [1, 1, 2, 3, 4, 7, 16, 16, 33, 512][rng.below(10)];
        let limit = if pages > 512 || rng.one_in(2) {
            rng.below(100)
        } else {
            pages
        };
        let budget = rng.one_in(2).then(|| rng.below(budgets.nodes.len()));
        Model::new(pages, limit, window, budget, filter)
    }

    fn build(
        id: u64,
        mut model: Model,
        inner: Option<Box<Slot>>,
        rng: &mut Rng,
        budgets: &Budgets,
    ) -> Result<Slot, Error> {
        let size = page_size();
        let limit = model.limit * size + rng.below(size);
        let mut builder = Region::builder(model.pages * size - rng.below(size))
            .growth(Growth::Pages(model.window));
        if model.limit < model.pages {
            builder = builder.commit_limit(limit);
        }
        if let Some(budget) = model.budget {
            builder = builder.budget(&budgets.nodes[budget]);
        }
        if rng.one_in(4) {
            builder = builder.name("stress");
        }
        let seen = Arc::new(Seen::default());
        let own: Arc<OnceLock<Weak<Region>>> = Arc::default();
        if model.filter != Filter::None {
            let inner = inner.as_ref().map(|slot| Arc::clone(&slot.region));
            builder = builder.filter(filter(
                model.filter,
                Arc::clone(&seen),
                inner,
                Arc::clone(&own),
            ));
        }
        if model.monitored {
            builder = builder.filter_threads(1 + rng.below(3));
        }
        let region = Arc::new(builder.build()?);
        // Set once, here.
        let _ = own.set(Arc::downgrade(&region));
        let mut inner = inner;
        // The model holds the inner model, where a touch is modelled; the slot holds the region.
        model.inner = inner.as_mut().map(|slot| {
            let hollow = Model::new(1, 0, 1, None, Filter::None);
            Box::new(std::mem::replace(&mut slot.model, hollow))
        });
        Ok(Slot {
            id,
            region,
            model,
            seen,
            inner,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.model.len()
    }

    /// Whether a refusal can be planned for it: a plan is for this thread's calls.
    fn may_refuse(&self) -> bool {
        !self.model.monitored
    }

    /// A random range: edges and middles, inside mostly, up to a little past the guard page.
    pub(crate) fn range(&self, rng: &mut Rng, longest: usize) -> Range<usize> {
        let size = page_size();
        let page = if self.model.pages > 512 {
            // A few spots of a vast region, one of them where two chunks of its table meet.
            let spots = [
                0,
                self.model.pages / 3,
                (1 << 19) - 12,
                self.model.pages - 20,
            ];
            (spots[rng.below(4)] + rng.below(24)).min(self.model.pages)
        } else {
            rng.below(self.model.pages + 1)
        };
        let within = match rng.below(4) {
            0 => 0,
            1 => size - 1 - rng.below(16),
            _ => rng.below(size),
        };
        let len = match rng.below(8) {
            0 => 0,
            1..=3 => 1 + rng.below(16),
            4..=6 => 1 + rng.below(longest.min(3 * size)),
            _ => 1 + rng.below(longest),
        };
        let start = page * size + within;
        start..start + len
    }

    /// Does it, there and in the model, and compares. Whether it was refused.
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

    /// What the library answers, and what the model does.
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
                // It is one call for the whole range, if anything in it is committed.
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
        // An accessor. Past the guard page nothing is touched, nor is anything read that has no room.
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
        // A value, or what a writer is given, is had whole or not at all.
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

    /// The real accessor. Without bytes, one that cannot get so far as to touch them.
    fn access(
        &self,
        deed: Deed,
        range: &Range<usize>,
        bytes: &mut [u8],
        seed: u64,
    ) -> Checked<Result<(), Error>> {
        let (region, start) = (&self.region, range.start);
        // The readers and writers here have no errors of their own.
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

    /// The answer is the expected one, to the byte.
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
                    Why::MonitorGone => {
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

    /// A touch by a plain pointer, if it surely works. Whether it was done.
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
        // That it is committed is all that counts for a plain touch.
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
                // SAFETY: inside the region, which commits on touch (the model has just looked that nothing refuses);
                // this thread has the region to itself, and nobody has a reference into it.
                unsafe { address.write_volatile(value) };
            }
            None => {
                // SAFETY: inside the region, which commits on touch (the model has just looked that nothing refuses).
                let seen = unsafe { address.read_volatile() };
                check!(seen == *byte, "byte {at} is {seen}, should be {byte}");
            }
        }
        self.compare(Ok(()), Ok(()), at, ground)?;
        Ok(true)
    }

    /// Everything that can be asked about the region is as in the model.
    pub(crate) fn look(&self) -> Checked {
        let model = &self.model;
        let stats = self.region.stats();
        let seen = (
            stats.reserved_bytes,
            stats.commit_limit_bytes,
            stats.committed_bytes,
        );
        let expected = (
            model.len(),
            model.limit * page_size(),
            model.committed() * page_size(),
        );
        check!(
            seen == expected,
            "reserved, limit, committed: {seen:?}, should be {expected:?}"
        );
        let (seen, expected) = (
            (stats.faults, stats.commits, stats.refused),
            (model.faults, model.commits, model.refused),
        );
        check!(
            seen == expected,
            "faults, commits, declined: {seen:?}, should be {expected:?}"
        );
        let asked = self.seen.asked.load(Ordering::Relaxed);
        check!(
            asked == model.asked,
            "the filter was asked {asked} times, should be {}",
            model.asked
        );
        check!(
            !self.seen.is_wrong.load(Ordering::Relaxed),
            "the filter saw what must not be"
        );

        let spans = self.region.spans();
        let mut next = 0;
        for span in &spans {
            let access = if span.state == PageState::Committed {
                Access::ReadWrite
            } else {
                Access::None
            };
            check!(
                span.range.start == next && !span.range.is_empty() && span.access == access,
                "{spans:?}"
            );
            next = span.range.end;
        }
        check!(next == model.len(), "the spans end at {next}: {spans:?}");
        let committed: Vec<_> = spans
            .into_iter()
            .filter(|span| span.state == PageState::Committed)
            .map(|span| span.range)
            .collect();
        let expected = model.committed_runs();
        check!(
            committed == expected,
            "committed are {committed:?}, should be {expected:?}"
        );
        Ok(())
    }

    /// Every byte that is committed is as in the model.
    fn read_all(&self) -> Checked {
        let mut bytes = vec![0; page_size()];
        for (page, content) in &self.model.content {
            let at = page * page_size();
            self.region
                .try_copy_to_slice(at, &mut bytes)
                .map_err(|error| format!("page {page}: {error}"))?;
            if let Some(byte) = bytes
                .iter()
                .zip(content)
                .position(|(seen, wanted)| seen != wanted)
            {
                let (seen, wanted) = (bytes[byte], content[byte]);
                return Err(format!("byte {} is {seen}, should be {wanted}", at + byte));
            }
        }
        Ok(())
    }

    /// Looks a last time and releases it; its faults.
    pub(crate) fn end(mut self, ground: &mut Ground) -> Checked<u64> {
        self.look()?;
        self.read_all()?;
        let mut faults = self.model.faults;
        self.model.end(ground);
        let id = self.id;
        let region = Arc::into_inner(self.region)
            .ok_or_else(|| format!("region {id} is held by another thread"))?;
        region
            .release()
            .map_err(|error| format!("release: {error}"))?;
        if let (Some(mut inner), Some(model)) = (self.inner.take(), self.model.inner.take()) {
            inner.model = *model;
            faults += inner.end(ground)?;
        }
        Ok(faults)
    }

    /// Whether another thread, with other budgets, can take it over.
    pub(crate) fn is_free_of_budgets(&self) -> bool {
        self.model.budget.is_none()
            && self
                .model
                .inner
                .as_ref()
                .is_none_or(|inner| inner.budget.is_none())
    }

    /// In a forked child: there are no monitors.
    pub(crate) fn orphan(&mut self) {
        self.model.orphaned = self.model.monitored;
    }
}

fn filter(
    kind: Filter,
    seen: Arc<Seen>,
    inner: Option<Arc<Region>>,
    own: Arc<OnceLock<Weak<Region>>>,
) -> impl Fn(&Fault<'_>) -> Verdict + Send + Sync {
    let decide = |allowed| {
        if allowed {
            Verdict::Commit
        } else {
            Verdict::Decline
        }
    };
    move |fault| {
        seen.asked.fetch_add(1, Ordering::Relaxed);
        seen.offset.store(fault.offset(), Ordering::Relaxed);
        seen.is_write
            .store(fault.access() == FaultAccess::Write, Ordering::Relaxed);
        let is_odd = !fault.is_page_fault() || fault.committed_bytes() > fault.commit_limit_bytes();
        seen.is_wrong.fetch_or(is_odd, Ordering::Relaxed);
        let page = fault.offset() / page_size();
        match kind {
            Filter::None | Filter::Commits => Verdict::Commit,
            Filter::DeclinesEach(pages) => decide(page % pages != pages - 1),
            Filter::CommitsItself => decide(fault.commit().is_ok()),
            Filter::CommitsAndDeclines => {
                let _ = fault.commit();
                Verdict::Decline
            }
            Filter::TouchesAnother => decide(inner.as_ref().is_none_or(|inner| {
                let page = page % (inner.len() / page_size());
                inner.try_read::<u8>(page * page_size()).is_ok()
            })),
            Filter::TouchesItself => {
                let result = own
                    .get()
                    .and_then(Weak::upgrade)
                    .map(|own| own.try_read::<u8>(fault.offset()));
                let is_refused =
                    matches!(&result, Some(Err(error)) if error.to_string().contains("own filter"));
                seen.is_wrong.fetch_or(!is_refused, Ordering::Relaxed);
                Verdict::Commit
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_the_model_is_found() {
        let (mut rng, mut ground) = (Rng::new(7, 0), Ground::new());
        let root = Budget::new(1 << 30);
        let budgets = Budgets::new(&root, 50, &mut ground, &mut rng);
        let model = Model::new(20, 10, 1, Some(0), Filter::Commits);
        let mut slot = Slot::build(1, model, None, &mut rng, &budgets).unwrap();
        let page = page_size();
        for (deed, range) in [
            (Deed::Write, 5..13),
            (Deed::Fill, page..4 * page),
            (Deed::Decommit, 2 * page..2 * page + 1),
        ] {
            slot.act(deed, range, &mut rng, &mut ground).unwrap();
        }
        slot.look().unwrap();
        slot.read_all().unwrap();
        budgets.check(&ground, std::slice::from_ref(&slot)).unwrap();

        // A byte that the model does not know of.
        let byte: u8 = slot.region.try_read(page + 7).unwrap();
        slot.region.try_write(page + 7, !byte).unwrap();
        assert!(
            slot.read_all()
                .unwrap_err()
                .contains(&format!("byte {} is", page + 7))
        );
        assert!(
            slot.act(Deed::Read, page..page + 8, &mut rng, &mut ground)
                .is_err()
        );
        // A page that it does not know of.
        slot.region.commit(9 * page..10 * page).unwrap();
        assert!(slot.look().unwrap_err().contains("committed"));
        assert!(budgets.check(&ground, std::slice::from_ref(&slot)).is_err());
        slot.region.decommit(9 * page..10 * page).unwrap();
        // A fault.
        slot.look().unwrap_err();
        slot.model.commits += 1;
        slot.look().unwrap();
        slot.region.try_write(slot.len(), 1u8).unwrap_err();
        assert!(slot.look().unwrap_err().contains("faults"));
    }
}
