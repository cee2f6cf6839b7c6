//! A region, with its model.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};

use elbowroom::inject::{self, Call};
use elbowroom::{Access, Error, Growth, PageState, Region, page_size};

use super::budgets::Budgets;
use super::filter::{Seen, filter};
use crate::finding::{Checked, check};
use crate::model::{Filter, Ground, Model};
use crate::rng::Rng;

/// A region and its model.
pub(crate) struct Slot {
    pub(crate) id: u64,
    pub(super) region: Arc<Region>,
    pub(crate) model: Model,
    pub(super) seen: Arc<Seen>,
    // The region that the filter touches.
    inner: Option<Box<Slot>>,
}

impl Slot {
    /// Makes a region of a random kind. Returns `None` if that was refused as planned.
    pub(crate) fn make(
        id: u64,
        rng: &mut Rng,
        ground: &mut Ground,
        budgets: &Budgets,
        may_have_threads: bool,
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
        model.has_filter_threads = filter != Filter::None && rng.one_in(6) && may_have_threads;
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
            // So many pages that their table is in the mapping.
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

    pub(super) fn build(
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
        if model.has_filter_threads {
            builder = builder.filter_threads(1 + rng.below(3));
        }
        let region = Arc::new(builder.build()?);
        // The cell is set only here.
        let _ = own.set(Arc::downgrade(&region));
        let mut inner = inner;
        // The model owns the inner model, which it needs to predict touches; the slot owns the inner region.
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

    /// Returns whether a refusal can be planned for the region: a plan covers only the calls of this thread.
    pub(super) fn may_refuse(&self) -> bool {
        !self.model.has_filter_threads
    }

    /// Returns a random range at edges or in the middle, mostly inside, and at most a little past the guard page.
    pub(crate) fn range(&self, rng: &mut Rng, longest: usize) -> Range<usize> {
        let size = page_size();
        let page = if self.model.pages > 512 {
            // A few places in a vast region, one of them at the border of two chunks of its table.
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

    /// Returns the region's model, and that of the region that its filter touches.
    pub(crate) fn models(&self) -> impl Iterator<Item = &Model> + Clone {
        std::iter::once(&self.model).chain(self.model.inner.as_deref())
    }

    /// Checks that every query about the region returns the model's answer.
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

    /// Checks that every committed byte is as in the model.
    pub(super) fn read_all(&self) -> Checked {
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

    /// Checks the region a last time and releases it. Returns the number of its faults.
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

    /// Returns whether another thread, with other budgets, can take the region over.
    pub(crate) fn is_free_of_budgets(&self) -> bool {
        self.model.budget.is_none()
            && self
                .model
                .inner
                .as_ref()
                .is_none_or(|inner| inner.budget.is_none())
    }

    /// Marks the region as one in a forked child, which has no filter threads.
    pub(crate) fn orphan(&mut self) {
        self.model.orphaned = self.model.has_filter_threads;
    }
}
