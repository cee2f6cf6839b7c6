//! Operations of `elbowroom_fuzz::append_vec`, chosen by libFuzzer.

#![no_main]

use elbowroom_fuzz::append_vec::{Input, run};

libfuzzer_sys::fuzz_target!(|input: Input| run(input));
