//! Systems on which only the library itself is measured, by the wall clock.

use elbowroom_measure::Pages;

pub(crate) fn reserve_and_release(_: usize) -> Result<(), String> {
    Err("the bare system calls are Unix's".to_owned())
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
