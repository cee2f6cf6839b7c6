//! Windows: VirtualAlloc and its family, and a vectored exception handler.

#![allow(unsafe_code, reason = "Win32 is a C interface")]

use std::ffi::c_void;
use std::mem::size_of;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;

use windows_sys::Win32::Foundation::{
    ERROR_COMMITMENT_LIMIT, ERROR_INVALID_ADDRESS, ERROR_NOT_ENOUGH_MEMORY, ERROR_OUTOFMEMORY,
    EXCEPTION_ACCESS_VIOLATION,
};
use windows_sys::Win32::Storage::FileSystem::WriteFile;
use windows_sys::Win32::System::Console::{GetStdHandle, STD_ERROR_HANDLE};
use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_DECOMMIT, MEM_RELEASE, MEM_RESERVE, MEMORY_BASIC_INFORMATION, PAGE_EXECUTE,
    PAGE_EXECUTE_READ, PAGE_EXECUTE_READWRITE, PAGE_EXECUTE_WRITECOPY, PAGE_GUARD, PAGE_NOACCESS,
    PAGE_READONLY, PAGE_READWRITE, PAGE_WRITECOPY, VirtualAlloc, VirtualFree, VirtualProtect,
    VirtualQuery,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentThreadId, INFINITE, WaitOnAddress, WakeByAddressSingle,
};

use self::error::last_error;
use super::pages::Pages;
use crate::plain::{Access, FaultAccess, FaultCode, OsCode, Placement};

mod error;
pub(crate) mod handler;
pub(super) mod image;
mod limits;
mod retry;
mod size;
pub(super) mod thread;
mod touch;
mod trap;

pub(crate) use limits::limits;
pub(crate) use size::{address_space, addresses_left, granularity, huge_page_size, page_size};
pub(crate) use thread::thread_token;
pub(crate) use trap::Trap;

pub(crate) fn is_out_of_memory(code: OsCode) -> bool {
    matches!(
        code.0 as u32,
        ERROR_NOT_ENOUGH_MEMORY | ERROR_OUTOFMEMORY | ERROR_COMMITMENT_LIMIT
    )
}

pub(crate) fn is_address_in_use(code: OsCode) -> bool {
    code.0 as u32 == ERROR_INVALID_ADDRESS
}

pub(crate) fn is_unsupported(_code: OsCode) -> bool {
    false
}

/// Returns the system's number of the calling thread.
pub(crate) fn thread_number() -> u64 {
    // SAFETY: GetCurrentThreadId has no preconditions.
    (unsafe { GetCurrentThreadId() }).into()
}

/// Returns nothing: Windows has no signals.
pub(crate) fn threads_that_block_faults() -> Vec<u64> {
    Vec::new()
}

pub(crate) fn alternate_stack_bytes() -> Option<usize> {
    None
}

/// Does nothing: Windows has no such setting.
pub(crate) fn set_in_core_dumps(_pages: Pages<'_>, _in_dumps: bool) {}

pub(crate) fn is_out_of_mappings() -> bool {
    false
}

/// Returns advice to a person after `code`.
pub(crate) fn advice(code: OsCode) -> Option<&'static str> {
    match code.0 as u32 {
        ERROR_COMMITMENT_LIMIT => {
            Some("the system's commit limit is reached; commit less, or enlarge the paging file")
        }
        ERROR_NOT_ENOUGH_MEMORY | ERROR_OUTOFMEMORY => {
            Some("memory or address space ran out; ask for less")
        }
        ERROR_INVALID_ADDRESS => Some(
            "those addresses are taken or out of bounds; choose another, or let the system choose",
        ),
        _ => None,
    }
}

/// Returns the code of a touch of an uncommitted page.
pub(crate) fn fault_code(_is_missing: bool) -> FaultCode {
    FaultCode::Exception(EXCEPTION_ACCESS_VIOLATION as u32)
}

/// Returns advice to a person after `code` refused a reservation.
pub(crate) fn reserve_advice(code: OsCode) -> Option<&'static str> {
    advice(code)
}

/// Returns advice to a person after `code` refused a thread.
pub(crate) fn thread_advice(code: OsCode) -> Option<&'static str> {
    advice(code)
}

/// Reserves at `address`, or anywhere if that is 0.
fn reserve_at(address: usize, len: usize) -> Result<NonNull<u8>, OsCode> {
    let hint = ptr::without_provenance::<c_void>(address);
    // SAFETY: MEM_RESERVE takes free address space or fails; it never changes address space in use.
    let base = unsafe { VirtualAlloc(hint, len, MEM_RESERVE, PAGE_NOACCESS) };
    NonNull::new(base.cast()).ok_or_else(last_error)
}

pub(crate) fn reserve(
    len: usize,
    align: usize,
    placement: Placement,
) -> Result<NonNull<u8>, OsCode> {
    match placement {
        Placement::Exactly(address) => reserve_at(address, len),
        // VirtualAlloc rounds the address down to the granularity, so only an aligned address stays aligned.
        Placement::Near(address) => match reserve_at(address - address % align, len) {
            Ok(base) => Ok(base),
            Err(_) => reserve_aligned(len, align),
        },
        Placement::Anywhere => reserve_aligned(len, align),
    }
}

/// Reserves at a multiple of `align`. Windows cannot give back the ends of a reservation. So this reserves enough to
/// hold an aligned part, gives it all back, and reserves that part by its address. Another thread may take the part in
/// between, so there are several tries.
fn reserve_aligned(len: usize, align: usize) -> Result<NonNull<u8>, OsCode> {
    const TRIES: usize = 64;

    let wide = len
        .checked_add(align)
        .ok_or(OsCode(ERROR_NOT_ENOUGH_MEMORY as i32))?;
    let mut error = OsCode(ERROR_INVALID_ADDRESS as i32);
    for attempt in 0..TRIES {
        let base = reserve_at(0, if attempt == 0 { len } else { wide })?;
        if base.as_ptr().addr() % align == 0 {
            // The reservation may be `align` bytes longer than requested. The rest is only reserved, and released with
            // it.
            return Ok(base);
        }
        let aligned = base.as_ptr().addr().next_multiple_of(align);
        // SAFETY: the reservation was just made here, and its address was not passed on.
        unsafe { release(base, len) }?;
        if attempt == 0 {
            continue;
        }
        match reserve_at(aligned, len) {
            Ok(base) => return Ok(base),
            Err(taken) => error = taken,
        }
    }
    Err(error)
}

pub(crate) fn commit(pages: Pages<'_>) -> Result<(), OsCode> {
    retry::until_it_works(|| {
        refusable!(CommitAttempt);
        // SAFETY: whole pages of a live reservation (`Pages`). Committed pages keep their contents, and all of them can
        // be read and written afterwards (VirtualAlloc, MEM_COMMIT).
        let result =
            unsafe { VirtualAlloc(pages.start(), pages.len(), MEM_COMMIT, PAGE_READWRITE) };
        if result.is_null() {
            Err(last_error())
        } else {
            Ok(())
        }
    })
}

/// # Safety
/// See [`os::decommit`](super::decommit).
pub(crate) unsafe fn decommit(pages: Pages<'_>) -> Result<(), OsCode> {
    // SAFETY: whole pages of a live reservation (`Pages`), and no reference points into them (contract). MEM_DECOMMIT
    // skips reserved pages.
    let result = unsafe { VirtualFree(pages.start(), pages.len(), MEM_DECOMMIT) };
    if result == 0 {
        Err(last_error())
    } else {
        Ok(())
    }
}

/// Decommits. VirtualAlloc commits all of a range or nothing, and there is no advice to keep.
///
/// # Safety
/// See [`os::uncommit`](super::uncommit).
pub(crate) unsafe fn uncommit(pages: Pages<'_>) -> Result<(), OsCode> {
    // SAFETY: no reference points into the pages (contract).
    unsafe { decommit(pages) }
}

/// # Safety
/// See [`os::protect`](super::protect).
pub(crate) unsafe fn protect(pages: Pages<'_>, access: Access) -> Result<(), OsCode> {
    let bits = match access {
        Access::None => PAGE_NOACCESS,
        Access::Read => PAGE_READONLY,
        Access::ReadWrite => PAGE_READWRITE,
        Access::ReadExecute => PAGE_EXECUTE_READ,
    };
    let mut before = 0;
    // SAFETY: whole committed pages of a live reservation (`Pages`, contract), and the new access invalidates no
    // reference into them (contract).
    let result = unsafe { VirtualProtect(pages.start(), pages.len(), bits, &mut before) };
    if result == 0 {
        Err(last_error())
    } else {
        Ok(())
    }
}

/// Touches the pages. A single page is left to the program's own touch, which costs the same.
///
/// # Safety
/// See [`os::populate`](super::populate).
pub(crate) unsafe fn populate(pages: Pages<'_>) {
    let page = page_size();
    if pages.len() > page {
        let start = pages.start().cast::<u8>();
        // SAFETY: whole pages of a live reservation (`Pages`), more than one. If they may be other than readable and
        // writable, the handler is installed (contract).
        unsafe { touch::touch(start, start.wrapping_add(pages.len()), page) };
    }
}

/// Does nothing: large pages must be reserved and committed in one step, by a process with a special privilege
/// (VirtualAlloc, MEM_LARGE_PAGES).
pub(crate) fn advise_huge(_pages: Pages<'_>) {}

/// Does nothing, because access is not kept.
pub(crate) fn refuse_huge(_pages: Pages<'_>) {}

/// Committed pages are charged, with and without memory.
pub(crate) fn may_keep_access(_pages: Pages<'_>) -> bool {
    false
}

/// # Safety
/// See [`os::discard`](crate::os::discard). None: it does nothing.
pub(crate) unsafe fn discard(_pages: Pages<'_>) -> Result<(), OsCode> {
    Err(OsCode::UNSUPPORTED)
}

/// # Safety
/// See [`os::release`](super::release).
pub(crate) unsafe fn release(base: NonNull<u8>, _len: usize) -> Result<(), OsCode> {
    // SAFETY: the base is that of a whole reservation, as VirtualAlloc returned it, and nothing uses it any more
    // (contract); MEM_RELEASE requires a length of 0.
    let result = unsafe { VirtualFree(base.as_ptr().cast(), 0, MEM_RELEASE) };
    if result == 0 {
        Err(last_error())
    } else {
        Ok(())
    }
}

/// Returns whether the program can make this access at `address` without a fault.
pub(crate) fn allows(address: usize, access: FaultAccess) -> Option<bool> {
    let mut info = MEMORY_BASIC_INFORMATION::default();
    let size = size_of::<MEMORY_BASIC_INFORMATION>();
    // SAFETY: any address may be queried; the structure is writable, and `size` is its size.
    let written = unsafe { VirtualQuery(ptr::without_provenance(address), &mut info, size) };
    if written == 0 {
        return None;
    }
    // A guard page raises its exception at the first touch, whatever its access is.
    if info.State != MEM_COMMIT || info.Protect & PAGE_GUARD != 0 {
        return Some(false);
    }
    let bits = info.Protect & 0xff;
    let executable = [
        PAGE_EXECUTE,
        PAGE_EXECUTE_READ,
        PAGE_EXECUTE_READWRITE,
        PAGE_EXECUTE_WRITECOPY,
    ]
    .contains(&bits);
    let writable = [
        PAGE_READWRITE,
        PAGE_WRITECOPY,
        PAGE_EXECUTE_READWRITE,
        PAGE_EXECUTE_WRITECOPY,
    ]
    .contains(&bits);
    Some(match access {
        FaultAccess::Read => writable || bits == PAGE_READONLY || bits == PAGE_EXECUTE_READ,
        FaultAccess::Write => writable,
        FaultAccess::Execute => executable,
    })
}

/// Does nothing: Windows has no names for private memory.
pub(crate) fn name(_pages: Pages<'_>, _name: &str) {}

/// Does nothing: Windows processes do not fork.
pub(crate) fn at_fork(
    _before: extern "C" fn(),
    _in_parent: extern "C" fn(),
    _in_child: extern "C" fn(),
) {
}

/// Sleeps while `word` is `expected`. May wake early.
pub(crate) fn wait(word: &AtomicU32, expected: u32) {
    let size = size_of::<u32>();
    // SAFETY: both pointers are to live u32s, as `size` says, and the wait ends before their lives do.
    unsafe {
        WaitOnAddress(
            word.as_ptr().cast(),
            (&raw const expected).cast(),
            size,
            INFINITE,
        )
    };
}

/// Wakes one thread that sleeps in [`wait`] on `word`.
pub(crate) fn wake_one(word: *const AtomicU32) {
    // SAFETY: the address is only used as a key, and not read.
    unsafe { WakeByAddressSingle(word.cast()) };
}

/// Writes to standard error as much as the system accepts.
pub(crate) fn write_stderr(bytes: &[u8]) {
    // SAFETY: GetStdHandle has no preconditions. A process without standard error gets null, which WriteFile refuses.
    let handle = unsafe { GetStdHandle(STD_ERROR_HANDLE) };
    let mut written = 0;
    // SAFETY: the pointer and length are those of a live slice. A handle that was not opened for overlapped use needs
    // no overlapped structure.
    unsafe {
        WriteFile(
            handle,
            bytes.as_ptr(),
            bytes.len() as u32,
            &mut written,
            ptr::null_mut(),
        )
    };
}

/// Empty: Windows never interrupts a thread to run code on it.
pub(crate) struct SignalsBlocked;

impl SignalsBlocked {
    pub(crate) fn new() -> SignalsBlocked {
        SignalsBlocked
    }
}

/// Empty: Windows calls exception handlers on the thread's own stack, which has a megabyte by default.
pub(crate) struct FilterStack;

impl FilterStack {
    pub(crate) fn new() -> Result<FilterStack, OsCode> {
        Ok(FilterStack)
    }

    /// Returns 0: the system reports that a thread's stack has overflowed.
    pub(crate) fn guard_page(&self) -> usize {
        0
    }

    /// Calls `function(data)`.
    ///
    /// # Safety
    /// `function` may be called with `data`, and it does not unwind.
    pub(crate) unsafe fn run(&self, function: extern "C" fn(*mut c_void), data: *mut c_void) {
        function(data);
    }
}
