//! Systems on which only the library itself is measured, by the wall clock.

use std::fs::File;
use std::time::Duration;

use elbowroom_measure::Pages;

pub(crate) fn reserve_and_release(_: usize) -> Result<(), String> {
    Err("the bare system calls are Unix's".to_owned())
}

pub(crate) fn read_exact_at(_: &File, _: &mut [u8], _: u64) -> Result<(), String> {
    Err("the positional read is Unix's".to_owned())
}

pub(crate) fn children_cpu_time() -> Option<Duration> {
    None
}

/// Never exists on this system.
#[allow(dead_code, reason = "no value of the type can be made")]
pub(crate) struct Block(*mut u8);

impl Block {
    pub(crate) fn new(_: usize, _: Pages) -> Result<Block, String> {
        Err("the bare system calls are Unix's".to_owned())
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.0
    }
}
