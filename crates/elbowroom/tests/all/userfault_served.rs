//! Regions that threads serve (`Backend::UserfaultMonitor`): system calls touch them, and filters run on threads. And
//! what a system call finds in a region that none serves.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "forks, and asks the kernel")]

use crate::common::{self, page};

use std::fs;
use std::sync::{Arc, Barrier, Mutex};

use elbowroom::{Backend, Budget, Growth, Region, RegionBuilder, Verdict, page_size};

use super::userfault::linux::{alone, in_child};

/// Calls read(2) on `file`, straight into the region; the count, or the error number.
fn read_into(region: &Region, at: usize, len: usize, file: &fs::File) -> Result<usize, i32> {
    let to = region.as_ptr().wrapping_add(at).cast();
    // SAFETY: in the region, into which nothing refers.
    let read = unsafe { libc::read(std::os::fd::AsRawFd::as_raw_fd(file), to, len) };
    usize::try_from(read).map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap())
}

/// A region that is served by threads, where the system allows that.
fn served(pages: usize) -> Option<RegionBuilder> {
    let builder = Region::builder(page(pages))
        .growth(Growth::Pages(1))
        .backend(Backend::UserfaultMonitor);
    common::userfault_backends()
        .contains(&Backend::UserfaultMonitor)
        .then_some(builder)
}

#[test]
fn a_system_call_commits_where_threads_serve() {
    let Some(builder) = served(16) else { return };
    let region = builder.commit_limit(page(5)).build().unwrap();
    let mut path = std::env::temp_dir();
    path.push(format!("elbowroom-read-{}", std::process::id()));
    let contents: Vec<u8> = (0..page(9)).map(|n| (n / 7) as u8).collect();
    fs::write(&path, &contents).unwrap();
    let file = fs::File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();

    assert_eq!(read_into(&region, 100, page(2), &file), Ok(page(2)));
    assert_eq!(region.stats().committed_bytes, page(3));
    let mut bytes = vec![0; page(2)];
    region.try_copy_to_slice(100, &mut bytes).unwrap();
    assert!(bytes == contents[..page(2)]);
    // Two pages of the limit are left, and four are asked for.
    let at = page(6);
    let read = read_into(&region, at, page(4), &file).unwrap();
    assert_eq!((read, region.stats().committed_bytes), (page(2), page(5)));
    assert_eq!(read_into(&region, page(12), 10, &file), Err(libc::EFAULT));
    // A refusal of a system call affects nothing else: with room, a touch and a system call work at once.
    region.decommit(0..page(3)).unwrap();
    region.try_write(page(12), 1u8).unwrap();
    let refused = region.stats().refused;
    assert!(refused >= 2, "{refused}");
    // The page that was refused to a system call is accessible again soon.
    let started = std::time::Instant::now();
    while read_into(&region, page(8), 10, &file) != Ok(10) {
        assert!(started.elapsed().as_secs() < 60, "barred for good");
    }
    // Behind the end.
    assert_eq!(
        read_into(&region, region.len(), 10, &file),
        Err(libc::EFAULT)
    );
    assert!(
        region
            .try_write(region.len(), 1u8)
            .unwrap_err()
            .is_invalid_range()
    );
}

#[test]
fn a_filter_may_lock_block_and_decline_system_calls() {
    let Some(builder) = served(64) else { return };
    let lock = Arc::new(Mutex::new(()));
    let (inner, caller) = (Arc::clone(&lock), std::thread::current().id());
    let region = builder
        .filter_threads(2)
        .filter(move |fault| {
            assert_ne!(std::thread::current().id(), caller);
            drop(inner.lock().unwrap());
            if fault.offset() / page_size() % 2 == 1 {
                Verdict::Decline
            } else {
                Verdict::Commit
            }
        })
        .build()
        .unwrap();
    // The touch comes first; the lock is released later.
    let held = lock.lock().unwrap();
    std::thread::scope(|scope| {
        let touch = scope.spawn(|| region.try_write(0, 1u8));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(region.stats().committed_bytes, 0);
        drop(held);
        touch.join().unwrap().unwrap();
    });
    let zeros = fs::File::open("/dev/zero").unwrap();
    for _ in 0..3 {
        assert_eq!(read_into(&region, page(2), page(1), &zeros), Ok(page(1)));
        assert_eq!(
            read_into(&region, page(3), page(1), &zeros),
            Err(libc::EFAULT)
        );
        assert!(region.try_write(page(3), 1u8).unwrap_err().is_declined());
        assert!(region.try_read::<u8>(page(5)).unwrap_err().is_declined());
    }
    // Many more refusals than are remembered, by many threads.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let region = &region;
            scope.spawn(move || {
                for n in 0..common::times(500) as usize {
                    let touched = region.try_write(page((n * 7 + thread) % 64), 1u8);
                    let is_odd = (n * 7 + thread) % 2 == 1;
                    assert_eq!(touched.is_err_and(|error| error.is_declined()), is_odd);
                }
            });
        }
    });
    assert_eq!(region.stats().committed_bytes, page(32));
}

#[test]
fn fills_beside_decommits_of_a_served_region() {
    let Some(builder) = served(64) else { return };
    let region = builder.growth(Growth::default()).build().unwrap();
    let rounds = common::times(300);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..rounds {
                region.try_fill(0..region.len(), 1).unwrap();
            }
        });
        for _ in 0..rounds {
            region.decommit(0..region.len()).unwrap();
        }
    });
}

#[test]
fn a_filter_that_touches_its_own_region_or_another() {
    let Some(builder) = served(8) else { return };
    let other = served(8).unwrap().build().unwrap();
    let own = Arc::new(Mutex::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (address, log) = (Arc::clone(&own), Arc::clone(&seen));
    let region = builder
        .filter(move |fault| {
            // By an accessor of its own region, which is somewhere else.
            let region = *address.lock().unwrap() as *const Region;
            // SAFETY: the region is there while its filter runs.
            let region = unsafe { &*region };
            let touched = region.try_write(page(7), 1u8);
            log.lock()
                .unwrap()
                .push(touched.map_err(|error| error.to_string()));
            assert!(other.try_write(fault.offset(), 1u8).is_ok());
            Verdict::Commit
        })
        .build()
        .unwrap();
    *own.lock().unwrap() = (&raw const region).expose_provenance();
    region.try_write(page(1), 1u8).unwrap();
    region.try_write(page(2), 1u8).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter().all(|touched| touched
            .as_ref()
            .is_err_and(|text| text.contains("own filter"))),
        "{seen:?}"
    );
}

#[test]
fn a_filter_that_panics_declines_all_waiting_touches() {
    let Some(builder) = served(8) else { return };
    let barrier = Arc::new(Barrier::new(2));
    let met = Arc::clone(&barrier);
    let region = builder
        .filter(move |_| {
            met.wait();
            panic!("on purpose");
        })
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn({
                    let region = &region;
                    move || region.try_write(page(n), 1u8)
                })
            })
            .collect();
        barrier.wait();
        for touch in waiting {
            assert!(touch.join().unwrap().unwrap_err().is_declined());
        }
    });
    assert!(region.try_write(0, 1u8).unwrap_err().is_declined());
    let zeros = fs::File::open("/dev/zero").unwrap();
    assert_eq!(read_into(&region, 0, 1, &zeros), Err(libc::EFAULT));
}

#[test]
fn callbacks_of_budgets_are_called() {
    let Some(builder) = served(8) else { return };
    let (sender, receiver) = std::sync::mpsc::channel();
    let budget = Budget::builder(page(4))
        .on_reaching(page(2), move |budget| {
            sender.send(budget.committed_bytes()).unwrap()
        })
        .build();
    let region = builder.budget(&budget).build().unwrap();
    region.try_fill(0..page(3), 1).unwrap();
    assert!(receiver.recv().unwrap() >= page(2));
    assert_eq!(
        region.try_fill(0..page(8), 1).unwrap_err().budget(),
        Some(&budget)
    );
}

#[test]
fn a_forked_child_with_a_filter_has_no_thread_to_ask() {
    let Some(builder) = served(8) else { return };
    let region = builder.filter(|_| Verdict::Commit).build().unwrap();
    region.try_write(page(1), 4u8).unwrap();
    in_child(|| {
        let kept = region.try_read::<u8>(page(1)) == Ok(4);
        let refused = region
            .try_write(page(2), 1u8)
            .is_err_and(|error| error.is_declined());
        // By hand, there is no thread to ask.
        kept && refused
            && region.commit(page(2)..page(3)).is_ok()
            && region.try_write(page(2), 1u8).is_ok()
    });
    region.try_write(page(2), 1u8).unwrap();
}

/// A refused touch through a plain pointer ends the process, with a line that gives the cause.
#[test]
fn a_refused_plain_touch_is_a_loud_crash() {
    if served(1).is_none() {
        return;
    }
    let output = common::child("")
        .args([
            "all::userfault_served::where_a_plain_touch_is_refused",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&output.status),
        Some(libc::SIGSEGV),
        "{output:?}"
    );
    assert!(
        text.contains("the commit limit of 0 bytes leaves no room"),
        "{text}"
    );
}

#[test]
#[ignore = "run by a_refused_plain_touch_is_a_loud_crash in a process of its own"]
fn where_a_plain_touch_is_refused() {
    let region = served(1).unwrap().commit_limit(0).build().unwrap();
    // SAFETY: refused, which is what the caller waits for.
    unsafe { region.as_ptr().write_volatile(1) };
}

#[test]
fn without_privilege_it_says_what_is_needed() {
    if !common::is_emulated() && served(1).is_some() {
        let text = alone("all::userfault_served::where_privilege_is_missing");
        assert!(
            text.contains("CAP_SYS_PTRACE") && text.contains("Backend::Userfault"),
            "{text}"
        );
    }
}

#[test]
#[ignore = "run by without_privilege_it_says_what_is_needed in a process of its own"]
fn where_privilege_is_missing() {
    // SAFETY: gives up what privileges this process may have.
    if unsafe { libc::setuid(65_534) } != 0 {
        return println!("not root to begin with: CAP_SYS_PTRACE, Backend::Userfault");
    }
    match Region::builder(1)
        .backend(Backend::UserfaultMonitor)
        .build()
    {
        Err(error) => println!("{error}"),
        // vm.unprivileged_userfaultfd=1, or a device that every user may open.
        Ok(_) => println!("every user may: CAP_SYS_PTRACE, Backend::Userfault"),
    }
    // This one needs none.
    let region = Region::builder(1)
        .backend(Backend::Userfault)
        .build()
        .unwrap();
    region.try_write(0, 1u8).unwrap();
}

#[test]
fn a_system_call_finds_what_is_committed() {
    let region = Region::builder(page(4)).backend(Backend::Userfault).build();
    let Ok(region) = region else { return };
    let file = fs::File::open("/dev/zero").unwrap();
    let read = |at: usize| {
        let to = region.as_ptr().wrapping_add(at).cast();
        // SAFETY: in the region, into which nothing refers.
        unsafe { libc::read(std::os::fd::AsRawFd::as_raw_fd(&file), to, 10) }
    };
    assert_eq!(
        read(0),
        -1,
        "EFAULT: the filter is not asked about a system call"
    );
    assert_eq!(region.stats().committed_bytes, 0);
    region.commit(0..10).unwrap();
    assert_eq!(read(0), 10);
}
