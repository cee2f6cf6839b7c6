//! Probes of the abilities of this kernel. A version number says little: distributions add and remove features, and
//! containers and emulators forbid some. Each probe runs in a child process, and checks the effect if it can, because
//! an emulator may report success for a call that it does not know.

#![allow(unsafe_code, reason = "system calls")]

use std::fs::{File, OpenOptions};
use std::io::{self, pipe};
use std::os::fd::AsRawFd;
use std::ptr;

use nix::errno::Errno;

use crate::os::unix::isolate::{Failure, Probe, isolated};

/// Maps a new page, which exists until the child ends.
fn page() -> Result<*mut libc::c_void, i32> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses replaces no existing memory.
    let page = unsafe { libc::mmap(ptr::null_mut(), size(), access, flags, -1, 0) };
    match page {
        libc::MAP_FAILED => Err(Errno::last_raw()),
        page => Ok(page),
    }
}

fn size() -> usize {
    elbowroom::page_size()
}

/// Returns the result of a system call: -1 is a failure.
fn checked(result: libc::c_long) -> Result<u64, i32> {
    let result = Errno::result(result);
    result
        .map(|result| result as u64)
        .map_err(|code| code as i32)
}

/// Gives advice on the page at this address.
fn advise(page: *mut libc::c_void, advice: i32) -> Result<u64, i32> {
    // SAFETY: each advice given here leaves memory that the program uses alone: it is on a page that a probe has mapped
    // for itself, or on the first page of the address space, where nothing is.
    checked(unsafe { libc::madvise(page, size(), advice) }.into())
}

/// MADV_POPULATE_WRITE: prefaults pages (madvise(2), since 5.14).
pub(super) fn populate_write() -> Probe {
    isolated(|| {
        advise(page()?, libc::MADV_POPULATE_WRITE)?;
        // Nothing is mapped at the bottom of the address space.
        match advise(ptr::null_mut(), libc::MADV_POPULATE_WRITE) {
            Ok(_) => Err(libc::ENOSYS),
            Err(_) => Ok(0),
        }
    })
}

/// MADV_GUARD_INSTALL: guard pages that split no mapping (madvise(2), since 6.13).
pub(super) fn guard_install() -> Probe {
    const MADV_GUARD_INSTALL: i32 = 102;
    isolated(|| {
        let page = page()?;
        advise(page, MADV_GUARD_INSTALL)?;
        // The read end stays open, because writing to a pipe without readers raises a signal.
        let (_read, write) = pipe().map_err(code)?;
        // SAFETY: the kernel reads one byte of the page on the program's behalf, and answers EFAULT where the program
        // would get a signal.
        match checked(unsafe { libc::write(write.as_raw_fd(), page, 1) } as libc::c_long) {
            Err(libc::EFAULT) => Ok(0),
            Err(code) => Err(code),
            Ok(_) => Err(libc::ENOSYS),
        }
    })
}

/// Names of anonymous mappings in /proc/PID/maps (PR_SET_VMA_ANON_NAME(2const), CONFIG_ANON_VMA_NAME).
pub(super) fn anonymous_names() -> Probe {
    isolated(|| {
        const VMA_NAME: i32 = libc::PR_SET_VMA_ANON_NAME;
        let (page, name) = (page()?, c"elbowroom probe");
        // SAFETY: names the page that was just mapped; reads the zero-terminated name.
        let result =
            unsafe { libc::prctl(libc::PR_SET_VMA, VMA_NAME, page, size(), name.as_ptr()) };
        checked(result.into())
    })
}

/// PROCMAP_QUERY: one mapping by its address, without reading them all (since 6.11).
pub(super) fn procmap_query() -> Probe {
    // include/uapi/linux/fs.h: struct procmap_query, 104 bytes; its size, then flags, then the address.
    const SIZE: u64 = 104;
    const PROCMAP_QUERY: u64 = (3 << 30) | (SIZE << 16) | ((b'f' as u64) << 8) | 17;
    // Opened here: the child may not open its own.
    let maps = File::open("/proc/self/maps").map_err(refused)?;
    isolated(|| {
        let mut query = [0u64; SIZE as usize / 8];
        query[0] = SIZE;
        query[2] = ptr::from_ref(&SIZE).addr() as u64;
        // SAFETY: the request takes a pointer to a structure of that size, which says so itself; no name is asked for,
        // so the kernel writes nowhere else.
        checked(
            unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY as _, query.as_mut_ptr()) }.into(),
        )
    })
}

/// PAGEMAP_SCAN: which pages are resident, huge or swapped, by ranges (since 6.7).
pub(super) fn pagemap_scan() -> Probe {
    let pagemap = File::open("/proc/self/pagemap").map_err(refused)?;
    isolated(|| {
        // _IOWR('f', 16, struct pm_scan_arg), whose size is 96 bytes.
        const PAGEMAP_SCAN: u64 = (3 << 30) | (96 << 16) | ((b'f' as u64) << 8) | 16;
        // SAFETY: the kernel reads its argument first, and there is nothing at this address: it writes nowhere.
        let result = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN as _, 0usize) };
        match checked(result.into()) {
            // A kernel without the request does not look at its argument, and refuses with ENOTTY.
            Err(libc::EFAULT) => Ok(0),
            Err(code) => Err(code),
            Ok(_) => Err(libc::ENOSYS),
        }
    })
}

fn code(error: io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn refused(error: io::Error) -> Failure {
    Failure::Refused(code(error))
}

/// The ways to a userfaultfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// userfaultfd(2), for faults of the kernel's as well.
    Full,
    /// userfaultfd(2) with UFFD_USER_MODE_ONLY.
    UserMode,
    /// /dev/userfaultfd.
    Device,
}

/// Opens a userfaultfd in this way, and returns its features (ioctl_userfaultfd(2), UFFDIO_API).
pub(super) fn userfaultfd(door: Door) -> Probe {
    const UFFD_USER_MODE_ONLY: i32 = 1;
    // _IO(0xAA, 0x00)
    const USERFAULTFD_IOC_NEW: u64 = 0xAA00;
    // _IOWR(0xAA, 0x3F, struct uffdio_api), which is three words: api, features, ioctls.
    const UFFDIO_API: u64 = (3 << 30) | (24 << 16) | (0xAA << 8) | 0x3F;
    const UFFD_API: u64 = 0xAA;
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    isolated(|| {
        let fd = match door {
            Door::Device => {
                let mut options = OpenOptions::new();
                let options = options.read(true).write(true);
                let device = options.open("/dev/userfaultfd").map_err(code)?;
                // SAFETY: makes a descriptor; the argument is flags.
                let fd =
                    unsafe { libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW as _, flags) };
                checked(fd.into())?
            }
            Door::Full | Door::UserMode => {
                let mode = if door == Door::UserMode {
                    UFFD_USER_MODE_ONLY
                } else {
                    0
                };
                let flags = flags | mode;
                // SAFETY: makes a descriptor; the argument is flags (userfaultfd(2)).
                checked(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) })?
            }
        };
        let mut api = [UFFD_API, 0, 0];
        // SAFETY: reads and writes one uffdio_api, which is three words.
        checked(unsafe { libc::ioctl(fd as i32, UFFDIO_API as _, api.as_mut_ptr()) }.into())?;
        Ok(api[1])
    })
}

/// Returns the number of usable address bits: the highest power of two just below which a page can be mapped.
pub(super) fn address_bits() -> Probe {
    isolated(|| {
        let flags = libc::MAP_PRIVATE
            | libc::MAP_ANONYMOUS
            | libc::MAP_NORESERVE
            | libc::MAP_FIXED_NOREPLACE;
        let reachable = |bits: u64| {
            // The last pages below the end are kept free on some systems.
            let at = ptr::without_provenance_mut::<libc::c_void>((1usize << bits) - (1 << 20));
            // SAFETY: a new mapping of one page at an address where nothing is (MAP_FIXED_NOREPLACE; before 4.17 it is
            // a hint, and the answer another address), gone with the child.
            let found = unsafe { libc::mmap(at, size(), libc::PROT_NONE, flags, -1, 0) };
            found == at || (found == libc::MAP_FAILED && Errno::last_raw() == libc::EEXIST)
        };
        (32..=57)
            .rev()
            .find(|&bits| reachable(bits))
            .ok_or(libc::ENOMEM)
    })
}
