//! The largest reservation, found by trying.

use elbowroom::Reservation;

use super::finding::{Finding, Level, Section, level_of};
use crate::size::Size;

/// The smallest size that is tried.
const FIRST_BYTES: usize = 1 << 20;
/// The largest size that is tried: more than the address space of any present processor.
const LAST_BYTES: usize = 1 << 58;
/// The memory cost of a reservation above which no larger one is tried. An emulator can keep a record of each page.
const COST_MAX_BYTES: u64 = 64 << 20;

/// The largest reservation that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Largest {
    /// The size; 0 if no reservation was granted.
    pub(super) bytes: usize,
    pub(super) bound: Bound,
}

/// The reason why no larger reservation is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// The system refused a larger one with this message.
    Refused(String),
    /// The largest cost this much memory just to hold, so no larger one was tried.
    Costly { resident_bytes: u64 },
    /// Nothing was refused.
    None,
}

impl Largest {
    /// Finds the largest reservation on this machine. `resident_bytes` returns the resident size of this process. Each
    /// reservation is released at once.
    pub(super) fn find(resident_bytes: impl Fn() -> Option<u64>) -> Largest {
        search(|len| {
            let before = resident_bytes();
            let reservation = Reservation::new(len).map_err(|error| error.to_string())?;
            let held = resident_bytes();
            drop(reservation);
            Ok(held.unwrap_or(0).saturating_sub(before.unwrap_or(0)))
        })
    }

    pub(super) fn judge(&self) -> Finding {
        let Largest { bytes, bound } = self;
        let size = Size(*bytes as u64);
        let what = "largest reservation";
        let finding = Finding::new("largest_reservation", Section::Addresses, what);
        match bound {
            Bound::Refused(reason) if *bytes == 0 => finding.found("none", 0).but(
                Level::Missing,
                format!("Nothing can be reserved: {reason}."),
                "Raise the limit that the error names.",
            ),
            Bound::Refused(reason) if *bytes < 64 << 30 => finding.found(format!("{size} in one piece"), *bytes).but(
                level_of(*bytes as u64),
                format!("More is refused: {reason}."),
                "Raise the limit that the error names, or reserve less.",
            ),
            Bound::Costly { resident_bytes } => finding.found(format!("at least {size}"), *bytes).note(format!(
                "Holding it took {} of memory, as under an emulator, so nothing larger was tried.",
                Size(*resident_bytes)
            )),
            _ => finding
                .found(format!("{size} in one piece"), *bytes)
                .means("Measured with trial reservations. They use addresses and no memory, so they can be large."),
        }
    }
}

/// Doubles the size until it is refused, then bisects to within a 256th. `reserve` returns the memory cost of the
/// reservation.
fn search(mut reserve: impl FnMut(usize) -> Result<u64, String>) -> Largest {
    let largest = |bytes, bound| Largest { bytes, bound };
    let mut granted = 0;
    let mut next = FIRST_BYTES;
    let (mut refused, mut reason) = loop {
        if next > LAST_BYTES {
            return largest(granted, Bound::None);
        }
        match reserve(next) {
            Ok(resident_bytes) if resident_bytes > COST_MAX_BYTES => {
                return largest(next, Bound::Costly { resident_bytes });
            }
            Ok(_) => (granted, next) = (next, next * 2),
            Err(reason) => break (next, reason),
        }
    };
    while granted > 0 && refused - granted > granted / 256 {
        let middle = granted + (refused - granted) / 2;
        match reserve(middle) {
            Ok(_) => granted = middle,
            Err(error) => (refused, reason) = (middle, error),
        }
    }
    largest(granted, Bound::Refused(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the result of a machine with `room` bytes.
    fn with_room(room: usize) -> (usize, Bound) {
        let reserve = |len| (len <= room).then_some(0).ok_or(format!("no {len}"));
        let Largest { bytes, bound } = search(reserve);
        (bytes, bound)
    }

    #[test]
    fn the_largest_is_found_to_a_256th() {
        for room in [FIRST_BYTES, 3 << 20, 100 << 30, 87 << 40, LAST_BYTES - 1] {
            let (bytes, bound) = with_room(room);
            let is_near = (room - room / 256..=room).contains(&bytes);
            assert!(is_near, "{bytes} of {room}");
            assert!(matches!(bound, Bound::Refused(reason) if reason.starts_with("no ")));
        }
    }

    #[test]
    fn there_may_be_none_and_there_may_be_no_end() {
        let refused = Bound::Refused(format!("no {FIRST_BYTES}"));
        assert_eq!(with_room(0), (0, refused));
        assert_eq!(with_room(usize::MAX), (LAST_BYTES, Bound::None));
    }

    #[test]
    fn what_costs_memory_is_not_driven_on() {
        // A byte a page: 64 MiB for 256 GiB.
        let Largest { bytes, bound } = search(|len| Ok(len as u64 / 4096));
        let resident_bytes = 128 << 20;
        assert_eq!(
            (bytes, bound),
            (512 << 30, Bound::Costly { resident_bytes })
        );
    }

    #[test]
    fn reservations_are_as_bad_as_they_are_small() {
        let judged = |bytes, bound| Largest { bytes, bound }.judge();
        let refused = |bytes| judged(bytes, Bound::Refused("why".to_owned()));
        let resident_bytes = 64 << 20;
        let costly = Bound::Costly { resident_bytes };
        Level::Ok.is_of([(refused(64 << 30), "64 GiB in one piece")]);
        Level::Note.is_of([
            (refused(63 << 30), "More is refused: why."),
            (judged(1 << 35, costly), "at least 32 GiB"),
        ]);
        Level::Warning.is_of([(refused(1 << 29), "512 MiB in one piece")]);
        Level::Missing.is_of([(refused(0), "Nothing can be reserved: why.")]);
    }
}
