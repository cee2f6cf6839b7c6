//! `elbowroom watch`: its snapshots, and its behaviour in a terminal (tmux).

use std::process::Command;

use crate::common::run;
use elbowroom_testing::is_emulated;

#[test]
fn a_snapshot_needs_no_terminal() {
    let outcome = run("watch --workload seed --once");
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    assert!(
        outcome
            .stdout
            .starts_with("elbowroom watch  seed: 80 pages"),
        "{outcome:?}"
    );
    assert!(
        outcome.stdout.contains("all touches are done"),
        "{outcome:?}"
    );
    assert!(
        outcome
            .stdout
            .lines()
            .all(|line| line.chars().count() <= 80),
        "{outcome:?}"
    );
    assert!(!outcome.stdout.contains('\x1b'), "{outcome:?}");

    let page = elbowroom::page_size() as u64;
    let json = run("watch --workload seed --json").json();
    assert_eq!(json["regions"][0]["committed_bytes"], 80 * page);
    assert_eq!(json["regions"][0]["faults"], 80);
    if !is_emulated() && cfg!(any(target_os = "linux", windows)) {
        assert_eq!(json["regions"][0]["resident_bytes"], 80 * page);
    }
    assert_eq!(json["largest_window_bytes"], page);
    assert_eq!(json["latencies"][0]["outcome"], "committed");
}

#[test]
fn a_snapshot_is_drawn() {
    let file = std::env::temp_dir().join(format!("elbowroom-watch-{}.svg", std::process::id()));
    let outcome = run(&format!("watch --workload seed --svg {}", file.display()));
    assert_eq!(
        (
            outcome.status,
            outcome.stdout.as_str(),
            outcome.stderr.as_str()
        ),
        (0, "", "")
    );
    let svg = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(
        svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    for part in [
        ">elbowroom watch  seed: 80 pages",
        ">all touches are done</text>",
        ">how long faults take</text>",
    ] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    let outcome = run("watch --workload seed --svg /no/such/folder/a.svg");
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, ""));
    assert!(
        outcome
            .stderr
            .starts_with("elbowroom: cannot write /no/such/folder/a.svg: "),
        "{outcome:?}"
    );
}

#[test]
fn what_ends_a_workload_is_told() {
    let json = run("watch --workload budget --json").json();
    let budgets = json["budgets"].as_array().unwrap();
    assert!(
        budgets
            .iter()
            .all(|budget| budget["committed_bytes"].as_u64() <= budget["limit_bytes"].as_u64()),
        "{json}"
    );
    let ended = json["ended"].as_array().unwrap();
    assert_eq!(ended.len(), 3);
    let refused = |ended: &&serde_json::Value| {
        ended["refused"]
            .as_str()
            .is_some_and(|why| why.starts_with("by budget "))
    };
    assert!(ended.iter().any(|ended| refused(&ended)), "{json}");
}

#[test]
fn threads_share_a_region() {
    let json = run("watch --workload threads --json").json();
    let region = &json["regions"][0];
    assert_eq!(region["committed_bytes"], region["reserved_bytes"]);
    assert_eq!(json["ended"].as_array().unwrap().len(), 8);
}

/// An array of eight times its limit stays within the limit, and works.
#[test]
fn an_array_is_paged() {
    let json = run("watch --workload paged --json").json();
    let array = &json["array"];
    let figure = |name: &str| array[name].as_u64().unwrap();
    assert!(figure("resident_bytes") <= figure("limit_bytes"), "{json}");
    assert_eq!(figure("bytes"), 8 * figure("limit_bytes"));
    let pages = array["pages"].as_array().unwrap();
    let resident = pages.iter().filter(|run| run["state"] == "resident");
    let size =
        |run: &serde_json::Value| run["end"].as_u64().unwrap() - run["start"].as_u64().unwrap();
    assert_eq!(resident.map(size).sum::<u64>(), figure("resident_bytes"));
    // Each page is written, and so read and evicted.
    let all = figure("bytes") / figure("page_bytes");
    assert!(
        figure("hits") > all && figure("misses") > all / 20,
        "{json}"
    );
    assert!(figure("evictions") > all / 2, "{json}");
    assert!(figure("read_bytes") >= figure("bytes"), "{json}");
    assert!(figure("written_bytes") > figure("bytes") / 2, "{json}");
    for ended in json["ended"].as_array().unwrap() {
        assert!(ended["refused"].is_null(), "{json}");
    }
    let text = run("watch --workload paged --once").stdout;
    for part in [
        "resident limit 4 MiB",
        "dirty",
        "in flight",
        "evictions",
        "all touches are done",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// All workloads run, or fail with an error that names the feature that the system lacks.
#[test]
fn backends_are_chosen() {
    for backend in ["protection", "auto", "userfault", "userfault-monitor"] {
        let outcome = run(&format!(
            "watch --workload random --backend {backend} --json"
        ));
        if backend.starts_with("userfault") && outcome.status == 1 {
            assert!(
                outcome.stderr.starts_with("elbowroom: cannot "),
                "{outcome:?}"
            );
            continue;
        }
        let region = &outcome.json()["regions"][0];
        assert!(
            backend == "auto" || region["backend"] == backend,
            "{region}"
        );
        // One of 32 pages is touched, some of them twice, and hardly any two lie side by side.
        let parts = region["reserved_bytes"].as_u64().unwrap()
            / region["committed_bytes"].as_u64().unwrap();
        assert!((30..=36).contains(&parts), "{region}");
    }
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let outcome = run("watch");
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, ""));
    assert!(
        outcome
            .stderr
            .contains("standard output is not a terminal; --once and --json"),
        "{outcome:?}"
    );
    for (args, part) in [
        ("watch 0", "not in 1.."),
        ("watch x", "invalid digit"),
        (
            "watch --workload none",
            "possible values: seed, sequential, random, budget, threads, paged",
        ),
        ("watch --once --json", "cannot be used with"),
        ("watch --once --svg a.svg", "cannot be used with"),
        ("watch 1 --workload seed", "cannot be used with"),
        ("watch 1 --backend auto", "cannot be used with"),
    ] {
        let outcome = run(args);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (2, ""), "{args}");
        assert!(outcome.stderr.contains(part), "{args}: {outcome:?}");
    }
}

/// Returns whether another process can be read, natively.
fn can_follow() -> bool {
    cfg!(target_os = "linux") && !is_emulated()
}

#[test]
fn another_process_is_looked_at() {
    if !can_follow() {
        return;
    }
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let (text, json) = (
        run(&format!("watch {} --once", child.id())),
        run(&format!("watch {} --json", child.id())),
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((text.status, text.stderr.as_str()), (0, ""));
    assert!(
        text.stdout.contains("sleep") && text.stdout.contains("resident"),
        "{text:?}"
    );
    let json = json.json();
    assert_eq!(json["pid"], child.id());
    assert!(json["total"]["resident_bytes"].as_u64().unwrap() > 0);
    assert!(json["regions"].as_array().unwrap().len() > 3);

    let outcome = run(&format!("watch {} --once", child.id()));
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, ""));
    assert!(
        outcome.stderr.contains("there is no process"),
        "{outcome:?}"
    );
}

#[cfg(unix)]
mod in_a_terminal {
    //! Tests in a real terminal.

    use super::*;
    use crate::common::elbowroom;
    use elbowroom_testing::Terminal;
    use std::thread::sleep;
    use std::time::Duration;

    /// Starts `elbowroom watch` in a terminal.
    fn watch(columns: u16, rows: u16, args: &str, environment: &str) -> Option<Terminal> {
        if is_emulated() {
            eprintln!("skipped: an emulator is in between");
            return None;
        }
        let program = elbowroom("").get_program().to_string_lossy().into_owned();
        Terminal::new(
            columns,
            rows,
            &format!("{environment} '{program}' watch {args}"),
        )
    }

    const UTF8: &str = "LC_ALL=C.UTF-8";

    /// Returns the number of pages that are not reserved any more, from the legend.
    fn committed(screen: &str) -> u64 {
        let legend = screen
            .lines()
            .find(|line| line.contains(" reserved ") && line.contains(" resident "))
            .unwrap();
        let after = |word| {
            legend
                .split(word)
                .nth(1)
                .unwrap()
                .split_whitespace()
                .next()
                .unwrap()
                .replace(',', "")
        };
        let number = |word| after(word).parse::<u64>().unwrap();
        number("committed ") + number("resident ")
    }

    #[test]
    fn it_pauses_steps_resizes_and_quits() {
        let Some(terminal) = watch(80, 24, "", UTF8) else {
            return;
        };
        terminal.wait("running", |screen| {
            screen.contains(" RUNNING") && screen.contains("committed 1 page")
        });
        // A growth of 4 pages, begun anew, and held before it is far.
        terminal.keys(&["g", "Space"]);
        let screen = terminal.wait("paused", |screen| screen.contains(" PAUSED"));
        assert!(screen.contains("growth 4 pages"), "{screen}");
        // A touch that was under way is over when nothing changes any more.
        sleep(Duration::from_millis(500));
        let before = committed(&terminal.screen());
        sleep(Duration::from_millis(500));
        assert_eq!(committed(&terminal.screen()), before, "it is paused");
        for steps in 1..=3 {
            terminal.keys(&["s"]);
            terminal.wait("a window more", |screen| {
                committed(screen) == before + 4 * steps
            });
        }
        sleep(Duration::from_millis(300));
        assert_eq!(
            committed(&terminal.screen()),
            before + 12,
            "no more than was asked for"
        );

        for (columns, rows) in [("132", "40"), ("70", "20"), ("40", "10"), ("80", "24")] {
            terminal.tmux(&["resize-window", "-x", columns, "-y", rows]);
            let wide = columns.parse::<usize>().unwrap();
            if wide < 60 {
                terminal.wait("too small", |screen| {
                    screen.contains("characters are needed")
                });
                continue;
            }
            let screen = terminal.wait("drawn in the new size", |screen| {
                let boxes = screen
                    .lines()
                    .filter(|line| line.starts_with('┌') && line.ends_with('┐'));
                boxes.clone().count() == 3 && boxes.clone().all(|line| line.chars().count() == wide)
            });
            assert_eq!(committed(&screen), before + 12);
        }
        terminal.keys(&["?"]);
        terminal.wait("help", |screen| {
            screen.contains("press any key to continue")
        });
        terminal.keys(&["x", "w"]);
        terminal.wait("the next workload", |screen| {
            screen.contains("sequential: ")
        });
        terminal.keys(&["q"]);
        assert_eq!(terminal.end(), 0);
    }

    #[test]
    fn ctrl_c_and_signals_give_the_terminal_back() {
        let Some(terminal) = watch(80, 24, "--workload threads", UTF8) else {
            return;
        };
        terminal.wait("running", |screen| screen.contains(" RUNNING"));
        terminal.keys(&["C-c"]);
        assert_eq!(terminal.end(), 0);

        for (signal, status) in [("TERM", 143), ("INT", 130)] {
            let Some(terminal) = watch(80, 24, "--workload budget", UTF8) else {
                return;
            };
            terminal.wait("running", |screen| screen.contains(" RUNNING"));
            let killed = Command::new("kill")
                .args(["-s", signal, &terminal.pid().to_string()])
                .status()
                .unwrap();
            assert!(killed.success());
            assert_eq!(terminal.end(), status);
        }
    }

    /// Returns whether the process lives and is not a zombie.
    #[cfg(target_os = "linux")]
    fn lives(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| {
            !stat
                .rsplit_once(')')
                .is_some_and(|(_, rest)| rest.starts_with(" Z"))
        })
    }

    /// A closed terminal ends the command: by SIGHUP, or in a separate session, which gets none, by the terminal's
    /// state.
    #[cfg(target_os = "linux")]
    #[test]
    fn it_ends_with_its_terminal() {
        for (args, environment) in [
            ("--workload threads", "env"),
            ("--workload random", "setsid env"),
        ] {
            let Some(terminal) = watch(80, 24, args, environment) else {
                return;
            };
            terminal.wait("running", |screen| screen.contains(" RUNNING"));
            let pid = terminal.pid();
            assert!(lives(pid));
            terminal.tmux(&["kill-session"]);
            let began = std::time::Instant::now();
            while lives(pid) {
                if began.elapsed() > Duration::from_secs(60) {
                    let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
                    panic!("it goes on without a terminal: {args}");
                }
                sleep(Duration::from_millis(50));
            }
        }
    }

    #[test]
    fn a_limit_ends_it_and_the_reason_stays() {
        let Some(terminal) = watch(100, 30, "", UTF8) else {
            return;
        };
        terminal.wait("running", |screen| screen.contains(" RUNNING"));
        terminal.keys(&["l", "l", "+", "+", "+", "+", "+", "+"]);
        // The reason stands at the bottom, which is drawn last.
        let reason = "writer was refused by the commit limit, and has ended";
        let screen = terminal.wait("ended", |screen| {
            screen.contains(" ENDED") && screen.contains(reason)
        });
        assert_eq!(committed(&screen), 20, "{screen}");
        terminal.keys(&["s"]);
        terminal.wait("told so", |screen| screen.contains("no touches are left"));
        terminal.keys(&["Escape"]);
        assert_eq!(terminal.end(), 0);
    }

    #[test]
    fn without_utf_8_and_colours_it_is_ascii() {
        let Some(terminal) = watch(80, 24, "--workload random", "NO_COLOR=1 LC_ALL=C") else {
            return;
        };
        let screen = terminal.wait("running", |screen| {
            screen.contains(" RUNNING") && screen.contains("sparse page")
        });
        assert!(screen.is_ascii(), "{screen}");
        let styled = terminal.tmux(&["capture-pane", "-p", "-e"]);
        for colour in 31..=37 {
            assert!(!styled.contains(&format!("\x1b[{colour}m")), "{styled:?}");
        }
        terminal.keys(&["q"]);
        assert_eq!(terminal.end(), 0);
    }

    /// A process is followed until it ends, and the last state stays on the screen.
    #[cfg(target_os = "linux")]
    #[test]
    fn another_process_is_followed_to_its_end() {
        let Some(workload) = watch(80, 24, "--workload sequential", UTF8) else {
            return;
        };
        workload.wait("running", |screen| screen.contains(" RUNNING"));
        let Some(terminal) = watch(100, 30, &workload.pid().to_string(), UTF8) else {
            return;
        };
        let screen = terminal.wait("following", |screen| screen.contains(" FOLLOWING"));
        assert!(screen.contains("resident"), "{screen}");
        terminal.wait("changed", |screen| screen.contains("+"));
        terminal.keys(&["Down", "Down", "Space"]);
        terminal.wait("paused", |screen| screen.contains(" PAUSED"));
        workload.keys(&["q"]);
        assert_eq!(workload.end(), 0);
        let screen = terminal.wait("ended", |screen| screen.contains(" ENDED"));
        assert!(
            screen.contains("has just ended; this is the last snapshot"),
            "{screen}"
        );
        terminal.keys(&["q"]);
        assert_eq!(terminal.end(), 0);
    }
}
