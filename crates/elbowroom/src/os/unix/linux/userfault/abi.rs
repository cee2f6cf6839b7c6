//! Definitions of include/uapi/linux/userfaultfd.h that the crate `libc` lacks.

use crate::os::pages::Pages;

pub(super) const USER_MODE_ONLY: i32 = 1;
/// The version for `struct uffdio_api`.
pub(super) const API_VERSION: u64 = 0xaa;
pub(super) const FEATURE_SIGBUS: u64 = 1 << 7;
pub(super) const FEATURE_THREAD_ID: u64 = 1 << 8;
pub(super) const FEATURE_EXACT_ADDRESS: u64 = 1 << 11;
pub(super) const REGISTER_MISSING: u64 = 1;

/// UFFDIO_COPY_MODE_DONTWAKE, UFFDIO_ZEROPAGE_MODE_DONTWAKE
pub(super) const DONT_WAKE: u64 = 1;
pub(super) const EVENT_PAGEFAULT: u8 = 0x12;
pub(super) const PAGEFAULT_WRITE: u64 = 1;

/// Returns the number of a request: `_IOWR(0xAA, number, size)`.
const fn both_ways(number: u64, size: usize) -> u64 {
    (3 << 30) | ((size as u64) << 16) | (0xaa << 8) | number
}
pub(super) const API: u64 = both_ways(0x3f, size_of::<Api>());
pub(super) const REGISTER: u64 = both_ways(0x00, size_of::<Register>());
/// `_IOR(0xAA, 2, struct uffdio_range)`
pub(super) const WAKE: u64 = (2 << 30) | ((size_of::<Range>() as u64) << 16) | (0xaa << 8) | 2;
pub(super) const COPY: u64 = both_ways(0x03, size_of::<Copy>());
pub(super) const ZEROPAGE: u64 = both_ways(0x04, size_of::<ZeroPage>());

/// `_IO(0xAA, 0)`, of /dev/userfaultfd.
pub(super) const NEW: u64 = 0xaa << 8;

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

impl Range {
    /// Returns the range of these pages.
    pub(super) fn of(pages: Pages<'_>) -> Range {
        Range::from(pages, 0)
    }

    /// Returns the range of these pages without the first `done` bytes.
    pub(super) fn from(pages: Pages<'_>, done: usize) -> Range {
        Range {
            start: (pages.start().addr() + done) as u64,
            len: (pages.len() - done) as u64,
        }
    }
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

/// `struct uffd_msg`, as a page fault fills it.
#[repr(C)]
#[derive(Default)]
pub(super) struct Message {
    pub(super) event: u8,
    pub(super) reserved: [u8; 7],
    pub(super) flags: u64,
    pub(super) address: u64,
    pub(super) thread: u32,
    pub(super) padding: u32,
}
