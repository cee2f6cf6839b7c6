//! The access that /proc reports for an address, read without allocation.

use std::ffi::CStr;

use super::super::errno::last_error;
use crate::plain::FaultAccess;

const MAPS: &CStr = c"/proc/self/maps";

/// The accesses that an instruction may make at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protection {
    read: bool,
    write: bool,
    execute: bool,
}

impl Protection {
    const NONE: Protection = Protection {
        read: false,
        write: false,
        execute: false,
    };

    pub(super) fn allows(self, access: FaultAccess) -> bool {
        match access {
            FaultAccess::Read => self.read,
            FaultAccess::Write => self.write,
            FaultAccess::Execute => self.execute,
        }
    }
}

/// An owned file descriptor, closed when dropped.
struct File(i32);

impl File {
    /// Opens a file for reading. Returns `None` if /proc is not mounted or the process has no descriptors left.
    /// Async-signal-safe.
    fn open(path: &CStr) -> Option<File> {
        // SAFETY: open(2) reads the path, which is a zero-terminated string.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        (fd >= 0).then_some(File(fd))
    }

    fn read(&self, buffer: &mut [u8]) -> usize {
        // SAFETY: the descriptor is open, and read(2) writes at most the length of the buffer to it, which is live.
        let read = unsafe { libc::read(self.0, buffer.as_mut_ptr().cast(), buffer.len()) };
        usize::try_from(read).unwrap_or(0)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor was opened by `open` and is closed only here.
        unsafe { libc::close(self.0) };
    }
}

/// Returns the access that the kernel allows the program at `address`.
///
/// Returns `None` if /proc cannot be read, or if the text of /proc/self/maps lists no mapping there: an emulator's
/// text may be incomplete. The rule against endless repeats ends a fault at an address that is not mapped.
pub(super) fn query(address: usize) -> Option<Protection> {
    let maps = File::open(MAPS)?;
    match query_by_ioctl(&maps, address) {
        Ok(answer) => Some(answer.unwrap_or(Protection::NONE)),
        Err(()) => query_by_text(&maps, address),
    }
}

/// Returns the number of mappings of the process: the lines of /proc/self/maps. Async-signal-safe.
pub(super) fn count() -> Option<usize> {
    let maps = File::open(MAPS)?;
    // Small, because a handler has little stack.
    let mut buffer = [0; 128];
    let mut lines = 0;
    loop {
        match maps.read(&mut buffer) {
            0 => return Some(lines),
            read => lines += buffer[..read].iter().filter(|&&byte| byte == b'\n').count(),
        }
    }
}

/// Returns the largest number of mappings that a process may have (proc_sys_vm(5), vm.max_map_count).
/// Async-signal-safe.
pub(super) fn count_max() -> Option<usize> {
    let mut buffer = [0; 32];
    let read = File::open(c"/proc/sys/vm/max_map_count")?.read(&mut buffer);
    std::str::from_utf8(&buffer[..read])
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Looks up one mapping by its address, without reading the others: the PROCMAP_QUERY ioctl of Linux 6.11. Returns
/// `Err` if the kernel does not have it.
fn query_by_ioctl(maps: &File, address: usize) -> Result<Option<Protection>, ()> {
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

    let mut query = ProcmapQuery {
        size: SIZE as u64,
        query_addr: address as u64,
        ..ProcmapQuery::default()
    };
    // SAFETY: the request takes a pointer to this structure, which contains its own size. No name and no build id are
    // requested, so the kernel writes nothing else.
    let result = unsafe { libc::ioctl(maps.0, PROCMAP_QUERY as _, &raw mut query) };
    if result == 0 {
        let flags = query.vma_flags;
        return Ok(Some(Protection {
            read: flags & READABLE != 0,
            write: flags & WRITABLE != 0,
            execute: flags & EXECUTABLE != 0,
        }));
    }
    if last_error().0 == libc::ENOENT {
        Ok(None)
    } else {
        Err(())
    }
}

/// Looks up one mapping by reading the lines `START-END PERMS …` until one contains the address. Allocates nothing.
fn query_by_text(maps: &File, address: usize) -> Option<Protection> {
    let mut parser = MapsParser::new(address);
    let mut buffer = [0u8; 512];
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

/// Parses /proc/self/maps byte by byte, so that a line may span two reads.
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
        MapsParser {
            address,
            field: MapsField::Start,
            start: 0,
            end: 0,
            permissions: [0; 3],
        }
    }

    /// Takes the next byte. Returns the result once the line that contains the address is known.
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
                        return Some(Protection {
                            read: read == b'r',
                            write: write == b'w',
                            execute: execute == b'x',
                        });
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

    const NONE: Protection = Protection::NONE;

    fn map_page(protection: i32) -> usize {
        // SAFETY: the call makes a new anonymous mapping at an address that the kernel chooses.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                1,
                protection,
                libc::MAP_PRIVATE | libc::MAP_ANON,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        page.addr()
    }

    #[test]
    fn both_queries_agree_with_what_was_mapped() {
        let cases = [
            (libc::PROT_NONE, NONE),
            (libc::PROT_READ, Protection { read: true, ..NONE }),
            (
                libc::PROT_READ | libc::PROT_WRITE,
                Protection {
                    read: true,
                    write: true,
                    ..NONE
                },
            ),
            (
                libc::PROT_READ | libc::PROT_EXEC,
                Protection {
                    read: true,
                    execute: true,
                    ..NONE
                },
            ),
        ];
        for (bits, expected) in cases {
            let address = map_page(bits);
            let maps = File::open(MAPS).expect("/proc/self/maps");
            let by_text = query_by_text(&maps, address + 7);
            // An emulator with larger pages than its host omits some mappings from its own version of the file.
            let may_be_absent = std::env::var_os("ELBOWROOM_TEST_RUNNER").is_some()
                && crate::os::page_size() != 4096;
            assert!(
                by_text == Some(expected) || (may_be_absent && by_text.is_none()),
                "{by_text:?} not {expected:?}"
            );
            if let Ok(answer) = query_by_ioctl(&maps, address + 7) {
                assert_eq!(answer, Some(expected));
            }
        }
        let maps = File::open(MAPS).expect("/proc/self/maps");
        let is_certain = query_by_ioctl(&maps, 8).is_ok();
        assert_eq!(query(8), is_certain.then_some(NONE), "page 0 is unmapped");
    }
}
