//! One result awaited across two concurrency worlds: who waits for whom, and what each of them sees in the end.
//!
//! A *source* runs in one world and produces one result. *Awaiters* wait for it in another. From either side somebody
//! may cancel, kill, time out or just go away, in any order. A [`Crossing`] takes all of that in, says what to do next,
//! and settles once, with nothing lost: every value and every error reaches an awaiter or is handed back.
//!
//! * [`Crossing`] is the state machine: no clock, no lock, no callback, no input or output. Feed it by `handle_*`, drain
//!   it by `poll_action`. Its file opens with the rules.
//! * [`channel()`] puts one between two Rust handles: [`Source`] runs a future, [`Awaiter`] is one.
//! * [`inbox`] takes wakes from other threads to the loop that owns the crossings.
//!
//! # Examples
//!
//! A future, run by one scheduler, is awaited by a fiber of another. The fiber is killed; the future cleans up; then,
//! and not before, the fiber is woken, once, and sees the kill.
//!
//! ```
//! use std::cell::Cell;
//! use std::future::pending;
//! use std::pin::{Pin, pin};
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicUsize, Ordering};
//! use std::task::{Context, Poll, Wake, Waker};
//!
//! use evio_bridge::{Awaiter, Interrupt, Outcome, Policy, channel};
//!
//! /// A fiber keeps its place between resumes, and parks where it awaits.
//! struct Fiber {
//!     awaiter: Awaiter<u32, &'static str>,
//!     wakes: Arc<Wakes>,
//! }
//!
//! /// The fiber's scheduler: all it does here is count.
//! #[derive(Default)]
//! struct Wakes(AtomicUsize);
//!
//! impl Wake for Wakes {
//!     fn wake(self: Arc<Self>) {
//!         self.0.fetch_add(1, Ordering::Relaxed);
//!     }
//! }
//!
//! impl Fiber {
//!     fn resume(&mut self) -> Poll<Outcome<u32, &'static str>> {
//!         let waker = Waker::from(Arc::clone(&self.wakes));
//!         Pin::new(&mut self.awaiter).poll(&mut Context::from_waker(&waker))
//!     }
//!
//!     fn kill(&self, error: &'static str) {
//!         self.awaiter.interrupt(Interrupt::Kill(error)).expect("it still waits");
//!     }
//! }
//!
//! /// What the future has to clean up.
//! struct Cleanup<'a>(&'a Cell<bool>);
//!
//! impl Drop for Cleanup<'_> {
//!     fn drop(&mut self) {
//!         self.0.set(true);
//!     }
//! }
//!
//! fn main() {
//!     let cleaned_up = Cell::new(false);
//!     let wakes = Arc::new(Wakes::default());
//!     let (source, awaiter) = channel(Policy::default());
//!     let mut fiber = Fiber { awaiter, wakes: Arc::clone(&wakes) };
//!     let mut task = pin!(source.run(async {
//!         let _cleanup = Cleanup(&cleaned_up);
//!         pending().await
//!     }));
//!     let mut cx = Context::from_waker(Waker::noop());
//!
//!     assert!(task.as_mut().poll(&mut cx).is_pending());
//!     assert!(fiber.resume().is_pending());
//!
//!     fiber.kill("no longer needed");
//!     assert!(fiber.resume().is_pending(), "the kill waits for the cleanup");
//!     assert!(!cleaned_up.get());
//!
//!     assert!(task.as_mut().poll(&mut cx).is_ready());
//!     assert!(cleaned_up.get());
//!     assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
//!     assert_eq!(fiber.resume(), Poll::Ready(Outcome::Interrupted("no longer needed")));
//! }
//! ```
#![forbid(unsafe_code)]

mod awaiters;
pub mod channel;
pub mod crossing;
pub mod inbox;
mod vocabulary;

pub use channel::{Awaiter, Interrupter, Settlement, Source, channel};
pub use crossing::Crossing;
pub use vocabulary::{
    Action, AlreadySettled, AwaiterId, Ended, Interrupt, Leftover, Outcome, Parts, Policy, Reason,
    State,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
