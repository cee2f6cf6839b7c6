//! The mappings of a process, and sums over them. Independent of the system that they come from.

mod figures;
mod find;

use std::ops::Range;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::escape::{escaped, shortened};
pub use figures::{Figures, Kind};
pub use find::Wanted;

/// A range of addresses with one protection and one file, as the system reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Mapping {
    /// The address of the first byte.
    pub start: u64,
    /// The address past the last byte.
    pub end: u64,
    /// The use of the memory, found from its name and its neighbours.
    pub kind: Kind,
    /// A path, a given name, or the empty string. See [`escaped`].
    pub name: String,
    /// Readable, writable, executable, and then `p` for private or `s` for shared: `rw-p`. On Windows also `c` for
    /// copy-on-write, `i` for an image and `g` for a guard page.
    pub access: String,
    /// The start of the allocation that it is part of. `None` if the system does not report it.
    pub allocation: Option<u64>,
    /// The sizes.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub figures: Figures,
}

/// Adjacent mappings with the same name, which most likely were created by one call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize))]
pub struct Region {
    /// The address of the first byte.
    pub start: u64,
    /// The address past the last byte.
    pub end: u64,
    /// The use of the memory.
    pub kind: Kind,
    /// A path, a given name, or the empty string. See [`escaped`].
    pub name: String,
    /// The start of the allocation. `None` if the system does not report it.
    pub allocation: Option<u64>,
    /// The number of mappings in the region.
    pub mappings: usize,
    /// The sums over the mappings.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub figures: Figures,
}

/// The address space of a process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Snapshot {
    /// The process identifier.
    pub pid: u32,
    /// The path or name of its program.
    pub program: String,
    /// The size of a page in bytes.
    pub page_size_bytes: u64,
    /// The mappings, in order of address. They do not overlap.
    pub mappings: Vec<Mapping>,
}

impl Snapshot {
    /// Names the mappings at these addresses. The kernel merges adjacent mappings that are alike; a merged mapping
    /// of which nothing is committed is split again.
    pub(crate) fn name(&mut self, addresses: Range<u64>, name: &str) {
        let Range {
            start: first,
            end: last,
        } = addresses;
        let mut mappings = Vec::with_capacity(self.mappings.len() + 2);
        for mapping in self.mappings.drain(..) {
            let is_apart = mapping.end <= first || last <= mapping.start;
            let is_inside = first <= mapping.start && mapping.end <= last;
            if is_apart || (!is_inside && mapping.figures.committed_bytes > 0) {
                mappings.push(mapping);
                continue;
            }
            let (from, upto) = (first.max(mapping.start), last.min(mapping.end));
            for (start, end, is_known) in [
                (mapping.start, from, false),
                (from, upto, true),
                (upto, mapping.end, false),
            ] {
                if start < end {
                    let mut part = Mapping {
                        start,
                        end,
                        ..mapping.clone()
                    };
                    part.figures.reserved_bytes = end - start;
                    if is_known {
                        part.kind = Kind::Named;
                        name.clone_into(&mut part.name);
                    }
                    mappings.push(part);
                }
            }
        }
        self.mappings = mappings;
        self.unname_behind(last, name);
    }

    /// Removes the name from a region's guard page and table, which are not part of the memory that the program asked
    /// for. The system shows the region's name for them too. A following region of the same name gets its name back
    /// when it is named itself.
    fn unname_behind(&mut self, last: u64, name: &str) {
        let mut end = last;
        for mapping in self
            .mappings
            .iter_mut()
            .skip_while(|mapping| mapping.start < last)
        {
            if mapping.start != end || mapping.kind != Kind::Named || mapping.name != name {
                break;
            }
            end = mapping.end;
            mapping.kind = if mapping.figures.committed_bytes == 0 {
                Kind::Guard
            } else {
                Kind::Anonymous
            };
            mapping.name.clear();
        }
    }

    /// Returns the sums over all mappings.
    pub fn total(&self) -> Figures {
        sum(self.mappings.iter().map(|mapping| mapping.figures))
    }

    /// Returns the regions in order of address.
    pub fn regions(&self) -> Vec<Region> {
        let mut regions: Vec<Region> = Vec::new();
        for mapping in &self.mappings {
            match regions.last_mut() {
                Some(last) if last.goes_on_with(mapping) => {
                    last.end = mapping.end;
                    last.mappings += 1;
                    last.figures += mapping.figures;
                }
                _ => regions.push(Region {
                    start: mapping.start,
                    end: mapping.end,
                    kind: mapping.kind,
                    name: mapping.name.clone(),
                    allocation: mapping.allocation,
                    mappings: 1,
                    figures: mapping.figures,
                }),
            }
        }
        regions
    }

    /// Returns each kind that occurs, with the number of its regions and their sums.
    pub fn kinds(&self) -> Vec<(Kind, usize, Figures)> {
        let regions = self.regions();
        let of = |kind| {
            let figures: Vec<Figures> = regions
                .iter()
                .filter(|region| region.kind == kind)
                .map(|region| region.figures)
                .collect();
            (kind, figures.len(), sum(figures))
        };
        Kind::ALL
            .into_iter()
            .map(of)
            .filter(|&(_, count, _)| count > 0)
            .collect()
    }
}

impl Region {
    fn goes_on_with(&self, next: &Mapping) -> bool {
        self.end == next.start
            && self.kind == next.kind
            && self.name == next.name
            && self.allocation == next.allocation
    }

    /// Returns the name and kind of the region in a few words. `shorten` changes the name.
    pub fn label(&self, shorten: impl FnOnce(&str) -> String) -> String {
        if self.name.is_empty() {
            self.kind.word().to_owned()
        } else {
            format!("{} ({})", shorten(&self.name), self.kind.word())
        }
    }

    /// Returns the name as it can be shown, or its end if it has more than `columns` characters. A region without a
    /// name is described, as far as there is room, with its address.
    pub fn title(&self, columns: usize) -> String {
        title(self.kind, &self.name, self.start, columns)
    }
}

/// Returns the title of a region or of several with one name. See [`Region::title`].
pub(crate) fn title(kind: Kind, name: &str, start: u64, columns: usize) -> String {
    if !name.is_empty() {
        return shortened(&escaped(name), columns);
    }
    let what = match kind {
        Kind::Reservation => "committed in part",
        Kind::Reserved => "addresses only",
        Kind::Guard => "not accessible",
        _ => "no name",
    };
    [format!("{what}, at {start:x}"), format!("at {start:x}")]
        .into_iter()
        .find(|text| text.len() <= columns)
        .unwrap_or_else(|| shortened(&format!("{start:x}"), columns))
}

fn sum(figures: impl IntoIterator<Item = Figures>) -> Figures {
    let mut total = Figures::NONE;
    for figures in figures {
        total += figures;
    }
    total
}

#[cfg(test)]
pub(crate) mod tests;
