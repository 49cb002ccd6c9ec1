//! What time it is: the only file of the pure crates that reads a clock.

use std::time::Instant;

/// A source of `now` for an [`Engine`](crate::Engine), in nanoseconds since the clock's origin.
///
/// An engine is handed `now` and never asks for it, so that a test can hand it a [`ManualClock`]'s.
pub trait Clock {
    /// Nanoseconds since the origin; never less than an earlier answer.
    fn now(&self) -> u64;
}

/// The system's monotonic clock, its origin being the moment it was made.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    origin: Instant,
}

impl MonotonicClock {
    /// A clock that stands at 0 now.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A clock that moves only when told to.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    now: u64,
}

impl ManualClock {
    /// A clock that stands at `now`, in nanoseconds.
    pub fn new(now: u64) -> Self {
        Self { now }
    }

    /// Moves the clock forward by `nanoseconds`.
    pub fn advance(&mut self, nanoseconds: u64) {
        self.now = self.now.saturating_add(nanoseconds);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> u64 {
        self.now
    }
}
