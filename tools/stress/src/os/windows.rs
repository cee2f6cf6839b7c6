//! Windows: the program's own vectored handler. There are no signals and no forks.

#![allow(unsafe_code, reason = "Win32 calls")]

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence};

use elbowroom::page_size;
use windows_sys::Win32::Foundation::EXCEPTION_ACCESS_VIOLATION;
use windows_sys::Win32::System::Diagnostics::Debug::{
    AddVectoredExceptionHandler, EXCEPTION_CONTINUE_EXECUTION, EXCEPTION_CONTINUE_SEARCH,
    EXCEPTION_POINTERS,
};
use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_NOACCESS, PAGE_READWRITE, VirtualAlloc, VirtualFree,
    VirtualProtect,
};

thread_local! {
    static REPAIRED: Cell<u64> = const { Cell::new(0) };
    // The page whose fault the handler repairs; 0 if there is none.
    static FOREIGN: Cell<usize> = const { Cell::new(0) };
}

pub(crate) fn prepare(_seed: u64) {
    // SAFETY: the function has the signature of a vectored handler and exists for the life of the program.
    unsafe { AddVectoredExceptionHandler(0, Some(on_exception)) };
}

/// # Safety
/// Only Windows calls this function, as a vectored handler with valid pointers.
unsafe extern "system" fn on_exception(pointers: *mut EXCEPTION_POINTERS) -> i32 {
    // SAFETY: Windows passes a pointer to a valid structure (contract).
    let record = unsafe { (*pointers).ExceptionRecord };
    // SAFETY: the structure points to a valid record (contract), which stays valid while the handler runs.
    let record = unsafe { &*record };
    let address = record.ExceptionInformation[1];
    let page = address & !(page_size() - 1);
    if record.ExceptionCode != EXCEPTION_ACCESS_VIOLATION || page == 0 || page != FOREIGN.get() {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    REPAIRED.set(REPAIRED.get() + 1);
    let mut before = 0;
    // SAFETY: `fault` mapped this page, and no other code uses it.
    unsafe {
        VirtualProtect(
            ptr::with_exposed_provenance(page),
            1,
            PAGE_READWRITE,
            &mut before,
        )
    };
    EXCEPTION_CONTINUE_EXECUTION
}

#[expect(clippy::unnecessary_wraps, reason = "the same on every platform")]
pub(crate) fn signal() -> Result<(), String> {
    Ok(())
}

pub(crate) fn fault() -> Result<(), String> {
    // SAFETY: a new page at an address that the system chooses replaces no existing memory.
    let page = unsafe {
        VirtualAlloc(
            ptr::null(),
            page_size(),
            MEM_COMMIT | MEM_RESERVE,
            PAGE_NOACCESS,
        )
    };
    if page.is_null() {
        return Err(format!("VirtualAlloc: {}", std::io::Error::last_os_error()));
    }
    let before = REPAIRED.get();
    FOREIGN.set(page.expose_provenance());
    // The compiler does not know that the store below calls the handler, so it could move or remove this assignment.
    compiler_fence(Ordering::SeqCst);
    // SAFETY: the handler makes the page writable when it is touched; the byte is aligned; no other code uses the page.
    unsafe { page.cast::<u8>().write_volatile(1) };
    compiler_fence(Ordering::SeqCst);
    FOREIGN.set(0);
    let calls = REPAIRED.get() - before;
    // SAFETY: the block was made above, is released as a whole, and no pointer into it is used any more.
    unsafe { VirtualFree(page, 0, MEM_RELEASE) };
    if calls == 1 {
        Ok(())
    } else {
        Err(format!(
            "the handler for a foreign fault was called {calls} times"
        ))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the same on every platform")]
pub(crate) fn in_child(_work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    Ok(())
}
