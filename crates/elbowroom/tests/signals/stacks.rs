//! Alternate stacks: none, small ones, nested ones.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::Ordering;

use elbowroom::{Growth, Region, Verdict, page_size};

use super::*;

pub(super) fn no_alternate_stack() {
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

pub(super) fn alternate_stack_kept() {
    let now = || {
        let mut stack = libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags: 0,
            ss_size: 0,
        };
        // SAFETY: sigaltstack(2) without a new stack only reads, into a live structure.
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

pub(super) fn nested_below() {
    let inner = region();
    let outer = Region::builder(100 * page_size())
        .growth(Growth::Pages(1))
        .filter(move |fault| {
            let mut mask = action(0, 0).sa_mask;
            // SAFETY: pthread_sigmask(3) without a new set only reads the mask, into a live set.
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask) };
            let blocked = [libc::SIGALRM, libc::SIGSEGV].map(|signal| {
                // SAFETY: sigismember(3) reads an initialised set.
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

pub(super) extern "C" fn hungry(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    let mut bytes = [signal as u8; 64 << 10];
    std::hint::black_box(&mut bytes);
    repairing(signal, info, context);
}

pub(super) fn stack_hungry() {
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

/// How many bytes of an alternate stack `work` uses, on a thread of its own.
pub(super) fn depth_of(work: impl FnOnce() + Send) -> usize {
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
        // SAFETY: this restores the alternate stack that was reported before.
        assert_eq!(unsafe { libc::sigaltstack(&before, ptr::null_mut()) }, 0);
        bytes.len()
            - bytes
                .iter()
                .position(|&byte| byte != PAINT)
                .unwrap_or(bytes.len())
    };
    std::thread::scope(|scope| scope.spawn(measure).join().unwrap())
}

/// std's alternate stacks have 8 KiB, of which the kernel's frame takes up to 3,632 bytes (AVX-512). (If it takes more,
/// AT_MINSIGSTKSZ says so, and the stacks are larger.) An unoptimised build must fit into the rest as well.
pub(super) fn refused_by_the_system(region: &Region) {
    // Only if the system can be made to refuse.
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

pub(super) fn small_alternate_stack() {
    if crate::common::is_emulated() {
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
    let result = unsafe { libc::mprotect(protected.as_ptr().cast(), page_size(), libc::PROT_READ) };
    assert_eq!(result, 0);
    refusing.try_write(0, 1u8).unwrap();
    let _recorder = elbowroom::fault::Recorder::start(100).unwrap();
    let depths = [
        depth_of(|| assert!(refusing.try_write(page_size(), 1u8).unwrap_err().is_limit())),
        depth_of(|| touch(refusing.as_ptr().wrapping_add(2 * page_size()))),
        depth_of(|| refused_by_the_system(&growing)),
        depth_of(|| touch(protected.as_ptr())),
        depth_of(|| assert!(refusing_filtered.try_write(0, 1u8).unwrap_err().is_limit())),
        depth_of(|| (0..1000).for_each(|page| growing.try_write(page * page_size(), 1u8).unwrap())),
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
