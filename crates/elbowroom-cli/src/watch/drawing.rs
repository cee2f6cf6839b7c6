//! What would be on the screen, as a drawing: characters in a grid, and those that are pictures themselves as shapes.

use std::fmt::Write;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

use crate::picture::svg::{MARGIN, Svg, escape};

/// The size of a character.
const WIDTH: f64 = 8.5;
const HEIGHT: f64 = 18.0;
/// From the top of a character to the line that it stands on.
const BASE: f64 = 13.5;

/// Returns a drawing of all that is in the buffer.
pub(super) fn svg(buffer: &Buffer, title: &str) -> String {
    let area = buffer.area;
    let width = (f64::from(area.width) * WIDTH + 2.0 * MARGIN).ceil();
    let mut svg = Svg::untitled(width as u32, title);
    for y in 0..area.height {
        let cells: Vec<(&str, Style)> = (0..area.width)
            .map(|x| &buffer[(area.x + x, area.y + y)])
            .map(|cell| (cell.symbol(), cell.style()))
            .collect();
        let mut x = 0;
        for run in cells.chunk_by(|a, b| a.1 == b.1 && shape(a.0).is_some() == shape(b.0).is_some())
        {
            let at = (MARGIN + x as f64 * WIDTH, svg.y);
            if run[0].1.add_modifier.contains(Modifier::REVERSED) {
                svg.rect(at.0, at.1, run.len() as f64 * WIDTH, HEIGHT, "chosen");
            }
            if shape(run[0].0).is_some() {
                shapes(&mut svg, run, at)
            } else {
                words(&mut svg, run, at)
            }
            x += run.len();
        }
        svg.y += HEIGHT;
    }
    svg.finish()
}

/// Characters of one style as text, each in its place whatever the font.
fn words(svg: &mut Svg, run: &[(&str, Style)], (left, top): (f64, f64)) {
    let all: String = run.iter().map(|(symbol, _)| *symbol).collect();
    let text = all.trim_end();
    if text.trim().is_empty() {
        return;
    }
    let first = text.chars().take_while(|&char| char == ' ').count();
    let text = text.trim_start();
    let class = class(run[0].1, "");
    // Two spaces or more are one space otherwise.
    svg.raw(&format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" class=\"screen {class}\" xml:space=\"preserve\" textLength=\"{:.1}\">{}</text>",
        left + first as f64 * WIDTH,
        top + BASE,
        text.chars().count() as f64 * WIDTH,
        escape(text)
    ));
}

/// The part of its place that a character fills, as left, top, width and height of 1, and how much of it shows.
enum Shape {
    Block([f64; 4], f64),
    /// From the middle: to the left, the right, the top, the bottom. One that goes both ways may be long.
    Lines([bool; 4]),
}

fn shape(symbol: &str) -> Option<Shape> {
    let char = symbol.chars().next()?;
    let eighths = |char: char, first: char| f64::from(char as u32 - first as u32 + 1) / 8.0;
    Some(match char {
        '█' => Shape::Block([0.0, 0.0, 1.0, 1.0], 1.0),
        '▒' => Shape::Block([0.0, 0.0, 1.0, 1.0], 0.75),
        '░' => Shape::Block([0.0, 0.0, 1.0, 1.0], 0.2),
        '▁'..='▇' => Shape::Block(
            [0.0, 1.0 - eighths(char, '▁'), 1.0, eighths(char, '▁')],
            1.0,
        ),
        // From seven eighths down to one.
        '▉'..='▏' => Shape::Block([0.0, 0.0, 1.0 - eighths(char, '▉'), 1.0], 1.0),
        '─' => Shape::Lines([true, true, false, false]),
        '│' => Shape::Lines([false, false, true, true]),
        '┌' => Shape::Lines([false, true, false, true]),
        '┐' => Shape::Lines([true, false, false, true]),
        '└' => Shape::Lines([false, true, true, false]),
        '┘' => Shape::Lines([true, false, true, false]),
        _ => return None,
    })
}

/// Characters of one style that are pictures: one path for those that shine through alike.
fn shapes(svg: &mut Svg, run: &[(&str, Style)], (left, top): (f64, f64)) {
    let mut paths: Vec<(String, String)> = Vec::new();
    let mut x = left;
    for same in run.chunk_by(|a, b| a.0 == b.0) {
        let columns = same.len() as f64;
        let mut path = String::new();
        let class = match shape(same[0].0) {
            Some(Shape::Block([from_left, from_top, width, height], opacity)) => {
                // What fills its place is one with its neighbours.
                let (count, wide) = if width < 1.0 {
                    (same.len(), width)
                } else {
                    (1, columns)
                };
                // A little less than a line, so that lines of cells can be told apart.
                let (inner, above) = (HEIGHT - 3.0, 1.5);
                for at in 0..count {
                    let _ = write!(
                        path,
                        "M{:.2} {:.2}h{:.2}v{:.2}h-{2:.2}z",
                        x + (at as f64 + from_left) * WIDTH,
                        top + above + from_top * inner,
                        wide * WIDTH,
                        height * inner
                    );
                }
                class(same[0].1, &format!("s{:.0}", opacity * 100.0))
            }
            Some(Shape::Lines([to_left, to_right, to_top, to_bottom])) => {
                let (middle_x, middle_y, right) =
                    (x + WIDTH / 2.0, top + HEIGHT / 2.0, x + columns * WIDTH);
                if to_left || to_right {
                    let (from, upto) = (
                        if to_left { x } else { middle_x },
                        if to_right { right } else { middle_x },
                    );
                    let _ = write!(path, "M{from:.2} {middle_y:.2}H{upto:.2}");
                }
                if to_top || to_bottom {
                    let (from, upto) = (
                        if to_top { top } else { middle_y },
                        if to_bottom { top + HEIGHT } else { middle_y },
                    );
                    for at in 0..same.len() {
                        let _ = write!(
                            path,
                            "M{:.2} {from:.2}V{upto:.2}",
                            middle_x + at as f64 * WIDTH
                        );
                    }
                }
                "grid frame".to_owned()
            }
            None => String::new(),
        };
        match paths.last_mut() {
            Some(last) if last.0 == class => last.1 += &path,
            _ => paths.push((class, path)),
        }
        x += columns * WIDTH;
    }
    for (class, path) in paths {
        svg.path(&path, &class);
    }
}

fn class(style: Style, more: &str) -> String {
    let colour = match style.fg {
        Some(Color::Yellow) => "committed",
        Some(Color::Blue) => "resident",
        Some(Color::Cyan | Color::Green) => "huge",
        Some(Color::Red) => "declined",
        Some(Color::Magenta) => "swapped",
        Some(Color::DarkGray) => "faint",
        _ => "plain",
    };
    let weight = if style.add_modifier.contains(Modifier::BOLD) {
        "strong"
    } else {
        ""
    };
    let reversed = if style.add_modifier.contains(Modifier::REVERSED) {
        "onchosen"
    } else {
        ""
    };
    [colour, weight, reversed, more]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;

    use super::*;
    use crate::picture::svg::tests::assert_well_formed;

    #[test]
    fn each_character_is_drawn_in_its_place() {
        let mut buffer = Buffer::empty(Rect::new(3, 4, 12, 2));
        buffer.set_string(3, 4, "┌ a <b>  c─┐", Style::new());
        buffer.set_string(3, 5, "│█▒░▁▏·", Style::new().fg(Color::Yellow));
        buffer.set_string(12, 5, "on", Style::new().add_modifier(Modifier::REVERSED));
        let svg = svg(&buffer, "a & b");
        assert_well_formed(&svg);
        assert!(svg.contains("aria-label=\"a &amp; b\""), "{svg}");
        // Spaces are kept inside, and stand for nothing at the ends.
        assert!(
            svg.contains("textLength=\"68.0\">a &lt;b&gt;  c</text>"),
            "{svg}"
        );
        assert!(
            svg.contains(&format!("x=\"{:.1}\"", MARGIN + 2.0 * WIDTH)),
            "{svg}"
        );
        // The corners and the line, the bars, and the eighths of a place.
        assert_eq!(svg.matches("class=\"grid frame\"").count(), 3, "{svg}");
        for class in ["committed s100", "committed s75", "committed s20"] {
            assert!(
                svg.contains(&format!("class=\"{class}\"")),
                "{class}: {svg}"
            );
        }
        assert!(
            svg.contains("v1.88h-8.50z") && svg.contains("h1.06v15.00h-1.06z"),
            "{svg}"
        );
        assert!(svg.contains("class=\"chosen\""), "{svg}");
    }
}
