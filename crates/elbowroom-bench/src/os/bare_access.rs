//! A store and a load of one instruction each, opaque to the compiler. A fallible access needs at least that.

#![allow(unsafe_code, reason = "a store and a load in assembly")]

use std::arch::asm;

/// Writes a word.
///
/// # Safety
/// `word` is aligned and writable, and no other code accesses it meanwhile.
#[inline(always)]
pub(crate) unsafe fn store(word: *mut u64, value: u64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction stores one word at `word`, which is aligned and writable (contract).
    unsafe {
        asm!("mov qword ptr [{word}], {value}", word = in(reg) word, value = in(reg) value,
            options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the instruction stores one word at `word`, which is aligned and writable (contract).
    unsafe {
        asm!("str {value}, [{word}]", word = in(reg) word, value = in(reg) value, options(nostack, preserves_flags));
    }
}

/// Reads a word.
///
/// # Safety
/// `word` is aligned and readable, and no other code writes it meanwhile.
#[inline(always)]
pub(crate) unsafe fn load(word: *const u64) -> u64 {
    let value;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction loads one word from `word`, which is aligned and readable (contract).
    unsafe {
        asm!("mov {value}, qword ptr [{word}]", word = in(reg) word, value = out(reg) value,
            options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the instruction loads one word from `word`, which is aligned and readable (contract).
    unsafe {
        asm!("ldr {value}, [{word}]", word = in(reg) word, value = out(reg) value, options(nostack, preserves_flags));
    }
    value
}
