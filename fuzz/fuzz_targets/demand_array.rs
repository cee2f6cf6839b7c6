//! Operations of `elbowroom_fuzz::demand_array`, chosen by libFuzzer.

#![no_main]

use elbowroom_fuzz::demand_array::{Input, run};

libfuzzer_sys::fuzz_target!(|input: Input| run(input));
