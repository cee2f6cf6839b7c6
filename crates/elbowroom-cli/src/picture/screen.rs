//! The contents of the screen as a drawing. Characters are placed in a grid; block characters become shapes.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

use super::svg::{MARGIN, Svg, escape};

/// The size of a character.
const WIDTH: f64 = 8.5;
const HEIGHT: f64 = 18.0;
/// From the top of a character to the line that it stands on.
const BASE: f64 = 13.5;

/// Returns a drawing of all that is in the buffer.
pub(crate) fn screen_svg(buffer: &Buffer, title: &str) -> String {
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

/// The part of its place that a character fills from the left, as top, width and height of 1, and how much of it shows.
enum Shape {
    Block([f64; 3], f64),
    /// From the middle: to the left, the right, the top, the bottom. One that goes both ways may be long.
    Lines([bool; 4]),
}

fn shape(symbol: &str) -> Option<Shape> {
    let char = symbol.chars().next()?;
    let eighths = |char: char, first: char| f64::from(char as u32 - first as u32 + 1) / 8.0;
    Some(match char {
        '█' => Shape::Block([0.0, 1.0, 1.0], 1.0),
        '▒' => Shape::Block([0.0, 1.0, 1.0], 0.75),
        '░' => Shape::Block([0.0, 1.0, 1.0], 0.2),
        '▁'..='▇' => Shape::Block([1.0 - eighths(char, '▁'), 1.0, eighths(char, '▁')], 1.0),
        // From seven eighths down to one.
        '▉'..='▏' => Shape::Block([0.0, 1.0 - eighths(char, '▉'), 1.0], 1.0),
        '─' => Shape::Lines([true, true, false, false]),
        '│' => Shape::Lines([false, false, true, true]),
        '┌' => Shape::Lines([false, true, false, true]),
        '┐' => Shape::Lines([true, false, false, true]),
        '└' => Shape::Lines([false, true, true, false]),
        '┘' => Shape::Lines([true, false, true, false]),
        _ => return None,
    })
}

/// Characters of one style that are pictures. Those that are alike and fill their places are one shape.
fn shapes(svg: &mut Svg, run: &[(&str, Style)], (left, top): (f64, f64)) {
    // Blocks are a little lower than a line, so that lines of cells can be told apart.
    const GAP: f64 = 1.5;
    const INNER: f64 = HEIGHT - 2.0 * GAP;
    let mut x = left;
    for same in run.chunk_by(|a, b| a.0 == b.0) {
        let right = x + same.len() as f64 * WIDTH;
        let each = (0..same.len()).map(|at| x + at as f64 * WIDTH);
        match shape(same[0].0) {
            Some(Shape::Block([above, width, height], opacity)) => {
                let class = class(same[0].1, &format!("s{:.0}", opacity * 100.0));
                let y = top + GAP + above * INNER;
                if width < 1.0 {
                    each.for_each(|x| svg.rect(x, y, width * WIDTH, INNER, &class));
                } else {
                    svg.rect(x, y, right - x, height * INNER, &class);
                }
            }
            Some(Shape::Lines([to_left, to_right, to_top, to_bottom])) => {
                let (across, down) = (x + WIDTH / 2.0, top + HEIGHT / 2.0);
                let end =
                    |is_whole: bool, end: f64, middle: f64| if is_whole { end } else { middle };
                if to_left || to_right {
                    let ends = (end(to_left, x, across), end(to_right, right, across));
                    svg.line((ends.0, down), (ends.1, down), "grid");
                }
                if to_top || to_bottom {
                    let ends = (end(to_top, top, down), end(to_bottom, top + HEIGHT, down));
                    each.map(|x| x + WIDTH / 2.0)
                        .for_each(|x| svg.line((x, ends.0), (x, ends.1), "grid"));
                }
            }
            None => {}
        }
        x = right;
    }
}

fn class(style: Style, more: &str) -> String {
    let colour = match style.fg {
        Some(Color::Yellow) => "committed",
        Some(Color::Blue) => "resident",
        Some(Color::Cyan | Color::Green) => "huge",
        Some(Color::Red) => "refused",
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
        let svg = screen_svg(&buffer, "a & b");
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
        // Two lines at each corner, the line between them, and the bar; then the eighths of a place.
        assert_eq!(svg.matches("class=\"grid\"").count(), 6, "{svg}");
        for class in ["committed s100", "committed s75", "committed s20"] {
            assert!(
                svg.contains(&format!("class=\"{class}\"")),
                "{class}: {svg}"
            );
        }
        assert!(
            svg.contains("width=\"8.50\" height=\"1.9\"")
                && svg.contains("width=\"1.06\" height=\"15.0\""),
            "{svg}"
        );
        assert!(svg.contains("class=\"chosen\""), "{svg}");
    }
}
