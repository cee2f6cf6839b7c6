//! What is set up for the signals that a region's faults arrive as.

#![allow(unsafe_code, reason = "system calls about signals")]

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// The signals of memory faults.
pub(super) const FAULT_SIGNALS: [(i32, &str); 2] =
    [(libc::SIGSEGV, "SIGSEGV"), (libc::SIGBUS, "SIGBUS")];

/// What the process does when a signal comes.
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
    // SAFETY: a null new action changes nothing; the old one is written to a place for it.
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
    let mask = mask();
    let is_blocked = |signal| {
        // SAFETY: an initialised set and a valid signal.
        unsafe { libc::sigismember(&mask, signal) == 1 }
    };
    FAULT_SIGNALS
        .iter()
        .filter(|&&(signal, _)| is_blocked(signal))
        .map(|&(_, name)| name)
        .collect()
}

fn mask() -> libc::sigset_t {
    let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: makes the place an empty set, so it is initialised whatever happens next.
    unsafe { libc::sigemptyset(mask.as_mut_ptr()) };
    // SAFETY: a null new mask changes nothing; the old one is written to a place for it.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), mask.as_mut_ptr()) };
    // SAFETY: sigemptyset has initialised it.
    unsafe { mask.assume_init() }
}

/// Lets this thread have a signal.
pub(crate) fn unblock(signal: i32) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: makes the place an empty set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: an initialised set, a valid signal.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: an initialised set; the old mask is not wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut()) };
}

/// Returns the size of this thread's alternate signal stack; `None` if it has none.
pub(crate) fn alternate_stack_bytes() -> Option<u64> {
    let mut stack = MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: a null new stack changes nothing; the old one is written to a place for it (sigaltstack(2)).
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
        return Err(errno());
    }
    work()?;
    // What is deepest was written first: stacks grow down.
    let is_fresh = |&offset: &usize| {
        // SAFETY: inside the memory, which no handler uses any more.
        unsafe { start.wrapping_add(offset).read_volatile() == FRESH }
    };
    Ok((memory.len() - (0..memory.len()).take_while(is_fresh).count()) as u64)
}

extern "C" fn do_nothing(_: i32) {}

/// Raises a signal whose handler does nothing, on the alternate stack. For a child process.
pub(crate) fn raise_harmlessly() -> Result<(), i32> {
    // SAFETY: all zeros is a valid sigaction: no flags, an empty mask, the default action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = do_nothing as extern "C" fn(i32) as usize;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: a handler that does nothing may run anywhere.
    if unsafe { libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()) } != 0 {
        return Err(errno());
    }
    unblock(libc::SIGUSR1);
    // SAFETY: no preconditions; the handler has run when it returns.
    unsafe { libc::raise(libc::SIGUSR1) };
    Ok(())
}

/// Returns the error of the call that has just failed.
fn errno() -> i32 {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

/// Returns a resource limit; `None` if there is none.
pub(crate) fn limit_bytes(resource: Resource) -> Option<u64> {
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
pub(crate) enum Resource {
    As = libc::RLIMIT_AS as isize,
    Data = libc::RLIMIT_DATA as isize,
    Memlock = libc::RLIMIT_MEMLOCK as isize,
    Stack = libc::RLIMIT_STACK as isize,
}

/// Returns the system's name, version and machine (uname(2)).
pub(crate) fn system() -> String {
    let mut name = MaybeUninit::<libc::utsname>::uninit();
    // SAFETY: the answer is written to a place for it.
    if unsafe { libc::uname(name.as_mut_ptr()) } != 0 {
        return std::env::consts::OS.to_owned();
    }
    // SAFETY: uname has succeeded, so it is written.
    let name = unsafe { name.assume_init() };
    let text = |field: &[libc::c_char]| {
        let bytes: Vec<u8> = field
            .iter()
            .take_while(|&&char| char != 0)
            .map(|&char| char as u8)
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    format!(
        "{} {}, {}",
        text(&name.sysname),
        text(&name.release),
        text(&name.machine)
    )
}

/// setrlimit(2): this process leaves no core file.
pub(crate) fn forgo_core_file() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is readable.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
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
        assert!(
            matches!(
                handler,
                Disposition::Handler {
                    on_alternate_stack: true,
                    ..
                }
            ),
            "{handler:?}"
        );
    }

    #[test]
    fn blocked_signals_are_seen_and_unblocked() {
        let thread = std::thread::spawn(|| {
            assert!(blocked().is_empty());
            let mut set = mask();
            // SAFETY: an initialised set, a valid signal.
            unsafe { libc::sigaddset(&mut set, libc::SIGBUS) };
            // SAFETY: an initialised set; only this thread's mask.
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()) };
            assert_eq!(blocked(), ["SIGBUS"]);
            unblock(libc::SIGBUS);
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
