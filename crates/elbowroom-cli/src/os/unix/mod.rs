//! What Linux and the other Unixes have in common.

#![allow(unsafe_code, reason = "getrusage, mmap and ioctl")]

pub(crate) mod doctor;
pub(crate) mod isolate;
pub(crate) mod signals;

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::process;

use elbowroom::Region;

/// The page faults so far that needed no input or output.
pub(super) fn minor_faults() -> Option<u64> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: getrusage(2) writes one rusage to the pointer, which is writable and large enough.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: getrusage has succeeded, so it is written.
    let usage = unsafe { usage.assume_init() };
    u64::try_from(usage.ru_minflt).ok()
}

/// How wide the terminal is that standard output goes to, if it is one.
pub(crate) fn columns() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize to the pointer, which is writable (ioctl_tty(2)).
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Terminals here know colours.
pub(crate) fn enable_colours() -> bool {
    true
}

/// Maps a file over the page and takes the file's end away: a touch behind the end of a file is SIGBUS (mmap(2)).
pub(crate) fn plant_other_fault(region: &Region, page: usize) -> io::Result<()> {
    let (address, len) = super::page_of(region, page)?;
    let file = nameless_file()?;
    // An empty file cannot be mapped everywhere: QEMU, for one, refuses when its pages are larger than the host's.
    file.set_len(len as u64)?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: MAP_FIXED replaces what is mapped at `address..address + len`: one page of the region, which belongs to
    // this program alone, and which Rust has no reference into: it is only reached through accessors. The region's own
    // handling of the page, mprotect and munmap, works on any mapping.
    let mapped =
        unsafe { libc::mmap(address.cast(), len, protection, libc::MAP_SHARED | libc::MAP_FIXED, file.as_raw_fd(), 0) };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // The mapping keeps the file when the descriptor goes.
    file.set_len(0)
}

/// A file without a name.
fn nameless_file() -> io::Result<File> {
    let path = env::temp_dir().join(format!("elbowroom-{}", process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
