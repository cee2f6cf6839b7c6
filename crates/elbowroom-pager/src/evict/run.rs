//! Several pages at once: one call of the system for pages that are next to each other.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use super::Pool;
use super::clock::Ring;

impl Pool {
    /// Commits pages that the calling thread has claimed, and puts them in transit, as far as there is room without
    /// waiting. Returns how many there are, from the first on. The others are still claimed.
    pub(crate) fn admit_run(&self, pages: Range<usize>) -> usize {
        let mut clock = self.sharers.clock();
        let Some(ring) = clock.ring(self.name) else {
            return 0;
        };
        // Pages that have kept their memory come in one by one.
        let mut count = if ring.stranded.is_empty() {
            pages.len()
        } else {
            0
        };
        let mut may_evict = true;
        while count > 0 {
            let run = pages.start..pages.start + count;
            let Err(mut refusal) = self.frames.commit(run) else {
                break;
            };
            if !(refusal.is_limit() || refusal.is_out_of_memory()) {
                count = 0;
            } else if !may_evict || self.evict(&mut clock, &mut refusal, count, false).is_err() {
                may_evict = false;
                count /= 2;
            }
        }
        let admitted = pages.start..pages.start + count;
        if let Some(ring) = clock.ring(self.name) {
            { admitted.clone() }.for_each(|page| ring.insert(page));
        }
        admitted.for_each(|page| self.table.start_loading(page));
        count
    }

    /// Evicts a page that was put in transit, and that the hand has just passed. The pages after it in the ring go as
    /// well, as long as they are next to it in memory and may go.
    pub(super) fn evict_run(
        &self,
        ring: &mut Ring<Pool>,
        slot: usize,
        page: usize,
        wanted: usize,
    ) -> Result<(), elbowroom::Error> {
        let table = &self.table;
        let mut run = page..page + 1;
        let may_go = |page: usize| !table.look(page).is_referenced() && table.try_leave(page);
        while run.len() < wanted {
            if ring.step_if(|next| next == run.end && may_go(next)) {
                run.end += 1;
            } else if ring.step_if(|next| next + 1 == run.start && may_go(next)) {
                run.start -= 1;
            } else {
                break;
            }
        }
        if let Err(refusal) = self.frames.decommit(run.clone()) {
            run.for_each(|page| table.stay(page));
            return Err(refusal);
        }
        ring.vacate_to_hand(slot);
        let evictions = &self.source.counters.evictions;
        evictions.fetch_add(run.len() as u64, Relaxed);
        run.for_each(|page| table.abandon(page));
        Ok(())
    }
}
