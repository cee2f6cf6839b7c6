//! Filters that fill pages before other threads see them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use elbowroom::{Backend, Budget, Error, Region, RegionBuilder, Verdict, page_size};

use crate::common;

/// Returns the byte of a source at an offset. It is never zero.
fn byte_at(offset: usize) -> u8 {
    (offset % 251) as u8 + 1
}

fn source(len: usize) -> Vec<u8> {
    (0..len).map(byte_at).collect()
}

/// Returns a region of `pages` pages whose filter fills `at_once` pages from its source, and the filter's last error.
fn filled(builder: RegionBuilder, at_once: usize) -> (Region, Arc<Mutex<Option<Error>>>) {
    let refused = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&refused);
    let page = page_size();
    // Longer than any region here.
    let source = source(64 * page);
    let build = builder.filter(move |fault| {
        let start = fault.offset() / page * page;
        match fault.fill(&source[start..start + at_once * page]) {
            Ok(bytes) => {
                assert!(bytes.is_empty() || bytes.start == start);
                Verdict::Commit
            }
            Err(error) => {
                *kept.lock().unwrap() = Some(error);
                Verdict::Decline
            }
        }
    });
    (build.build().unwrap(), refused)
}

#[test]
fn pages_have_what_the_filter_gave_them() {
    let page = page_size();
    for backend in common::userfault_backends() {
        let (region, refused) = filled(Region::builder(20 * page).backend(backend), 3);
        assert_eq!(
            region.try_read::<u8>(4 * page + 9).unwrap(),
            byte_at(4 * page + 9)
        );
        assert_eq!(region.stats().committed_bytes, 3 * page);
        // Up to the first page that is committed already.
        region.try_write(2 * page + 1, 0xffu8).unwrap();
        assert_eq!(region.stats().committed_bytes, 5 * page);
        let mut bytes = vec![0; 5 * page];
        region.try_copy_to_slice(2 * page, &mut bytes).unwrap();
        let mut expected = source(7 * page)[2 * page..].to_vec();
        expected[1] = 0xff;
        assert!(bytes == expected, "{backend:?}");

        region.decommit(0..region.len()).unwrap();
        assert_eq!(
            region.try_read::<u8>(2 * page + 1).unwrap(),
            byte_at(2 * page + 1)
        );
        assert!(refused.lock().unwrap().is_none());

        // Beyond the end: nothing is filled.
        let last = 19 * page;
        assert!(region.try_read::<u8>(last).unwrap_err().is_declined());
        let error = refused.lock().unwrap().take().unwrap();
        assert!(error.is_invalid_range(), "{error}");
        assert_eq!(error.range(), last..last + 3 * page);
        assert!(
            region.try_read::<u8>(region.len()).is_err(),
            "the guard page"
        );
        assert!(refused.lock().unwrap().take().unwrap().is_invalid_range());
        assert_eq!(region.stats().committed_bytes, 3 * page);
    }
}

#[test]
fn limits_leave_fewer_pages_and_then_none() {
    let page = page_size();
    for backend in common::userfault_backends() {
        let budget = Budget::new(5 * page);
        let builder = || Region::builder(20 * page).backend(backend);
        for builder in [builder().budget(&budget), builder().commit_limit(5 * page)] {
            let (region, refused) = filled(builder, 4);
            assert_eq!(region.try_read::<u8>(0).unwrap(), byte_at(0));
            assert_eq!(region.try_read::<u8>(8 * page).unwrap(), byte_at(8 * page));
            assert_eq!(region.stats().committed_bytes, 5 * page);
            assert!(region.try_read::<u8>(9 * page).unwrap_err().is_declined());
            let error = refused.lock().unwrap().take().unwrap();
            assert!(error.is_limit(), "{error}");

            region.decommit(0..page).unwrap();
            assert_eq!(region.try_read::<u8>(9 * page).unwrap(), byte_at(9 * page));
        }
        assert_eq!(
            (budget.committed_bytes(), budget.peak_bytes()),
            (0, 5 * page)
        );
    }
}

/// A cache of a few pages: the filter decommits the page that it filled first.
#[test]
fn a_filter_makes_room_for_what_it_fills() {
    let page = page_size();
    for backend in common::userfault_backends() {
        let source = source(16 * page);
        let oldest = Mutex::new(std::collections::VecDeque::new());
        let region = Region::builder(16 * page)
            .backend(backend)
            .commit_limit(3 * page)
            .filter(move |fault| {
                let mut oldest = oldest.lock().unwrap();
                if oldest.len() == 3 {
                    fault.decommit(oldest.pop_front().unwrap()).unwrap();
                }
                let start = fault.offset() / page * page;
                oldest.push_back(fault.fill(&source[start..start + page]).unwrap());
                Verdict::Commit
            })
            .build()
            .unwrap();
        for step in 0..100 {
            let offset = step * 5 % 16 * page + step;
            assert_eq!(region.try_read::<u8>(offset).unwrap(), byte_at(offset));
            assert!(region.stats().committed_bytes <= 3 * page);
        }
    }
}

#[test]
fn what_is_no_whole_number_of_pages_is_refused() {
    for backend in common::userfault_backends() {
        for len in [0, 1, page_size() - 1, page_size() + 1] {
            let was_refused = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&was_refused);
            let bytes = vec![1; len];
            let region = Region::builder(4 * page_size())
                .backend(backend)
                .filter(move |fault| {
                    let error = fault.fill(&bytes).unwrap_err();
                    seen.store(error.is_invalid_range(), Ordering::Relaxed);
                    Verdict::Decline
                })
                .build()
                .unwrap();
            assert!(region.try_read::<u8>(0).unwrap_err().is_declined());
            assert!(was_refused.load(Ordering::Relaxed), "{len}");
            assert_eq!(region.stats().committed_bytes, 0);
        }
    }
}

#[test]
fn protection_cannot_fill_and_says_so() {
    let (region, refused) = filled(
        Region::builder(4 * page_size()).backend(Backend::Protection),
        1,
    );
    assert!(region.try_read::<u8>(0).unwrap_err().is_declined());
    let error = refused.lock().unwrap().take().unwrap();
    assert!(error.is_unsupported());
    assert!(error.to_string().contains("Backend::Userfault"), "{error}");
    assert_eq!(region.stats().committed_bytes, 0);
}

/// Threads read while pages are decommitted: each sees complete pages, and never a zero.
#[test]
fn no_thread_sees_a_page_before_it_is_filled() {
    const PAGES: usize = 6;
    let page = page_size();
    for backend in common::userfault_backends() {
        let (region, _) = filled(Region::builder((PAGES + 2) * page).backend(backend), 2);
        let (is_done, thrown_out) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                let _done = common::SetWhenDropped(&is_done);
                while thrown_out.fetch_add(1, Ordering::Relaxed) < common::times(1500) as usize {
                    let start = thrown_out.load(Ordering::Relaxed) % PAGES * page;
                    region.decommit(start..start + page).unwrap();
                }
            });
            for thread in 0..2 {
                let (region, is_done) = (&region, &is_done);
                scope.spawn(move || {
                    let mut offset = thread * 7;
                    while !is_done.load(Ordering::Relaxed) {
                        offset = (offset + 611) % (PAGES * page);
                        assert_eq!(region.try_read::<u8>(offset).unwrap(), byte_at(offset));
                    }
                });
            }
        });
    }
}

/// A touch by the kernel is filled as well, if threads serve the region.
#[cfg(target_os = "linux")]
#[test]
fn a_system_call_finds_what_the_filter_gave() {
    use std::io::Read;

    if !common::userfault_backends().contains(&Backend::UserfaultMonitor) {
        return;
    }
    let builder = Region::builder(8 * page_size()).backend(Backend::UserfaultMonitor);
    let (region, _) = filled(builder, 1);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let at = 3 * page_size() - 40;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&writer);
    // SAFETY: the kernel reads memory of the region, or fails.
    #[allow(unsafe_code, reason = "a system call on memory of the region")]
    let written = unsafe { libc::write(fd, region.as_ptr().wrapping_add(at).cast(), 100) };
    assert_eq!(written, 100);
    let mut bytes = [0; 100];
    reader.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, source(at + 100)[at..]);
    assert_eq!(region.stats().committed_bytes, 2 * page_size());
}
