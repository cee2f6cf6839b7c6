//! The meanings of keys.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// The request of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Pause,
    Step,
    Growth,
    Limit,
    Workload,
    Again,
    Faster,
    Slower,
    Up,
    Down,
    Help,
    Quit,
    /// Quits whatever is shown.
    Interrupt,
    /// A key without a general meaning.
    Other,
}

impl Key {
    /// Returns the request of an event, or `None` if no key was pressed.
    pub(super) fn of(event: KeyEvent) -> Option<Key> {
        // Windows also reports the release of keys.
        if event.kind == KeyEventKind::Release {
            return None;
        }
        if event.modifiers.contains(KeyModifiers::CONTROL) {
            return Some(if event.code == KeyCode::Char('c') {
                Key::Interrupt
            } else {
                Key::Other
            });
        }
        Some(match event.code {
            KeyCode::Char(' ') => Key::Pause,
            KeyCode::Char('s') | KeyCode::Right => Key::Step,
            KeyCode::Char('g') => Key::Growth,
            KeyCode::Char('l') => Key::Limit,
            KeyCode::Char('w') => Key::Workload,
            KeyCode::Char('r') => Key::Again,
            KeyCode::Char('+' | '=') => Key::Faster,
            KeyCode::Char('-') => Key::Slower,
            KeyCode::Up | KeyCode::Char('k') => Key::Up,
            KeyCode::Down | KeyCode::Char('j') => Key::Down,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => Key::Help,
            KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
            _ => Key::Other,
        })
    }
}

/// The keys and their effects, for the help: in a workload, and in a process.
pub(super) const WORKLOAD: [(&str, &str); 10] = [
    ("space", "pause or continue"),
    ("s, right", "pause, and permit one more fault"),
    ("g", "new regions, growth 1, 4, 16 pages, adaptive"),
    ("l", "new regions, limit none, half, a quarter"),
    ("w", "the next workload"),
    ("r", "restart in new regions"),
    ("+, -", "twice as fast, half as fast"),
    ("?, h, F1", "this help"),
    ("q, Esc", "quit"),
    ("Ctrl-C", "quit"),
];

pub(super) const PROCESS: [(&str, &str); 5] = [
    ("up, down", "choose the region whose pages are shown"),
    ("space", "pause or continue"),
    ("?, h, F1", "this help"),
    ("q, Esc", "quit"),
    ("Ctrl-C", "quit"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let key = |code| Key::of(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(key(KeyCode::Char(' ')), Some(Key::Pause));
        assert_eq!(
            [key(KeyCode::Char('s')), key(KeyCode::Right)],
            [Some(Key::Step); 2]
        );
        assert_eq!(
            [key(KeyCode::Char('q')), key(KeyCode::Esc)],
            [Some(Key::Quit); 2]
        );
        assert_eq!(
            [key(KeyCode::Char('c')), key(KeyCode::Enter)],
            [Some(Key::Other); 2]
        );
        let control = |code| Key::of(KeyEvent::new(code, KeyModifiers::CONTROL));
        assert_eq!(
            [control(KeyCode::Char('c')), control(KeyCode::Char('q'))],
            [Some(Key::Interrupt), Some(Key::Other)]
        );
        let released = KeyEvent::new_with_kind(
            KeyCode::Char('q'),
            KeyModifiers::NONE,
            KeyEventKind::Release,
        );
        assert_eq!(Key::of(released), None);
    }
}
