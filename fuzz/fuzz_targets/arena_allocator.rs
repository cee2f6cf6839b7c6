//! Operations of `elbowroom_fuzz::arena_allocator`, chosen by libFuzzer.

#![no_main]

use elbowroom_fuzz::arena_allocator::{Input, run};

libfuzzer_sys::fuzz_target!(|input: Input| run(input));
