//! The engine: one reactor, one timer wheel a lane, one ready queue, and the turn that orders them.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::time::Duration;

use evio_reactor::{AddError, Direction, Error, Key, Mode, Reactor, Waiter, Waker};
use evio_timers::Wheel;

/// Turns that may pass without a poll while work is ready.
const TURNS_BETWEEN_POLLS: u32 = 16;

/// Nanoseconds that may pass without a poll while work is ready.
const NANOSECONDS_BETWEEN_POLLS: u64 = 50_000;

/// The part of a turn in which a piece of work is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The first part: callbacks of an event loop, in the order in which they became ready.
    Callback,
    /// The second part: fibers; ready descriptors first, then timers by deadline.
    Fiber,
}

/// Names a timer of an [`Engine`]; stale once the timer was handed out or cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey {
    lane: Lane,
    key: evio_timers::Key,
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

struct Watched<T> {
    lane: Lane,
    payload: T,
}

/// Collects what is ready and due, and hands it out in order, a turn at a time.
///
/// The order of calls in a turn is [`plan`](Self::plan), a wait by a [`Host`](crate::Host) if the
/// plan says so, [`begin`](Self::begin), then [`next_callback`](Self::next_callback) until it has
/// no more and [`next_fiber`](Self::next_fiber) until it has no more. A turn hands out what stood
/// there when it began: work that is added meanwhile, also with a deadline in the past, belongs to
/// a later turn, so that no work can starve the rest. An engine never calls its payloads and never
/// drops one that it was not told to drop.
///
/// All times are nanoseconds since an origin of the caller's choice; `u64::MAX` never comes.
pub struct Engine<T> {
    reactor: Reactor<Watched<T>>,
    callback_timers: Wheel<T>,
    fiber_timers: Wheel<T>,
    callbacks: VecDeque<Work<T>>,
    batch: usize,
    ready_fibers: VecDeque<Key>,
    turn: u64,
    polled_at: u64,
    turns_since_poll: u32,
    /// Something was watched or armed since the last poll, and wants to be looked at soon.
    interest_is_new: bool,
    /// Fibers expect that yielding once lets those whose descriptor is ready go first.
    fiber_watchers: usize,
    collected: Vec<Key>,
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
            callback_timers: Wheel::new(),
            fiber_timers: Wheel::new(),
            callbacks: VecDeque::new(),
            batch: 0,
            ready_fibers: VecDeque::new(),
            turn: 0,
            polled_at: 0,
            turns_since_poll: 0,
            interest_is_new: false,
            fiber_watchers: 0,
            collected: Vec::new(),
        })
    }

    /// Adds a callback that is ready now, behind those that are.
    pub fn push(&mut self, payload: T) {
        self.callbacks.push_back(Work::Run(payload));
    }

    /// Puts work that was handed out, and could not be run yet, back at the head of the callbacks.
    ///
    /// It is handed out again by the next [`next_callback`](Self::next_callback).
    pub fn push_front(&mut self, work: Work<T>) {
        self.callbacks.push_front(work);
        self.batch += 1;
    }

    /// Adds a timer that comes due at `deadline`; equal deadlines are handed out in order of addition.
    pub fn schedule(&mut self, lane: Lane, deadline: u64, payload: T) -> TimerKey {
        // A deadline in the past must not get into the turn under way.
        let deadline = deadline.max(self.turn.saturating_add(1));
        let key = self.wheel(lane).insert(deadline, payload);
        TimerKey { lane, key }
    }

    /// Cancels a timer and hands its payload back; `None` when it was handed out or cancelled before.
    ///
    /// A callback timer counts as handed out from the beginning of the turn in which it is due.
    pub fn cancel(&mut self, timer: TimerKey) -> Option<T> {
        self.wheel(timer.lane).cancel(timer.key)
    }

    /// The deadline of a pending timer.
    pub fn deadline(&self, timer: TimerKey) -> Option<u64> {
        match timer.lane {
            Lane::Callback => self.callback_timers.deadline(timer.key),
            Lane::Fiber => self.fiber_timers.deadline(timer.key),
        }
    }

    /// Pending timers of a lane with their deadlines, in no order.
    pub fn timers(&self, lane: Lane) -> impl Iterator<Item = (u64, &T)> {
        let wheel = match lane {
            Lane::Callback => &self.callback_timers,
            Lane::Fiber => &self.fiber_timers,
        };
        wheel
            .iter()
            .map(|(_, deadline, payload)| (deadline, payload))
    }

    /// The number of pending timers of a lane.
    pub fn timer_count(&self, lane: Lane) -> usize {
        match lane {
            Lane::Callback => self.callback_timers.len(),
            Lane::Fiber => self.fiber_timers.len(),
        }
    }

    /// The earliest deadline of all pending timers.
    pub fn next_deadline(&mut self) -> Option<u64> {
        let callback = self.callback_timers.next_deadline();
        let fiber = self.fiber_timers.next_deadline();
        [callback, fiber].into_iter().flatten().min()
    }

    /// Watches a descriptor; any number of watchers may share one.
    ///
    /// # Errors
    ///
    /// [`AddError`] hands the payload back and says why the descriptor cannot be watched.
    pub fn watch(
        &mut self,
        lane: Lane,
        fd: RawFd,
        direction: Direction,
        mode: Mode,
        payload: T,
    ) -> Result<Key, AddError<T>> {
        let watched = Watched { lane, payload };
        let outcome = self.reactor.add(fd, direction, mode, watched);
        if outcome.is_ok() {
            self.interest_is_new = true;
            self.fiber_watchers += usize::from(lane == Lane::Fiber);
        }
        outcome.map_err(|AddError { error, payload }| AddError {
                error,
                payload: payload.payload,
            })
    }

    /// Ends a watch and hands its payload back; work of it that was not handed out is gone.
    pub fn unwatch(&mut self, key: Key) -> Option<T> {
        let watched = self.reactor.remove(key)?;
        self.fiber_watchers -= usize::from(watched.lane == Lane::Fiber);
        Some(watched.payload)
    }

    /// Arms a one-shot watcher that has fired, or one that was disarmed.
    ///
    /// # Errors
    ///
    /// The reactor's, when the descriptor can no longer be watched.
    pub fn arm(&mut self, key: Key) -> Result<(), Error> {
        self.interest_is_new = true;
        self.reactor.arm(key)
    }

    /// Keeps a watcher but stops asking for its readiness until it is armed again.
    pub fn disarm(&mut self, key: Key) {
        self.reactor.disarm(key);
    }

    /// The payload of a watcher.
    pub fn watcher(&self, key: Key) -> Option<&T> {
        self.reactor.get(key).map(|watched| &watched.payload)
    }

    /// The watchers of a descriptor and direction in a lane, in order of addition.
    pub fn watchers_of(
        &self,
        lane: Lane,
        fd: RawFd,
        direction: Direction,
    ) -> impl Iterator<Item = Key> {
        self.reactor
            .keys_of(fd, direction)
            .filter(move |&key| self.reactor.get(key).is_some_and(|w| w.lane == lane))
    }

    /// All watchers of a lane with descriptor and direction, in no order.
    pub fn watchers(&self, lane: Lane) -> impl Iterator<Item = (Key, RawFd, Direction, &T)> {
        self.reactor
            .iter()
            .filter(move |(.., watched)| watched.lane == lane)
            .map(|(key, fd, direction, _, watched)| (key, fd, direction, &watched.payload))
    }

    /// What to do before the next turn, at the time `now`.
    pub fn plan(&mut self, now: u64) -> Plan {
        let deadline = self.next_deadline();
        let waiting_work = !self.callbacks.is_empty() || !self.ready_fibers.is_empty();
        if waiting_work || deadline.is_some_and(|deadline| deadline <= now) {
            let fresh = self.fiber_watchers == 0
                && !self.interest_is_new
                && self.turns_since_poll < TURNS_BETWEEN_POLLS
                && now.saturating_sub(self.polled_at) < NANOSECONDS_BETWEEN_POLLS;
            return if fresh {
                Plan::Begin
            } else {
                Plan::Poll(Some(Duration::ZERO))
            };
        }
        Plan::Poll(deadline.map(|deadline| Duration::from_nanos(deadline - now)))
    }

    /// Begins a turn at the time `now`, with what the host's wait brought (`None`: there was none).
    pub fn begin(&mut self, now: u64, polled: Option<&mut Waiter>) {
        self.turns_since_poll = self.turns_since_poll.saturating_add(1);
        if let Some(waiter) = polled {
            self.turns_since_poll = 0;
            self.interest_is_new = false;
            self.polled_at = now;
            let mut collected = std::mem::take(&mut self.collected);
            self.reactor.collect(waiter, &mut collected);
            for key in collected.drain(..) {
                match self.reactor.get(key).map(|watched| watched.lane) {
                    Some(Lane::Callback) => self.callbacks.push_back(Work::Ready(key)),
                    Some(Lane::Fiber) => self.ready_fibers.push_back(key),
                    None => {}
                }
            }
            self.collected = collected;
        }
        self.turn = now;
        while let Some((_, _, payload)) = self.callback_timers.pop_due(now) {
            self.callbacks.push_back(Work::Run(payload));
        }
        self.batch = self.callbacks.len();
    }

    /// The next callback of this turn.
    pub fn next_callback(&mut self) -> Option<Work<T>> {
        while self.batch > 0 {
            self.batch -= 1;
            match self.callbacks.pop_front()? {
                Work::Ready(key) if self.reactor.get(key).is_none() => {}
                work => return Some(work),
            }
        }
        None
    }

    /// Whether this turn has callbacks left.
    pub fn has_callbacks(&self) -> bool {
        self.batch > 0
    }

    /// The next work of this turn that concerns a fiber.
    pub fn next_fiber(&mut self) -> Option<Work<T>> {
        while let Some(key) = self.ready_fibers.pop_front() {
            if self.reactor.get(key).is_some() {
                return Some(Work::Ready(key));
            }
        }
        let (_, _, payload) = self.fiber_timers.pop_due(self.turn)?;
        Some(Work::Run(payload))
    }

    /// Moves the fiber lane of `other` into this engine, which must have none of its own.
    ///
    /// Timer keys stay valid. Watchers get new keys: the answer pairs the old with the new. Those
    /// whose descriptor can no longer be watched are handed back with the reason.
    ///
    /// # Panics
    ///
    /// When this engine has fiber work already.
    pub fn adopt_fibers(&mut self, other: &mut Self) -> Adopted<T> {
        assert!(
            self.fiber_timers.is_empty() && self.watchers(Lane::Fiber).next().is_none(),
            "an engine that has fibers of its own cannot adopt another's"
        );
        std::mem::swap(&mut self.fiber_timers, &mut other.fiber_timers);
        let mut adopted = Adopted {
            moved: Vec::new(),
            refused: Vec::new(),
        };
        let watchers: Vec<_> = other
            .reactor
            .iter()
            .filter(|(.., watched)| watched.lane == Lane::Fiber)
            .map(|(key, fd, direction, mode, _)| {
                (key, fd, direction, mode, other.reactor.is_armed(key))
            })
            .collect();
        for (old, fd, direction, mode, armed) in watchers {
            let Some(watched) = other.reactor.remove(old) else {
                continue;
            };
            other.fiber_watchers -= 1;
            match self.reactor.add(fd, direction, mode, watched) {
                Ok(new) => {
                    self.interest_is_new = true;
                    self.fiber_watchers += 1;
                    if !armed {
                        self.reactor.disarm(new);
                    }
                    if other.ready_fibers.contains(&old) {
                        self.ready_fibers.push_back(new);
                    }
                    adopted.moved.push((old, new));
                }
                Err(AddError { error, payload }) => {
                    adopted.refused.push((old, error, payload.payload));
                }
            }
        }
        other.ready_fibers.clear();
        adopted
    }

    /// Takes everything out of the engine: callbacks, timers and watchers, in this order.
    pub fn drain(&mut self) -> Vec<T> {
        self.batch = 0;
        self.ready_fibers.clear();
        let mut payloads: Vec<T> = self
            .callbacks
            .drain(..)
            .filter_map(|work| match work {
                Work::Run(payload) => Some(payload),
                Work::Ready(_) => None,
            })
            .collect();
        payloads.extend(self.callback_timers.drain());
        payloads.extend(self.fiber_timers.drain());
        let watchers: Vec<Key> = self.reactor.iter().map(|(key, ..)| key).collect();
        payloads.extend(watchers.into_iter().filter_map(|key| self.unwatch(key)));
        payloads
    }

    /// Takes all timers of a lane out, in the order in which they would have come due.
    pub fn drain_timers(&mut self, lane: Lane) -> Vec<T> {
        self.wheel(lane).drain()
    }

    /// Every payload that the engine holds, in no order.
    pub fn payloads(&self) -> impl Iterator<Item = &T> {
        let callbacks = self.callbacks.iter().filter_map(|work| match work {
            Work::Run(payload) => Some(payload),
            Work::Ready(_) => None,
        });
        let timers = self.callback_timers.iter().chain(self.fiber_timers.iter());
        callbacks
            .chain(timers.map(|(_, _, payload)| payload))
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

    /// The engine's own descriptor, for a host that watches it: readable when a watcher is ready or
    /// a waker was called.
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

    fn wheel(&mut self, lane: Lane) -> &mut Wheel<T> {
        match lane {
            Lane::Callback => &mut self.callback_timers,
            Lane::Fiber => &mut self.fiber_timers,
        }
    }
}

/// What [`Engine::adopt_fibers`] did with the watchers.
#[derive(Debug)]
pub struct Adopted<T> {
    /// Old and new key of each watcher that was moved.
    pub moved: Vec<(Key, Key)>,
    /// Old key, reason and payload of each watcher that could not be moved.
    pub refused: Vec<(Key, Error, T)>,
}
