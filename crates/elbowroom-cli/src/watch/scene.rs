//! The whole screen: a title with a state, the contents, and the status above the keys.

use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Color;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Paragraph, Widget};

use super::ink::{BOLD, Ink};

/// The least size of a terminal; a smaller one shows a message.
pub(super) const LEAST: (u16, u16) = (60, 18);

/// The text around the contents of a view.
pub(super) struct Frame {
    pub(super) title: String,
    /// One word in capitals.
    pub(super) state: &'static str,
    /// The effect of the last key, or the reason for the end.
    pub(super) status: String,
    /// The keys of the bottom line, with two spaces between them.
    pub(super) keys: &'static str,
    /// All keys and their effects, one a line.
    pub(super) help: &'static str,
}

/// The state of a workload or a process at one moment, as it is shown.
pub(super) trait View {
    fn frame(&self) -> Frame;

    /// Draws the contents.
    fn draw(&self, ink: Ink, area: Rect, buffer: &mut Buffer);
}

/// A view that changes with time and with keys.
pub(super) trait Scene {
    fn view(&self) -> &dyn View;

    /// Takes in the present state.
    fn tick(&mut self, now: Instant);

    /// Handles a key that does not quit or show the help.
    fn press(&mut self, key: KeyCode, now: Instant);
}

/// Draws the screen of a terminal.
pub(super) fn draw(view: &dyn View, is_helping: bool, ink: Ink, area: Rect, buffer: &mut Buffer) {
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("{} by {} characters are needed; q quits", LEAST.0, LEAST.1);
        return Paragraph::new(text).render(area, buffer);
    }
    let [above, keys] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(area);
    draw_once(view, ink, above, buffer);
    let frame = view.frame();
    // Those that fit: the help has all.
    let mut line = String::new();
    for key in frame.keys.split("  ") {
        if line.len() + key.len() <= usize::from(area.width) {
            line += &format!("{key}  ");
        }
    }
    Line::raw(line).render(keys, buffer);
    if is_helping {
        let text = format!("{}\n\npress any key to continue", frame.help);
        let lines = text.lines().map(|line| Line::raw(format!(" {line}")));
        let height = text.lines().count() as u16 + 2;
        let window = area.centered(Constraint::Length(66), Constraint::Length(height));
        Clear.render(window, buffer);
        let help = Paragraph::new(lines.collect::<Vec<_>>());
        help.block(ink.block("keys")).render(window, buffer);
    }
}

/// Draws the screen without keys, for a single print.
pub(super) fn draw_once(view: &dyn View, ink: Ink, area: Rect, buffer: &mut Buffer) {
    let line = Constraint::Length(1);
    let [title, contents, status] = Layout::vertical([line, Constraint::Min(0), line]).areas(area);
    let frame = view.frame();
    let colour = match frame.state {
        "RUNNING" | "FOLLOWING" => Color::Cyan,
        "PAUSED" => Color::Yellow,
        _ => Color::Magenta,
    };
    let columns = usize::from(area.width);
    let room = columns.saturating_sub(frame.state.len() + 2);
    Line::styled(ink.cut(&frame.title, room), BOLD).render(title, buffer);
    let style = ink.colour(colour).patch(BOLD).reversed();
    let state = Line::styled(format!(" {} ", frame.state), style);
    state.right_aligned().render(title, buffer);
    view.draw(ink, contents, buffer);
    Line::styled(ink.cut(&frame.status, columns), BOLD).render(status, buffer);
}
