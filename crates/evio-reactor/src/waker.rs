//! Wakes: how another thread ends a wait, and why none is lost.
//!
//! A source is one descriptor that is readable while a wake is pending. The
//! first wake writes to it, later ones find `pending` set and write nothing.
//! [`WakeSource::clear`] reads first and clears `pending` after: a wake in
//! between writes nothing, but it comes before the end of the wait that is
//! being collected, so whoever waits looks for news after it. The other order
//! would swallow the written byte and leave `pending` set for ever.

use crate::sys;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

/// What all wakers of one reactor share with it.
#[derive(Debug)]
pub(crate) struct WakeSource {
    pending: AtomicBool,
    channel: Channel,
}

impl WakeSource {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(WakeSource {
            pending: AtomicBool::new(false),
            channel: Channel::new()?,
        })
    }

    /// The descriptor to poll for readability.
    pub(crate) fn fd(&self) -> RawFd {
        self.channel.fd()
    }

    pub(crate) fn signal(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.channel.signal();
        }
    }

    /// Takes note of all wakes so far.
    pub(crate) fn clear(&self) {
        self.channel.drain();
        self.pending.swap(false, Ordering::AcqRel);
    }

    /// Parts from the source that a forked child shares with its parent. The
    /// numbers stay, so every waker made before stays good.
    pub(crate) fn renew(&self) -> io::Result<()> {
        self.channel.replace()?;
        // A thread that the fork left behind may have set `pending` without
        // having written: then the wake is delivered here.
        if self.pending.load(Ordering::Acquire) {
            self.channel.signal();
        }
        Ok(())
    }
}

impl Wake for WakeSource {
    fn wake(self: Arc<Self>) {
        self.signal();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signal();
    }
}

#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Channel {
    eventfd: OwnedFd,
}

#[cfg(target_os = "linux")]
impl Channel {
    fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Channel {
            eventfd: eventfd(0, flags)?,
        })
    }

    fn fd(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }

    fn signal(&self) {
        // It can only fail with a counter near 2^64, which is readable anyway.
        let _ = rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes());
    }

    fn drain(&self) {
        // It can only fail when there was nothing to read.
        let _ = rustix::io::read(&self.eventfd, &mut [0_u8; 8]);
    }

    fn replace(&self) -> io::Result<()> {
        sys::overwrite(&self.eventfd, Channel::new()?.eventfd)
    }
}

#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Channel {
    read: OwnedFd,
    write: OwnedFd,
}

#[cfg(not(target_os = "linux"))]
impl Channel {
    fn new() -> io::Result<Self> {
        let (read, write) = std::os::unix::net::UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        Ok(Channel {
            read: read.into(),
            write: write.into(),
        })
    }

    fn fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    fn signal(&self) {
        // It can only fail when the channel is full, and so readable anyway.
        let _ = rustix::io::write(&self.write, &[1]);
    }

    fn drain(&self) {
        while matches!(rustix::io::read(&self.read, &mut [0_u8; 64]), Ok(64)) {}
    }

    fn replace(&self) -> io::Result<()> {
        let fresh = Channel::new()?;
        sys::overwrite(&self.read, fresh.read)?;
        sys::overwrite(&self.write, fresh.write)
    }
}

/// Ends the wait of a [`Reactor`](crate::Reactor), from any thread.
///
/// A wake during a wait ends it; a wake before a wait makes it return at once;
/// several wakes before the same return count as one. After the wait has been
/// collected, look for whatever news the wake may have announced. A waker
/// outlives its reactor harmlessly, and after
/// [`rebuild`](crate::Reactor::rebuild) it wakes the rebuilt reactor.
///
/// # Examples
///
/// ```
/// use evio_reactor::Reactor;
///
/// let mut reactor = Reactor::<()>::new()?;
/// let waker = reactor.waker();
/// let thread = std::thread::spawn(move || waker.wake());
/// let mut ready = Vec::new();
/// assert_eq!(reactor.wait(None, &mut ready)?, 0); // returns: nothing is ready, but somebody woke us
/// thread.join().unwrap();
/// # Ok::<(), evio_reactor::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Waker {
    source: Arc<WakeSource>,
}

impl Waker {
    pub(crate) fn new(source: Arc<WakeSource>) -> Self {
        Waker { source }
    }

    /// Ends the current wait, or the next one.
    pub fn wake(&self) {
        self.source.signal();
    }

    /// The same as a waker for futures, which costs no allocation.
    ///
    /// # Examples
    ///
    /// ```
    /// use evio_reactor::Reactor;
    /// use std::future::Future;
    /// use std::task::Context;
    ///
    /// let reactor = Reactor::<()>::new()?;
    /// let waker = reactor.waker().task_waker();
    /// let mut future = std::pin::pin!(std::future::ready(1));
    /// assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    /// # Ok::<(), evio_reactor::Error>(())
    /// ```
    pub fn task_waker(&self) -> std::task::Waker {
        self.source.clone().into()
    }
}

impl From<Waker> for std::task::Waker {
    fn from(waker: Waker) -> Self {
        waker.source.into()
    }
}
