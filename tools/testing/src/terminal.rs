//! A real terminal: tmux.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A terminal that runs a shell command. It has a separate server, which ends with it.
#[derive(Debug)]
pub struct Terminal {
    socket: String,
    /// The file for the command's exit status.
    status: PathBuf,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Terminal {
    /// Starts a shell command in a terminal. Returns `None` with a message if there is no tmux.
    pub fn new(columns: u16, rows: u16, command: &str) -> Option<Terminal> {
        if Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("skipped: there is no tmux");
            return None;
        }
        let socket = format!(
            "elbowroom-{}-{}",
            process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let status = env::temp_dir().join(&socket);
        let terminal = Terminal { socket, status };
        // The text on the screen before the command shows whether the screen is restored.
        let script = format!(
            "echo before; {command}; echo $? > '{0}.new'; mv '{0}.new' '{0}'; \
             echo after; exec sleep 600",
            terminal.status.display()
        );
        let size = [columns.to_string(), rows.to_string()];
        let args = [
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &size[0],
            "-y",
            &size[1],
            "sh",
            "-c",
            &script,
        ];
        terminal.tmux(&args);
        Some(terminal)
    }

    /// Runs a command of tmux, and returns its output.
    pub fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-L", &self.socket])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the text on the screen.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Presses keys, by the names that tmux has for them.
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits until the screen satisfies a condition, and returns it.
    pub fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "never {what}:\n{screen}"
            );
            sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the end, checks that the terminal is restored after `elbowroom watch`, and returns the exit status.
    pub fn end(&self) -> i32 {
        self.wait("over, with the screen as it was", |screen| {
            screen.starts_with("before\n")
                && screen.contains("after")
                && !screen.contains("elbowroom watch")
        });
        let flags = self.tmux(&["display-message", "-p", "#{cursor_flag} #{alternate_on}"]);
        assert_eq!(
            flags.trim(),
            "1 0",
            "the cursor is visible, and this is not the alternate screen"
        );
        let tty = self.tmux(&["display-message", "-p", "#{pane_tty}"]);
        let modes = Command::new("stty")
            .args(["-a", "-F", tty.trim()])
            .output()
            .unwrap();
        let modes = String::from_utf8_lossy(&modes.stdout).into_owned();
        for mode in ["icanon", "echo", "isig", "opost"] {
            assert!(
                modes.split_whitespace().any(|word| word == mode),
                "the terminal is raw: no {mode} in {modes}"
            );
        }
        fs::read_to_string(&self.status)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    /// Returns the process of the shell command.
    pub fn pid(&self) -> u32 {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let children = Command::new("pgrep")
            .args(["-P", shell.trim()])
            .output()
            .unwrap();
        String::from_utf8(children.stdout)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-L", &self.socket, "kill-server"])
            .output();
        let _ = fs::remove_file(&self.status);
    }
}
