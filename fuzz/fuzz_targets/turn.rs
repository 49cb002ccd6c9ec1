//! The engine against plain lists of callbacks, timers and watchers.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/evio-loop/tests/model/mod.rs"]
mod model;

fuzz_target!(|data: &[u8]| model::run(&model::decode(data)));
