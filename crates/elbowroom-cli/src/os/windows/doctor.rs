//! The findings of `elbowroom doctor` on Windows. Each is a pure function of what was measured.

use elbowroom::Budget;
use serde_json::{Value, json};

use super::probe::{self, JobLimits, Privilege};
use super::usage::system_memory;
use crate::findings::{self, Finding, Level, Report, Section, level_of};
use crate::size::Size;

pub(crate) fn examine() -> Report {
    let memory = system_memory();
    let no_memory = "GetPerformanceInfo does not report it";
    let limit = memory.map(|memory| (memory.commit_limit_bytes, memory.committed_bytes));
    let change = "Make the paging file larger, or let the system manage its size";
    let large = probe::large_page_bytes();
    let error = probe::large_page_error(large as usize);
    let privilege = probe::large_page_privilege();
    let mut all = findings::usual(super::resident_bytes, probe::touch());
    all.extend([
        address_bits(probe::highest_address()),
        charge(probe::is_charged()),
        findings::commit_limit(limit, true, change, no_memory),
        findings::process_budget(&Budget::for_process()),
        findings::memory(
            memory.map(|memory| (memory.total_bytes, memory.available_bytes)),
            None,
            no_memory,
        ),
        job(probe::job_limits()),
        debugger(probe::is_debugged()),
        large_pages(large, privilege.unwrap_or(Privilege::Absent), error),
    ]);
    Report::new(probe::system(), all)
}

fn address_bits(highest: u64) -> Finding {
    let bits = u64::BITS - highest.leading_zeros();
    findings::address_bits(
        bits.into(),
        43,
        "All that one process can reserve together.",
    )
}

/// Returns the finding on whether a commit is charged before it is touched.
fn charge(is_charged: Option<bool>) -> Finding {
    let finding = Finding::new("commit_charge", Section::Commit, "commit charge");
    match is_charged {
        Some(true) => finding
            .found("counted", true)
            .means("A commit counts before it is touched, and is refused past the limit."),
        Some(false) => finding.found("not counted", false).note(
            "A commit was not seen in the figures of this process, as under Wine. Only your own limits \
             (commit_limit, a Budget) refuse before memory runs out.",
        ),
        None => finding.unknown("The system does not report what this process has committed"),
    }
}

fn job(limits: Option<JobLimits>) -> Finding {
    let finding = Finding::new("job_object", Section::Limits, "job object");
    let Some(JobLimits {
        process_bytes,
        job_bytes,
    }) = limits
    else {
        return finding
            .found("none", Value::Null)
            .means("No job limits what this process commits.");
    };
    let value = json!({ "process_limit_bytes": process_bytes, "job_limit_bytes": job_bytes });
    let limits = [
        (process_bytes, "a process"),
        (job_bytes, "all its processes"),
    ];
    let limits: Vec<String> = limits
        .iter()
        .filter_map(|&(bytes, whose)| Some(format!("{} for {whose}", Size(bytes?))))
        .collect();
    let Some(tightest) = process_bytes.into_iter().chain(job_bytes).min() else {
        return finding
            .found("one without limits on memory", value)
            .means("It does not limit what is committed.");
    };
    finding.found(limits.join(", "), value).but(
        level_of(tightest),
        "A commit beyond the limit fails.",
        "Keep regions below it with Budget::for_process(), or raise it where the job is made",
    )
}

fn debugger(is_attached: bool) -> Finding {
    let finding = Finding::new("debugger", Section::Faults, "debugger");
    if !is_attached {
        return finding
            .found("none", false)
            .means("No debugger stops at the faults of regions.");
    }
    finding.found("one is attached", true).but(
        Level::Note,
        "It may stop at each fault of a region. These first-chance exceptions are normal.",
        "Configure it to pass first-chance access violations to the program",
    )
}

/// Returns the finding on large pages of this size, 0 if there are none, and on the error of a request for one.
fn large_pages(bytes: u64, privilege: Privilege, error: Option<String>) -> Finding {
    let finding = Finding::new("large_pages", Section::HugePages, "large pages");
    if bytes == 0 {
        return finding
            .found("none", Value::Null)
            .note("This machine has none.");
    }
    let value = json!({
        "bytes": bytes, "privilege_held": privilege != Privilege::Absent,
        "privilege_enabled": privilege == Privilege::Enabled, "error": error,
    });
    let finding = finding.found(format!("{}, {}", Size(bytes), privilege.word()), value);
    match (privilege, error) {
        (Privilege::Absent, _) => finding.note(
            "They need the right \"Lock pages in memory\" (SeLockMemoryPrivilege). Regions do not use them: they \
             cannot be committed piece by piece.",
        ),
        (_, None) => {
            finding.means("One was allocated. Regions do not use them: they cannot be committed piece by piece.")
        }
        (_, Some(error)) => finding.note(format!("Not available: {error}. Regions do not use them.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_that_are_not_there_are_judged() {
        let job = |process_bytes, job_bytes| {
            job(Some(JobLimits {
                process_bytes,
                job_bytes,
            }))
        };
        let (gib, mib) = (Some(2 << 30), Some(512 << 20));
        let pages = |privilege, error: Option<&str>| {
            large_pages(2 << 20, privilege, error.map(str::to_owned))
        };
        Level::Ok.is_of([
            (address_bits(0x7fff_fffe_ffff), "47 bits"),
            (charge(Some(true)), "counted"),
            (super::job(None), "none"),
            (job(None, None), "without limits on memory"),
            (debugger(false), "none"),
            (pages(Privilege::Enabled, None), "One was allocated"),
        ]);
        Level::Note.is_of([
            (address_bits(0x7ff_fffe_ffff), "Few addresses"),
            (charge(Some(false)), "not counted"),
            (charge(None), "not known"),
            (job(gib, None), "2 GiB for a process"),
            (debugger(true), "one is attached"),
            (pages(Privilege::Enabled, Some("no")), "Not available: no."),
            (pages(Privilege::Absent, Some("no")), "Lock pages in memory"),
            (
                large_pages(0, Privilege::Absent, None),
                "This machine has none.",
            ),
        ]);
        Level::Warning.is_of([(job(gib, mib), "2 GiB for a process, 512 MiB for all")]);
    }
}
