//! Windows: VirtualQueryEx for the mappings, QueryWorkingSetEx for the pages.

#![allow(unsafe_code, reason = "Win32 calls")]

use std::io;
use std::process;
use std::ptr;

use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_ACCESS_DENIED, ERROR_INVALID_PARAMETER, HANDLE, STILL_ACTIVE,
};
use windows_sys::Win32::System::Memory::{
    GetProcessHeaps, MEM_COMMIT, MEM_FREE, MEM_IMAGE, MEM_MAPPED, MEMORY_BASIC_INFORMATION,
    PAGE_EXECUTE, PAGE_EXECUTE_READ, PAGE_EXECUTE_READWRITE, PAGE_EXECUTE_WRITECOPY, PAGE_GUARD,
    PAGE_READONLY, PAGE_READWRITE, PAGE_WRITECOPY, VirtualQueryEx,
};
use windows_sys::Win32::System::ProcessStatus::{
    K32GetMappedFileNameW, K32QueryWorkingSetEx, PSAPI_WORKING_SET_EX_INFORMATION,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetExitCodeProcess, OpenProcess, PROCESS_QUERY_INFORMATION, PROCESS_VM_READ,
    QueryFullProcessImageNameW,
};

use crate::error::Error;
use crate::pages::{Run, State};
use crate::snapshot::{Figures, Kind, Mapping, Region, Snapshot};

/// A process whose memory may be queried.
struct Process {
    pid: u32,
    // Invariant: open for queries until dropped.
    handle: HANDLE,
    is_own: bool,
}

impl Process {
    fn open(pid: u32) -> Result<Process, Error> {
        if pid == process::id() {
            // SAFETY: GetCurrentProcess has no preconditions. It returns a pseudo-handle with all rights, which need
            // not be closed.
            let handle = unsafe { GetCurrentProcess() };
            return Ok(Process {
                pid,
                handle,
                is_own: true,
            });
        }
        // SAFETY: OpenProcess has no preconditions.
        let handle = unsafe { OpenProcess(PROCESS_QUERY_INFORMATION | PROCESS_VM_READ, 0, pid) };
        if handle.is_null() {
            return Err(explain(pid, &io::Error::last_os_error()));
        }
        Ok(Process {
            pid,
            handle,
            is_own: false,
        })
    }

    /// Returns the block of one state and protection at an address, or `None` past the last.
    fn query(&self, address: u64) -> Option<MEMORY_BASIC_INFORMATION> {
        let mut block = MEMORY_BASIC_INFORMATION::default();
        let at = ptr::without_provenance(address as usize);
        // SAFETY: the handle is open (invariant), any address may be queried, and `block` is writable and has the size
        // that is passed.
        let written = unsafe { VirtualQueryEx(self.handle, at, &mut block, size_of_val(&block)) };
        (written != 0).then_some(block)
    }

    /// Returns all blocks that are not free.
    fn blocks(&self) -> Vec<MEMORY_BASIC_INFORMATION> {
        let mut blocks = Vec::new();
        let mut at = 0;
        while let Some(block) = self.query(at) {
            let next = block.BaseAddress.addr() as u64 + block.RegionSize as u64;
            if block.State != MEM_FREE {
                blocks.push(block);
            }
            if next <= at {
                break;
            }
            at = next;
        }
        blocks
    }

    fn file_name(&self, block: &MEMORY_BASIC_INFORMATION) -> String {
        let mut name = [0u16; 1024];
        // SAFETY: the handle is open (invariant), and the buffer is writable for its length.
        let len = unsafe {
            K32GetMappedFileNameW(
                self.handle,
                block.BaseAddress,
                name.as_mut_ptr(),
                name.len() as u32,
            )
        };
        // Wine may count the end of the string.
        String::from_utf16_lossy(&name[..(len as usize).min(name.len())])
            .trim_end_matches('\0')
            .to_owned()
    }

    fn program(&self) -> String {
        let mut name = [0u16; 1024];
        let mut len = name.len() as u32;
        // SAFETY: the handle is open (invariant), and the buffer is writable for `len` characters. The call then stores
        // their number in `len`.
        let known =
            unsafe { QueryFullProcessImageNameW(self.handle, 0, name.as_mut_ptr(), &mut len) };
        if known == 0 {
            String::new()
        } else {
            String::from_utf16_lossy(&name[..(len as usize).min(name.len())])
        }
    }

    fn has_ended(&self) -> bool {
        let mut code = 0;
        // SAFETY: the handle is open (invariant), and `code` is writable.
        let known = unsafe { GetExitCodeProcess(self.handle, &mut code) };
        known != 0 && code != STILL_ACTIVE as u32
    }

    /// Returns for each page of a range whether it is in memory, and whether as a large page.
    fn pages(
        &self,
        start: u64,
        end: u64,
        tell: &mut impl FnMut(u64, bool, bool),
    ) -> Result<(), Error> {
        const LARGE_PAGE: usize = 1 << 23;
        let page = elbowroom::page_size() as u64;
        // In parts, so that the buffer stays small.
        for from in (start..end).step_by(4096 * page as usize) {
            let some = (from..end).step_by(page as usize).take(4096);
            let entry = |address: u64| PSAPI_WORKING_SET_EX_INFORMATION {
                VirtualAddress: ptr::without_provenance_mut(address as usize),
                ..PSAPI_WORKING_SET_EX_INFORMATION::default()
            };
            let mut entries: Vec<PSAPI_WORKING_SET_EX_INFORMATION> =
                some.clone().map(entry).collect();
            let size = size_of_val(entries.as_slice()) as u32;
            // SAFETY: the handle is open (invariant), and the entries are readable and writable for `size` bytes.
            if unsafe { K32QueryWorkingSetEx(self.handle, entries.as_mut_ptr().cast(), size) } == 0
            {
                return Err(explain(self.pid, &io::Error::last_os_error()));
            }
            for (address, entry) in some.zip(&entries) {
                // SAFETY: all members of the union are a word of flags.
                let flags = unsafe { entry.VirtualAttributes.Flags };
                tell(address, flags & 1 != 0, flags & LARGE_PAGE != 0);
            }
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_own {
            // SAFETY: the handle was opened by `open` and is closed only here.
            unsafe { CloseHandle(self.handle) };
        }
    }
}

/// Returns an error with a remedy.
fn explain(pid: u32, error: &io::Error) -> Error {
    match error.raw_os_error().map(|code| code as u32) {
        Some(ERROR_INVALID_PARAMETER) => {
            Error::gone(format!("there is no process {pid}, or it has just ended"))
        }
        Some(ERROR_ACCESS_DENIED) => Error::forbidden(format!(
            "process {pid} may not be looked at: it is another user's, or protected; run this as administrator"
        )),
        _ => Error::other(format!("process {pid} cannot be looked at: {error}")),
    }
}

pub(crate) fn snapshot(pid: u32) -> Result<Snapshot, Error> {
    let process = Process::open(pid)?;
    let heaps = if process.is_own { heaps() } else { Vec::new() };
    let blocks = process.blocks();
    let mut mappings = Vec::with_capacity(blocks.len());
    for allocation in blocks.chunk_by(|a, b| a.AllocationBase == b.AllocationBase) {
        let kind = kind(allocation, &heaps);
        let name = match kind {
            Kind::Image | Kind::File | Kind::Shared => process.file_name(&allocation[0]),
            _ => String::new(),
        };
        // A section without a file is shared memory.
        let kind = if kind == Kind::File && name.is_empty() {
            Kind::Shared
        } else {
            kind
        };
        for block in allocation {
            mappings.push(mapping(&process, block, kind, &name));
        }
    }
    if process.has_ended() || mappings.is_empty() {
        return Err(Error::gone(format!(
            "there is no process {pid}, or it has just ended"
        )));
    }
    let page_size_bytes = elbowroom::page_size() as u64;
    Ok(Snapshot {
        pid: process.pid,
        program: process.program(),
        page_size_bytes,
        mappings,
    })
}

/// Returns the addresses of this process's heaps. Each is the start of the heap's first allocation.
fn heaps() -> Vec<usize> {
    let mut heaps = [ptr::null_mut(); 64];
    // SAFETY: the array is writable and has room for the number of handles that is passed.
    let count = unsafe { GetProcessHeaps(heaps.len() as u32, heaps.as_mut_ptr()) } as usize;
    heaps[..count.min(heaps.len())]
        .iter()
        .map(|heap: &HANDLE| heap.addr())
        .collect()
}

/// Returns the kind of an allocation, by its blocks.
fn kind(allocation: &[MEMORY_BASIC_INFORMATION], heaps: &[usize]) -> Kind {
    let first = &allocation[0];
    match first.Type {
        MEM_IMAGE => return Kind::Image,
        MEM_MAPPED => return Kind::File,
        _ => {}
    }
    let is_guard = |block: &MEMORY_BASIC_INFORMATION| block.Protect & PAGE_GUARD != 0;
    let committed = allocation
        .iter()
        .filter(|block| block.State == MEM_COMMIT)
        .count();
    if heaps.contains(&first.AllocationBase.addr()) {
        Kind::Heap
    } else if allocation.len() > 1 && allocation.iter().any(is_guard) {
        // A stack: reserved pages, a guard page that makes it grow, and the committed part.
        Kind::Stack
    } else if committed == 0 {
        Kind::Reserved
    } else if committed < allocation.len() {
        Kind::Reservation
    } else {
        Kind::Anonymous
    }
}

fn mapping(process: &Process, block: &MEMORY_BASIC_INFORMATION, kind: Kind, name: &str) -> Mapping {
    let start = block.BaseAddress.addr() as u64;
    let size = block.RegionSize as u64;
    let is_committed = block.State == MEM_COMMIT;
    let is_copied = block.Protect & (PAGE_WRITECOPY | PAGE_EXECUTE_WRITECOPY) != 0;
    let is_private = !matches!(block.Type, MEM_IMAGE | MEM_MAPPED);
    let mut in_memory = Some((0, 0));
    if is_committed {
        let page = elbowroom::page_size() as u64;
        let (mut resident, mut huge) = (0, 0);
        let told = process.pages(start, start + size, &mut |_, is_resident, is_large| {
            resident += if is_resident { page } else { 0 };
            huge += if is_resident && is_large { page } else { 0 };
        });
        // Wine reports only the pages of the calling process.
        in_memory = told.ok().map(|()| (resident, huge));
    }
    let figures = Figures {
        reserved_bytes: size,
        committed_bytes: if is_committed { size } else { 0 },
        charged_bytes: Some(if is_committed && (is_private || is_copied) {
            size
        } else {
            0
        }),
        resident_bytes: in_memory.map(|(resident, _)| resident),
        dirty_bytes: None,
        huge_bytes: in_memory.map(|(_, huge)| huge),
        swapped_bytes: None,
    };
    Mapping {
        start,
        end: start + size,
        kind,
        name: name.to_owned(),
        access: access(block),
        allocation: Some(block.AllocationBase.addr() as u64),
        figures,
    }
}

fn access(block: &MEMORY_BASIC_INFORMATION) -> String {
    // The low byte is one of these; the flags are above.
    let rights = match if block.State == MEM_COMMIT {
        block.Protect & 0xff
    } else {
        0
    } {
        PAGE_READONLY => "r--",
        PAGE_READWRITE => "rw-",
        PAGE_WRITECOPY => "rc-",
        PAGE_EXECUTE => "--x",
        PAGE_EXECUTE_READ => "r-x",
        PAGE_EXECUTE_READWRITE => "rwx",
        PAGE_EXECUTE_WRITECOPY => "rcx",
        _ => "---",
    };
    let what = match block.Type {
        _ if block.State == MEM_COMMIT && block.Protect & PAGE_GUARD != 0 => 'g',
        MEM_IMAGE => 'i',
        MEM_MAPPED => 's',
        _ => 'p',
    };
    format!("{rights}{what}")
}

pub(crate) fn page_runs(snapshot: &Snapshot, region: &Region) -> Result<Vec<Run>, Error> {
    let process = Process::open(snapshot.pid)?;
    let page = snapshot.page_size_bytes;
    let mut runs = Vec::new();
    for mapping in &snapshot.mappings {
        if mapping.start < region.start || region.end < mapping.end {
            continue;
        }
        if mapping.access.ends_with('g')
            || (mapping.figures.committed_bytes > 0 && mapping.access.starts_with("---"))
        {
            Run::new(mapping.start, mapping.end, State::Guard).push(&mut runs);
        } else if mapping.figures.committed_bytes == 0 {
            Run::new(mapping.start, mapping.end, State::Reserved).push(&mut runs);
        } else {
            process.pages(
                mapping.start,
                mapping.end,
                &mut |address, is_resident, is_large| {
                    let state = match (is_resident, is_large) {
                        (false, _) => State::Committed,
                        (true, false) => State::Resident,
                        (true, true) => State::Huge,
                    };
                    Run::new(address, address + page, state).push(&mut runs);
                },
            )?;
        }
    }
    Ok(runs)
}
