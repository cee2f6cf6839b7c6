//! What a process has in its address space, and the sums over it. Knows nothing of where it comes from.

use std::ops::{AddAssign, Range};
use std::process;
use std::str::FromStr;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::os;
use crate::picture::Pages;

/// What a part of the address space is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Kind {
    /// Anonymous memory with a name, as regions have.
    Named,
    /// The C library's, or on Windows a heap of the process.
    Heap,
    /// Of a thread; on Linux the main thread's alone, the others' are anonymous.
    Stack,
    /// Private memory of which some is not accessible: reserved, and committed in parts.
    Reservation,
    /// Private memory without a name.
    Anonymous,
    /// Nothing but inaccessible addresses.
    Reserved,
    /// A few inaccessible pages that keep neighbours apart.
    Guard,
    /// Memory that processes share.
    Shared,
    /// A program or library.
    Image,
    /// Another file.
    File,
    /// The kernel's, mapped into every process.
    System,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 11] = [
        Kind::Named,
        Kind::Heap,
        Kind::Stack,
        Kind::Reservation,
        Kind::Anonymous,
        Kind::Reserved,
        Kind::Guard,
        Kind::Shared,
        Kind::Image,
        Kind::File,
        Kind::System,
    ];

    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Named => "named",
            Kind::Heap => "heap",
            Kind::Stack => "stack",
            Kind::Reservation => "reservation",
            Kind::Anonymous => "anonymous",
            Kind::Reserved => "reserved",
            Kind::Guard => "guard",
            Kind::Shared => "shared",
            Kind::Image => "image",
            Kind::File => "file",
            Kind::System => "system",
        }
    }
}

/// Sizes in bytes; `None` where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Figures {
    /// Addresses.
    pub reserved_bytes: u64,
    /// What may be touched.
    pub committed_bytes: u64,
    /// What counts towards the system's commit limit.
    pub charged_bytes: Option<u64>,
    /// What is in memory.
    pub resident_bytes: Option<u64>,
    /// What is in memory and has been written.
    pub dirty_bytes: Option<u64>,
    /// What is in memory as huge pages.
    pub huge_bytes: Option<u64>,
    /// What was moved out of memory.
    pub swapped_bytes: Option<u64>,
}

impl Figures {
    /// Nothing at all: what sums start from.
    pub const NONE: Figures = Figures {
        reserved_bytes: 0,
        committed_bytes: 0,
        charged_bytes: Some(0),
        resident_bytes: Some(0),
        dirty_bytes: Some(0),
        huge_bytes: Some(0),
        swapped_bytes: Some(0),
    };

    /// Each figure with its name.
    pub fn named(&self) -> [(&'static str, Option<u64>); 7] {
        [
            ("reserved", Some(self.reserved_bytes)),
            ("committed", Some(self.committed_bytes)),
            ("charged", self.charged_bytes),
            ("resident", self.resident_bytes),
            ("dirty", self.dirty_bytes),
            ("huge", self.huge_bytes),
            ("swapped", self.swapped_bytes),
        ]
    }
}

impl AddAssign for Figures {
    /// What is not known of one part is not known of the whole.
    fn add_assign(&mut self, other: Figures) {
        let add = |a: &mut Option<u64>, b: Option<u64>| *a = a.zip(b).map(|(a, b)| a + b);
        self.reserved_bytes += other.reserved_bytes;
        self.committed_bytes += other.committed_bytes;
        add(&mut self.charged_bytes, other.charged_bytes);
        add(&mut self.resident_bytes, other.resident_bytes);
        add(&mut self.dirty_bytes, other.dirty_bytes);
        add(&mut self.huge_bytes, other.huge_bytes);
        add(&mut self.swapped_bytes, other.swapped_bytes);
    }
}

/// The smallest part that the system tells of: one protection, one file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Mapping {
    /// The address of the first byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// What it is for, by its name and its neighbours.
    pub kind: Kind,
    /// A path, a name given, or the empty string.
    pub name: String,
    /// Readable, writable, executable, and then `p` for private, `s` for shared: `rw-p`. On Windows also `c` for what
    /// is copied when written, `i` for an image and `g` for a guard page.
    pub access: String,
    /// Where the allocation starts that it is part of; `None` where the system does not tell.
    pub allocation: Option<u64>,
    /// Its sizes.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub figures: Figures,
}

/// What was made by one call, as far as can be told: mappings of one name that touch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize))]
pub struct Region {
    /// The address of the first byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// What it is for.
    pub kind: Kind,
    /// A path, a name given, or the empty string.
    pub name: String,
    /// Where the allocation starts that it is; `None` where the system does not tell.
    pub allocation: Option<u64>,
    /// How many mappings it is made of.
    pub mappings: usize,
    /// The sums over them.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub figures: Figures,
}

/// A process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Snapshot {
    /// The system's number of the process.
    pub pid: u32,
    /// The path or name of its program.
    pub program: String,
    /// The size of a page.
    pub page_size_bytes: u64,
    /// By address; none lies in another.
    pub mappings: Vec<Mapping>,
}

impl Snapshot {
    /// This process, now. Its elbowroom regions have their names, also where the system shows none; those without a
    /// name are what they look like to the system.
    ///
    /// # Errors
    /// If the system does not tell: see [the platforms](crate#platforms).
    pub fn of_self() -> Result<Snapshot, Error> {
        let before = elbowroom::regions();
        let mut snapshot = os::snapshot(process::id())?;
        // What has come or gone meanwhile may be in the snapshot or not.
        let after = elbowroom::regions();
        for region in before.iter().filter(|region| !region.name.is_empty()) {
            if after.iter().any(|other| (other.address, &other.name) == (region.address, &region.name)) {
                let start = region.address as u64;
                snapshot.name(start..start + region.stats.reserved_bytes as u64, &region.name);
            }
        }
        Ok(snapshot)
    }

    /// Another process, now. Reading takes a while, in which it goes on.
    ///
    /// # Errors
    /// [`is_gone`](Error::is_gone) if there is no such process or it ends meanwhile, and
    /// [`is_forbidden`](Error::is_forbidden) if this program may not look at it.
    pub fn of_process(pid: u32) -> Result<Snapshot, Error> {
        os::snapshot(pid)
    }

    /// What each page of a region is, now.
    ///
    /// # Errors
    /// As [`of_process`](Snapshot::of_process).
    pub fn pages(&self, region: Region) -> Result<Pages<'_>, Error> {
        let runs = os::page_runs(self, &region)?;
        Ok(Pages { snapshot: self, region, runs })
    }

    /// Gives what lies at these addresses a name. The kernel makes one mapping of neighbours that are alike; one of
    /// which nothing is committed is taken apart again.
    fn name(&mut self, addresses: Range<u64>, name: &str) {
        let Range { start: first, end: last } = addresses;
        let mut mappings = Vec::with_capacity(self.mappings.len() + 2);
        for mapping in self.mappings.drain(..) {
            let is_apart = mapping.end <= first || last <= mapping.start;
            let is_inside = first <= mapping.start && mapping.end <= last;
            if is_apart || (!is_inside && mapping.figures.committed_bytes > 0) {
                mappings.push(mapping);
                continue;
            }
            let (from, upto) = (first.max(mapping.start), last.min(mapping.end));
            for (start, end, is_known) in [(mapping.start, from, false), (from, upto, true), (upto, mapping.end, false)]
            {
                if start < end {
                    let mut part = Mapping { start, end, ..mapping.clone() };
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

    /// Where the system shows names, a region's guard page and table have it as well: they are no part of what the
    /// program asked for. A region of the same name that lies behind gets it back when its turn comes.
    fn unname_behind(&mut self, last: u64, name: &str) {
        let mut end = last;
        for mapping in self.mappings.iter_mut().skip_while(|mapping| mapping.start < last) {
            if mapping.start != end || mapping.kind != Kind::Named || mapping.name != name {
                break;
            }
            end = mapping.end;
            mapping.kind = if mapping.figures.committed_bytes == 0 { Kind::Guard } else { Kind::Anonymous };
            mapping.name.clear();
        }
    }

    /// The sums over all mappings.
    pub fn total(&self) -> Figures {
        sum(self.mappings.iter().map(|mapping| mapping.figures))
    }

    /// The mappings, put together to regions, by address.
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

    /// The kinds that there are, with how many regions and their sums.
    pub fn kinds(&self) -> Vec<(Kind, usize, Figures)> {
        let regions = self.regions();
        let of = |kind| {
            let figures: Vec<Figures> =
                regions.iter().filter(|region| region.kind == kind).map(|region| region.figures).collect();
            (kind, figures.len(), sum(figures))
        };
        Kind::ALL.into_iter().map(of).filter(|&(_, count, _)| count > 0).collect()
    }

    /// The region that an address lies in, or the one that is called so: by its whole name, else by a part of it or by
    /// its kind.
    ///
    /// # Errors
    /// If there is none, or several.
    pub fn find(&self, wanted: &Wanted) -> Result<Region, Error> {
        let regions = self.regions();
        match wanted {
            Wanted::Address(address) => {
                let found = regions.into_iter().find(|region| (region.start..region.end).contains(address));
                found.ok_or_else(|| Error::other(format!("nothing is mapped at {address:#x}")))
            }
            Wanted::Name(name) => {
                let mut found: Vec<Region> = regions.into_iter().filter(|region| region.is_called(name)).collect();
                // The same name in full is better than as a part.
                if let Some(exact) = found.iter().position(|region| region.name == *name) {
                    return Ok(found.swap_remove(exact));
                }
                match found.len() {
                    0 => Err(Error::other(format!(
                        "no region is called {name:?}; the table of all regions has the names"
                    ))),
                    1 => Ok(found.swap_remove(0)),
                    count => {
                        let first: Vec<String> =
                            found.iter().take(3).map(|region| format!("{:#x} {}", region.start, region.name)).collect();
                        let first = first.join(", ");
                        Err(Error::other(format!("{count} regions are called {name:?}: {first} ...; take an address")))
                    }
                }
            }
        }
    }
}

impl Region {
    fn goes_on_with(&self, next: &Mapping) -> bool {
        self.end == next.start && self.kind == next.kind && self.name == next.name && self.allocation == next.allocation
    }

    /// What it is in a few words: its name, shortened by `shorten`, and its kind.
    pub fn label(&self, shorten: impl FnOnce(&str) -> String) -> String {
        if self.name.is_empty() {
            self.kind.word().to_owned()
        } else {
            format!("{} ({})", shorten(&self.name), self.kind.word())
        }
    }

    fn is_called(&self, name: &str) -> bool {
        self.name.contains(name) || self.kind.word() == name
    }
}

/// Which region is wanted. As text, an address starts with `0x`, or is 8 or more hexadecimal digits, as in
/// /proc/PID/maps; anything else is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one that this address is in.
    Address(u64),
    /// A name or a part of one, or a kind.
    Name(String),
}

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Wanted, Error> {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let is_bare = text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match digits.or_else(|| is_bare.then_some(text)) {
            Some(digits) => match u64::from_str_radix(digits, 16) {
                Ok(address) => Ok(Wanted::Address(address)),
                Err(_) => Err(Error::other("an address is 0x and up to 16 hexadecimal digits")),
            },
            None if text.is_empty() => Err(Error::other("a name or an address is needed")),
            None => Ok(Wanted::Name(text.to_owned())),
        }
    }
}

fn sum(figures: impl IntoIterator<Item = Figures>) -> Figures {
    let mut total = Figures::NONE;
    for figures in figures {
        total += figures;
    }
    total
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const PAGE: u64 = 4096;

    /// A mapping of so many pages, all committed, one resident.
    pub(crate) fn mapping(start: u64, pages: u64, kind: Kind, name: &str) -> Mapping {
        let figures = Figures {
            reserved_bytes: pages * PAGE,
            committed_bytes: pages * PAGE,
            resident_bytes: Some(PAGE),
            ..Figures::NONE
        };
        Mapping {
            start,
            end: start + pages * PAGE,
            kind,
            name: name.to_owned(),
            access: "rw-p".to_owned(),
            allocation: None,
            figures,
        }
    }

    pub(crate) fn snapshot() -> Snapshot {
        let mappings = vec![
            mapping(0x10_0000, 2, Kind::Image, "/bin/prog"),
            mapping(0x10_2000, 1, Kind::Image, "/bin/prog"),
            mapping(0x10_3000, 4, Kind::Heap, "[heap]"),
            mapping(0x20_0000, 1, Kind::Named, "cache of pages"),
            mapping(0x30_0000, 1, Kind::Named, "cache of names"),
            mapping(0x40_0000, 8, Kind::Anonymous, ""),
        ];
        Snapshot { pid: 17, program: "/bin/prog".to_owned(), page_size_bytes: PAGE, mappings }
    }

    #[test]
    fn mappings_of_one_name_that_touch_are_a_region() {
        let regions = snapshot().regions();
        assert_eq!(regions.len(), 5);
        let program = &regions[0];
        assert_eq!((program.start, program.end, program.mappings), (0x10_0000, 0x10_3000, 2));
        assert_eq!(program.figures.reserved_bytes, 3 * PAGE);
        assert_eq!(program.figures.resident_bytes, Some(2 * PAGE));
    }

    #[test]
    fn allocations_are_kept_apart_where_they_are_known() {
        let mut snapshot = snapshot();
        snapshot.mappings[1].allocation = Some(0x10_2000);
        assert_eq!(snapshot.regions().len(), 6);
    }

    #[test]
    fn sums_are_over_all() {
        let snapshot = snapshot();
        assert_eq!(snapshot.total().reserved_bytes, 17 * PAGE);
        let kinds = snapshot.kinds();
        let counts: Vec<(&str, usize)> = kinds.iter().map(|(kind, count, _)| (kind.word(), *count)).collect();
        assert_eq!(counts, [("named", 2), ("heap", 1), ("anonymous", 1), ("image", 1)]);
        assert_eq!(sum(kinds.iter().map(|&(_, _, figures)| figures)), snapshot.total());
    }

    #[test]
    fn what_is_not_known_of_a_part_is_not_known_of_the_whole() {
        let mut snapshot = snapshot();
        snapshot.mappings[3].figures.dirty_bytes = None;
        assert_eq!(snapshot.total().dirty_bytes, None);
        assert_eq!(snapshot.total().huge_bytes, Some(0));
    }

    #[test]
    fn regions_are_found_by_address_and_name() {
        let snapshot = snapshot();
        let find = |text: &str| snapshot.find(&text.parse().unwrap());
        let refused = |text: &str| find(text).unwrap_err().to_string();
        assert_eq!(find("0x102fff").unwrap().name, "/bin/prog");
        assert_eq!(find("00103000").unwrap().kind, Kind::Heap);
        assert_eq!(find("of pages").unwrap().start, 0x20_0000);
        assert_eq!(find("prog").unwrap().kind, Kind::Image);
        assert_eq!(find("anonymous").unwrap().start, 0x40_0000);
        assert!(refused("0x99").contains("nothing is mapped at 0x99"));
        assert!(refused("nope").contains("no region is called"));
        assert!(refused("cache").starts_with("2 regions are called \"cache\": 0x200000"));
        for text in ["0x", "0x12345678123456789", ""] {
            assert!(text.parse::<Wanted>().is_err(), "{text}");
        }
        assert_eq!("cafe".parse::<Wanted>().unwrap(), Wanted::Name("cafe".to_owned()));
    }

    #[test]
    fn what_is_known_by_name_is_named() {
        let mut snapshot = snapshot();
        // Reserved, and more of it than is known.
        let mut reserved = mapping(0x50_0000, 8, Kind::Reserved, "");
        reserved.figures = Figures { reserved_bytes: 8 * PAGE, ..Figures::NONE };
        snapshot.mappings.push(reserved);
        let before = snapshot.total();
        snapshot.name(0x40_0000..0x40_8000, "mine");
        snapshot.name(0x50_2000..0x50_4000, "mine, too");
        // Some of a mapping that is committed: there is no telling which figures are whose.
        snapshot.name(0x20_0800..0x20_1000, "not mine");
        let names: Vec<&str> = snapshot.mappings[3..].iter().map(|mapping| mapping.name.as_str()).collect();
        assert_eq!(names, ["cache of pages", "cache of names", "mine", "", "mine, too", ""]);
        let sizes: Vec<u64> =
            snapshot.mappings[6..].iter().map(|mapping| mapping.figures.reserved_bytes / PAGE).collect();
        assert_eq!(sizes, [2, 2, 4]);
        assert_eq!(snapshot.total(), before);
    }

    /// Two regions of one name, one behind the other, as a kernel shows them that keeps names: all named, and what is
    /// alike and touches in one mapping.
    #[test]
    fn guard_pages_and_tables_are_no_part_of_a_region() {
        let reserved = |start, pages| Mapping {
            figures: Figures { reserved_bytes: pages * PAGE, ..Figures::NONE },
            ..mapping(start, pages, Kind::Named, "pool")
        };
        let mut snapshot = Snapshot { mappings: Vec::new(), ..snapshot() };
        // The first: 4 pages, the guard, a page of table. The second: 2 pages and the guard.
        snapshot.mappings = vec![
            mapping(0x10_0000, 3, Kind::Named, "pool"),
            reserved(0x10_3000, 2),
            mapping(0x10_5000, 1, Kind::Named, "pool"),
            reserved(0x10_6000, 3),
            mapping(0x20_0000, 1, Kind::Named, "pool"),
        ];
        snapshot.name(0x10_0000..0x10_4000, "pool");
        snapshot.name(0x10_6000..0x10_8000, "pool");
        let regions = snapshot.regions();
        let seen: Vec<(Kind, u64, u64)> =
            regions.iter().map(|region| (region.kind, region.start, region.figures.reserved_bytes / PAGE)).collect();
        assert_eq!(
            seen,
            [
                (Kind::Named, 0x10_0000, 4),
                (Kind::Guard, 0x10_4000, 1),
                (Kind::Anonymous, 0x10_5000, 1),
                (Kind::Named, 0x10_6000, 2),
                (Kind::Guard, 0x10_8000, 1),
                (Kind::Named, 0x20_0000, 1),
            ]
        );
    }

    #[test]
    #[cfg(feature = "serde")]
    fn it_survives_json() {
        let snapshot = snapshot();
        let json = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), snapshot);
    }
}
