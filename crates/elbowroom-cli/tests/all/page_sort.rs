//! `elbowroom page sort`: against a `Vec`, and what is refused.

use std::fs;

use crate::common::files::{Folder, npy, ok, refused, spread};
use elbowroom::page_size;

fn bytes(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_ne_bytes()).collect()
}

macro_rules! check_type {
    ($folder:expr, $type:ty, $order:expr, $from:expr) => {{
        let name = stringify!($type);
        // The last of them is no multiple of a page.
        let count = times_limit() * 2 * page_size() / size_of::<$type>() + 5;
        let mut values: Vec<$type> = spread(count).map($from).collect();
        let bytes = |values: &[$type]| -> Vec<u8> { values.iter().flat_map(|value| value.to_ne_bytes()).collect() };
        let location = $folder.file(name, &[&[7; 3], &bytes(&values)[..]].concat());
        values.sort_by($order);
        let limit = 2 * page_size();
        let threads = 1 + size_of::<$type>() % 3;
        let page = page_size();
        ok(&format!(
            "page sort {location} --dtype {name} --offset 3 --resident {limit} --page {page} --threads {threads}"
        ));
        let expected = [&[7; 3], &bytes(&values)[..]].concat();
        assert!(fs::read(&location).unwrap() == expected, "{name}");
        assert_eq!($folder.names(), [name], "no other file is left");
        fs::remove_file(&location).unwrap();
    }};
}

/// How many times larger than the limit a file is: 64 with pages of 4 KiB, and less with larger ones, which an emulator
/// has.
fn times_limit() -> usize {
    (64 << 12) / page_size()
}

#[test]
fn every_type_is_sorted_as_a_vec() {
    let folder = Folder::new("sort-types");
    check_type!(folder, u8, u8::cmp, |number| (number >> 56) as u8);
    check_type!(folder, u16, u16::cmp, |number| (number >> 48) as u16);
    check_type!(folder, u32, u32::cmp, |number| (number >> 32) as u32);
    check_type!(folder, u64, u64::cmp, |number| number);
    check_type!(folder, i8, i8::cmp, |number| (number >> 56) as i8);
    check_type!(folder, i16, i16::cmp, |number| (number >> 48) as i16);
    check_type!(folder, i32, i32::cmp, |number| (number >> 32) as i32);
    check_type!(folder, i64, i64::cmp, |number| number as i64);
    // Any bits: also both kinds of NaN, both zeros, and infinities.
    check_type!(folder, f32, f32::total_cmp, |number| f32::from_bits(
        (number >> 32) as u32
    ));
    check_type!(folder, f64, f64::total_cmp, f64::from_bits);
}

#[test]
fn the_rest_of_a_file_stays() {
    let folder = Folder::new("sort-rest");
    let data: Vec<u8> = [3i16, -4, 5, 6, -7, 8]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let sorted: Vec<u8> = [-7i16, -4, 3, 5, 6, 8]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let location = folder.file(
        "a.npy",
        &[&npy("<i2", "(2, 3)", &data)[..], b"behind"].concat(),
    );
    let json = ok(&format!("page sort {location} --json")).json();
    assert_eq!((&json["elements"], &json["bytes"]), (&6.into(), &12.into()));
    let expected = [&npy("<i2", "(2, 3)", &sorted)[..], b"behind"].concat();
    assert!(fs::read(&location).unwrap() == expected);
    assert_eq!(folder.names(), ["a.npy"]);
}

#[test]
fn no_element_and_one() {
    let folder = Folder::new("sort-few");
    for data in [&[][..], &[7; 8]] {
        let location = folder.file("a", data);
        ok(&format!("page sort {location} --dtype u64"));
        assert_eq!(fs::read(&location).unwrap(), data);
    }
    let location = folder.file("a", &[3, 2, 1]);
    let half = format!("page sort {location} --dtype u16");
    refused(&half, "not a whole number of elements");
    assert_eq!(fs::read(&location).unwrap(), [3, 2, 1]);
    ok(&format!("page sort {location} --dtype u8"));
    assert_eq!(fs::read(&location).unwrap(), [1, 2, 3]);
    assert_eq!(folder.names(), ["a"]);
}

#[test]
fn the_limit_is_kept() {
    let folder = Folder::new("sort-limit");
    let mut numbers: Vec<u64> = spread(times_limit() * 16 * page_size() / 8).collect();
    let location = folder.file("a", &bytes(&numbers));
    let (page, limit) = (page_size(), 16 * page_size());
    let sort = format!("page sort {location} --dtype u64 --resident {limit} --page {page} --json");
    let json = ok(&sort).json();
    // An eighth is for pages, and the rest for the sort.
    assert!(
        json["cost"]["bytes_resident_max"].as_u64().unwrap() as usize <= limit / 8,
        "{json}"
    );
    numbers.sort_unstable();
    assert!(fs::read(&location).unwrap() == bytes(&numbers));
    refused(
        &format!("page sort {location} --dtype u64 --resident {page} --page {page}"),
        "at least two pages",
    );
}

#[test]
fn what_cannot_be_sorted_is_said() {
    let folder = Folder::new("sort-refused");
    let missing = folder.path("none");
    refused(&format!("page sort {missing} --dtype u8"), "cannot sort ");
    let inner = folder.path("folder");
    fs::create_dir(&inner).unwrap();
    refused(
        &format!("page sort {inner} --dtype u8"),
        "not a regular file",
    );
    refused(
        "page sort s3://bucket/key --dtype u8",
        "only a file with a path",
    );
    let location = folder.file("a", &[3, 2, 1]);
    refused(&format!("page sort {location}"), "say with --dtype");
    assert_eq!(fs::read(&location).unwrap(), [3, 2, 1]);
    assert_eq!(folder.names(), ["a", "folder"]);
}
