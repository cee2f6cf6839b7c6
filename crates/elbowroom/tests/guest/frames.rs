//! Signal frames that lack what a sandbox or an emulator leaves out.

use std::ffi::c_void;
use std::sync::atomic::Ordering;

use elbowroom::{Growth, Region, Verdict, page_size};

use super::{Handler, NEXT, action, install};

/// Forwards without the trap number and the error code, like a sandbox that leaves them out.
extern "C" fn forget_code(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    forward(signal, info, context, 0);
}

/// Forwards each fault as a page fault of a load.
extern "C" fn say_load(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    forward(signal, info, context, 14);
}

fn forward(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void, trap: i64) {
    // SAFETY: the kernel's own context, which is writable until the handler returns.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    registers[libc::REG_ERR as usize] = 0;
    registers[libc::REG_TRAPNO as usize] = trap;
    let next = NEXT.load(Ordering::Relaxed);
    // SAFETY: the address of the handler that was installed before, with SA_SIGINFO.
    let next: Handler = unsafe { std::mem::transmute(next) };
    next(signal, info, context);
}

pub(super) fn no_trap_number() {
    let filter = |fault: &elbowroom::Fault<'_>| match fault.access() {
        elbowroom::FaultAccess::Write => Verdict::Decline,
        _ => Verdict::Commit,
    };
    let region = Region::builder(page_size()).filter(filter).build().unwrap();
    let before = install(&action(forget_code as Handler as usize));
    NEXT.store(before.sa_sigaction, Ordering::Relaxed);
    assert!(region.try_write(0, 1u8).unwrap_err().is_declined());
    assert_eq!(region.stats().committed_bytes, 0);
}

pub(super) fn stuck_store() {
    use elbowroom::Backend;
    // The backends that the system has.
    let regions: Vec<Region> = [
        Backend::Protection,
        Backend::Userfault,
        Backend::UserfaultMonitor,
    ]
    .into_iter()
    .filter_map(|backend| {
        let builder = Region::builder(16 * page_size()).growth(Growth::Pages(1));
        builder.backend(backend).build().ok()
    })
    .collect();
    let before = install(&action(say_load as Handler as usize));
    NEXT.store(before.sa_sigaction, Ordering::Relaxed);
    for region in regions {
        region.try_write(0, 1u8).unwrap();
        let place = region.as_ptr().cast();
        // SAFETY: a committed page of the region, into which nothing refers.
        let result = unsafe { libc::mprotect(place, page_size(), libc::PROT_READ) };
        assert_eq!(result, 0);
        assert!(region.try_write(0, 2u8).unwrap_err().is_protected());
        assert_eq!(region.try_read::<u8>(0).unwrap(), 1);
        // A refusal leaves nothing behind.
        region.try_write(page_size(), 3u8).unwrap();
    }
}
