//! Regions on userfaultfd: how they differ from those on protection, and how they must not.
#![allow(unsafe_code, reason = "forks, and asks the kernel")]

use elbowroom::{Backend, Region};

/// If there is no userfaultfd, the error says so, and `Auto` works without it.
#[test]
fn refused_or_not_auto_works() {
    let region = Region::builder(1 << 20)
        .backend(Backend::Auto)
        .build()
        .unwrap();
    region.try_write(5, 7u8).unwrap();
    assert_eq!(region.try_read::<u8>(5).unwrap(), 7);
    match Region::builder(1 << 20).backend(Backend::Userfault).build() {
        Ok(_) => assert_eq!(region.backend(), Backend::Userfault),
        Err(error) => {
            eprintln!("{error}");
            assert_eq!(region.backend(), Backend::Protection);
            assert!(
                error
                    .to_string()
                    .starts_with("cannot set up userfaultfd for 1 MiB (1048576 bytes)"),
                "{error}"
            );
            assert!(
                error.is_unsupported() || error.os_code().is_some(),
                "{error}"
            );
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) mod linux {
    use crate::common::{self, page};
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier, Mutex};

    use elbowroom::{
        Backend, Budget, FaultAccess, FaultCode, Growth, PageState, Region, RegionBuilder, Verdict,
        page_size,
    };

    /// Runs the test for each backend, with a region of `pages` pages that commits them one by one.
    fn with_each(pages: usize, test: impl Fn(RegionBuilder)) {
        for backend in common::userfault_backends() {
            test(
                Region::builder(pages * page_size())
                    .growth(Growth::Pages(1))
                    .backend(backend),
            );
        }
    }

    /// Returns the number of mappings of a region.
    fn mappings(region: &Region) -> usize {
        let (start, end) = (
            region.as_ptr().addr(),
            region.as_ptr().addr() + region.len(),
        );
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
        let overlaps = |line: &str| {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            number(from) < end && start < number(to)
        };
        maps.lines().filter(|line| overlaps(line)).count()
    }

    /// A page that the program has made a guard page is present to the kernel, but every touch of it faults.
    #[test]
    fn a_touch_of_a_guard_page_of_the_program_ends() {
        const GUARD_INSTALL: i32 = 102;
        const GUARD_REMOVE: i32 = 103;
        for backend in [Backend::Userfault, Backend::UserfaultMonitor] {
            let builder = Region::builder(8 * page_size()).growth(Growth::Pages(1));
            let Ok(region) = builder.backend(backend).build() else {
                continue;
            };
            region.try_write(0, 1u8).unwrap();
            for page in [0, 3] {
                let place = region.as_ptr().wrapping_add(page * page_size()).cast();
                // SAFETY: a page of the region, to which nothing refers.
                if unsafe { libc::madvise(place, page_size(), GUARD_INSTALL) } != 0 {
                    // Before Linux 6.13.
                    return;
                }
                // A commit may replace the guard, if nothing was committed there yet.
                let result = region.try_write(page * page_size(), 1u8);
                assert!(result.is_err() || page > 0);
                // SAFETY: a page of the region, to which nothing refers.
                let result = unsafe { libc::madvise(place, page_size(), GUARD_REMOVE) };
                assert_eq!(result, 0);
                region.try_write(page * page_size(), 1u8).unwrap();
            }
        }
    }

    #[test]
    fn pages_come_and_go() {
        with_each(16, |builder| {
            let region = builder.name("pages").build().unwrap();
            assert_eq!(region.try_read::<u64>(page(3)).unwrap(), 0);
            region.try_write(page(5) + 8, 7u64).unwrap();
            region
                .try_copy_from_slice(page(7) - 2, &[1, 2, 3, 4])
                .unwrap();
            assert_eq!(region.stats().committed_bytes, page(4));
            assert_eq!(region.stats().faults, 4);
            let committed: Vec<_> = region
                .spans()
                .into_iter()
                .filter(|span| span.state == PageState::Committed)
                .collect();
            assert_eq!(committed.len(), 2);
            assert_eq!(
                (committed[0].range.clone(), committed[1].range.clone()),
                (page(3)..page(4), page(5)..page(8))
            );

            region.decommit(page(5)..page(6)).unwrap();
            assert_eq!(region.stats().committed_bytes, page(3));
            assert_eq!(
                region.try_read::<u64>(page(5) + 8).unwrap(),
                0,
                "it comes back as zero"
            );
            let mut bytes = [0; 4];
            region.try_copy_to_slice(page(7) - 2, &mut bytes).unwrap();
            assert_eq!(bytes, [1, 2, 3, 4]);
            region.commit(0..region.len()).unwrap();
            assert_eq!(region.stats().committed_bytes, region.len());
            assert_eq!(
                region.try_read::<u8>(page(7)).unwrap(),
                3,
                "what is there stays"
            );
            region.release().unwrap();
        });
    }

    #[test]
    fn plain_pointers_work() {
        with_each(8, |builder| {
            let region = builder.build().unwrap();
            let pointer = region.as_ptr().wrapping_add(page(2)).cast::<u64>();
            // SAFETY: in the region, which commits it.
            unsafe { pointer.write_volatile(9) };
            // SAFETY: in the region, aligned, and written just now.
            assert_eq!(unsafe { pointer.read_volatile() }, 9);
        });
    }

    #[test]
    fn filters_and_limits_hold() {
        with_each(16, |builder| {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let log = Arc::clone(&seen);
            let region = builder
                .commit_limit(page(3))
                .filter(move |fault| {
                    log.lock().unwrap().push((
                        fault.offset() / page_size(),
                        fault.access(),
                        fault.is_page_fault(),
                    ));
                    if fault.offset() == page(9) {
                        Verdict::Decline
                    } else {
                        Verdict::Commit
                    }
                })
                .build()
                .unwrap();
            region.try_write(page(1), 1u8).unwrap();
            assert!(region.try_write(page(9), 1u8).unwrap_err().is_declined());
            region.try_read::<u8>(page(2)).unwrap();
            // The guard page behind the region.
            let error = region.try_write(region.len(), 1u8).unwrap_err();
            assert!(error.is_invalid_range(), "{error}");
            region.try_write(page(3), 1u8).unwrap();
            let error = region.try_write(page(4), 1u8).unwrap_err();
            assert!(error.is_limit() && error.offset() == page(4), "{error}");
            region.decommit(page(1)..page(2)).unwrap();
            region.try_write(page(4), 1u8).unwrap();

            use FaultAccess::{Read, Write};
            let expected = [
                (1, Write),
                (9, Write),
                (2, Read),
                (16, Write),
                (3, Write),
                (4, Write),
                (4, Write),
            ];
            let expected: Vec<_> = expected.map(|(page, access)| (page, access, true)).into();
            assert_eq!(*seen.lock().unwrap(), expected);
            assert_eq!(region.stats().refused, 3);
        });
    }

    #[test]
    fn the_code_says_how_it_came() {
        for backend in common::userfault_backends() {
            let code = Arc::new(Mutex::new(None));
            let seen = Arc::clone(&code);
            let region = Region::builder(1)
                .backend(backend)
                .filter(move |fault| {
                    *seen.lock().unwrap() = Some(fault.code());
                    Verdict::Commit
                })
                .build()
                .unwrap();
            region.try_read::<u8>(0).unwrap();
            let code = code.lock().unwrap().unwrap();
            match backend {
                Backend::Userfault => {
                    const BUS_ADRERR: i32 = 2;
                    assert_eq!(
                        code,
                        FaultCode::Signal {
                            signo: libc::SIGBUS,
                            si_code: BUS_ADRERR
                        }
                    );
                }
                _ => assert!(matches!(code, FaultCode::Event { .. }), "{code:?}"),
            }
        }
    }

    /// A million single pages all over 64 GiB: with protection, each would be a mapping of its own.
    #[test]
    fn sparse_pages_take_no_mappings() {
        let total = 1 << 24;
        with_each(total, |builder| {
            let region = builder.build().unwrap();
            let touched = match region.backend() {
                // Several times slower.
                Backend::UserfaultMonitor => common::times(100_000) as usize,
                _ => common::times(1_000_000) as usize,
            };
            for n in 0..touched {
                // An odd number times 0, 1, 2, ... is a different page each time.
                let at = page(n * 7_368_787 % total);
                // Mostly reads: a page that is only read takes no memory.
                match n % 16 {
                    0 => region.try_write(at, 1u8).unwrap(),
                    _ => assert_eq!(region.try_read::<u8>(at).unwrap(), 0),
                }
            }
            assert_eq!(region.stats().committed_bytes, page(touched));
            assert_eq!(mappings(&region), 1);
            region.decommit(0..region.len()).unwrap();
            assert_eq!(region.stats().committed_bytes, 0);
        });
    }

    #[test]
    fn many_threads_share_the_last_page_of_the_limit() {
        with_each(64, |builder| {
            let budget = Budget::new(page(8));
            let region = builder
                .commit_limit(page(8))
                .budget(&budget)
                .build()
                .unwrap();
            for round in 0..common::times(200) as usize {
                let threads = 4;
                let barrier = Barrier::new(threads);
                let refused = AtomicUsize::new(0);
                std::thread::scope(|scope| {
                    for thread in 0..threads {
                        let (region, barrier, refused) = (&region, &barrier, &refused);
                        scope.spawn(move || {
                            barrier.wait();
                            for n in 0..8 {
                                // All threads take the same eight pages, and one of them takes one more.
                                region
                                    .try_write(page((round + n) % 64) + thread, thread as u8)
                                    .unwrap();
                            }
                            barrier.wait();
                            if thread == 0 && region.try_write(page((round + 8) % 64), 1u8).is_err()
                            {
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                        });
                    }
                });
                assert_eq!(refused.into_inner(), 1);
                assert_eq!(
                    (region.stats().committed_bytes, budget.committed_bytes()),
                    (page(8), page(8))
                );
                region.decommit(0..region.len()).unwrap();
            }
            drop(region);
            assert_eq!(budget.committed_bytes(), 0);
        });
    }

    /// Runs a part in a forked child, which must answer true.
    pub(crate) fn in_child(part: impl FnOnce() -> bool) {
        // SAFETY: the child uses this library, whose locks a fork leaves free, and ends.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            // SAFETY: ends the child by SIGALRM if it hangs.
            unsafe { libc::alarm(60) };
            let status = i32::from(!part());
            // SAFETY: ends the child, without running what the test harness has in store.
            unsafe { libc::_exit(status) };
        }
        let mut status = 0;
        // SAFETY: waits for the child of this test.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the child's status");
    }

    /// A fork detaches memory from userfaultfd in the child, where it would read as zero without asking any filter.
    #[test]
    fn a_forked_child_commits_for_itself() {
        for backend in common::userfault_backends() {
            let build = || {
                Region::builder(page(16))
                    .growth(Growth::Pages(1))
                    .commit_limit(page(4))
                    .backend(backend)
            };
            let (region, other) = (build().build().unwrap(), build().build().unwrap());
            region.try_write(page(1), 5u8).unwrap();
            // Committed, and never touched.
            region.commit(page(2)..page(3)).unwrap();
            in_child(|| {
                let kept = region.try_read::<u8>(page(1)) == Ok(5)
                    && region.try_read::<u8>(page(2)) == Ok(0);
                let counted = region.stats().committed_bytes == page(2);
                let grows = region.try_write(page(3), 6u8).is_ok()
                    && region.try_read::<u8>(page(4)) == Ok(0);
                let limited = region
                    .try_read::<u8>(page(5))
                    .is_err_and(|error| error.is_limit());
                let again =
                    other.try_write(0, 1u8).is_ok() && other.try_write(page(9), 1u8).is_ok();
                // What is made in the child works too, and children of children.
                let made = build()
                    .build()
                    .is_ok_and(|region| region.try_write(0, 1u8).is_ok());
                in_child(|| {
                    other.try_write(page(7), 1u8).is_ok()
                        && other.stats().committed_bytes == page(3)
                });
                kept && counted
                    && grows
                    && limited
                    && again
                    && made
                    && region.stats().committed_bytes == page(4)
            });
            // The parent is unaffected.
            assert_eq!(
                (
                    region.stats().committed_bytes,
                    other.stats().committed_bytes
                ),
                (page(2), 0)
            );
            assert_eq!(region.try_read::<u8>(page(3)).unwrap(), 0);
        }
    }

    /// Runs one of the ignored tests in a separate process. Returns its output.
    pub(crate) fn alone(test: &str) -> String {
        let output = common::child("")
            .args([test, "--exact", "--ignored", "--nocapture"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn a_sandbox_that_forbids_it_is_named() {
        if !common::is_emulated() && !common::userfault_backends().is_empty() {
            let text = alone("all::userfault::linux::where_seccomp_forbids_it");
            assert!(
                text.contains("seccomp") && text.contains("cannot set up userfaultfd"),
                "{text}"
            );
        }
    }

    #[test]
    #[ignore = "run by a_sandbox_that_forbids_it_is_named in a process of its own"]
    fn where_seccomp_forbids_it() {
        let instruction = |code: u32, yes: u8, k: u32| libc::sock_filter {
            code: code as u16,
            jt: yes,
            jf: 0,
            k,
        };
        let mut program = [
            // The number of the system call comes first in struct seccomp_data.
            instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            instruction(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                1,
                libc::SYS_userfaultfd as u32,
            ),
            instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
            instruction(
                libc::BPF_RET | libc::BPF_K,
                0,
                libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
            ),
        ];
        let program = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: gives up privileges that this process does not use.
        let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        assert_eq!(result, 0);
        // SAFETY: the program is live; it refuses one system call and allows the rest.
        let result = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            )
        };
        assert_eq!(result, 0);
        let error = Region::builder(1)
            .backend(Backend::Userfault)
            .build()
            .map(drop)
            .unwrap_err();
        println!("{error}");
        assert_eq!(error.os_code(), Some(libc::EPERM));
        let region = Region::builder(1).backend(Backend::Auto).build().unwrap();
        assert_eq!(region.backend(), Backend::Protection);
        region.try_write(0, 1u8).unwrap();
    }

    #[test]
    fn without_descriptors_it_is_refused_and_a_child_reads_no_silent_zeros() {
        if !common::userfault_backends().is_empty() {
            alone("all::userfault::linux::without_descriptors");
        }
    }

    #[test]
    #[ignore = "run by without_descriptors_it_is_refused_and_a_child_reads_no_silent_zeros in a process of its own"]
    fn without_descriptors() {
        let region = Region::builder(page(8))
            .growth(Growth::Pages(1))
            .backend(Backend::Userfault)
            .build()
            .unwrap();
        region.try_write(page(2), 5u8).unwrap();
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: lowers a limit of this process.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &none) }, 0);
        in_child(|| {
            let kept = region.try_read::<u8>(page(2)) == Ok(5);
            kept && region.try_read::<u8>(page(3)).is_err() && region.try_write(0, 1u8).is_err()
        });
        // Existing regions share their descriptor.
        let shares = Region::builder(1)
            .backend(Backend::Userfault)
            .build()
            .unwrap();
        shares.try_write(0, 1u8).unwrap();
        region.try_write(page(3), 1u8).unwrap();
        drop((region, shares));
        let error = Region::builder(1)
            .backend(Backend::Userfault)
            .build()
            .map(drop)
            .unwrap_err();
        assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
    }
}
