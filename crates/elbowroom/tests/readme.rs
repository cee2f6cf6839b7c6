//! The program that README.md shows, to the letter, and run.

mod common;

#[rustfmt::skip]
fn shown() -> Result<(), elbowroom::Error> {
// BEGIN
use elbowroom::{Growth, Region, Verdict, page_size};

let region = Region::builder(1 << 40)                  // reserve 1 TiB
    .commit_limit(64 << 20)                            // commit 64 MiB of it at most
    .growth(Growth::Pages(16))                         // 16 pages a fault
    .filter(|fault| if fault.offset() < 1 << 39 { Verdict::Commit } else { Verdict::Decline })
    .build()?;

region.try_write(123 << 20, 42u64)?;                   // commits on touch
assert_eq!(region.try_read::<u64>(123 << 20)?, 42);
assert_eq!(region.stats().committed_bytes, 16 * page_size());
assert!(region.try_write(1 << 39, 1u8).is_err());      // declined: an error
region.decommit(0..1 << 30)?;                          // contents lost, charge refunded
region.release()?;
// END
Ok(())
}

#[test]
fn the_readme_shows_a_program_that_works() {
    if !common::emulated() {
        shown().unwrap();
    }
    // Not there in a package of this crate alone.
    let Ok(readme) = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")) else { return };
    let (_, program) = include_str!("readme.rs").split_once("// BEGIN\n").unwrap();
    let (program, _) = program.split_once("// END\n").unwrap();
    assert!(readme.contains(&format!("```rust\n{program}```\n")), "README.md shows something else than:\n{program}");
}
