//! A fault as the kernel describes it to a signal handler.

use std::ffi::c_void;

use super::super::signals::Mask;
use crate::plain::{FaultAccess, FaultCode};

/// A fault, as the kernel delivered it to the signal handler.
pub(crate) struct Trap {
    // Invariant: both point to the structures that the kernel passed to the running SA_SIGINFO handler. So they are
    // valid to read, and the context is valid to write, until that handler returns (sigaction(2)).
    info: *const libc::siginfo_t,
    context: *mut libc::ucontext_t,
}

impl Trap {
    /// # Safety
    /// The pointers are the second and third argument of an SA_SIGINFO handler that outlives the trap.
    pub(in crate::os::unix) unsafe fn new(
        info: *const libc::siginfo_t,
        context: *mut c_void,
    ) -> Trap {
        Trap {
            info,
            context: context.cast(),
        }
    }

    /// Returns whether the processor raised the signal at an instruction. si_code is positive for signals from the
    /// kernel, and not for kill, raise and sigqueue. One signal from the kernel does not belong to an instruction: the
    /// report of a memory error elsewhere (BUS_MCEERR_AO).
    pub(in crate::os::unix) fn is_raised_by_processor(&self) -> bool {
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

    /// Returns the address that was touched. The kernel strips arm64's tag byte (SA_EXPOSE_TAGBITS is not requested),
    /// and reports 0 for a general protection fault, which belongs to no region.
    pub(crate) fn address(&self) -> usize {
        // SAFETY: `info` is valid to read (invariant).
        let info = unsafe { &*self.info };
        // SAFETY: SIGSEGV and SIGBUS from the kernel carry an address (sigaction(2)).
        unsafe { info.si_addr() }.addr()
    }

    pub(crate) fn code(&self) -> FaultCode {
        FaultCode::Signal {
            signo: self.signo(),
            si_code: self.si_code(),
        }
    }

    /// Returns whether a commit can resolve the fault: a touch of memory that is not mapped (SEGV_MAPERR) or not
    /// accessible in this way (SEGV_ACCERR). A protection key, a memory tag, a bus error or a machine check is not
    /// resolved.
    pub(crate) fn is_page_fault(&self) -> bool {
        const SEGV_MAPERR: i32 = 1;
        const SEGV_ACCERR: i32 = 2;
        self.signo() == libc::SIGSEGV && matches!(self.si_code(), SEGV_MAPERR | SEGV_ACCERR)
    }

    /// Returns the alternate stack that the thread had when it was interrupted.
    pub(in crate::os::unix) fn alternate_stack(&self) -> libc::stack_t {
        // SAFETY: the context is valid to read (invariant).
        unsafe { (*self.context).uc_stack }
    }

    /// Returns the signals that the thread had blocked when it was interrupted.
    pub(in crate::os::unix) fn signal_mask(&self) -> Mask {
        // SAFETY: the context is valid to read (invariant), and nothing changes the field.
        Mask::from_set(unsafe { &(*self.context).uc_sigmask })
    }
}

#[cfg(target_arch = "x86_64")]
impl Trap {
    fn register(&self, index: i32) -> i64 {
        // SAFETY: the context is valid to read (invariant); the index is one of libc's REG_ constants, below 23.
        unsafe { (*self.context).uc_mcontext.gregs[index as usize] }
    }

    /// Returns the access, from the page-fault error code (Intel SDM volume 3, 5.7): bit 4 is an instruction fetch, bit
    /// 1 a write.
    ///
    /// Some sandboxes and emulators leave out the trap number and the error code. The access is then taken for a write,
    /// the access that a filter or a protection is most likely to refuse.
    pub(crate) fn access(&self) -> FaultAccess {
        const PAGE_FAULT: i64 = 14;
        if self.register(libc::REG_TRAPNO) != PAGE_FAULT {
            return match self.program_counter() == self.address() {
                true => FaultAccess::Execute,
                false => FaultAccess::Write,
            };
        }
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
            return if syndrome & (1 << 6) != 0 {
                FaultAccess::Write
            } else {
                FaultAccess::Read
            };
        }
        // Emulators leave the syndrome out; the instruction is always available.
        // SAFETY: the processor has just fetched and executed the instruction at this address, so 4 bytes can be read.
        let instruction =
            unsafe { std::ptr::with_exposed_provenance::<u32>(self.program_counter()).read() };
        if crate::os::arm64::is_store(instruction) {
            FaultAccess::Write
        } else {
            FaultAccess::Read
        }
    }

    /// Returns the syndrome of the fault if the kernel put it into the frame. It is one of the records behind the
    /// registers (arch/arm64/include/uapi/asm/sigcontext.h), each of which starts with a magic number and its size.
    fn syndrome(&self) -> Option<u64> {
        const RESERVED_BYTES: usize = 4096;
        const ESR_MAGIC: u32 = 0x4553_5201;
        // SAFETY: the context is valid to read (invariant), and this takes the address of one of its fields.
        let pstate = unsafe { &raw const (*self.context).uc_mcontext.pstate };
        let records = pstate
            .wrapping_add(1)
            .cast::<u8>()
            .map_addr(|address| address.next_multiple_of(16));
        let mut offset = 0;
        while offset + 16 <= RESERVED_BYTES {
            let head = records.wrapping_add(offset).cast::<[u32; 2]>();
            // SAFETY: the record is within the 4096 bytes at the end of the context, and 16-byte aligned as every
            // record is.
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
