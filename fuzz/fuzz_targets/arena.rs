//! Operations of `elbowroom_fuzz::arena`, chosen by libFuzzer.

#![no_main]

use elbowroom_fuzz::arena::{Input, run};

libfuzzer_sys::fuzz_target!(|input: Input| run(input));
