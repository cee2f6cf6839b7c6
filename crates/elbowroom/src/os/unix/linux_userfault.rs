//! userfaultfd(2): pages that are missing until they are filled, without a mapping of their own each.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, Ordering};

use super::super::last_error;
use super::Trap;
use crate::error::OsCode;
use crate::fault::FaultCode;
use crate::page;

/// include/uapi/linux/userfaultfd.h: what the C library's crate does not have.
mod abi {
    pub(super) const USER_MODE_ONLY: i32 = 1;
    /// What `struct uffdio_api` must say.
    pub(super) const API_VERSION: u64 = 0xaa;
    pub(super) const FEATURE_SIGBUS: u64 = 1 << 7;
    pub(super) const REGISTER_MISSING: u64 = 1;

    /// `_IOWR(0xAA, number, size)`.
    const fn both_ways(number: u64, size: usize) -> u64 {
        (3 << 30) | ((size as u64) << 16) | (0xaa << 8) | number
    }
    pub(super) const API: u64 = both_ways(0x3f, size_of::<Api>());
    pub(super) const REGISTER: u64 = both_ways(0x00, size_of::<Register>());
    /// `_IOR(0xAA, 2, struct uffdio_range)`
    pub(super) const WAKE: u64 = (2 << 30) | ((size_of::<Range>() as u64) << 16) | (0xaa << 8) | 2;
    pub(super) const COPY: u64 = both_ways(0x03, size_of::<Copy>());
    pub(super) const ZEROPAGE: u64 = both_ways(0x04, size_of::<ZeroPage>());

    #[repr(C)]
    pub(super) struct Api {
        pub(super) api: u64,
        pub(super) features: u64,
        pub(super) ioctls: u64,
    }

    #[repr(C)]
    pub(super) struct Range {
        pub(super) start: u64,
        pub(super) len: u64,
    }

    #[repr(C)]
    pub(super) struct Register {
        pub(super) range: Range,
        pub(super) mode: u64,
        pub(super) ioctls: u64,
    }

    #[repr(C)]
    pub(super) struct Copy {
        pub(super) to: u64,
        pub(super) from: u64,
        pub(super) len: u64,
        pub(super) mode: u64,
        pub(super) copied: i64,
    }

    #[repr(C)]
    pub(super) struct ZeroPage {
        pub(super) range: Range,
        pub(super) mode: u64,
        pub(super) zeroed: i64,
    }
}

/// What a written page is filled from, at least a page of the largest size.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A userfaultfd.
pub(crate) struct Userfault {
    // Invariant: an open descriptor of this object's own, or -1; changed only in a forked child, by its one thread.
    fd: AtomicI32,
}

impl Userfault {
    pub(crate) fn open() -> Result<Userfault, OsCode> {
        Ok(Userfault { fd: AtomicI32::new(open_for_signals()?) })
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
        let flags = super::super::RESERVED | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: the caller's own pages, which nothing uses (contract).
        let mapped = unsafe { libc::mmap(base.as_ptr().cast(), len, libc::PROT_NONE, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(last_error());
        }
        // Before they are accessible: under mlockall(MCL_FUTURE) that would fill them all.
        self.register(base, len)?;
        // SAFETY: as above.
        let result = unsafe { libc::mprotect(base.as_ptr().cast(), len, libc::PROT_READ | libc::PROT_WRITE) };
        if result == 0 { Ok(()) } else { Err(last_error()) }
    }

    /// Makes missing pages of a range that was attached fault here, again: a fork undoes it in the child. Safe, as it
    /// changes no page that is there. Async-signal-safe.
    pub(crate) fn register(&self, base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
        let range = abi::Range { start: base.as_ptr().addr() as u64, len: len as u64 };
        let mut register = abi::Register { range, mode: abi::REGISTER_MISSING, ioctls: 0 };
        // SAFETY: the request takes this structure.
        unsafe { self.control(abi::REGISTER, &mut register) }
    }

    /// Fills what is missing of the range with zeros, and wakes who waits for it. What is there stays as it is.
    /// Async-signal-safe, as all below.
    ///
    /// # Safety
    /// `base..base + len` are whole pages of a range that is attached to this object.
    pub(crate) unsafe fn fill(&self, base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
        let mut done = 0;
        while done < len {
            let start = (base.as_ptr().addr() + done) as u64;
            let range = abi::Range { start, len: (len - done) as u64 };
            let mut zero = abi::ZeroPage { range, mode: 0, zeroed: 0 };
            // SAFETY: the request takes this structure, and maps zero pages where none are in a range of the caller's.
            let result = unsafe { self.control(abi::ZEROPAGE, &mut zero) };
            done += self.step(result, zero.zeroed, start)?;
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
        while done < page::size() {
            let to = base.as_ptr().addr() as u64;
            let from = ZEROS.as_ptr().addr() as u64;
            let mut copy = abi::Copy { to, from, len: page::size() as u64, mode: 0, copied: 0 };
            // SAFETY: the request takes this structure. It reads a page of ZEROS, which is as long as the largest, and
            // maps the copy if no page is at an address of the caller's.
            let result = unsafe { self.control(abi::COPY, &mut copy) };
            done += self.step(result, copy.copied, to)?;
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
        if result == 0 { Ok(()) } else { Err(last_error()) }
    }

    /// How many bytes a filling request got on, by its result and its own count; ioctl_userfaultfd(2).
    fn step(&self, result: Result<(), OsCode>, count: i64, start: u64) -> Result<usize, OsCode> {
        match (result, usize::try_from(count)) {
            // "the number of bytes" that were filled, all or some of them (EAGAIN).
            (_, Ok(filled)) if filled > 0 => Ok(filled),
            (Ok(()), _) => Err(OsCode(libc::EIO)),
            // Somebody was faster. Whoever waits for the page may be waiting since before that.
            (Err(OsCode(libc::EEXIST)), _) => {
                self.wake_at(start, page::size());
                Ok(page::size())
            }
            // The memory map was just changing.
            (Err(OsCode(libc::EAGAIN)), _) => Ok(0),
            (Err(code), _) => Err(code),
        }
    }

    fn wake_at(&self, start: u64, len: usize) {
        let mut range = abi::Range { start, len: len as u64 };
        // SAFETY: the request takes this structure, and only wakes threads. It fails for an invalid range only.
        let _ = unsafe { self.control(abi::WAKE, &mut range) };
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
    }
}

/// # Safety
/// `argument` is of the type that `request` takes.
unsafe fn control<T>(fd: i32, request: u64, argument: &mut T) -> Result<(), OsCode> {
    // SAFETY: the argument is live, writable and of the right type (contract).
    let result = unsafe { libc::ioctl(fd, request as _, ptr::from_mut(argument)) };
    if result == -1 { Err(last_error()) } else { Ok(()) }
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
    let mut api = abi::Api { api: abi::API_VERSION, features: abi::FEATURE_SIGBUS, ioctls: 0 };
    // SAFETY: the request takes this structure.
    unsafe { control(fd, abi::API, &mut api) }.inspect_err(|_| close(fd))?;
    Ok(fd)
}

fn system_call(flags: i32) -> Result<i32, OsCode> {
    // SAFETY: userfaultfd(2) takes flags and has no other effect than a new descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags | libc::O_CLOEXEC | libc::O_NONBLOCK) };
    if fd >= 0 { Ok(fd as i32) } else { Err(last_error()) }
}

/// Whether it is a touch of a missing page (userfaultfd(2), UFFD_FEATURE_SIGBUS), where one is attached.
pub(crate) fn is_missing_page(trap: &Trap) -> bool {
    const BUS_ADRERR: i32 = 2;
    trap.code() == FaultCode::Signal { signo: libc::SIGBUS, si_code: BUS_ADRERR }
}

/// What a person can try after `open` or `attach` failed.
pub(crate) fn userfault_advice(code: OsCode) -> &'static str {
    match code.0 {
        libc::EPERM | libc::EACCES => {
            "this process may not use userfaultfd: a seccomp filter forbids it (containers: allow userfaultfd), or the \
             kernel is older than 5.11 and vm.unprivileged_userfaultfd is 0"
        }
        libc::ENOSYS => "the kernel was built without CONFIG_USERFAULTFD, or a seccomp filter hides it",
        libc::EINVAL => "the kernel is older than Linux 4.14",
        libc::ENOMEM => {
            "the system accounts for memory strictly (vm.overcommit_memory=2), or RLIMIT_DATA leaves no room: both \
             count the whole region with this backend"
        }
        libc::EMFILE | libc::ENFILE => "file descriptors ran out; raise RLIMIT_NOFILE",
        _ => "choose Backend::Protection, or Backend::Auto",
    }
}
