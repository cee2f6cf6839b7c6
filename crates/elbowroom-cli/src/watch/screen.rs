//! The terminal: set up, drawn on, and restored however the command ends.

use std::env;
use std::io::{self, IsTerminal};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::{event, execute};
use ratatui::layout::Rect;

use super::keys::Key;
use crate::os;

/// The interval between updates.
const TICK: Duration = Duration::from_millis(100);

/// The contents of the screen.
pub(super) trait Scene {
    /// Takes in the present state.
    fn tick(&mut self, now: Instant);

    /// Handles a key. Returns false to quit.
    fn key(&mut self, key: Key, now: Instant) -> bool;

    fn draw(&self, area: Rect, buffer: &mut Buffer);
}

/// Checks that there is a terminal to draw on.
///
/// # Errors
/// Fails if there is no terminal. The message names an alternative.
pub(super) fn check() -> Result<(), String> {
    let instead = "--once and --json print one snapshot without one";
    if !io::stdout().is_terminal() {
        return Err(format!("standard output is not a terminal; {instead}"));
    }
    if env::var_os("TERM").is_some_and(|terminal| terminal == "dumb") {
        return Err(format!(
            "the terminal cannot be drawn on (TERM is dumb); {instead}"
        ));
    }
    Ok(())
}

/// Shows a scene until it ends, and returns the exit status: 0, or 128 plus the number of the signal that ended it, as
/// in shells. A panic of any thread restores the terminal before its message is written.
///
/// # Errors
/// Fails if the terminal fails.
pub(super) fn run(scene: &mut dyn Scene) -> Result<i32, String> {
    let asked =
        os::when_asked_to_end().map_err(|error| format!("signals cannot be handled: {error}"))?;
    guard(&asked).map_err(|error| format!("cannot start a thread: {error}"))?;
    let has_panicked = Arc::new(AtomicBool::new(false));
    let shown = ratatui::try_init()
        .map_err(|error| format!("the terminal cannot be taken: {error}"))
        .and_then(|mut terminal| {
            note_panics(&has_panicked);
            show_all(&mut terminal, scene, &asked, &has_panicked)
                .map_err(|error| format!("the terminal fails: {error}"))
        });
    // A second time, it would move the cursor to an old position.
    if !has_panicked.load(Ordering::Relaxed) {
        restore();
    }
    shown
}

/// From now on a panic of any thread stops the drawing, before ratatui's hook restores the terminal.
fn note_panics(has_panicked: &Arc<AtomicBool>) {
    let (panicked, hook) = (Arc::clone(has_panicked), panic::take_hook());
    panic::set_hook(Box::new(move |info| {
        panicked.store(true, Ordering::Relaxed);
        hook(info);
    }));
}

/// Restores the terminal as far as possible: it may be gone.
fn restore() {
    let _ = ratatui::try_restore();
    let _ = execute!(io::stdout(), Show);
}

/// The time that the drawing thread has to end by itself.
const GRACE: Duration = Duration::from_millis(300);

/// Ends the process if it is asked to end or the terminal has hung up, and the drawing thread does not end it. Reading
/// from a terminal that is gone may never return, and neither may writing to one that accepts no data.
fn guard(asked: &Arc<AtomicUsize>) -> io::Result<()> {
    /// SIGHUP's, as shells tell it.
    const HUNG_UP: i32 = 128 + 1;
    let asked = Arc::clone(asked);
    let watch = move || {
        let status = loop {
            match asked.load(Ordering::Relaxed) {
                0 if os::terminal_is_gone() => break HUNG_UP,
                0 => thread::sleep(TICK),
                signal => break 128 + signal as i32,
            }
        };
        thread::sleep(GRACE);
        // On another thread, because this may block too.
        let _ = thread::Builder::new().spawn(restore);
        thread::sleep(GRACE);
        std::process::exit(status);
    };
    thread::Builder::new()
        .name("guard".to_owned())
        .spawn(watch)
        .map(drop)
}

fn show_all(
    terminal: &mut DefaultTerminal,
    scene: &mut dyn Scene,
    asked: &AtomicUsize,
    has_panicked: &AtomicBool,
) -> io::Result<i32> {
    let mut next = Instant::now();
    loop {
        match asked.load(Ordering::Relaxed) {
            0 => {}
            signal => return Ok(128 + signal as i32),
        }
        if has_panicked.load(Ordering::Relaxed) {
            return Ok(101);
        }
        let now = Instant::now();
        if now >= next {
            scene.tick(now);
            next = now + TICK;
        }
        terminal.draw(|frame| scene.draw(frame.area(), frame.buffer_mut()))?;
        // A signal ends the waiting.
        while event::poll(next.saturating_duration_since(Instant::now()))? {
            let key = event::read()?.as_key_event().and_then(Key::of);
            if key.is_some_and(|key| !scene.key(key, Instant::now())) {
                return Ok(0);
            }
            // Several keys at once are one drawing.
            if !event::poll(Duration::ZERO)? {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! A panic in a real terminal: of this test program, run again in tmux.

    use super::super::terminal::Terminal;
    use super::*;

    const ROLE: &str = "ELBOWROOM_PANICS_ON";

    /// A screen full of words, and a panic of this thread or another when it has been seen for a while.
    struct Doomed {
        ticks: usize,
        is_other_thread: bool,
    }

    impl Scene for Doomed {
        fn tick(&mut self, _: Instant) {
            self.ticks += 1;
            if self.ticks == 10 {
                if self.is_other_thread {
                    let _ = thread::spawn(|| panic!("it was to be")).join();
                } else {
                    panic!("it was to be");
                }
            }
        }

        fn key(&mut self, _: Key, _: Instant) -> bool {
            true
        }

        fn draw(&self, area: Rect, buffer: &mut Buffer) {
            for y in 0..area.height {
                buffer.set_string(0, y, "elbowroom watch", ratatui::style::Style::new());
            }
        }
    }

    /// What runs in the terminal; as a test by itself it does nothing.
    #[test]
    fn panics() {
        let Ok(role) = env::var(ROLE) else { return };
        let status = run(&mut Doomed {
            ticks: 0,
            is_other_thread: role == "another thread",
        });
        std::process::exit(status.unwrap());
    }

    #[test]
    fn a_panic_gives_the_terminal_back_and_then_tells_of_itself() {
        if env::var("ELBOWROOM_TEST_RUNNER").is_ok_and(|runner| !runner.trim().is_empty()) {
            return;
        }
        let program = env::current_exe().unwrap();
        for role in ["this thread", "another thread"] {
            let test = "watch::screen::tests::panics";
            let command = format!(
                "RUST_BACKTRACE=0 {ROLE}='{role}' '{}' --exact {test} --nocapture",
                program.display()
            );
            let Some(terminal) = Terminal::new(80, 40, &command) else {
                return;
            };
            terminal.wait("drawn", |screen| {
                screen.matches("elbowroom watch").count() == 40
            });
            assert_eq!(terminal.end(), 101, "{role}");
            let screen = terminal.screen();
            assert!(screen.contains("it was to be"), "{role}: {screen}");
        }
    }
}
