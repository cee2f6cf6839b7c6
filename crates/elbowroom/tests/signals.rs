//! Coexistence with other signal handlers of a process (Unix). Each case is a child process: this program again with
//! ROLE set, because handlers are process-wide.

#![allow(unsafe_code, reason = "signal handlers are a C interface")]

#[cfg(unix)]
mod common;

#[cfg(not(unix))]
fn main() {
    println!("test result: ok. 0 passed; 0 failed (signals are Unix's)");
}

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    signals::main()
}

#[cfg(unix)]
mod signals {
    use std::ffi::c_void;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitCode;
    use std::ptr;
    use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};

    use elbowroom::{Growth, Region, Verdict, page_size};
    use libtest_mimic::{Arguments, Trial};

    use crate::common::run;

    mod chain;
    mod faults;
    mod forks;
    mod stacks;
    mod status;

    /// Every role and the signal it must die of; 0 if it must exit normally.
    const ROLES: &[(&str, fn(), i32)] = &[
        (
            "earlier_handler_gets_what_is_not_ours",
            chain::earlier_handler,
            0,
        ),
        ("later_handler_that_chains_works", chain::later_handler, 0),
        (
            "buried_handler_does_not_chain_to_itself",
            chain::buried_handler,
            0,
        ),
        ("raise_leaves_us_armed", chain::raise_with_std, 0),
        (
            "raise_reaches_the_earlier_handler",
            chain::raise_with_handler,
            0,
        ),
        (
            "one_shot_handler_is_called_once",
            chain::one_shot,
            libc::SIGSEGV,
        ),
        ("ignored_signal_stays_ignored", chain::ignored, 0),
        (
            "default_disposition_kills_on_raise",
            chain::default_raise,
            libc::SIGSEGV,
        ),
        (
            "default_disposition_kills_on_a_fault",
            chain::default_fault,
            libc::SIGSEGV,
        ),
        (
            "plain_handler_without_siginfo_is_called",
            chain::plain_handler,
            0,
        ),
        ("chained_handler_sees_its_own_mask", chain::chained_mask, 0),
        (
            "no_region_left_means_nothing_changed",
            chain::nothing_left,
            0,
        ),
        (
            "install_and_remove_across_threads",
            chain::across_threads,
            0,
        ),
        ("errno_survives_a_touch", faults::errno_survives, 0),
        ("a_bus_error_reaches_the_filter", faults::bus_error, 0),
        (
            "protected_pages_are_not_committed_away",
            faults::protected_pages,
            0,
        ),
        (
            "a_thread_without_alternate_stack",
            stacks::no_alternate_stack,
            0,
        ),
        ("alternate_stack_is_kept", stacks::alternate_stack_kept, 0),
        ("signals_that_touch_the_region", faults::touching_signals, 0),
        ("a_forked_child_commits_for_itself", forks::forked, 0),
        ("raised_in_a_filter", faults::raised_in_a_filter, 0),
        (
            "handlers_between_regions_each_get_a_signal_once",
            chain::between_regions,
            0,
        ),
        (
            "a_handler_that_takes_itself_back_is_gone",
            chain::taken_back,
            0,
        ),
        (
            "signals_that_the_thread_blocks_stay_blocked",
            chain::blocked_trap,
            0,
        ),
        ("forks_in_the_middle_of_commits", forks::forks_under_way, 0),
        ("a_fork_in_a_filter", forks::fork_in_a_filter, 0),
        (
            "later_handler_that_does_not_chain_is_overtaken_by_the_next_region",
            chain::overtaken,
            0,
        ),
        (
            "nested_faults_work_below_a_handler_that_chains",
            stacks::nested_below,
            0,
        ),
        (
            "earlier_handler_without_onstack_gets_stack",
            stacks::stack_hungry,
            0,
        ),
        (
            "declined_plain_touch_of_a_committed_page_goes_on",
            faults::declined_but_committed,
            0,
        ),
        (
            "a_forked_child_of_a_monitored_region_is_declined",
            forks::forked_monitored,
            0,
        ),
        (
            "the_status_says_where_the_handler_stands",
            status::status,
            0,
        ),
        (
            "the_status_names_threads_that_block_the_signals",
            status::status_of_threads,
            0,
        ),
        (
            "the_handler_fits_on_an_alternate_stack_of_8_kib",
            stacks::small_alternate_stack,
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

    // The calls of this program's handlers.
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
        // SAFETY: sigaction(2) with a null new action only reads, into a live structure.
        assert_eq!(unsafe { libc::sigaction(signal, ptr::null(), &mut old) }, 0);
        old
    }

    fn raise(signal: i32) {
        // SAFETY: raise(3) has no preconditions.
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
        // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler.
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

    /// Counts, and forwards everything to the previous handler.
    extern "C" fn chaining(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        assert!(calls() < 100, "round and round");
        // SAFETY: the installer has stored a leaked action, which is never freed.
        let next = unsafe { &*NEXT.load(Ordering::Relaxed) };
        assert!(next.sa_flags & libc::SA_SIGINFO != 0);
        // SAFETY: the action was installed with SA_SIGINFO, so its handler has this type.
        let next: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(next.sa_sigaction) };
        next(signal, info, context);
    }

    fn install_chaining() {
        let new = action(
            chaining as extern "C" fn(_, _, _) as usize,
            libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER,
        );
        // Stored before it is needed.
        NEXT.store(
            Box::leak(Box::new(current(libc::SIGSEGV))),
            Ordering::Relaxed,
        );
        install(libc::SIGSEGV, &new);
    }

    extern "C" fn plain(signal: i32) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        SIGNAL.store(signal, Ordering::Relaxed);
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
}
