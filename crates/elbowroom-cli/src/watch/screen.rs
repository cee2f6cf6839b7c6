//! The terminal: set up, drawn on, and restored however the command ends.

use std::env;
use std::io::{self, IsTerminal};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, KeyCode, KeyModifiers};
use ratatui::crossterm::execute;

use super::ink::Ink;
use super::scene::{self, Scene};
use crate::os;

/// The interval between updates.
const TICK: Duration = Duration::from_millis(100);

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
    let thread = thread::Builder::new().name("guard".to_owned());
    thread.spawn(watch).map(drop)
}

fn show_all(
    terminal: &mut DefaultTerminal,
    scene: &mut dyn Scene,
    asked: &AtomicUsize,
    has_panicked: &AtomicBool,
) -> io::Result<i32> {
    let (ink, mut next, mut is_helping) = (Ink::for_output(), Instant::now(), false);
    loop {
        match asked.load(Ordering::Relaxed) {
            0 if has_panicked.load(Ordering::Relaxed) => return Ok(101),
            0 => {}
            signal => return Ok(128 + signal as i32),
        }
        let now = Instant::now();
        if now >= next {
            scene.tick(now);
            next = now + TICK;
        }
        terminal.draw(|frame| {
            scene::draw(
                scene.view(),
                is_helping,
                ink,
                frame.area(),
                frame.buffer_mut(),
            );
        })?;
        // A signal ends the waiting.
        while event::poll(next.saturating_duration_since(Instant::now()))? {
            // Only if a key was pressed: Windows also reports its release.
            if let Some(key) = event::read()?.as_key_press_event() {
                let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('c') if is_control => return Ok(0),
                    _ if is_helping => is_helping = false,
                    _ if is_control => {}
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(0),
                    KeyCode::Char('?' | 'h') | KeyCode::F(1) => is_helping = true,
                    code => scene.press(code, Instant::now()),
                }
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

    use elbowroom_testing::Terminal;
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;
    use ratatui::text::Line;
    use ratatui::widgets::{Paragraph, Widget};

    use super::*;
    use crate::watch::scene::{Frame, View};

    const ROLE: &str = "ELBOWROOM_PANICS_ON";

    /// A screen full of words, and a panic of this thread or another when it has been shown for a while.
    struct Doomed {
        ticks: usize,
        is_other_thread: bool,
    }

    impl Scene for Doomed {
        fn view(&self) -> &dyn View {
            self
        }

        fn tick(&mut self, _: Instant) {
            self.ticks += 1;
            let panic = || panic!("on purpose");
            match self.ticks {
                10 if self.is_other_thread => drop(thread::spawn(panic).join()),
                10 => panic(),
                _ => {}
            }
        }

        fn press(&mut self, _: KeyCode, _: Instant) {}
    }

    impl View for Doomed {
        fn frame(&self) -> Frame {
            Frame {
                title: "elbowroom watch".to_owned(),
                state: "RUNNING",
                status: "elbowroom watch".to_owned(),
                keys: "elbowroom watch",
                help: "",
            }
        }

        fn draw(&self, _: Ink, area: Rect, buffer: &mut Buffer) {
            let lines = vec![Line::raw("elbowroom watch"); area.height.into()];
            Paragraph::new(lines).render(area, buffer);
        }
    }

    /// Runs in the terminal. As a test by itself it does nothing.
    #[test]
    fn panics() {
        let Ok(role) = env::var(ROLE) else { return };
        let is_other_thread = role == "another thread";
        let status = run(&mut Doomed {
            ticks: 0,
            is_other_thread,
        });
        std::process::exit(status.unwrap());
    }

    #[test]
    fn a_panic_restores_the_terminal_and_is_then_reported() {
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
            assert!(screen.contains("on purpose"), "{role}: {screen}");
        }
    }
}
