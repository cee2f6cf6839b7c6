//! A region to look at in this program's own address space.

use elbowroom::{Error, Growth, Region, page_size};

const NAME: &str = "elbowroom sample";

/// Pages of each kind, with reserved ones at both ends so that no neighbour's can be taken for them.
pub(crate) struct Sample {
    // Held, so that it can be looked at.
    #[cfg_attr(not(test), expect(dead_code, reason = "there to be seen"))]
    region: Region,
}

impl Sample {
    pub(crate) const PAGES: usize = 256;
    /// Committed and touched.
    pub(crate) const RESIDENT: std::ops::Range<usize> = 16..80;
    /// Committed, and not touched.
    pub(crate) const COMMITTED: std::ops::Range<usize> = 80..112;
    /// Committed and touched, by itself.
    pub(crate) const LONE: usize = 192;

    pub(crate) fn new() -> Result<Sample, Error> {
        let page = page_size();
        let region = Region::builder(Sample::PAGES * page)
            .growth(Growth::Pages(1))
            .name(NAME)
            .build()?;
        for touched in Sample::RESIDENT.chain([Sample::LONE]) {
            region.try_write(touched * page, 1u8)?;
        }
        region.commit(Sample::COMMITTED.start * page..Sample::COMMITTED.end * page)?;
        Ok(Sample { region })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elbowroom_map::{Kind, Run, Snapshot, State, Wanted};

    /// What the system says of the sample is what was done to it, to the byte.
    #[test]
    fn the_figures_are_those_of_what_was_done() {
        // The /proc that an emulator shows is the host's in part.
        if elbowroom_testing::is_emulated() {
            return;
        }
        let sample = Sample::new().unwrap();
        // Not on every platform.
        let Ok(snapshot) = Snapshot::of_self() else {
            return;
        };
        let first = sample.region.as_ptr().addr() as u64;
        let region = snapshot.find(&Wanted::Name(NAME.to_owned())).unwrap();
        let page = page_size() as u64;
        assert_eq!(
            (region.kind, region.start, region.end),
            (Kind::Named, first, first + Sample::PAGES as u64 * page)
        );
        assert_eq!(region.figures.reserved_bytes, Sample::PAGES as u64 * page);
        assert_eq!(region.figures.committed_bytes, (64 + 32 + 1) * page);
        assert_eq!(region.figures.charged_bytes, Some((64 + 32 + 1) * page));
        assert_eq!(region.figures.resident_bytes, Some((64 + 1) * page));

        let runs = snapshot.pages(region).unwrap().runs;
        let pages =
            |start: u64, end: u64, state| Run::new(first + start * page, first + end * page, state);
        assert_eq!(
            runs,
            [
                pages(0, 16, State::Reserved),
                pages(16, 80, State::Resident),
                pages(80, 112, State::Committed),
                pages(112, 192, State::Reserved),
                pages(192, 193, State::Resident),
                pages(193, 256, State::Reserved),
            ]
        );
    }
}
