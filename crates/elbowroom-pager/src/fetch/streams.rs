//! Finds the sequential ones among the misses, and says how far to read ahead.

/// The number of sequential readers that are distinguished.
const STREAMS: usize = 16;

#[derive(Clone, Copy, Default)]
struct Stream {
    /// The page where the next miss is, if the reader goes on.
    next: usize,
    /// Pages of the last read.
    window: usize,
    /// When it was last seen.
    turn: u64,
}

/// The readers that miss pages in order.
#[derive(Default)]
pub(super) struct Streams {
    streams: [Stream; STREAMS],
    turn: u64,
}

impl Streams {
    /// Notes a miss of `wanted` pages from `page` on. Returns how many pages to read: twice as many as the last time if
    /// the miss continues a stream, at most `window_max`, and at least the wanted ones.
    pub(super) fn note(&mut self, page: usize, wanted: usize, window_max: usize) -> usize {
        self.turn += 1;
        let known = self
            .streams
            .iter()
            .position(|stream| stream.window > 0 && stream.next == page);
        let (index, window) = match known {
            Some(index) => {
                let doubled = self.streams[index].window.saturating_mul(2);
                (index, doubled.min(window_max).max(wanted))
            }
            None => {
                let turns = self.streams.iter().enumerate();
                let oldest = turns.min_by_key(|(_, stream)| stream.turn);
                (oldest.map_or(0, |(index, _)| index), wanted)
            }
        };
        self.streams[index] = Stream {
            next: page + window,
            window,
            turn: self.turn,
        };
        window
    }
}

#[cfg(test)]
mod tests {
    use super::Streams;

    #[test]
    fn sequential_misses_double_the_window_and_others_do_not() {
        let mut streams = Streams::default();
        assert_eq!(streams.note(100, 1, 8), 1);
        assert_eq!(streams.note(7, 1, 8), 1);
        assert_eq!(streams.note(101, 1, 8), 2);
        assert_eq!(streams.note(103, 1, 8), 4);
        assert_eq!(streams.note(50, 1, 8), 1);
        assert_eq!(streams.note(107, 1, 8), 8);
        assert_eq!(streams.note(115, 1, 8), 8);
        assert_eq!(streams.note(116, 1, 8), 1);
        // What is wanted is read, whatever the maximum.
        assert_eq!(streams.note(123, 20, 8), 20);
    }

    #[test]
    fn many_streams_are_told_apart() {
        let mut streams = Streams::default();
        for stream in 0..16 {
            assert_eq!(streams.note(stream * 1000, 1, 8), 1);
        }
        for stream in 0..16 {
            assert_eq!(streams.note(stream * 1000 + 1, 1, 8), 2);
        }
    }
}
