//! Takes snapshots, and reads and draws the pages of a region.

use std::fmt;
use std::process;

use elbowroom::Size;

use crate::error::Error;
use crate::escape::{escaped, shortened};
use crate::os;
use crate::pages::Run;
use crate::picture::Picture;
use crate::snapshot::{Region, Snapshot};
use crate::text::Paint;
use crate::wrap::COLUMNS;

impl Snapshot {
    /// Takes a snapshot of this process. Regions of elbowroom have their names, even if the system does not store them.
    ///
    /// # Errors
    /// Fails on systems that cannot be read: see [the platforms](crate#platforms).
    pub fn of_self() -> Result<Snapshot, Error> {
        let before = elbowroom::regions();
        let mut snapshot = os::snapshot(process::id())?;
        // A region that was created or dropped in between may or may not be in the snapshot.
        let after = elbowroom::regions();
        for region in before.iter().filter(|region| !region.name.is_empty()) {
            if after
                .iter()
                .any(|other| (other.address, &other.name) == (region.address, &region.name))
            {
                let start = region.address as u64;
                snapshot.name(
                    start..start + region.stats.reserved_bytes as u64,
                    &region.name,
                );
            }
        }
        Ok(snapshot)
    }

    /// Takes a snapshot of another process, which keeps running.
    ///
    /// # Errors
    /// Fails with [`is_gone`](Error::is_gone) if there is no such process or it ends while it is read, and with
    /// [`is_forbidden`](Error::is_forbidden) if this program may not read it.
    pub fn of_process(pid: u32) -> Result<Snapshot, Error> {
        os::snapshot(pid)
    }

    /// Reads the state of each page of a region.
    ///
    /// # Errors
    /// Fails as [`of_process`](Snapshot::of_process).
    pub fn pages(&self, region: Region) -> Result<Pages<'_>, Error> {
        let runs = os::page_runs(self, &region)?;
        Ok(Pages {
            snapshot: self,
            region,
            runs,
        })
    }
}

/// The pages of a region. Returned by [`Snapshot::pages`]; prints as a picture.
#[derive(Clone, Debug)]
pub struct Pages<'a> {
    /// The snapshot that has the region.
    pub snapshot: &'a Snapshot,
    /// The region.
    pub region: Region,
    /// The pages: adjacent runs that cover the region.
    pub runs: Vec<Run>,
}

impl Pages<'_> {
    /// Returns the text. Its picture has lines of at most `columns`.
    pub fn draw(&self, paint: Paint, columns: usize) -> String {
        let Pages {
            snapshot,
            region,
            runs,
        } = self;
        let picture = Picture::fitting(runs, snapshot.page_size_bytes, columns);
        let start = format!("process {} ", snapshot.pid);
        let end = format!(
            ": {} at {:x}",
            Size(region.end - region.start),
            region.start
        );
        let room = |others: &str| columns.saturating_sub(others.len());
        let program = shortened(&escaped(&snapshot.program), room(&start));
        let name = shortened(&region.label(escaped), room(&end));
        format!(
            "{start}{program}\n{name}{end}\n\n{}",
            picture.draw(paint, columns)
        )
    }
}

impl fmt::Display for Pages<'_> {
    /// Writes the text in 80 columns without colours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.draw(Paint::Plain, COLUMNS))
    }
}
