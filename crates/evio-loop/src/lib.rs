//! In what order it runs: an event-loop engine of reactor, timers and ready queues that never calls you back.
//!
//! An [`Engine`] composes [`evio_reactor`] and [`evio_timers`] and hands out work, a *turn* at a
//! time. Two kinds of work share it: callbacks of an event loop, and fibers that wait for a
//! descriptor or a deadline. Payloads are the caller's own; so is the time, which is an argument
//! everywhere; and so is the decision of who waits, which is a [`Host`].
//!
//! ```
//! use evio_loop::{Clock, Engine, Host, Kernel, Lane, MonotonicClock, Plan, Work};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = MonotonicClock::new();
//! let mut engine = Engine::new()?;
//! engine.push("first");
//! engine.schedule(Lane::Fiber, clock.now() + 2_000_000, "two milliseconds later");
//!
//! let mut waiter = engine.waiter();
//! let mut seen = Vec::new();
//! while seen.len() < 2 {
//!     let polled = match engine.plan(clock.now()) {
//!         Plan::Begin => None,
//!         Plan::Poll(timeout) => {
//!             Kernel.wait(&mut waiter, timeout)?;
//!             Some(&mut waiter)
//!         }
//!     };
//!     engine.begin(clock.now(), polled);
//!     while let Some(work) = engine.next_callback().or_else(|| engine.next_fiber()) {
//!         if let Work::Run(payload) = work {
//!             seen.push(payload);
//!         }
//!     }
//! }
//! assert_eq!(seen, ["first", "two milliseconds later"]);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod adopt;
mod clock;
mod engine;
mod host;
mod timers;
mod watch;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use adopt::Adopted;
pub use clock::{Clock, ManualClock, MonotonicClock};
pub use engine::{Engine, Lane, Plan, TimerKey, Work};
pub use evio_reactor::{AddError, Direction, Error, Key, Mode, Waiter, Waker};
pub use host::{Host, Kernel, Waited};
