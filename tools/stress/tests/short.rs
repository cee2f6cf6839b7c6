//! A short run finds nothing, and the same seed repeats the same operations.

/// How a run ended.
#[derive(Debug)]
struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
}

fn run(args: &str) -> Outcome {
    let mut command = elbowroom_testing::command(env!("CARGO_BIN_EXE_elbowroom-stress"));
    let output = command.args(args.split_whitespace()).output().unwrap();
    Outcome {
        status: output.status.code().expect("ended by itself"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Returns the column "done" by operation, which follows from the seed. Refusals do not, because threads share regions.
fn done(table: &str) -> Vec<(String, u64)> {
    let rows = table
        .lines()
        .skip(1)
        .filter(|line| !line.contains("steps and"));
    let row = |line: &str| {
        let mut words = line.split_whitespace().rev().skip(1);
        let done = words.next().unwrap().parse().unwrap();
        (words.collect(), done)
    };
    rows.map(row).collect()
}

#[test]
fn a_short_stress_finds_nothing_and_does_the_same_again() {
    let steps = if elbowroom_testing::is_emulated() {
        300
    } else {
        3000
    };
    let again = format!("--threads 3 --seed 11 --steps {steps}");
    let outcomes = [run(&again), run(&again)];
    for outcome in &outcomes {
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert!(
            outcome
                .stdout
                .contains(&format!("{} steps and ", 3 * steps)),
            "{outcome:?}"
        );
        assert!(outcome.stdout.ends_with("nothing found\n"), "{outcome:?}");
        assert_eq!(
            outcome.stderr.trim(),
            "elbowroom-stress --threads 3 --seed 11"
        );
    }
    let tables = outcomes.each_ref().map(|outcome| done(&outcome.stdout));
    assert_eq!(tables[0], tables[1]);
    assert!(
        tables[0]
            .iter()
            .all(|(_, count)| *count > 0 || steps < 3000),
        "every kind is tried: {tables:?}"
    );
    let other = run(&format!("--threads 3 --seed 12 --steps {steps}"));
    assert_ne!(done(&other.stdout), tables[0]);
}
