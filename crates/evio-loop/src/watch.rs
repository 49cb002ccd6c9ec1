//! The watchers of an engine, and their readiness between its collection and its hand-out.
//!
//! The rules:
//! * Collected readiness stands in a queue with a ticket. It counts while the watcher has that ticket: removal,
//!   disarming and a later ticket make it void where it stands, and no queue is searched.
//! * A watcher has one ticket at most, so it is handed out once, however often it was collected before.
//! * `armed_fibers` counts the armed watchers in the fiber lane: it follows every change of `Reactor::is_armed`.

use std::os::fd::RawFd;

use evio_reactor::{AddError, Direction, Error, Key, Mode, Waiter};

use crate::engine::{Callback, Engine, Lane};

/// A watcher's readiness in a queue. It counts while the watcher has the same ticket.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Readiness {
    key: Key,
    ticket: u64,
}

pub(crate) struct Watched<T> {
    pub(crate) lane: Lane,
    /// Names its readiness that is queued; 0 while none is.
    ticket: u64,
    /// Orders the watchers by addition.
    pub(crate) added: u64,
    pub(crate) payload: T,
}

impl<T> Watched<T> {
    fn is_queued(&self) -> bool {
        self.ticket != 0
    }
}

impl<T> Engine<T> {
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
        self.watchers_added += 1;
        let watched = Watched {
            lane,
            ticket: 0,
            added: self.watchers_added,
            payload,
        };
        match self.reactor.add(fd, direction, mode, watched) {
            Ok(key) => {
                self.interest_is_new = true;
                self.armed_fibers += usize::from(lane == Lane::Fiber);
                Ok(key)
            }
            Err(AddError { error, payload }) => Err(AddError {
                error,
                payload: payload.payload,
            }),
        }
    }

    /// Ends a watch and hands its payload back; work of it that was not handed out is gone.
    pub fn unwatch(&mut self, key: Key) -> Option<T> {
        self.armed_fibers -= usize::from(self.is_armed_fiber(key));
        self.reactor.remove(key).map(|watched| watched.payload)
    }

    /// Arms a one-shot watcher that has fired, or one that was disarmed.
    ///
    /// # Errors
    ///
    /// The reactor's, when the descriptor can no longer be watched.
    pub fn arm(&mut self, key: Key) -> Result<(), Error> {
        let was_armed = self.is_armed_fiber(key);
        self.reactor.arm(key)?;
        self.interest_is_new = true;
        self.armed_fibers += usize::from(self.is_armed_fiber(key) && !was_armed);
        Ok(())
    }

    /// Keeps a watcher but stops asking for its readiness until it is armed again; readiness that was not handed out
    /// yet is forgotten.
    pub fn disarm(&mut self, key: Key) {
        self.armed_fibers -= usize::from(self.is_armed_fiber(key));
        self.reactor.disarm(key);
        if let Some(watched) = self.reactor.get_mut(key) {
            watched.ticket = 0;
        }
    }

    /// Whether a watcher's file cannot be polled, such as a regular file: it counts as always ready.
    pub fn is_always_ready(&self, key: Key) -> bool {
        self.reactor.is_always_ready(key)
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

    /// Queues what a poll has found ready.
    pub(crate) fn collect(&mut self, waiter: &mut Waiter) {
        let mut collected = std::mem::take(&mut self.collected);
        self.reactor.collect(waiter, &mut collected);
        for key in collected.drain(..) {
            let is_spent = !self.reactor.is_armed(key);
            let Some(watched) = self.reactor.get_mut(key) else {
                continue;
            };
            self.armed_fibers -= usize::from(is_spent && watched.lane == Lane::Fiber);
            // What a turn that was cut short has left is not queued twice.
            if watched.is_queued() {
                continue;
            }
            self.last_ticket += 1;
            watched.ticket = self.last_ticket;
            let ticket = self.last_ticket;
            let readiness = Readiness { key, ticket };
            match watched.lane {
                Lane::Callback => self.callbacks.push_back(Callback::Ready(readiness)),
                Lane::Fiber => self.ready_fibers.push_back(readiness),
            }
        }
        self.collected = collected;
    }

    /// The readiness of a watcher that stands in a queue.
    pub(crate) fn queued_as(&self, key: Key) -> Option<Readiness> {
        let watched = self
            .reactor
            .get(key)
            .filter(|watched| watched.is_queued())?;
        let ticket = watched.ticket;
        Some(Readiness { key, ticket })
    }

    /// A fresh ticket for a watcher, which makes an earlier one void.
    pub(crate) fn queue_readiness(&mut self, key: Key) -> Option<Readiness> {
        let watched = self.reactor.get_mut(key)?;
        self.last_ticket += 1;
        watched.ticket = self.last_ticket;
        let ticket = self.last_ticket;
        Some(Readiness { key, ticket })
    }

    /// The watcher of a queued readiness, unless it was removed or disarmed since.
    pub(crate) fn redeem(&mut self, Readiness { key, ticket }: Readiness) -> Option<Key> {
        let watched = self.reactor.get_mut(key)?;
        if watched.ticket != ticket {
            return None;
        }
        watched.ticket = 0;
        Some(key)
    }

    fn is_armed_fiber(&self, key: Key) -> bool {
        let is_fiber = |watched: &Watched<T>| watched.lane == Lane::Fiber;
        self.reactor.is_armed(key) && self.reactor.get(key).is_some_and(is_fiber)
    }
}
