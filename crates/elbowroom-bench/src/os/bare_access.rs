//! One instruction that the compiler does not look into: what an access that may be refused cannot do without.

#![allow(unsafe_code, reason = "a store and a load in assembly")]

use std::arch::asm;

/// Writes a word.
///
/// # Safety
/// `word` is aligned, and may be written.
#[inline(always)]
pub(crate) unsafe fn store(word: *mut u64, value: u64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: one store (contract).
    unsafe {
        asm!("mov qword ptr [{word}], {value}", word = in(reg) word, value = in(reg) value,
            options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: one store (contract).
    unsafe {
        asm!("str {value}, [{word}]", word = in(reg) word, value = in(reg) value, options(nostack, preserves_flags));
    }
}

/// Reads a word.
///
/// # Safety
/// `word` is aligned, and may be read.
#[inline(always)]
pub(crate) unsafe fn load(word: *const u64) -> u64 {
    let value;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: one load (contract).
    unsafe {
        asm!("mov {value}, qword ptr [{word}]", word = in(reg) word, value = out(reg) value,
            options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: one load (contract).
    unsafe {
        asm!("ldr {value}, [{word}]", word = in(reg) word, value = out(reg) value, options(nostack, preserves_flags));
    }
    value
}
