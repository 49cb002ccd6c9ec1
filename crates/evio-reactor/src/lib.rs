//! Which file descriptor is ready: any number of watchers per descriptor,
//! level-triggered and one-shot, on one poller.
//!
//! A server that answers one line, and a thread that tells it when to stop:
//!
//! ```
//! use evio_reactor::{Direction, Mode, Reactor};
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use std::os::fd::AsRawFd;
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use std::time::Duration;
//!
//! enum Source {
//!     Listener(TcpListener),
//!     Connection(TcpStream),
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut reactor = Reactor::new()?;
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     reactor.add(listener.as_raw_fd(), Direction::Read, Mode::Level, Source::Listener(listener))?;
//!
//!     let done = Arc::new(AtomicBool::new(false));
//!     let (waker, told) = (reactor.waker(), done.clone());
//!     let client = std::thread::spawn(move || {
//!         let mut stream = TcpStream::connect(address).unwrap();
//!         stream.write_all(b"hello").unwrap();
//!         let mut answer = String::new();
//!         stream.read_to_string(&mut answer).unwrap();
//!         told.store(true, Ordering::Release);
//!         waker.wake();
//!         answer
//!     });
//!
//!     let mut ready = Vec::new();
//!     while !done.load(Ordering::Acquire) {
//!         reactor.wait(Some(Duration::from_secs(5)), &mut ready)?;
//!         for key in ready.drain(..) {
//!             let accepted = match reactor.get_mut(key) {
//!                 Some(Source::Listener(listener)) => listener.accept()?.0,
//!                 Some(Source::Connection(stream)) => {
//!                     let mut line = [0; 64];
//!                     let length = stream.read(&mut line)?;
//!                     line[..length].make_ascii_uppercase();
//!                     stream.write_all(&line[..length])?;
//!                     reactor.remove(key); // hands the stream back, and so closes it
//!                     continue;
//!                 }
//!                 None => continue,
//!             };
//!             reactor.add(accepted.as_raw_fd(), Direction::Read, Mode::Oneshot, Source::Connection(accepted))?;
//!         }
//!     }
//!     assert_eq!(client.join().unwrap(), "HELLO");
//!     Ok(())
//! }
//! ```
//!
//! # Readiness
//!
//! A watcher is one interest in one [`Direction`] of one descriptor. It is
//! *armed* when it is added. While it is armed and its descriptor is ready, a
//! wait reports its [`Key`]: every wait in [`Mode::Level`], the first one in
//! [`Mode::Oneshot`], which disarms it. A descriptor that has hung up or has an
//! error is ready both ways. A regular file is always ready.
//!
//! # Descriptors that are closed too early
//!
//! Descriptors are given by number, and the number is looked up by the system
//! at every call: nothing here owns or keeps open what it watches. Remove the
//! watchers of a descriptor before it is closed. If it is closed first, its
//! watchers fall silent (those of a regular file stay ready), [`Reactor::remove`] still
//! hands their payloads back,
//! and adding or arming a watcher on the number, once it is open again, makes
//! all armed watchers of the number watch the new file. Events of the old file
//! are dropped. One limit is the kernel's: a closed descriptor whose file is
//! still open elsewhere (by `dup`, or in a child process) stays in an epoll
//! with no way to address it, and while it is ready and level-triggered, waits
//! return at once with nothing; [`Reactor::rebuild`] gets rid of it.
#![deny(unsafe_code)]

#[cfg(not(unix))]
compile_error!("evio-reactor watches Unix file descriptors: build it for a Unix target");

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod error;
mod reactor;
mod registration;
#[allow(unsafe_code)]
mod sys;
mod waiter;
mod waker;

pub use crate::error::{AddError, Error};
pub use crate::reactor::Reactor;
pub use crate::waiter::Waiter;
pub use crate::waker::Waker;

/// What a watcher waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// A read would not block, or would fail.
    Read,
    /// A write would not block, or would fail.
    Write,
}

/// How often a watcher is reported.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mode {
    /// By every wait for as long as its descriptor is ready.
    Level,
    /// Once; then it is disarmed until [`Reactor::arm`].
    Oneshot,
}

/// Names one watcher of one reactor; a removed watcher's key names nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    pub(crate) index: usize,
    pub(crate) serial: u64,
}
