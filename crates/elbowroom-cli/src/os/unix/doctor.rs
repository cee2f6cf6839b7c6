//! The findings of `elbowroom doctor` on every Unix: addresses, signals, resource limits, and a trial of a region.

use elbowroom::{Backend, Growth, Region, page_size};
use serde_json::{Value, json};

use super::isolate::{Failure, Probe, isolated};
use super::signals::{self, Disposition, FAULT_SIGNALS, Limited};
use crate::findings::{Finding, Level, Section, Trial, level_of, usual};
use crate::size::Size;

/// The resource limits that are looked at: the resource; the id and the name of the finding; what the limit means; and
/// where it matters how much is left, what can be done with it and how it is raised.
type LimitCheck = (
    Limited,
    &'static str,
    &'static str,
    &'static str,
    Option<[&'static str; 2]>,
);

const LIMITS: [LimitCheck; 4] = [
    (
        Limited::As,
        "rlimit_as",
        "RLIMIT_AS",
        "Reserved address space counts towards it, touched or not.",
        Some([
            "reserved",
            "ulimit -v unlimited, or LimitAS= in the service's unit",
        ]),
    ),
    (
        Limited::Data,
        "rlimit_data",
        "RLIMIT_DATA",
        "Committed pages count towards it; a commit beyond it fails.",
        Some([
            "committed",
            "ulimit -d unlimited, or LimitDATA= in the service's unit",
        ]),
    ),
    (
        Limited::Memlock,
        "rlimit_memlock",
        "RLIMIT_MEMLOCK",
        "The limit of memory locked by mlock. Committing does not lock memory.",
        None,
    ),
    (
        Limited::Stack,
        "rlimit_stack",
        "RLIMIT_STACK",
        "The main thread's stack. Filters run on stacks of the library.",
        None,
    ),
];

/// Returns the findings, with the platform's own figures: what counts towards each of [`LIMITS`], as far as the system
/// reports it; the largest part of a stack that a signal can use, with all registers of the processor; and a function
/// for the resident size of this process.
pub(crate) fn findings(
    used: [Option<u64>; 4],
    signal_frame_max_bytes: u64,
    resident_bytes: fn() -> Option<u64>,
) -> Vec<Finding> {
    let try_region = || touch(Backend::default());
    let mut all = usual(resident_bytes, trial(isolated(try_region)));
    let limits = LIMITS.iter().zip(used);
    all.extend(limits.map(|(check, used)| limit(check, signals::limit_bytes(check.0), used)));
    let frame = isolated(|| signals::stack_used(signals::raise_harmlessly));
    let fault = isolated(|| signals::stack_used(|| try_region().map(drop)));
    all.push(blocked(&signals::blocked()));
    all.push(alternate_stack(
        signals::alternate_stack_bytes(),
        frame.unwrap_or(signal_frame_max_bytes),
        // Where a fault cannot be tried, another finding says so.
        fault.unwrap_or(0),
        signal_frame_max_bytes,
    ));
    let names = [
        ("sigsegv_handler", "SIGSEGV handler"),
        ("sigbus_handler", "SIGBUS handler"),
    ];
    let handlers = FAULT_SIGNALS.iter().zip(names);
    all.extend(handlers.map(|(&signal, name)| handler(&signals::disposition(signal as i32), name)));
    all
}

fn blocked(names: &[&str]) -> Finding {
    let finding = Finding::new("blocked_signals", Section::Faults, "blocked signals");
    if names.is_empty() {
        let means = "These signals reach the thread, so its faults can be resolved.";
        return finding
            .found("neither SIGSEGV nor SIGBUS", json!([]))
            .means(means);
    }
    let text = format!(
        "{}, inherited from whatever started this program",
        names.join(" and ")
    );
    finding.found(text, json!(names)).but(
        Level::Missing,
        "A fault whose signal is blocked ends the process at once (sigprocmask(2)).",
        "Unblock it in the parent before it starts programs, or in each thread: pthread_sigmask(SIG_UNBLOCK, ...)",
    )
}

/// Returns the finding on an alternate stack of this size, if there is one, of which a signal used `frame` bytes when
/// tried, a resolved fault with its handler used `fault` bytes, and a signal can use `frame_max` bytes.
fn alternate_stack(bytes: Option<u64>, frame: u64, fault: u64, frame_max: u64) -> Finding {
    let fault = fault.max(frame);
    let fault_max = fault - frame + frame_max.max(frame);
    let finding = Finding::new("alternate_stack", Section::Faults, "alternate stack");
    let Some(bytes) = bytes else {
        return finding
            .found("none", Value::Null)
            .note("The handler runs on the thread's own stack. It cannot run if that stack has overflowed.");
    };
    let text = format!("{}, of which a fault takes {}", Size(bytes), Size(fault));
    let value = json!({
        "bytes": bytes, "signal_frame_bytes": frame, "signal_frame_max_bytes": frame_max, "fault_bytes": fault,
    });
    let finding = finding.found(text, value);
    let change = "Give such threads a larger one: sigaltstack(2) with getauxval(AT_MINSIGSTKSZ) and 8 KiB more";
    if bytes < fault {
        return finding.but(Level::Warning, "The handler overflows it.", change);
    }
    if bytes < fault_max {
        let all = format!(
            "In a thread that uses all registers of the processor (AMX, say) a fault takes up to {}, and the \
             handler would overflow it.",
            Size(fault_max)
        );
        return finding.but(Level::Note, all, change);
    }
    finding.means("The handler starts on this stack and runs filters on a stack of the library.")
}

/// Commits two pages by touches, reads them back, and is refused a third: the basic work of a region.
pub(crate) fn touch(backend: Backend) -> Result<u64, i32> {
    let code = |error: elbowroom::Error| error.os_code().unwrap_or(0);
    let page = page_size();
    let region = Region::builder(16 * page)
        .backend(backend)
        .growth(Growth::Pages(1))
        .commit_limit(2 * page)
        .build()
        .map_err(code)?;
    for offset in [0, 15 * page] {
        region.try_write(offset, 42u8).map_err(code)?;
        if region.try_read::<u8>(offset).map_err(code)? != 42 {
            return Err(libc::EIO);
        }
    }
    let refused = region.try_write(7 * page, 42u8).is_err();
    if refused && region.stats().committed_bytes == 2 * page {
        Ok(2)
    } else {
        Err(libc::EIO)
    }
}

fn trial(probe: Probe) -> Trial {
    match probe {
        Ok(_) => Trial::Works,
        Err(Failure::Lost(why)) => Trial::NotTried(why),
        Err(why) => Trial::Fails(why.to_string()),
    }
}

/// Returns the finding on a limit, and what counts towards it, where that is known.
fn limit(check: &LimitCheck, limit: Option<u64>, used: Option<u64>) -> Finding {
    let (_, id, what, means, room) = *check;
    let value = json!({ "limit_bytes": limit, "used_bytes": used });
    let used_text = used.map_or_else(String::new, |used| format!(", {} used", Size(used)));
    let text = limit.map_or_else(
        || "no limit".to_owned(),
        |limit| format!("{}{used_text}", Size(limit)),
    );
    let finding = Finding::new(id, Section::Limits, what).found(text, value);
    match (limit, room) {
        (Some(limit), Some([done, change])) => {
            let left = limit.saturating_sub(used.unwrap_or(0));
            let means = format!("{means} {} can still be {done}.", Size(left));
            finding.but(level_of(left), means, change)
        }
        _ => finding.means(means),
    }
}

fn handler(found: &Disposition, (id, what): (&'static str, &'static str)) -> Finding {
    let finding = Finding::new(id, Section::Faults, what);
    match found {
        Disposition::Default => finding
            .found("none", "default")
            .means("The first region installs its own."),
        Disposition::Ignored => {
            let means = "Faults are delivered anyway. The first region installs its handler.";
            finding
                .found(
                    "ignored, as inherited from whatever started this program",
                    "ignored",
                )
                .note(means)
        }
        Disposition::Handler { own: true, .. } => {
            let means = "It reports stack overflows. A region's handler goes first and forwards other faults.";
            finding
                .found("the Rust standard library's", json!({ "module": null }))
                .means(means)
        }
        Disposition::Handler {
            module,
            on_alternate_stack,
            ..
        } => {
            let module_name = module.as_deref().unwrap_or("not known");
            let text = format!("one is installed already, from {module_name}");
            let stack = if *on_alternate_stack {
                ""
            } else {
                ", on a stack of the library if necessary"
            };
            finding.found(text, json!({ "module": module, "on_alternate_stack": on_alternate_stack })).note(format!(
                "A region's handler goes first, and forwards faults of others{stack}. A handler that is installed \
                 later must forward faults that it does not recognise."
            ))
        }
        Disposition::Unknown => finding.unknown("The system does not report it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_as_bad_as_they_are_small() {
        let of = |at: usize, bytes: u64, used: u64| limit(&LIMITS[at], Some(bytes), Some(used));
        Level::Note.is_of([
            (of(0, 64 << 30, 1 << 30), "63 GiB can still be reserved"),
            (of(1, 64 << 30, 1 << 30), "63 GiB can still be committed"),
        ]);
        Level::Warning.is_of([
            (of(0, 1 << 30, 1 << 20), "1023 MiB can still"),
            (of(1, 1 << 30, 2 << 30), "0 B can still"),
        ]);
        Level::Ok.is_of([
            (of(2, 0, 0), "0 B, 0 B used"),
            (limit(&LIMITS[0], None, None), "no limit"),
        ]);
    }

    #[test]
    fn handlers_and_their_stacks_are_told() {
        let handled = |own| {
            let module = Some("/lib/crash.so".to_owned());
            let on_alternate_stack = false;
            Disposition::Handler {
                own,
                module,
                on_alternate_stack,
            }
        };
        let handler = |found| handler(&found, ("id", "what"));
        let stack = |bytes, max| alternate_stack(bytes, 3000, 5000, max);
        Level::Ok.is_of([
            (blocked(&[]), "neither SIGSEGV nor SIGBUS"),
            (handler(Disposition::Default), "installs its own"),
            (handler(handled(true)), "the Rust standard library's"),
            (stack(Some(8192), 3632), "a fault takes 5000 B"),
        ]);
        Level::Missing.is_of([(
            blocked(&["SIGSEGV", "SIGBUS"]),
            "SIGSEGV and SIGBUS, inherited",
        )]);
        Level::Note.is_of([
            (handler(handled(false)), "from /lib/crash.so"),
            (handler(Disposition::Ignored), "ignored"),
            (handler(Disposition::Unknown), "not known"),
            (stack(None, 3632), "none"),
            (stack(Some(8192), 8192), "up to 10192 B"),
        ]);
        Level::Warning.is_of([(stack(Some(4096), 3632), "overflows it")]);
    }

    #[test]
    fn a_touch_commits_here() {
        assert_eq!(isolated(|| touch(Backend::default())), Ok(2));
    }
}
