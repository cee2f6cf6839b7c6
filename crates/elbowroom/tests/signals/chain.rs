//! Handlers installed before and after ours: each gets every foreign signal once.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use elbowroom::page_size;

use super::*;

pub(super) fn earlier_handler() {
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

pub(super) fn later_handler() {
    let region = region();
    install_chaining();
    region.try_write(page_size(), 1u8).unwrap();
    assert_eq!(calls(), 1);
    assert!(region.try_write(region.len(), 1u8).is_err());
    assert_eq!(calls(), 2);
}

pub(super) fn buried_handler() {
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

pub(super) fn raise_with_std() {
    let region = region();
    // std's handler resets the disposition to the default and returns. The default comes after us from now on: a
    // second raise would kill, as it would without us.
    raise(libc::SIGSEGV);
    region.try_write(9 * page_size(), 1u8).unwrap();
}

pub(super) fn raise_with_handler() {
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

pub(super) fn one_shot() {
    install(libc::SIGSEGV, &repairing_action(libc::SA_RESETHAND));
    let region = region();
    touch(foreign_page());
    assert_eq!(calls(), 1);
    region.try_write(page_size(), 1u8).unwrap();
    touch(foreign_page());
}

pub(super) fn ignored() {
    install(libc::SIGSEGV, &action(libc::SIG_IGN, 0));
    let region = region();
    raise(libc::SIGSEGV);
    region.try_write(page_size(), 1u8).unwrap();
    drop(region);
    assert_eq!(current(libc::SIGSEGV).sa_sigaction, libc::SIG_IGN);
}

pub(super) fn default_raise() {
    install(libc::SIGSEGV, &action(libc::SIG_DFL, 0));
    let _region = region();
    raise(libc::SIGSEGV);
}

pub(super) fn default_fault() {
    install(libc::SIGSEGV, &action(libc::SIG_DFL, 0));
    let _region = region();
    touch(foreign_page());
}

pub(super) fn plain_handler() {
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

pub(super) static MASK: AtomicUsize = AtomicUsize::new(usize::MAX);

pub(super) extern "C" fn noting_mask(_: i32) {
    let mut mask = action(0, 0).sa_mask;
    // SAFETY: pthread_sigmask(3) without a new set only reads the mask, into a live set.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask) };
    let blocked = |signal| {
        // SAFETY: sigismember(3) reads an initialised set.
        unsafe { libc::sigismember(&mask, signal) == 1 }
    };
    let bits = [libc::SIGSEGV, libc::SIGUSR1, libc::SIGUSR2, libc::SIGTERM].map(blocked);
    MASK.store(
        bits.iter().fold(0, |sum, &bit| sum * 2 + usize::from(bit)),
        Ordering::Relaxed,
    );
}

pub(super) fn chained_mask() {
    let mut new = action(noting_mask as extern "C" fn(_) as usize, 0);
    // SAFETY: sigaddset(3) changes an initialised set.
    unsafe { libc::sigaddset(&mut new.sa_mask, libc::SIGUSR1) };
    install(libc::SIGSEGV, &new);
    // The thread itself blocks another one.
    let mut mine = action(0, 0).sa_mask;
    // SAFETY: sigaddset(3) changes an initialised set.
    unsafe { libc::sigaddset(&mut mine, libc::SIGUSR2) };
    // SAFETY: pthread_sigmask(3) reads an initialised set; the old mask is not requested.
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

pub(super) fn nothing_left() {
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

pub(super) fn across_threads() {
    let before = current(libc::SIGSEGV).sa_sigaction;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..300).for_each(|_| drop(region())));
        }
    });
    assert_eq!(current(libc::SIGSEGV).sa_sigaction, before);
}

pub(super) static SECOND: AtomicUsize = AtomicUsize::new(0);
pub(super) static SECOND_NEXT: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// A second handler like `chaining`.
pub(super) extern "C" fn chaining_too(
    signal: i32,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    assert!(
        SECOND.fetch_add(1, Ordering::Relaxed) < 100,
        "round and round"
    );
    // SAFETY: the installer has stored a leaked action, which is never freed.
    let next = unsafe { &*SECOND_NEXT.load(Ordering::Relaxed) };
    // SAFETY: the action was installed with SA_SIGINFO, so its handler has this type.
    let next: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) =
        unsafe { std::mem::transmute(next.sa_sigaction) };
    next(signal, info, context);
}

pub(super) fn between_regions() {
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

pub(super) fn taken_back() {
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

pub(super) fn blocked_trap() {
    let mut set = action(0, 0).sa_mask;
    // SAFETY: sigaddset(3) changes an initialised set.
    unsafe { libc::sigaddset(&mut set, libc::SIGTRAP) };
    // SAFETY: pthread_sigmask(3) reads an initialised set; the old mask is not requested.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()) };
    raise(libc::SIGTRAP);
    // The signal is pending meanwhile, and not delivered in the middle of a fault.
    let region = filtered_region();
    region.try_write(page_size(), 1u8).unwrap();
    let mut got = 0;
    // SAFETY: sigwait(3) reads an initialised set and writes a live number.
    assert_eq!(unsafe { libc::sigwait(&set, &mut got) }, 0);
    assert_eq!(got, libc::SIGTRAP);
}

pub(super) fn overtaken() {
    let first = region();
    install(libc::SIGSEGV, &repairing_action(libc::SA_ONSTACK));
    // It is in front of ours and does not forward.
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
