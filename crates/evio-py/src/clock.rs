//! What time it is: the interpreter's own monotonic clock, which `time.monotonic()` reads too.

use pyo3::prelude::*;

#[cfg(Py_3_13)]
fn read() -> i64 {
    unsafe extern "C" {
        fn PyTime_MonotonicRaw(result: *mut i64) -> std::ffi::c_int;
    }
    let mut now = 0;
    // SAFETY: writes one integer; it fails only where there is no monotonic clock at all, and then
    // leaves 0.
    unsafe { PyTime_MonotonicRaw(&raw mut now) };
    now
}

#[cfg(not(Py_3_13))]
fn read() -> i64 {
    unsafe extern "C" {
        fn _PyTime_GetMonotonicClock() -> i64;
    }
    // SAFETY: has no precondition beyond being attached, which the token of `now` shows.
    unsafe { _PyTime_GetMonotonicClock() }
}

/// Nanoseconds on the clock of `time.monotonic_ns()`.
pub(crate) fn now(_py: Python<'_>) -> u64 {
    u64::try_from(read()).unwrap_or(0)
}

/// A time in nanoseconds as `time.monotonic()` would give it.
pub(crate) fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// The first nanosecond at which `time.monotonic()` is no less than `seconds`.
///
/// Not-a-number and times past the clock's end never come.
pub(crate) fn deadline(when: f64) -> u64 {
    if when.is_nan() {
        return u64::MAX;
    }
    let mut nanoseconds = (when * 1e9).ceil();
    // The product was rounded; the quotient is what the program will compare.
    if nanoseconds / 1e9 < when {
        nanoseconds += 1.0;
    }
    nanoseconds as u64
}
