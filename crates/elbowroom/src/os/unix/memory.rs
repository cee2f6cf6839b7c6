//! Reserves, commits, decommits, protects and releases: mmap(2) and its family.

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use super::errno::last_error;
use crate::os::pages::Pages;
use crate::plain::{Access, OsCode, Placement};

/// mmap(2): maps exactly there, or fails with EEXIST (since 4.17; before that, the address is a hint).
#[cfg(target_os = "linux")]
const MAP_EXACTLY: i32 = libc::MAP_FIXED_NOREPLACE;

/// macOS has no such flag: the address is a hint, and the caller checks where the mapping is.
#[cfg(target_os = "macos")]
const MAP_EXACTLY: i32 = 0;

/// Private anonymous memory, without MAP_NORESERVE. A mapping that cannot be written is not charged anyway. With the
/// flag, Linux would not charge it later either, when a commit makes it writable (mprotect(2) of a VM_NORESERVE
/// mapping).
pub(super) const RESERVED: i32 = libc::MAP_PRIVATE | libc::MAP_ANON;

/// Maps `len` bytes that are inaccessible and not charged.
fn map_reserved(hint: usize, len: usize, extra_flags: i32) -> Result<NonNull<u8>, OsCode> {
    let flags = RESERVED | extra_flags;
    // SAFETY: mmap(2) without MAP_FIXED (`extra_flags` is 0 or MAP_FIXED_NOREPLACE) makes a new mapping and leaves
    // every existing one alone. Any hint and length are allowed; unusable ones give an error.
    let base = unsafe {
        libc::mmap(
            ptr::without_provenance_mut::<c_void>(hint),
            len,
            libc::PROT_NONE,
            flags,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return Err(last_error());
    }
    // A hint of 0 means "anywhere". Apart from vm.mmap_min_addr, the kernel does not choose page 0 by itself.
    NonNull::new(base.cast()).ok_or(OsCode(libc::ENOMEM))
}

pub(crate) fn reserve(
    len: usize,
    align: usize,
    placement: Placement,
) -> Result<NonNull<u8>, OsCode> {
    match placement {
        Placement::Exactly(address) => {
            let base = map_reserved(address, len, MAP_EXACTLY)?;
            // If the flag is unknown (Linux before 4.17, macOS), the address is only a hint.
            if base.as_ptr().addr() == address {
                return Ok(base);
            }
            unmap_new(base.as_ptr(), len);
            Err(OsCode(libc::EEXIST))
        }
        Placement::Near(address) => reserve_aligned(address, len, align),
        Placement::Anywhere => reserve_aligned(0, len, align),
    }
}

/// Reserves `len` bytes at a multiple of `align`. If the kernel does not choose an aligned address by itself, `align`
/// more bytes are reserved and the two ends given back.
fn reserve_aligned(hint: usize, len: usize, align: usize) -> Result<NonNull<u8>, OsCode> {
    let base = map_reserved(hint, len, 0)?;
    if base.as_ptr().addr() % align == 0 {
        return Ok(base);
    }
    unmap_new(base.as_ptr(), len);

    let wide = len.checked_add(align).ok_or(OsCode(libc::ENOMEM))?;
    let base = map_reserved(hint, wide, 0)?;
    let head = base.as_ptr().addr().wrapping_neg() % align;
    let tail = wide - head - len;
    let aligned = base.as_ptr().wrapping_add(head);
    if head > 0 {
        unmap_new(base.as_ptr(), head);
    }
    if tail > 0 {
        unmap_new(aligned.wrapping_add(len), tail);
    }
    NonNull::new(aligned).ok_or(OsCode(libc::ENOMEM))
}

/// Gives back a part of a mapping that was just made and is not used yet.
fn unmap_new(base: *mut u8, len: usize) {
    // SAFETY: the caller has just mapped these pages and has not passed the address on, so nothing refers to them.
    let result = unsafe { libc::munmap(base.cast(), len) };
    // munmap(2) fails for a bad range, which this is not, or if splitting a mapping would exceed vm.max_map_count. Then
    // the pages stay reserved, which only costs address space.
    debug_assert_eq!(result, 0, "munmap: {:?}", last_error());
}

pub(crate) fn commit(pages: Pages<'_>) -> Result<(), OsCode> {
    // The kernel charges private writable mappings. mprotect(2) from PROT_NONE to writable makes this one such a
    // mapping, so this call, and not a later touch, fails when memory is over-committed in strict mode.
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: whole pages of a live reservation (`Pages`). They can be read and written afterwards, and their contents
    // do not change (mprotect(2)).
    let result = unsafe { libc::mprotect(pages.start(), pages.len(), access) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// # Safety
/// See [`os::decommit`](crate::os::decommit).
pub(crate) unsafe fn decommit(pages: Pages<'_>) -> Result<(), OsCode> {
    // On Linux, only a new mapping over the old one refunds the charge (MADV_DONTNEED keeps it); on macOS, only a new
    // mapping is sure to be zero. MAP_FIXED replaces the range in one step, so nothing else can be mapped in between
    // (mmap(2)).
    let flags = RESERVED | libc::MAP_FIXED;
    let (start, len) = (pages.start(), pages.len());
    // SAFETY: the range lies inside a live reservation (`Pages`), and no reference points to its contents (contract).
    let result = unsafe { libc::mmap(start, len, libc::PROT_NONE, flags, -1, 0) };
    if result != libc::MAP_FAILED {
        return Ok(());
    }
    let refused = last_error();
    // mmap(2) does not say that a failed call leaves the old mapping. So the addresses are reserved again before
    // anything else is mapped there. If nothing was unmapped, this is refused, too.
    reserve(len, 1, Placement::Exactly(start.addr()))
        .map(drop)
        .map_err(|_| refused)
}

/// # Safety
/// See [`os::uncommit`](crate::os::uncommit).
pub(crate) unsafe fn uncommit(pages: Pages<'_>) -> Result<(), OsCode> {
    // Not a new mapping, which would lose the program's advice (madvise(2)) and the name. The kernel keeps the charge
    // of a private mapping that has been writable (mprotect(2) never reduces it), until it is replaced or unmapped.
    let (start, len) = (pages.start(), pages.len());
    // SAFETY: whole pages of a live reservation (`Pages`), and no reference points into them (contract).
    if unsafe { libc::mprotect(start, len, libc::PROT_NONE) } != 0 {
        return Err(last_error());
    }
    // A thread may have written there through a raw pointer while the pages were writable.
    // SAFETY: whole pages of a live reservation (`Pages`), and no reference points to their contents (contract).
    if unsafe { libc::madvise(start, len, libc::MADV_DONTNEED) } != 0 {
        return Err(last_error());
    }
    Ok(())
}

/// # Safety
/// See [`os::protect`](crate::os::protect).
pub(crate) unsafe fn protect(pages: Pages<'_>, access: Access) -> Result<(), OsCode> {
    let bits = match access {
        Access::None => libc::PROT_NONE,
        Access::Read => libc::PROT_READ,
        Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        Access::ReadExecute => libc::PROT_READ | libc::PROT_EXEC,
    };
    // SAFETY: whole pages of a live reservation (`Pages`), and the new access invalidates no reference into them
    // (contract).
    let result = unsafe { libc::mprotect(pages.start(), pages.len(), bits) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// # Safety
/// See [`os::release`](crate::os::release).
pub(crate) unsafe fn release(base: NonNull<u8>, len: usize) -> Result<(), OsCode> {
    // SAFETY: the range is one whole mapping of the caller's, and nothing uses it any more (contract).
    let result = unsafe { libc::munmap(base.as_ptr().cast(), len) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}
