//! The reactor against a plain list of watchers.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/evio-reactor/tests/model/mod.rs"]
mod model;

fuzz_target!(|data: &[u8]| model::run(&model::decode(data)));
