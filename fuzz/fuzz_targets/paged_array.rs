//! Operations of `elbowroom_fuzz::paged_array`, chosen by libFuzzer.

#![no_main]

use elbowroom_fuzz::paged_array::{Input, run};

libfuzzer_sys::fuzz_target!(|input: Input| run(input));
