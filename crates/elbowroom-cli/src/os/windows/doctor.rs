//! The facts that `elbowroom doctor` gathers on Windows, and their findings. The findings are a pure function of the
//! facts.

use elbowroom::{Budget, allocation_granularity, page_size};
use serde_json::{Value, json};

use super::probe::{self, JobLimits, Privilege};
use super::usage::{SystemMemory, system_memory};
use crate::findings::{self, Finding, Largest, Level, Report, Section, Trial, commit_on_touch};
use crate::size::human;

/// The gathered facts; `None` if the system does not report one.
#[derive(Clone, Debug)]
struct Facts {
    system: String,
    page_size_bytes: u64,
    granularity_bytes: u64,
    highest_address: u64,
    largest: Largest,
    /// Whether commit on touch works.
    touch: Trial,
    memory: Option<SystemMemory>,
    /// Whether a commit is charged before it is touched.
    is_charged: Option<bool>,
    /// The limit of [`Budget::for_process`], and where it comes from.
    budget: (u64, String),
    job: Option<JobLimits>,
    is_debugged: bool,
    /// 0 without large pages.
    large_page_bytes: u64,
    large_page_privilege: Privilege,
    /// The system's error for a request of a large page.
    large_page_error: Option<String>,
}

pub(crate) fn examine() -> Report {
    let facts = Facts::gather();
    Report::new(facts.system.clone(), facts.judge())
}

impl Facts {
    fn gather() -> Facts {
        let budget = Budget::for_process();
        let large_page_bytes = probe::large_page_bytes();
        Facts {
            system: probe::system(),
            page_size_bytes: page_size() as u64,
            granularity_bytes: allocation_granularity() as u64,
            highest_address: probe::highest_address(),
            largest: Largest::find(super::resident_bytes),
            touch: probe::touch(),
            memory: system_memory(),
            is_charged: probe::is_charged(),
            budget: (budget.limit_bytes() as u64, budget.name().to_owned()),
            job: probe::job_limits(),
            is_debugged: probe::is_debugged(),
            large_page_bytes,
            large_page_privilege: probe::large_page_privilege(),
            large_page_error: probe::large_page_error(large_page_bytes as usize),
        }
    }

    /// Judges the facts.
    fn judge(&self) -> Vec<Finding> {
        vec![
            findings::page_size(self.page_size_bytes),
            findings::granularity(
                self.granularity_bytes,
                "; small ones waste the addresses up to the next",
            ),
            self.largest.judge(),
            self.address_bits(),
            self.charge(),
            self.commit_limit(),
            findings::process_budget(self.budget.0, &self.budget.1),
            self.memory(),
            self.job(),
            commit_on_touch(&self.touch),
            self.debugger(),
            self.large_pages(),
        ]
    }

    fn address_bits(&self) -> Finding {
        let bits = u64::BITS - self.highest_address.leading_zeros();
        let finding = Finding::new("address_bits", Section::Addresses, "address space");
        let finding = finding.found(format!("{bits} bits: {}", human(1 << bits)), bits);
        if bits <= 43 {
            return finding.note("Few addresses: large reservations may not fit.");
        }
        finding.means("All that one process can reserve together.")
    }

    fn charge(&self) -> Finding {
        let finding = Finding::new("commit_charge", Section::Commit, "commit charge");
        match self.is_charged {
            Some(true) => finding
                .found("counted", true)
                .means("A commit counts before it is touched, and is refused past the limit."),
            Some(false) => finding.found("not counted", false).note(
                "A commit was not seen in the figures of this process, as under Wine. Only your own limits \
                 (commit_limit, a Budget) refuse before memory runs out.",
            ),
            None => finding.unknown("The system does not tell what this process has committed"),
        }
    }

    fn commit_limit(&self) -> Finding {
        let Some(memory) = &self.memory else {
            let finding = Finding::new("commit_limit", Section::Commit, "commit limit");
            return finding.unknown("GetPerformanceInfo does not say");
        };
        let change = "Make the paging file larger, or let the system manage its size";
        findings::commit_limit(
            memory.commit_limit_bytes,
            memory.committed_bytes,
            true,
            change,
        )
    }

    fn memory(&self) -> Finding {
        let finding = Finding::new("memory", Section::Commit, "memory");
        let Some(memory) = &self.memory else {
            return finding.unknown("GetPerformanceInfo does not say");
        };
        let SystemMemory {
            total_bytes: total,
            available_bytes: available,
            ..
        } = *memory;
        let value = json!({ "total_bytes": total, "available_bytes": available });
        let text = format!("{} available of {}", human(available), human(total));
        finding
            .found(text, value)
            .means("Touched pages can use this much before other memory must be freed.")
    }

    fn job(&self) -> Finding {
        let finding = Finding::new("job_object", Section::Limits, "job object");
        let Some(job) = &self.job else {
            return finding
                .found("none", Value::Null)
                .means("No job limits what this process commits.");
        };
        let JobLimits {
            process_bytes,
            job_bytes,
        } = *job;
        let value = json!({ "process_limit_bytes": process_bytes, "job_limit_bytes": job_bytes });
        let limits = [
            (process_bytes, "a process"),
            (job_bytes, "all its processes"),
        ];
        let limits: Vec<String> = limits
            .iter()
            .filter_map(|&(bytes, whose)| Some(format!("{} for {whose}", human(bytes?))))
            .collect();
        let Some(tightest) = process_bytes.into_iter().chain(job_bytes).min() else {
            return finding
                .found("one without limits on memory", value)
                .means("It does not limit what is committed.");
        };
        finding.found(limits.join(", "), value).but(
            findings::level_of(tightest),
            "Past it a commit is an error.",
            "Keep regions below it with Budget::for_process(), or raise it where the job is made",
        )
    }

    fn debugger(&self) -> Finding {
        let finding = Finding::new("debugger", Section::Faults, "debugger");
        if !self.is_debugged {
            return finding
                .found("none", false)
                .means("No debugger stops at the faults of regions.");
        }
        finding.found("one is attached", true).but(
            Level::Note,
            "It may stop at each fault of a region: a first-chance exception, which is normal.",
            "Let it pass access violations on at the first chance",
        )
    }

    fn large_pages(&self) -> Finding {
        let finding = Finding::new("large_pages", Section::HugePages, "large pages");
        let bytes = self.large_page_bytes;
        if bytes == 0 {
            return finding
                .found("none", Value::Null)
                .note("This machine has none.");
        }
        let privilege = self.large_page_privilege;
        let value = json!({
            "bytes": bytes, "privilege_held": privilege != Privilege::Absent,
            "privilege_enabled": privilege == Privilege::Enabled, "error": self.large_page_error,
        });
        let finding = finding.found(format!("{}, {}", human(bytes), privilege.word()), value);
        match (privilege, &self.large_page_error) {
            (Privilege::Absent, _) => finding.note(
                "They need the right \"Lock pages in memory\" (SeLockMemoryPrivilege). Regions do not use them: they \
                 cannot be committed piece by piece.",
            ),
            (_, None) => {
                finding.means("One was allocated. Regions do not use them: they cannot be committed piece by piece.")
            }
            (_, Some(error)) => finding.note(format!("Not to be had: {error}. Regions do not use them.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Bound, assert_good, of_id};

    const GIB: u64 = 1 << 30;

    /// Returns a machine where all is well.
    fn good() -> Facts {
        Facts {
            system: "Windows".to_owned(),
            page_size_bytes: 4096,
            granularity_bytes: 64 << 10,
            highest_address: 0x7fff_fffe_ffff,
            largest: Largest {
                bytes: 127 << 40,
                bound: Bound::Refused("no".to_owned()),
            },
            touch: Trial::Works,
            memory: Some(SystemMemory {
                total_bytes: 64 * GIB,
                available_bytes: 60 * GIB,
                commit_limit_bytes: 70 * GIB,
                committed_bytes: 10 * GIB,
            }),
            is_charged: Some(true),
            budget: (60 * GIB, "commit limit".to_owned()),
            job: None,
            is_debugged: false,
            large_page_bytes: 2 << 20,
            large_page_privilege: Privilege::Enabled,
            large_page_error: None,
        }
    }

    /// Returns the finding with this id, when a good machine is changed.
    fn judged(id: &str, change: impl FnOnce(&mut Facts)) -> Finding {
        let mut facts = good();
        change(&mut facts);
        of_id(facts.judge(), id)
    }

    #[test]
    fn nothing_is_wrong_with_a_good_machine() {
        assert_good(&good().judge());
    }

    #[test]
    fn the_commit_limit_bites() {
        let committed = |bytes| {
            judged("commit_limit", |facts| {
                facts.memory.as_mut().unwrap().committed_bytes = bytes
            })
            .level
        };
        assert_eq!(
            [
                committed(70 * GIB),
                committed(64 * GIB),
                committed(60 * GIB)
            ],
            [Level::Missing, Level::Warning, Level::Ok]
        );
        assert_eq!(
            judged("commit_charge", |facts| facts.is_charged = Some(false)).level,
            Level::Note
        );
        assert_eq!(
            judged("process_budget", |facts| facts.budget.0 = 1 << 20).level,
            Level::Warning
        );
    }

    #[test]
    fn a_job_limits() {
        let job = |process_bytes, job_bytes| {
            judged("job_object", |facts| {
                facts.job = Some(JobLimits {
                    process_bytes,
                    job_bytes,
                })
            })
        };
        assert_eq!(job(None, None).level, Level::Ok);
        let finding = job(Some(2 * GIB), Some(GIB / 2));
        assert_eq!(
            (finding.level, finding.found.as_str()),
            (
                Level::Warning,
                "2 GiB for a process, 512 MiB for all its processes"
            )
        );
        assert_eq!(job(Some(2 * GIB), None).level, Level::Note);
    }

    #[test]
    fn the_rest_is_told() {
        let finding = judged("commit_on_touch", |facts| {
            facts.touch = Trial::Fails("exit code 5".to_owned())
        });
        assert_eq!(
            (finding.level, finding.found.as_str()),
            (Level::Missing, "does not work: exit code 5")
        );
        assert_eq!(
            judged("debugger", |facts| facts.is_debugged = true).level,
            Level::Note
        );
        assert_eq!(
            judged("large_pages", |facts| facts.large_page_privilege =
                Privilege::Absent)
            .level,
            Level::Note
        );
        assert_eq!(
            judged("large_pages", |facts| facts.large_page_bytes = 0).level,
            Level::Note
        );
        assert_eq!(
            judged("large_pages", |facts| facts.large_page_error =
                Some("no".to_owned()))
            .level,
            Level::Note
        );
        assert_eq!(
            judged("address_bits", |facts| facts.highest_address =
                0x7ff_fffe_ffff)
            .level,
            Level::Note
        );
        assert!(
            judged("memory", |facts| facts.memory = None)
                .value
                .is_null()
        );
    }
}
