//! Operations of `elbowroom_fuzz::append_vec_threads`, chosen by libFuzzer.

#![no_main]

use elbowroom_fuzz::append_vec_threads::{Input, run};

libfuzzer_sys::fuzz_target!(|input: Input| run(input));
