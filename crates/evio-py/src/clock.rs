//! What time it is: the interpreter's own monotonic clock, which `time.monotonic()` reads too.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyInt;

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

/// A number of seconds that a program gives.
///
/// # Errors
///
/// `TypeError` when it is no real number, `OverflowError` when it is too large an integer.
pub(crate) fn delay(seconds: &Bound<'_, PyAny>) -> PyResult<f64> {
    // The way of all numbers makes a float of an integer first.
    let Ok(integer) = seconds.cast_exact::<PyInt>() else {
        return seconds.extract();
    };
    // SAFETY: takes a live integer; -1.0 comes with or without an exception set.
    let number = unsafe { ffi::PyLong_AsDouble(integer.as_ptr()) };
    if number == -1.0 {
        if let Some(error) = PyErr::take(seconds.py()) {
            return Err(error);
        }
    }
    Ok(number)
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
