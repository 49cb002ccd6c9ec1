//! The reactor: watchers, their keys, and what a wait reports of them.

use crate::registration::{BEACON, Registry, WAKE};
use crate::sys::{Interest, Poller};
use crate::waker::WakeSource;
use crate::{AddError, Direction, Error, Key, Mode, Waiter, Waker};
use slab::Slab;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
struct Watcher<T> {
    serial: u64,
    slot: usize,
    direction: Direction,
    mode: Mode,
    armed: bool,
    payload: T,
}

/// A set of watchers and the poller that tells which of them are ready.
///
/// The order of calls: [`add`](Reactor::add) watchers; then, again and again,
/// [`wait`](Reactor::wait) (or [`Waiter::block`] and
/// [`collect`](Reactor::collect)) and [`get`](Reactor::get) what the reported
/// keys carry; [`arm`](Reactor::arm) one-shots that are wanted again;
/// [`remove`](Reactor::remove) before closing the descriptor.
///
/// Payloads are handed back, never dropped, except with the reactor itself.
#[derive(Debug)]
pub struct Reactor<T> {
    poller: Arc<Poller>,
    registry: Registry,
    watchers: Slab<Watcher<T>>,
    next_serial: u64,
    wake_source: Arc<WakeSource>,
    /// Lent to `wait` while it runs.
    waiter: Option<Waiter>,
}

impl<T> Reactor<T> {
    /// Makes a reactor without watchers.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyFiles`] or [`Error::TooManySystemFiles`] if no descriptor is left, [`Error::Poller`] if
    /// the system has no poller to give.
    pub fn new() -> Result<Self, Error> {
        let poller = Arc::new(Poller::new().map_err(Error::of_poller)?);
        let wake_source = Arc::new(WakeSource::new().map_err(Error::of_poller)?);
        poller
            .add(wake_source.fd(), WAKE, Interest::READ)
            .map_err(Error::of_poller)?;
        Ok(Reactor {
            registry: Registry::new(poller.clone()),
            poller,
            watchers: Slab::new(),
            next_serial: 0,
            wake_source,
            waiter: None,
        })
    }

    /// Adds an armed watcher. Any number may watch one descriptor.
    ///
    /// It costs one system call; two if the number was closed and reused since
    /// it was last seen.
    ///
    /// # Errors
    ///
    /// The payload is handed back with [`Error::BadDescriptor`] if `fd` is not
    /// open, [`Error::Unwatchable`] if it is the reactor's own, and
    /// [`Error::TooManyWatches`], [`Error::TooManyFiles`], [`Error::TooManySystemFiles`],
    /// [`Error::OutOfMemory`] or [`Error::Poller`] if the system refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// use evio_reactor::{Direction, Error, Mode, Reactor};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let refused = reactor.add(-1, Direction::Read, Mode::Level, "payload").unwrap_err();
    /// assert!(matches!(refused.error, Error::BadDescriptor { fd: -1 }));
    /// assert_eq!(refused.payload, "payload");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn add(
        &mut self,
        fd: RawFd,
        direction: Direction,
        mode: Mode,
        payload: T,
    ) -> Result<Key, AddError<T>> {
        let Some(slot) = self.registry.find_or_make(fd) else {
            let error = Error::BadDescriptor { fd };
            return Err(AddError { error, payload });
        };
        self.registry.get_mut(slot).count_armed(direction, mode);
        if let Err(error) = self.registry.attach(slot) {
            self.registry.get_mut(slot).count_disarmed(direction, mode);
            return Err(AddError { error, payload });
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let index = self.watchers.insert(Watcher {
            serial,
            slot,
            direction,
            mode,
            armed: true,
            payload,
        });
        self.registry.get_mut(slot).watchers.push(index);
        Ok(Key { index, serial })
    }

    /// Removes a watcher and hands its payload back; none if it was removed
    /// before. The descriptor may be closed by now.
    ///
    /// It costs no system call if the watcher was not armed or others want the
    /// same, else one.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.watcher(key)?;
        let watcher = self.watchers.remove(key.index);
        let registration = self.registry.get_mut(watcher.slot);
        registration.watchers.retain(|&index| index != key.index);
        if watcher.armed {
            registration.count_disarmed(watcher.direction, watcher.mode);
            self.registry.settle(watcher.slot);
        }
        Some(watcher.payload)
    }

    /// Arms a watcher: a one-shot that has fired, or one that was disarmed.
    ///
    /// It costs one system call, also for a watcher that is armed, because it
    /// takes up a number that was closed and reused; two in that case.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownKey`] if the watcher was removed, otherwise as
    /// [`add`](Reactor::add); the watcher then stays as it was.
    pub fn arm(&mut self, key: Key) -> Result<(), Error> {
        let watcher = self.watcher(key).ok_or(Error::UnknownKey)?;
        let (slot, direction, mode) = (watcher.slot, watcher.direction, watcher.mode);
        let was_armed = watcher.armed;
        if !was_armed {
            self.registry.get_mut(slot).count_armed(direction, mode);
        }
        let result = self.registry.attach(slot);
        if result.is_ok() {
            self.watchers[key.index].armed = true;
        } else if !was_armed {
            self.registry.get_mut(slot).count_disarmed(direction, mode);
        }
        result
    }

    /// Disarms a watcher: it stays known and is not polled until
    /// [`arm`](Reactor::arm). Does nothing if it was removed.
    pub fn disarm(&mut self, key: Key) {
        if self.is_armed(key) {
            let watcher = &mut self.watchers[key.index];
            watcher.armed = false;
            let slot = watcher.slot;
            self.registry
                .get_mut(slot)
                .count_disarmed(watcher.direction, watcher.mode);
            self.registry.settle(slot);
        }
    }

    fn watcher(&self, key: Key) -> Option<&Watcher<T>> {
        self.watchers
            .get(key.index)
            .filter(|watcher| watcher.serial == key.serial)
    }

    /// The payload of a watcher.
    pub fn get(&self, key: Key) -> Option<&T> {
        self.watcher(key).map(|watcher| &watcher.payload)
    }

    /// The payload of a watcher, to change.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.watchers
            .get_mut(key.index)
            .filter(|watcher| watcher.serial == key.serial)
            .map(|watcher| &mut watcher.payload)
    }

    /// The number of the descriptor that a watcher watches.
    pub fn fd(&self, key: Key) -> Option<RawFd> {
        self.watcher(key)
            .map(|watcher| self.registry.get(watcher.slot).fd())
    }

    /// What a watcher waits for.
    pub fn direction(&self, key: Key) -> Option<Direction> {
        self.watcher(key).map(|watcher| watcher.direction)
    }

    /// How often a watcher is reported.
    pub fn mode(&self, key: Key) -> Option<Mode> {
        self.watcher(key).map(|watcher| watcher.mode)
    }

    /// Whether a watcher is known and armed.
    pub fn is_armed(&self, key: Key) -> bool {
        self.watcher(key).is_some_and(|watcher| watcher.armed)
    }

    /// Whether a watcher's file was found to be one that cannot be polled, such as a regular file, and so
    /// counts as always ready.
    pub fn is_always_ready(&self, key: Key) -> bool {
        self.watcher(key)
            .is_some_and(|watcher| self.registry.get(watcher.slot).is_unpollable())
    }

    /// The watchers of one direction of `fd`, in order of addition.
    pub fn keys_of(&self, fd: RawFd, direction: Direction) -> impl Iterator<Item = Key> + '_ {
        let slot = self.registry.find(fd);
        slot.map_or(&[][..], |slot| &self.registry.get(slot).watchers)
            .iter()
            .map(|&index| (index, &self.watchers[index]))
            .filter(move |(_, watcher)| watcher.direction == direction)
            .map(|(index, watcher)| Key {
                index,
                serial: watcher.serial,
            })
    }

    /// All watchers, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, RawFd, Direction, Mode, &T)> + '_ {
        self.watchers.iter().map(|(index, watcher)| {
            let serial = watcher.serial;
            (
                Key { index, serial },
                self.registry.get(watcher.slot).fd(),
                watcher.direction,
                watcher.mode,
                &watcher.payload,
            )
        })
    }

    /// How many watchers there are, armed or not.
    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Whether there are no watchers.
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Removes all watchers and hands them back in order of addition.
    pub fn drain(&mut self) -> Vec<(Key, RawFd, Direction, Mode, T)> {
        let mut drained = Vec::with_capacity(self.watchers.len());
        for (index, watcher) in std::mem::take(&mut self.watchers) {
            let registration = self.registry.get_mut(watcher.slot);
            if watcher.armed {
                registration.count_disarmed(watcher.direction, watcher.mode);
            }
            let serial = watcher.serial;
            drained.push((
                Key { index, serial },
                registration.fd(),
                watcher.direction,
                watcher.mode,
                watcher.payload,
            ));
        }
        for slot in 0..self.registry.len() {
            self.registry.get_mut(slot).watchers.clear();
            self.registry.settle(slot);
        }
        drained.sort_by_key(|(key, ..)| key.serial);
        drained
    }

    /// A waiter for this reactor, to be made once and used again.
    pub fn waiter(&self) -> Waiter {
        Waiter::new(self.poller.clone())
    }

    /// Appends to `ready` the watchers that the last [`Waiter::block`] found
    /// ready, and disarms the one-shots among them.
    ///
    /// The watchers of one descriptor come in order of addition, and none
    /// comes twice. A watcher that was removed or disarmed since is left out.
    /// Where watchers were added or armed since, the next wait reports the
    /// descriptor, if it is still ready. Also takes note of all wakes so far:
    /// look for their news after this.
    pub fn collect(&mut self, waiter: &mut Waiter, ready: &mut Vec<Key>) {
        for event in waiter.events.iter() {
            match event.key {
                WAKE => self.wake_source.clear(),
                BEACON => {
                    for place in 0..self.registry.unpollable().len() {
                        self.fire(self.registry.unpollable()[place], true, true, ready);
                    }
                }
                key => {
                    if let Some(slot) = self.registry.find_event(key) {
                        self.fire(slot, event.readable, event.writable, ready);
                    }
                }
            }
        }
        waiter.events.clear();
    }

    fn fire(&mut self, slot: usize, readable: bool, writable: bool, ready: &mut Vec<Key>) {
        let registration = self.registry.get_mut(slot);
        registration.fired();
        let mut spent = [0_u32; 2];
        for &index in &registration.watchers {
            let watcher = &mut self.watchers[index];
            let matches = match watcher.direction {
                Direction::Read => readable,
                Direction::Write => writable,
            };
            if watcher.armed && matches {
                let serial = watcher.serial;
                ready.push(Key { index, serial });
                if watcher.mode == Mode::Oneshot {
                    watcher.armed = false;
                    spent[watcher.direction as usize] += 1;
                }
            }
        }
        registration.count_spent(spent);
        self.registry.settle(slot);
    }

    /// Waits until a watcher is ready, somebody wakes the reactor, a signal
    /// arrives, or `timeout` has passed, appends the ready watchers to
    /// `ready`, and returns their number.
    ///
    /// It is [`Waiter::block`], whose doc tells more, and
    /// [`collect`](Reactor::collect) in one.
    ///
    /// # Errors
    ///
    /// [`Error::Poller`] if the system refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// use evio_reactor::{Direction, Mode, Reactor};
    /// use std::os::fd::AsRawFd;
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// let (near, _far) = UnixStream::pair().unwrap();
    /// let mut reactor = Reactor::new()?;
    /// let reader = reactor.add(near.as_raw_fd(), Direction::Read, Mode::Level, 'r').unwrap();
    /// let writer = reactor.add(near.as_raw_fd(), Direction::Write, Mode::Oneshot, 'w').unwrap();
    ///
    /// let mut ready = Vec::new();
    /// assert_eq!(reactor.wait(None, &mut ready)?, 1);
    /// assert_eq!(ready, [writer]);
    /// assert!(!reactor.is_armed(writer) && reactor.is_armed(reader));
    /// assert_eq!(reactor.wait(Some(Duration::ZERO), &mut ready)?, 0);
    /// # Ok::<(), evio_reactor::Error>(())
    /// ```
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Key>,
    ) -> Result<usize, Error> {
        let before = ready.len();
        let mut waiter = self.waiter.take().unwrap_or_else(|| self.waiter());
        let result = waiter.block(timeout);
        self.collect(&mut waiter, ready);
        self.waiter = Some(waiter);
        result.map(|()| ready.len() - before)
    }

    /// What ends a wait from another thread.
    pub fn waker(&self) -> Waker {
        Waker::new(self.wake_source.clone())
    }

    /// The number of the poller's own descriptor, to be polled from outside:
    /// it is readable whenever a wait would return at once, be it for a ready
    /// descriptor, for a regular file, or for a wake.
    pub fn raw_fd(&self) -> RawFd {
        self.poller.as_raw_fd()
    }

    /// Parts from the parent after a fork. Call it in the child, before
    /// anything else is done with the reactor there.
    ///
    /// A child shares its parent's poller, and what it adds or removes would
    /// be added and removed for both. This puts a fresh poller behind the same
    /// descriptor number and registers every armed watcher on it; the parent's
    /// is left alone. Wakers made before now wake the child's reactor, waiters
    /// wait for it, and a wake that was pending is pending still. A poller that
    /// watches [`raw_fd`](Reactor::raw_fd) from outside has to add it again.
    ///
    /// It may also be called without a fork: that drops what the poller still
    /// holds of descriptors that were closed too early (see the
    /// [crate docs](crate)).
    ///
    /// # Errors
    ///
    /// [`Error::TooManyFiles`], [`Error::TooManySystemFiles`], [`Error::OutOfMemory`] or [`Error::Poller`] if
    /// there is no fresh poller to be had, and the reactor is as it was;
    /// [`Error::TooManyWatches`] if the system refuses to register some
    /// watchers, and those fall silent. Closed descriptors are no error.
    pub fn rebuild(&mut self) -> Result<(), Error> {
        self.poller.replace().map_err(Error::of_poller)?;
        let renewed = self.wake_source.renew().map_err(Error::of_poller);
        let added = self
            .poller
            .add(self.wake_source.fd(), WAKE, Interest::READ)
            .map_err(Error::of_poller);
        let attached = self.registry.attach_all();
        renewed.and(added).and(attached)
    }
}

impl<T> AsRawFd for Reactor<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.raw_fd()
    }
}

impl<T> AsFd for Reactor<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}
