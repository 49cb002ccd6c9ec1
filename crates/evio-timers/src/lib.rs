//! What is due: a hierarchical timing wheel with nanosecond deadlines, an exact next deadline and first-in
//! first-out ties.
//!
//! A server that gives each request a time limit, most of which are cancelled, beside a periodic task:
//!
//! ```
//! use std::thread;
//! use std::time::{Duration, Instant};
//!
//! use evio_timers::Wheel;
//!
//! enum Event {
//!     Limit { request: u32 },
//!     Tick,
//! }
//!
//! let origin = Instant::now();
//! let clock = || origin.elapsed().as_nanos() as u64;
//! let after = |ms: u64| clock() + ms * 1_000_000;
//!
//! let mut wheel = Wheel::new();
//! let limits: Vec<_> = (0..100)
//!     .map(|request| wheel.insert(after(20), Event::Limit { request }))
//!     .collect();
//! wheel.insert(after(5), Event::Tick);
//!
//! // All requests but number 7 are answered in time.
//! for (request, key) in limits.into_iter().enumerate() {
//!     if request != 7 {
//!         wheel.cancel(key).expect("its limit has not come yet");
//!     }
//! }
//!
//! let mut ticks = 0;
//! let mut timed_out = Vec::new();
//! while let Some(deadline) = wheel.next_deadline() {
//!     thread::sleep(Duration::from_nanos(deadline.saturating_sub(clock())));
//!     let now = clock();
//!     while let Some((_key, deadline, event)) = wheel.pop_due(now) {
//!         match event {
//!             Event::Limit { request } => timed_out.push(request),
//!             Event::Tick if ticks < 4 => {
//!                 ticks += 1;
//!                 wheel.insert(deadline + 5_000_000, Event::Tick);
//!             }
//!             Event::Tick => {}
//!         }
//!     }
//! }
//! assert_eq!(timed_out, [7]);
//! assert_eq!(ticks, 4);
//! ```
//!
//! # How it works
//!
//! A level of the wheel sorts deadlines by six of their 64 bits into 64 slots, and a bitmap tells which slots
//! are occupied. A slot holds a list of timers until the list grows crowded; then the slot gets a level of its
//! own, at the six bits in which its timers differ, and a level that is left with one slot goes away again. So
//! the earliest timer is found by at most eleven bitmaps and one short list, insertion and cancellation walk the
//! same short way, and none of them moves more than 64 timers for each level, however many are pending.
//!
//! Unlike the wheel of the textbooks this one has no hand: no timer waits for the hand to carry it down from
//! level to level, and a deadline in the past needs no special place.

#![forbid(unsafe_code)]

mod arena;
mod list;
#[cfg(test)]
mod tests;
mod tree;
mod wheel;

pub use wheel::{Key, Wheel};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
