//! Linux: names, core dumps, futexes, and information about handlers and threads from the kernel and /proc.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::process::process_number;
use super::signals;
use super::size::page_size;
use crate::os::pages::Pages;

mod discard;
mod limits;
mod prefault;
mod proc_maps;
mod trap;
mod userfault;

pub(crate) use discard::{discard, may_keep_access, refuse_huge};
pub(crate) use limits::limits;
pub(crate) use prefault::{advise_huge, allows, populate};
pub(crate) use trap::Trap;
pub(crate) use userfault::{
    Userfault, cure, is_in_system_call, is_missing_page, poison, thread_number, userfault_advice,
};

/// The last real-time signal.
pub(super) const MARK_SIGNAL: i32 = 64;

pub(super) const OUT_OF_MEMORY_ADVICE: &str = "memory, the commit limit (vm.overcommit_memory), RLIMIT_AS, RLIMIT_DATA \
    or the number of mappings (vm.max_map_count) ran out; ask for less or in fewer pieces, or raise that limit";

/// Shows the name in /proc/PID/maps as `[anon:NAME]`, where the kernel was built with CONFIG_ANON_VMA_NAME.
pub(crate) fn name(pages: Pages<'_>, name: &str) {
    // PR_SET_VMA_ANON_NAME(2const): printable ASCII but []\$` and at most 80 bytes with the terminating zero.
    let mut label = [0u8; 80];
    for (to, from) in label[..79].iter_mut().zip(name.bytes()) {
        *to = if matches!(from, b' '..=b'~') && !b"[]\\$`".contains(&from) {
            from
        } else {
            b'_'
        };
    }
    // SAFETY: prctl(2) with these arguments reads the zero-terminated label and changes only what /proc shows for the
    // range. On kernels without the option it fails with EINVAL, which is ignored.
    unsafe {
        libc::prctl(
            libc::PR_SET_VMA,
            libc::PR_SET_VMA_ANON_NAME,
            pages.start(),
            pages.len(),
            label.as_ptr(),
        )
    };
}

/// Calls madvise(2) with MADV_DONTDUMP or MADV_DODUMP. Pages with another setting than their neighbours take a mapping
/// of their own.
pub(crate) fn set_in_core_dumps(pages: Pages<'_>, in_dumps: bool) {
    let advice = if in_dumps {
        libc::MADV_DODUMP
    } else {
        libc::MADV_DONTDUMP
    };
    // SAFETY: this changes whether a core dump includes the pages, and neither their contents nor the access to them.
    unsafe { libc::madvise(pages.start(), pages.len(), advice) };
}

/// Sleeps while `word` is `expected`; futex(2). May wake early.
pub(crate) fn wait(word: &AtomicU32, expected: u32) {
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: futex(2) only reads the word, which is a live, aligned u32. A null timeout means none.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation,
            expected,
            std::ptr::null::<libc::timespec>(),
        )
    };
}

/// Wakes one thread that sleeps in [`wait`] on `word`.
pub(crate) fn wake_one(word: *const AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: a wake does not read the word; its address is only the key by which waiters are found (futex(2)).
    unsafe { libc::syscall(libc::SYS_futex, word, operation, 1) };
}

/// Returns whether the object loaded at `base` is the program itself. The kernel tells where the program's headers are
/// (getauxval(3), AT_PHDR), and they lie in its first page.
pub(super) fn is_program(base: *const std::ffi::c_void) -> bool {
    // SAFETY: getauxval(3) has no preconditions; it returns 0 for an unknown type.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    headers.wrapping_sub(base.addr()) < page_size()
}

/// Returns the address of the handler that the kernel calls for a signal; 0 for the default action. Async-signal-safe.
///
/// The kernel is asked directly, because the C library's function may be replaced by another library.
pub(super) fn handler_in_front(signal: i32) -> Option<usize> {
    /// The structure that rt_sigaction(2) writes: the kernel's `struct sigaction`, with or without a restorer,
    /// depending on the architecture. The handler comes first in both.
    #[repr(C)]
    struct KernelAction {
        handler: usize,
        rest: [u64; 4],
    }
    /// The size of the kernel's signal set in bytes.
    const SET_BYTES: usize = 8;

    let mut action = KernelAction {
        handler: 0,
        rest: [0; 4],
    };
    // SAFETY: with a null new action the call only reads. It writes a live structure that is not smaller than the
    // kernel's (a handler, flags, a restorer and a set of 8 bytes).
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            std::ptr::null::<KernelAction>(),
            &raw mut action,
            SET_BYTES,
        )
    };
    (result == 0).then_some(action.handler)
}

/// Returns the threads that block SIGSEGV or SIGBUS lastingly; proc(5), /proc/PID/task/TID/status, SigBlk. Without
/// /proc, returns the calling thread if it blocks them.
pub(crate) fn threads_that_block_faults() -> Vec<u64> {
    // A thread that starts another one blocks every signal for a moment. Only a mask that stays is reported.
    const LOOKS: usize = 8;
    const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

    let mut blocking = look_for_threads_that_block_faults();
    for _ in 1..LOOKS {
        if blocking.is_empty() {
            break;
        }
        std::thread::sleep(BETWEEN_LOOKS);
        let again = look_for_threads_that_block_faults();
        blocking.retain(|thread| again.contains(thread));
    }
    blocking
}

fn look_for_threads_that_block_faults() -> Vec<u64> {
    const FAULTS: u64 = 1 << (libc::SIGSEGV - 1) | 1 << (libc::SIGBUS - 1);
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return if signals::blocks_faults() {
            vec![thread_number()]
        } else {
            Vec::new()
        };
    };
    let blocks = |status: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .is_some_and(|mask| mask & FAULTS != 0)
    };
    // A thread that has ended meanwhile has no status file.
    let blocking = threads.flatten().filter_map(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        blocks(&status)
            .then(|| thread.file_name().to_str()?.parse().ok())
            .flatten()
    });
    blocking.collect()
}

/// Returns whether this process no longer has a thread with this number; tgkill(2). Does not change errno.
pub(super) fn has_ended(thread: u64) -> bool {
    let errno = super::errno::location();
    // SAFETY: the address is that of this thread's errno, which is valid to read while the thread lives.
    let saved = unsafe { *errno };
    let process = process_number();
    // SAFETY: signal 0 is never sent: the kernel only looks for the thread (kill(2)).
    let result = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) };
    // SAFETY: the address is that of this thread's errno, which is valid to read and write while the thread lives.
    let error = unsafe { std::mem::replace(&mut *errno, saved) };
    result != 0 && error == libc::ESRCH
}

/// Returns, after a commit failed for lack of memory, whether the process has reached its limit of mappings. The
/// mappings are counted, because every question to the kernel about the pages themselves would change them.
pub(crate) fn is_out_of_mappings() -> bool {
    // A page in the middle of a mapping takes two more mappings (mprotect(2), ENOMEM). If the listing contains the
    // vsyscall page, which is no mapping of the process, the result is true one mapping too early.
    match (proc_maps::count(), proc_maps::count_max()) {
        (Some(count), Some(max)) => count + 2 > max,
        _ => false,
    }
}
