//! Operations of `elbowroom_fuzz::region`, chosen by libFuzzer.

#![no_main]

use elbowroom_fuzz::region::{Input, run};

libfuzzer_sys::fuzz_target!(|input: Input| run(input));
