//! The findings of `elbowroom doctor`: plain data, made by the platform and shown by `doctor`.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// The severity of a finding, from the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Works, but differently than on most systems; or lacks something that only some uses need.
    Note,
    /// Works until a program reaches a limit.
    Warning,
    /// Something that a region needs is not there.
    Missing,
}

impl Level {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Missing => "missing",
        }
    }
}

/// Modest programs notice a limit below this.
pub(super) const MODEST_BYTES: u64 = 1 << 30;

/// Returns the level for the rest of a limit.
pub(crate) fn level_of(left: u64) -> Level {
    if left < MODEST_BYTES {
        Level::Warning
    } else {
        Level::Note
    }
}

/// The section of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "a platform has findings in its own sections only")]
pub(crate) enum Section {
    Addresses,
    Commit,
    Limits,
    Faults,
    HugePages,
    Kernel,
}

impl Section {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Section::Addresses => "addresses",
            Section::Commit => "commit",
            Section::Limits => "limits of this process",
            Section::Faults => "faults",
            Section::HugePages => "huge pages",
            Section::Kernel => "what the kernel offers",
        }
    }
}

/// One examined property and its value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// The name for programs, which is the same in every version.
    pub(crate) id: &'static str,
    pub(crate) section: Section,
    pub(crate) level: Level,
    /// The examined property, for people.
    pub(crate) what: &'static str,
    /// The value, for people.
    pub(crate) found: String,
    /// The value for programs, or null if it is not known. Sizes are in bytes.
    pub(crate) value: Value,
    /// The meaning for elbowroom.
    pub(crate) means: String,
    /// The change to make; null if all is well or nothing can be done.
    pub(crate) change: Option<String>,
}

impl Finding {
    /// Creates a finding of level ok. Other methods change the level.
    pub(crate) fn new(id: &'static str, section: Section, what: &'static str) -> Finding {
        let (found, means) = (String::new(), String::new());
        Finding {
            id,
            section,
            level: Level::Ok,
            what,
            found,
            value: Value::Null,
            means,
            change: None,
        }
    }

    pub(crate) fn found(mut self, text: impl Into<String>, value: impl Into<Value>) -> Finding {
        self.found = text.into();
        self.value = value.into();
        self
    }

    pub(crate) fn means(mut self, text: impl Into<String>) -> Finding {
        self.means = text.into();
        self
    }

    /// Sets the level, the meaning, and the change to make.
    pub(crate) fn but(
        mut self,
        level: Level,
        means: impl Into<String>,
        change: impl Into<String>,
    ) -> Finding {
        self.level = level;
        self.means = means.into();
        self.change = Some(change.into());
        self
    }

    /// Sets the level note, because the value cannot be found out. A full stop follows the reason.
    pub(crate) fn unknown(self, why: impl fmt::Display) -> Finding {
        self.found("not known", Value::Null).note(format!("{why}."))
    }

    /// Sets the level note, with nothing to change.
    pub(crate) fn note(mut self, means: impl Into<String>) -> Finding {
        self.level = Level::Note;
        self.means = means.into();
        self.change = None;
        self
    }
}

/// All findings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// The system's name and version.
    pub(crate) system: String,
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    /// Returns a report in which the findings of each section are adjacent and in order.
    pub(crate) fn new(system: String, mut findings: Vec<Finding>) -> Report {
        findings.sort_by_key(|finding| finding.section);
        Report { system, findings }
    }

    /// Returns the worst level, or ok if there are no findings.
    pub(crate) fn worst(&self) -> Level {
        self.findings
            .iter()
            .map(|finding| finding.level)
            .max()
            .unwrap_or(Level::Ok)
    }

    pub(crate) fn count(&self, level: Level) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    }

    /// Returns the exit status: 1 if something is missing that a region needs.
    pub(crate) fn status(&self) -> i32 {
        i32::from(self.worst() == Level::Missing)
    }
}

#[cfg(test)]
impl Level {
    /// Asserts that findings have this level and a part of their text, and that only what is wrong names a change.
    pub(crate) fn is_of<const N: usize>(self, judged: [(Finding, &str); N]) {
        for (finding, part) in judged {
            let text = serde_json::to_string(&finding).unwrap();
            assert_eq!(finding.level, self, "{text}");
            assert!(text.contains(part), "{part}: {text}");
            assert!(
                !finding.found.is_empty() && !finding.means.is_empty(),
                "{text}"
            );
            let names_change = finding.change.is_some();
            assert!(
                self == Level::Note || names_change == (self > Level::Note),
                "{text}"
            );
        }
    }
}
