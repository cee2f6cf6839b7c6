//! The committed pages of a reservation, and their access.

use std::collections::BTreeMap;

use crate::page::PageRange;
use crate::plain::Access;

/// The committed pages: start → (end, access). Runs are in ascending order, not empty, and do not overlap. Adjacent
/// runs differ in access. All other pages are reserved.
pub(super) type Committed = BTreeMap<usize, (usize, Access)>;

/// Returns the parts of `pages` that no committed run covers, in order.
pub(super) fn gaps(committed: &Committed, pages: PageRange) -> Vec<PageRange> {
    let mut gaps = Vec::new();
    let mut next = pages.start();
    // The run that starts before `pages` may reach into it.
    if let Some((_, &(end, _))) = committed.range(..=pages.start()).next_back() {
        next = next.max(end);
    }
    for (&start, &(end, _)) in committed.range(pages.start()..pages.end()) {
        if next < start {
            gaps.push(PageRange::new(next, start));
        }
        next = next.max(end);
    }
    if next < pages.end() {
        gaps.push(PageRange::new(next, pages.end()));
    }
    gaps
}

/// Makes `pages` committed with this access, or reserved with `None`.
pub(super) fn set(committed: &mut Committed, pages: PageRange, access: Option<Access>) {
    let (mut start, mut end) = (pages.start(), pages.end());
    // Cuts the overlapping runs, and keeps their parts outside `pages`.
    let overlapping: Vec<_> = committed
        .range(..end)
        .rev()
        .take_while(|&(_, &(run_end, _))| run_end > start)
        .map(|(&run_start, &run)| (run_start, run))
        .collect();
    for (run_start, (run_end, run_access)) in overlapping {
        committed.remove(&run_start);
        if run_start < start {
            committed.insert(run_start, (start, run_access));
        }
        if run_end > end {
            committed.insert(end, (run_end, run_access));
        }
    }
    let Some(access) = access else { return };
    // Joins the run with neighbours of the same access.
    if let Some((&before, &(before_end, before_access))) = committed.range(..start).next_back() {
        if before_end == start && before_access == access {
            committed.remove(&before);
            start = before;
        }
    }
    if let Some(&(after_end, after_access)) = committed.get(&end) {
        if after_access == access {
            committed.remove(&end);
            end = after_end;
        }
    }
    committed.insert(start, (end, access));
}
