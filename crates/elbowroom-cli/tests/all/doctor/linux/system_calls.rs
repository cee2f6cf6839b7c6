//! The command's list of system calls that a sandbox must allow is complete and has no others.

#![allow(unsafe_code, reason = "a filter of system calls, in a child")]

use elbowroom_testing::is_emulated;
use std::io;

use elbowroom::inject::{self, Call};
use elbowroom::{Backend, Growth, Region, Verdict, page_size};

/// Lines of `USE: CALL CALL …`. The calls of the first use belong to every other.
const LIST: &str = include_str!("../../../../src/os/linux/doctor/system_calls.txt");

const NUMBERS: [(&str, libc::c_long); 18] = [
    ("getpid", libc::SYS_getpid),
    ("mmap", libc::SYS_mmap),
    ("munmap", libc::SYS_munmap),
    ("mprotect", libc::SYS_mprotect),
    ("madvise", libc::SYS_madvise),
    ("rt_sigaction", libc::SYS_rt_sigaction),
    ("rt_sigprocmask", libc::SYS_rt_sigprocmask),
    ("rt_sigreturn", libc::SYS_rt_sigreturn),
    ("sigaltstack", libc::SYS_sigaltstack),
    ("prctl", libc::SYS_prctl),
    ("openat", libc::SYS_openat),
    ("read", libc::SYS_read),
    ("close", libc::SYS_close),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("ioctl", libc::SYS_ioctl),
    ("write", libc::SYS_write),
    #[cfg(target_arch = "x86_64")]
    ("poll", libc::SYS_poll),
    #[cfg(not(target_arch = "x86_64"))]
    ("poll", libc::SYS_ppoll),
    ("exit_group", libc::SYS_exit_group),
];

fn touch(region: &Region) {
    for page in 0..4 {
        region.try_write(page * page_size(), 1u8).unwrap();
    }
    region.decommit(0..page_size()).unwrap();
    let _ = region.stats();
}

fn perform(use_: &str) {
    let builder = Region::builder(1 << 20).growth(Growth::Pages(2));
    let build = || match use_ {
        "a region" => builder.build().unwrap(),
        "a filter" => builder.filter(|_| Verdict::Commit).build().unwrap(),
        "a name" => builder.name("named").build().unwrap(),
        "Backend::Userfault" => builder.backend(Backend::Userfault).build().unwrap(),
        "a commit that the system refuses" => {
            let region = builder.build().unwrap();
            let _plan = inject::refuse(Call::Commit, 1);
            let error = region.commit(0..1).unwrap_err();
            assert!(error.is_out_of_memory());
            region
        }
        "a refused touch through a plain pointer" => {
            let region = builder.commit_limit(4 * page_size()).build().unwrap();
            region.commit(0..4 * page_size()).unwrap();
            install_rescue();
            // SAFETY: the page is in the region, and no reference into it exists.
            unsafe {
                region
                    .as_ptr()
                    .wrapping_add(9 * page_size())
                    .write_volatile(1)
            };
            region
        }
        unknown => panic!("no use {unknown:?}"),
    };
    touch(&build());
}

extern "C" fn rescue(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo, valid while the handler runs.
    let info = unsafe { &*info };
    // SAFETY: the siginfo is about a fault, so it has an address (sigaction(2)).
    let address = unsafe { info.si_addr() }.addr() & !(page_size() - 1);
    let page = std::ptr::without_provenance_mut(address);
    // SAFETY: the page is in the test's region, and no reference into it exists.
    unsafe { libc::mprotect(page, page_size(), libc::PROT_READ | libc::PROT_WRITE) };
}

/// Installs `rescue` behind the library's handler.
fn install_rescue() {
    // SAFETY: sigaction is plain data, and all zero bytes are a valid value of it.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = rescue as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler has the signature that the flags require, and exists for the life of the program.
    unsafe { libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()) };
    elbowroom::fault::reinstall().unwrap();
}

/// Returns the instructions of a filter with one answer for these calls and another for all others.
pub(super) fn filter(
    calls: &[libc::c_long],
    answer: u32,
    otherwise: u32,
) -> Vec<libc::sock_filter> {
    let statement = |code: u32, k: u32, jf: u8| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    // The number of the call is the first field of `struct seccomp_data`.
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for &call in calls {
        let jump = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        filter.push(statement(jump, call as u32, 1));
        filter.push(statement(libc::BPF_RET, answer, 0));
    }
    filter.push(statement(libc::BPF_RET, otherwise, 0));
    filter
}

/// Sets a filter for this process, which must be a child (seccomp(2)).
pub(super) fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the request takes no pointers.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program and its instructions are live, and the kernel copies them.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs a use in a child that may make only these calls. Returns the signal that ended it, or 0.
fn signal_of(use_: &str, calls: &[libc::c_long]) -> i32 {
    // SAFETY: the child runs code that is safe after a fork where the allocator is (glibc), and leaves by
    // _exit.
    match unsafe { libc::fork() } {
        0 => {
            // The child's standard error is not needed.
            // SAFETY: the path ends with a zero byte.
            let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY) };
            // SAFETY: dup2 has no preconditions on memory.
            unsafe { libc::dup2(null, 2) };
            install(&filter(
                calls,
                libc::SECCOMP_RET_ALLOW,
                libc::SECCOMP_RET_KILL_PROCESS,
            ))
            .unwrap();
            perform(use_);
            // SAFETY: _exit has no preconditions; it ends the child.
            unsafe { libc::_exit(0) }
        }
        child => {
            let mut status = 0;
            // SAFETY: the pointer is to a live status; the child is waited for only here.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            if libc::WIFSIGNALED(status) {
                libc::WTERMSIG(status)
            } else {
                libc::WEXITSTATUS(status)
            }
        }
    }
}

#[test]
fn the_list_is_what_the_library_calls() {
    // Another C library may make other system calls for its own memory.
    if is_emulated() || !cfg!(target_env = "gnu") {
        return;
    }
    let number = |name: &str| {
        let found = NUMBERS.iter().find(|&&(other, _)| other == name);
        found.unwrap_or_else(|| panic!("no number for {name}")).1
    };
    let mut always = vec![libc::SYS_exit_group];
    for (index, line) in LIST.lines().enumerate() {
        let (use_, calls) = line.rsplit_once(": ").unwrap();
        if use_ == "Backend::Userfault"
            && Region::builder(1)
                .backend(Backend::Userfault)
                .build()
                .is_err()
        {
            continue;
        }
        let calls: Vec<_> = calls.split(' ').map(number).collect();
        let all: Vec<_> = always.iter().chain(&calls).copied().collect();
        assert_eq!(signal_of(use_, &all), 0, "{use_} makes another call");
        for &without in &calls {
            let others: Vec<_> = all
                .iter()
                .copied()
                .filter(|&call| call != without)
                .collect();
            assert_eq!(
                signal_of(use_, &others),
                libc::SIGSYS,
                "{use_}: {without} is not made"
            );
        }
        if index == 0 {
            always = all;
        }
    }
}
