//! The crossing against a plain account of who waits for whom.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/evio-bridge/tests/model/mod.rs"]
mod model;

fuzz_target!(|data: &[u8]| model::run(&model::decode(data)));
