//! userfaultfd(2): pages that are missing until they are filled, without a mapping for each.
//!
//! A touch of a missing page either raises SIGBUS (see [`is_missing_page`]), or puts the thread to sleep and an event
//! into a queue. The latter also applies to touches by the kernel on behalf of the program.

use std::io::Write;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use super::super::errno::last_error;
use super::super::memory::RESERVED;
use super::super::size::page_size;
use super::trap::Trap;
use crate::os::pages::Pages;
use crate::os::userfault::event::{Missing, Next, Poison};
use crate::plain::{FaultAccess, FaultCode, OsCode};

mod abi;

/// The source of a page that is filled for a write: at least as long as the largest page.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The value that rings the bell.
static ONE: u64 = 1;

/// A userfaultfd.
pub(crate) struct Userfault {
    // Invariant: an open descriptor that this object owns, or -1. Changed only in a forked child, by its one thread.
    fd: AtomicI32,
    // Invariant: an open descriptor that this object owns, an eventfd that ends the wait for an event; or -1.
    bell: i32,
}

impl Userfault {
    pub(crate) fn open() -> Result<Userfault, OsCode> {
        Ok(Userfault {
            fd: AtomicI32::new(open_for_signals()?),
            bell: -1,
        })
    }

    pub(crate) fn open_for_events() -> Result<Userfault, OsCode> {
        // Its drop closes the open descriptors if a later step fails.
        let mut userfault = Userfault {
            fd: AtomicI32::new(open_for_events()?),
            bell: -1,
        };
        // SAFETY: eventfd(2) has no preconditions; its only effect is a new descriptor.
        userfault.bell = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if userfault.bell >= 0 {
            Ok(userfault)
        } else {
            Err(last_error())
        }
    }

    /// Waits for the next event; without a time, for ever.
    pub(crate) fn next(&self, time: Option<Duration>) -> Next {
        let mut descriptors = [self.fd(), self.bell].map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        let time = time.map_or(-1, |time| time.as_millis() as i32);
        loop {
            if let Some(missing) = self.read() {
                return Next::Missing(missing);
            }
            // SAFETY: poll(2) reads and writes as many pollfd structures as the second argument says: two, which are
            // live.
            let ready = unsafe { libc::poll(descriptors.as_mut_ptr(), 2, time) };
            match (ready, descriptors.map(|descriptor| descriptor.revents)) {
                (0, _) => return Next::TimeUp,
                // A signal or a debugger interrupted the wait.
                (-1, _) if last_error() == OsCode(libc::EINTR) => {}
                (1, [libc::POLLIN, 0]) => {}
                // The bell, or a descriptor that other code has closed; the kernel has then woken all waiters.
                _ => return Next::End,
            }
        }
    }

    fn read(&self) -> Option<Missing> {
        let mut message = abi::Message::default();
        const SIZE: usize = size_of::<abi::Message>();
        // SAFETY: the buffer is live and has the size of one message; userfaultfd(2) reads whole messages.
        let read = unsafe { libc::read(self.fd(), (&raw mut message).cast(), SIZE) };
        // The descriptor is non-blocking: EAGAIN if there is no event.
        if read != SIZE as isize || message.event != abi::EVENT_PAGEFAULT {
            return None;
        }
        let is_write = message.flags & abi::PAGEFAULT_WRITE != 0;
        let access = if is_write {
            FaultAccess::Write
        } else {
            FaultAccess::Read
        };
        Some(Missing {
            address: message.address as usize,
            access,
            flags: message.flags,
            thread: message.thread.into(),
        })
    }

    /// Ends the wait of [`next`](Userfault::next), for ever.
    pub(crate) fn ring(&self) {
        // SAFETY: an eventfd is written eight bytes at a time (eventfd(2)).
        unsafe { libc::write(self.bell, (&raw const ONE).cast(), size_of_val(&ONE)) };
    }

    /// Wakes the threads that wait for one of the pages.
    pub(crate) fn wake(&self, pages: Pages<'_>) {
        let mut range = abi::Range::of(pages);
        // SAFETY: UFFDIO_WAKE takes a structure of this type, and only wakes threads. It fails only for an invalid
        // range.
        let _ = unsafe { self.control(abi::WAKE, &mut range) };
    }

    /// Opens the descriptor again in a forked child, because the old one serves the parent's memory. Async-signal-safe.
    pub(crate) fn reopen(&self) -> Result<(), OsCode> {
        let old = self.fd.swap(-1, Ordering::Relaxed);
        close(old);
        self.fd.store(open_for_signals()?, Ordering::Relaxed);
        Ok(())
    }

    fn fd(&self) -> i32 {
        self.fd.load(Ordering::Relaxed)
    }

    /// Makes reserved pages accessible, and missing.
    ///
    /// # Safety
    /// No reference points into the pages.
    pub(crate) unsafe fn attach(&self, pages: Pages<'_>) -> Result<(), OsCode> {
        // Not charged: the whole range is to be accessible, and may be far larger than memory. (In strict mode,
        // vm.overcommit_memory=2, the flag is ignored, and the mprotect below may be refused; mmap(2).)
        let flags = RESERVED | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let (start, len) = (pages.start(), pages.len());
        // SAFETY: whole pages of a live reservation (`Pages`), and no reference points into them (contract).
        let mapped = unsafe { libc::mmap(start, len, libc::PROT_NONE, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(last_error());
        }
        // Registered before they are accessible, because under mlockall(MCL_FUTURE) the access would fill them all.
        self.register(pages)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: whole pages of a live reservation (`Pages`), and no reference points into them (contract).
        let result = unsafe { libc::mprotect(start, len, access) };
        if result == 0 {
            Ok(())
        } else {
            Err(last_error())
        }
    }

    /// Makes missing pages of an attached range fault here again, because a fork detaches them in the child. It does
    /// not change present pages. Async-signal-safe.
    pub(crate) fn register(&self, pages: Pages<'_>) -> Result<(), OsCode> {
        let mut register = abi::Register {
            range: abi::Range::of(pages),
            mode: abi::REGISTER_MISSING,
            ioctls: 0,
        };
        // SAFETY: UFFDIO_REGISTER takes a structure of this type, and changes no contents of pages.
        unsafe { self.control(abi::REGISTER, &mut register) }
    }

    /// Fills missing pages with zeros. Present pages are unchanged. A thread that waits for a page goes on waiting
    /// until it is [woken](Userfault::wake). Pages that are not attached are an error. This and all methods below are
    /// async-signal-safe.
    pub(crate) fn fill(&self, pages: Pages<'_>) -> Result<(), OsCode> {
        let mut done = 0;
        while done < pages.len() {
            let mut zero = abi::ZeroPage {
                range: abi::Range::from(pages, done),
                mode: abi::DONT_WAKE,
                zeroed: 0,
            };
            // SAFETY: UFFDIO_ZEROPAGE takes a structure of this type. It maps zero pages at addresses of a live
            // reservation (`Pages`) that have no page.
            let result = unsafe { self.control(abi::ZEROPAGE, &mut zero) };
            done += step(result, zero.zeroed)?;
        }
        Ok(())
    }

    /// Fills missing pages that are about to be written with memory of their own, which saves the write a second fault.
    pub(crate) fn fill_written(&self, pages: Pages<'_>) -> Result<(), OsCode> {
        self.fill_pages(pages, |_| &ZEROS[..page_size()])
    }

    /// Fills missing pages with these contents, which are exactly as long as the pages. Other threads see each page
    /// either with its contents or not at all ("atomically"; ioctl_userfaultfd(2), UFFDIO_COPY).
    pub(crate) fn fill_with(&self, pages: Pages<'_>, contents: &[u8]) -> Result<(), OsCode> {
        self.fill_pages(pages, |done| &contents[done..done + page_size()])
    }

    /// Fills missing pages one by one, each with the page of bytes that `contents` returns for its offset.
    fn fill_pages<'a>(
        &self,
        pages: Pages<'_>,
        contents: impl Fn(usize) -> &'a [u8],
    ) -> Result<(), OsCode> {
        let mut done = 0;
        while done < pages.len() {
            let from = contents(done);
            let mut copy = abi::Copy {
                to: abi::Range::from(pages, done).start,
                from: from.as_ptr().addr() as u64,
                len: from.len() as u64,
                mode: abi::DONT_WAKE,
                copied: 0,
            };
            // SAFETY: UFFDIO_COPY takes a structure of this type. It reads a page from `from`, which is live and long
            // enough, and maps a copy at an address of a live reservation (`Pages`) that has no page.
            let result = unsafe { self.control(abi::COPY, &mut copy) };
            done += step(result, copy.copied)?;
        }
        Ok(())
    }

    /// Makes pages missing, in whatever state they are.
    ///
    /// # Safety
    /// No reference points into the pages.
    pub(crate) unsafe fn empty(&self, pages: Pages<'_>) -> Result<(), OsCode> {
        // SAFETY: whole pages of a live reservation (`Pages`), and no reference points to their contents (contract).
        // Private anonymous memory reads as zero after it is filled again (madvise(2)).
        let result = unsafe { libc::madvise(pages.start(), pages.len(), libc::MADV_DONTNEED) };
        if result == 0 {
            Ok(())
        } else {
            Err(last_error())
        }
    }

    /// # Safety
    /// `argument` is of the type that `request` takes.
    unsafe fn control<T>(&self, request: u64, argument: &mut T) -> Result<(), OsCode> {
        // SAFETY: the argument is live, writable and of the right type (contract).
        unsafe { control(self.fd(), request, argument) }
    }
}

impl Drop for Userfault {
    fn drop(&mut self) {
        close(self.fd());
        close(self.bell);
    }
}

/// Returns how many bytes a filling request has filled, from its result and its own count; ioctl_userfaultfd(2).
fn step(result: Result<(), OsCode>, count: i64) -> Result<usize, OsCode> {
    match (result, usize::try_from(count)) {
        // "the number of bytes" filled: all of them, or some (EAGAIN).
        (_, Ok(filled)) if filled > 0 => Ok(filled),
        (Ok(()), _) => Err(OsCode(libc::EIO)),
        // The page is present already.
        (Err(OsCode(libc::EEXIST)), _) => Ok(page_size()),
        // The memory map was changing at that moment.
        (Err(OsCode(libc::EAGAIN)), _) => Ok(0),
        (Err(code), _) => Err(code),
    }
}

/// # Safety
/// `argument` is of the type that `request` takes.
unsafe fn control<T>(fd: i32, request: u64, argument: &mut T) -> Result<(), OsCode> {
    // SAFETY: the argument is live, writable and of the right type (contract).
    let result = unsafe { libc::ioctl(fd, request as _, ptr::from_mut(argument)) };
    if result == -1 {
        Err(last_error())
    } else {
        Ok(())
    }
}

fn close(fd: i32) {
    if fd >= 0 {
        // SAFETY: the caller owns the descriptor and does not use it afterwards.
        unsafe { libc::close(fd) };
    }
}

/// Opens a userfaultfd that turns a touch of a missing page into SIGBUS.
fn open_for_signals() -> Result<i32, OsCode> {
    // Handles only faults of the program itself, which needs no privilege since Linux 5.11. Older kernels do not know
    // the flag.
    let fd = match system_call(abi::USER_MODE_ONLY) {
        Err(OsCode(libc::EINVAL)) => system_call(0),
        result => result,
    }?;
    with_features(fd, abi::FEATURE_SIGBUS)
}

/// Opens a userfaultfd that reports every touch of a missing page, including those by the kernel.
fn open_for_events() -> Result<i32, OsCode> {
    let exact = abi::FEATURE_THREAD_ID | abi::FEATURE_EXACT_ADDRESS;
    match with_features(open_for_kernel_mode()?, exact) {
        // Before Linux 5.18, the event has the address of the page.
        Err(OsCode(libc::EINVAL)) => with_features(open_for_kernel_mode()?, abi::FEATURE_THREAD_ID),
        result => result,
    }
}

/// Opens a userfaultfd for faults of the kernel as well: by privilege (CAP_SYS_PTRACE, vm.unprivileged_userfaultfd), or
/// by permission for the device (Linux 6.1).
fn open_for_kernel_mode() -> Result<i32, OsCode> {
    let refused = match system_call(0) {
        Err(OsCode(libc::EPERM)) => OsCode(libc::EPERM),
        result => return result,
    };
    // SAFETY: open(2) reads the path, which is a zero-terminated string.
    let device =
        unsafe { libc::open(c"/dev/userfaultfd".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if device < 0 {
        return Err(refused);
    }
    // SAFETY: USERFAULTFD_IOC_NEW takes flags; its only effect is a new descriptor.
    let fd = unsafe { libc::ioctl(device, abi::NEW as _, libc::O_CLOEXEC | libc::O_NONBLOCK) };
    close(device);
    if fd >= 0 { Ok(fd) } else { Err(refused) }
}

/// Agrees with the kernel on the features of a new userfaultfd. Closes it if the kernel does not have them.
fn with_features(fd: i32, features: u64) -> Result<i32, OsCode> {
    let mut api = abi::Api {
        api: abi::API_VERSION,
        features,
        ioctls: 0,
    };
    // SAFETY: UFFDIO_API takes a structure of this type.
    unsafe { control(fd, abi::API, &mut api) }.inspect_err(|_| close(fd))?;
    Ok(fd)
}

fn system_call(flags: i32) -> Result<i32, OsCode> {
    // SAFETY: userfaultfd(2) takes flags, and its only effect is a new descriptor.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_userfaultfd,
            flags | libc::O_CLOEXEC | libc::O_NONBLOCK,
        )
    };
    if fd >= 0 {
        Ok(fd as i32)
    } else {
        Err(last_error())
    }
}

/// Returns whether the trap is a touch of a missing page of attached memory (userfaultfd(2), UFFD_FEATURE_SIGBUS).
pub(crate) fn is_missing_page(trap: &Trap) -> bool {
    const BUS_ADRERR: i32 = 2;
    trap.code()
        == FaultCode::Signal {
            signo: libc::SIGBUS,
            si_code: BUS_ADRERR,
        }
}

/// Returns the kernel's number of the calling thread, as events have it.
pub(crate) fn thread_number() -> u64 {
    // SAFETY: gettid(2) has no preconditions and cannot fail.
    (unsafe { libc::gettid() }) as u64
}

/// Returns whether a sleeping thread of this process is in a system call, and not at an instruction of its own;
/// proc(5), /proc/PID/task/TID/syscall. Returns false if the kernel does not tell.
pub(crate) fn is_in_system_call(thread: u64) -> bool {
    // Without allocation, because the waiting thread may be inside the allocator.
    let mut path = [0; 64];
    // It fits, with a zero at the end.
    let _ = write!(&mut path[..63], "/proc/self/task/{thread}/syscall");
    // SAFETY: open(2) reads the path, which is a zero-terminated string.
    let fd = unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC) };
    let mut first = 0u8;
    // SAFETY: read(2) writes at most one byte, to `first`, which is live. If the file could not be opened, the call
    // fails.
    let read = unsafe { libc::read(fd, (&raw mut first).cast(), 1) };
    close(fd);
    // The file has the number of the call; "-1 SP PC" if the thread is "blocked, but not in a system call"; "running"
    // if it is not blocked.
    read == 1 && first.is_ascii_digit()
}

/// MADV_GUARD_INSTALL and MADV_GUARD_REMOVE, since Linux 6.13; include/uapi/asm-generic/mman-common.h.
const GUARD_INSTALL: i32 = 102;
const GUARD_REMOVE: i32 = 103;

/// Makes every touch of a missing page fail: with SIGSEGV, or with EFAULT in a system call.
///
/// # Safety
/// The pages are missing.
pub(crate) unsafe fn poison(pages: Pages<'_>) -> Result<Poison, OsCode> {
    // SAFETY: whole pages of a live reservation (`Pages`). They are missing (contract), so they have no contents, and
    // no reference points into them.
    if unsafe { libc::madvise(pages.start(), pages.len(), GUARD_INSTALL) } == 0 {
        return Ok(Poison::Guard);
    }
    // For older kernels. The protection takes a mapping or two while it lasts.
    // SAFETY: whole pages of a live reservation (`Pages`). They are missing (contract), so no reference points into
    // them.
    let result = unsafe { libc::mprotect(pages.start(), pages.len(), libc::PROT_NONE) };
    if result == 0 {
        Ok(Poison::Protection)
    } else {
        Err(last_error())
    }
}

/// Undoes [`poison`] of pages that were poisoned in this way.
pub(crate) fn cure(pages: Pages<'_>, poison: Poison) {
    let (start, len) = (pages.start(), pages.len());
    // Neither call fails: both undo the change that `poison` made.
    match poison {
        // SAFETY: whole pages of a live reservation (`Pages`). Only guard marks are removed (madvise(2),
        // MADV_GUARD_REMOVE).
        Poison::Guard => unsafe { libc::madvise(start, len, GUARD_REMOVE) },
        // SAFETY: whole pages of a live reservation (`Pages`). They can be read and written afterwards, and their
        // contents do not change (mprotect(2)).
        Poison::Protection => unsafe {
            libc::mprotect(start, len, libc::PROT_READ | libc::PROT_WRITE)
        },
    };
}

/// Returns advice to a person after a userfaultfd for events or for signals could not be opened or attached.
pub(crate) fn userfault_advice(code: OsCode, for_events: bool) -> &'static str {
    match code.0 {
        libc::EPERM | libc::EACCES if for_events => {
            "to handle the faults of system calls takes CAP_SYS_PTRACE, vm.unprivileged_userfaultfd=1 or access to \
             /dev/userfaultfd, and a seccomp filter (containers) may forbid it; Backend::Userfault takes no privilege"
        }
        libc::EPERM | libc::EACCES => {
            "this process may not use userfaultfd: a seccomp filter forbids it (containers: allow userfaultfd), or the \
             kernel is older than 5.11 and vm.unprivileged_userfaultfd is 0"
        }
        libc::ENOSYS => {
            "the kernel was built without CONFIG_USERFAULTFD, or a seccomp filter hides it"
        }
        libc::EINVAL => "the kernel is older than Linux 4.14",
        libc::ENOMEM => {
            "the system accounts for memory strictly (vm.overcommit_memory=2), or RLIMIT_DATA leaves no room: both \
             count the whole region with this backend"
        }
        libc::EMFILE | libc::ENFILE => "file descriptors ran out; raise RLIMIT_NOFILE",
        _ => "choose Backend::Protection, or Backend::Auto",
    }
}
