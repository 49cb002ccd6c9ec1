//! A cross-thread inbox: any thread sends, one loop receives, and only a parked loop is woken.
//!
//! ```
//! use std::sync::Arc;
//! use std::task::{Wake, Waker};
//! use std::thread::{self, Thread};
//!
//! use evio_bridge::inbox;
//!
//! struct Unpark(Thread);
//!
//! impl Wake for Unpark {
//!     fn wake(self: Arc<Self>) {
//!         self.0.unpark();
//!     }
//! }
//!
//! let (sender, mut inbox) = inbox::channel();
//! let worker = thread::spawn(move || {
//!     for number in 1..=3 {
//!         sender.send(number).expect("the inbox is open");
//!     }
//! });
//!
//! let waker = Waker::from(Arc::new(Unpark(thread::current())));
//! let mut sum = 0;
//! while sum < 6 {
//!     match inbox.try_next() {
//!         Some(number) => sum += number,
//!         None if inbox.park(&waker) => thread::park(),
//!         None => {}
//!     }
//! }
//! worker.join().unwrap();
//! assert!(inbox.close().is_empty());
//! ```

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use futures_channel::mpsc::{self, TryRecvError};
use thiserror::Error;

/// Makes an inbox and the first of its senders.
pub fn channel<T>() -> (Sender<T>, Inbox<T>) {
    let (sender, receiver) = mpsc::unbounded();
    (
        Sender { sender },
        Inbox {
            receiver,
            next: None,
        },
    )
}

/// The refusal of a closed inbox, with the payload.
#[derive(Clone, Copy, Error, PartialEq, Eq, Hash)]
#[error(
    "the inbox is closed: the loop that emptied it has ended, so do without it or send to another"
)]
pub struct Closed<T>(pub T);

// By hand, so that payloads need not be `Debug`.
impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Closed").finish_non_exhaustive()
    }
}

/// The sending side; clone it for each thread, or share it.
pub struct Sender<T> {
    sender: mpsc::UnboundedSender<T>,
}

impl<T> Sender<T> {
    /// Puts a payload into the inbox and, if the inbox is parked, calls its waker, on this thread and with no lock held.
    ///
    /// Payloads of one thread arrive in the order they were sent.
    ///
    /// # Errors
    ///
    /// [`Closed`] hands the payload back.
    pub fn send(&self, payload: T) -> Result<(), Closed<T>> {
        self.sender
            .unbounded_send(payload)
            .map_err(|refused| Closed(refused.into_inner()))
    }

    /// Whether the inbox is closed, so that every further `send` is refused.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// The receiving side, owned by the loop that empties it.
///
/// Before the loop waits, it calls [`park`](Self::park) and waits only on `true`; when it goes on for another reason
/// than mail, [`unpark`](Self::unpark) spares the senders a wake. Dropping the inbox closes it and drops its mail;
/// [`close`](Self::close) first to have the mail handed back.
pub struct Inbox<T> {
    receiver: mpsc::UnboundedReceiver<T>,
    /// Mail that came up while parking: the receiver can be armed only by a call that may also receive.
    next: Option<T>,
}

impl<T> Inbox<T> {
    /// The next payload, or `None` if there is none now. Does not arm a waker.
    pub fn try_next(&mut self) -> Option<T> {
        self.next.take().or_else(|| self.receiver.try_recv().ok())
    }

    /// True: the inbox is empty and armed, and the next send wakes `waker`, once, before it returns. False: there is mail.
    ///
    /// A send that meets a park returning false may wake `waker` too. Parking again replaces the waker. The last
    /// sender's going wakes like a send, because nothing will come any more.
    #[must_use = "on false there is mail, and nobody may wake you for it"]
    pub fn park(&mut self, waker: &Waker) -> bool {
        if self.next.is_none() {
            let mut cx = Context::from_waker(waker);
            if let Poll::Ready(Ok(payload)) = Pin::new(&mut self.receiver.recv()).poll(&mut cx) {
                self.next = Some(payload);
            }
        }
        self.next.is_none()
    }

    /// Disarms: the next send wakes nobody.
    pub fn unpark(&mut self) {
        // With mail there, the send that brought it has used up the waker or is about to.
        let _empty = self.park(Waker::noop());
    }

    /// Closes the inbox to all senders and hands back the mail in it, in order.
    ///
    /// Waits out those who are in the middle of a `send`, a few instructions each. After a fork, threads of the parent
    /// that were there never get further: make a new inbox in the child.
    pub fn close(&mut self) -> Vec<T> {
        self.receiver.close();
        let mut mail: Vec<T> = self.next.take().into_iter().collect();
        loop {
            match self.receiver.try_recv() {
                Ok(payload) => mail.push(payload),
                Err(TryRecvError::Closed) => return mail,
                Err(TryRecvError::Empty) => thread::yield_now(),
            }
        }
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}
