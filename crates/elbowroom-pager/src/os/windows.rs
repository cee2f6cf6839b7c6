//! ReadFile and WriteFile with an offset. They move the file's cursor as well, which nothing here uses.

use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt;

pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

pub(crate) fn write_at(file: &File, buffer: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(buffer, offset)
}

/// The path of `file:///C:/data` is `/C:/data`.
pub(crate) fn path_of_url(path: &str) -> &str {
    match path.as_bytes() {
        [b'/', drive, b':', ..] if drive.is_ascii_alphabetic() => &path[1..],
        _ => path,
    }
}
