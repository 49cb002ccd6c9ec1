//! The timing wheel against a plain list of timers.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/evio-timers/tests/model/mod.rs"]
mod model;

fuzz_target!(|data: &[u8]| model::run(&model::decode(data)));
