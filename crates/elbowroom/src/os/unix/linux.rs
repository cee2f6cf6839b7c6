//! Linux: what a fault's context holds, futexes, and what /proc says about an address.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

#[path = "linux_headroom.rs"]
mod headroom;
#[path = "linux_userfault.rs"]
mod userfault;

pub(crate) use headroom::headroom;
pub(crate) use userfault::{
    Userfault, bar, is_in_system_call, is_missing_page, thread_number, unbar, userfault_advice,
};

use crate::error::OsCode;
use crate::fault::{FaultAccess, FaultCode};
use crate::page;

/// mmap(2): place exactly there, or fail with EEXIST (since 4.17; before that, a hint).
pub(super) const MAP_EXACTLY: i32 = libc::MAP_FIXED_NOREPLACE;

pub(super) const OUT_OF_MEMORY_ADVICE: &str = "memory, the commit limit (vm.overcommit_memory), RLIMIT_AS, RLIMIT_DATA \
    or the number of mappings (vm.max_map_count) ran out; ask for less or in fewer pieces, or raise that limit";

pub(super) fn errno_location() -> *mut i32 {
    // SAFETY: no preconditions; returns the address of this thread's errno.
    unsafe { libc::__errno_location() }
}

/// A fault, as the kernel delivered it to the signal handler.
pub(crate) struct Trap {
    // Invariant: both point at what the kernel passed to the SA_SIGINFO handler that is running, so they are valid to
    // read, and the context to write, until that handler returns (sigaction(2)).
    info: *const libc::siginfo_t,
    context: *mut libc::ucontext_t,
}

impl Trap {
    /// # Safety
    /// The pointers are the second and third argument of an SA_SIGINFO handler that outlives the trap.
    pub(super) unsafe fn new(info: *const libc::siginfo_t, context: *mut c_void) -> Trap {
        Trap { info, context: context.cast() }
    }

    /// si_code is positive for what the kernel raised, and not for kill, raise and sigqueue. All of it at an
    /// instruction, but the news of a memory error somewhere else (BUS_MCEERR_AO).
    pub(super) fn is_raised_by_processor(&self) -> bool {
        const BUS_MCEERR_AO: i32 = 5;
        self.si_code() > 0 && (self.signo(), self.si_code()) != (libc::SIGBUS, BUS_MCEERR_AO)
    }

    fn signo(&self) -> i32 {
        // SAFETY: `info` is valid to read (invariant).
        unsafe { (*self.info).si_signo }
    }

    fn si_code(&self) -> i32 {
        // SAFETY: `info` is valid to read (invariant).
        unsafe { (*self.info).si_code }
    }

    /// The address that was touched. The kernel strips arm64's tag byte (no SA_EXPOSE_TAGBITS is asked for), and
    /// reports 0 for a general protection fault, which belongs to no region.
    pub(crate) fn address(&self) -> usize {
        // SAFETY: `info` is valid to read (invariant).
        let info = unsafe { &*self.info };
        // SAFETY: SIGSEGV and SIGBUS from the kernel carry an address (sigaction(2)).
        unsafe { info.si_addr() }.addr()
    }

    pub(crate) fn code(&self) -> FaultCode {
        FaultCode::Signal { signo: self.signo(), si_code: self.si_code() }
    }

    /// Whether a commit can cure it: a touch of memory that is not mapped (SEGV_MAPERR) or may not be touched so
    /// (SEGV_ACCERR). Not a protection key, a memory tag, a bus error or a machine check.
    pub(crate) fn is_page_fault(&self) -> bool {
        const SEGV_MAPERR: i32 = 1;
        const SEGV_ACCERR: i32 = 2;
        self.signo() == libc::SIGSEGV && matches!(self.si_code(), SEGV_MAPERR | SEGV_ACCERR)
    }

    /// The alternate stack that the thread had when it was interrupted.
    pub(super) fn alternate_stack(&self) -> libc::stack_t {
        // SAFETY: the context is valid to read (invariant).
        unsafe { (*self.context).uc_stack }
    }

    pub(super) fn signal_mask(&self) -> libc::sigset_t {
        // SAFETY: the context is valid to read (invariant).
        unsafe { (*self.context).uc_sigmask }
    }
}

#[cfg(target_arch = "x86_64")]
impl Trap {
    fn register(&self, index: i32) -> i64 {
        // SAFETY: the context is valid to read (invariant); the index is one of libc's REG_ constants, below 23.
        unsafe { (*self.context).uc_mcontext.gregs[index as usize] }
    }

    /// From the page-fault error code (Intel SDM volume 3, 5.7): bit 4 is an instruction fetch, bit 1 a write.
    pub(crate) fn access(&self) -> FaultAccess {
        let error = self.register(libc::REG_ERR);
        if error & (1 << 4) != 0 {
            FaultAccess::Execute
        } else if error & (1 << 1) != 0 {
            FaultAccess::Write
        } else {
            FaultAccess::Read
        }
    }

    pub(crate) fn program_counter(&self) -> usize {
        self.register(libc::REG_RIP) as usize
    }

    /// Makes the thread continue at `resume` with `refusal` in the first result register, rax.
    pub(crate) fn recover(&mut self, resume: usize, refusal: u64) {
        // SAFETY: the context is valid to write (invariant).
        let registers = unsafe { &mut (*self.context).uc_mcontext.gregs };
        registers[libc::REG_RIP as usize] = resume as i64;
        registers[libc::REG_RAX as usize] = refusal as i64;
    }
}

#[cfg(target_arch = "aarch64")]
impl Trap {
    pub(crate) fn access(&self) -> FaultAccess {
        if self.program_counter() == self.address() {
            return FaultAccess::Execute;
        }
        if let Some(syndrome) = self.syndrome() {
            // Arm ARM, ESR_EL1: bit 6 of a data abort is "write, not read".
            return if syndrome & (1 << 6) != 0 { FaultAccess::Write } else { FaultAccess::Read };
        }
        // Emulators leave the syndrome out; the instruction is always there.
        // SAFETY: the processor has just fetched and executed the instruction at this address, so 4 bytes can be read.
        let instruction = unsafe { std::ptr::with_exposed_provenance::<u32>(self.program_counter()).read() };
        if super::super::arm64::is_store(instruction) { FaultAccess::Write } else { FaultAccess::Read }
    }

    /// The syndrome of the fault, if the kernel put it into the frame: the records behind the registers
    /// (arch/arm64/include/uapi/asm/sigcontext.h), each of which starts with a magic number and its size.
    fn syndrome(&self) -> Option<u64> {
        const RESERVED_BYTES: usize = 4096;
        const ESR_MAGIC: u32 = 0x4553_5201;
        // SAFETY: a field of the context (invariant).
        let pstate = unsafe { &raw const (*self.context).uc_mcontext.pstate };
        let records = pstate.wrapping_add(1).cast::<u8>().map_addr(|address| address.next_multiple_of(16));
        let mut offset = 0;
        while offset + 16 <= RESERVED_BYTES {
            let head = records.wrapping_add(offset).cast::<[u32; 2]>();
            // SAFETY: within the 4096 bytes that the context ends with, 16-byte aligned as every record is.
            let [magic, size] = unsafe { head.read() };
            match (magic, size as usize) {
                (0, _) | (_, 0..8) => return None,
                (ESR_MAGIC, _) => {
                    // SAFETY: the record is 16 bytes long and ends with the syndrome.
                    return Some(unsafe { head.add(1).cast::<u64>().read() });
                }
                (_, size) => offset += size,
            }
        }
        None
    }

    pub(crate) fn program_counter(&self) -> usize {
        // SAFETY: the context is valid to read (invariant).
        unsafe { (*self.context).uc_mcontext.pc as usize }
    }

    /// Makes the thread continue at `resume` with `refusal` in the first result register, x0.
    pub(crate) fn recover(&mut self, resume: usize, refusal: u64) {
        // SAFETY: the context is valid to write (invariant).
        let machine = unsafe { &mut (*self.context).uc_mcontext };
        machine.pc = resume as u64;
        machine.regs[0] = refusal;
    }
}

/// Shows the name in /proc/PID/maps as `[anon:NAME]`, where the kernel was built with CONFIG_ANON_VMA_NAME.
pub(crate) fn name(base: NonNull<u8>, len: usize, name: &str) {
    // PR_SET_VMA_ANON_NAME(2const): printable ASCII but []\$` and at most 80 bytes with the terminating zero.
    let mut label = [0u8; 80];
    for (to, from) in label[..79].iter_mut().zip(name.bytes()) {
        *to = if matches!(from, b' '..=b'~') && !b"[]\\$`".contains(&from) { from } else { b'_' };
    }
    // SAFETY: prctl(2) with these arguments reads the zero-terminated label and changes only what /proc shows for the
    // range. It fails with EINVAL on kernels without the option, which is what "where there is one" means.
    unsafe { libc::prctl(libc::PR_SET_VMA, libc::PR_SET_VMA_ANON_NAME, base.as_ptr(), len, label.as_ptr()) };
}

/// Sleeps while `word` is `expected`; futex(2). May wake early.
pub(crate) fn wait(word: &AtomicU32, expected: u32) {
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word is a live, aligned u32; a null timeout means none. The kernel only reads the word.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, expected, std::ptr::null::<libc::timespec>()) };
}

/// Wakes one thread that sleeps in [`wait`] on `word`.
pub(crate) fn wake_one(word: *const AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: a wake does not read the word; its address is the key that waiters are found by (futex(2)).
    unsafe { libc::syscall(libc::SYS_futex, word, operation, 1) };
}

/// What an instruction may do at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Protection {
    read: bool,
    write: bool,
    execute: bool,
}

impl Protection {
    fn allows(self, access: FaultAccess) -> bool {
        match access {
            FaultAccess::Read => self.read,
            FaultAccess::Write => self.write,
            FaultAccess::Execute => self.execute,
        }
    }
}

/// Whether the program may do this at `address` without a fault.
///
/// For data the kernel is asked to bring the page in as that access would (madvise(2), MADV_POPULATE_READ and
/// MADV_POPULATE_WRITE, since 5.14), which knows of guard pages (MADV_GUARD_INSTALL), too. Else /proc tells.
pub(crate) fn allows(address: usize, access: FaultAccess) -> Option<bool> {
    let advice = match access {
        FaultAccess::Read => Some(libc::MADV_POPULATE_READ),
        FaultAccess::Write => Some(libc::MADV_POPULATE_WRITE),
        FaultAccess::Execute => None,
    };
    match advice.filter(|_| populates()).map(|advice| populate_page(address, advice)) {
        Some(Ok(())) => Some(true),
        // "Populating failed because a SIGBUS would have been generated on actual memory access", or a guard page.
        Some(Err(OsCode(libc::EFAULT))) => Some(false),
        // The permissions do not allow it, or something else: /proc has the last word.
        _ => query(address).map(|protection| protection.allows(access)),
    }
}

fn populate_page(address: usize, advice: i32) -> Result<(), OsCode> {
    let page = std::ptr::without_provenance_mut(address & !(page::size() - 1));
    // SAFETY: brings a page in as a touch would, and changes no contents; an address that is not mapped is an error.
    let result = unsafe { libc::madvise(page, page::size(), advice) };
    if result == 0 { Ok(()) } else { Err(super::last_error()) }
}

/// madvise(2), MADV_POPULATE_WRITE, in pieces: the kernel keeps the process's other changes to its mappings waiting
/// during a call.
///
/// # Safety
/// See [`os::populate`](crate::os::populate).
pub(crate) unsafe fn populate(base: NonNull<u8>, len: usize) {
    let piece = page::huge_size();
    if !populates() {
        return;
    }
    let mut done = 0;
    while done < len {
        // As far as the next boundary between huge pages, so that each is brought in at once.
        let start = base.as_ptr().wrapping_add(done);
        let bytes = (piece - start.addr() % piece).min(len - done);
        // SAFETY: pages of the caller's reservation, which it brings in as a write would and whose contents it does not
        // change; what may not be written is an error.
        if unsafe { libc::madvise(start.cast(), bytes, libc::MADV_POPULATE_WRITE) } != 0 {
            return;
        }
        done += bytes;
    }
}

/// madvise(2), MADV_HUGEPAGE. Without effect where huge pages are given to all memory, or to none. Not on a kernel that
/// cannot bring them in at once: by the program's touches, their cost is erratic.
///
/// # Safety
/// See [`os::advise_huge`](crate::os::advise_huge).
pub(crate) unsafe fn advise_huge(base: NonNull<u8>, len: usize) {
    if populates() {
        // SAFETY: pages of the caller's reservation, of which it changes neither the contents nor what may be done.
        unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
    }
}

/// Whether the kernel knows how to populate. Emulators that do not know it say yes to everything, so the first page of
/// the address space is tried, where nothing is.
fn populates() -> bool {
    const UNKNOWN: u32 = 0;
    const YES: u32 = 1;
    const NO: u32 = 2;
    static ANSWER: AtomicU32 = AtomicU32::new(UNKNOWN);
    if ANSWER.load(Ordering::Relaxed) == UNKNOWN {
        let refused = populate_page(0, libc::MADV_POPULATE_READ) == Err(OsCode(libc::ENOMEM));
        ANSWER.store(if refused { YES } else { NO }, Ordering::Relaxed);
    }
    ANSWER.load(Ordering::Relaxed) == YES
}

/// The threads that block SIGSEGV or SIGBUS; proc(5), /proc/PID/task/TID/status, SigBlk. Without /proc, the calling one
/// if it does.
pub(crate) fn threads_that_block_faults() -> Vec<u64> {
    const FAULTS: u64 = 1 << (libc::SIGSEGV - 1) | 1 << (libc::SIGBUS - 1);
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return if super::blocks_faults() { vec![thread_number()] } else { Vec::new() };
    };
    let blocks = |status: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & FAULTS != 0)
    };
    // A thread that ends meanwhile has no status any more.
    let blocking = threads.flatten().filter_map(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        blocks(&status).then(|| thread.file_name().to_str()?.parse().ok()).flatten()
    });
    blocking.collect()
}

/// After a commit of these pages failed for want of memory: whether it is for want of a mapping. Asked by marking them
/// as not to be dumped, which takes the same mappings and no memory (madvise(2)).
pub(crate) fn is_out_of_mappings(base: NonNull<u8>, len: usize) -> bool {
    let advise = |advice| {
        // SAFETY: changes what a core file holds of pages that are reserved, which is nothing.
        unsafe { libc::madvise(base.as_ptr().cast(), len, advice) }
    };
    // "A kernel resource was temporarily unavailable."
    let refused = advise(libc::MADV_DONTDUMP) == -1 && super::last_error() == OsCode(libc::EAGAIN);
    advise(libc::MADV_DODUMP);
    refused
}

/// A file descriptor of our own, closed when dropped.
struct Maps(i32);

impl Maps {
    /// Opens /proc/self/maps; async-signal-safe. `None` where /proc is not mounted or descriptors ran out.
    fn open() -> Option<Maps> {
        // SAFETY: the path is a zero-terminated string.
        let fd = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        (fd >= 0).then_some(Maps(fd))
    }

    fn read(&self, buffer: &mut [u8]) -> usize {
        // SAFETY: the descriptor is open and the buffer live and writable for its length.
        let read = unsafe { libc::read(self.0, buffer.as_mut_ptr().cast(), buffer.len()) };
        usize::try_from(read).unwrap_or(0)
    }
}

impl Drop for Maps {
    fn drop(&mut self) {
        // SAFETY: the descriptor was opened by `open` and is closed only here.
        unsafe { libc::close(self.0) };
    }
}

/// What the kernel lets the program do at `address`; `None` if nothing is mapped there or /proc cannot be read.
fn query(address: usize) -> Option<Protection> {
    let maps = Maps::open()?;
    match query_by_ioctl(&maps, address) {
        Ok(answer) => answer,
        Err(()) => query_by_text(&maps, address),
    }
}

/// One mapping by its address, without reading the others: the PROCMAP_QUERY ioctl of Linux 6.11. `Err` where the
/// kernel has none.
fn query_by_ioctl(maps: &Maps, address: usize) -> Result<Option<Protection>, ()> {
    // include/uapi/linux/fs.h
    #[repr(C)]
    #[derive(Default)]
    struct ProcmapQuery {
        size: u64,
        query_flags: u64,
        query_addr: u64,
        vma_start: u64,
        vma_end: u64,
        vma_flags: u64,
        vma_page_size: u64,
        vma_offset: u64,
        inode: u64,
        dev_major: u32,
        dev_minor: u32,
        vma_name_size: u32,
        build_id_size: u32,
        vma_name_addr: u64,
        build_id_addr: u64,
    }
    const SIZE: usize = size_of::<ProcmapQuery>();
    // _IOWR('f', 17, struct procmap_query)
    const PROCMAP_QUERY: u64 = (3 << 30) | ((SIZE as u64) << 16) | ((b'f' as u64) << 8) | 17;
    const READABLE: u64 = 1;
    const WRITABLE: u64 = 2;
    const EXECUTABLE: u64 = 4;

    let mut query = ProcmapQuery { size: SIZE as u64, query_addr: address as u64, ..ProcmapQuery::default() };
    // SAFETY: the request takes a pointer to this structure, which says its own size; no name and no build id are asked
    // for, so the kernel writes nothing else.
    let result = unsafe { libc::ioctl(maps.0, PROCMAP_QUERY as _, &raw mut query) };
    if result == 0 {
        let flags = query.vma_flags;
        return Ok(Some(Protection {
            read: flags & READABLE != 0,
            write: flags & WRITABLE != 0,
            execute: flags & EXECUTABLE != 0,
        }));
    }
    if super::last_error().0 == libc::ENOENT { Ok(None) } else { Err(()) }
}

/// The same by reading the lines `START-END PERMS …` until one holds the address. Allocates nothing.
fn query_by_text(maps: &Maps, address: usize) -> Option<Protection> {
    let mut parser = MapsParser::new(address);
    let mut buffer = [0u8; 1024];
    loop {
        let read = maps.read(&mut buffer);
        if read == 0 {
            return None;
        }
        for &byte in &buffer[..read] {
            if let Some(found) = parser.push(byte) {
                return Some(found);
            }
        }
    }
}

/// Reads /proc/self/maps byte by byte, so that a line may span two reads.
struct MapsParser {
    address: usize,
    field: MapsField,
    start: usize,
    end: usize,
    permissions: [u8; 3],
}

enum MapsField {
    Start,
    End,
    Permissions(usize),
    Rest,
}

impl MapsParser {
    fn new(address: usize) -> MapsParser {
        MapsParser { address, field: MapsField::Start, start: 0, end: 0, permissions: [0; 3] }
    }

    /// Takes the next byte; answers once the line that holds the address is known.
    fn push(&mut self, byte: u8) -> Option<Protection> {
        let digit = char::from(byte).to_digit(16).map(|digit| digit as usize);
        match self.field {
            _ if byte == b'\n' => *self = MapsParser::new(self.address),
            MapsField::Start => match digit {
                Some(digit) => self.start = self.start << 4 | digit,
                None => self.field = MapsField::End,
            },
            MapsField::End => match digit {
                Some(digit) => self.end = self.end << 4 | digit,
                None => self.field = MapsField::Permissions(0),
            },
            MapsField::Permissions(seen) => {
                self.permissions[seen] = byte;
                self.field = MapsField::Permissions(seen + 1);
                if seen + 1 == self.permissions.len() {
                    self.field = MapsField::Rest;
                    if (self.start..self.end).contains(&self.address) {
                        let [read, write, execute] = self.permissions;
                        return Some(Protection { read: read == b'r', write: write == b'w', execute: execute == b'x' });
                    }
                }
            }
            MapsField::Rest => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Protection = Protection { read: false, write: false, execute: false };

    fn map_page(protection: i32) -> usize {
        // SAFETY: a new anonymous mapping where the kernel chooses.
        let page =
            unsafe { libc::mmap(std::ptr::null_mut(), 1, protection, libc::MAP_PRIVATE | libc::MAP_ANON, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        page.addr()
    }

    #[test]
    fn both_queries_agree_with_what_was_mapped() {
        let cases = [
            (libc::PROT_NONE, NONE),
            (libc::PROT_READ, Protection { read: true, ..NONE }),
            (libc::PROT_READ | libc::PROT_WRITE, Protection { read: true, write: true, ..NONE }),
            (libc::PROT_READ | libc::PROT_EXEC, Protection { read: true, execute: true, ..NONE }),
        ];
        for (bits, expected) in cases {
            let address = map_page(bits);
            let maps = Maps::open().expect("/proc/self/maps");
            let by_text = query_by_text(&maps, address + 7);
            // An emulator with larger pages than its host's leaves some mappings out of its own version of the file.
            let may_be_absent = std::env::var_os("ELBOWROOM_TEST_RUNNER").is_some() && page::size() != 4096;
            assert!(by_text == Some(expected) || (may_be_absent && by_text.is_none()), "{by_text:?} not {expected:?}");
            if let Ok(answer) = query_by_ioctl(&maps, address + 7) {
                assert_eq!(answer, Some(expected));
            }
        }
        assert_eq!(query(8), None, "nothing is mapped in page 0");
    }

    #[test]
    fn what_is_allowed_is_what_was_mapped() {
        let cases = [
            (libc::PROT_NONE, [false, false, false]),
            (libc::PROT_READ, [true, false, false]),
            (libc::PROT_READ | libc::PROT_WRITE, [true, true, false]),
            (libc::PROT_READ | libc::PROT_EXEC, [true, false, true]),
        ];
        if std::env::var_os("ELBOWROOM_TEST_RUNNER").is_some() {
            return;
        }
        for (bits, expected) in cases {
            let address = map_page(bits) + 9;
            let accesses = [FaultAccess::Read, FaultAccess::Write, FaultAccess::Execute];
            assert_eq!(accesses.map(|access| allows(address, access)), expected.map(Some), "{bits}");
        }
        // A guard page in a mapping that may be written (Linux 6.13; an older kernel refuses the advice).
        const MADV_GUARD_INSTALL: i32 = 102;
        let address = map_page(libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a page of this test's own.
        let guarded =
            unsafe { libc::madvise(std::ptr::without_provenance_mut(address), page::size(), MADV_GUARD_INSTALL) };
        if guarded == 0 {
            assert_eq!(allows(address, FaultAccess::Write), Some(false));
            assert_eq!(allows(address, FaultAccess::Read), Some(false));
        }
    }
}
