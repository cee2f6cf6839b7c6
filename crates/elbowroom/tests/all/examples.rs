//! The output of the examples.

// loom's models do not include `AppendVec`.
#![cfg(not(loom))]

use crate::common;

#[allow(dead_code, reason = "its main")]
#[path = "../../examples/bitmap.rs"]
mod bitmap;
#[allow(dead_code, reason = "its main")]
#[path = "../../examples/components.rs"]
mod components;
#[allow(dead_code, reason = "its main")]
#[path = "../../examples/expressions.rs"]
mod expressions;
#[allow(dead_code, reason = "its main")]
#[path = "../../examples/shared_log.rs"]
mod shared_log;

/// Returns the output of an example's program. Returns `None` if it was not built, or if the tests run under an
/// emulator.
fn output(name: &str) -> Option<String> {
    let tests = std::env::current_exe().unwrap();
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = tests.parent()?.parent()?.join("examples").join(file);
    if common::emulated() || !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    let output = std::process::Command::new(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_first_example_s_numbers_do_not_move() {
    if let Some(output) = output("first") {
        assert_eq!(output, "1000 numbers\nmoved: false\n");
    }
}

#[test]
fn a_bitmap_takes_a_page_for_each_place_with_numbers() {
    let bytes = common::vast().min(1 << 40);
    let report = bitmap::report(bytes).unwrap();
    assert!(
        report.contains("1670 numbers inserted, 1670 found, in order: true\n"),
        "{report}"
    );
    assert!(
        report.contains(": true, inserted again: false\n"),
        "{report}"
    );
    assert!(report.contains(" is beyond the end: true\n"), "{report}");
    assert!(
        report.ends_with(&format!("{bytes} bytes reserved, 5 pages committed\n")),
        "{report}"
    );
}

#[test]
fn a_component_store_does_not_move() {
    let expected = "\
20000 entities, the columns moved: false
the camera sees the hero at 30, -10; the sum of all is 400979990
then refused by the budget \"world\": rows are whole: true, where they were: true
";
    assert_eq!(components::report().unwrap(), expected);
}

#[test]
fn a_parser_s_nodes_go_all_at_once() {
    let expected = "\
(+ 1 2 3) = 6
(* 6 (+ 3 4)) = 42
(- (* 2 (+ 20 (- 5 3))) 2) = 42
(+ 1 (* 2 x)) is wrong: \"x\" in 2 lists is no number
(+ 1 (2 is wrong: a bracket is not closed
(+ 1)) is wrong: a bracket is closed that was not opened
0 bytes in use now, 1 commit for all lines, the largest in one page: true
";
    assert_eq!(expressions::report().unwrap(), expected);
}

#[test]
fn a_log_is_read_while_it_is_written() {
    let each = common::times(20_000) as usize;
    let expected = format!(
        "\
{} entries, read while they were written
from each writer: [1, {each}, {each}, {each}, {each}], in its order: true
the first one moved: false
",
        4 * each + 1
    );
    assert_eq!(shared_log::report(each).unwrap(), expected);
}
