//! The mechanisms that are compared: ways of getting memory.

use std::fmt;

use elbowroom::{Backend, Growth, Region, RegionBuilder, Verdict, page_size};
use elbowroom_measure::{Pages, UpFront};
use serde::{Deserialize, Serialize};

use crate::size::human;

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
    Monitored,
}

/// The mechanism with which the others are compared.
pub(crate) const BASELINE: Mechanism = Mechanism::UpFront(Pages::Demand);

/// The windows. Those no larger than a page are left out.
const WINDOWS: [usize; 7] = [
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
];

/// Returns all mechanisms, the baseline first.
pub(crate) fn all() -> Vec<Mechanism> {
    let windows = WINDOWS
        .into_iter()
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
        Mechanism::Monitored,
    ])
    .collect()
}

/// The name for people.
impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = human(page_size() as u64);
        match self {
            Mechanism::UpFront(Pages::Demand) => write!(f, "up front, {page} on demand"),
            Mechanism::UpFront(Pages::Populated) => write!(f, "up front, {page} populated"),
            Mechanism::UpFront(Pages::HugePopulated) => f.write_str("up front, huge, populated"),
            Mechanism::Adaptive => f.write_str("on touch, the default"),
            Mechanism::AdaptiveSmallPages => f.write_str("on touch, no huge pages"),
            Mechanism::Window(0) => f.write_str("on touch, one page a fault"),
            Mechanism::Window(bytes) => write!(f, "on touch, {} a fault", human(*bytes as u64)),
            Mechanism::Userfault => f.write_str("userfaultfd, by signal"),
            Mechanism::UserfaultServed => f.write_str("userfaultfd, by a thread"),
            Mechanism::Monitored => f.write_str("filter on its own thread"),
        }
    }
}

impl Mechanism {
    /// Returns the name for programs, which is the same in every version.
    pub(crate) fn id(self) -> String {
        match self {
            Mechanism::UpFront(Pages::Demand) => "up-front".to_owned(),
            Mechanism::UpFront(Pages::Populated) => "up-front-populated".to_owned(),
            Mechanism::UpFront(Pages::HugePopulated) => "up-front-huge".to_owned(),
            Mechanism::Adaptive => "adaptive".to_owned(),
            Mechanism::AdaptiveSmallPages => "adaptive-small-pages".to_owned(),
            Mechanism::Window(0) => "page".to_owned(),
            Mechanism::Window(bytes) => format!("window-{}", human(bytes as u64).replace(' ', "")),
            Mechanism::Userfault => "userfaultfd".to_owned(),
            Mechanism::UserfaultServed => "userfaultfd-served".to_owned(),
            Mechanism::Monitored => "monitored".to_owned(),
        }
    }

    /// Returns whether a sandbox (seccomp) may end the process for the mechanism's system calls. Such a mechanism is
    /// tried only in a child process.
    pub(crate) fn may_end_the_process(self) -> bool {
        matches!(self, Mechanism::Userfault | Mechanism::UserfaultServed)
    }

    /// Returns whether only the touching thread works.
    pub(crate) fn has_one_thread(self) -> bool {
        !matches!(self, Mechanism::UserfaultServed | Mechanism::Monitored)
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
            Mechanism::Monitored => region.filter(|_| Verdict::Commit).filter_threads(1),
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
                    region
                        .try_write(number * page, 1u8)
                        .map_err(|error| error.to_string())?;
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
            assert!(
                mechanism.to_string().len() <= super::super::view::NAME_COLUMNS,
                "{mechanism}"
            );
            assert!(!mechanism.id().contains(' '), "{mechanism:?}");
            for other in &all[..at] {
                assert_ne!(mechanism.id(), other.id());
                assert_ne!(mechanism.to_string(), other.to_string());
            }
            let text = serde_json::to_string(mechanism).unwrap();
            assert_eq!(
                serde_json::from_str::<Mechanism>(&text).unwrap(),
                *mechanism
            );
        }
    }

    #[test]
    fn touched_pages_are_committed() {
        let len = 64 * page_size();
        for mechanism in [
            BASELINE,
            Mechanism::Adaptive,
            Mechanism::Window(0),
            Mechanism::Monitored,
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
        assert!(
            memory
                .touch([64].into_iter())
                .unwrap_err()
                .contains("not inside")
        );
    }
}
