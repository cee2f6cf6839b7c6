//! The figures of the README occur in the results, and are those of the slowest processor.

use std::fs;
use std::path::Path;

#[test]
fn figures_in_the_readme_stand_in_the_results() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    let results = read("benches/RESULTS.md");
    for (readme, heading) in [
        ("README.md", "## Performance"),
        ("README.zh-CN.md", "## 性能"),
    ] {
        let text = read(readme);
        let (_, section) = text
            .split_once(heading)
            .unwrap_or_else(|| panic!("{readme} has no {heading}"));
        let section = section.split("\n## ").next().unwrap();
        let mut rows = 0;
        for line in section.lines().filter(|line| line.ends_with("` |")) {
            // The cells: the measured operation, the baseline, the ratio, the comparison.
            let [_, _, rival, ratio, comparison, _] =
                line.split('|').map(str::trim).collect::<Vec<_>>()[..]
            else {
                panic!("{readme}: {line}");
            };
            let is_it = |row: &&str| {
                row.starts_with(&format!("| {comparison} |")) && worst(row) == ratio.parse().ok()
            };
            assert!(
                results.lines().any(|row| is_it(&row)),
                "{readme}: {comparison} against {rival} is not {ratio} at worst in benches/RESULTS.md"
            );
            rows += 1;
        }
        assert!(rows >= 5, "{readme}: {rows} figures");
    }
}

/// Returns the largest figure of a row, after the four columns that describe the goal.
fn worst(row: &str) -> Option<f64> {
    let figures = row.split('|').skip(5);
    let figures = figures.filter_map(|cell| cell.trim().trim_matches('*').parse::<f64>().ok());
    figures.reduce(f64::max)
}
