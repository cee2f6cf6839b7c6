//! The baseline for pages that are filled when they are touched: a thread that reads a userfaultfd and copies.

#![allow(unsafe_code, reason = "system calls")]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::ptr;
use std::thread::{self, JoinHandle};

// Definitions of include/uapi/linux/userfaultfd.h that the crate `libc` lacks.
const USER_MODE_ONLY: i32 = 1;
const API_VERSION: u64 = 0xaa;
const REGISTER_MISSING: u64 = 1;
const EVENT_PAGEFAULT: u64 = 0x12;
/// The numbers of a message: the event, the flags, the address, the thread.
const MESSAGE_WORDS: usize = 4;

/// Returns the number of a request: `_IOWR(0xAA, number, size)`, for structures of 64-bit numbers.
const fn request(number: u64, words: u64) -> u64 {
    (3 << 30) | ((words * 8) << 16) | (0xaa << 8) | number
}

/// Memory with these contents, of which a thread fills one block at a touch.
pub(crate) struct BareUserfault {
    // Invariant: the start of a mapping of `len` bytes that only this value owns. Each block is filled at a touch.
    base: *mut u8,
    len: usize,
    block: usize,
    thread: Option<JoinHandle<()>>,
}

impl BareUserfault {
    /// Makes memory with these contents. Their length is a multiple of `block`, and that of the page size.
    pub(crate) fn new(contents: Vec<u8>, block: usize) -> Result<BareUserfault, String> {
        let fault = |call: &str| format!("{call}: {}", io::Error::last_os_error());
        let fd = open().ok_or_else(|| fault("userfaultfd"))?;
        let mut api = [API_VERSION, 0, 0];
        control(&fd, request(0x3f, 3), &mut api).map_err(|error| format!("UFFDIO_API: {error}"))?;
        let len = contents.len();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses replaces no existing memory (mmap(2)).
        let base = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(fault("mmap"));
        }
        // Its drop unmaps. Without a thread, it touches nothing.
        let mut memory = BareUserfault {
            base: base.cast(),
            len,
            block,
            thread: None,
        };
        let mut register = [base.addr() as u64, len as u64, REGISTER_MISSING, 0];
        control(&fd, request(0x00, 4), &mut register)
            .map_err(|error| format!("UFFDIO_REGISTER: {error}"))?;
        let base = base.addr();
        memory.thread = Some(thread::spawn(move || serve(fd, base, &contents, block)));
        Ok(memory)
    }

    pub(crate) fn base(&self) -> *const u8 {
        self.base
    }
}

impl Drop for BareUserfault {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // The thread ends when it has filled all blocks.
            for offset in (0..self.len).step_by(self.block) {
                // SAFETY: a byte of the mapping, which is readable; the thread fills its block if it is missing.
                unsafe { self.base.wrapping_add(offset).read_volatile() };
            }
            let _ = thread.join();
        }
        // SAFETY: the mapping belongs to this value alone, and no pointer into it is used after the drop of its owner.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// Fills each block once.
fn serve(mut fd: File, base: usize, contents: &[u8], block: usize) {
    let mut buffer = vec![0_u8; block];
    let mut message = [0_u64; MESSAGE_WORDS];
    for _ in 0..contents.len() / block {
        let filled = (|| {
            fd.read_exact(bytemuck::cast_slice_mut(&mut message))?;
            if message[0] & 0xff != EVENT_PAGEFAULT {
                return Err(io::Error::other("an event that was not asked for"));
            }
            let offset = (message[2] as usize - base) / block * block;
            // What a read from a store does.
            buffer.copy_from_slice(&contents[offset..offset + block]);
            let from = buffer.as_ptr().addr() as u64;
            let mut copy = [(base + offset) as u64, from, block as u64, 0, 0];
            control(&fd, request(0x03, 5), &mut copy)
        })();
        if let Err(error) = filled {
            // The thread that touches waits for ever.
            eprintln!("UFFDIO_COPY: {error}");
            std::process::exit(1);
        }
    }
}

/// Opens a userfaultfd, whose reads wait for an event. The kernel may allow it only for touches by the program itself.
fn open() -> Option<File> {
    [0, USER_MODE_ONLY].into_iter().find_map(|flags| {
        // SAFETY: no preconditions (userfaultfd(2)).
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | flags) };
        let fd = RawFd::try_from(fd).ok().filter(|&fd| fd >= 0)?;
        // SAFETY: the descriptor was opened just now and belongs to no other object.
        Some(unsafe { File::from_raw_fd(fd) })
    })
}

/// Makes a request, whose structure consists of these numbers.
fn control<const WORDS: usize>(
    fd: &File,
    request: u64,
    numbers: &mut [u64; WORDS],
) -> io::Result<()> {
    // SAFETY: the requests of this file take structures of as many 64-bit numbers as these (their size is part of the
    // request). UFFDIO_API and UFFDIO_REGISTER change no memory. UFFDIO_COPY fills missing pages of the mapping that
    // `BareUserfault` owns, which has no references, from a buffer that lives until the call returns.
    match unsafe { libc::ioctl(fd.as_raw_fd(), request as _, numbers.as_mut_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_has_its_contents() {
        let page = elbowroom::page_size();
        let contents: Vec<u8> = (0..8 * page).map(|byte| (byte / 7) as u8).collect();
        for block in [page, 4 * page] {
            let memory = match BareUserfault::new(contents.clone(), block) {
                Ok(memory) => memory,
                Err(why) => return println!("skipped: {why}"),
            };
            // From the end, and not all of it: the drop touches the rest.
            for offset in (page..8 * page).rev().step_by(page / 2) {
                // SAFETY: a byte of the memory, which is as long as the contents.
                let byte = unsafe { memory.base().wrapping_add(offset).read_volatile() };
                assert_eq!(byte, contents[offset], "{block}: {offset}");
            }
        }
    }
}
