//! The output of the examples.

use elbowroom::{Size, page_size};

use crate::common;

/// Returns the output of an example's program. Returns `None` if it was not built, or if the tests run under an
/// emulator.
fn output(name: &str) -> Option<String> {
    let tests = std::env::current_exe().unwrap();
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = tests.parent()?.parent()?.join("examples").join(file);
    if common::is_emulated() || !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    let output = std::process::Command::new(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Returns this many pages as the examples print them.
fn pages(count: usize) -> Size {
    Size((count * page_size()) as u64)
}

#[test]
fn the_first_example_takes_a_page() {
    if let Some(output) = output("first") {
        let (primes, memory) = output.split_once('\n').unwrap();
        assert!(primes.starts_with("[2, 3, 5, 7, 11, ") && primes.ends_with(", 89, 97]"));
        assert_eq!(memory, format!("{} bytes in use\n", page_size()));
    }
}

#[test]
fn a_bitmap_takes_a_page_for_each_place_with_numbers() {
    if let Some(output) = output("bitmap") {
        let expected = format!(
            "7 again\n8000000000000 again\nnumbers: [7, 42, 8000000000000]\nmemory in use: {} of 1 TiB\n",
            pages(2)
        );
        assert_eq!(output, expected);
    }
}

#[test]
fn a_component_store_does_not_move() {
    if let Some(output) = output("components") {
        let (camera, rest) = output.split_once('\n').unwrap();
        assert_eq!(camera, "the camera follows the hero to 30, -10");
        assert!(rest.starts_with("no room for more than "), "{rest}");
        assert!(rest.contains("\"world\""), "{rest}");
    }
}

#[test]
fn a_calculator_reuses_its_arena_for_each_line() {
    let expected = "\
(+ 1 2 3) = 6
(* 6 (+ 3 4)) = 42
(- (* 2 (+ 20 (- 5 3))) 2) = 42
(+ 1 (* 2 x)): \"x\" at depth 2 is not a number
(+ 1 (2: an opening bracket without a closing one
(+ 1)): a closing bracket without an opening one
";
    if let Some(output) = output("expressions") {
        assert_eq!(output, expected);
    }
}

#[test]
fn a_log_is_printed_while_it_is_written() {
    if let Some(output) = output("shared_log") {
        for worker in 1..=4 {
            let name = format!("worker {worker}: ");
            let jobs: Vec<_> = output
                .lines()
                .filter_map(|line| line.strip_prefix(&name))
                .collect();
            let expected: Vec<_> = (1..=5).map(|job| format!("job {job} done")).collect();
            assert_eq!(jobs, expected);
        }
        assert_eq!(output.lines().count(), 4 * 5);
    }
}

#[test]
fn a_sparse_table_stops_at_its_limit() {
    if let Some(output) = output("sparse_table") {
        assert!(
            output.starts_with("1099511627776 counters, of which 8 MiB are in memory\n"),
            "{output}"
        );
        assert!(output.contains("commit limit"), "{output}");
    }
}
