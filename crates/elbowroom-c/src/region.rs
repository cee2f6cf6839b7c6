//! Ranges of addresses that commit on touch.

#![allow(unsafe_code, reason = "follows handles of C, and exports functions")]

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::slice;

use room::{Backend, Fault, Growth, PageState, Region, Verdict};

use crate::budget::er_budget;
use crate::error::{Failure, er_code, er_error, null, text};
use crate::filter::{er_filter, er_verdict};
use crate::handle::{User, act, bytes, create, release};
use crate::options::{Options, read};

/// A region. Thread-safe, except for `er_region_release`.
///
/// If a limit or the filter refuses a touch through a pointer, the signal goes to the handler of SIGSEGV or SIGBUS that
/// was installed before the first region. That handler may leave by siglongjmp: the library does not wait for its
/// return. Install it with SA_ONSTACK, and use sigsetjmp(buffer, 1); docs/C.md has the rules. On Windows, the next
/// exception handler is asked.
pub struct er_region(Region);

/// The way in which pages are committed when they are touched. `ER_PROTECTION` is the default.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum er_backend {
    /// Reserved pages are inaccessible (mprotect, VirtualAlloc).
    ER_PROTECTION = 0,
    /// userfaultfd that raises SIGBUS (Linux). A region is one mapping, however scattered its committed pages are.
    ER_USERFAULT = 1,
    /// userfaultfd that the region's threads serve (Linux). System calls may touch reserved pages.
    ER_USERFAULT_MONITOR = 2,
    /// `ER_USERFAULT` if the system allows it, otherwise `ER_PROTECTION`.
    ER_AUTO = 3,
}

/// The region asks for no huge pages (Linux).
pub const ER_REGION_NO_HUGE_PAGES: u32 = 1;
/// A refused touch through a plain pointer writes no line to standard error.
pub const ER_REGION_QUIET: u32 = 2;
/// Core dumps leave out the committed pages (Linux).
pub const ER_REGION_NO_CORE_DUMPS: u32 = 4;

/// The options of a region. Set `size` to the size of the structure. Zero in any other member selects the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct er_region_options {
    /// The size of this structure in bytes.
    pub size: usize,
    /// The commit limit in bytes, rounded down to whole pages. 0 means the whole region.
    pub commit_limit: usize,
    /// The budget to charge, or null.
    pub budget: *const er_budget,
    /// The number of pages in the aligned window that a fault commits. 0 selects a window that adapts to the program's
    /// accesses.
    pub growth_pages: usize,
    /// The size of the largest adaptive window, in bytes. 0 means 2 MiB.
    pub growth_max_bytes: usize,
    /// An `er_backend`.
    pub backend: i32,
    /// Any of the `ER_REGION_` flags, combined by `|`.
    pub flags: u32,
    /// The filter. With null, every touch is committed.
    pub filter: er_filter,
    /// The pointer that is passed to the filter. It must stay valid as long as the region lives.
    pub user: *mut c_void,
    /// The number of threads that the region starts for its filter. With 0, the filter runs on the faulting thread.
    pub filter_threads: usize,
    /// A name for messages, or null. The library copies it.
    pub name: *const c_char,
}

// SAFETY: the type is `repr(C)`, begins with a `usize`, and consists of integers, pointers and an optional function.
unsafe impl Options for er_region_options {}

/// The memory and the faults of a region. Counts begin when the region is made.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct er_region_stats {
    /// The length of the region in bytes.
    pub reserved: usize,
    /// The number of bytes committed now.
    pub committed: usize,
    /// The commit limit in bytes.
    pub commit_limit: usize,
    /// The number of faults.
    pub faults: u64,
    /// The number of times that pages were committed.
    pub commits: u64,
    /// The number of faults that were refused.
    pub refused: u64,
}

/// A run of pages in the same state.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct er_span {
    /// The offset of the first byte from the base.
    pub offset: usize,
    /// The number of bytes.
    pub size: usize,
    /// 1 if the pages are committed, 0 if they are only reserved.
    pub committed: i32,
}

fn backend(number: i32) -> Result<Backend, Failure> {
    let all = [
        (er_backend::ER_PROTECTION, Backend::Protection),
        (er_backend::ER_USERFAULT, Backend::Userfault),
        (er_backend::ER_USERFAULT_MONITOR, Backend::UserfaultMonitor),
        (er_backend::ER_AUTO, Backend::Auto),
    ];
    let found = all.into_iter().find(|&(known, _)| known as i32 == number);
    found.map(|(_, backend)| backend).ok_or_else(|| {
        Failure::Argument(format!(
            "there is no backend {number}; take one of `er_backend`"
        ))
    })
}

/// Reserves `len` bytes, rounded up to whole pages, that commit on touch. The options may be null.
///
/// # Safety
/// `options` is null or valid, its budget null or living, and its name null or a string. `out` is valid, and `error`
/// null or valid. The filter keeps the rules of `er_filter`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_region_new(
    len: usize,
    options: *const er_region_options,
    out: *mut *mut er_region,
    error: *mut er_error,
) -> er_code {
    let make = || {
        // SAFETY: `options` is null or valid, and begins with its size (contract of this function).
        let options = unsafe { read(options) }?;
        let known = ER_REGION_NO_HUGE_PAGES | ER_REGION_QUIET | ER_REGION_NO_CORE_DUMPS;
        if options.flags & !known != 0 {
            let text = format!("there are no flags {:#x}", options.flags & !known);
            return Err(Failure::Argument(text));
        }
        let growth = match (options.growth_pages, options.growth_max_bytes) {
            (0, 0) => Growth::default(),
            (0, max_bytes) => Growth::Adaptive { max_bytes },
            (pages, 0) => Growth::Pages(pages),
            _ => {
                let text = "`growth_pages` and `growth_max_bytes` exclude each other; set one of them to 0";
                return Err(Failure::Argument(text.into()));
            }
        };
        let mut builder = Region::builder(len)
            .growth(growth)
            .backend(backend(options.backend)?)
            .huge_pages(options.flags & ER_REGION_NO_HUGE_PAGES == 0)
            .report_refusals(options.flags & ER_REGION_QUIET == 0)
            .filter_threads(options.filter_threads)
            // SAFETY: the name is null or a string (contract of this function).
            .name(unsafe { text(options.name, "name") }?);
        if options.flags & ER_REGION_NO_CORE_DUMPS != 0 {
            builder = builder.core_dumps(false);
        }
        if options.commit_limit > 0 {
            builder = builder.commit_limit(options.commit_limit);
        }
        // SAFETY: the budget is null or living (contract of this function).
        if let Some(budget) = unsafe { options.budget.as_ref() } {
            builder = builder.budget(&budget.0);
        }
        if let Some(filter) = options.filter {
            let user = User(options.user);
            builder = builder.filter(move |fault| {
                let fault: *const Fault<'_> = fault;
                // SAFETY: the program passed a function of this type (contract of `er_region_new`). The fault is valid
                // until the function returns, the pointer is the one that the program passed with it, and the function
                // does not unwind (`er_filter`).
                let verdict = unsafe { filter(fault.cast(), user.get()) };
                if verdict == er_verdict::ER_COMMIT as i32 {
                    Verdict::Commit
                } else {
                    Verdict::Decline
                }
            });
        }
        Ok(er_region(builder.build()?))
    };
    // SAFETY: `out` is null or valid for writing, and `error` is null or valid (contract of this function).
    unsafe { create(out, error, make) }
}

/// Gives everything back to the system. The handle is invalid afterwards, even on a failure. In the region's own
/// filter, this fails, and the pages stay until the process ends. Ignores null.
///
/// # Safety
/// `region` is null or a living region that no thread uses afterwards. `error` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_region_release(
    region: *mut er_region,
    error: *mut er_error,
) -> er_code {
    // SAFETY: `region` is null or a living region that nothing uses afterwards, and `error` is null or valid (contract
    // of this function).
    unsafe { release(region, error, |region| region.0.release()) }
}

/// Returns the address of the first byte; null for null.
///
/// # Safety
/// `region` is null or a living region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_region_base(region: *const er_region) -> *mut c_void {
    // SAFETY: `region` is null or a living region (contract of this function).
    let region = unsafe { region.as_ref() };
    region.map_or(std::ptr::null_mut(), |region| region.0.as_ptr().cast())
}

/// Returns the length in bytes; 0 for null.
///
/// # Safety
/// `region` is null or a living region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_region_len(region: *const er_region) -> usize {
    // SAFETY: `region` is null or a living region (contract of this function).
    unsafe { region.as_ref() }.map_or(0, |region| region.0.len())
}

/// Commits the pages of a range, within the limits, without asking the filter.
///
/// # Safety
/// `region` is null or a living region, `error` null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_region_commit(
    region: *const er_region,
    offset: usize,
    size: usize,
    error: *mut er_error,
) -> er_code {
    let commit = |er_region(region): &er_region| Ok(region.commit(bytes(offset, size))?);
    // SAFETY: `region` is null or a living region, and `error` is null or valid (contract of this function).
    unsafe { act(region, "region", error, commit) }
}

/// Decommits the pages of a range. Their contents are lost.
///
/// # Safety
/// `region` is null or a living region, `error` null or valid. No other thread is using the pages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_region_decommit(
    region: *const er_region,
    offset: usize,
    size: usize,
    error: *mut er_error,
) -> er_code {
    let decommit = |er_region(region): &er_region| Ok(region.decommit(bytes(offset, size))?);
    // SAFETY: `region` is null or a living region, and `error` is null or valid (contract of this function).
    unsafe { act(region, "region", error, decommit) }
}

/// Writes `size` bytes from `from` into the region. A refused touch is an error. The bytes before the error's `offset`
/// were written, and none after it.
///
/// # Safety
/// `region` is null or a living region, `from` valid for reading `size` bytes, none of which is in the region; `error`
/// is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_region_write(
    region: *const er_region,
    offset: usize,
    from: *const c_void,
    size: usize,
    error: *mut er_error,
) -> er_code {
    let write = |er_region(region): &er_region| {
        if size == 0 {
            return Ok(());
        }
        if from.is_null() {
            return Err(null("from"));
        }
        // SAFETY: `from` is not null, and is valid for reading `size` bytes (contract of this function), so they are at
        // most `isize::MAX`. Nothing writes them while this function runs.
        let given = unsafe { slice::from_raw_parts(from.cast(), size) };
        Ok(region.try_copy_from_slice(offset, given)?)
    };
    // SAFETY: `region` is null or a living region, and `error` is null or valid (contract of this function).
    unsafe { act(region, "region", error, write) }
}

/// Reads `size` bytes of the region into `to`. A refused touch is an error. The bytes before the error's `offset` were
/// read, and the rest of `to` is unchanged.
///
/// # Safety
/// `region` is null or a living region, `to` valid for writing `size` bytes, none of which is in the region; `error` is
/// null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_region_read(
    region: *const er_region,
    offset: usize,
    to: *mut c_void,
    size: usize,
    error: *mut er_error,
) -> er_code {
    let read = |er_region(region): &er_region| {
        if size == 0 {
            return Ok(());
        }
        if to.is_null() {
            return Err(null("to"));
        }
        // SAFETY: `to` is not null, and is valid for writing `size` bytes (contract of this function), which need not
        // be initialised as `MaybeUninit`. Nothing else uses them while this function runs.
        let given = unsafe { slice::from_raw_parts_mut(to.cast::<MaybeUninit<u8>>(), size) };
        region.try_copy_to_uninit(offset, given)?;
        Ok(())
    };
    // SAFETY: `region` is null or a living region, and `error` is null or valid (contract of this function).
    unsafe { act(region, "region", error, read) }
}

/// Sets `size` bytes of the region to `byte`. A refused touch is an error.
///
/// # Safety
/// `region` is null or a living region, `error` null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_region_fill(
    region: *const er_region,
    offset: usize,
    size: usize,
    byte: u8,
    error: *mut er_error,
) -> er_code {
    let fill = |er_region(region): &er_region| Ok(region.try_fill(bytes(offset, size), byte)?);
    // SAFETY: `region` is null or a living region, and `error` is null or valid (contract of this function).
    unsafe { act(region, "region", error, fill) }
}

/// Returns the memory and the faults of the region; zeros for null.
///
/// # Safety
/// `region` is null or a living region.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_region_get_stats(region: *const er_region) -> er_region_stats {
    // SAFETY: `region` is null or a living region (contract of this function).
    let Some(er_region(region)) = (unsafe { region.as_ref() }) else {
        return er_region_stats::default();
    };
    let stats = region.stats();
    er_region_stats {
        reserved: stats.reserved_bytes,
        committed: stats.committed_bytes,
        commit_limit: stats.commit_limit_bytes,
        faults: stats.faults,
        commits: stats.commits,
        refused: stats.refused,
    }
}

/// Writes the first `capacity` runs of pages in the same state to `spans`, and returns the number of all runs.
///
/// # Safety
/// `region` is null or a living region; `spans` is valid for writing `capacity` elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn er_region_get_spans(
    region: *const er_region,
    spans: *mut er_span,
    capacity: usize,
) -> usize {
    // SAFETY: `region` is null or a living region (contract of this function).
    let Some(er_region(region)) = (unsafe { region.as_ref() }) else {
        return 0;
    };
    let found = region.spans();
    let fits = if spans.is_null() {
        0
    } else {
        capacity.min(found.len())
    };
    if fits > 0 {
        // SAFETY: `spans` is not null, and is valid for writing `capacity` elements (contract of this function), of
        // which these are the first. A `MaybeUninit` may be uninitialised.
        let places =
            unsafe { slice::from_raw_parts_mut(spans.cast::<MaybeUninit<er_span>>(), fits) };
        for (place, span) in places.iter_mut().zip(&found) {
            place.write(er_span {
                offset: span.range.start,
                size: span.range.len(),
                committed: i32::from(span.state == PageState::Committed),
            });
        }
    }
    found.len()
}
