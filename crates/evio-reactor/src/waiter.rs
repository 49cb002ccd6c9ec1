//! The blocking part of a wait, on its own so that it borrows no reactor.

use crate::Error;
use crate::sys::{Events, Poller};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

const INITIAL_CAPACITY: usize = 256;

/// Blocks on a reactor's poller without borrowing the reactor.
///
/// It owns a buffer on the heap: the order is [`block`](Waiter::block), then
/// [`Reactor::collect`](crate::Reactor::collect) with the same waiter; watchers
/// may come and go between the two. The buffer
/// doubles whenever a wait fills it, and what did not fit comes with the next
/// wait. Use one waiter at a time for a reactor; it stays good after
/// [`rebuild`](crate::Reactor::rebuild).
///
/// # Examples
///
/// ```
/// use evio_reactor::{Direction, Mode, Reactor};
/// use std::cell::RefCell;
/// use std::io::Write;
/// use std::os::fd::AsRawFd;
/// use std::os::unix::net::UnixStream;
///
/// let (mut near, far) = UnixStream::pair().unwrap();
/// let reactor = RefCell::new(Reactor::new()?);
/// let key = reactor.borrow_mut().add(far.as_raw_fd(), Direction::Read, Mode::Level, "far").unwrap();
/// near.write_all(b"hello").unwrap();
///
/// let mut waiter = reactor.borrow().waiter();
/// waiter.block(None)?; // nothing is borrowed here
/// let mut ready = Vec::new();
/// reactor.borrow_mut().collect(&mut waiter, &mut ready);
/// assert_eq!(ready, [key]);
/// # Ok::<(), evio_reactor::Error>(())
/// ```
#[derive(Debug)]
pub struct Waiter {
    poller: Arc<Poller>,
    pub(crate) events: Events,
}

impl Waiter {
    pub(crate) fn new(poller: Arc<Poller>) -> Self {
        Waiter {
            poller,
            events: Events::with_capacity(INITIAL_CAPACITY),
        }
    }

    /// Waits until something is ready, somebody wakes the reactor, a signal
    /// arrives, or `timeout` has passed; without a timeout, for as long as it
    /// takes.
    ///
    /// On Linux this is one system call, to the nanosecond; where the kernel
    /// or a sandbox has no `epoll_pwait2`, to the millisecond, rounded up, and
    /// for 24 days at most. A signal ends it with nothing ready: run its
    /// handler, compute the deadline anew, and wait again. Elsewhere than on
    /// Linux a signal does not end it.
    ///
    /// Blocking again before the events were collected would lose one-shots
    /// that have fired, so uncollected events make it return at once.
    ///
    /// # Errors
    ///
    /// [`Error::Poller`] if the system refuses.
    pub fn block(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        if !self.events.is_empty() {
            return Ok(());
        }
        self.poller
            .wait(&mut self.events, timeout)
            .map_err(Error::of_poller)
    }
}

impl AsRawFd for Waiter {
    /// The number of the poller's descriptor.
    fn as_raw_fd(&self) -> RawFd {
        self.poller.as_raw_fd()
    }
}
