//! Faults that are not plain touches of reserved pages, and touches in other handlers.

use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::time::Duration;

use elbowroom::{FaultCode, Growth, Region, Verdict, page_size};

use super::*;

pub(super) fn errno_survives() {
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
pub(super) fn map_empty_file(region: &Region, page: usize) {
    // SAFETY: makes a temporary file without a name.
    let file = unsafe { libc::tmpfile() };
    assert!(!file.is_null());
    let at = region.as_ptr().wrapping_add(page * page_size());
    // SAFETY: fileno(3) reads an open file.
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

pub(super) fn bus_error() {
    if crate::common::is_emulated() {
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

pub(super) fn protected_pages() {
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

pub(super) static TOUCHED: AtomicPtr<Region> = AtomicPtr::new(ptr::null_mut());

pub(super) extern "C" fn on_alarm(_: i32) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: set before the timer starts, never freed.
    let region = unsafe { &*TOUCHED.load(Ordering::Relaxed) };
    let offset = calls() * 37 % 100 * page_size();
    region.try_write(offset, 1u8).unwrap();
    if calls() % 3 == 0 {
        region.decommit(offset..offset + 1).unwrap();
    }
}

pub(super) fn touching_signals() {
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
    // The signal interrupts commits, decommits and touches of the same pages, and its handler does the same.
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

pub(super) fn declined_but_committed() {
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

pub(super) fn raised_in_a_filter() {
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
