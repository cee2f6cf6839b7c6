//! Every operating-system call is refused once, at every place where it is made: the result is an error, nothing has
//! changed, and the next try works.

use crate::common::{self, page};

use elbowroom::inject::{self, Call};
use elbowroom::{
    Access, Backend, Error, Growth, Operation, PageState, Region, Reservation, Verdict, page_size,
};

/// Runs `deed` with the nth call of a kind refused, for n from 1 until no call is left to refuse. `make` makes the
/// subject for each try. After a refusal, `check` inspects the subject, and the deed must then work. Returns the number
/// of calls.
fn refuse_each<S>(
    call: Call,
    make: impl Fn() -> S,
    deed: impl Fn(&S) -> Result<(), Error>,
    check: impl Fn(&S, &Error),
) -> u64 {
    for nth in 1.. {
        let subject = make();
        let plan = inject::refuse(call, nth);
        let result = deed(&subject);
        let happened = plan.happened();
        drop(plan);
        match result {
            Err(error) => {
                assert!(happened, "refused without cause: {error}");
                assert!(error.is_out_of_memory(), "{error}");
                assert!(error.os_code().is_some(), "{error}");
                assert!(std::error::Error::source(&error).is_some());
                check(&subject, &error);
                deed(&subject).expect("the second try");
            }
            Ok(()) => {
                assert!(!happened, "a refusal was swallowed");
                return nth - 1;
            }
        }
    }
    unreachable!()
}

#[test]
fn reserving() {
    for make in [
        || Reservation::new(1 << 20).map(drop),
        || Region::new(1 << 20).map(drop),
    ] {
        assert_eq!(
            refuse_each(Call::Reserve, || (), |()| make(), |(), _| {}),
            1
        );
    }
    // An alignment needs several reservations. None is lost, and none is counted here.
    let aligned = || {
        Reservation::builder(1 << 20)
            .align(1 << 30)
            .build()
            .map(drop)
    };
    assert!(refuse_each(Call::Reserve, || (), |()| aligned(), |(), _| {}) >= 1);
}

#[test]
fn installing_the_handler() {
    // The handler is installed with the first region of a process, so this needs a process without other tests.
    let output = common::run_alone("injected::region::installing_the_handler_alone");
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("refused once"),
        "{output:?}"
    );
}

#[test]
#[ignore = "run by installing_the_handler in a process of its own"]
fn installing_the_handler_alone() {
    let count = refuse_each(
        Call::InstallHandler,
        || (),
        |()| Region::new(1).map(drop),
        |(), _| {},
    );
    assert_eq!(count, 1);
    println!("refused once");
}

/// A reservation with pages 2..4 and 6..7 of 10 committed, holding 5s.
fn patchy_reservation() -> Reservation {
    let block = Reservation::new(page(10)).unwrap();
    block.commit(page(2)..page(4)).unwrap();
    block.commit(page(6)..page(7)).unwrap();
    block
}

fn committed_pages(spans: &[elbowroom::Span]) -> Vec<usize> {
    let committed = spans
        .iter()
        .filter(|span| span.state == PageState::Committed);
    committed
        .flat_map(|span| span.range.start / page_size()..span.range.end / page_size())
        .collect()
}

#[test]
fn committing_a_reservation_changes_nothing_if_refused() {
    let count = refuse_each(
        Call::Commit,
        patchy_reservation,
        |block| block.commit(0..page(10)),
        |block, error| {
            assert_eq!(error.range(), 0..page(10));
            assert_eq!(committed_pages(&block.spans()), [2, 3, 6]);
        },
    );
    assert_eq!(count, 3, "one for each gap");
}

#[test]
fn decommitting_and_protecting_a_reservation() {
    let decommit = refuse_each(
        Call::Decommit,
        patchy_reservation,
        |block| block.decommit(0..page(10)),
        |block, _| assert_eq!(committed_pages(&block.spans()), [2, 3, 6]),
    );
    assert_eq!(decommit, 1);
    let protect = refuse_each(
        Call::Protect,
        patchy_reservation,
        |block| block.protect(page(2)..page(4), Access::Read),
        |block, _| assert_eq!(block.spans()[1].access, Access::ReadWrite),
    );
    assert_eq!(protect, 1);
}

#[test]
fn releasing() {
    let block = Reservation::new(page(10)).unwrap();
    let plan = inject::refuse(Call::Release, 1);
    let error = block.release().unwrap_err();
    drop(plan);
    assert_eq!(error.operation(), elbowroom::Operation::Release);
    let region = Region::new(page(10)).unwrap();
    let plan = inject::refuse(Call::Release, 1);
    let error = region.release().unwrap_err();
    drop(plan);
    assert_eq!(error.range(), 0..page(10));
    // A drop cannot report the error, and must not panic.
    let plan = inject::refuse(Call::Release, 1);
    drop(Reservation::new(page(10)).unwrap());
    assert!(plan.happened());
}

/// With protection, and without it if the system can.
const BACKENDS: [Backend; 2] = [Backend::Protection, Backend::Auto];

/// A region with pages 2..4 and 6..7 of 10 committed.
fn patchy_region(backend: Backend) -> Region {
    let region = Region::builder(page(10))
        .growth(Growth::Pages(1))
        .backend(backend)
        .build()
        .unwrap();
    region.commit(page(2)..page(4)).unwrap();
    region.try_fill(page(6)..page(7), 5).unwrap();
    region
}

#[test]
fn committing_a_region_changes_nothing_if_refused() {
    for backend in BACKENDS {
        let count = refuse_each(
            Call::Commit,
            || patchy_region(backend),
            |region| region.commit(0..page(10)),
            |region, _| {
                assert_eq!(committed_pages(&region.spans()), [2, 3, 6]);
                assert_eq!(region.stats().committed_bytes, page(3));
                assert_eq!(region.try_read::<u8>(page(6)).unwrap(), 5);
            },
        );
        assert_eq!(count, 3, "one for each gap");
    }
}

#[test]
fn a_touch_is_refused_with_the_systems_code_and_works_next_time() {
    for backend in BACKENDS {
        let count = refuse_each(
            Call::Commit,
            || patchy_region(backend),
            |region| region.try_fill(page(1)..page(6), 7),
            |region, error| {
                let done = committed_pages(&region.spans());
                let first_missing = (1..6).find(|page| !done.contains(page)).unwrap();
                assert_eq!(error.offset(), page(first_missing));
                assert_eq!(region.stats().committed_bytes, page(done.len()));
                assert_eq!(region.stats().refused, 1);
            },
        );
        assert_eq!(count, 3, "pages 1, 4 and 5");
    }
}

#[test]
fn a_refused_window_shrinks_to_the_page_that_is_needed() {
    for (backend, nth) in [
        (Backend::Protection, 1),
        (Backend::Auto, 1),
        (Backend::Auto, 2),
    ] {
        let region = Region::builder(page(100))
            .growth(Growth::Pages(16))
            .backend(backend)
            .build()
            .unwrap();
        let plan = inject::refuse(Call::Commit, nth);
        region.try_write(page(20), 1u8).unwrap();
        if nth == 1 || plan.happened() {
            assert!(plan.happened());
            assert_eq!(committed_pages(&region.spans()), [20]);
            assert_eq!(region.try_read::<u8>(page(20)).unwrap(), 1);
        }
    }
}

/// A filter that fills gets the system's error, and nothing has changed.
#[test]
fn a_refused_fill_commits_nothing() {
    for call in [Call::Commit, Call::CommitBookkeeping] {
        // Large enough for its table to lie in the mapping.
        let len = page(40_000);
        let refused = std::sync::Arc::new(std::sync::Mutex::new(None));
        let kept = std::sync::Arc::clone(&refused);
        let region = Region::builder(len)
            .backend(Backend::Userfault)
            .filter(move |fault| match fault.fill(&vec![7; page(3)]) {
                Ok(_) => Verdict::Commit,
                Err(error) => {
                    *kept.lock().unwrap() = Some(error);
                    Verdict::Decline
                }
            })
            .build();
        let Ok(region) = region else {
            eprintln!("not tried: no userfaultfd");
            return;
        };
        let plan = inject::refuse(call, 1);
        assert!(region.try_read::<u8>(page(9)).unwrap_err().is_declined());
        assert!(plan.happened());
        drop(plan);
        let error = refused.lock().unwrap().take().unwrap();
        assert!(error.is_out_of_memory(), "{error}");
        assert_eq!(error.range(), page(9)..page(12));
        assert_eq!(region.stats().committed_bytes, 0);
        assert_eq!(region.try_read::<u8>(page(9)).unwrap(), 7);
        assert_eq!(region.stats().committed_bytes, page(3));
    }
}

#[test]
fn decommitting_a_region() {
    for backend in BACKENDS {
        let count = refuse_each(
            Call::Decommit,
            || patchy_region(backend),
            |region| region.decommit(0..page(10)),
            |region, _| assert_eq!(region.stats().committed_bytes, page(3)),
        );
        assert_eq!(count, 1);
    }
}

#[test]
fn without_a_userfaultfd_auto_uses_protection() {
    let plan = inject::refuse(Call::OpenUserfault, 1);
    let error = Region::builder(1)
        .backend(Backend::Userfault)
        .build()
        .map(drop)
        .unwrap_err();
    assert_eq!(error.operation(), Operation::SetUpBackend, "{error}");
    drop(plan);
    let _plan = inject::refuse(Call::OpenUserfault, 1);
    let region = Region::builder(1).backend(Backend::Auto).build().unwrap();
    assert_eq!(region.backend(), Backend::Protection);
    region.try_write(0, 1u8).unwrap();
}

#[test]
fn the_tables_of_a_large_region() {
    let make = || {
        Region::builder(1 << 32)
            .growth(Growth::Pages(1))
            .build()
            .unwrap()
    };
    let touch = refuse_each(
        Call::CommitBookkeeping,
        make,
        |region| region.try_write(1 << 31, 3u8),
        |region, _| assert_eq!(region.stats().committed_bytes, 0),
    );
    let commit = refuse_each(
        Call::CommitBookkeeping,
        make,
        |region| region.commit((1 << 31) - 1..(1 << 31) + 1),
        |region, _| assert_eq!(region.stats().committed_bytes, 0),
    );
    if page_size() == 4096 {
        assert_eq!((touch, commit), (1, 2), "a chunk of the table covers 2 GiB");
    }
}

#[cfg(unix)]
#[test]
fn a_forked_child_has_no_plans_of_other_threads() {
    // In a process of its own: as many threads have a plan as can.
    let output = common::run_alone("injected::region::with_every_plan_taken");
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("refused in the child"),
        "{output:?}"
    );
}

#[cfg(unix)]
#[test]
#[ignore = "run by a_forked_child_has_no_plans_of_other_threads in a process of its own"]
#[allow(unsafe_code, reason = "forks")]
fn with_every_plan_taken() {
    let _region = Region::new(1).unwrap();
    let (ready, done) = (std::sync::Barrier::new(65), std::sync::Barrier::new(65));
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let _plan = inject::refuse(Call::Protect, 100);
                ready.wait();
                done.wait();
            });
        }
        ready.wait();
        // SAFETY: the child uses this library, whose locks a fork leaves free, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let refused = std::panic::catch_unwind(|| {
                let _plan = inject::refuse(Call::Reserve, 1);
                Region::new(1).is_err()
            });
            // SAFETY: ends the child without running what the parent registered.
            unsafe {
                libc::_exit(if refused.is_ok_and(|refused| refused) {
                    17
                } else {
                    1
                })
            };
        }
        let mut status = 0;
        // SAFETY: waitpid(2) writes a live status.
        let waited = unsafe { libc::waitpid(child, &mut status, 0) };
        done.wait();
        assert_eq!(
            (waited, libc::WEXITSTATUS(status)),
            (child, 17),
            "{status:#x}"
        );
    });
    println!("refused in the child");
}

#[test]
fn a_refusal_that_passes_is_no_error() {
    let region = Region::new(page(10)).unwrap();
    let plan = inject::refuse(Call::CommitAttempt, 1);
    region.try_write(0, 1u8).unwrap();
    // On other systems a commit is attempted once.
    assert_eq!(plan.happened(), cfg!(windows));
    drop(plan);
    assert_eq!(region.stats().refused, 0);
}

#[test]
fn a_window_that_cannot_be_brought_in_is_committed_all_the_same() {
    for nth in 1..=5 {
        let region = Region::new(page(1000)).unwrap();
        let plan = inject::refuse(Call::Populate, nth);
        region.try_fill(0..page(40), 1).unwrap();
        assert!(plan.happened());
        drop(plan);
        assert_eq!(region.stats().committed_bytes, page(63));
        assert_eq!(region.stats().refused, 0);
    }
}

#[test]
fn a_run_survives_a_refused_window() {
    // Windows of 1, 2, 4, 8 and so on. The refused one shrinks to a page, and the next is as large as it would have
    // been.
    for nth in 2..=6 {
        let region = Region::builder(page(1000))
            .growth(Growth::Adaptive {
                max_bytes: page(64),
            })
            .build()
            .unwrap();
        let plan = inject::refuse(Call::Commit, nth);
        region.try_fill(0..page(100), 1).unwrap();
        assert!(plan.happened());
        drop(plan);
        assert!(region.stats().commits <= 9, "{:?}", region.stats());
        assert_eq!(region.stats().refused, 0);
    }
}
