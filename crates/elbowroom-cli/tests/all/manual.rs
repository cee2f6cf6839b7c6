//! `elbowroom completions` and `elbowroom man`: tried with the shells and with groff, if they are installed.

#[cfg(unix)]
use std::io::Write;
#[cfg(unix)]
use std::process::{Command, Stdio};

use crate::common::run;

const COMMANDS: [&str; 9] = [
    "demo",
    "compare",
    "bench",
    "doctor",
    "map",
    "watch",
    "page",
    "completions",
    "man",
];

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let outcome = run(&format!("completions {shell}"));
        assert_eq!(
            (outcome.status, outcome.stderr.as_str()),
            (0, ""),
            "{shell}"
        );
        for word in COMMANDS.into_iter().chain(["page-limit", "region"]) {
            assert!(outcome.stdout.contains(word), "{shell}: {word}");
        }
    }
    let outcome = run("completions tcsh");
    assert_eq!((outcome.status, outcome.stdout.as_str()), (2, ""));
    assert!(
        outcome
            .stderr
            .contains("possible values: bash, elvish, fish, powershell, zsh"),
        "{outcome:?}"
    );
}

/// Returns bash's completions of the words so far.
#[cfg(unix)]
fn completed_by_bash(words: &str) -> Option<Vec<String>> {
    let script = run("completions bash").stdout;
    let count = words.split(' ').count() - 1;
    let script = format!(
        "{script}\nCOMP_WORDS=({words}) COMP_CWORD={count}\n_elbowroom elbowroom \"${{COMP_WORDS[{count}]}}\" \
         \"${{COMP_WORDS[{count} - 1]}}\"\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let mut bash = Command::new("bash")
        .arg("-s")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    bash.stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = bash.wait_with_output().unwrap();
    Some(
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect(),
    )
}

#[cfg(unix)]
#[test]
fn bash_completes() {
    let Some(commands) = completed_by_bash("elbowroom d") else {
        return;
    };
    assert_eq!(commands, ["demo", "doctor"]);
    assert_eq!(
        completed_by_bash("elbowroom map --re").unwrap(),
        ["--region"]
    );
    assert_eq!(
        completed_by_bash("elbowroom demo --char w").unwrap(),
        ["wide"]
    );
}

#[test]
fn every_command_has_a_manual() {
    for command in COMMANDS {
        let outcome = run(&format!("man {command}"));
        assert_eq!(
            (outcome.status, outcome.stderr.as_str()),
            (0, ""),
            "{command}"
        );
        assert!(
            outcome
                .stdout
                .contains(&format!(".TH elbowroom-{command} 1")),
            "{outcome:?}"
        );
        assert!(outcome.stdout.contains(".SH EXAMPLES"), "{outcome:?}");
    }
    let whole = run("man").stdout;
    assert!(
        COMMANDS
            .iter()
            .all(|command| whole.contains(&format!("elbowroom\\-{command}(1)"))),
        "{whole}"
    );
    let nested = run("man page sum").stdout;
    assert!(nested.contains(".TH elbowroom-page-sum 1"), "{nested}");
    let outcome = run("man page nope");
    assert_eq!((outcome.status, outcome.stdout.as_str()), (2, ""));
    assert!(
        outcome.stderr.contains("there is no command \"page nope\""),
        "{outcome:?}"
    );
    let outcome = run("man nope");
    assert_eq!((outcome.status, outcome.stdout.as_str()), (2, ""));
    assert!(
        outcome.stderr.contains("there is no command \"nope\""),
        "{outcome:?}"
    );
}

/// groff, which formats manuals on most systems, finds nothing to warn about, and the examples keep their lines.
#[cfg(target_os = "linux")]
#[test]
fn groff_formats_it() {
    for args in [
        "man",
        "man demo",
        "man bench",
        "man doctor",
        "man map",
        "man watch",
    ] {
        let page = run(args).stdout;
        let mut groff = Command::new("groff");
        groff
            .args(["-man", "-Tutf8", "-ww", "-P-cbou"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let Ok(mut groff) = groff.spawn() else { return };
        groff
            .stdin
            .take()
            .unwrap()
            .write_all(page.as_bytes())
            .unwrap();
        let output = groff.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{args}");
        let text = String::from_utf8(output.stdout).unwrap();
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap();
        assert!(
            last.starts_with(&format!("elbowroom {} ", env!("CARGO_PKG_VERSION"))),
            "{last}"
        );
        assert!(
            text.contains("DESCRIPTION") && text.lines().any(|line| line.contains("  elbowroom ")),
            "{text}"
        );
    }
}
