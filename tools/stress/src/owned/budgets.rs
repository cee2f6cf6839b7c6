//! The real budgets of a thread, compared with the model.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use elbowroom::{Budget, page_size};

use crate::finding::{Checked, check};
use crate::model::{Ground, Model};
use crate::rng::Rng;

/// The real budgets of a thread, with the same indices as in the model.
pub(crate) struct Budgets {
    pub(crate) nodes: Vec<Budget>,
    heard: Vec<Arc<AtomicU64>>,
}

impl Budgets {
    /// Makes a tenant's budget below `root`, with two budgets below it and one below those.
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

    /// Checks that each budget agrees with the model, and is the sum of the charges below it.
    pub(crate) fn check<'a>(
        &self,
        ground: &Ground,
        models: impl Iterator<Item = &'a Model> + Clone,
    ) -> Checked {
        for (index, node) in self.nodes.iter().enumerate() {
            let (committed, peak, heard) = ground.figures(index);
            let below = models
                .clone()
                .filter(|model| ground.is_below(model.budget, index));
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
