//! Finds a section of the running image by its name.

use std::ptr;

use windows_sys::Win32::Foundation::HMODULE;
use windows_sys::Win32::System::Diagnostics::Debug::{IMAGE_NT_HEADERS64, IMAGE_SECTION_HEADER};
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
    GetModuleHandleExW,
};
use windows_sys::Win32::System::SystemServices::IMAGE_DOS_HEADER;

/// Returns the start and the length of a section of the executable or library that this code was linked into.
pub(crate) fn image_section(name: [u8; 8]) -> Option<(*const u8, usize)> {
    let mut module: HMODULE = ptr::null_mut();
    let flags =
        GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
    let inside = image_section as fn([u8; 8]) -> Option<(*const u8, usize)> as *const u16;
    // SAFETY: with FROM_ADDRESS the name is any address inside the module; `module` is writable.
    if unsafe { GetModuleHandleExW(flags, inside, &mut module) } == 0 {
        return None;
    }
    // A module's handle is the address of its headers, which stay mapped while it is loaded; this code is part of it.
    let base: *const u8 = module.cast::<u8>().cast_const();
    // SAFETY: a module is a PE image, which starts with this header and stays mapped while it is loaded; this code is
    // part of it.
    let dos = unsafe { &*base.cast::<IMAGE_DOS_HEADER>() };
    let headers: *const IMAGE_NT_HEADERS64 = base.wrapping_offset(dos.e_lfanew as isize).cast();
    // SAFETY: `e_lfanew` is the offset of the NT headers in the mapped image. They are of the 64-bit kind on every
    // supported target.
    let nt = unsafe { &*headers };
    let first = (&raw const nt.OptionalHeader)
        .cast::<u8>()
        .wrapping_add(nt.FileHeader.SizeOfOptionalHeader.into());
    let count = usize::from(nt.FileHeader.NumberOfSections);
    // SAFETY: the section headers follow the optional header in the mapped image, and the file header has their number.
    let sections =
        unsafe { std::slice::from_raw_parts(first.cast::<IMAGE_SECTION_HEADER>(), count) };
    sections
        .iter()
        .find(|section| section.Name == name)
        .map(|section| {
            // SAFETY: in an image (unlike in an object file), the union holds the size in memory.
            let bytes = unsafe { section.Misc.VirtualSize };
            (
                base.wrapping_add(section.VirtualAddress as usize),
                bytes as usize,
            )
        })
}
