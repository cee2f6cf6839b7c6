//! Systems on which the memory of a process is not measured.

use std::fs::File;

use super::Memory;

/// Whether a child process can use mimalloc as its global allocator.
pub(crate) const HAS_MIMALLOC: bool = false;

pub(crate) fn memory() -> Option<Memory> {
    None
}

/// Never exists on this system.
pub(crate) enum MemoryGauge {}

impl MemoryGauge {
    pub(crate) fn new() -> Option<MemoryGauge> {
        None
    }

    pub(crate) fn read(&self) -> Memory {
        match *self {}
    }
}

pub(crate) fn load() -> Option<String> {
    None
}

pub(crate) fn machine() -> Vec<(&'static str, String)> {
    let cpu = std::env::var("PROCESSOR_IDENTIFIER").unwrap_or_else(|_| "not known".to_owned());
    vec![
        ("processor", cpu),
        (
            "system",
            format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        ),
    ]
}

/// Never exists on this system.
pub(crate) enum PipeManaged {}

impl PipeManaged {
    pub(crate) fn new(_: usize) -> Result<PipeManaged, String> {
        Err("built for Linux only".to_owned())
    }

    pub(crate) fn base(&self) -> *mut u8 {
        match *self {}
    }
}

pub(crate) fn evict(_: &File) -> Result<f64, String> {
    Err("this system cannot be told to".to_owned())
}

pub(crate) fn is_in_memory(_: &File) -> bool {
    false
}

/// Never exists on this system.
pub(crate) struct BareUserfault(*const u8);

impl BareUserfault {
    pub(crate) fn new(_: Vec<u8>, _: usize) -> Result<BareUserfault, String> {
        Err("built for Linux only".to_owned())
    }

    pub(crate) fn base(&self) -> *const u8 {
        self.0
    }
}
