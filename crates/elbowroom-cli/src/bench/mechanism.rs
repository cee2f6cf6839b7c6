//! The mechanisms that are compared: ways of getting memory.

use std::fmt;

use elbowroom::{Backend, Growth, Region, RegionBuilder, Verdict, page_size};
use elbowroom_measure::{Pages, UpFront};
use serde::{Deserialize, Serialize};

use crate::size::Size;

/// A way in which memory becomes committed and resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mechanism {
    /// All of it committed before the first touch.
    UpFront(Pages),
    /// A region with default settings.
    Adaptive,
    /// The same without huge pages.
    AdaptiveSmallPages,
    /// A region that commits a fixed window of this number of bytes at each fault. A window of 0 is a page.
    Window(usize),
    /// Backends other than page protection.
    Userfault,
    UserfaultServed,
    /// A region whose filter runs on a separate thread.
    FilterThread,
}

/// The mechanism with which the others are compared.
pub(crate) const BASELINE: Mechanism = Mechanism::UpFront(Pages::Demand);

/// Returns all mechanisms, the baseline first.
pub(crate) fn all() -> Vec<Mechanism> {
    // 4 KiB to 16 MiB. Those no larger than a page are left out.
    let windows = (12..=24).step_by(2).map(|bits| 1 << bits);
    let windows = windows
        .filter(|&bytes| bytes > page_size())
        .map(Mechanism::Window);
    [
        BASELINE,
        Mechanism::UpFront(Pages::Populated),
        Mechanism::UpFront(Pages::HugePopulated),
        Mechanism::Adaptive,
        Mechanism::AdaptiveSmallPages,
        Mechanism::Window(0),
    ]
    .into_iter()
    .chain(windows)
    .chain([
        Mechanism::Userfault,
        Mechanism::UserfaultServed,
        Mechanism::FilterThread,
    ])
    .collect()
}

/// The name for people.
impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().1)
    }
}

impl Mechanism {
    /// Returns the name for programs, which is the same in every version.
    pub(crate) fn id(self) -> String {
        self.names().0
    }

    /// Returns the name for programs, and the name for people.
    fn names(self) -> (String, String) {
        let page = Size(page_size() as u64);
        let named = |id: &str, name: &str| (id.to_owned(), name.to_owned());
        match self {
            Mechanism::UpFront(Pages::Demand) => {
                named("up-front", &format!("up front, {page} on demand"))
            }
            Mechanism::UpFront(Pages::Populated) => {
                named("up-front-populated", &format!("up front, {page} populated"))
            }
            Mechanism::UpFront(Pages::HugePopulated) => {
                named("up-front-huge", "up front, huge, populated")
            }
            Mechanism::Adaptive => named("adaptive", "on touch, the default"),
            Mechanism::AdaptiveSmallPages => {
                named("adaptive-small-pages", "on touch, no huge pages")
            }
            Mechanism::Window(0) => named("page", "on touch, one page a fault"),
            Mechanism::Window(bytes) => {
                let size = Size(bytes as u64).to_string();
                let id = format!("window-{}", size.replace(' ', ""));
                (id, format!("on touch, {size} a fault"))
            }
            Mechanism::Userfault => named("userfaultfd", "userfaultfd, by signal"),
            Mechanism::UserfaultServed => named("userfaultfd-served", "userfaultfd, by a thread"),
            Mechanism::FilterThread => named("filter-thread", "filter on its own thread"),
        }
    }

    /// Returns whether a sandbox (seccomp) may end the process for the mechanism's system calls. Such a mechanism is
    /// tried only in a child process.
    pub(crate) fn may_end_the_process(self) -> bool {
        matches!(self, Mechanism::Userfault | Mechanism::UserfaultServed)
    }

    /// Returns whether only the touching thread works.
    pub(crate) fn has_one_thread(self) -> bool {
        !matches!(self, Mechanism::UserfaultServed | Mechanism::FilterThread)
    }

    /// Makes memory of `len` bytes. Fails with the reason if this system cannot.
    pub(crate) fn make(self, len: usize) -> Result<Memory, String> {
        let pages = match self {
            Mechanism::UpFront(pages) => {
                return UpFront::with_pages(len, pages).map(Memory::UpFront);
            }
            Mechanism::Window(bytes) => Some((bytes / page_size()).max(1)),
            _ => None,
        };
        let region = Region::builder(len).growth(pages.map_or_else(Growth::default, Growth::Pages));
        let region: RegionBuilder = match self {
            Mechanism::AdaptiveSmallPages => region.huge_pages(false),
            Mechanism::Userfault => region.backend(Backend::Userfault),
            Mechanism::UserfaultServed => region.backend(Backend::UserfaultMonitor),
            Mechanism::FilterThread => region.filter(|_| Verdict::Commit).filter_threads(1),
            _ => region,
        };
        region
            .build()
            .map(Memory::OnTouch)
            .map_err(|error| error.to_string())
    }
}

/// Memory to touch.
pub(crate) enum Memory {
    UpFront(UpFront),
    OnTouch(Region),
}

impl Memory {
    /// Writes a byte to each of these pages.
    pub(crate) fn touch(&mut self, pages: impl Iterator<Item = usize>) -> Result<(), String> {
        let page = page_size();
        match self {
            Memory::UpFront(block) => pages.for_each(|number| block.write(number * page, 1)),
            Memory::OnTouch(region) => {
                for number in pages {
                    let written = region.try_write(number * page, 1u8);
                    written.map_err(|error| error.to_string())?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn committed_bytes(&self) -> usize {
        match self {
            Memory::UpFront(block) => block.len(),
            Memory::OnTouch(region) => region.stats().committed_bytes,
        }
    }

    /// Returns the number of faults that the library resolved.
    pub(crate) fn library_faults(&self) -> u64 {
        match self {
            Memory::UpFront(_) => 0,
            Memory::OnTouch(region) => region.stats().faults,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_the_table() {
        let all = all();
        assert_eq!(all[0], BASELINE);
        for (at, mechanism) in all.iter().enumerate() {
            let columns = mechanism.to_string().len();
            assert!(columns <= super::super::view::NAME_COLUMNS, "{mechanism}");
            assert!(!mechanism.id().contains(' '), "{mechanism:?}");
            for other in &all[..at] {
                assert_ne!(mechanism.id(), other.id());
                assert_ne!(mechanism.to_string(), other.to_string());
            }
        }
    }

    #[test]
    fn touched_pages_are_committed() {
        let len = 64 * page_size();
        for mechanism in [
            BASELINE,
            Mechanism::Adaptive,
            Mechanism::Window(0),
            Mechanism::FilterThread,
        ] {
            let mut memory = mechanism.make(len).unwrap();
            memory.touch(0..64).unwrap();
            assert_eq!(memory.committed_bytes(), len, "{mechanism}");
            let is_on_touch = matches!(memory, Memory::OnTouch(_));
            assert_eq!(memory.library_faults() > 0, is_on_touch, "{mechanism}");
        }
        let mut memory = Mechanism::Window(4 * page_size()).make(len).unwrap();
        memory.touch([0, 40].into_iter()).unwrap();
        assert_eq!(memory.committed_bytes(), 8 * page_size());
        let refused = memory.touch([64].into_iter()).unwrap_err();
        assert!(refused.contains("not inside"), "{refused}");
    }
}
