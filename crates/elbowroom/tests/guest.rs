//! The fault handler in a process with other handlers (Unix). No path may repeat without end, and every fault that is
//! not resolved ends as it would without the library. Each case is a child process, which is killed if it does not end.

#![allow(unsafe_code, reason = "signal handlers are a C interface")]

#[cfg(unix)]
mod common;

#[cfg(not(unix))]
fn main() {
    println!("test result: ok. 0 passed; 0 failed (signals are Unix's)");
}

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    guest::main()
}

#[cfg(unix)]
mod guest {
    use std::ffi::c_void;
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitCode, Output, Stdio};
    use std::ptr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, Mutex};
    use std::time::{Duration, Instant};

    use elbowroom::{Growth, Region, Verdict, fault, page_size};
    use libtest_mimic::{Arguments, Failed, Trial};

    use crate::common::{child, is_emulated, times};

    mod allocations;
    mod forks;
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    mod frames;
    mod objects;

    /// Elsewhere the context has other fields.
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
    mod frames {
        pub(super) fn no_trap_number() {}
        pub(super) fn stuck_store() {}
    }

    /// Every role, and the signal that its process must die of; 0 if it must exit normally.
    const ROLES: &[(&str, fn(), i32)] = &[
        (
            "a_crash_reporter_that_steps_aside",
            crash_reporter,
            libc::SIGSEGV,
        ),
        (
            "a_null_store_on_a_full_alternate_stack",
            full_alternate_stack,
            libc::SIGSEGV,
        ),
        (
            "a_refused_store_with_a_full_standard_error",
            full_stderr,
            libc::SIGSEGV,
        ),
        (
            "many_refused_stores_that_are_recovered_from",
            refused_often,
            0,
        ),
        (
            "a_refused_store_is_reported_and_asked_about_once",
            refused_once,
            libc::SIGSEGV,
        ),
        (
            "a_frame_without_trap_number_is_taken_for_a_write",
            frames::no_trap_number,
            0,
        ),
        (
            "a_store_that_is_reported_as_a_load_ends",
            frames::stuck_store,
            0,
        ),
        ("status_beside_regions_that_come_and_go", status_race, 0),
        (
            "a_handler_installed_beside_a_region_is_not_lost",
            install_race,
            0,
        ),
        ("a_committed_page_that_was_unmapped", unmapped_page, 0),
        ("a_handler_in_front_that_forwards_nothing", reinstalled, 0),
        (
            "two_copies_that_make_regions_in_turn",
            objects::two_copies,
            libc::SIGSEGV,
        ),
        (
            "a_copy_that_is_unloaded_still_passes_on",
            objects::unloaded_copy,
            0,
        ),
        ("sigaction_is_another_librarys", objects::interposed, 0),
        ("fork_handlers_that_touch_and_push", forks::fork_handlers, 0),
        (
            "a_signal_handler_that_forks",
            forks::forking_signal_handler,
            0,
        ),
        (
            "the_reader_of_a_served_region_allocates_nothing",
            allocations::reader_allocates_nothing,
            0,
        ),
    ];

    pub(crate) fn main() -> ExitCode {
        if let Ok(role) = std::env::var("ROLE") {
            let act = ROLES.iter().find(|(name, ..)| *name == role);
            act.expect("a role").1();
            println!("done");
            return ExitCode::SUCCESS;
        }
        let trials = ROLES
            .iter()
            .map(|&(name, _, signal)| Trial::test(name, move || judge(name, signal)))
            .collect();
        libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
    }

    fn judge(role: &str, signal: i32) -> Result<(), Failed> {
        let output = run_to_the_end(role)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let died_of = output.status.signal().unwrap_or(0);
        if died_of != signal || (signal == 0 && !output.status.success()) {
            return Err(format!("{output:?}").into());
        }
        let reports = stderr.matches("elbowroom: cannot resolve").count();
        let questions = stderr.matches("asked").count();
        if role == "a_refused_store_is_reported_and_asked_about_once"
            && (reports, questions) != (1, 1)
        {
            return Err(format!("{reports} reports, {questions} questions: {stderr}").into());
        }
        // At most ten lines in each second; an emulator may need many seconds. The quiet region has none.
        if role == "many_refused_stores_that_are_recovered_from"
            && (!(10..=300).contains(&reports) || stderr.contains("\"quiet\""))
        {
            return Err(format!("{reports} reports: {stderr}").into());
        }
        Ok(())
    }

    /// Runs a child, and kills it after a minute.
    fn run_to_the_end(role: &str) -> Result<Output, Failed> {
        let mut command = child(role);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the child starts");
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = child.try_wait().expect("the child is waited for") {
                let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
                child
                    .stdout
                    .take()
                    .unwrap()
                    .read_to_end(&mut stdout)
                    .unwrap();
                child
                    .stderr
                    .take()
                    .unwrap()
                    .read_to_end(&mut stderr)
                    .unwrap();
                return Ok(Output {
                    status,
                    stdout,
                    stderr,
                });
            }
            if Instant::now() > end {
                child.kill().expect("the child is killed");
                child.wait().expect("the child is waited for");
                return Err("it does not end".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void);

    fn action(handler: usize) -> libc::sigaction {
        // SAFETY: plain data, of which all zeroes is a value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        action
    }

    /// Installs an action for SIGSEGV, and returns the one before.
    fn install(new: &libc::sigaction) -> libc::sigaction {
        let mut before = action(0);
        // SAFETY: the handlers here are of the type that their flags say; both structures are live.
        let result = unsafe { libc::sigaction(libc::SIGSEGV, new, &mut before) };
        assert_eq!(result, 0);
        before
    }

    fn region() -> Region {
        let builder = Region::builder(16 * page_size()).growth(Growth::Pages(1));
        builder.build().unwrap()
    }

    /// Stores through a plain pointer.
    fn store(address: *mut u8) {
        // SAFETY: a page of a live region, or nothing at all: the fault is what is tested.
        unsafe { std::hint::black_box(address).write_volatile(1) };
    }

    fn nowhere() -> *mut u8 {
        ptr::without_provenance_mut(16)
    }

    static BEFORE: Mutex<Option<libc::sigaction>> = Mutex::new(None);

    /// Does what Breakpad does for a crash that it does not handle: restores the previous action, and returns.
    extern "C" fn step_aside(_: i32, _: *mut libc::siginfo_t, _: *mut c_void) {
        if let Some(before) = *BEFORE.lock().unwrap() {
            install(&before);
        }
    }

    fn crash_reporter() {
        let _first = region();
        *BEFORE.lock().unwrap() = Some(install(&action(step_aside as Handler as usize)));
        let _second = region();
        store(nowhere());
    }

    static CONTEXT: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn note_context(_: i32, _: *mut libc::siginfo_t, context: *mut c_void) {
        CONTEXT.store(context.addr(), Ordering::Relaxed);
    }

    /// Returns the size of the kernel's own frame on a stack that ends at `top`.
    fn frame_bytes() -> usize {
        let before = install(&action(note_context as Handler as usize));
        let mut space = vec![0u8; 64 << 10];
        let stack = libc::stack_t {
            ss_sp: space.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: space.len(),
        };
        let mut old = stack;
        // SAFETY: the stack is live until the one before is put back.
        assert_eq!(unsafe { libc::sigaltstack(&stack, &mut old) }, 0);
        // SAFETY: raise(3) has no preconditions.
        unsafe { libc::raise(libc::SIGSEGV) };
        // SAFETY: the stack that the thread had.
        assert_eq!(unsafe { libc::sigaltstack(&old, ptr::null_mut()) }, 0);
        install(&before);
        space.as_ptr().addr() + space.len() - CONTEXT.load(Ordering::Relaxed)
    }

    /// Sets up an alternate stack above an inaccessible page, with a kilobyte of room beside the kernel's frame, which
    /// is less than the handler needs.
    fn full_alternate_stack() {
        let len = (frame_bytes() + 1024).max(libc::MINSIGSTKSZ);
        let pages = len.next_multiple_of(page_size());
        // SAFETY: a new mapping where the kernel chooses.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                page_size() + pages,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANON,
                -1,
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED);
        // SAFETY: the first page of the new mapping.
        let result = unsafe { libc::mprotect(base, page_size(), libc::PROT_NONE) };
        assert_eq!(result, 0);
        let stack = libc::stack_t {
            ss_sp: base.wrapping_byte_add(page_size()),
            ss_flags: 0,
            ss_size: len,
        };
        // SAFETY: the stack is mapped, and used for nothing else.
        let result = unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
        assert_eq!(result, 0);
        let _region = region();
        store(nowhere());
    }

    fn full_stderr() {
        if is_emulated() {
            // The emulator reports the signal on the same standard error, and waits for room.
            install(&action(libc::SIG_DFL));
            // SAFETY: raise(3) has no preconditions.
            unsafe { libc::raise(libc::SIGSEGV) };
        }
        let region = Region::builder(page_size())
            .filter(|_| Verdict::Decline)
            .build()
            .unwrap();
        let mut ends = [0; 2];
        // SAFETY: two writable descriptors (pipe(2)).
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        // SAFETY: replaces standard error by the pipe, which is never read.
        let stderr = unsafe { libc::dup2(ends[1], libc::STDERR_FILENO) };
        assert_eq!(stderr, libc::STDERR_FILENO);
        // SAFETY: changes a flag of the pipe (fcntl(2)).
        unsafe { libc::fcntl(ends[1], libc::F_SETFL, libc::O_NONBLOCK) };
        let text = [b'.'; 4096];
        // SAFETY: write(2) reads a live buffer of this length.
        while unsafe { libc::write(ends[1], text.as_ptr().cast(), text.len()) } > 0 {}
        // SAFETY: changes a flag of the pipe back (fcntl(2)).
        unsafe { libc::fcntl(ends[1], libc::F_SETFL, 0) };
        store(region.as_ptr());
    }

    fn refused_once() {
        let filter = |_: &elbowroom::Fault<'_>| {
            eprintln!("asked");
            Verdict::Decline
        };
        // std's handler comes after ours: it resets the action to the default and returns.
        let region = Region::builder(page_size()).filter(filter).build().unwrap();
        store(region.as_ptr());
    }

    /// Makes the page accessible, as an engine does before it continues.
    extern "C" fn recover(_: i32, info: *mut libc::siginfo_t, _: *mut c_void) {
        // SAFETY: the kernel gives a pointer to its information.
        let info = unsafe { &*info };
        // SAFETY: the information is about a fault, which has an address.
        let address = unsafe { info.si_addr() }.addr();
        let page = std::ptr::without_provenance_mut(address & !(page_size() - 1));
        // SAFETY: a page of a region of the test, which nothing refers to.
        unsafe { libc::mprotect(page, page_size(), libc::PROT_READ | libc::PROT_WRITE) };
    }

    fn refused_often() {
        install(&action(recover as *const () as usize));
        let make = |name| {
            let builder = Region::builder(900 * page_size()).name(name);
            builder.filter(|_| Verdict::Decline)
        };
        let quiet = make("quiet").report_refusals(false).build().unwrap();
        let loud = make("loud").build().unwrap();
        for region in [quiet, loud] {
            for page in 0..900 {
                store(region.as_ptr().wrapping_add(page * page_size()));
            }
            assert_eq!(region.stats().refused, 900);
        }
    }

    static NEXT: AtomicUsize = AtomicUsize::new(0);

    fn status_race() {
        let makers = AtomicUsize::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    (0..times(5000)).for_each(|_| drop(region()));
                    makers.fetch_sub(1, Ordering::Relaxed);
                });
            }
            while makers.load(Ordering::Relaxed) > 0 {
                drop(fault::status());
            }
        });
    }

    static CALLS: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn count(_: i32, _: *mut libc::siginfo_t, _: *mut c_void) {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }

    /// Whichever handler comes first, a signal that is sent reaches the handler of the program.
    fn install_race() {
        let rounds = times(2000) as usize;
        let original = install(&action(count as Handler as usize));
        install(&original);
        for round in 0..rounds {
            let barrier = Barrier::new(2);
            let region = std::thread::scope(|scope| {
                let region = scope.spawn(|| {
                    barrier.wait();
                    region()
                });
                barrier.wait();
                install(&action(count as Handler as usize));
                region.join().unwrap()
            });
            // SAFETY: raise(3) has no preconditions.
            unsafe { libc::raise(libc::SIGSEGV) };
            assert_eq!(
                CALLS.load(Ordering::Relaxed),
                round + 1,
                "the handler was lost"
            );
            drop(region);
            install(&original);
        }
    }

    fn unmapped_page() {
        let region = region();
        region.try_fill(0..3 * page_size(), 7).unwrap();
        let faults = region.stats().faults;
        // SAFETY: a page of the region, which the program unmaps.
        let result = unsafe {
            libc::munmap(
                region.as_ptr().wrapping_add(page_size()).cast(),
                page_size(),
            )
        };
        assert_eq!(result, 0);
        let error = region.try_write(page_size(), 1u8).unwrap_err();
        assert!(error.is_protected(), "{error}");
        if !is_emulated() {
            assert_eq!(region.stats().faults, faults + 1);
        }
        // Maps something there again, so that the region's release only unmaps its own memory.
        // SAFETY: the range is the hole in the region's own addresses.
        let page = unsafe {
            libc::mmap(
                region.as_ptr().wrapping_add(page_size()).cast(),
                page_size(),
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
    }
    fn reinstalled() {
        let region = region();
        install(&action(count as Handler as usize));
        fault::reinstall().unwrap();
        region.try_write(0, 1u8).unwrap();
        assert_eq!(CALLS.load(Ordering::Relaxed), 0);
        // The handler of the program still gets other signals.
        // SAFETY: raise(3) has no preconditions.
        unsafe { libc::raise(libc::SIGSEGV) };
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
        drop(region);
        // Without a region there is nothing to put in front.
        fault::reinstall().unwrap();
    }
}
