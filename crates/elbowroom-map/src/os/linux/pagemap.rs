//! The states of pages: /proc/PID/pagemap, read by PAGEMAP_SCAN if the kernel has this request, else entry by entry.

#![allow(unsafe_code, reason = "ioctl")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The flags of a page that has contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PageFlags {
    pub(super) is_present: bool,
    pub(super) is_swapped: bool,
    /// Whether it is part of a huge page; false if the kernel does not report it.
    pub(super) is_huge: bool,
    /// Whether it is a guard page (MADV_GUARD_INSTALL); false if the kernel does not report it.
    pub(super) is_guard: bool,
}

// Categories of PAGEMAP_SCAN (include/uapi/linux/fs.h).
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_HUGE: u64 = 1 << 6;
/// Since 6.15; a kernel that does not know it refuses the request.
const PAGE_IS_GUARD: u64 = 1 << 8;

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

/// The number of runs that one request returns.
const RUNS: usize = 512;

/// Finds the runs of pages in `range` that are in one of these categories, in order. Returns their number and the
/// address at which the kernel stopped.
fn scan_some(
    pagemap: &File,
    range: Range<u64>,
    categories: u64,
    runs: &mut [PageRegion],
) -> Result<(usize, u64), i32> {
    // _IOWR('f', 16, struct pm_scan_arg)
    const PAGEMAP_SCAN: u64 =
        (3 << 30) | ((size_of::<ScanArg>() as u64) << 16) | ((b'f' as u64) << 8) | 16;
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
    // SAFETY: the request takes a pointer to this structure, which contains its own size. The kernel writes to the
    // structure and to at most `vec_len` entries of `vec`, which is live and writable, and whose provenance was
    // exposed.
    let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN as _, &raw mut arg) };
    if found < 0 {
        return Err(io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO));
    }
    Ok((found as usize, arg.walk_end))
}

/// The pagemap of a process.
pub(super) struct Pagemap {
    file: File,
    page_size_bytes: u64,
    // The categories to request from PAGEMAP_SCAN; `None` if the kernel lacks the request.
    categories: Option<u64>,
}

impl Pagemap {
    /// Opens the pagemap in this folder of /proc.
    ///
    /// # Errors
    /// Fails if the process is gone, or if this program may not read it.
    pub(super) fn open(folder: &Path, page_size_bytes: u64) -> io::Result<Pagemap> {
        let file = File::open(folder.join("pagemap"))?;
        let all = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_HUGE;
        let knows = |&categories: &u64| {
            // The answer is not used; only whether the kernel knows the request.
            scan_some(
                &file,
                0..page_size_bytes,
                categories,
                &mut [PageRegion::default(); 1],
            )
            .is_ok()
        };
        let categories = [all | PAGE_IS_GUARD, all].into_iter().find(knows);
        Ok(Pagemap {
            file,
            page_size_bytes,
            categories,
        })
    }

    /// Calls `tell` for each run of pages in `range` that have contents, in order.
    ///
    /// # Errors
    /// Fails if the process has ended.
    pub(super) fn runs(
        &self,
        range: Range<u64>,
        tell: &mut impl FnMut(Range<u64>, PageFlags),
    ) -> io::Result<()> {
        match self.categories {
            Some(categories) => self.scan(range, categories, tell),
            None => self.read(range, tell),
        }
    }

    fn scan(
        &self,
        range: Range<u64>,
        categories: u64,
        tell: &mut impl FnMut(Range<u64>, PageFlags),
    ) -> io::Result<()> {
        let mut runs = [PageRegion::default(); RUNS];
        let mut at = range.start;
        while at < range.end {
            let (found, stopped) = scan_some(&self.file, at..range.end, categories, &mut runs)
                .map_err(io::Error::from_raw_os_error)?;
            for run in &runs[..found] {
                let is = |category| run.categories & category != 0;
                let flags = PageFlags {
                    is_present: is(PAGE_IS_PRESENT),
                    is_swapped: is(PAGE_IS_SWAPPED) && !is(PAGE_IS_GUARD),
                    is_huge: is(PAGE_IS_HUGE),
                    is_guard: is(PAGE_IS_GUARD),
                };
                tell(run.start..run.end, flags);
            }
            // The loop ends even if the kernel does not advance.
            at = stopped.max(at + self.page_size_bytes);
        }
        Ok(())
    }

    /// Reads the entries: one word per page (Documentation/admin-guide/mm/pagemap.rst).
    fn read(
        &self,
        range: Range<u64>,
        tell: &mut impl FnMut(Range<u64>, PageFlags),
    ) -> io::Result<()> {
        let page = self.page_size_bytes;
        let mut bytes = vec![0; 8 * RUNS];
        let mut at = range.start;
        while at < range.end {
            let pages = ((range.end - at) / page).min(RUNS as u64);
            let wanted = &mut bytes[..8 * pages as usize];
            let read = self.file.read_at(wanted, at / page * 8)?;
            if read < 8 {
                // The process has ended.
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            for entry in wanted[..read].chunks_exact(8) {
                // PANIC: chunks of 8 bytes.
                let flags = entry_flags(u64::from_ne_bytes(entry.try_into().expect("8 bytes")));
                if flags != PageFlags::default() {
                    tell(at..at + page, flags);
                }
                at += page;
            }
        }
        Ok(())
    }
}

fn entry_flags(entry: u64) -> PageFlags {
    let is_guard = entry & (1 << 58) != 0;
    PageFlags {
        is_present: entry & (1 << 63) != 0,
        is_swapped: entry & (1 << 62) != 0 && !is_guard,
        is_huge: false,
        is_guard,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways of reading agree, if the kernel has both.
    #[test]
    fn scanning_and_reading_agree() {
        let page = elbowroom::page_size();
        let region = elbowroom::Region::builder(64 * page)
            .growth(elbowroom::Growth::Pages(1))
            .build()
            .unwrap();
        region.commit(0..64 * page).unwrap();
        for touched in [3, 4, 5, 40, 63] {
            region.try_write(touched * page, 1u8).unwrap();
        }
        let start = region.as_ptr().addr() as u64;
        // An emulator shows the host's pages.
        let Ok(mut pagemap) = Pagemap::open(Path::new("/proc/self"), page as u64) else {
            return;
        };
        if std::env::var("ELBOWROOM_TEST_RUNNER").is_ok_and(|runner| !runner.trim().is_empty()) {
            return;
        }
        let present = |pagemap: &Pagemap| {
            let mut pages = Vec::new();
            let mut tell = |range: Range<u64>, flags: PageFlags| {
                assert!(!flags.is_swapped && !flags.is_guard);
                pages.extend(
                    (range.start..range.end)
                        .step_by(page)
                        .filter(|_| flags.is_present),
                );
            };
            pagemap
                .runs(start..start + 64 * page as u64, &mut tell)
                .unwrap();
            pages
                .iter()
                .map(|at| (at - start) / page as u64)
                .collect::<Vec<_>>()
        };
        let by_default = present(&pagemap);
        pagemap.categories = None;
        assert_eq!(by_default, present(&pagemap));
        assert_eq!(by_default, [3, 4, 5, 40, 63]);
    }

    #[test]
    fn entries_are_read_by_their_bits() {
        assert_eq!(entry_flags(0), PageFlags::default());
        assert!(entry_flags(1 << 63).is_present && entry_flags(1 << 62).is_swapped);
        let guard = entry_flags(1 << 58 | 1 << 62);
        assert!(guard.is_guard && !guard.is_swapped && !guard.is_present);
    }
}
