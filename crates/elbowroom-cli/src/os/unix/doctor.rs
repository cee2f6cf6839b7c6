//! The checks of `elbowroom doctor` on every Unix: addresses, signals, resource limits, and a trial of a region.

use elbowroom::{Backend, Growth, Region, allocation_granularity, page_size};
use serde_json::{Value, json};

use super::isolate::{Failure, Probe, isolated};
use super::signals::{self, Disposition, FAULT_SIGNALS, Limited};
use crate::findings::{self, Finding, Largest, Level, Section, Trial, commit_on_touch};
use crate::size::human;

/// The facts about this machine.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) system: String,
    pub(crate) page_size_bytes: u64,
    pub(crate) granularity_bytes: u64,
    pub(crate) largest: Largest,
    /// Whether a touch commits.
    pub(crate) touch: Probe,
    /// For each of the fault signals.
    pub(crate) dispositions: [Disposition; 2],
    pub(crate) blocked: Vec<&'static str>,
    pub(crate) alternate_stack_bytes: Option<u64>,
    /// The part of an alternate stack that a signal used when tried.
    pub(crate) signal_frame: Probe,
    /// The part of an alternate stack that a resolved fault used, including the handler.
    pub(crate) fault_stack: Probe,
    /// The largest part that a signal can use, with all registers of the processor.
    pub(crate) signal_frame_max_bytes: u64,
    /// In the order of [`LIMITS`].
    pub(crate) limits: [Limit; 4],
}

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
        "Committed pages count towards it; past it a commit is an error.",
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

/// A resource limit in bytes, `None` if there is none, and what counts towards it, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) limit: Option<u64>,
    pub(crate) used: Option<u64>,
}

/// The memory that counts towards each of [`LIMITS`], as far as the system reports it.
pub(crate) type Used = [Option<u64>; 4];

impl Facts {
    /// Gathers what there is to know, with the platform's own figures.
    pub(crate) fn gather(
        used: Used,
        signal_frame_max_bytes: u64,
        resident_bytes: fn() -> Option<u64>,
    ) -> Facts {
        Facts {
            system: signals::system(),
            page_size_bytes: page_size() as u64,
            granularity_bytes: allocation_granularity() as u64,
            largest: Largest::find(resident_bytes),
            touch: isolated(|| touch(Backend::default())),
            dispositions: FAULT_SIGNALS.map(|signal| signals::disposition(signal as i32)),
            blocked: signals::blocked(),
            alternate_stack_bytes: signals::alternate_stack_bytes(),
            signal_frame: isolated(|| signals::stack_used(signals::raise_harmlessly)),
            fault_stack: isolated(|| signals::stack_used(|| touch(Backend::default()).map(drop))),
            signal_frame_max_bytes,
            limits: std::array::from_fn(|at| Limit {
                limit: signals::limit_bytes(LIMITS[at].0),
                used: used[at],
            }),
        }
    }

    /// Judges the facts.
    pub(crate) fn judge(&self) -> Vec<Finding> {
        let mut findings = vec![
            findings::page_size(self.page_size_bytes),
            findings::granularity(self.granularity_bytes, ""),
            self.largest.judge(),
            commit_on_touch(&trial(&self.touch)),
        ];
        findings.extend(LIMITS.iter().zip(&self.limits).map(limit));
        findings.extend([self.blocked(), self.alternate_stack()]);
        let [sigsegv, sigbus] = &self.dispositions;
        findings.extend([
            handler(sigsegv, "sigsegv_handler", "SIGSEGV handler"),
            handler(sigbus, "sigbus_handler", "SIGBUS handler"),
        ]);
        findings
    }

    fn blocked(&self) -> Finding {
        let finding = Finding::new("blocked_signals", Section::Faults, "blocked signals");
        if self.blocked.is_empty() {
            let means = "SIGSEGV and SIGBUS reach the thread, so its faults can be resolved.";
            return finding
                .found("none that faults come as", json!([]))
                .means(means);
        }
        let names = self.blocked.join(" and ");
        finding.found(format!("{names}, inherited from whatever started this program"), json!(self.blocked)).but(
            Level::Missing,
            "A fault whose signal is blocked ends the process at once (sigprocmask(2)).",
            "Unblock it in the parent before it starts programs, or in each thread: pthread_sigmask(SIG_UNBLOCK, ...)",
        )
    }

    fn alternate_stack(&self) -> Finding {
        let max = self.signal_frame_max_bytes;
        let frame = self.signal_frame.as_ref().map_or(max, |&bytes| bytes);
        // Where a fault cannot be tried, another finding says so.
        let fault = self.fault_stack.as_ref().map_or(frame, |&bytes| bytes);
        let fault_max = fault.saturating_sub(frame) + max.max(frame);
        let finding = Finding::new("alternate_stack", Section::Faults, "alternate stack");
        let Some(bytes) = self.alternate_stack_bytes else {
            let finding = finding.found("none", Value::Null);
            return finding
                .note("The handler runs on the thread's own stack. It cannot run if that stack has overflowed.");
        };
        let text = format!("{}, of which a fault takes {}", human(bytes), human(fault));
        let value = json!({
            "bytes": bytes, "signal_frame_bytes": frame, "signal_frame_max_bytes": max, "fault_bytes": fault,
        });
        let finding = finding.found(text, value);
        let change = "Give such threads a larger one: sigaltstack(2) with getauxval(AT_MINSIGSTKSZ) and 8 KiB more";
        if bytes < fault {
            return finding.but(Level::Warning, "The handler runs over its end.", change);
        }
        if bytes < fault_max {
            let all = format!(
                "In a thread that uses all registers of the processor (AMX, say) a fault takes up to {}, and the \
                 handler would run over the end.",
                human(fault_max)
            );
            return finding.but(Level::Note, all, change);
        }
        finding
            .means("The handler starts on this stack and runs filters on a stack of the library.")
    }
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

fn trial(probe: &Probe) -> Trial {
    match probe {
        Ok(_) => Trial::Works,
        Err(Failure::Lost(why)) => Trial::NotTried(why.clone()),
        Err(why) => Trial::Fails(why.to_string()),
    }
}

fn limit((check, Limit { limit, used }): (&LimitCheck, &Limit)) -> Finding {
    let (_, id, what, means, room) = *check;
    let value = json!({ "limit_bytes": limit, "used_bytes": used });
    let used_text = used.map_or_else(String::new, |used| format!(", {} used", human(used)));
    let text = match *limit {
        Some(limit) => human(limit) + &used_text,
        None => "no limit".to_owned(),
    };
    let finding = Finding::new(id, Section::Limits, what).found(text, value);
    match (*limit, room) {
        (Some(limit), Some([done, change])) => {
            let left = limit.saturating_sub(used.unwrap_or(0));
            let means = format!("{means} {} can still be {done}.", human(left));
            finding.but(findings::level_of(left), means, change)
        }
        _ => finding.means(means),
    }
}

fn handler(found: &Disposition, id: &'static str, what: &'static str) -> Finding {
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
        Disposition::Unknown => finding.unknown("The system does not tell"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::findings::{Bound, assert_good, of_id};

    /// Returns a machine where all is well.
    pub(crate) fn good() -> Facts {
        let none = Limit {
            limit: None,
            used: Some(1 << 20),
        };
        let own = Disposition::Handler {
            own: true,
            module: None,
            on_alternate_stack: true,
        };
        Facts {
            system: "Linux".to_owned(),
            page_size_bytes: 4096,
            granularity_bytes: 4096,
            largest: Largest {
                bytes: 127 << 40,
                bound: Bound::Refused("no".to_owned()),
            },
            touch: Ok(2),
            dispositions: [own.clone(), own],
            blocked: Vec::new(),
            alternate_stack_bytes: Some(8 << 10),
            signal_frame: Ok(3000),
            fault_stack: Ok(5000),
            signal_frame_max_bytes: 3632,
            limits: [
                none,
                none,
                none,
                Limit {
                    limit: Some(8 << 20),
                    used: None,
                },
            ],
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
    fn what_a_region_needs_is_missing_without_it() {
        let finding = judged("blocked_signals", |facts| facts.blocked = vec!["SIGSEGV"]);
        assert_eq!(
            (finding.level, &finding.value),
            (Level::Missing, &json!(["SIGSEGV"]))
        );
        let finding = judged("commit_on_touch", |facts| {
            facts.touch = Err(Failure::Killed(libc::SIGSEGV))
        });
        assert_eq!(finding.level, Level::Missing);
        assert_eq!(finding.found, "does not work: ended by SIGSEGV");
        let finding = judged("commit_on_touch", |facts| {
            facts.touch = Err(Failure::Lost("no child".to_owned()))
        });
        assert_eq!(
            (finding.level, finding.means.as_str()),
            (Level::Warning, "It could not be tried: no child.")
        );
        let none = Largest {
            bytes: 0,
            bound: Bound::Refused("the reason".to_owned()),
        };
        let finding = judged("largest_reservation", |facts| facts.largest = none);
        assert_eq!(finding.level, Level::Missing);
        assert_eq!(finding.means, "Nothing can be reserved: the reason.");
    }

    #[test]
    fn limits_are_as_bad_as_they_are_small() {
        for (limit, used, level, part) in [
            (64 << 30, 1 << 30, Level::Note, "63 GiB can still"),
            (1 << 30, 1 << 20, Level::Warning, "1023 MiB can still"),
            (1 << 30, 2 << 30, Level::Warning, "0 B can still"),
        ] {
            let limit = Limit {
                limit: Some(limit),
                used: Some(used),
            };
            for finding in [
                judged("rlimit_as", |facts| facts.limits[0] = limit),
                judged("rlimit_data", |facts| facts.limits[1] = limit),
            ] {
                assert_eq!(finding.level, level, "{finding:?}");
                assert!(finding.means.contains(part), "{finding:?}");
            }
        }
        let locked = Limit {
            limit: Some(0),
            used: None,
        };
        assert_eq!(
            judged("rlimit_memlock", |facts| facts.limits[2] = locked).level,
            Level::Ok
        );
    }

    #[test]
    fn handlers_and_their_stacks_are_told() {
        let module = Some("/lib/crash.so".to_owned());
        let other = Disposition::Handler {
            own: false,
            module,
            on_alternate_stack: false,
        };
        let finding = judged("sigbus_handler", |facts| facts.dispositions[1] = other);
        assert_eq!(finding.level, Level::Note);
        assert_eq!(finding.value["module"], "/lib/crash.so");
        for found in [Disposition::Ignored, Disposition::Unknown] {
            assert_eq!(
                judged("sigsegv_handler", |facts| facts.dispositions[0] = found).level,
                Level::Note
            );
        }
        assert_eq!(
            judged("alternate_stack", |facts| facts.alternate_stack_bytes =
                None)
            .level,
            Level::Note
        );
        assert_eq!(
            judged("alternate_stack", |facts| facts.alternate_stack_bytes =
                Some(4096))
            .level,
            Level::Warning
        );
        assert_eq!(
            judged("alternate_stack", |facts| facts.signal_frame_max_bytes =
                8 << 10)
            .level,
            Level::Note
        );
    }

    #[test]
    fn a_touch_commits_here() {
        assert_eq!(isolated(|| touch(Backend::default())), Ok(2));
    }
}
