//! userfaultfd(2): pages that are missing until they are filled, without a mapping of their own each.
//!
//! The touch of a missing page either raises SIGBUS (see [`is_missing_page`]) or puts the thread to sleep and an event
//! into a queue, whether it is the program that touches or the kernel on its behalf.

use std::io::Write;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use super::super::errno::last_error;
use super::super::memory::RESERVED;
use super::super::size::page_size;
use super::trap::Trap;
use crate::os::types::{Missing, Next, Poison};
use crate::plain::{FaultAccess, FaultCode, OsCode};

mod abi;

/// What a written page is filled from, at least a page of the largest size.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What rings the bell.
static ONE: u64 = 1;

/// A userfaultfd.
pub(crate) struct Userfault {
    // Invariant: an open descriptor of this object's own, or -1; changed only in a forked child, by its one thread.
    fd: AtomicI32,
    // Invariant: an open descriptor of this object's own, an eventfd that ends the wait for an event; or -1.
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
        // Closes what is open, if the rest fails.
        let mut userfault = Userfault {
            fd: AtomicI32::new(open_for_events()?),
            bell: -1,
        };
        // SAFETY: no preconditions (eventfd(2)).
        userfault.bell = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if userfault.bell >= 0 {
            Ok(userfault)
        } else {
            Err(last_error())
        }
    }

    /// Waits for the next event; for ever, without a time.
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
            // SAFETY: two live pollfd structures.
            let ready = unsafe { libc::poll(descriptors.as_mut_ptr(), 2, time) };
            match (ready, descriptors.map(|descriptor| descriptor.revents)) {
                (0, _) => return Next::TimeUp,
                // Stopped and continued, say by a debugger.
                (-1, _) if last_error() == OsCode(libc::EINTR) => {}
                (1, [libc::POLLIN, 0]) => {}
                // The bell, or a descriptor that other code has closed: then the kernel has let all waiters go.
                _ => return Next::End,
            }
        }
    }

    fn read(&self) -> Option<Missing> {
        let mut message = abi::Message::default();
        const SIZE: usize = size_of::<abi::Message>();
        // SAFETY: the buffer is live and of the size of one message; userfaultfd(2) reads whole ones.
        let read = unsafe { libc::read(self.fd(), (&raw mut message).cast(), SIZE) };
        // The descriptor does not block: EAGAIN if there is none.
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

    /// Ends the wait of [`next`](Userfault::next), for good.
    pub(crate) fn ring(&self) {
        // SAFETY: an eventfd is written eight bytes at a time (eventfd(2)).
        unsafe { libc::write(self.bell, (&raw const ONE).cast(), size_of_val(&ONE)) };
    }

    /// Wakes who waits for a page of the range.
    pub(crate) fn wake(&self, base: NonNull<u8>, len: usize) {
        let mut range = abi::Range {
            start: base.as_ptr().addr() as u64,
            len: len as u64,
        };
        // SAFETY: the request takes this structure, and only wakes threads. It fails for an invalid range only.
        let _ = unsafe { self.control(abi::WAKE, &mut range) };
    }

    /// In a forked child: the descriptor is of the parent's memory. Async-signal-safe.
    pub(crate) fn reopen(&self) -> Result<(), OsCode> {
        let old = self.fd.swap(-1, Ordering::Relaxed);
        close(old);
        self.fd.store(open_for_signals()?, Ordering::Relaxed);
        Ok(())
    }

    fn fd(&self) -> i32 {
        self.fd.load(Ordering::Relaxed)
    }

    /// # Safety
    /// `base..base + len` are whole pages of one live reservation of the caller's, all of them reserved, and nobody
    /// touches them yet.
    pub(crate) unsafe fn attach(&self, base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
        // The whole range is to be accessible, and may be far more than there is memory: not charged. (In strict mode,
        // vm.overcommit_memory=2, the flag is ignored and the mprotect below may be refused; mmap(2).)
        let flags = RESERVED | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: the caller's own pages, which nothing uses (contract).
        let mapped =
            unsafe { libc::mmap(base.as_ptr().cast(), len, libc::PROT_NONE, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(last_error());
        }
        // Before they are accessible: under mlockall(MCL_FUTURE) that would fill them all.
        self.register(base, len)?;
        // SAFETY: as above.
        let result = unsafe {
            libc::mprotect(
                base.as_ptr().cast(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(last_error())
        }
    }

    /// Makes missing pages of a range that was attached fault here, again: a fork undoes it in the child. Safe, as it
    /// changes no page that is there. Async-signal-safe.
    pub(crate) fn register(&self, base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
        let range = abi::Range {
            start: base.as_ptr().addr() as u64,
            len: len as u64,
        };
        let mut register = abi::Register {
            range,
            mode: abi::REGISTER_MISSING,
            ioctls: 0,
        };
        // SAFETY: the request takes this structure.
        unsafe { self.control(abi::REGISTER, &mut register) }
    }

    /// Fills what is missing of the range with zeros. What is there stays as it is. Who waits for it goes on waiting
    /// until it is [woken](Userfault::wake). Async-signal-safe, as all below.
    ///
    /// # Safety
    /// `base..base + len` are whole pages of a range that is attached to this object.
    pub(crate) unsafe fn fill(&self, base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
        let mut done = 0;
        while done < len {
            let start = (base.as_ptr().addr() + done) as u64;
            let range = abi::Range {
                start,
                len: (len - done) as u64,
            };
            let mut zero = abi::ZeroPage {
                range,
                mode: abi::DONT_WAKE,
                zeroed: 0,
            };
            // SAFETY: the request takes this structure, and maps zero pages where none are in a range of the caller's.
            let result = unsafe { self.control(abi::ZEROPAGE, &mut zero) };
            done += step(result, zero.zeroed)?;
        }
        Ok(())
    }

    /// [`fill`](Userfault::fill) for one page that is about to be written: with memory of its own, which spares the
    /// write a second fault.
    ///
    /// # Safety
    /// As for `fill`, of one page.
    pub(crate) unsafe fn fill_written(&self, base: NonNull<u8>) -> Result<(), OsCode> {
        let mut done = 0;
        while done < page_size() {
            let to = base.as_ptr().addr() as u64;
            let from = ZEROS.as_ptr().addr() as u64;
            let mut copy = abi::Copy {
                to,
                from,
                len: page_size() as u64,
                mode: abi::DONT_WAKE,
                copied: 0,
            };
            // SAFETY: the request takes this structure. It reads a page of ZEROS, which is as long as the largest, and
            // maps the copy if no page is at an address of the caller's.
            let result = unsafe { self.control(abi::COPY, &mut copy) };
            done += step(result, copy.copied)?;
        }
        Ok(())
    }

    /// Makes pages missing, whatever they are.
    ///
    /// # Safety
    /// As for `fill`, and no reference points into the pages.
    pub(crate) unsafe fn empty(&self, base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
        // SAFETY: the caller's own pages, whose contents nothing refers to (contract). The next touch of private
        // anonymous memory finds zeros, once filled (madvise(2)).
        let result = unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_DONTNEED) };
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

/// How many bytes a filling request got on, by its result and its own count; ioctl_userfaultfd(2).
fn step(result: Result<(), OsCode>, count: i64) -> Result<usize, OsCode> {
    match (result, usize::try_from(count)) {
        // "the number of bytes" that were filled, all or some of them (EAGAIN).
        (_, Ok(filled)) if filled > 0 => Ok(filled),
        (Ok(()), _) => Err(OsCode(libc::EIO)),
        // It is there already.
        (Err(OsCode(libc::EEXIST)), _) => Ok(page_size()),
        // The memory map was just changing.
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
        // SAFETY: a descriptor of the caller's own, used no more.
        unsafe { libc::close(fd) };
    }
}

/// Opens a userfaultfd that turns the touch of a missing page into SIGBUS.
fn open_for_signals() -> Result<i32, OsCode> {
    // For faults of the program itself, which needs no privilege since Linux 5.11; before, the flag is unknown.
    let fd = match system_call(abi::USER_MODE_ONLY) {
        Err(OsCode(libc::EINVAL)) => system_call(0),
        result => result,
    }?;
    with_features(fd, abi::FEATURE_SIGBUS)
}

/// Opens a userfaultfd that reports every touch of a missing page, the kernel's too.
fn open_for_events() -> Result<i32, OsCode> {
    let exact = abi::FEATURE_THREAD_ID | abi::FEATURE_EXACT_ADDRESS;
    match with_features(open_for_kernel_mode()?, exact) {
        // Before Linux 5.18 it is the address of the page.
        Err(OsCode(libc::EINVAL)) => with_features(open_for_kernel_mode()?, abi::FEATURE_THREAD_ID),
        result => result,
    }
}

/// By privilege (CAP_SYS_PTRACE, vm.unprivileged_userfaultfd), or by permission for the device (Linux 6.1).
fn open_for_kernel_mode() -> Result<i32, OsCode> {
    let refused = match system_call(0) {
        Err(OsCode(libc::EPERM)) => OsCode(libc::EPERM),
        result => return result,
    };
    // SAFETY: the path is a zero-terminated string.
    let device =
        unsafe { libc::open(c"/dev/userfaultfd".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if device < 0 {
        return Err(refused);
    }
    // SAFETY: the request takes flags and returns a new descriptor.
    let fd = unsafe { libc::ioctl(device, abi::NEW as _, libc::O_CLOEXEC | libc::O_NONBLOCK) };
    close(device);
    if fd >= 0 { Ok(fd) } else { Err(refused) }
}

/// Agrees on the features of a new userfaultfd; closes it if the kernel does not have them.
fn with_features(fd: i32, features: u64) -> Result<i32, OsCode> {
    let mut api = abi::Api {
        api: abi::API_VERSION,
        features,
        ioctls: 0,
    };
    // SAFETY: the request takes this structure.
    unsafe { control(fd, abi::API, &mut api) }.inspect_err(|_| close(fd))?;
    Ok(fd)
}

fn system_call(flags: i32) -> Result<i32, OsCode> {
    // SAFETY: userfaultfd(2) takes flags and has no other effect than a new descriptor.
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

/// Whether it is a touch of a missing page (userfaultfd(2), UFFD_FEATURE_SIGBUS), where one is attached.
pub(crate) fn is_missing_page(trap: &Trap) -> bool {
    const BUS_ADRERR: i32 = 2;
    trap.code()
        == FaultCode::Signal {
            signo: libc::SIGBUS,
            si_code: BUS_ADRERR,
        }
}

/// The kernel's number of the calling thread, as events have it.
pub(crate) fn thread_number() -> u64 {
    // SAFETY: no preconditions; cannot fail (gettid(2)).
    (unsafe { libc::gettid() }) as u64
}

/// Whether a thread of this process that sleeps is in a system call, and not at an instruction of its own; proc(5),
/// /proc/PID/task/TID/syscall. False where the kernel does not tell.
pub(crate) fn is_in_system_call(thread: u64) -> bool {
    // Without the allocator, which the waiting thread may be in the middle of.
    let mut path = [0; 64];
    // Fits, with a zero at the end.
    let _ = write!(&mut path[..63], "/proc/self/task/{thread}/syscall");
    // SAFETY: a zero-terminated string.
    let fd = unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC) };
    let mut first = 0u8;
    // SAFETY: one writable byte; without a file it fails.
    let read = unsafe { libc::read(fd, (&raw mut first).cast(), 1) };
    close(fd);
    // The number of the call; "-1 SP PC" if it is "blocked, but not in a system call"; "running" if it is not blocked.
    read == 1 && first.is_ascii_digit()
}

/// MADV_GUARD_INSTALL and MADV_GUARD_REMOVE, since Linux 6.13; include/uapi/asm-generic/mman-common.h.
const GUARD_INSTALL: i32 = 102;
const GUARD_REMOVE: i32 = 103;

/// Makes every touch of a missing page fail: with SIGSEGV, or in a system call with EFAULT.
///
/// # Safety
/// `base` and `len` are whole missing pages that are attached to a userfaultfd.
pub(crate) unsafe fn poison(base: NonNull<u8>, len: usize) -> Result<Poison, OsCode> {
    // SAFETY: the caller's missing pages, of which nobody can have a reference.
    if unsafe { libc::madvise(base.as_ptr().cast(), len, GUARD_INSTALL) } == 0 {
        return Ok(Poison::Guard);
    }
    // An older kernel. This takes a mapping or two for as long as it lasts.
    // SAFETY: as above.
    let result = unsafe { libc::mprotect(base.as_ptr().cast(), len, libc::PROT_NONE) };
    if result == 0 {
        Ok(Poison::Protection)
    } else {
        Err(last_error())
    }
}

/// Undoes [`poison`].
///
/// # Safety
/// `base` and `len` are those of a call of `poison` that returned `poison`, and was not undone.
pub(crate) unsafe fn cure(base: NonNull<u8>, len: usize, poison: Poison) {
    // Neither fails: both give back what `poison` took.
    match poison {
        // SAFETY: removes a mark from pages that are missing.
        Poison::Guard => unsafe { libc::madvise(base.as_ptr().cast(), len, GUARD_REMOVE) },
        // SAFETY: the pages were accessible before.
        Poison::Protection => unsafe {
            libc::mprotect(
                base.as_ptr().cast(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
            )
        },
    };
}

/// What a person can try after one could not be opened or attached: one for events, or for signals.
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
