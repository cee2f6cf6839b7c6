//! Sums, regions and names of made-up mappings.

use super::*;

pub(crate) const PAGE: u64 = 4096;

/// Returns a mapping of `pages` pages, all committed and one resident.
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
    Snapshot {
        pid: 17,
        program: "/bin/prog".to_owned(),
        page_size_bytes: PAGE,
        mappings,
    }
}

#[test]
fn mappings_of_one_name_that_touch_are_a_region() {
    let regions = snapshot().regions();
    assert_eq!(regions.len(), 5);
    let program = &regions[0];
    assert_eq!(
        (program.start, program.end, program.mappings),
        (0x10_0000, 0x10_3000, 2)
    );
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
    let counts: Vec<(&str, usize)> = kinds
        .iter()
        .map(|(kind, count, _)| (kind.word(), *count))
        .collect();
    assert_eq!(
        counts,
        [("named", 2), ("heap", 1), ("anonymous", 1), ("image", 1)]
    );
    assert_eq!(
        sum(kinds.iter().map(|&(_, _, figures)| figures)),
        snapshot.total()
    );
}

#[test]
fn a_sum_with_an_unknown_part_is_unknown() {
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
    assert_eq!(
        "cafe".parse::<Wanted>().unwrap(),
        Wanted::Name("cafe".to_owned())
    );
}

#[test]
fn named_ranges_get_their_names() {
    let mut snapshot = snapshot();
    // A reserved mapping that is larger than the library's range.
    let mut reserved = mapping(0x50_0000, 8, Kind::Reserved, "");
    reserved.figures = Figures {
        reserved_bytes: 8 * PAGE,
        ..Figures::NONE
    };
    snapshot.mappings.push(reserved);
    let before = snapshot.total();
    snapshot.name(0x40_0000..0x40_8000, "mine");
    snapshot.name(0x50_2000..0x50_4000, "mine, too");
    // A part of a committed mapping: its share of the figures is not known.
    snapshot.name(0x20_0800..0x20_1000, "not mine");
    let names: Vec<&str> = snapshot.mappings[3..]
        .iter()
        .map(|mapping| mapping.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "cache of pages",
            "cache of names",
            "mine",
            "",
            "mine, too",
            ""
        ]
    );
    let sizes: Vec<u64> = snapshot.mappings[6..]
        .iter()
        .map(|mapping| mapping.figures.reserved_bytes / PAGE)
        .collect();
    assert_eq!(sizes, [2, 2, 4]);
    assert_eq!(snapshot.total(), before);
}

/// Two adjacent regions of one name, on a kernel that stores names: all mappings are named, and alike neighbours are
/// merged.
#[test]
fn guard_pages_and_tables_are_no_part_of_a_region() {
    let reserved = |start, pages| Mapping {
        figures: Figures {
            reserved_bytes: pages * PAGE,
            ..Figures::NONE
        },
        ..mapping(start, pages, Kind::Named, "pool")
    };
    let mut snapshot = Snapshot {
        mappings: Vec::new(),
        ..snapshot()
    };
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
    let seen: Vec<(Kind, u64, u64)> = regions
        .iter()
        .map(|region| {
            (
                region.kind,
                region.start,
                region.figures.reserved_bytes / PAGE,
            )
        })
        .collect();
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
