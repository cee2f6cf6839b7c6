//! The common part of Linux and other Unix systems.

#![allow(unsafe_code, reason = "mmap")]

pub(crate) mod doctor;
pub(crate) mod isolate;
pub(crate) mod signals;

pub(crate) use signals::forgo_core_file;

use std::env;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use elbowroom::Region;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::statvfs::statvfs;

/// Returns the number of page faults of this process that needed no input or output.
pub(super) fn minor_faults() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(usage.minor_page_faults()).ok()
}

/// Of SIGHUP, SIGINT and SIGTERM, whichever comes first.
pub(crate) fn when_asked_to_end() -> io::Result<Arc<AtomicUsize>> {
    let number = Arc::new(AtomicUsize::new(0));
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        signal_hook::flag::register_usize(signal, Arc::clone(&number), signal as usize)?;
    }
    Ok(number)
}

/// Returns the bytes that users without privileges can still write to the disk of a folder; statvfs(3).
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = statvfs(folder).ok()?;
    let bytes = u128::from(stat.blocks_available()) * u128::from(stat.fragment_size());
    Some(u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// Gives a file the owner of another, as far as this user may; fchown(2). Only root can give a file to another user.
pub(crate) fn give_owner(file: &File, of: &Metadata) {
    // A refusal leaves the file to this user, as most programs do that replace a file.
    let _ = fchown(file, Some(of.uid()), Some(of.gid()));
}

/// POLLHUP or POLLERR, which poll(2) tells whether asked for or not. It does not wait.
pub(crate) fn terminal_is_gone() -> bool {
    let output = io::stdout();
    let mut output = [PollFd::new(output.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    let told = poll(&mut output, PollTimeout::ZERO).ok();
    let told = told.and_then(|_| output[0].revents());
    told.is_some_and(|told| told.intersects(gone))
}

/// By the locale (locale(7)): the first of these variables that says anything decides.
pub(crate) fn is_utf8() -> bool {
    let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let mut variables = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
    let locale = variables.find_map(set).unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Maps a file over the page and takes the file's end away: a touch behind the end of a file is SIGBUS (mmap(2)).
pub(crate) fn plant_other_fault(region: &Region, page: usize) -> io::Result<()> {
    let (address, len) = super::plain::page_of(region, page)?;
    let file = nameless_file()?;
    // An empty file cannot be mapped everywhere: QEMU, for one, refuses when its pages are larger than the host's.
    file.set_len(len as u64)?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_FIXED;
    // SAFETY: MAP_FIXED replaces what is mapped at `address..address + len`: one page of the region, which belongs to
    // this program alone, and which Rust has no reference into: it is only reached through accessors. The region's own
    // handling of the page, mprotect and munmap, works on any mapping.
    let mapped = unsafe { libc::mmap(address.cast(), len, protection, flags, file.as_raw_fd(), 0) };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // The mapping keeps the file when the descriptor goes.
    file.set_len(0)
}

/// Creates a file without a name.
fn nameless_file() -> io::Result<File> {
    let path = env::temp_dir().join(format!("elbowroom-{}", process::id()));
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
