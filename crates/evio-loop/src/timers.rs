//! The timers of one lane: a wheel, and a queue for those that were due before they were added.
//!
//! The rules:
//! * A deadline that the turn under way has reached counts as that turn's time. Such a timer stands in `due`, in order
//!   of addition, and belongs to the turn under way until that is closed, then to the next, whatever the clock says
//!   then. All others stand in the wheel.
//! * Turns do not go back in time, so the deadlines in `due` ascend. A timer in the wheel with the deadline of one in
//!   `due` was added before it, when no turn had reached that deadline yet: among equals the wheel's is the first.
//! * The first of `due` was not cancelled, so that whether there is one is known without a search.
//! * `bound` is at or before every deadline in the wheel; an insertion lowers it, and only asking the wheel raises it.
//!   So a turn in which no timer is due does not ask.
//! * Every lane's timers have an `id` that no other lane's in the process have, and keys carry it, so that no key
//!   names a timer of another engine, nor of one that has adopted fibers since.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};

use evio_timers::Wheel;

/// Cancelled timers that `due` may hold beside the pending ones.
const CANCELLED: usize = 32;

/// Names a timer of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    owner: u32,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Wheel(evio_timers::Key),
    Due(u64),
}

#[derive(Debug)]
struct Due<T> {
    number: u64,
    deadline: u64,
    /// The deadline that was asked for.
    wanted: u64,
    /// `None` once it was cancelled.
    payload: Option<T>,
}

#[derive(Debug)]
pub(crate) struct Timers<T> {
    id: u32,
    wheel: Wheel<T>,
    bound: u64,
    due: VecDeque<Due<T>>,
    /// How many of `due` were cancelled.
    cancelled: usize,
    /// The number of the next one in `due`.
    next_number: u64,
    /// Those in `due` with a lower number belong to the turn under way.
    turn_end: u64,
    /// The time of the turn under way.
    turn: u64,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        static LAST_ID: AtomicU32 = AtomicU32::new(0);
        Timers {
            id: LAST_ID.fetch_add(1, Ordering::Relaxed),
            wheel: Wheel::new(),
            bound: u64::MAX,
            due: VecDeque::new(),
            cancelled: 0,
            next_number: 0,
            turn_end: 0,
            turn: 0,
        }
    }

    /// The time of the turn under way, in nanoseconds.
    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    /// Moves the turn under way on to the time `now`, unless it is there already.
    pub(crate) fn reach(&mut self, now: u64) {
        self.turn = self.turn.max(now);
    }

    /// Gives the turn under way all timers that are due; those that are added from now on wait for the next one.
    pub(crate) fn close_turn(&mut self) {
        self.turn_end = self.next_number;
    }

    /// Puts the timers that were due when they were added in the order of the deadlines they were given, for a lane
    /// that takes all of them out next.
    pub(crate) fn sort_due(&mut self) {
        if !self.due.iter().is_sorted_by_key(|due| due.wanted) {
            self.due.retain(|due| due.payload.is_some());
            self.cancelled = 0;
            // It keeps the order of equals.
            let due = self.due.make_contiguous();
            due.sort_by_key(|due| due.wanted);
        }
    }

    pub(crate) fn insert(&mut self, deadline: u64, payload: T) -> Key {
        let place = if deadline > self.turn || deadline == u64::MAX {
            self.bound = self.bound.min(deadline);
            Place::Wheel(self.wheel.insert(deadline, payload))
        } else {
            let number = self.next_number;
            self.next_number += 1;
            self.due.push_back(Due {
                number,
                deadline: self.turn,
                wanted: deadline,
                payload: Some(payload),
            });
            Place::Due(number)
        };
        let owner = self.id;
        Key { owner, place }
    }

    pub(crate) fn cancel(&mut self, key: Key) -> Option<T> {
        let number = match key.place {
            _ if key.owner != self.id => return None,
            Place::Wheel(key) => return self.wheel.cancel(key),
            Place::Due(number) => number,
        };
        let at = self.find(number)?;
        let payload = self.due[at].payload.take()?;
        self.cancelled += 1;
        self.trim();
        if self.cancelled > CANCELLED + self.due.len() / 2 {
            self.due.retain(|due| due.payload.is_some());
            self.cancelled = 0;
        }
        Some(payload)
    }

    pub(crate) fn deadline(&self, key: Key) -> Option<u64> {
        match key.place {
            _ if key.owner != self.id => None,
            Place::Wheel(key) => self.wheel.deadline(key),
            Place::Due(number) => {
                let due = &self.due[self.find(number)?];
                due.payload.is_some().then_some(due.deadline)
            }
        }
    }

    /// Whether a turn at the time `now` would find a timer to hand out.
    pub(crate) fn is_due(&mut self, now: u64) -> bool {
        !self.due.is_empty() || self.is_wheel_due(now)
    }

    /// Whether a timer stands there that was due when it was added.
    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Whether the turn under way has no more timers to hand out.
    pub(crate) fn is_over(&mut self) -> bool {
        let turn = self.turn;
        let queued = self
            .due
            .front()
            .is_some_and(|due| due.number < self.turn_end);
        !queued && !self.is_wheel_due(turn)
    }

    fn is_wheel_due(&mut self, now: u64) -> bool {
        if self.bound > now {
            return false;
        }
        let first = self.wheel.next_deadline();
        self.bound = first.unwrap_or(u64::MAX);
        first.is_some_and(|first| first <= now)
    }

    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        let due = self.due.front().map(|due| due.deadline);
        let wheel = self.wheel.next_deadline();
        due.into_iter().chain(wheel).min()
    }

    /// The next timer that belongs to the turn under way.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let turn_end = self.turn_end;
        match self.due.front() {
            Some(due) if due.number < turn_end => {
                let deadline = due.deadline;
                self.pop_wheel(deadline).or_else(|| self.pop_queued())
            }
            _ => self.pop_wheel(self.turn),
        }
    }

    /// [`pop`](Self::pop), but only a timer that had no delay and is admitted.
    pub(crate) fn pop_if(&mut self, admit: impl FnOnce(&T) -> bool) -> Option<T> {
        let due = self.due.front()?;
        if due.number >= self.turn_end
            || self.bound <= due.deadline
            || !admit(due.payload.as_ref()?)
        {
            return None;
        }
        self.pop_queued()
    }

    fn pop_wheel(&mut self, now: u64) -> Option<T> {
        if self.bound > now {
            return None;
        }
        let popped = self.wheel.pop_due(now).map(|(.., payload)| payload);
        if popped.is_none() {
            self.bound = self.wheel.next_deadline().unwrap_or(u64::MAX);
        }
        popped
    }

    fn pop_queued(&mut self) -> Option<T> {
        let payload = self.due.pop_front()?.payload;
        self.trim();
        payload
    }

    /// Takes all timers out, in the order in which they would have been handed out.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let mut payloads = Vec::with_capacity(self.len());
        while let Some(deadline) = self.due.front().map(|due| due.deadline) {
            while let Some((.., payload)) = self.wheel.pop_due(deadline) {
                payloads.push(payload);
            }
            payloads.extend(self.pop_queued());
        }
        payloads.extend(self.wheel.drain());
        payloads
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let due = self.due.iter();
        due.filter_map(|due| Some((due.deadline, due.payload.as_ref()?)))
            .chain(
                self.wheel
                    .iter()
                    .map(|(_, deadline, payload)| (deadline, payload)),
            )
    }

    pub(crate) fn len(&self) -> usize {
        self.due.len() - self.cancelled + self.wheel.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_empty() && self.wheel.is_empty()
    }

    fn find(&self, number: u64) -> Option<usize> {
        let first = self.due.front()?.number;
        let offset = usize::try_from(number.checked_sub(first)?).ok()?;
        // It is this one unless cancelled ones were swept out meanwhile.
        if self.due.get(offset).is_some_and(|due| due.number == number) {
            return Some(offset);
        }
        self.due
            .binary_search_by_key(&number, |due| due.number)
            .ok()
    }

    /// Takes cancelled timers off the front.
    fn trim(&mut self) {
        while self.cancelled > 0 && self.due.front().is_some_and(|due| due.payload.is_none()) {
            self.due.pop_front();
            self.cancelled -= 1;
        }
    }
}
