//! macOS: the context of a fault, and Mach's information about an address.

use std::ffi::c_void;
use std::sync::atomic::AtomicU32;

use super::signals::Mask;
use crate::os::pages::Pages;
use crate::plain::{FaultAccess, FaultCode, OsCode, SystemLimit};

/// SIGINFO, which is ignored by default.
pub(super) const MARK_SIGNAL: i32 = 29;

pub(super) const OUT_OF_MEMORY_ADVICE: &str =
    "memory, swap or address space ran out; ask for less, or free some";

/// Returns the calling thread, if it blocks the signals. The masks of other threads are not available.
pub(crate) fn threads_that_block_faults() -> Vec<u64> {
    if super::signals::blocks_faults() {
        vec![thread_number()]
    } else {
        Vec::new()
    }
}

/// Returns the system's number of the calling thread.
pub(crate) fn thread_number() -> u64 {
    let mut number = 0;
    // SAFETY: null means the calling thread (pthread_threadid_np(3)); `number` is live and writable.
    unsafe { libc::pthread_threadid_np(0, &mut number) };
    number
}

/// Returns false, because the system does not tell whether a thread has ended.
pub(super) fn has_ended(_thread: u64) -> bool {
    false
}

/// Returns whether the object that is loaded at `base` is known to be the program itself.
pub(super) fn is_program(_base: *const c_void) -> bool {
    false
}

/// Returns the address of the handler that the system calls for a signal; 0 for the default action.
pub(super) fn handler_in_front(signal: i32) -> Option<usize> {
    // SAFETY: sigaction is plain data, of which all zeroes is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: sigaction(2) with a null new action only reads; `action` is live and writable.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
    (result == 0).then_some(action.sa_sigaction)
}

pub(crate) fn set_in_core_dumps(_pages: Pages<'_>, _in_dumps: bool) {}

/// Returns false: the system does not limit the number of mappings.
pub(crate) fn is_out_of_mappings() -> bool {
    false
}

/// The head of `ucontext_t` (sys/_types/_ucontext.h), which the libc crate does not declare.
#[repr(C)]
struct Context {
    onstack: i32,
    mask: libc::sigset_t,
    stack: libc::stack_t,
    link: *mut Context,
    machine_size: usize,
    machine: *mut Machine,
}

/// The head of `mcontext64` (mach/i386/_structs.h).
#[cfg(target_arch = "x86_64")]
#[repr(C)]
struct Machine {
    trap: u16,
    cpu: u16,
    error: u32,
    fault_address: u64,
    rax: u64,
    rbx_to_r15: [u64; 15],
    rip: u64,
}

/// The head of `mcontext64` (mach/arm/_structs.h).
#[cfg(target_arch = "aarch64")]
#[repr(C)]
struct Machine {
    far: u64,
    esr: u32,
    exception: u32,
    x: [u64; 29],
    fp: u64,
    lr: u64,
    sp: u64,
    pc: u64,
}

/// Does nothing: macOS has no call for it.
///
/// # Safety
/// See [`os::populate`](crate::os::populate). None: it does nothing.
pub(crate) unsafe fn populate(_pages: Pages<'_>) {}

/// Does nothing: macOS decides by itself.
pub(crate) fn advise_huge(_pages: Pages<'_>) {}

/// Does nothing, because access is not kept.
pub(crate) fn refuse_huge(_pages: Pages<'_>) {}

/// Only a new mapping is sure to be zero.
pub(crate) fn may_keep_access(_pages: Pages<'_>) -> bool {
    false
}

/// # Safety
/// See [`os::discard`](crate::os::discard). None: it does nothing.
pub(crate) unsafe fn discard(_pages: Pages<'_>) -> Result<(), OsCode> {
    Err(OsCode::UNSUPPORTED)
}

/// A fault, as the kernel delivered it to the signal handler.
pub(crate) struct Trap {
    // Invariant: both point to the structures that the kernel passed to the running SA_SIGINFO handler. So they and the
    // machine context behind the second are valid to read, and the machine context is valid to write, until that
    // handler returns (sigaction(2)).
    info: *const libc::siginfo_t,
    context: *mut Context,
}

impl Trap {
    /// # Safety
    /// The pointers are the second and third argument of an SA_SIGINFO handler that outlives the trap.
    pub(super) unsafe fn new(info: *const libc::siginfo_t, context: *mut c_void) -> Trap {
        Trap {
            info,
            context: context.cast(),
        }
    }

    /// Returns whether the processor raised the signal. Its codes are small and positive (sys/signal.h); SI_USER and
    /// its like start at 0x10001.
    pub(super) fn is_raised_by_processor(&self) -> bool {
        (1..0x10000).contains(&self.si_code())
    }

    fn signo(&self) -> i32 {
        // SAFETY: `info` is valid to read (invariant).
        unsafe { (*self.info).si_signo }
    }

    fn si_code(&self) -> i32 {
        // SAFETY: `info` is valid to read (invariant).
        unsafe { (*self.info).si_code }
    }

    /// Returns the address that was touched.
    pub(crate) fn address(&self) -> usize {
        // SAFETY: `info` is valid to read (invariant) and both signals carry an address.
        unsafe { (*self.info).si_addr }.addr()
    }

    pub(crate) fn code(&self) -> FaultCode {
        FaultCode::Signal {
            signo: self.signo(),
            si_code: self.si_code(),
        }
    }

    /// Returns whether a commit can resolve the fault. A touch of memory that is mapped without access arrives as
    /// SIGBUS, or on newer systems as SIGSEGV; both have the codes 1 and 2.
    pub(crate) fn is_page_fault(&self) -> bool {
        matches!(self.si_code(), 1 | 2)
    }

    /// Returns the alternate stack that the thread had when it was interrupted.
    pub(super) fn alternate_stack(&self) -> libc::stack_t {
        // SAFETY: the context is valid to read (invariant).
        unsafe { (*self.context).stack }
    }

    /// Returns the signals that the thread had blocked when it was interrupted.
    pub(super) fn signal_mask(&self) -> Mask {
        // SAFETY: the context is valid to read (invariant), and nothing changes the field.
        Mask::from_set(unsafe { &(*self.context).mask })
    }

    fn machine(&self) -> *mut Machine {
        // SAFETY: the context is valid to read (invariant).
        unsafe { (*self.context).machine }
    }
}

#[cfg(target_arch = "x86_64")]
impl Trap {
    /// Returns the access, from the page-fault error code (Intel SDM volume 3, 5.7): bit 4 is an instruction fetch, bit
    /// 1 a write.
    pub(crate) fn access(&self) -> FaultAccess {
        // SAFETY: the machine context is valid to read (invariant).
        let error = unsafe { (*self.machine()).error };
        if error & (1 << 4) != 0 {
            FaultAccess::Execute
        } else if error & (1 << 1) != 0 {
            FaultAccess::Write
        } else {
            FaultAccess::Read
        }
    }

    pub(crate) fn program_counter(&self) -> usize {
        // SAFETY: the machine context is valid to read (invariant).
        unsafe { (*self.machine()).rip as usize }
    }

    /// Makes the thread continue at `resume` with `refusal` in the first result register, rax.
    pub(crate) fn recover(&mut self, resume: usize, refusal: u64) {
        // SAFETY: the machine context is valid to write (invariant).
        let machine = unsafe { &mut *self.machine() };
        machine.rip = resume as u64;
        machine.rax = refusal;
    }
}

#[cfg(target_arch = "aarch64")]
impl Trap {
    /// Returns the access, from the syndrome register (Arm ARM, ESR_EL1): exception classes 0x20 and 0x21 are
    /// instruction aborts, and bit 6 of a data abort is "write, not read".
    pub(crate) fn access(&self) -> FaultAccess {
        // SAFETY: the machine context is valid to read (invariant).
        let syndrome = unsafe { (*self.machine()).esr };
        if matches!(syndrome >> 26, 0x20 | 0x21) {
            FaultAccess::Execute
        } else if syndrome & (1 << 6) != 0 {
            FaultAccess::Write
        } else {
            FaultAccess::Read
        }
    }

    pub(crate) fn program_counter(&self) -> usize {
        // SAFETY: the machine context is valid to read (invariant).
        unsafe { (*self.machine()).pc as usize }
    }

    /// Makes the thread continue at `resume` with `refusal` in the first result register, x0.
    pub(crate) fn recover(&mut self, resume: usize, refusal: u64) {
        // SAFETY: the machine context is valid to write (invariant).
        let machine = unsafe { &mut *self.machine() };
        machine.pc = resume as u64;
        machine.x[0] = refusal;
    }
}

/// Returns the memory of the machine: macOS sets no limit on a process's commits.
pub(crate) fn limits() -> Vec<SystemLimit> {
    // SAFETY: sysconf reads a number and has no preconditions (sysconf(3)).
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    let bytes = usize::try_from(pages).map_or(usize::MAX, |pages| {
        pages.saturating_mul(super::size::page_size())
    });
    vec![SystemLimit {
        name: "memory",
        file: None,
        limit_bytes: bytes,
        used_bytes: 0,
        is_hard: true,
    }]
}

/// Does nothing: macOS has no names for private mappings.
pub(crate) fn name(_pages: Pages<'_>, _name: &str) {}

// The futex of macOS, public as os_sync_wait_on_address only since 14.4; libc++ and others build on this since 10.12.
unsafe extern "C" {
    fn __ulock_wait(operation: u32, address: *mut c_void, value: u64, timeout_us: u32) -> i32;
    fn __ulock_wake(operation: u32, address: *mut c_void, value: u64) -> i32;
}
const UL_COMPARE_AND_WAIT: u32 = 1;
const ULF_NO_ERRNO: u32 = 0x0100_0000;

/// Sleeps while `word` is `expected`. May wake early.
pub(crate) fn wait(word: &AtomicU32, expected: u32) {
    // SAFETY: the word is a live, aligned u32, which the kernel only reads; a timeout of 0 means none.
    unsafe {
        __ulock_wait(
            UL_COMPARE_AND_WAIT | ULF_NO_ERRNO,
            word.as_ptr().cast(),
            u64::from(expected),
            0,
        )
    };
}

/// Wakes one thread that sleeps in [`wait`] on `word`.
pub(crate) fn wake_one(word: *const AtomicU32) {
    // SAFETY: a wake does not read the word; its address is the key that waiters are found by.
    unsafe {
        __ulock_wake(
            UL_COMPARE_AND_WAIT | ULF_NO_ERRNO,
            word.cast_mut().cast(),
            0,
        )
    };
}

/// Returns whether the program can make this access at `address` without a fault, or `None` if nothing is mapped there.
pub(crate) fn allows(address: usize, access: FaultAccess) -> Option<bool> {
    // mach/vm_region.h; the library is always there (libSystem).
    const VM_REGION_BASIC_INFO_64: i32 = 9;
    const VM_REGION_BASIC_INFO_COUNT_64: u32 = 9;
    #[repr(C, packed(4))]
    #[derive(Default)]
    struct BasicInfo {
        protection: i32,
        max_protection: i32,
        inheritance: u32,
        shared: u32,
        reserved: u32,
        offset: u64,
        behavior: i32,
        user_wired_count: u16,
    }
    unsafe extern "C" {
        static mach_task_self_: u32;
        fn mach_vm_region(
            task: u32,
            address: *mut u64,
            size: *mut u64,
            flavor: i32,
            info: *mut BasicInfo,
            count: *mut u32,
            object: *mut u32,
        ) -> i32;
    }

    let mut start = address as u64;
    let mut size = 0;
    let mut info = BasicInfo::default();
    let mut count = VM_REGION_BASIC_INFO_COUNT_64;
    let mut object = 0;
    // SAFETY: the name of the own task is set before main and never changes.
    let task = unsafe { mach_task_self_ };
    // SAFETY: every pointer is to a live variable of the declared type, and `count` says how many words `info` has.
    let result = unsafe {
        mach_vm_region(
            task,
            &mut start,
            &mut size,
            VM_REGION_BASIC_INFO_64,
            &mut info,
            &mut count,
            &mut object,
        )
    };
    // The answer is for the first region at or after the address.
    if result != 0 || start > address as u64 {
        return None;
    }
    let needed = match access {
        FaultAccess::Read => libc::VM_PROT_READ,
        FaultAccess::Write => libc::VM_PROT_WRITE,
        FaultAccess::Execute => libc::VM_PROT_EXECUTE,
    };
    Some(info.protection & needed != 0)
}
