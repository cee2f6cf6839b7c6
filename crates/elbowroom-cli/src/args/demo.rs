//! The command line of `elbowroom demo`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use elbowroom::page_size;

use crate::size;

/// The destination of the transcript.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transcript {
    /// Printed, line by line, as things happen.
    Printed,
    /// Part of a JSON object.
    InJson,
    /// Nothing.
    Dropped,
}

/// The type of a character (TCHAR) in Microsoft's program.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Char {
    /// One byte: the program reserves exactly what it stores
    Narrow,
    /// Two bytes, as in a Unicode build: the program stores twice what it reserves
    Wide,
}

impl Char {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Char::Narrow => 1,
            Char::Wide => 2,
        }
    }
}

/// Run Microsoft's program "Reserving and Committing Memory"
///
/// The program reserves 80 pages and stores one character after another into them. Each page fault commits
/// one more page, and the same instruction runs again. Each line of the transcript is the line of Microsoft's
/// program, printed when the event happens.
///
/// The exit status is 0 at the end, and also when the pages run out, because no system call has failed then.
/// If a commit fails, it is the system's error number. If reserving, releasing or printing fails, it is 1.
#[derive(Args)]
#[command(after_help = examples!(sizes: "
  elbowroom demo --char wide           the program built for Unicode: it runs out of pages
  elbowroom demo --growth 16           commits 16 pages per fault
  elbowroom demo --fail-commit-at 5    the fifth commit fails
  elbowroom demo --picture             draws the region at the end
  elbowroom demo --growth 8 --svg a.svg
  elbowroom demo --json --growth 16    the figures, for programs"))]
pub(crate) struct Demo {
    /// Largest number of pages to commit and store into
    #[arg(long, value_name = "N", default_value = "80", value_parser = at_least_one)]
    pub(crate) page_limit: usize,

    /// Size of the reservation [default: the pages of --page-limit]
    ///
    /// A larger one shows that reserving costs no memory. With a smaller one, the commit past its end fails.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) reserve: Option<usize>,

    /// Number of pages that a fault commits
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    pub(crate) growth: usize,

    /// Type of the characters that are stored
    #[arg(long, value_enum, default_value = "narrow")]
    pub(crate) char: Char,

    /// Print no transcript
    #[arg(long, conflicts_with = "json")]
    pub(crate) quiet: bool,

    /// Print what was reserved, committed and used to standard error
    #[arg(long)]
    pub(crate) summary: bool,

    /// Print one JSON object that contains the transcript
    #[arg(long)]
    pub(crate) json: bool,

    /// Make the Nth commit fail as if memory had run out, counted from 1
    ///
    /// If --growth is above 1, the library then commits only the page that was touched, which succeeds.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) fail_commit_at: Option<usize>,

    /// Make reserving fail
    #[arg(long)]
    pub(crate) fail_reserve: bool,

    /// Make releasing fail
    #[arg(long)]
    pub(crate) fail_release: bool,

    /// Make page N raise a fault that is not a page fault, counted from 0
    ///
    /// A bus error on Unix, a guard page on Windows. Not with --growth: a larger commit would cover the page.
    #[arg(long, value_name = "N", conflicts_with = "growth")]
    pub(crate) other_fault_at: Option<usize>,

    /// Draw the pages of the region after the transcript
    #[arg(long, conflicts_with = "json")]
    pub(crate) picture: bool,

    /// Write an SVG drawing of the faults and of the region at the end
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Write the same drawing as a self-contained HTML page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

impl Demo {
    /// Checks the settings that depend on the page size.
    pub(super) fn check(&self) -> Result<(), String> {
        let Some(limit_bytes) = self.limit_bytes() else {
            return Err(format!(
                "--page-limit {} is more pages than can be addressed",
                self.page_limit
            ));
        };
        let reserved = self.reserve.unwrap_or(limit_bytes);
        let touched = self.page_limit.min(reserved.div_ceil(page_size()));
        match self.other_fault_at {
            Some(at) if at >= touched => Err(format!(
                "--other-fault-at {at}: the pages are 0 to {}",
                touched - 1
            )),
            _ => Ok(()),
        }
    }

    /// Returns the size of the pages of `--page-limit`, or `None` if their characters cannot be addressed.
    fn limit_bytes(&self) -> Option<usize> {
        let bytes = self.page_limit.checked_mul(page_size())?;
        // The last byte stored must have an offset, so wide characters count too.
        let stored = bytes.checked_mul(self.char.bytes())?;
        (stored <= isize::MAX as usize).then_some(bytes)
    }

    pub(crate) fn reserve_bytes(&self) -> usize {
        self.reserve
            .unwrap_or_else(|| self.page_limit * page_size())
    }

    pub(crate) fn transcript(&self) -> Transcript {
        match (self.quiet, self.json) {
            (true, _) => Transcript::Dropped,
            (_, true) => Transcript::InJson,
            _ => Transcript::Printed,
        }
    }

    pub(crate) fn is_drawn(&self) -> bool {
        self.picture || self.svg.is_some() || self.html.is_some()
    }
}

/// Reads a number of things, which is at least one.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}
