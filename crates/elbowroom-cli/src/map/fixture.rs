//! A snapshot for tests.

use elbowroom_map::{Figures, Kind, Mapping, Snapshot};

pub(super) const PAGE: u64 = 4096;

/// Returns a mapping of `pages` pages, all committed and one resident.
pub(super) fn mapping(start: u64, pages: u64, kind: Kind, name: &str) -> Mapping {
    let figures = Figures {
        reserved_bytes: pages * PAGE,
        committed_bytes: pages * PAGE,
        resident_bytes: Some(PAGE),
        ..Figures::NONE
    };
    let access = "rw-p".to_owned();
    Mapping {
        start,
        end: start + pages * PAGE,
        kind,
        name: name.to_owned(),
        access,
        allocation: None,
        figures,
    }
}

pub(super) fn snapshot() -> Snapshot {
    let mappings = vec![
        mapping(0x10_0000, 2, Kind::Image, "/bin/prog"),
        mapping(0x10_2000, 1, Kind::Image, "/bin/prog"),
        mapping(0x10_3000, 4, Kind::Heap, "[heap]"),
        mapping(0x20_0000, 1, Kind::Named, "cache of pages"),
        mapping(0x30_0000, 1, Kind::Named, "cache of names"),
        mapping(0x40_0000, 8, Kind::Anonymous, ""),
    ];
    Snapshot {
        pid: 17,
        program: "/bin/prog".to_owned(),
        page_size_bytes: PAGE,
        mappings,
    }
}
