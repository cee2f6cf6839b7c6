//! Living with the other signal handlers of a process (Unix). Each case is a child process: this program again with
//! ROLE set, since handlers are process-wide.

#![allow(unsafe_code, reason = "signal handlers are a C interface")]

#[cfg(unix)]
mod common;

#[cfg(not(unix))]
fn main() {
    println!("test result: ok. 0 passed; 0 failed (signals are Unix's)");
}

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    unix::main()
}

#[cfg(unix)]
mod unix {
    use std::ffi::c_void;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitCode;
    use std::ptr;
    use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
    use std::time::Duration;

    use elbowroom::{FaultCode, Growth, Region, Verdict, page_size};
    use libtest_mimic::{Arguments, Trial};

    use crate::common::run;

    /// Every role and the signal it must die of; 0: it ends well.
    const ROLES: &[(&str, fn(), i32)] = &[
        ("earlier_handler_gets_what_is_not_ours", earlier_handler, 0),
        ("later_handler_that_chains_works", later_handler, 0),
        ("buried_handler_does_not_chain_to_itself", buried_handler, 0),
        ("raise_leaves_us_armed", raise_with_std, 0),
        ("raise_reaches_the_earlier_handler", raise_with_handler, 0),
        ("one_shot_handler_is_called_once", one_shot, libc::SIGSEGV),
        ("ignored_signal_stays_ignored", ignored, 0),
        (
            "default_disposition_kills_on_raise",
            default_raise,
            libc::SIGSEGV,
        ),
        (
            "default_disposition_kills_on_a_fault",
            default_fault,
            libc::SIGSEGV,
        ),
        ("plain_handler_without_siginfo_is_called", plain_handler, 0),
        ("chained_handler_sees_its_own_mask", chained_mask, 0),
        ("no_region_left_means_nothing_changed", nothing_left, 0),
        ("install_and_remove_across_threads", across_threads, 0),
        ("errno_survives_a_touch", errno_survives, 0),
        ("a_bus_error_reaches_the_filter", bus_error, 0),
        ("protected_pages_are_not_committed_away", protected_pages, 0),
        ("a_thread_without_alternate_stack", no_alternate_stack, 0),
        ("alternate_stack_is_kept", alternate_stack_kept, 0),
        ("signals_that_touch_the_region", touching_signals, 0),
        ("a_forked_child_commits_for_itself", forked, 0),
        ("raised_in_a_filter", raised_in_a_filter, 0),
        (
            "handlers_between_regions_each_get_a_signal_once",
            between_regions,
            0,
        ),
        ("a_handler_that_takes_itself_back_is_gone", taken_back, 0),
        (
            "signals_that_the_thread_blocks_stay_blocked",
            blocked_trap,
            0,
        ),
        ("forks_in_the_middle_of_commits", forks_under_way, 0),
        ("a_fork_in_a_filter", fork_in_a_filter, 0),
        (
            "later_handler_that_does_not_chain_is_overtaken_by_the_next_region",
            overtaken,
            0,
        ),
        (
            "nested_faults_work_below_a_handler_that_chains",
            nested_below,
            0,
        ),
        (
            "earlier_handler_without_onstack_gets_stack",
            stack_hungry,
            0,
        ),
        (
            "declined_plain_touch_of_a_committed_page_goes_on",
            declined_but_committed,
            0,
        ),
        (
            "a_forked_child_of_a_monitored_region_is_declined",
            forked_monitored,
            0,
        ),
        ("the_status_says_where_the_handler_stands", status, 0),
        (
            "the_status_names_threads_that_block_the_signals",
            status_of_threads,
            0,
        ),
        (
            "the_handler_fits_on_an_alternate_stack_of_8_kib",
            small_alternate_stack,
            0,
        ),
    ];

    pub(super) fn main() -> ExitCode {
        if let Ok(role) = std::env::var("ROLE") {
            let (_, act, _) = ROLES
                .iter()
                .find(|(name, ..)| *name == role)
                .expect("a role");
            act();
            println!("ended well");
            return ExitCode::SUCCESS;
        }
        let trials = ROLES.iter().map(|&(role, _, signal)| {
            Trial::test(role, move || {
                let output = run(role);
                let well = String::from_utf8_lossy(&output.stdout).contains("ended well");
                let died = output.status.signal().unwrap_or(0);
                if (signal == 0) == well && died == signal {
                    Ok(())
                } else {
                    Err(format!("{output:?}").into())
                }
            })
        });
        libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
    }

    // What the handlers of this program saw.
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    static ADDRESS: AtomicUsize = AtomicUsize::new(0);
    static SIGNAL: AtomicI32 = AtomicI32::new(0);
    static NEXT: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

    fn action(handler: usize, flags: i32) -> libc::sigaction {
        // SAFETY: plain data; an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        action
    }

    fn install(signal: i32, new: &libc::sigaction) -> libc::sigaction {
        let mut old = action(0, 0);
        // SAFETY: both are live; the handlers of this file are of the right type.
        assert_eq!(unsafe { libc::sigaction(signal, new, &mut old) }, 0);
        old
    }

    fn current(signal: i32) -> libc::sigaction {
        let mut old = action(0, 0);
        // SAFETY: reads the action.
        assert_eq!(unsafe { libc::sigaction(signal, ptr::null(), &mut old) }, 0);
        old
    }

    fn raise(signal: i32) {
        // SAFETY: sends a signal to this thread.
        unsafe { libc::raise(signal) };
    }

    /// A page without access, outside every region.
    fn foreign_page() -> *mut u8 {
        // SAFETY: a new mapping where the kernel chooses.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                page_size(),
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANON,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        page.cast()
    }

    /// Counts, notes the address, and opens the page that was touched.
    extern "C" fn repairing(signal: i32, info: *mut libc::siginfo_t, _: *mut c_void) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        SIGNAL.store(signal, Ordering::Relaxed);
        // SAFETY: the kernel's siginfo.
        let info = unsafe { &*info };
        // SAFETY: SIGSEGV and SIGBUS have an address; of a raised one it means nothing.
        let (address, code) = (unsafe { info.si_addr() }, info.si_code);
        ADDRESS.store(address.addr(), Ordering::Relaxed);
        if code > 0 {
            let page = address.map_addr(|address| address & !(page_size() - 1));
            // SAFETY: a foreign page of this file's.
            unsafe { libc::mprotect(page, page_size(), libc::PROT_READ | libc::PROT_WRITE) };
        }
    }

    fn repairing_action(flags: i32) -> libc::sigaction {
        action(
            repairing as extern "C" fn(_, _, _) as usize,
            libc::SA_SIGINFO | flags,
        )
    }

    fn touch(byte: *mut u8) {
        // SAFETY: in a region, or repaired by the handler of this file.
        unsafe { byte.write_volatile(1) };
    }

    fn region() -> Region {
        let region = Region::builder(100 * page_size())
            .growth(Growth::Pages(1))
            .build()
            .unwrap();
        region.try_write(0, 1u8).unwrap();
        region
    }

    fn calls() -> usize {
        CALLS.load(Ordering::Relaxed)
    }

    fn earlier_handler() {
        install(libc::SIGSEGV, &repairing_action(0));
        let region = region();
        assert_eq!(calls(), 0, "ours is ours");
        for n in 1..4 {
            let page = foreign_page();
            touch(page.wrapping_add(n));
            assert_eq!(calls(), n);
            assert_eq!(ADDRESS.load(Ordering::Relaxed), page.addr() + n);
            region.try_write(n * page_size(), 1u8).unwrap();
        }
        drop(region);
        assert_eq!(
            current(libc::SIGSEGV).sa_sigaction,
            repairing_action(0).sa_sigaction
        );
        touch(foreign_page());
        assert_eq!(calls(), 4);
    }

    /// Counts, and hands everything to the handler that was there before.
    extern "C" fn chaining(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        assert!(calls() < 100, "round and round");
        // SAFETY: stored by the installer, never freed.
        let next = unsafe { &*NEXT.load(Ordering::Relaxed) };
        assert!(next.sa_flags & libc::SA_SIGINFO != 0);
        // SAFETY: an SA_SIGINFO handler.
        let next: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(next.sa_sigaction) };
        next(signal, info, context);
    }

    fn install_chaining() {
        let new = action(
            chaining as extern "C" fn(_, _, _) as usize,
            libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER,
        );
        // Known before it is needed.
        NEXT.store(
            Box::leak(Box::new(current(libc::SIGSEGV))),
            Ordering::Relaxed,
        );
        install(libc::SIGSEGV, &new);
    }

    fn later_handler() {
        let region = region();
        install_chaining();
        region.try_write(page_size(), 1u8).unwrap();
        assert_eq!(calls(), 1);
        assert!(region.try_write(region.len(), 1u8).is_err());
        assert_eq!(calls(), 2);
    }

    fn buried_handler() {
        install(libc::SIGSEGV, &repairing_action(0));
        drop({
            let region = region();
            install_chaining();
            region
        });
        // Ours had to stay below `chaining`; a new region must not put it on top as well.
        let region = region();
        let before = calls();
        touch(foreign_page());
        assert_eq!(calls(), before + 2, "chaining, then ours, then repairing");
        region.try_write(5 * page_size(), 1u8).unwrap();
    }

    fn raise_with_std() {
        let region = region();
        // std's handler resets the disposition to the default and returns. The default comes after us from now on: a
        // second raise would kill, as it would without us.
        raise(libc::SIGSEGV);
        region.try_write(9 * page_size(), 1u8).unwrap();
    }

    fn raise_with_handler() {
        install(libc::SIGSEGV, &repairing_action(0));
        install(libc::SIGBUS, &repairing_action(0));
        let region = region();
        for n in 1..4 {
            raise(libc::SIGSEGV);
            assert_eq!(calls(), 2 * n - 1);
            raise(libc::SIGBUS);
            assert_eq!(
                (calls(), SIGNAL.load(Ordering::Relaxed)),
                (2 * n, libc::SIGBUS)
            );
            region.try_write(n * page_size(), 1u8).unwrap();
        }
    }

    fn one_shot() {
        install(libc::SIGSEGV, &repairing_action(libc::SA_RESETHAND));
        let region = region();
        touch(foreign_page());
        assert_eq!(calls(), 1);
        region.try_write(page_size(), 1u8).unwrap();
        touch(foreign_page());
    }

    fn ignored() {
        install(libc::SIGSEGV, &action(libc::SIG_IGN, 0));
        let region = region();
        raise(libc::SIGSEGV);
        region.try_write(page_size(), 1u8).unwrap();
        drop(region);
        assert_eq!(current(libc::SIGSEGV).sa_sigaction, libc::SIG_IGN);
    }

    fn default_raise() {
        install(libc::SIGSEGV, &action(libc::SIG_DFL, 0));
        let _region = region();
        raise(libc::SIGSEGV);
    }

    fn default_fault() {
        install(libc::SIGSEGV, &action(libc::SIG_DFL, 0));
        let _region = region();
        touch(foreign_page());
    }

    extern "C" fn plain(signal: i32) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        SIGNAL.store(signal, Ordering::Relaxed);
    }

    fn plain_handler() {
        install(
            libc::SIGSEGV,
            &action(plain as extern "C" fn(_) as usize, 0),
        );
        let region = region();
        raise(libc::SIGSEGV);
        assert_eq!(
            (calls(), SIGNAL.load(Ordering::Relaxed)),
            (1, libc::SIGSEGV)
        );
        region.try_write(page_size(), 1u8).unwrap();
    }

    static MASK: AtomicUsize = AtomicUsize::new(usize::MAX);

    extern "C" fn noting_mask(_: i32) {
        let mut mask = action(0, 0).sa_mask;
        // SAFETY: reads the mask of this thread.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask) };
        let blocked = |signal| {
            // SAFETY: the set is initialised.
            unsafe { libc::sigismember(&mask, signal) == 1 }
        };
        let bits = [libc::SIGSEGV, libc::SIGUSR1, libc::SIGUSR2, libc::SIGTERM].map(blocked);
        MASK.store(
            bits.iter().fold(0, |sum, &bit| sum * 2 + usize::from(bit)),
            Ordering::Relaxed,
        );
    }

    fn chained_mask() {
        let mut new = action(noting_mask as extern "C" fn(_) as usize, 0);
        // SAFETY: an initialised set.
        unsafe { libc::sigaddset(&mut new.sa_mask, libc::SIGUSR1) };
        install(libc::SIGSEGV, &new);
        // The thread itself blocks another one.
        let mut mine = action(0, 0).sa_mask;
        // SAFETY: an initialised set.
        unsafe { libc::sigaddset(&mut mine, libc::SIGUSR2) };
        // SAFETY: blocks SIGUSR2.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &mine, ptr::null_mut()) };
        let without_us = {
            raise(libc::SIGSEGV);
            MASK.swap(usize::MAX, Ordering::Relaxed)
        };
        assert_eq!(without_us, 0b1110);
        let _region = region();
        raise(libc::SIGSEGV);
        assert_eq!(MASK.load(Ordering::Relaxed), without_us);
    }

    fn nothing_left() {
        let before = [libc::SIGSEGV, libc::SIGBUS].map(|signal| current(signal).sa_sigaction);
        for _ in 0..100 {
            let first = region();
            assert_ne!(current(libc::SIGSEGV).sa_sigaction, before[0]);
            drop((first, region()));
        }
        assert_eq!(
            [libc::SIGSEGV, libc::SIGBUS].map(|signal| current(signal).sa_sigaction),
            before
        );
    }

    fn across_threads() {
        let before = current(libc::SIGSEGV).sa_sigaction;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..300).for_each(|_| drop(region())));
            }
        });
        assert_eq!(current(libc::SIGSEGV).sa_sigaction, before);
    }

    fn errno_survives() {
        let region = Region::builder(10 * page_size())
            .commit_limit(page_size())
            .build()
            .unwrap();
        for offset in [0, 5 * page_size()] {
            // SAFETY: an invalid descriptor is refused with EBADF.
            unsafe { libc::close(-1) };
            let _ = region.try_write(offset, 1u8);
            assert_eq!(
                std::io::Error::last_os_error().raw_os_error(),
                Some(libc::EBADF)
            );
        }
    }

    /// Maps the page of an empty file over a page of the region.
    fn map_empty_file(region: &Region, page: usize) {
        // SAFETY: makes a temporary file without a name.
        let file = unsafe { libc::tmpfile() };
        assert!(!file.is_null());
        let at = region.as_ptr().wrapping_add(page * page_size());
        // SAFETY: an open file.
        let fd = unsafe { libc::fileno(file) };
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: over a page of the region, which nothing refers to.
        let mapped = unsafe {
            libc::mmap(
                at.cast(),
                page_size(),
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                fd,
                0,
            )
        };
        assert_eq!(mapped, at.cast());
    }

    fn bus_error() {
        if crate::common::emulated() {
            // QEMU 7 does not pass on the address of a bus error.
            return;
        }
        static SEEN: AtomicI32 = AtomicI32::new(0);
        let region = Region::builder(10 * page_size())
            .growth(Growth::Pages(1))
            .filter(|fault| {
                if let FaultCode::Signal { signo, .. } = fault.code() {
                    SEEN.store(signo, Ordering::Relaxed);
                }
                assert_eq!(
                    fault.is_page_fault(),
                    fault.code().number() == libc::SIGSEGV
                );
                if !fault.is_page_fault() {
                    assert!(fault.commit().is_err());
                }
                Verdict::Commit
            })
            .build()
            .unwrap();
        region.try_write(0, 1u8).unwrap();
        assert_eq!(SEEN.load(Ordering::Relaxed), libc::SIGSEGV);
        map_empty_file(&region, 3);
        let error = region.try_write(3 * page_size(), 1u8).unwrap_err();
        assert_eq!(SEEN.load(Ordering::Relaxed), libc::SIGBUS);
        assert!(
            error.to_string().contains("other than a page fault"),
            "{error}"
        );
        assert_eq!(region.stats().committed_bytes, page_size());
    }

    fn protected_pages() {
        let region = region();
        region.try_fill(0..3 * page_size(), 7).unwrap();
        let protect = |page: usize, bits| {
            let at = region.as_ptr().wrapping_add(page * page_size());
            // SAFETY: a page of the region, which nothing refers to.
            assert_eq!(unsafe { libc::mprotect(at.cast(), page_size(), bits) }, 0);
        };
        protect(1, libc::PROT_READ);
        protect(2, libc::PROT_NONE);
        assert_eq!(region.try_read::<u8>(page_size()).unwrap(), 7);
        for (page, result) in [
            (1, region.try_write(page_size(), 8u8)),
            (2, region.try_read::<u8>(2 * page_size()).map(drop)),
        ] {
            let error = result.unwrap_err();
            assert!(error.is_protected(), "page {page}: {error}");
        }
        let error = region.try_fill(0..3 * page_size(), 9).unwrap_err();
        assert_eq!(error.offset(), page_size());
        protect(1, libc::PROT_READ | libc::PROT_WRITE);
        protect(2, libc::PROT_READ | libc::PROT_WRITE);
        assert_eq!(region.try_read::<u8>(page_size()).unwrap(), 7);
        region.try_fill(0..3 * page_size(), 9).unwrap();
    }

    fn no_alternate_stack() {
        let region = filtered_region();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let none = libc::stack_t {
                    ss_sp: ptr::null_mut(),
                    ss_flags: libc::SS_DISABLE,
                    ss_size: 0,
                };
                // SAFETY: takes the alternate stack away that std gave this thread; std unmaps it at the end all the
                // same.
                assert_eq!(unsafe { libc::sigaltstack(&none, ptr::null_mut()) }, 0);
                for n in 1..5 {
                    region.try_write(n * page_size(), 1u8).unwrap();
                }
            });
        });
    }

    /// A region whose filter touches another region, so that faults nest.
    fn filtered_region() -> Region {
        let inner = Region::builder(100 * page_size())
            .growth(Growth::Pages(1))
            .filter(|_| Verdict::Commit)
            .build()
            .unwrap();
        Region::builder(100 * page_size())
            .growth(Growth::Pages(1))
            .filter(move |fault| {
                inner.try_write(fault.offset(), 1u8).unwrap();
                assert!(inner.try_write(inner.len(), 1u8).is_err());
                Verdict::Commit
            })
            .build()
            .unwrap()
    }

    fn alternate_stack_kept() {
        let now = || {
            let mut stack = libc::stack_t {
                ss_sp: ptr::null_mut(),
                ss_flags: 0,
                ss_size: 0,
            };
            // SAFETY: reads the setting.
            assert_eq!(unsafe { libc::sigaltstack(ptr::null(), &mut stack) }, 0);
            (stack.ss_sp.addr(), stack.ss_flags, stack.ss_size)
        };
        let before = now();
        let region = filtered_region();
        for n in 1..50 {
            region.try_write(n * page_size(), 1u8).unwrap();
            assert_eq!(now(), before);
        }
    }

    static TOUCHED: AtomicPtr<Region> = AtomicPtr::new(ptr::null_mut());

    extern "C" fn on_alarm(_: i32) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: set before the timer starts, never freed.
        let region = unsafe { &*TOUCHED.load(Ordering::Relaxed) };
        let offset = calls() * 37 % 100 * page_size();
        region.try_write(offset, 1u8).unwrap();
        if calls() % 3 == 0 {
            region.decommit(offset..offset + 1).unwrap();
        }
    }

    fn touching_signals() {
        let region: &Region = Box::leak(Box::new(region()));
        TOUCHED.store(ptr::from_ref(region).cast_mut(), Ordering::Relaxed);
        install(
            libc::SIGALRM,
            &action(on_alarm as extern "C" fn(_) as usize, libc::SA_RESTART),
        );
        let often = libc::timeval {
            tv_sec: 0,
            tv_usec: 50,
        };
        let timer = libc::itimerval {
            it_interval: often,
            it_value: often,
        };
        // SAFETY: a valid timer, of the real-time kind (0).
        assert_eq!(unsafe { libc::setitimer(0, &timer, ptr::null_mut()) }, 0);
        let start = std::time::Instant::now();
        // In the middle of commits, decommits and touches of the same pages the signal comes and does the same.
        while start.elapsed() < Duration::from_millis(300) || calls() < 100 {
            for page in 0..100 {
                let range = page * page_size()..(page + 1) * page_size();
                region.commit(range.clone()).unwrap();
                region.decommit(range.clone()).unwrap();
                region.try_fill(range.clone(), 3).unwrap();
                region.spans();
            }
        }
    }

    fn forked() {
        let region = region();
        region.try_write(page_size(), 5u8).unwrap();
        // SAFETY: the child calls only what the parent, single-threaded, could.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let good = region.try_read::<u8>(page_size()).ok() == Some(5)
                && region.try_write(2 * page_size(), 6u8).is_ok()
                && region.try_write(page_size(), 7u8).is_ok()
                && region.stats().committed_bytes == 3 * page_size()
                && region.try_write(region.len(), 7u8).is_err();
            // SAFETY: ends the child without running what the parent registered.
            unsafe { libc::_exit(if good { 17 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: waits for the child.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 17, "{status:#x}");
        assert_eq!(region.stats().committed_bytes, 2 * page_size());
        assert_eq!(region.try_read::<u8>(page_size()).unwrap(), 5);
        assert_eq!(region.try_read::<u8>(2 * page_size()).unwrap(), 0);
    }

    /// Forks; the child's part answers whether all is well, within ten seconds.
    fn fork_and_ask(child_part: impl FnOnce() -> bool) {
        // SAFETY: the child uses this library, whose locks a fork leaves free, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends the child by SIGALRM if it hangs.
            unsafe { libc::alarm(10) };
            let good = child_part();
            // SAFETY: ends the child without running what the parent registered.
            unsafe { libc::_exit(if good { 17 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: waits for the child.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 17, "{status:#x}");
    }

    fn forks_under_way() {
        let budget = elbowroom::Budget::new(1 << 30);
        let make = |budget: &elbowroom::Budget| {
            let builder = Region::builder(100 * page_size())
                .growth(Growth::Pages(1))
                .filter(|_| Verdict::Commit);
            builder.budget(budget).build().unwrap()
        };
        let (busy, quiet) = (make(&budget), make(&budget));
        quiet.try_write(0, 3u8).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (busy, budget, done) = (&busy, &budget, &done);
                scope.spawn(move || {
                    for round in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                        let page = (round * 7 + thread) % 100;
                        busy.try_write(page * page_size(), 1u8).unwrap();
                        busy.decommit(page * page_size()..page * page_size() + 1)
                            .unwrap();
                        if round % 10 == 0 {
                            drop(make(budget));
                        }
                    }
                });
            }
            let _done = crate::common::SetWhenDropped(&done);
            for _ in 0..crate::common::times(60) {
                fork_and_ask(|| {
                    let page = 50 * page_size();
                    let good = busy.try_write(page, 9u8).is_ok()
                        && busy.try_read::<u8>(page).ok() == Some(9)
                        && busy.decommit(0..busy.len()).is_ok()
                        && quiet.try_read::<u8>(0).ok() == Some(3)
                        && budget.committed_bytes() == page_size();
                    // Regions are made and dropped there, and an old one too: nobody's pin is waited for.
                    drop(make(&budget));
                    // SAFETY: the copy is not used again, as the process ends without unwinding.
                    drop(unsafe { ptr::read(&busy) });
                    good
                });
            }
        });
    }

    fn fork_in_a_filter() {
        let other = region();
        let region = Region::builder(100 * page_size())
            .growth(Growth::Pages(1))
            .filter(move |fault| {
                fork_and_ask(|| other.try_write(fault.offset(), 1u8).is_ok());
                Verdict::Commit
            })
            .build()
            .unwrap();
        for n in 1..4 {
            region.try_write(n * page_size(), 1u8).unwrap();
        }
    }

    static SECOND: AtomicUsize = AtomicUsize::new(0);
    static SECOND_NEXT: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

    /// As `chaining`, another one.
    extern "C" fn chaining_too(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
        assert!(
            SECOND.fetch_add(1, Ordering::Relaxed) < 100,
            "round and round"
        );
        // SAFETY: stored by the installer, never freed.
        let next = unsafe { &*SECOND_NEXT.load(Ordering::Relaxed) };
        // SAFETY: an SA_SIGINFO handler.
        let next: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(next.sa_sigaction) };
        next(signal, info, context);
    }

    fn between_regions() {
        install(libc::SIGSEGV, &repairing_action(0));
        let first = region();
        install_chaining();
        let second = region();
        SECOND_NEXT.store(
            Box::leak(Box::new(current(libc::SIGSEGV))),
            Ordering::Relaxed,
        );
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        install(
            libc::SIGSEGV,
            &action(chaining_too as extern "C" fn(_, _, _) as usize, flags),
        );
        let third = region();
        for n in 1..4 {
            touch(foreign_page());
            // `chaining` and `repairing` count together.
            assert_eq!((SECOND.load(Ordering::Relaxed), calls()), (n, 2 * n));
            for region in [&first, &second, &third] {
                region.try_write(n * page_size(), 1u8).unwrap();
            }
        }
        drop((first, second, third));
        touch(foreign_page());
        assert_eq!(
            (SECOND.load(Ordering::Relaxed), calls()),
            (4, 8),
            "and with no region left"
        );
    }

    fn taken_back() {
        let before = current(libc::SIGSEGV);
        let first = region();
        // In front, and back again, with a region made in between.
        let ours = install(libc::SIGSEGV, &repairing_action(libc::SA_ONSTACK));
        let second = region();
        install(libc::SIGSEGV, &ours);
        let third = region();
        for region in [&first, &second, &third] {
            region.try_write(page_size(), 1u8).unwrap();
        }
        drop((first, second, third));
        assert_eq!(calls(), 0);
        assert_eq!(current(libc::SIGSEGV).sa_sigaction, before.sa_sigaction);
    }

    fn blocked_trap() {
        let mut set = action(0, 0).sa_mask;
        // SAFETY: an initialised set.
        unsafe { libc::sigaddset(&mut set, libc::SIGTRAP) };
        // SAFETY: blocks SIGTRAP for this thread.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()) };
        raise(libc::SIGTRAP);
        // Pending meanwhile, and not delivered in the middle of a fault.
        let region = filtered_region();
        region.try_write(page_size(), 1u8).unwrap();
        let mut got = 0;
        // SAFETY: takes the pending signal.
        assert_eq!(unsafe { libc::sigwait(&set, &mut got) }, 0);
        assert_eq!(got, libc::SIGTRAP);
    }

    fn overtaken() {
        let first = region();
        install(libc::SIGSEGV, &repairing_action(libc::SA_ONSTACK));
        // It is in front of ours and keeps what it gets.
        first.try_write(page_size(), 1u8).unwrap();
        assert_eq!(calls(), 1);
        let second = region();
        first.try_write(2 * page_size(), 1u8).unwrap();
        second.try_write(2 * page_size(), 1u8).unwrap();
        assert_eq!(calls(), 1, "ours is in front again");
        touch(foreign_page());
        assert_eq!(calls(), 2);
        drop((first, second));
        assert_eq!(
            current(libc::SIGSEGV).sa_sigaction,
            repairing_action(0).sa_sigaction
        );
        for n in 0..3 {
            let again = region();
            again.try_write(page_size(), 1u8).unwrap();
            touch(foreign_page());
            assert_eq!(calls(), 3 + n);
        }
    }

    fn status() {
        use elbowroom::fault::{Place, status};
        let places = || -> Vec<Place> {
            status()
                .handlers
                .iter()
                .map(|handler| handler.place)
                .collect()
        };
        assert_eq!(places(), [Place::Absent; 2]);
        let first = region();
        assert_eq!(places(), [Place::First; 2]);
        // A thread of an emulator's own may block them.
        assert!(
            status().is_good() || crate::common::emulated(),
            "{}",
            status()
        );
        // One that keeps what it gets.
        install(libc::SIGSEGV, &repairing_action(libc::SA_ONSTACK));
        assert_eq!(places(), [Place::Displaced, Place::First]);
        first.try_write(page_size(), 1u8).unwrap();
        assert_eq!(
            places(),
            [Place::Displaced, Place::First],
            "it passed nothing on"
        );
        assert!(!status().is_good());
        assert!(
            status()
                .to_string()
                .starts_with("SIGSEGV: behind one that has passed nothing on"),
            "{}",
            status()
        );
        let second = region();
        assert_eq!(places(), [Place::First; 2]);
        // One that passes on.
        install_chaining();
        assert_eq!(
            places(),
            [Place::Displaced, Place::First],
            "nobody can know yet"
        );
        first.try_write(2 * page_size(), 1u8).unwrap();
        assert_eq!(places(), [Place::Behind, Place::First]);
        assert!(
            status().is_good() || crate::common::emulated(),
            "{}",
            status()
        );
        // One that keeps what it gets, in the place of the one that passed on.
        install(libc::SIGSEGV, &repairing_action(libc::SA_ONSTACK));
        assert_eq!(places(), [Place::Displaced, Place::First]);
        drop((first, second));
        assert_eq!(places(), [Place::Absent; 2]);
    }

    /// A thread that blocks the signals now and then is not one that blocks them.
    fn blocked_for_a_moment() {
        use std::time::Duration;
        if !cfg!(target_os = "linux") {
            return;
        }
        let end = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut mask = action(0, 0).sa_mask;
                // SAFETY: an initialised set and a valid signal.
                unsafe { libc::sigaddset(&mut mask, libc::SIGSEGV) };
                while !end.load(Ordering::Relaxed) {
                    for (how, time) in [(libc::SIG_BLOCK, 20), (libc::SIG_UNBLOCK, 40)] {
                        // SAFETY: a live set, of this thread alone; the old set may be null.
                        unsafe { libc::pthread_sigmask(how, &mask, ptr::null_mut()) };
                        std::thread::sleep(Duration::from_micros(time));
                    }
                }
            });
            let listed =
                (0..200).filter(|_| !elbowroom::fault::status().blocking_threads.is_empty());
            // Sampled, it is blocked a good part of the time. All eight looks find it so now and then.
            let listed = listed.count();
            end.store(true, Ordering::Relaxed);
            assert!(listed < 20, "{listed} of 200");
        });
    }

    fn status_of_threads() {
        // Under an emulator, /proc shows the emulator's masks.
        if crate::common::emulated() {
            return;
        }
        let _region = region();
        let blocking = || elbowroom::fault::status().blocking_threads;
        assert_eq!(blocking(), []);
        blocked_for_a_moment();
        assert!(
            elbowroom::fault::status()
                .alternate_stack_bytes
                .is_some_and(|bytes| bytes > 0),
            "std's"
        );
        std::thread::spawn(move || {
            let mut mask = action(0, 0).sa_mask;
            // SAFETY: an initialised set and a valid signal.
            unsafe { libc::sigaddset(&mut mask, libc::SIGBUS) };
            // SAFETY: both sets are live; this thread ends soon.
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &mask, ptr::null_mut()) };
            assert!(!elbowroom::fault::status().is_good());
            // The thread that starts another blocks signals for that moment.
            let here = std::iter::repeat_with(blocking)
                .inspect(|threads| assert!(!threads.is_empty()))
                .find(|threads| threads.len() == 1);
            let elsewhere = std::thread::spawn(move || {
                // SAFETY: all zeroes is a value of it: the empty set.
                let none: libc::sigset_t = unsafe { std::mem::zeroed() };
                // SAFETY: an initialised set; the old one may be null. The new thread inherited the mask.
                unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &none, ptr::null_mut()) };
                blocking()
            });
            let seen = elsewhere.join().unwrap();
            assert_eq!(
                Some(seen),
                if cfg!(target_os = "linux") {
                    here
                } else {
                    Some(Vec::new())
                },
                "by another"
            );
        })
        .join()
        .unwrap();
    }

    fn nested_below() {
        let inner = region();
        let outer = Region::builder(100 * page_size())
            .growth(Growth::Pages(1))
            .filter(move |fault| {
                let mut mask = action(0, 0).sa_mask;
                // SAFETY: reads the mask of this thread.
                unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask) };
                let blocked = [libc::SIGALRM, libc::SIGSEGV].map(|signal| {
                    // SAFETY: the set is initialised.
                    unsafe { libc::sigismember(&mask, signal) == 1 }
                });
                assert_eq!(blocked, [true, false]);
                inner.try_write(fault.offset(), 1u8).unwrap();
                Verdict::Commit
            })
            .build()
            .unwrap();
        // In front of ours, with SIGSEGV blocked while it runs and SIGALRM not.
        NEXT.store(
            Box::leak(Box::new(current(libc::SIGSEGV))),
            Ordering::Relaxed,
        );
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        install(
            libc::SIGSEGV,
            &action(chaining as extern "C" fn(_, _, _) as usize, flags),
        );
        for n in 1..5 {
            outer.try_write(n * page_size(), 1u8).unwrap();
        }
        assert_eq!(calls(), 8, "each fault, and the one nested in it");
    }

    extern "C" fn hungry(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
        let mut bytes = [signal as u8; 64 << 10];
        std::hint::black_box(&mut bytes);
        repairing(signal, info, context);
    }

    fn stack_hungry() {
        install(
            libc::SIGSEGV,
            &action(hungry as extern "C" fn(_, _, _) as usize, libc::SA_SIGINFO),
        );
        let region = region();
        for n in 1..40 {
            touch(foreign_page());
            assert_eq!(calls(), n);
            region.try_write(n * page_size(), 1u8).unwrap();
        }
    }

    fn declined_but_committed() {
        install(libc::SIGSEGV, &action(libc::SIG_DFL, 0));
        let region = Region::builder(100 * page_size())
            .growth(Growth::Pages(1))
            .filter(|fault| {
                fault.commit().unwrap();
                Verdict::Decline
            })
            .build()
            .unwrap();
        touch(region.as_ptr());
        assert_eq!(region.try_read::<u8>(0).unwrap(), 1);
        assert!(
            region
                .try_write(page_size(), 1u8)
                .unwrap_err()
                .is_declined()
        );
        region.try_write(page_size(), 1u8).unwrap();
    }

    fn forked_monitored() {
        let region = Region::builder(10 * page_size())
            .growth(Growth::Pages(1))
            .filter(|_| Verdict::Commit)
            .filter_threads(1)
            .build()
            .unwrap();
        region.try_write(0, 1u8).unwrap();
        // SAFETY: the child touches the region, which needs no lock that the monitor thread holds, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let good = region.try_read::<u8>(0).ok() == Some(1)
                && region
                    .try_write(page_size(), 6u8)
                    .is_err_and(|error| error.is_declined())
                && region.commit(page_size()..2 * page_size()).is_ok()
                && region.try_write(page_size(), 6u8).is_ok();
            drop(region);
            // SAFETY: ends the child without running what the parent registered.
            unsafe { libc::_exit(if good { 17 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: waits for the child.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 17, "{status:#x}");
        region.try_write(2 * page_size(), 1u8).unwrap();
    }

    /// How many bytes of an alternate stack `work` uses, on a thread of its own.
    fn depth_of(work: impl FnOnce() + Send) -> usize {
        const PAINT: u8 = 0xa5;
        let measure = || {
            let mut bytes = vec![PAINT; 256 << 10];
            let stack = libc::stack_t {
                ss_sp: bytes.as_mut_ptr().cast(),
                ss_flags: 0,
                ss_size: bytes.len(),
            };
            let mut before = stack;
            // SAFETY: memory that nothing else uses until the other stack is put back.
            assert_eq!(unsafe { libc::sigaltstack(&stack, &mut before) }, 0);
            work();
            // SAFETY: what was there before.
            assert_eq!(unsafe { libc::sigaltstack(&before, ptr::null_mut()) }, 0);
            bytes.len()
                - bytes
                    .iter()
                    .position(|&byte| byte != PAINT)
                    .unwrap_or(bytes.len())
        };
        std::thread::scope(|scope| scope.spawn(measure).join().unwrap())
    }

    /// std's alternate stacks have 8 KiB, of which the kernel's frame takes up to 3,632 bytes (AVX-512; where it may
    /// take more, AT_MINSIGSTKSZ says so, and they have more). An unoptimised build must fit into the rest as well.
    fn refused_by_the_system(region: &Region) {
        // Where the system can be made to refuse.
        #[cfg(feature = "inject")]
        {
            let _plan = elbowroom::inject::refuse(elbowroom::inject::Call::Commit, 1);
            assert!(
                region
                    .try_write((1 << 28) - 1, 1u8)
                    .unwrap_err()
                    .is_out_of_memory()
            );
        }
        #[cfg(not(feature = "inject"))]
        region.try_write((1 << 28) - 1, 1u8).unwrap();
    }

    fn small_alternate_stack() {
        if crate::common::emulated() {
            return;
        }
        install(
            libc::SIGUSR1,
            &action(plain as extern "C" fn(_) as usize, libc::SA_ONSTACK),
        );
        let frame = depth_of(|| raise(libc::SIGUSR1));
        install(libc::SIGSEGV, &repairing_action(libc::SA_ONSTACK));
        let budget = elbowroom::Budget::builder(1 << 30)
            .name("parent")
            .build()
            .child(1 << 29);
        let growing = Region::builder(1 << 28).budget(&budget).build().unwrap();
        let limited = Region::builder(1 << 20)
            .commit_limit(page_size())
            .build()
            .unwrap();
        let filtered = Region::builder(1 << 20)
            .filter(|_| Verdict::Commit)
            .build()
            .unwrap();
        let monitored = Region::builder(1 << 20)
            .filter(|_| Verdict::Commit)
            .filter_threads(1)
            .build()
            .unwrap();
        let refusing = Region::builder(1 << 20)
            .timed()
            .budget(&budget.child(page_size()))
            .name(&"refusing".repeat(20))
            .build()
            .unwrap();
        let refusing_filtered = Region::builder(1 << 20)
            .timed()
            .budget(&budget.child(0))
            .filter(|_| Verdict::Commit)
            .build()
            .unwrap();
        limited.try_write(0, 1u8).unwrap();
        let protected = Region::builder(1 << 20).timed().build().unwrap();
        protected.try_write(0, 1u8).unwrap();
        // SAFETY: a page of this test's own; the handler behind ours makes it writable again.
        let result =
            unsafe { libc::mprotect(protected.as_ptr().cast(), page_size(), libc::PROT_READ) };
        assert_eq!(result, 0);
        refusing.try_write(0, 1u8).unwrap();
        let _recorder = elbowroom::fault::Recorder::start(100).unwrap();
        let depths = [
            depth_of(|| assert!(refusing.try_write(page_size(), 1u8).unwrap_err().is_limit())),
            depth_of(|| touch(refusing.as_ptr().wrapping_add(2 * page_size()))),
            depth_of(|| refused_by_the_system(&growing)),
            depth_of(|| touch(protected.as_ptr())),
            depth_of(|| assert!(refusing_filtered.try_write(0, 1u8).unwrap_err().is_limit())),
            depth_of(|| {
                (0..1000).for_each(|page| growing.try_write(page * page_size(), 1u8).unwrap())
            }),
            depth_of(|| assert!(limited.try_write(page_size(), 1u8).unwrap_err().is_limit())),
            depth_of(|| filtered.try_write(0, 1u8).unwrap()),
            depth_of(|| monitored.try_write(0, 1u8).unwrap()),
            depth_of(|| touch(foreign_page())),
            // Refused and reported; the program's own handler opens the page.
            depth_of(|| touch(limited.as_ptr().wrapping_add(2 * page_size()))),
        ];
        for depth in depths {
            assert!(
                depth > frame && depth - frame <= (8 << 10) - 3632,
                "{frame} and then {depths:?}"
            );
        }
    }

    fn raised_in_a_filter() {
        install(libc::SIGSEGV, &repairing_action(0));
        let region = Region::builder(100 * page_size())
            .growth(Growth::Pages(1))
            .filter(|_| {
                raise(libc::SIGSEGV);
                touch(foreign_page());
                Verdict::Commit
            })
            .build()
            .unwrap();
        for n in 0..5 {
            region.try_write(n * page_size(), 1u8).unwrap();
            assert_eq!(calls(), 2 * (n + 1));
        }
    }
}
