//! One result awaited across two concurrency worlds: who waits for whom, and what each of them sees in the end.
#![forbid(unsafe_code)]

mod awaiters;
mod crossing;
pub mod inbox;
mod vocabulary;

pub use crossing::Crossing;
pub use vocabulary::{
    Action, AlreadySettled, AwaiterId, Ended, Interrupt, Leftover, Outcome, Parts, Policy, Reason,
    State,
};
