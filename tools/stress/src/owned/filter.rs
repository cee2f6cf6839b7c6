//! The filters of regions, and their notes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use elbowroom::{Fault, FaultAccess, Region, Verdict, page_size};

use crate::model::Filter;

/// The notes of a filter.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) asked: AtomicU64,
    pub(super) offset: AtomicUsize,
    pub(super) is_write: AtomicBool,
    // Whether it saw a state that must not occur.
    pub(super) is_wrong: AtomicBool,
}

pub(super) fn filter(
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
