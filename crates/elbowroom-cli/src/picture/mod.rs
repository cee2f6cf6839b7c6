//! Drawings as files: of pages, of how a region grew, and of the screen.

mod screen;
pub(crate) mod svg;
mod trace;

pub(crate) use screen::screen_svg;
pub(crate) use trace::Trace;

/// Returns 1, 2 or 5 times a power of ten that divides a scale into at most `most` steps.
pub(crate) fn round_step(longest: f64, most: f64) -> f64 {
    let mut power = 1.0;
    loop {
        for step in [power, 2.0 * power, 5.0 * power] {
            if longest / step <= most {
                return step;
            }
        }
        power *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        let steps = [1.0, 8.0, 9.0, 80.0, 4.1e7].map(|longest| round_step(longest, 8.0));
        assert_eq!(steps, [1.0, 1.0, 2.0, 10.0, 1e7]);
    }
}
