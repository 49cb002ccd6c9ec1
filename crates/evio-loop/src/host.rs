//! Who waits for an engine: the kernel, a scheduler of fibers, or another event loop.
//!
//! Every engine has one host at a time, and waiting is the only thing in which hosts differ:
//!
//! * the *kernel* ([`Kernel`]): the thread blocks in the poll call;
//! * a *scheduler of fibers*: the fiber that runs the engine parks until the engine's descriptor
//!   ([`Engine::raw_fd`](crate::Engine::raw_fd)) is readable or the deadline is reached, then polls
//!   without blocking;
//! * a *foreign loop*: it watches one descriptor and one deadline, and calls the engine's driver
//!   when either comes. Every wait goes back to the loop: one that would block answers
//!   [`Waited::Suspended`], and one with a timeout of zero asks the loop for another call at once.
//!   If it polled and went on instead, work that always makes more work would starve the loop.

use std::time::Duration;

use evio_reactor::{Error, Waiter};

/// What came of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The waiter was polled: hand it to [`Engine::begin`](crate::Engine::begin).
    Polled,
    /// Nothing was polled and the driver must return to its host, which calls again in time.
    Suspended,
}

/// Waits on behalf of an engine.
pub trait Host {
    /// What can go wrong in a wait.
    type Error;

    /// Waits until a watcher is ready, a waker was called or `timeout` has passed (`None`: no limit).
    ///
    /// Zero means that there is work: look at the descriptors and do not block, but let those run
    /// with whom the thread is shared.
    ///
    /// No borrow of the engine is held meanwhile, so others may add work to it; they must then wake
    /// it by its waker.
    ///
    /// # Errors
    ///
    /// Whatever ends the wait before its time: the poll call failed, or the waiting fiber was thrown
    /// an exception.
    fn wait(
        &mut self,
        waiter: &mut Waiter,
        timeout: Option<Duration>,
    ) -> Result<Waited, Self::Error>;
}

/// The host of an engine that has a thread to itself: blocks in the poll call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel;

impl Host for Kernel {
    type Error = Error;

    fn wait(&mut self, waiter: &mut Waiter, timeout: Option<Duration>) -> Result<Waited, Error> {
        waiter.block(timeout).map(|()| Waited::Polled)
    }
}
