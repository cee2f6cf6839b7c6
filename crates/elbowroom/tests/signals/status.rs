//! The results of `fault::status`.

use std::ptr;
use std::sync::atomic::Ordering;

use elbowroom::page_size;

use super::*;

pub(super) fn status() {
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
        status().is_good() || crate::common::is_emulated(),
        "{}",
        status()
    );
    // A handler that does not forward.
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
    // A handler that forwards.
    install_chaining();
    assert_eq!(places(), [Place::Displaced, Place::First], "not known yet");
    first.try_write(2 * page_size(), 1u8).unwrap();
    assert_eq!(places(), [Place::Behind, Place::First]);
    assert!(
        status().is_good() || crate::common::is_emulated(),
        "{}",
        status()
    );
    // A handler that does not forward, in the place of the one that did.
    install(libc::SIGSEGV, &repairing_action(libc::SA_ONSTACK));
    assert_eq!(places(), [Place::Displaced, Place::First]);
    drop((first, second));
    assert_eq!(places(), [Place::Absent; 2]);
}

/// A thread that blocks the signals only for moments is not reported.
pub(super) fn blocked_for_a_moment() {
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
        let listed = (0..200).filter(|_| !elbowroom::fault::status().blocking_threads.is_empty());
        // At any single look the thread often blocks the signals. All eight looks find it so only now and then.
        let listed = listed.count();
        end.store(true, Ordering::Relaxed);
        assert!(listed < 20, "{listed} of 200");
    });
}

pub(super) fn status_of_threads() {
    // Under an emulator, /proc shows the emulator's masks.
    if crate::common::is_emulated() {
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
