//! A crossing with a Rust future on either side: the source runs on one executor, the awaiter waits on another.
//!
//! ```
//! use std::task::{Context, Poll, Waker};
//! use std::pin::pin;
//!
//! use evio_bridge::{Interrupt, Outcome, Policy, channel};
//!
//! let (source, awaiter) = channel::<u32, &str>(Policy::default());
//! let mut task = pin!(source.run(std::future::pending()));
//! let interrupter = awaiter.interrupter();
//! let mut waiter = pin!(awaiter);
//!
//! let mut cx = Context::from_waker(Waker::noop());
//! assert!(task.as_mut().poll(&mut cx).is_pending());
//! assert!(waiter.as_mut().poll(&mut cx).is_pending());
//!
//! interrupter.interrupt(Interrupt::Kill("enough"))?;
//! assert!(waiter.as_mut().poll(&mut cx).is_pending(), "the task has yet to clean up");
//! assert!(task.as_mut().poll(&mut cx).is_ready());
//! assert_eq!(waiter.as_mut().poll(&mut cx), Poll::Ready(Outcome::Interrupted("enough")));
//! # Ok::<(), evio_bridge::AlreadySettled<&str>>(())
//! ```
//!
//! The crossing sits behind a mutex. It is locked for one call of a `handle_*` method and the actions that follow from
//! it; they are carried out after the mutex is free. So a waker may do anything, such as poll the other side at once.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_channel::{mpsc, oneshot};

use crate::crossing::Crossing;
use crate::vocabulary::{
    Action, AlreadySettled, AwaiterId, Ended, Interrupt, Leftover, Outcome, Policy, State,
};

/// Makes a crossing and its two sides.
///
/// The awaiter counts as having asked from its first poll, so that without [`Policy::autostart`] the source starts then.
pub fn channel<V, E>(policy: Policy) -> (Source<V, E>, Awaiter<V, E>) {
    let (signal, signals) = mpsc::unbounded();
    let (wake, woken) = oneshot::channel();
    let shared = Arc::new(Shared {
        core: Mutex::new(Core {
            crossing: Crossing::new(policy),
            wake: Some(wake),
            start_given: false,
            awaiter_gone: false,
        }),
        signal,
    });
    shared.feed(|_| ());
    let source = Source {
        shared: Arc::clone(&shared),
        signals,
        stage: Stage::Waiting,
        ends: 0,
        settled: false,
    };
    let awaiter = Awaiter {
        shared,
        woken,
        id: None,
        done: false,
    };
    (source, awaiter)
}

struct Shared<V, E> {
    core: Mutex<Core<V, E>>,
    signal: mpsc::UnboundedSender<Signal>,
}

struct Core<V, E> {
    crossing: Crossing<V, E>,
    wake: Option<oneshot::Sender<()>>,
    start_given: bool,
    awaiter_gone: bool,
}

/// What the source is told.
enum Signal {
    Start,
    End,
    Drop,
}

impl<V, E> Shared<V, E> {
    fn lock(&self) -> MutexGuard<'_, Core<V, E>> {
        // No foreign code runs under the lock, so a poisoned one guards a sound crossing.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Feeds the crossing under the lock, then carries out without it what follows.
    fn feed<R>(&self, feed: impl FnOnce(&mut Core<V, E>) -> R) -> R {
        let mut signals = Vec::new();
        let mut wake = None;
        let result = {
            let mut core = self.lock();
            let result = feed(&mut core);
            while let Some(action) = core.crossing.poll_action() {
                match action {
                    Action::Start => {
                        core.start_given = true;
                        signals.push(Signal::Start);
                    }
                    Action::EndSource => signals.push(Signal::End),
                    Action::DropSource => signals.push(Signal::Drop),
                    Action::Wake(_) => wake = core.wake.take(),
                }
            }
            if core.awaiter_gone && !core.start_given && !core.crossing.is_running() {
                // Left alone before anybody awaited it: nobody is left to start it.
                core.start_given = true;
                signals.push(Signal::Drop);
            }
            result
        };
        for signal in signals {
            // A source that is gone need not be told anything.
            let _ = self.signal.unbounded_send(signal);
        }
        if let Some(wake) = wake {
            // An awaiter that goes at this moment leaves the outcome in the crossing.
            let _ = wake.send(());
        }
        result
    }

    fn interrupt(&self, interrupt: Interrupt<E>) -> Result<Option<E>, AlreadySettled<E>> {
        self.feed(|core| core.crossing.handle_interrupt(interrupt))
    }
}

/// The side that produces the result, once.
///
/// Hand it a future to [`run`](Self::run), or follow [`started`](Self::started) and [`ending`](Self::ending) and
/// [`settle`](Self::settle) yourself. Dropping it unsettled settles as cancelled.
pub struct Source<V, E> {
    shared: Arc<Shared<V, E>>,
    signals: mpsc::UnboundedReceiver<Signal>,
    stage: Stage,
    /// Times it was asked to end and has yet to tell.
    ends: usize,
    settled: bool,
}

/// How far the source is by its own knowledge, which may lag behind the crossing's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Due,
    Running,
    Dropped,
}

/// What [`Source::settle`] hands back: the payloads that reach nobody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use = "payloads may have been handed back"]
pub struct Settlement<V, E> {
    /// The payload that the outcome had no room for.
    pub leftover: Option<Leftover<V, E>>,
    /// The outcome, if the awaiter has gone without it.
    pub unclaimed: Option<Outcome<V, E>>,
}

impl<V, E> Source<V, E> {
    /// Waits for the crossing to want the source's first step: true, take it. False: it is never to be taken.
    ///
    /// Several calls give the same answer.
    pub async fn started(&mut self) -> bool {
        poll_fn(|cx| self.poll_started(cx)).await
    }

    /// [`started`](Self::started) for hand-written futures.
    pub fn poll_started(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.receive(cx);
        match self.stage {
            Stage::Waiting => Poll::Pending,
            Stage::Due => Poll::Ready(self.start()),
            Stage::Running => Poll::Ready(true),
            Stage::Dropped => Poll::Ready(false),
        }
    }

    /// Takes the first step without being asked to, for a source that runs already. False if it must not run.
    pub fn start(&mut self) -> bool {
        let may = self.shared.feed(|core| core.crossing.handle_started());
        self.stage = if may { Stage::Running } else { Stage::Dropped };
        may
    }

    /// Waits until the source is asked to end, once for each time it is asked. At once, and always, if it must not run.
    ///
    /// A source that was asked to end cleans up and settles, in its own time and with whatever comes of it.
    pub async fn ending(&mut self) {
        poll_fn(|cx| self.poll_ending(cx)).await;
    }

    /// [`ending`](Self::ending) for hand-written futures.
    pub fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.receive(cx);
        if self.ends > 0 {
            self.ends -= 1;
            return Poll::Ready(());
        }
        match self.stage {
            Stage::Dropped => Poll::Ready(()),
            Stage::Waiting | Stage::Due | Stage::Running => Poll::Pending,
        }
    }

    /// Gives the result and wakes the awaiter.
    pub fn settle(mut self, ended: impl Into<Ended<V, E>>) -> Settlement<V, E> {
        self.settled = true;
        let ended = ended.into();
        self.shared.feed(|core| {
            let leftover = core.crossing.handle_ended(ended);
            let unclaimed = if core.awaiter_gone {
                core.crossing.take_outcome()
            } else {
                None
            };
            Settlement {
                leftover,
                unclaimed,
            }
        })
    }

    /// Runs `future` as the source: from its start until it is ready or asked to end, which drops it, and so cleans up,
    /// before the crossing settles. A future that must not start is dropped unpolled.
    ///
    /// For a cleanup that awaits, use [`ending`](Self::ending) within the work instead.
    pub async fn run<F>(mut self, future: F) -> Settlement<V, E>
    where
        F: Future<Output = Result<V, E>>,
    {
        // One that must not start is always asked to end, so what follows need not know.
        let _may = self.started().await;
        let ended = {
            let mut future = pin!(future);
            poll_fn(|cx| {
                if self.poll_ending(cx).is_ready() {
                    return Poll::Ready(Ended::Cancelled);
                }
                future.as_mut().poll(cx).map(Ended::from)
            })
            .await
        };
        self.settle(ended)
    }

    fn receive(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Ok(signal)) = Pin::new(&mut self.signals.recv()).poll(cx) {
            match (signal, self.stage) {
                (Signal::Start, Stage::Waiting) => self.stage = Stage::Due,
                (Signal::End, _) => self.ends += 1,
                (Signal::Drop, Stage::Waiting | Stage::Due) => self.stage = Stage::Dropped,
                // Overtaken by `start`, or by a drop that was sent from another thread.
                (Signal::Start | Signal::Drop, _) => {}
            }
        }
    }
}

impl<V, E> Drop for Source<V, E> {
    fn drop(&mut self) {
        if !self.settled {
            let leftover = self
                .shared
                .feed(|core| core.crossing.handle_ended(Ended::Cancelled));
            debug_assert!(leftover.is_none(), "a cancellation carries nothing");
        }
    }
}

impl<V, E> fmt::Debug for Source<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock().crossing.state();
        f.debug_struct("Source")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// The side that waits: a future of the outcome. Dropping it before is leaving.
///
/// # Panics
///
/// When polled again after it was ready.
#[must_use = "dropping the awaiter may end the source"]
pub struct Awaiter<V, E> {
    shared: Arc<Shared<V, E>>,
    woken: oneshot::Receiver<()>,
    id: Option<AwaiterId>,
    done: bool,
}

impl<V, E> Awaiter<V, E> {
    /// Ends the wait from the awaiting side. Hands back the interrupt that this one replaces, if any.
    ///
    /// # Errors
    ///
    /// [`AlreadySettled`] hands this interrupt's error back.
    pub fn interrupt(&self, interrupt: Interrupt<E>) -> Result<Option<E>, AlreadySettled<E>> {
        self.shared.interrupt(interrupt)
    }

    /// A handle that interrupts while the awaiter is being awaited.
    pub fn interrupter(&self) -> Interrupter<V, E> {
        Interrupter {
            shared: Arc::clone(&self.shared),
        }
    }

    /// How far the crossing is.
    pub fn state(&self) -> State {
        self.shared.lock().crossing.state()
    }

    /// Leaves, as dropping does, and hands back the outcome if it was there already.
    pub fn leave(mut self) -> Option<Outcome<V, E>> {
        self.go()
    }

    /// Leaves, once: the drop that follows `leave` finds nothing more to do.
    fn go(&mut self) -> Option<Outcome<V, E>> {
        let id = self.id.take();
        let first = !self.done;
        self.done = true;
        self.shared.feed(|core| {
            if std::mem::replace(&mut core.awaiter_gone, true) {
                return None;
            }
            let crossing = &mut core.crossing;
            let outcome = crossing.take_outcome();
            match id {
                Some(id) => {
                    crossing.handle_leave(id);
                }
                // Never polled: to a source that is to be ended by it, this leaving counts all the same.
                None if first
                    && crossing.policy().end_source
                    && crossing.state() == State::Pending =>
                {
                    let id = crossing.handle_awaiter();
                    crossing.handle_leave(id);
                }
                None => {}
            }
            outcome
        })
    }
}

impl<V, E> Future for Awaiter<V, E> {
    type Output = Outcome<V, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        assert!(!this.done, "an `Awaiter` was polled after it was ready");
        if this.id.is_none() {
            this.id = Some(this.shared.feed(|core| core.crossing.handle_awaiter()));
        }
        // Its sender is kept in what `this.shared` points to until it has sent.
        let _woken = ready!(Pin::new(&mut this.woken).poll(cx));
        this.id = None;
        this.done = true;
        let outcome = this.shared.lock().crossing.take_outcome();
        Poll::Ready(outcome.expect("only the awaiter and a source it left take the outcome"))
    }
}

impl<V, E> Drop for Awaiter<V, E> {
    fn drop(&mut self) {
        // What was there is dropped here, with no lock held.
        let _outcome = self.go();
    }
}

impl<V, E> fmt::Debug for Awaiter<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Awaiter")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Interrupts an [`Awaiter`] from elsewhere; clone it at will. It does not count as somebody who awaits.
pub struct Interrupter<V, E> {
    shared: Arc<Shared<V, E>>,
}

impl<V, E> Interrupter<V, E> {
    /// Ends the wait from the awaiting side. Hands back the interrupt that this one replaces, if any.
    ///
    /// # Errors
    ///
    /// [`AlreadySettled`] hands this interrupt's error back.
    pub fn interrupt(&self, interrupt: Interrupt<E>) -> Result<Option<E>, AlreadySettled<E>> {
        self.shared.interrupt(interrupt)
    }

    /// How far the crossing is.
    pub fn state(&self) -> State {
        self.shared.lock().crossing.state()
    }
}

impl<V, E> Clone for Interrupter<V, E> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<V, E> fmt::Debug for Interrupter<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupter")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
