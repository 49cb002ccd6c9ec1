//! The engine: one reactor, the timers of each lane, the ready queues, and the turn that orders them.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::RawFd;
use std::time::Duration;

use evio_reactor::{Error, Key, Reactor, Waiter, Waker};

use crate::timers::{self, Timers};
use crate::watch::{Readiness, Watched};

/// Turns that may pass without a poll while work is ready.
const TURNS_BETWEEN_POLLS: u32 = 16;

/// Nanoseconds that may pass without a poll while work is ready.
const NANOSECONDS_BETWEEN_POLLS: u64 = 50_000;

/// The part of a turn in which a piece of work is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The first part: callbacks of an event loop, in the order in which they became ready.
    Callback,
    /// The second part: fibers; ready descriptors first, then timers by deadline, also those that the turn has added
    /// until then.
    Fiber,
}

/// Names a timer of one [`Engine`]; stale once the timer was handed out or cancelled, and so to any other engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey {
    lane: Lane,
    key: timers::Key,
}

/// A piece of work, handed out once.
#[derive(Debug, PartialEq, Eq)]
pub enum Work<T> {
    /// A payload that was pushed, or whose timer has come due.
    Run(T),
    /// A watcher whose descriptor is ready; [`Engine::watcher`] has its payload, which stays.
    Ready(Key),
}

/// What to do before the next turn can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Work is ready and the descriptors were looked at a moment ago: begin at once.
    Begin,
    /// Look at the descriptors, waiting at most this long (`None`: until something happens).
    Poll(Option<Duration>),
}

pub(crate) enum Callback<T> {
    Run(T),
    Ready(Readiness),
}

/// Collects what is ready and due, and hands it out in order, a turn at a time.
///
/// The order of calls in a turn is [`plan`](Self::plan), a wait by a [`Host`](crate::Host) if the plan says so,
/// [`begin`](Self::begin), then [`next_callback`](Self::next_callback) until it has no more and
/// [`next_fiber`](Self::next_fiber) until it has no more. A turn hands out what stood there when it began: work that
/// is added meanwhile, also with a deadline in the past, belongs to a later turn, so that no work can starve the
/// rest. Only fiber timers may be added until the turn comes to them: who wakes a fiber in a callback, or because a
/// descriptor was ready, has it run before the descriptors are looked at again. A turn may be cut short at any
/// point; the next one hands out what is left before what is new.
///
/// An engine never calls its payloads and never drops one: they are handed out or handed back, and only dropping the
/// engine drops what is still in it ([`drain`](Self::drain) it first where that matters).
///
/// All times are nanoseconds since an origin of the caller's choice; `u64::MAX` never comes. The `now` of a call is
/// not before that of an earlier call.
pub struct Engine<T> {
    pub(crate) reactor: Reactor<Watched<T>>,
    callback_timers: Timers<T>,
    pub(crate) fiber_timers: Timers<T>,
    pub(crate) callbacks: VecDeque<Callback<T>>,
    /// How many of `callbacks` belong to the turn under way.
    batch: usize,
    pub(crate) ready_fibers: VecDeque<Readiness>,
    /// The turn under way has not come to the fiber timers yet.
    takes_fiber_timers: bool,
    polled_at: u64,
    turns_since_poll: u32,
    /// Something was watched or armed since the last poll, and wants to be looked at soon.
    pub(crate) interest_is_new: bool,
    /// Armed watchers in the fiber lane.
    pub(crate) armed_fibers: usize,
    pub(crate) last_ticket: u64,
    pub(crate) watchers_added: u64,
    /// Lent to `begin` while it runs.
    pub(crate) collected: Vec<Key>,
}

impl<T> Engine<T> {
    /// An engine with nothing to do.
    ///
    /// # Errors
    ///
    /// The reactor's, when the system has no descriptor left for it.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            reactor: Reactor::new()?,
            callback_timers: Timers::new(),
            fiber_timers: Timers::new(),
            callbacks: VecDeque::new(),
            batch: 0,
            ready_fibers: VecDeque::new(),
            takes_fiber_timers: false,
            polled_at: 0,
            // The descriptors were never looked at.
            turns_since_poll: TURNS_BETWEEN_POLLS,
            interest_is_new: false,
            armed_fibers: 0,
            last_ticket: 0,
            watchers_added: 0,
            collected: Vec::new(),
        })
    }

    /// Adds a callback that is ready now, behind those that are.
    pub fn push(&mut self, payload: T) {
        self.callbacks.push_back(Callback::Run(payload));
    }

    /// Puts work that was handed out, and could not be run yet, back at the head of the callbacks.
    ///
    /// It is handed out again by the next [`next_callback`](Self::next_callback), in this turn; so put it back once
    /// it can be run, or the turn will not end. A watcher that was removed meanwhile is forgotten.
    ///
    /// # Examples
    ///
    /// ```
    /// use evio_loop::{Engine, Work};
    ///
    /// let mut engine = Engine::new()?;
    /// engine.push("first");
    /// engine.push("second");
    /// engine.begin(0, None);
    /// let first = engine.next_callback().unwrap();
    /// engine.push_front(first);
    /// assert_eq!(engine.next_callback(), Some(Work::Run("first")));
    /// assert_eq!(engine.next_callback(), Some(Work::Run("second")));
    /// # Ok::<(), evio_loop::Error>(())
    /// ```
    pub fn push_front(&mut self, work: Work<T>) {
        let callback = match work {
            Work::Run(payload) => Callback::Run(payload),
            Work::Ready(key) => match self.queue_readiness(key) {
                Some(readiness) => Callback::Ready(readiness),
                None => return,
            },
        };
        self.callbacks.push_front(callback);
        self.batch += 1;
    }

    /// Adds a timer that comes due at `deadline`; equal deadlines are handed out in order of addition.
    ///
    /// A deadline that the last turn has reached counts as the time of that turn, and is handed out by the next one,
    /// or by a turn under way that has not come to the timers of the lane, whatever the clock says then. This is the
    /// cheapest timer there is: for a fiber that yields, give 0. Fibers with such deadlines come in order of addition,
    /// callbacks in the order of their deadlines nevertheless.
    ///
    /// # Panics
    ///
    /// When the lane holds 2³² − 1 timers already.
    ///
    /// # Examples
    ///
    /// ```
    /// use evio_loop::{Engine, Lane, Work};
    ///
    /// let mut engine = Engine::new()?;
    /// engine.begin(1_000, None);
    /// engine.schedule(Lane::Fiber, 900, "overdue");
    /// assert_eq!(engine.next_fiber(), Some(Work::Run("overdue")));
    /// engine.schedule(Lane::Fiber, 0, "again");
    /// assert_eq!(engine.next_fiber(), None); // the turn has come to its timers already
    /// engine.begin(1_000, None);
    /// assert_eq!(engine.next_fiber(), Some(Work::Run("again")));
    /// # Ok::<(), evio_loop::Error>(())
    /// ```
    pub fn schedule(&mut self, lane: Lane, deadline: u64, payload: T) -> TimerKey {
        let key = self.timers_mut(lane).insert(deadline, payload);
        TimerKey { lane, key }
    }

    /// Cancels a timer and hands its payload back; `None` when it was handed out or cancelled before.
    ///
    /// A callback timer counts as handed out from the beginning of the turn in which it is due.
    pub fn cancel(&mut self, timer: TimerKey) -> Option<T> {
        self.timers_mut(timer.lane).cancel(timer.key)
    }

    /// The deadline of a pending timer, in nanoseconds.
    pub fn deadline(&self, timer: TimerKey) -> Option<u64> {
        self.timers_of(timer.lane).deadline(timer.key)
    }

    /// Pending timers of a lane with their deadlines in nanoseconds, in no order.
    pub fn timers(&self, lane: Lane) -> impl Iterator<Item = (u64, &T)> {
        self.timers_of(lane).iter()
    }

    /// The number of pending timers of a lane.
    pub fn timer_count(&self, lane: Lane) -> usize {
        self.timers_of(lane).len()
    }

    /// The time of the turn under way, or of the last one, in nanoseconds.
    pub fn turn(&self) -> u64 {
        self.fiber_timers.turn()
    }

    /// The earliest deadline of all pending timers, in nanoseconds.
    pub fn next_deadline(&mut self) -> Option<u64> {
        let callback = self.callback_timers.next_deadline();
        let fiber = self.fiber_timers.next_deadline();
        callback.into_iter().chain(fiber).min()
    }

    /// What to do before the next turn, at the time `now`, in nanoseconds.
    ///
    /// While work is ready the descriptors are looked at every 16 turns or 50 microseconds, whichever comes first, so
    /// that ready work cannot starve them and seldom pays for a system call. They are looked at before every turn
    /// while a watcher in the fiber lane is armed, because a fiber that yields expects those whose descriptor is ready
    /// to go first; and once whenever a watcher was added or armed.
    pub fn plan(&mut self, now: u64) -> Plan {
        if self.callbacks.is_empty()
            && self.ready_fibers.is_empty()
            && !self.fiber_timers.is_due(now)
            && !self.callback_timers.is_due(now)
        {
            let wait = self.next_deadline().map(|deadline| deadline - now);
            return Plan::Poll(wait.map(Duration::from_nanos));
        }
        let fresh = self.armed_fibers == 0
            && !self.interest_is_new
            && self.turns_since_poll < TURNS_BETWEEN_POLLS
            && now.saturating_sub(self.polled_at) < NANOSECONDS_BETWEEN_POLLS;
        if fresh {
            Plan::Begin
        } else {
            Plan::Poll(Some(Duration::ZERO))
        }
    }

    /// Begins a turn at the time `now`, in nanoseconds, with what the host's wait brought (`None`: there was none).
    pub fn begin(&mut self, now: u64, polled: Option<&mut Waiter>) {
        match polled {
            None => self.turns_since_poll = self.turns_since_poll.saturating_add(1),
            Some(waiter) => {
                self.turns_since_poll = 0;
                self.interest_is_new = false;
                self.polled_at = now;
                self.collect(waiter);
            }
        }
        self.fiber_timers.reach(now);
        self.takes_fiber_timers = true;
        self.callback_timers.reach(now);
        self.callback_timers.close_turn();
        self.callback_timers.sort_due();
        while let Some(payload) = self.callback_timers.pop() {
            self.callbacks.push_back(Callback::Run(payload));
        }
        self.batch = self.callbacks.len();
    }

    /// The next callback of this turn.
    pub fn next_callback(&mut self) -> Option<Work<T>> {
        while self.batch > 0 {
            self.batch -= 1;
            match self.callbacks.pop_front()? {
                Callback::Run(payload) => return Some(Work::Run(payload)),
                Callback::Ready(readiness) => {
                    if let Some(key) = self.redeem(readiness) {
                        return Some(Work::Ready(key));
                    }
                }
            }
        }
        None
    }

    /// Whether this turn may have callbacks left: those left can be watchers that were removed or disarmed.
    pub fn has_callbacks(&self) -> bool {
        self.batch > 0
    }

    /// Whether callbacks stand there that belong to a later turn.
    pub fn has_later_callbacks(&self) -> bool {
        self.callbacks.len() > self.batch
    }

    /// Whether work stands there that comes after the callbacks of this turn and before the next look at the
    /// descriptors.
    pub fn has_later_work(&self) -> bool {
        self.has_later_callbacks() || !self.ready_fibers.is_empty() || self.fiber_timers.has_due()
    }

    /// The next work of this turn that concerns a fiber.
    pub fn next_fiber(&mut self) -> Option<Work<T>> {
        while let Some(readiness) = self.ready_fibers.pop_front() {
            if let Some(key) = self.redeem(readiness) {
                return Some(Work::Ready(key));
            }
        }
        self.come_to_fiber_timers();
        self.fiber_timers.pop().map(Work::Run)
    }

    fn come_to_fiber_timers(&mut self) {
        if std::mem::take(&mut self.takes_fiber_timers) {
            self.fiber_timers.close_turn();
        }
    }

    /// The next fiber of this turn, if it is one that yielded, without a delay, and `admit` takes it.
    ///
    /// For a fiber that yields and would switch straight to the next one, and not by way of the scheduler:
    ///
    /// 1. [`schedule`](Self::schedule) the fiber that yields, at 0;
    /// 2. call `next_fiber_if`: the answer is the fiber to switch to;
    /// 3. on `None` call [`begin_fibers`](Self::begin_fibers); if that is `true`, call `next_fiber_if` again;
    /// 4. if there is no answer yet, switch to the scheduler, which goes on with the turn under way:
    ///    [`next_fiber`](Self::next_fiber) until it has no more, then [`plan`](Self::plan).
    ///
    /// The order is that of `next_fiber`. `None` says only that the scheduler is needed: for a callback, a ready
    /// descriptor, a timer that had a delay, a payload that `admit` refuses (it stays where it is), or because the turn
    /// is over.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use evio_loop::{Engine, Host, Kernel, Lane, Work};
    ///
    /// /// The fiber that a yielding one switches to; `None`: the scheduler.
    /// fn after_yield(
    ///     engine: &mut Engine<&'static str>,
    ///     yielding: &'static str,
    ///     now: u64,
    /// ) -> Option<&'static str> {
    ///     let is_fiber = |name: &&str| name.starts_with("fiber");
    ///     engine.schedule(Lane::Fiber, 0, yielding);
    ///     let mut next = engine.next_fiber_if(is_fiber);
    ///     if next.is_none() && engine.begin_fibers(now) {
    ///         next = engine.next_fiber_if(is_fiber);
    ///     }
    ///     next
    /// }
    ///
    /// let mut engine = Engine::new()?;
    /// let mut waiter = engine.waiter();
    /// engine.schedule(Lane::Fiber, 0, "fiber 1");
    /// engine.schedule(Lane::Fiber, 0, "fiber 2");
    /// Kernel.wait(&mut waiter, Some(Duration::ZERO))?;
    /// engine.begin(10, Some(&mut waiter));
    /// assert_eq!(engine.next_fiber(), Some(Work::Run("fiber 1")));
    ///
    /// assert_eq!(after_yield(&mut engine, "fiber 1", 20), Some("fiber 2")); // in the same turn
    /// assert_eq!(after_yield(&mut engine, "fiber 2", 30), Some("fiber 1")); // in a new turn
    /// engine.push("a callback");
    /// assert_eq!(after_yield(&mut engine, "fiber 1", 40), Some("fiber 2")); // that turn's last
    /// assert_eq!(after_yield(&mut engine, "fiber 2", 50), None); // the callback comes first
    /// # Ok::<(), evio_loop::Error>(())
    /// ```
    pub fn next_fiber_if(&mut self, admit: impl FnOnce(&T) -> bool) -> Option<T> {
        if self.batch > 0 || !self.ready_fibers.is_empty() {
            return None;
        }
        self.come_to_fiber_timers();
        self.fiber_timers.pop_if(admit)
    }

    /// Begins a turn at the time `now`, in nanoseconds, if the turn under way is over and the new one has fibers to
    /// hand out, but no callbacks, and needs no poll.
    ///
    /// The answer is whether a turn was begun; `false` changes nothing. Call it when
    /// [`next_fiber_if`](Self::next_fiber_if), whose text has the whole order of calls, has answered `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use evio_loop::{Engine, Host, Kernel, Lane};
    ///
    /// let mut engine = Engine::new()?;
    /// let mut waiter = engine.waiter();
    /// engine.schedule(Lane::Fiber, 0, "fiber");
    /// assert!(!engine.begin_fibers(0)); // the descriptors were never looked at
    /// Kernel.wait(&mut waiter, Some(Duration::ZERO))?;
    /// engine.begin(10, Some(&mut waiter));
    /// assert!(!engine.begin_fibers(20)); // the turn under way has a fiber left
    /// assert_eq!(engine.next_fiber_if(|_| true), Some("fiber"));
    ///
    /// assert!(!engine.begin_fibers(30)); // there is nothing to do
    /// engine.schedule(Lane::Fiber, 0, "fiber");
    /// assert!(engine.begin_fibers(40));
    /// assert_eq!(engine.next_fiber_if(|_| true), Some("fiber"));
    /// # Ok::<(), evio_loop::Error>(())
    /// ```
    pub fn begin_fibers(&mut self, now: u64) -> bool {
        let free = self.callbacks.is_empty()
            && self.ready_fibers.is_empty()
            && !self.takes_fiber_timers
            && self.fiber_timers.is_over()
            && !self.callback_timers.is_due(now)
            && self.plan(now) == Plan::Begin;
        if free {
            self.begin(now, None);
        }
        free
    }

    /// Begins a turn at the time `now`, in nanoseconds, if the turn under way has nothing left to hand out, and the new
    /// one has callbacks and needs no poll.
    ///
    /// For who has run the callbacks of a turn, knows that the scheduler has nothing else to do, and goes on with those
    /// of the next. The answer is whether a turn was begun; on `false` the turn under way goes on with its fibers.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use evio_loop::{Engine, Host, Kernel, Lane, Work};
    ///
    /// let mut engine = Engine::new()?;
    /// let mut waiter = engine.waiter();
    /// engine.push("first");
    /// Kernel.wait(&mut waiter, Some(Duration::ZERO))?;
    /// engine.begin(10, Some(&mut waiter));
    /// assert_eq!(engine.next_callback(), Some(Work::Run("first")));
    ///
    /// assert!(!engine.begin_callbacks(20)); // there is nothing to do
    /// engine.push("second");
    /// assert!(engine.begin_callbacks(30));
    /// assert_eq!(engine.next_callback(), Some(Work::Run("second")));
    ///
    /// engine.push("third");
    /// engine.schedule(Lane::Fiber, 0, "fiber");
    /// assert!(!engine.begin_callbacks(40)); // the fiber is of the turn under way, and comes first
    /// assert_eq!(engine.next_fiber(), Some(Work::Run("fiber")));
    /// assert!(engine.begin_callbacks(50));
    /// # Ok::<(), evio_loop::Error>(())
    /// ```
    pub fn begin_callbacks(&mut self, now: u64) -> bool {
        if self.batch > 0 || self.callbacks.is_empty() || !self.ready_fibers.is_empty() {
            return false;
        }
        self.come_to_fiber_timers();
        let free = self.fiber_timers.is_over() && self.plan(now) == Plan::Begin;
        if free {
            self.begin(now, None);
        }
        free
    }

    /// Takes everything out of the engine: callbacks, timers and watchers, in this order.
    pub fn drain(&mut self) -> Vec<T> {
        self.batch = 0;
        self.ready_fibers.clear();
        let callbacks = self.callbacks.drain(..);
        let mut payloads: Vec<T> = callbacks
            .filter_map(|callback| match callback {
                Callback::Run(payload) => Some(payload),
                Callback::Ready(_) => None,
            })
            .collect();
        payloads.extend(self.drain_timers(Lane::Callback));
        payloads.extend(self.fiber_timers.drain());
        self.armed_fibers = 0;
        let watchers = self.reactor.drain().into_iter();
        payloads.extend(watchers.map(|(.., watched)| watched.payload));
        payloads
    }

    /// Takes all timers of a lane out, in the order in which they would have come due.
    pub fn drain_timers(&mut self, lane: Lane) -> Vec<T> {
        if lane == Lane::Callback {
            self.callback_timers.sort_due();
        }
        self.timers_mut(lane).drain()
    }

    /// Every payload that the engine holds, in no order.
    pub fn payloads(&self) -> impl Iterator<Item = &T> {
        let callbacks = self.callbacks.iter().filter_map(|callback| match callback {
            Callback::Run(payload) => Some(payload),
            Callback::Ready(_) => None,
        });
        let timers = self.callback_timers.iter().chain(self.fiber_timers.iter());
        callbacks
            .chain(timers.map(|(_, payload)| payload))
            .chain(self.reactor.iter().map(|(.., watched)| &watched.payload))
    }

    /// A buffer for the waits of a [`Host`](crate::Host); keep and reuse it.
    pub fn waiter(&self) -> Waiter {
        self.reactor.waiter()
    }

    /// Ends a wait from any thread.
    pub fn waker(&self) -> Waker {
        self.reactor.waker()
    }

    /// The engine's own descriptor, for a host that watches it: readable when a watcher is ready or a waker was
    /// called.
    pub fn raw_fd(&self) -> RawFd {
        self.reactor.raw_fd()
    }

    /// Gives a forked child a poller of its own; see [`Reactor::rebuild`].
    ///
    /// # Errors
    ///
    /// The reactor's, when the system has no descriptor left.
    pub fn rebuild(&mut self) -> Result<(), Error> {
        self.reactor.rebuild()
    }

    fn timers_of(&self, lane: Lane) -> &Timers<T> {
        match lane {
            Lane::Callback => &self.callback_timers,
            Lane::Fiber => &self.fiber_timers,
        }
    }

    fn timers_mut(&mut self, lane: Lane) -> &mut Timers<T> {
        match lane {
            Lane::Callback => &mut self.callback_timers,
            Lane::Fiber => &mut self.fiber_timers,
        }
    }
}

impl<T> fmt::Debug for Engine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("callbacks", &self.callbacks.len())
            .field("batch", &self.batch)
            .field("callback_timers", &self.callback_timers.len())
            .field("fiber_timers", &self.fiber_timers.len())
            .field("ready_fibers", &self.ready_fibers.len())
            .field("watchers", &self.reactor.len())
            .finish_non_exhaustive()
    }
}
