//! The plan of a sort: the length of its runs, and the number of its passes.

/// Blocks of a merge are no smaller than a 64th of the memory, within these bounds, so that reads stay long.
pub(super) const BLOCK_BYTES_MIN: usize = 4 << 10;
const BLOCK_BYTES_MAX: usize = 256 << 10;

/// All counts are of elements.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) memory: usize,
    /// The length of a run.
    pub(super) run: usize,
    /// The number of runs that are merged to one, at most one less than the elements that the memory holds.
    pub(super) fan_in: usize,
    /// The number of passes over all elements.
    pub(super) passes: u32,
}

impl Plan {
    /// Returns the plan for `len` elements of `size` bytes, or `None` if the memory holds less than three.
    pub(super) fn new(memory: usize, size: usize, threads: usize, len: usize) -> Option<Plan> {
        if memory < 3 {
            return None;
        }
        if len <= memory {
            return Some(Plan {
                memory,
                run: memory,
                fan_in: 2,
                passes: 0,
            });
        }
        let run = (memory / threads).max(1);
        let runs = len.div_ceil(run);
        let block_bytes = (memory * size / 64).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
        let block = (block_bytes / size).max(1);
        let most = (memory / block).saturating_sub(1).max(2);
        let suffices = |fan_in: usize, passes: u32| fan_in.saturating_pow(passes) >= runs;
        let mut passes = 1;
        while !suffices(most, passes) {
            passes += 1;
        }
        // The fewest at once that need no pass more: their blocks are longer.
        let mut fan_in = most;
        while fan_in > 2 && suffices(fan_in - 1, passes) {
            fan_in -= 1;
        }
        Some(Plan {
            memory,
            run,
            fan_in,
            passes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn passes_are_few_and_even() {
        let plan = |memory, len| {
            let plan = Plan::new(memory, 8, 1, len)?;
            Some((plan.run, plan.fan_in, plan.passes))
        };
        assert_eq!(plan(2, 10), None);
        assert_eq!(plan(10, 10), Some((10, 2, 0)));
        assert_eq!(plan(3, 10), Some((3, 2, 2)));
        // 64 times the memory, in one pass.
        assert_eq!(plan(8 << 20, 512 << 20), Some((8 << 20, 64, 1)));
        // Blocks of 4 KiB: 15 at once would take two passes, and so do 8.
        assert_eq!(plan(8 << 10, 512 << 10), Some((8 << 10, 8, 2)));
    }

    #[test]
    fn threads_share_the_memory() {
        let plan = Plan::new(100, 8, 4, 1000).unwrap();
        assert_eq!((plan.memory, plan.run), (100, 25));
        assert_eq!(Plan::new(3, 8, 64, 1000).unwrap().run, 1);
        assert_eq!(Plan::new(100, 8, 4, 100).unwrap().run, 100);
    }
}
