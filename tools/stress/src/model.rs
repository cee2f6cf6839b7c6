//! What a region and a tree of budgets should do, as naively as it can be written down.
//!
//! A page is a vector of bytes or it is not there. The rules are those of the documentation, not the library's code: a
//! fault is counted, the filter is asked, a window is cut to what is free and to what the limits leave.

use std::collections::BTreeMap;
use std::ops::Range;

use elbowroom::page_size;

/// Why a touch or a commit is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    PastEnd,
    Limit,
    /// By the budget of this index.
    Budget(usize),
    Filter,
    /// In a forked child there is nobody to ask.
    MonitorGone,
    /// An injected refusal.
    System,
}

/// What a region's filter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    None,
    Commits,
    /// Declines one page of so many.
    DeclinesEach(usize),
    /// Commits the page itself, and declines if that fails.
    CommitsItself,
    /// Commits the page itself, and declines all the same.
    CommitsAndDeclines,
    /// Touches another region at the same page, and declines if that is refused.
    TouchesAnother,
    /// Touches the page that faulted, which is refused, and commits.
    TouchesItself,
}

/// A budget of the model; index 0 is the topmost one.
struct Node {
    limit: usize,
    parent: Option<usize>,
    threshold: Option<usize>,
    committed: usize,
    peak: usize,
    is_due: bool,
    heard: u64,
}

/// What is outside the regions of a thread: its budgets, and the refusal that is planned.
pub(crate) struct Ground {
    nodes: Vec<Node>,
    // The next commit to refuse, counting down; 0: none.
    refuse: u64,
}

impl Ground {
    pub(crate) fn new() -> Ground {
        Ground {
            nodes: Vec::new(),
            refuse: 0,
        }
    }

    /// Adds a budget of so many pages; the parent is an index.
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

    /// Committed pages, the most there ever were, and how often the callback was called.
    pub(crate) fn figures(&self, budget: usize) -> (usize, usize, u64) {
        let node = &self.nodes[budget];
        (node.committed, node.peak, node.heard)
    }

    /// What may still be committed under a budget.
    pub(crate) fn room(&self, budget: Option<usize>) -> usize {
        self.path(budget)
            .map(|at| self.nodes[at].limit - self.nodes[at].committed)
            .min()
            .unwrap_or(usize::MAX)
    }

    /// Whether a charge to `below` is charged to `above`.
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

    /// The callbacks that are due are called.
    fn tell(&mut self, budget: Option<usize>) {
        for at in self.path(budget).collect::<Vec<_>>() {
            let node = &mut self.nodes[at];
            node.heard += u64::from(std::mem::take(&mut node.is_due));
        }
    }

    /// Plans the refusal of the nth commit from here.
    pub(crate) fn plan(&mut self, nth: u64) {
        self.refuse = nth;
    }

    /// Whether the planned refusal has happened; there is none from here on.
    pub(crate) fn end_plan(&mut self) -> bool {
        std::mem::take(&mut self.refuse) == 0
    }

    /// A commit is tried: whether the system refuses it.
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
    pub(crate) monitored: bool,
    // In a forked child: its monitor is the parent's.
    pub(crate) orphaned: bool,
    // The one that `TouchesAnother` touches.
    pub(crate) inner: Option<Box<Model>>,
    pub(crate) content: BTreeMap<usize, Box<[u8]>>,
    pub(crate) faults: u64,
    pub(crate) commits: u64,
    pub(crate) refused: u64,
    // How often the filter was asked, and of which page last.
    pub(crate) asked: u64,
    pub(crate) asked_page: usize,
}

/// Where an accessor was stopped, and why.
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
            monitored: false,
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

    /// Whether a touch of this page by a plain pointer surely works.
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

    /// A touch of a page; `pages` is the guard page behind the region.
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
                return Err(Why::MonitorGone);
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
        // The free pages around it in its aligned window: upwards first, then downwards.
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
            // Once more, the one page that is needed.
            run.truncate(1);
        }
        self.open(run);
        self.commits += 1;
        ground.tell(self.budget);
        Ok(())
    }

    /// Touches byte after byte of a range that ends behind the guard page at most, and gives the bytes of each page.
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
        // One call for each run of them.
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

    /// How many pages of a range are committed; `None` if it is not inside.
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

    /// The region is gone.
    pub(crate) fn end(&mut self, ground: &mut Ground) {
        ground.refund(self.budget, self.committed());
        self.content.clear();
    }

    /// The runs of committed pages, in bytes.
    pub(crate) fn committed_runs(&self) -> Vec<Range<usize>> {
        let pages: Vec<usize> = self.content.keys().copied().collect();
        let runs = pages.chunk_by(|before, after| before + 1 == *after);
        runs.map(|run| run[0] * page_size()..(run[run.len() - 1] + 1) * page_size())
            .collect()
    }
}
