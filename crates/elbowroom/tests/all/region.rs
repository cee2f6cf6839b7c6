//! Regions through the accessors: commit on touch, limits, filters, errors.

#![allow(unsafe_code, reason = "plain pointers are part of what is tested")]

use crate::common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use elbowroom::{
    FaultAccess, Growth, Operation, PageState, Region, Reservation, Verdict, page_size,
};

#[test]
fn a_touch_commits_its_window() {
    let page = page_size();
    let region = Region::builder(100 * page)
        .growth(Growth::Pages(16))
        .build()
        .unwrap();
    region.try_write(20 * page + 5, 7u8).unwrap();
    let stats = region.stats();
    assert_eq!(stats.reserved_bytes, 100 * page);
    assert_eq!(stats.committed_bytes, 16 * page);
    assert_eq!(stats.commit_limit_bytes, 100 * page);
    assert_eq!((stats.faults, stats.commits, stats.refused), (1, 1, 0));

    let spans = region.spans();
    let shape: Vec<_> = spans
        .iter()
        .map(|span| (span.range.clone(), span.state))
        .collect();
    assert_eq!(
        shape,
        [
            (0..16 * page, PageState::Reserved),
            (16 * page..32 * page, PageState::Committed),
            (32 * page..100 * page, PageState::Reserved)
        ]
    );
    assert_eq!(region.try_read::<u8>(20 * page + 5).unwrap(), 7);
    assert_eq!(region.try_read::<u8>(20 * page + 6).unwrap(), 0);
    assert_eq!(region.stats().faults, 1);
    region.release().unwrap();
}

#[test]
fn every_width_and_alignment_reads_back() {
    let page = page_size();
    let region = Region::builder(8 * page)
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    for at in (0..40).chain(page - 20..page + 20) {
        region.try_write(at, 0x11u8).unwrap();
        assert_eq!(region.try_read::<u8>(at).unwrap(), 0x11);
        region.try_write(at, 0x2233u16).unwrap();
        assert_eq!(region.try_read::<u16>(at).unwrap(), 0x2233);
        region.try_write(at, 0x4455_6677u32).unwrap();
        assert_eq!(region.try_read::<u32>(at).unwrap(), 0x4455_6677);
        region.try_write(at, 0x8899_aabb_ccdd_eeffu64).unwrap();
        assert_eq!(region.try_read::<u64>(at).unwrap(), 0x8899_aabb_ccdd_eeff);
        region.try_write(at, [1u8, 2, 3]).unwrap();
        assert_eq!(region.try_read::<[u8; 3]>(at).unwrap(), [1, 2, 3]);
        region.try_write(at, -1i128).unwrap();
        assert_eq!(region.try_read::<i128>(at).unwrap(), -1);
        region.try_write(at, [(); 0]).unwrap();
        region.try_write(at, 1.5f64).unwrap();
        assert_eq!(region.try_read::<f64>(at).unwrap(), 1.5);
    }
}

#[test]
fn a_limit_is_exact_and_an_error_says_where() {
    let page = page_size();
    let region = Region::builder(80 * page)
        .commit_limit(10 * page + 1)
        .growth(Growth::Pages(4))
        .build()
        .unwrap();
    let error = region.try_fill(0..80 * page, 0xaa).unwrap_err();
    assert!(error.is_limit(), "{error}");
    assert_eq!(error.offset(), 10 * page);
    assert_eq!(error.range(), 10 * page..80 * page);
    assert_eq!(error.operation(), Operation::Write);
    assert_eq!(region.stats().committed_bytes, 10 * page);
    assert_eq!(region.stats().refused, 1);
    let mut bytes = vec![0; 10 * page];
    region.try_copy_to_slice(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0xaa));

    region.decommit(0..1).unwrap();
    assert_eq!(region.stats().committed_bytes, 9 * page);
    assert_eq!(region.try_read::<u8>(0).unwrap(), 0);
    assert!(region.try_read::<u8>(11 * page).unwrap_err().is_limit());
    let text = error.to_string();
    assert!(
        text.contains(&format!("{}", 10 * page)) && text.contains("commit limit"),
        "{text}"
    );
}

#[test]
fn a_filter_sees_the_fault_and_decides() {
    let page = page_size();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let region = Region::builder(10 * page)
        .growth(Growth::Pages(1))
        .filter(move |fault| {
            assert!(fault.is_page_fault());
            log.lock()
                .unwrap()
                .push((fault.offset(), fault.access(), fault.committed_bytes()));
            if fault.offset() < 5 * page {
                Verdict::Commit
            } else {
                Verdict::Decline
            }
        })
        .build()
        .unwrap();
    region.try_write(3, 1u8).unwrap();
    assert_eq!(region.try_read::<u16>(page + 2).unwrap(), 0);
    let error = region.try_write(7 * page, 1u64).unwrap_err();
    assert!(error.is_declined(), "{error}");
    assert_eq!(
        *seen.lock().unwrap(),
        [
            (3, FaultAccess::Write, 0),
            (page + 2, FaultAccess::Read, page),
            (7 * page, FaultAccess::Write, 2 * page)
        ]
    );
}

#[test]
fn the_guard_page_reaches_the_filter_and_is_refused() {
    let page = page_size();
    let past = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&past);
    let len = 3 * page;
    let region = Region::builder(len)
        .filter(move |fault| {
            if fault.offset() >= len {
                count.fetch_add(1, Ordering::Relaxed);
                assert!(fault.commit().unwrap_err().is_invalid_range());
            }
            Verdict::Commit
        })
        .build()
        .unwrap();
    let error = region.try_write(len, 1u8).unwrap_err();
    assert!(error.is_invalid_range(), "{error}");
    assert_eq!(past.load(Ordering::Relaxed), 1);
    // A range across the end: the part inside is written.
    let error = region.try_copy_from_slice(len - 4, &[9; 8]).unwrap_err();
    assert!(error.is_invalid_range());
    assert_eq!(error.range(), len..len + 4);
    assert_eq!(region.try_read::<u32>(len - 4).unwrap(), 0x0909_0909);
    assert_eq!(past.load(Ordering::Relaxed), 2);
    // Past the guard page nothing is touched.
    for (offset, size) in [
        (len + page, 1),
        (len, page + 1),
        (usize::MAX, 1),
        (usize::MAX - 3, 8),
    ] {
        let error = region
            .try_copy_from_slice(offset, &vec![1; size])
            .unwrap_err();
        assert!(error.is_invalid_range());
        assert_eq!(error.offset(), offset);
    }
    assert_eq!(past.load(Ordering::Relaxed), 2);
}

#[test]
fn a_plain_pointer_works_too() {
    let region = Region::new(common::vast()).unwrap();
    let middle = region.len() / 2;
    let byte = region.as_ptr().wrapping_add(middle);
    // SAFETY: inside the region, which commits on touch and has no limit here.
    unsafe { byte.write_volatile(5) };
    assert_eq!(region.try_read::<u8>(middle).unwrap(), 5);
}

/// Yields its bytes in pieces of odd sizes, with interruptions.
struct Dribble<'a> {
    rest: &'a [u8],
    calls: usize,
}

impl std::io::Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.calls += 1;
        if self.calls % 5 == 0 {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let len = (self.calls * 977).min(buffer.len()).min(self.rest.len());
        buffer[..len].copy_from_slice(&self.rest[..len]);
        self.rest = &self.rest[len..];
        Ok(len)
    }
}

#[test]
fn readers_fill_and_writers_drain() {
    let bytes: Vec<u8> = (0..200_000u32)
        .map(|n| (n.wrapping_mul(n) >> 3) as u8)
        .collect();
    let region = Region::new(1 << 20).unwrap();
    let dribble = || Dribble {
        rest: &bytes,
        calls: 0,
    };
    assert_eq!(
        region.read_from(5..1 << 20, &mut dribble()).unwrap(),
        bytes.len()
    );
    let mut copy = Vec::new();
    region.write_to(5..5 + bytes.len(), &mut copy).unwrap();
    assert!(copy == bytes);
    assert_eq!(
        region.read_from(0..70_000, &mut dribble()).unwrap(),
        70_000,
        "full"
    );
    assert_eq!(
        region.try_read::<u8>(70_000).unwrap(),
        bytes[70_000 - 5],
        "what lies behind is untouched"
    );

    let limited = Region::builder(1 << 20)
        .commit_limit(page_size())
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    let error = limited.read_from(0..1 << 20, &mut dribble()).unwrap_err();
    let inner = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<elbowroom::Error>())
        .unwrap();
    assert!(inner.is_limit());
    assert_eq!(
        (error.kind(), inner.offset()),
        (std::io::ErrorKind::OutOfMemory, page_size())
    );
    assert!(
        region
            .read_from(region.len()..usize::MAX, &mut dribble())
            .is_err()
    );
    #[expect(clippy::reversed_empty_ranges, reason = "what is tested")]
    let backwards = 9..3;
    assert!(region.write_to(backwards.clone(), &mut Vec::new()).is_err());
    assert!(region.read_from(backwards, &mut dribble()).is_err());
}

#[cfg(unix)]
#[test]
fn the_kernel_fails_where_a_store_commits_and_a_committed_slice_helps() {
    use std::io::Write;

    let mut region = Region::builder(100 * page_size())
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[7; 100]).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&reader);
    let at = 3 * page_size() - 50;
    // SAFETY: the kernel may write there or fail; nothing of Rust's refers to it.
    let read = unsafe { libc::read(fd, region.as_ptr().wrapping_add(at).cast(), 100) };
    assert_eq!(
        (read, std::io::Error::last_os_error().raw_os_error()),
        (-1, Some(libc::EFAULT))
    );
    let bytes = region.commit_slice(at..at + 100).unwrap();
    // SAFETY: the slice is writable and not used elsewhere during the call.
    let read = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
    assert_eq!(read, 100);
    assert_eq!(bytes, [7; 100]);
    assert_eq!(region.stats().committed_bytes, 2 * page_size());
    assert_eq!(region.try_read::<[u8; 2]>(at + 98).unwrap(), [7, 7]);
    assert_eq!(region.stats().faults, 0);
}

#[test]
fn regions_are_listed_while_they_live() {
    let page = page_size();
    let listed = |name: &str| {
        elbowroom::regions()
            .into_iter()
            .find(|region| region.name == name)
    };
    assert_eq!(listed("one that is listed"), None);
    let region = Region::builder(8 * page)
        .commit_limit(4 * page)
        .name("one that is listed")
        .build()
        .unwrap();
    region.try_write(0, 1u8).unwrap();
    let info = listed("one that is listed").unwrap();
    assert_eq!(
        (info.address, info.backend),
        (region.as_ptr().addr(), region.backend())
    );
    assert_eq!(info.stats, region.stats());
    drop(region);
    assert_eq!(listed("one that is listed"), None);
}

/// A thread that lists regions sees each one whole, and a thread that drops one does not wait for ever.
#[test]
fn regions_are_listed_while_others_come_and_go() {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2usize {
            let is_done = &is_done;
            scope.spawn(move || {
                let _done = common::SetWhenDropped(is_done);
                for round in 0..common::times(300) as usize {
                    let pages = 1 + (thread + round) % 7;
                    let name = format!("of {pages} pages");
                    let region = Region::builder(pages * page_size())
                        .name(&name)
                        .build()
                        .unwrap();
                    region.commit(0..pages * page_size()).unwrap();
                }
            });
        }
        while !is_done.load(Ordering::Relaxed) {
            let mut last = 0;
            for region in elbowroom::regions() {
                assert!(last < region.address, "by address, each once");
                last = region.address;
                if let Some(pages) = region.name.strip_prefix("of ") {
                    assert_eq!(
                        pages,
                        format!("{} pages", region.stats.reserved_bytes / page_size())
                    );
                    assert!(
                        [0, region.stats.reserved_bytes].contains(&region.stats.committed_bytes)
                    );
                }
            }
        }
    });
}

#[test]
fn bytes_that_find_no_room_stay_in_the_reader() {
    let page = page_size();
    let bytes: Vec<u8> = (0..8 * page).map(|n| n as u8).collect();
    let region = Region::builder(8 * page)
        .commit_limit(3 * page)
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    let mut reader = &bytes[..];
    let error = region.read_from(100..8 * page, &mut reader).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory);
    let stored = bytes.len() - reader.len();
    assert_eq!(stored, 3 * page - 100, "up to the first refused page");
    let mut copy = vec![0; stored];
    region.try_copy_to_slice(100, &mut copy).unwrap();
    assert!(copy == bytes[..stored]);

    // A range past the end is refused before anything is read.
    let mut reader = &bytes[..];
    region.read_from(0..8 * page + 1, &mut reader).unwrap_err();
    assert_eq!(reader.len(), bytes.len());
}

#[test]
fn a_kind_fits_the_cause() {
    use std::io::ErrorKind;
    let region = Region::builder(4 * page_size())
        .commit_limit(page_size())
        .filter(|fault| match fault.offset() {
            0 => Verdict::Decline,
            _ => Verdict::Commit,
        })
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    assert_eq!(
        region.try_write(0, 1u8).unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    region.try_write(page_size(), 1u8).unwrap();
    let full = region.try_write(2 * page_size(), 1u8).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::OutOfMemory);
    assert_eq!(std::io::Error::from(full).kind(), ErrorKind::OutOfMemory);
    let outside = region.commit(0..5 * page_size()).unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::InvalidInput);
    let taken = Reservation::builder(1).at(region.as_ptr().addr()).build();
    let kind = taken.unwrap_err().kind();
    // A region may have an address that Windows would not accept for a reservation.
    assert!(
        matches!(kind, ErrorKind::AddrInUse | ErrorKind::InvalidInput),
        "{kind:?}"
    );
}

#[test]
fn all_types_may_be_used_after_a_panic() {
    use std::panic::{RefUnwindSafe, UnwindSafe};

    fn any_time<T: UnwindSafe + RefUnwindSafe>() {}
    any_time::<Region>();
    any_time::<elbowroom::Reservation>();
    any_time::<elbowroom::Arena>();
    any_time::<elbowroom::Budget>();
    any_time::<elbowroom::Error>();
    any_time::<elbowroom::DemandArray<u64>>();
    any_time::<elbowroom::AppendVec<u64>>();
    any_time::<elbowroom::ReservedVec<u64>>();
}
