//! Whether there is memory for what is to be measured. Nothing is touched before that is known.

use elbowroom::Budget;

use crate::os;
use crate::size::human;

const DEFAULT_BYTES: usize = 64 << 20;
const QUICK_BYTES: usize = 8 << 20;
/// Sizes are multiples of this, so that huge pages fit.
pub(crate) const UNIT_BYTES: usize = 2 << 20;
/// What a process takes besides: page tables, stacks, the program itself.
const BESIDES_BYTES: usize = 32 << 20;

/// What can be had, and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    pub(crate) by: String,
}

impl Room {
    /// The tightest of what the limits leave and what is free.
    pub(crate) fn now() -> Room {
        let budget = Budget::for_process();
        let limit = Room {
            bytes: budget.available_bytes() as u64,
            by: budget.name().to_owned(),
        };
        match os::available_bytes() {
            Some(bytes) if bytes < limit.bytes => Room {
                bytes,
                by: "available memory".to_owned(),
            },
            _ => limit,
        }
    }
}

/// How much a process touches and gives back before its sample, so that the system has it at hand. A virtual machine's
/// host may have taken back what had been free for a while (free page reporting), and then takes milliseconds to bring
/// a huge page in, all of them on the program's clock.
pub(crate) fn warm_bytes(size: usize) -> usize {
    size + size.clamp(16 << 20, 512 << 20)
}

/// What one sample takes at its peak.
fn taken_bytes(size: usize) -> u64 {
    (warm_bytes(size) + BESIDES_BYTES) as u64
}

/// What is measured where there is memory for it and nothing else was asked for.
pub(crate) fn usual_bytes(is_quick: bool) -> usize {
    if is_quick { QUICK_BYTES } else { DEFAULT_BYTES }
}

/// Says that another size is measured than was asked for, if it is.
pub(crate) fn rounded(asked: Option<usize>, taken: usize) -> Option<String> {
    let asked = asked.filter(|&asked| asked != taken)?;
    Some(format!(
        "--size {} is rounded up to {}, a multiple of {}, so that huge pages fit",
        human(asked as u64),
        human(taken as u64),
        human(UNIT_BYTES as u64)
    ))
}

/// How much to measure, a multiple of [`UNIT_BYTES`]; or why nothing can be. Asked for nothing in particular, it takes
/// less where there is less. A quarter of the room is left to others.
pub(crate) fn size(asked: Option<usize>, is_quick: bool, room: &Room) -> Result<usize, String> {
    let fits = |size: usize| taken_bytes(size) <= room.bytes / 4 * 3;
    let left = human(room.bytes);
    if let Some(asked) = asked {
        let rounded = asked
            .checked_next_multiple_of(UNIT_BYTES)
            .filter(|&size| size <= isize::MAX as usize / 4);
        return match rounded {
            Some(size) if fits(size) => Ok(size),
            _ => Err(format!(
                "--size {} is too much: {left} can be had ({}), and a sample takes twice its size and some more. \
                 Choose a smaller --size, or leave it out.",
                human(asked as u64),
                room.by
            )),
        };
    }
    let mut size = usual_bytes(is_quick);
    while !fits(size) {
        size /= 2;
        if size < UNIT_BYTES {
            let needed = human(taken_bytes(UNIT_BYTES) / 3 * 4);
            return Err(format!(
                "there is too little memory: {left} can be had ({}), and the smallest measurement needs {needed}. \
                 Raise that limit, or end what takes memory.",
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
            refused.contains("60 MiB") && refused.contains("cgroup memory.max"),
            "{refused}"
        );
    }

    #[test]
    fn another_size_than_the_one_asked_for_is_told() {
        assert_eq!(
            rounded(Some(3 << 20), 4 << 20).unwrap(),
            "--size 3 MiB is rounded up to 4 MiB, a multiple of 2 MiB, so that huge pages fit"
        );
        assert_eq!(
            [rounded(Some(4 << 20), 4 << 20), rounded(None, 4 << 20)],
            [None, None]
        );
    }

    #[test]
    fn a_wish_is_fulfilled_or_refused() {
        assert_eq!(size(Some(1), false, &room(1000)), Ok(2 << 20));
        assert_eq!(size(Some(100 << 20), false, &room(1000)), Ok(100 << 20));
        for asked in [400 << 20, usize::MAX, isize::MAX as usize] {
            let refused = size(Some(asked), false, &room(1000)).unwrap_err();
            assert!(
                refused.contains("1000 MiB") && refused.contains("smaller --size"),
                "{refused}"
            );
        }
    }
}
