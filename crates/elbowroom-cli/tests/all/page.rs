//! `elbowroom page`: results against plain computations, the limit kept, and what is refused.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::common::files::{Folder, npy, ok, refused, spread};
use crate::common::{Outcome, elbowroom};
use elbowroom::page_size;

macro_rules! check_type {
    ($folder:expr, $type:ty, $from:expr) => {{
        let values: Vec<$type> = spread(5_000).map($from).collect();
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_ne_bytes())
            .collect();
        let name = stringify!($type);
        let location = $folder.file(name, &[&[7; 3], &bytes[..]].concat());
        let options = format!("{location} --dtype {name} --offset 3");
        let line = |command: &str| {
            let text = ok(&format!("page {command} {options}")).stdout;
            text.trim_end().parse::<$type>().unwrap()
        };
        let least = values
            .iter()
            .copied()
            .reduce(|a, b| if b < a { b } else { a })
            .unwrap();
        let most = values
            .iter()
            .copied()
            .reduce(|a, b| if b > a { b } else { a })
            .unwrap();
        assert_eq!((line("min"), line("max")), (least, most), "{name}");
        let sum = ok(&format!("page sum {options}")).stdout;
        let expected: f64 = values.iter().map(|&value| value as f64).sum();
        let found: f64 = sum.trim_end().parse().unwrap();
        assert!(
            (found - expected).abs() <= expected.abs() * 1e-9,
            "{name}: {found}, {expected}"
        );
        let cat = ok(&format!("page cat {options}")).stdout;
        let found: Vec<$type> = cat.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(found, values);
        let info = ok(&format!("page info {options} --json")).json();
        assert_eq!(
            (&info["dtype"], &info["elements"], &info["offset"]),
            (&name.into(), &5_000.into(), &3.into())
        );
    }};
}

#[test]
fn every_type_gives_what_a_plain_computation_gives() {
    let folder = Folder::new("types");
    check_type!(folder, u8, |number| (number >> 56) as u8);
    check_type!(folder, u16, |number| (number >> 48) as u16);
    check_type!(folder, u32, |number| (number >> 32) as u32);
    check_type!(folder, u64, |number| number);
    check_type!(folder, i8, |number| (number >> 56) as i8);
    check_type!(folder, i16, |number| (number >> 48) as i16);
    check_type!(folder, i32, |number| (number >> 32) as i32);
    check_type!(folder, i64, |number| number as i64);
    check_type!(folder, f32, |number| number as f32 / 1e15 - 7.5);
    check_type!(folder, f64, |number| number as f64 / 1e15 - 7.5);
}

#[test]
fn the_limit_is_kept_and_sums_are_exact() {
    let folder = Folder::new("limit");
    let count = 64 * page_size() / 8;
    let bytes: Vec<u8> = spread(count).flat_map(u64::to_ne_bytes).collect();
    let location = folder.file("a.u64", &bytes);
    let limit = 8 * page_size();
    let page = page_size();
    let options = format!("{location} --dtype u64 --resident {limit} --page {page}");
    let expected: u128 = spread(count).map(u128::from).sum();
    assert_eq!(
        ok(&format!("page sum {options}")).stdout,
        format!("{expected}\n")
    );
    let json = ok(&format!("page sum {options} --json")).json();
    assert_eq!(
        json["sum"],
        expected.to_string(),
        "more than 64 bits are a string"
    );
    assert_eq!(json["elements"], count);
    let resident = json["cost"]["bytes_resident_max"].as_u64().unwrap();
    assert!(resident as usize <= limit && resident > 0, "{json}");
    assert!(json["cost"]["bytes_read"].as_u64().unwrap() >= bytes.len() as u64);
    let last = spread(count)
        .enumerate()
        .max_by_key(|&(_, number)| number)
        .unwrap();
    let json = ok(&format!("page max {options} --json")).json();
    assert_eq!(
        (&json["index"], &json["max"]),
        (&last.0.into(), &last.1.into())
    );
}

#[test]
fn npy_files_say_what_they_are() {
    let folder = Folder::new("npy");
    let data: Vec<u8> = [3i16, -4, 5, 6, 7, 8]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let location = folder.file("a.NPY", &npy("<i2", "(2, 3)", &data));
    assert_eq!(ok(&format!("page sum {location}")).stdout, "25\n");
    assert_eq!(
        ok(&format!("page min {location} --dtype i16")).stdout,
        "-4\n"
    );
    let info = ok(&format!("page info {location} --json")).json();
    assert_eq!(info["npy"]["shape"], serde_json::json!([2, 3]));
    assert_eq!((&info["offset"], &info["bytes"]), (&128.into(), &12.into()));
    let text = ok(&format!("page info {location}")).stdout;
    assert!(
        text.contains("\nshape     [2, 3], the last axis varies fastest\n"),
        "{text}"
    );
    refused(
        &format!("page sum {location} --dtype f32"),
        "its elements are `<i2`",
    );
    refused(
        &format!("page sum {location} --offset 128"),
        "leave --offset out",
    );

    let other = folder.file("b.npy", &npy(">i4", "(1,)", &[0, 0, 0, 1]));
    refused(&format!("page sum {other}"), "byte order of other machines");
    let complex = folder.file("c.npy", &npy("<c8", "(1,)", &[0; 8]));
    refused(
        &format!("page sum {complex}"),
        "there is no type here for its elements, `<c8`",
    );
    refused(&format!("page info {complex}"), "`<c8`");
    let short = folder.file("d.npy", &npy("<i4", "(5,)", &[0; 8]));
    refused(
        &format!("page sum {short}"),
        "5 elements of 4 bytes were asked for",
    );
    let raw = folder.file("e.npy", &[1; 100]);
    refused(&format!("page sum {raw}"), "it is no .npy file");
}

#[test]
fn ranges_and_indices() {
    let folder = Folder::new("ranges");
    let bytes: Vec<u8> = (0..1000u32)
        .flat_map(|number| (number * 3).to_ne_bytes())
        .collect();
    let location = folder.file("a.u32", &bytes);
    let cat = |options: &str| ok(&format!("page cat {location} --dtype u32 {options}"));
    assert_eq!(cat("--range 3..5").stdout, "9\n12\n");
    assert_eq!(cat("--range 998..").stdout, "2994\n2997\n");
    assert_eq!(cat("--range 5..5").stdout, "");
    assert_eq!(
        cat("--range ..2 --json").json()["values"],
        serde_json::json!([0, 3])
    );
    refused(
        &format!("page cat {location} --dtype u32 --range 999..1001"),
        "not inside the 1000",
    );

    let gather = format!("page gather {location} --dtype u32");
    assert_eq!(ok(&format!("{gather} 999 0 7")).stdout, "2997\n0\n21\n");
    assert_eq!(
        ok(&format!("{gather} 1 1 --json")).json()["values"],
        serde_json::json!([3, 3])
    );
    refused(
        &format!("{gather} 0 1000"),
        "elements 1000..1001 are not inside",
    );

    let piped = |input: &str| {
        let mut command = elbowroom(&gather);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        Outcome::new(child.wait_with_output().unwrap())
    };
    assert_eq!(piped("5 6\n\n7").stdout, "15\n18\n21\n");
    assert_eq!(piped("").status, 0);
    let outcome = piped("5\nx");
    assert_eq!(outcome.status, 1);
    assert_eq!(
        outcome.stderr,
        "elbowroom: standard input: \"x\" is not an index\n"
    );
}

#[test]
fn numbers_that_are_none() {
    let folder = Folder::new("nan");
    let values = [1.5, f64::NAN, f64::NEG_INFINITY];
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_ne_bytes())
        .collect();
    let location = folder.file("a.f64", &bytes);
    let options = format!("{location} --dtype f64");
    assert_eq!(
        ok(&format!("page cat {options}")).stdout,
        "1.5\nNaN\n-inf\n"
    );
    for command in ["min", "max"] {
        let json = ok(&format!("page {command} {options} --json")).json();
        assert_eq!((&json[command], &json["index"]), (&"NaN".into(), &1.into()));
    }
    let json = ok(&format!("page cat {options} --json")).json();
    assert_eq!(json["values"], serde_json::json!([1.5, "NaN", "-inf"]));
}

#[test]
fn files_are_copied_whole_or_not_at_all() {
    let folder = Folder::new("copy");
    let bytes: Vec<u8> = spread(40 * page_size() / 8)
        .flat_map(u64::to_ne_bytes)
        .collect();
    let location = folder.file("a", &bytes);
    let target = folder.path("b");
    let limit = 4 * page_size();
    let json = ok(&format!(
        "page copy {location} {target} --resident {limit} --json"
    ))
    .json();
    assert_eq!(json["bytes"], bytes.len());
    assert!(
        json["cost"]["bytes_resident_max"].as_u64().unwrap() as usize <= limit,
        "{json}"
    );
    assert!(fs::read(&target).unwrap() == bytes);
    refused(
        &format!("page copy {location} {target} --offset 100"),
        "exists; --force replaces it",
    );
    assert!(fs::read(&target).unwrap() == bytes);
    ok(&format!(
        "page copy {location} {target} --offset 100 --force"
    ));
    assert!(fs::read(&target).unwrap() == bytes[100..]);
    // Onto itself: the part behind an offset.
    ok(&format!(
        "page copy {location} {location} --offset 8 --force"
    ));
    assert!(fs::read(&location).unwrap() == bytes[8..]);
    refused(
        &format!("page copy {location} s3://bucket/key"),
        "a copy is written to a path",
    );
    let nowhere = folder.path("none/b");
    refused(&format!("page copy {location} {nowhere}"), "cannot create ");
    assert_eq!(folder.names(), ["a", "b"], "no other file is left");
}

#[test]
fn what_cannot_be_opened_is_said() {
    let folder = Folder::new("refused");
    let location = folder.file("a", &[1; 10]);
    let missing = folder.path("none");
    refused(&format!("page sum {missing} --dtype u8"), "cannot open ");
    refused(&format!("page sum {location}"), "say with --dtype");
    refused(
        &format!("page sum {location} --dtype u64"),
        "not a whole number of elements",
    );
    refused(
        &format!("page sum {location} --dtype u8 --offset 11"),
        "fewer than the offset 11",
    );
    refused(
        &format!("page sum {location} --dtype u8 --page 5000"),
        "not a power of two",
    );
    refused(
        &format!("page sum {location} --dtype u8 --resident 100"),
        "less than a page",
    );
    if cfg!(not(feature = "remote")) {
        refused(
            "page sum s3://bucket/key --dtype u8",
            "cargo install --features remote",
        );
    }
    let empty = folder.file("empty", &[]);
    assert_eq!(ok(&format!("page sum {empty} --dtype f32")).stdout, "0.0\n");
    refused(
        &format!("page min {empty} --dtype f32"),
        "it has no elements",
    );
    let info = ok(&format!("page info {location}")).stdout;
    assert!(
        info.contains("elements  not known without --dtype\n"),
        "{info}"
    );
    assert!(info.contains("bytes     10 (10 B)\n"), "{info}");
}
