//! Checks whether there is enough memory for the measurement, before anything is touched.

use elbowroom::Budget;

use crate::os;
use crate::size::Size;

const DEFAULT_BYTES: usize = 64 << 20;
const QUICK_BYTES: usize = 8 << 20;
/// Sizes are multiples of this, so that huge pages fit.
pub(crate) const UNIT_BYTES: usize = 2 << 20;
/// The other memory of a process: page tables, stacks, the program itself.
const BESIDES_BYTES: usize = 32 << 20;

/// The available memory, and the limit that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    pub(crate) by: String,
}

impl Room {
    /// Returns the smallest of the free memory and the rest of each limit.
    pub(crate) fn now() -> Room {
        let budget = Budget::for_process();
        let limit = (budget.available_bytes() as u64, budget.name());
        let (bytes, by) = match os::available_bytes() {
            Some(bytes) if bytes < limit.0 => (bytes, "available memory"),
            _ => limit,
        };
        let by = by.to_owned();
        Room { bytes, by }
    }
}

/// Returns the size that a process touches and releases before its sample, so that the system has free memory at hand.
/// The host of a virtual machine may have taken back memory that was free for a while (free page reporting). It then
/// needs milliseconds to supply a huge page, and they count as the program's time.
pub(crate) fn warm_bytes(size: usize) -> usize {
    size + size.clamp(16 << 20, 512 << 20)
}

/// Returns the peak memory of one sample.
fn taken_bytes(size: usize) -> u64 {
    (warm_bytes(size) + BESIDES_BYTES) as u64
}

/// Returns the default size, for a machine with enough memory.
pub(crate) fn usual_bytes(is_quick: bool) -> usize {
    if is_quick { QUICK_BYTES } else { DEFAULT_BYTES }
}

/// Returns a note if the measured size differs from the requested one.
pub(crate) fn rounded(asked: Option<usize>, taken: usize) -> Option<String> {
    let asked = asked.filter(|&asked| asked != taken)?;
    Some(format!(
        "--size {} is rounded up to {}, a multiple of {}, so that huge pages fit",
        Size(asked as u64),
        Size(taken as u64),
        Size(UNIT_BYTES as u64)
    ))
}

/// Returns the size to measure, a multiple of [`UNIT_BYTES`]. Without a requested size, it is smaller if there is less
/// memory. A quarter of the memory is left to other programs. Fails with the reason if nothing can be measured.
pub(crate) fn size(asked: Option<usize>, is_quick: bool, room: &Room) -> Result<usize, String> {
    let fits = |size: usize| taken_bytes(size) <= room.bytes / 4 * 3;
    let left = Size(room.bytes);
    if let Some(asked) = asked {
        let rounded = asked
            .checked_next_multiple_of(UNIT_BYTES)
            .filter(|&size| size <= isize::MAX as usize / 4);
        return match rounded {
            Some(size) if fits(size) => Ok(size),
            _ => Err(format!(
                "--size {} is too much: {left} is available ({}), and a sample takes a little more than twice \
                 its size. Choose a smaller --size, or leave it out.",
                Size(asked as u64),
                room.by
            )),
        };
    }
    let mut size = usual_bytes(is_quick);
    while !fits(size) {
        size /= 2;
        if size < UNIT_BYTES {
            let needed = Size(taken_bytes(UNIT_BYTES) / 3 * 4);
            return Err(format!(
                "there is too little memory: {left} is available ({}), and the smallest measurement needs {needed}. \
                 Raise that limit, or end other programs.",
                room.by
            ));
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(mib: u64) -> Room {
        Room {
            bytes: mib << 20,
            by: "cgroup memory.max".to_owned(),
        }
    }

    #[test]
    fn without_a_wish_it_takes_what_fits() {
        assert_eq!(size(None, false, &room(16 << 10)), Ok(64 << 20));
        assert_eq!(size(None, true, &room(16 << 10)), Ok(8 << 20));
        assert_eq!(size(None, false, &room(200)), Ok(32 << 20));
        assert_eq!(size(None, false, &room(68)), Ok(2 << 20));
        let refused = size(None, false, &room(60)).unwrap_err();
        assert!(
            refused.contains("60 MiB is available (cgroup memory.max)"),
            "{refused}"
        );
    }

    #[test]
    fn another_size_than_the_one_asked_for_is_told() {
        assert_eq!(
            rounded(Some(3 << 20), 4 << 20).unwrap(),
            "--size 3 MiB is rounded up to 4 MiB, a multiple of 2 MiB, so that huge pages fit"
        );
        assert_eq!(rounded(Some(4 << 20), 4 << 20), None);
        assert_eq!(rounded(None, 4 << 20), None);
    }

    #[test]
    fn a_wish_is_fulfilled_or_refused() {
        assert_eq!(size(Some(1), false, &room(1000)), Ok(2 << 20));
        assert_eq!(size(Some(100 << 20), false, &room(1000)), Ok(100 << 20));
        for asked in [400 << 20, usize::MAX, isize::MAX as usize] {
            let refused = size(Some(asked), false, &room(1000)).unwrap_err();
            assert!(refused.contains("is too much: 1000 MiB"), "{refused}");
        }
    }
}
