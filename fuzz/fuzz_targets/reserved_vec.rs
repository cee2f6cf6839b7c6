//! Operations of `elbowroom_fuzz::reserved_vec`, chosen by libFuzzer.

#![no_main]

use elbowroom_fuzz::reserved_vec::{Input, run};

libfuzzer_sys::fuzz_target!(|input: Input| run(input));
