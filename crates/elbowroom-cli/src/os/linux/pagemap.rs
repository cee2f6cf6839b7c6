//! What each page is: /proc/PID/pagemap, by the PAGEMAP_SCAN request.

#![allow(unsafe_code, reason = "ioctl")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

// Categories of PAGEMAP_SCAN (include/uapi/linux/fs.h).
const PAGE_IS_PRESENT: u64 = 1 << 3;

/// struct pm_scan_arg (include/uapi/linux/fs.h).
#[repr(C)]
#[derive(Default)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// struct page_region (include/uapi/linux/fs.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// The runs of pages in `range` that are in one of these categories, in order, and where the kernel stopped.
fn scan_some(pagemap: &File, range: Range<u64>, categories: u64, runs: &mut [PageRegion]) -> Result<(usize, u64), i32> {
    // _IOWR('f', 16, struct pm_scan_arg)
    const PAGEMAP_SCAN: u64 = (3 << 30) | ((size_of::<ScanArg>() as u64) << 16) | ((b'f' as u64) << 8) | 16;
    let mut arg = ScanArg {
        size: size_of::<ScanArg>() as u64,
        start: range.start,
        end: range.end,
        vec: runs.as_mut_ptr().expose_provenance() as u64,
        vec_len: runs.len() as u64,
        category_anyof_mask: categories,
        return_mask: categories,
        ..ScanArg::default()
    };
    // SAFETY: the request takes a pointer to this structure, which says its own size; the kernel writes to it and to
    // at most `vec_len` entries of `vec`, which is live and writable, and whose provenance was exposed.
    let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN as _, &raw mut arg) };
    if found < 0 {
        return Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO));
    }
    Ok((found as usize, arg.walk_end))
}

/// Whether the kernel knows PAGEMAP_SCAN. `pagemap` is this process's.
pub(super) fn scan_is_known(pagemap: &File) -> Result<(), i32> {
    let here = [0u8; 1];
    let page = elbowroom::page_size() as u64;
    let start = here.as_ptr().addr() as u64 / page * page;
    let mut runs = [PageRegion::default(); 4];
    let (found, _) = scan_some(pagemap, start..start + page, PAGE_IS_PRESENT, &mut runs)?;
    // The page of this very variable has been written.
    if found == 1 && runs[0].start == start { Ok(()) } else { Err(libc::ENOSYS) }
}
