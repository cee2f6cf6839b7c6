//! The settings for the signals of a region's faults.

#![allow(unsafe_code, reason = "system calls about signals")]

use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::utsname::uname;

/// The signals of memory faults.
pub(super) const FAULT_SIGNALS: [Signal; 2] = [Signal::SIGSEGV, Signal::SIGBUS];

/// The process's disposition for a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    Default,
    Ignored,
    /// A function; of the program itself (std's, that is), or of the shared object with this path.
    Handler {
        own: bool,
        module: Option<String>,
        on_alternate_stack: bool,
    },
    Unknown,
}

/// Asks without changing it (sigaction(2)).
pub(crate) fn disposition(signal: i32) -> Disposition {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null new action changes nothing; `action` is writable memory for the old one.
    if unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0 {
        return Disposition::Unknown;
    }
    // SAFETY: sigaction has succeeded, so it is written.
    let action = unsafe { action.assume_init() };
    match action.sa_sigaction {
        libc::SIG_DFL => Disposition::Default,
        libc::SIG_IGN => Disposition::Ignored,
        handler => {
            let here = object_of(disposition as fn(i32) -> Disposition as usize);
            let there = object_of(handler);
            Disposition::Handler {
                own: matches!((&here, &there), (Some((here, _)), Some((there, _))) if here == there),
                module: there.map(|(_, path)| path),
                on_alternate_stack: action.sa_flags & libc::SA_ONSTACK != 0,
            }
        }
    }
}

/// Returns the base and path of the object that holds this address (dladdr(3)); `None` in a static program.
fn object_of(address: usize) -> Option<(usize, String)> {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: any address may be asked about; the answer is written to a place for it.
    let found = unsafe { libc::dladdr(ptr::without_provenance(address), info.as_mut_ptr()) };
    if found == 0 {
        return None;
    }
    // SAFETY: dladdr has succeeded, so it is written.
    let info = unsafe { info.assume_init() };
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr gives a zero-terminated string that lives as long as the object, which is not unloaded meanwhile:
    // the program runs no other code.
    let path = unsafe { CStr::from_ptr(info.dli_fname) };
    Some((info.dli_fbase.addr(), path.to_string_lossy().into_owned()))
}

/// Returns the names of the fault signals that this thread blocks. Started programs inherit the mask.
pub(crate) fn blocked() -> Vec<&'static str> {
    let mask = SigSet::thread_get_mask().unwrap_or(SigSet::empty());
    let blocked = FAULT_SIGNALS
        .iter()
        .filter(|&&signal| mask.contains(signal));
    blocked.map(|signal| signal.as_str()).collect()
}

/// Lets this thread have a signal.
pub(crate) fn unblock(signal: Signal) -> Result<(), Errno> {
    SigSet::from(signal).thread_unblock()
}

/// Returns the size of this thread's alternate signal stack; `None` if it has none.
pub(crate) fn alternate_stack_bytes() -> Option<u64> {
    let mut stack = MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: a null new stack changes nothing; `stack` is writable memory for the old one (sigaltstack(2)).
    if unsafe { libc::sigaltstack(ptr::null(), stack.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: sigaltstack has succeeded, so it is written.
    let stack = unsafe { stack.assume_init() };
    (stack.ss_flags & libc::SS_DISABLE == 0).then_some(stack.ss_size as u64)
}

/// Returns the part of an alternate stack that `work` uses: a signal that it raises, and its handler. For
/// a child process, because it replaces the alternate stack.
pub(crate) fn stack_used(work: impl FnOnce() -> Result<(), i32>) -> Result<u64, i32> {
    const FRESH: u8 = 0xa5;
    // Leaked, as the kernel has its address from now on.
    let memory: *mut [u8] = vec![FRESH; 256 << 10].leak();
    let start = memory.cast::<u8>();
    let stack = libc::stack_t {
        ss_sp: start.cast(),
        ss_flags: 0,
        ss_size: memory.len(),
    };
    // SAFETY: the memory is writable, is never freed, and nothing else uses it.
    if unsafe { libc::sigaltstack(&stack, ptr::null_mut()) } != 0 {
        return Err(Errno::last_raw());
    }
    work()?;
    // What is deepest was written first: stacks grow down.
    let is_fresh = |&offset: &usize| {
        // SAFETY: the offset is inside the memory, which is never freed and which no handler uses any more.
        unsafe { start.wrapping_add(offset).read_volatile() == FRESH }
    };
    Ok((memory.len() - (0..memory.len()).take_while(is_fresh).count()) as u64)
}

extern "C" fn do_nothing(_: i32) {}

/// Raises a signal whose handler does nothing, on the alternate stack. For a child process.
pub(crate) fn raise_harmlessly() -> Result<(), i32> {
    let nothing = SigHandler::Handler(do_nothing);
    let action = SigAction::new(nothing, SaFlags::SA_ONSTACK, SigSet::empty());
    // SAFETY: a handler that does nothing may run anywhere.
    let installed = unsafe { sigaction(Signal::SIGUSR1, &action) };
    // The handler has run when `raise` returns.
    let raised = installed
        .and_then(|_| unblock(Signal::SIGUSR1))
        .and_then(|()| signal::raise(Signal::SIGUSR1));
    raised.map_err(|code| code as i32)
}

/// Returns a resource limit; `None` if there is none.
pub(crate) fn limit_bytes(resource: Limited) -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the structure is writable (getrlimit(2)); left as it is if the call fails.
    unsafe { libc::getrlimit(resource as _, &mut limit) };
    #[allow(clippy::unnecessary_cast, reason = "signed on some systems")]
    let bytes = limit.rlim_cur as u64;
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(bytes)
}

/// The resources that matter here.
#[derive(Clone, Copy)]
pub(crate) enum Limited {
    As = libc::RLIMIT_AS as isize,
    Data = libc::RLIMIT_DATA as isize,
    Memlock = libc::RLIMIT_MEMLOCK as isize,
    Stack = libc::RLIMIT_STACK as isize,
}

/// Returns the system's name, version and machine (uname(2)).
pub(crate) fn system() -> String {
    let Ok(name) = uname() else {
        return std::env::consts::OS.to_owned();
    };
    let [system, release, machine] =
        [name.sysname(), name.release(), name.machine()].map(OsStr::to_string_lossy);
    format!("{system} {release}, {machine}")
}

/// Makes sure that this process leaves no core file.
pub(crate) fn forgo_core_file() {
    // Without the limit there is one.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dispositions_are_told_apart() {
        // SAFETY: signals that nothing here raises.
        unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
        assert_eq!(disposition(libc::SIGUSR2), Disposition::Ignored);
        assert_eq!(disposition(libc::SIGUSR1), Disposition::Default);
        assert_eq!(disposition(-1), Disposition::Unknown);
        // std's, for stack overflows.
        let handler = disposition(libc::SIGSEGV);
        let Disposition::Handler {
            on_alternate_stack, ..
        } = handler
        else {
            panic!("{handler:?}");
        };
        assert!(on_alternate_stack);
    }

    #[test]
    fn blocked_signals_are_seen_and_unblocked() {
        let thread = std::thread::spawn(|| {
            assert!(blocked().is_empty());
            SigSet::from(Signal::SIGBUS).thread_block().unwrap();
            assert_eq!(blocked(), ["SIGBUS"]);
            unblock(Signal::SIGBUS).unwrap();
            assert!(blocked().is_empty());
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_signal_takes_some_of_the_stack() {
        let bytes = crate::os::unix::isolate::isolated(|| stack_used(raise_harmlessly)).unwrap();
        assert!((500..64 << 10).contains(&bytes), "{bytes}");
    }

    #[test]
    fn std_gives_its_threads_alternate_stacks() {
        assert!(alternate_stack_bytes().unwrap() >= 2048);
    }
}
