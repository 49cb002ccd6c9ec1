//! The timers of one slot: a doubly linked list, first in first out, threaded through the timers themselves.

use std::num::NonZeroU64;

use crate::arena::Arena;

/// Ends a list where a timer's position would stand.
pub(crate) const NIL: u32 = u32::MAX;

/// A list that holds this many timers takes another only if all of them are due at the same moment.
pub(crate) const CROWDED: u32 = 64;

/// The longest list that is sorted, not split, when its first timer is asked for.
pub(crate) const SHORT: u32 = 32;

/// Timers by position.
pub(crate) type Timers<T> = Arena<Timer<T>>;

/// One pending timer.
#[derive(Debug)]
pub(crate) struct Timer<T> {
    pub(crate) deadline: u64,
    /// Which insertion made it, counted from one: it orders equal deadlines and tells a stale key.
    pub(crate) sequence: NonZeroU64,
    pub(crate) links: Links,
    pub(crate) payload: T,
}

/// The neighbours of a timer in its list.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Links {
    prev: u32,
    next: u32,
}

impl Links {
    const NONE: Links = Links {
        prev: NIL,
        next: NIL,
    };
}

impl<T> Timer<T> {
    pub(crate) fn new(deadline: u64, sequence: NonZeroU64, payload: T) -> Self {
        Timer {
            deadline,
            sequence,
            links: Links::NONE,
            payload,
        }
    }
}

/// A list that is never empty; equal deadlines stand in it in the order of their insertion.
#[derive(Copy, Clone, Debug)]
pub(crate) struct List {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    pub(crate) len: u32,
    /// Whether the deadlines are known to ascend. A list longer than [`CROWDED`] is always sorted.
    pub(crate) sorted: bool,
}

impl List {
    /// A list of one timer, which was in no list before.
    pub(crate) fn of_new(id: u32) -> Self {
        List {
            head: id,
            tail: id,
            len: 1,
            sorted: true,
        }
    }

    /// A list of one timer, which forgets the list it was in.
    pub(crate) fn of<T>(timers: &mut Timers<T>, id: u32) -> Self {
        timers[id].links = Links::NONE;
        List::of_new(id)
    }

    pub(crate) fn push<T>(&mut self, timers: &mut Timers<T>, id: u32, deadline: u64) {
        let last = &mut timers[self.tail];
        last.links.next = id;
        self.sorted &= last.deadline <= deadline;
        timers[id].links = Links {
            prev: self.tail,
            next: NIL,
        };
        self.tail = id;
        self.len += 1;
    }

    /// Closes the gap that a timer with these links left, and returns the list if anything is left in it.
    pub(crate) fn without<T>(mut self, timers: &mut Timers<T>, links: Links) -> Option<Self> {
        let Links { prev, next } = links;
        if prev == NIL {
            self.head = next;
        } else {
            timers[prev].links.next = next;
        }
        if next == NIL {
            self.tail = prev;
        } else {
            timers[next].links.prev = prev;
        }
        self.len -= 1;
        (self.len > 0).then_some(self)
    }

    /// The one deadline of all its timers, if the list is known to have only one.
    pub(crate) fn only_deadline<T>(&self, timers: &Timers<T>) -> Option<u64> {
        let first = timers[self.head].deadline;
        (self.sorted && timers[self.tail].deadline == first).then_some(first)
    }

    /// The highest bit in which its deadlines differ, perhaps with lower ones.
    pub(crate) fn difference<T>(&self, timers: &Timers<T>) -> u64 {
        let first = timers[self.head].deadline;
        if self.sorted {
            return first ^ timers[self.tail].deadline;
        }
        self.ids(timers)
            .fold(0, |bits, id| bits | first ^ timers[id].deadline)
    }

    /// The position of the timer behind `id`.
    pub(crate) fn after<T>(timers: &Timers<T>, id: u32) -> Option<u32> {
        let next = timers[id].links.next;
        (next != NIL).then_some(next)
    }

    pub(crate) fn ids<T>(&self, timers: &Timers<T>) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(self.head), |&id| Self::after(timers, id))
    }

    /// Puts the deadlines of a list no longer than [`SHORT`] in ascending order, equal ones as they were.
    pub(crate) fn sort<T>(&mut self, timers: &mut Timers<T>) {
        let mut order = [(0, 0); SHORT as usize];
        let order = &mut order[..self.len as usize];
        for (count, id) in self.ids(timers).enumerate() {
            // An insertion sort: the list is short, and mostly in order already.
            let deadline = timers[id].deadline;
            let mut to = count;
            while to > 0 && order[to - 1].0 > deadline {
                order[to] = order[to - 1];
                to -= 1;
            }
            order[to] = (deadline, id);
        }
        *self = List::of(timers, order[0].1);
        for &(deadline, id) in &order[1..] {
            self.push(timers, id, deadline);
        }
    }
}
