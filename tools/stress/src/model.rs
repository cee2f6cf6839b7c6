//! A naive model of regions and of a tree of budgets.
//!
//! A page is a vector of bytes, or absent. The rules come from the documentation and not from the library's code: a
//! fault is counted, the filter is asked, and the window is cut to its free pages and to what the limits allow.

use std::collections::BTreeMap;
use std::ops::Range;

use elbowroom::page_size;

/// The reason why a touch or a commit is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    PastEnd,
    Limit,
    /// The budget with this index is used up.
    Budget(usize),
    Filter,
    /// The region's filter threads do not exist in a forked child.
    FilterThreadsGone,
    /// An injected refusal.
    System,
}

/// The behaviour of a region's filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    None,
    Commits,
    /// Declines one of this number of pages.
    DeclinesEach(usize),
    /// Commits the page itself, and declines if that fails.
    CommitsItself,
    /// Commits the page itself, and declines nevertheless.
    CommitsAndDeclines,
    /// Touches another region at the same page, and declines if that is refused.
    TouchesAnother,
    /// Touches the page that faulted, which must be refused, and then commits.
    TouchesItself,
}

/// A budget of the model. Index 0 is the root.
struct Node {
    limit: usize,
    parent: Option<usize>,
    threshold: Option<usize>,
    committed: usize,
    peak: usize,
    is_due: bool,
    heard: u64,
}

/// The state that the regions of a thread share: its budgets, and the planned refusal.
pub(crate) struct Ground {
    nodes: Vec<Node>,
    // The number of commits until the one that is refused; 0 if none is.
    refuse: u64,
}

impl Ground {
    pub(crate) fn new() -> Ground {
        Ground {
            nodes: Vec::new(),
            refuse: 0,
        }
    }

    /// Adds a budget with a limit in pages. The parent is an index.
    pub(crate) fn add(&mut self, limit: usize, parent: Option<usize>, threshold: Option<usize>) {
        self.nodes.push(Node {
            limit,
            parent,
            threshold,
            committed: 0,
            peak: 0,
            is_due: false,
            heard: 0,
        });
    }

    /// Returns the committed pages, their peak, and the number of calls of the callback.
    pub(crate) fn figures(&self, budget: usize) -> (usize, usize, u64) {
        let node = &self.nodes[budget];
        (node.committed, node.peak, node.heard)
    }

    /// Returns the number of pages that may still be committed under a budget.
    pub(crate) fn room(&self, budget: Option<usize>) -> usize {
        self.path(budget)
            .map(|at| self.nodes[at].limit - self.nodes[at].committed)
            .min()
            .unwrap_or(usize::MAX)
    }

    /// Returns whether a charge to `below` is also charged to `above`.
    pub(crate) fn is_below(&self, below: Option<usize>, above: usize) -> bool {
        self.path(below).any(|at| at == above)
    }

    fn path(&self, budget: Option<usize>) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(budget, |&at| self.nodes[at].parent)
    }

    fn charge(&mut self, budget: Option<usize>, wanted: usize, least: usize) -> Result<usize, Why> {
        let mut granted = wanted;
        for at in self.path(budget) {
            granted = granted.min(self.nodes[at].limit - self.nodes[at].committed);
            if granted < least {
                return Err(Why::Budget(at));
            }
        }
        for at in self.path(budget).collect::<Vec<_>>() {
            let node = &mut self.nodes[at];
            let before = node.committed;
            node.committed += granted;
            node.peak = node.peak.max(node.committed);
            node.is_due |= node
                .threshold
                .is_some_and(|pages| before < pages && pages <= node.committed);
        }
        Ok(granted)
    }

    fn refund(&mut self, budget: Option<usize>, pages: usize) {
        for at in self.path(budget).collect::<Vec<_>>() {
            let node = &mut self.nodes[at];
            node.committed -= pages;
            node.is_due &= node
                .threshold
                .is_some_and(|threshold| node.committed >= threshold);
        }
    }

    /// Counts the calls of the callbacks that are due.
    fn tell(&mut self, budget: Option<usize>) {
        for at in self.path(budget).collect::<Vec<_>>() {
            let node = &mut self.nodes[at];
            node.heard += u64::from(std::mem::take(&mut node.is_due));
        }
    }

    /// Plans the refusal of the nth commit from now on.
    pub(crate) fn plan(&mut self, nth: u64) {
        self.refuse = nth;
    }

    /// Removes the plan. Returns whether the planned refusal has happened.
    pub(crate) fn end_plan(&mut self) -> bool {
        std::mem::take(&mut self.refuse) == 0
    }

    /// Counts a commit. Returns whether the system refuses it.
    fn is_refused(&mut self) -> bool {
        let last = self.refuse == 1;
        self.refuse = self.refuse.saturating_sub(1);
        last
    }
}

/// A region of the model.
pub(crate) struct Model {
    pub(crate) pages: usize,
    pub(crate) limit: usize,
    pub(crate) window: usize,
    pub(crate) budget: Option<usize>,
    pub(crate) filter: Filter,
    pub(crate) has_filter_threads: bool,
    // Whether this is a forked child, which has no filter threads.
    pub(crate) orphaned: bool,
    // The region that `TouchesAnother` touches.
    pub(crate) inner: Option<Box<Model>>,
    pub(crate) content: BTreeMap<usize, Box<[u8]>>,
    pub(crate) faults: u64,
    pub(crate) commits: u64,
    pub(crate) refused: u64,
    // The number of calls of the filter, and the page of the last one.
    pub(crate) asked: u64,
    pub(crate) asked_page: usize,
}

/// The page at which an accessor stopped, and the reason.
pub(crate) type Stopped = (usize, Why);

impl Model {
    pub(crate) fn new(
        pages: usize,
        limit: usize,
        window: usize,
        budget: Option<usize>,
        filter: Filter,
    ) -> Model {
        Model {
            pages,
            limit: limit.min(pages),
            window,
            budget,
            filter,
            has_filter_threads: false,
            orphaned: false,
            inner: None,
            content: BTreeMap::new(),
            faults: 0,
            commits: 0,
            refused: 0,
            asked: 0,
            asked_page: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.pages * page_size()
    }

    pub(crate) fn committed(&self) -> usize {
        self.content.len()
    }

    fn open(&mut self, pages: impl IntoIterator<Item = usize>) {
        self.content.extend(
            pages
                .into_iter()
                .map(|page| (page, vec![0; page_size()].into())),
        );
    }

    /// Returns whether a touch of this page by a plain pointer certainly works.
    pub(crate) fn surely_works(&self, page: usize, ground: &Ground) -> bool {
        if self.content.contains_key(&page) {
            return true;
        }
        let simple = matches!(
            self.filter,
            Filter::None | Filter::Commits | Filter::CommitsItself | Filter::CommitsAndDeclines
        );
        let room = (self.limit - self.committed()).min(ground.room(self.budget));
        simple && !self.orphaned && page < self.pages && room > 0
    }

    /// Touches a page. The index `pages` is the guard page after the region.
    pub(crate) fn touch(&mut self, page: usize, ground: &mut Ground) -> Result<(), Why> {
        if self.content.contains_key(&page) {
            return Ok(());
        }
        self.faults += 1;
        let result = self.resolve(page, ground);
        self.refused += u64::from(result.is_err());
        result
    }

    fn resolve(&mut self, page: usize, ground: &mut Ground) -> Result<(), Why> {
        if self.filter != Filter::None {
            if self.orphaned {
                return Err(Why::FilterThreadsGone);
            }
            self.asked += 1;
            self.asked_page = page;
        }
        match self.filter {
            Filter::None | Filter::Commits => {}
            Filter::DeclinesEach(pages) if page % pages == pages - 1 => return Err(Why::Filter),
            Filter::DeclinesEach(_) => {}
            Filter::CommitsItself => {
                return self.commit_around(page, ground).map_err(|_| Why::Filter);
            }
            Filter::CommitsAndDeclines => {
                let _ = self.commit_around(page, ground);
                return Err(Why::Filter);
            }
            Filter::TouchesAnother => {
                if let Some(inner) = &mut self.inner {
                    let page = page % inner.pages;
                    inner.touch(page, ground).map_err(|_| Why::Filter)?;
                }
            }
            Filter::TouchesItself => {
                self.faults += 1;
                self.refused += 1;
            }
        }
        self.commit_around(page, ground)
    }

    /// Commits the window of a fault.
    fn commit_around(&mut self, page: usize, ground: &mut Ground) -> Result<(), Why> {
        if page >= self.pages {
            return Err(Why::PastEnd);
        }
        let room = self.limit - self.committed();
        if room == 0 {
            return Err(Why::Limit);
        }
        // The free pages around the page in its aligned window: first upwards, then downwards.
        let first = page - page % self.window;
        let last = (first + self.window).min(self.pages);
        let is_free = |at: &usize| !self.content.contains_key(at);
        let mut run: Vec<usize> = (page..last)
            .take_while(is_free)
            .chain((first..page).rev().take_while(is_free))
            .take(room)
            .collect();
        loop {
            let granted = ground.charge(self.budget, run.len(), 1)?;
            run.truncate(granted);
            if !ground.is_refused() {
                break;
            }
            ground.refund(self.budget, granted);
            if run.len() == 1 {
                return Err(Why::System);
            }
            // Tries again with the needed page only.
            run.truncate(1);
        }
        self.open(run);
        self.commits += 1;
        ground.tell(self.budget);
        Ok(())
    }

    /// Touches the bytes of a range in order, and passes on the bytes of each page. The range ends at most at the end
    /// of the guard page.
    pub(crate) fn walk(
        &mut self,
        range: Range<usize>,
        ground: &mut Ground,
        mut bytes: impl FnMut(usize, &mut [u8]),
    ) -> Result<(), Stopped> {
        let size = page_size();
        let mut at = range.start;
        while at < range.end {
            let page = at / size;
            self.touch(page, ground).map_err(|why| (at, why))?;
            let end = range.end.min((page + 1) * size);
            if let Some(content) = self.content.get_mut(&page) {
                bytes(
                    at - range.start,
                    &mut content[at - page * size..end - page * size],
                );
            }
            at = end;
        }
        Ok(())
    }

    fn pages_of(&self, range: &Range<usize>) -> Option<Range<usize>> {
        let size = page_size();
        match range {
            range if range.start > range.end || range.end > self.len() => None,
            range if range.is_empty() => Some(0..0),
            range => Some(range.start / size..range.end.div_ceil(size)),
        }
    }

    /// Commits every page of a range, or none.
    pub(crate) fn commit(&mut self, range: &Range<usize>, ground: &mut Ground) -> Result<(), Why> {
        let pages = self.pages_of(range).ok_or(Why::PastEnd)?;
        let there: Vec<usize> = self
            .content
            .range(pages.clone())
            .map(|(&page, _)| page)
            .collect();
        let missing = pages.len() - there.len();
        if missing == 0 {
            return Ok(());
        }
        if missing > self.limit - self.committed() {
            return Err(Why::Limit);
        }
        ground.charge(self.budget, missing, missing)?;
        let missing: Vec<usize> = pages
            .filter(|page| there.binary_search(page).is_err())
            .collect();
        // The library makes one call for each run of missing pages.
        let gaps = missing.chunk_by(|before, after| before + 1 == *after);
        if gaps.into_iter().any(|_| ground.is_refused()) {
            ground.refund(self.budget, missing.len());
            return Err(Why::System);
        }
        self.open(missing);
        self.commits += 1;
        ground.tell(self.budget);
        Ok(())
    }

    /// Returns the number of committed pages in a range, or `None` if it is not inside the region.
    pub(crate) fn count(&self, range: &Range<usize>) -> Option<usize> {
        self.pages_of(range)
            .map(|pages| self.content.range(pages).count())
    }

    pub(crate) fn decommit(
        &mut self,
        range: &Range<usize>,
        ground: &mut Ground,
    ) -> Result<(), Why> {
        let pages = self.pages_of(range).ok_or(Why::PastEnd)?;
        let gone: Vec<usize> = self.content.range(pages).map(|(&page, _)| page).collect();
        gone.iter().for_each(|page| drop(self.content.remove(page)));
        ground.refund(self.budget, gone.len());
        Ok(())
    }

    /// Releases the region.
    pub(crate) fn end(&mut self, ground: &mut Ground) {
        ground.refund(self.budget, self.committed());
        self.content.clear();
    }

    /// Returns the runs of committed pages, in bytes.
    pub(crate) fn committed_runs(&self) -> Vec<Range<usize>> {
        let pages: Vec<usize> = self.content.keys().copied().collect();
        let runs = pages.chunk_by(|before, after| before + 1 == *after);
        runs.map(|run| run[0] * page_size()..(run[run.len() - 1] + 1) * page_size())
            .collect()
    }
}
