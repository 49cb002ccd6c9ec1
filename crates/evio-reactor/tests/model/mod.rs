//! Operations on a reactor over real descriptors, and a model of it so plain that it must be right: every
//! watcher in one list, and for every number whether the poller knows the file that is open there now.
//!
//! ```ignore
//! mod model;
//!
//! model::run(&model::decode(b"any bytes are a list of operations"));
//! ```

#![allow(unreachable_pub, dead_code)] // Shared by tests and a fuzz target, neither of which uses all of it.

mod files;

use self::files::Place;
pub use self::files::{Kind, Readiness};
use evio_reactor::{Direction, Error, Key, Mode, Reactor, Waiter};
use std::os::fd::AsFd;
use std::time::Duration;

/// How many descriptor numbers the operations play with.
pub const PLACES: usize = 4;

/// Out of the way of the numbers that the system gives out by itself.
const LOWEST_NUMBER: i32 = 300;

/// One call, or one change of the world. `which` picks one of all keys ever made, so it may name a stale one;
/// `place` is taken modulo [`PLACES`].
#[derive(Clone, Debug)]
pub enum Op {
    Add {
        place: usize,
        direction: Direction,
        mode: Mode,
    },
    Remove {
        which: usize,
    },
    Arm {
        which: usize,
    },
    Disarm {
        which: usize,
    },
    Drain,
    Rebuild,
    Wake,
    /// Blocks, with no timeout to wait for, and leaves the events uncollected.
    Block,
    /// Blocks likewise, unless there are uncollected events, and collects.
    Wait,
    /// The far end writes a byte.
    Feed {
        place: usize,
    },
    /// The near end reads all there is.
    Consume {
        place: usize,
    },
    /// The near end writes until no more fits.
    Fill {
        place: usize,
    },
    /// The far end reads all there is.
    Relieve {
        place: usize,
    },
    /// The far end is closed.
    HangUp {
        place: usize,
    },
    /// The near end is closed behind the reactor's back.
    Close {
        place: usize,
    },
    /// The number is closed and reused behind the reactor's back.
    Reopen {
        place: usize,
        kind: Kind,
    },
}

/// Reads operations from bytes: any bytes are valid, and what is cut short ends the list.
pub fn decode(bytes: &[u8]) -> Vec<Op> {
    let mut bytes = bytes.iter().copied();
    std::iter::from_fn(|| decode_one(&mut bytes)).collect()
}

fn decode_one(bytes: &mut impl Iterator<Item = u8>) -> Option<Op> {
    let tag = bytes.next()?;
    let mut number = || bytes.next().map(usize::from);
    Some(match tag % 24 {
        0..=4 => {
            let bits = number()?;
            Op::Add {
                place: bits >> 2,
                direction: [Direction::Read, Direction::Write][bits & 1],
                mode: [Mode::Level, Mode::Oneshot][bits >> 1 & 1],
            }
        }
        5 | 6 => Op::Remove { which: number()? },
        7 | 8 => Op::Arm { which: number()? },
        9 => Op::Disarm { which: number()? },
        10 if tag < 128 => Op::Drain,
        10 => Op::Rebuild,
        11 => Op::Wake,
        12 => Op::Block,
        13..=16 => Op::Wait,
        17 => Op::Feed { place: number()? },
        18 => Op::Consume { place: number()? },
        19 => Op::Fill { place: number()? },
        20 => Op::Relieve { place: number()? },
        21 => Op::HangUp { place: number()? },
        22 => Op::Close { place: number()? },
        _ => {
            let bits = number()?;
            let kinds = [Kind::Stream, Kind::PipeRead, Kind::PipeWrite, Kind::Regular];
            Op::Reopen {
                place: bits >> 2,
                kind: kinds[bits & 3],
            }
        }
    })
}

/// Does the operations on a reactor and on the model.
///
/// # Panics
///
/// When they differ.
pub fn run(ops: &[Op]) {
    let mut world = World::new();
    for op in ops {
        world.apply(op);
        world.check();
    }
    world.wait();
    world.wait();
    world.check();
}

#[derive(Debug)]
struct Watcher {
    key: Key,
    place: usize,
    direction: Direction,
    mode: Mode,
    armed: bool,
    payload: u32,
}

/// What the model knows of one number besides its file.
#[derive(Clone, Copy, Debug, Default)]
struct Poll {
    /// The poller watches the file that is open there now.
    attached: bool,
    /// Known as a file that is always ready.
    always: bool,
    /// What a block has found and no collect has fetched.
    found: Option<Readiness>,
    /// Watchers have changed since that block: its event may be dropped.
    touched: bool,
    /// The file has changed since that block.
    stale: bool,
    /// The file has changed and was attached since: the event must be dropped.
    replaced: bool,
}

struct World {
    reactor: Reactor<u32>,
    waiter: Waiter,
    places: Vec<Place>,
    polls: [Poll; PLACES],
    watchers: Vec<Watcher>,
    keys: Vec<Key>,
    woken: bool,
    /// A block has found something that is not collected yet.
    pending: bool,
    wake_found: bool,
    always_found: bool,
}

impl World {
    fn new() -> Self {
        let reactor = Reactor::new().unwrap();
        World {
            waiter: reactor.waiter(),
            reactor,
            places: (0..PLACES).map(|_| Place::new(LOWEST_NUMBER)).collect(),
            polls: [Poll::default(); PLACES],
            watchers: Vec::new(),
            keys: Vec::new(),
            woken: false,
            pending: false,
            wake_found: false,
            always_found: false,
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Add {
                place,
                direction,
                mode,
            } => self.add(place % PLACES, direction, mode),
            Op::Remove { which } => self.remove(which),
            Op::Arm { which } => self.arm(which),
            Op::Disarm { which } => self.disarm(which),
            Op::Drain => self.drain(),
            Op::Rebuild => self.rebuild(),
            Op::Wake => {
                self.reactor.waker().wake();
                self.woken = true;
            }
            Op::Block => self.block(),
            Op::Wait => self.wait(),
            Op::Feed { place } => self.places[place % PLACES].feed(),
            Op::Consume { place } => self.places[place % PLACES].consume(),
            Op::Fill { place } => self.places[place % PLACES].fill(),
            Op::Relieve { place } => self.places[place % PLACES].relieve(),
            Op::HangUp { place } => self.places[place % PLACES].hang_up(),
            Op::Close { place } => {
                self.places[place % PLACES].close();
                self.replace_file(place % PLACES);
            }
            Op::Reopen { place, kind } => {
                self.places[place % PLACES].reopen(kind);
                self.replace_file(place % PLACES);
            }
        }
    }

    fn replace_file(&mut self, place: usize) {
        self.polls[place].attached = false;
        self.polls[place].stale = true;
    }

    /// What adding and arming do to a number; whether its file is open.
    fn attach(&mut self, place: usize) -> bool {
        let (file, poll) = (&self.places[place], &mut self.polls[place]);
        poll.attached = file.is_open() && !file.is_regular();
        poll.always = file.is_regular();
        poll.touched = true;
        poll.replaced |= poll.stale;
        file.is_open()
    }

    fn add(&mut self, place: usize, direction: Direction, mode: Mode) {
        let fd = self.places[place].fd;
        let payload = self.keys.len() as u32;
        let result = self.reactor.add(fd, direction, mode, payload);
        if !self.attach(place) {
            let refused = result.unwrap_err();
            assert!(matches!(refused.error, Error::BadDescriptor { fd: named } if named == fd));
            assert_eq!(refused.payload, payload);
            return;
        }
        let key = result.unwrap();
        assert!(!self.keys.contains(&key), "the key has been used before");
        self.keys.push(key);
        self.watchers.push(Watcher {
            key,
            place,
            direction,
            mode,
            armed: true,
            payload,
        });
    }

    fn pick(&self, which: usize) -> Option<(Key, Option<usize>)> {
        let key = *self.keys.get(which % self.keys.len().max(1))?;
        Some((key, self.watchers.iter().position(|w| w.key == key)))
    }

    fn remove(&mut self, which: usize) {
        let Some((key, at)) = self.pick(which) else {
            return;
        };
        let expected = at.map(|at| self.watchers.remove(at));
        if let Some(watcher) = &expected {
            self.polls[watcher.place].touched = true;
        }
        let payload = expected.map(|watcher| watcher.payload);
        assert_eq!(self.reactor.remove(key), payload);
    }

    fn arm(&mut self, which: usize) {
        let Some((key, at)) = self.pick(which) else {
            return;
        };
        let result = self.reactor.arm(key);
        let Some(at) = at else {
            assert!(matches!(result, Err(Error::UnknownKey)));
            return;
        };
        if self.attach(self.watchers[at].place) {
            result.unwrap();
            self.watchers[at].armed = true;
        } else {
            assert!(matches!(result, Err(Error::BadDescriptor { .. })));
        }
    }

    fn disarm(&mut self, which: usize) {
        let Some((key, at)) = self.pick(which) else {
            return;
        };
        self.reactor.disarm(key);
        if let Some(at) = at {
            self.watchers[at].armed = false;
            self.polls[self.watchers[at].place].touched = true;
        }
    }

    fn drain(&mut self) {
        let drained = self.reactor.drain();
        let expected: Vec<_> = std::mem::take(&mut self.watchers)
            .into_iter()
            .map(|w| {
                let fd = self.places[w.place].fd;
                (w.key, fd, w.direction, w.mode, w.payload)
            })
            .collect();
        assert_eq!(drained, expected);
        for poll in &mut self.polls {
            poll.touched = true;
        }
    }

    fn rebuild(&mut self) {
        self.reactor.rebuild().unwrap();
        for place in 0..PLACES {
            self.polls[place].attached = false;
            self.polls[place].always = false;
            self.polls[place].touched = true;
            if self.wanted(place).is_some() {
                self.attach(place);
            }
        }
    }

    /// Which directions of a place its armed watchers want.
    fn wanted(&self, place: usize) -> Option<(bool, bool)> {
        let armed = |direction| {
            self.watchers
                .iter()
                .any(|w| w.place == place && w.armed && w.direction == direction)
        };
        let wanted = (armed(Direction::Read), armed(Direction::Write));
        (wanted != (false, false)).then_some(wanted)
    }

    /// What a block would find at a place.
    fn event(&self, place: usize) -> Option<Readiness> {
        let (read, write) = self.wanted(place)?;
        let ready = self.places[place].readiness();
        let event = Readiness {
            read: ready.both || ready.read && read,
            write: ready.both || ready.write && write,
            both: ready.both,
        };
        (self.polls[place].attached && (event.read || event.write)).then_some(event)
    }

    fn always_ready(&self) -> bool {
        (0..PLACES).any(|place| self.polls[place].always && self.wanted(place).is_some())
    }

    fn block(&mut self) {
        self.waiter.block(Some(Duration::ZERO)).unwrap();
        if self.pending {
            return;
        }
        self.always_found = self.always_ready();
        self.wake_found = self.woken;
        self.pending = self.wake_found || self.always_found;
        for place in 0..PLACES {
            let found = self.event(place);
            self.pending |= found.is_some();
            self.polls[place] = Poll {
                found,
                touched: false,
                stale: false,
                replaced: false,
                ..self.polls[place]
            };
        }
    }

    fn wait(&mut self) {
        self.block();
        let mut ready = Vec::new();
        self.reactor.collect(&mut self.waiter, &mut ready);
        self.pending = false;
        if std::mem::take(&mut self.wake_found) {
            self.woken = false;
        }
        for place in 0..PLACES {
            self.check_reported(place, &ready);
        }
        let known = |key: &Key| self.watchers.iter().any(|w| w.key == *key);
        assert!(ready.iter().all(known), "a removed watcher was reported");
        for watcher in &mut self.watchers {
            if watcher.mode == Mode::Oneshot && ready.contains(&watcher.key) {
                watcher.armed = false;
            }
        }
    }

    fn check_reported(&self, place: usize, ready: &[Key]) {
        let poll = &self.polls[place];
        let found = match poll.found {
            _ if poll.always && self.always_found => Readiness {
                read: true,
                write: true,
                both: true,
            },
            Some(found) if !poll.replaced => found,
            _ => Readiness::default(),
        };
        let expected: Vec<Key> = self
            .watchers
            .iter()
            .filter(|w| w.place == place && w.armed)
            .filter(|w| match w.direction {
                Direction::Read => found.read,
                Direction::Write => found.write,
            })
            .map(|w| w.key)
            .collect();
        let here = |key: &&Key| {
            self.watchers
                .iter()
                .any(|w| w.key == **key && w.place == place)
        };
        let reported: Vec<Key> = ready.iter().filter(here).copied().collect();
        if !(poll.touched && reported.is_empty()) {
            assert_eq!(reported, expected, "place {place} of {poll:?}");
        }
    }

    fn check(&self) {
        assert_eq!(self.reactor.len(), self.watchers.len());
        assert_eq!(self.reactor.is_empty(), self.watchers.is_empty());
        let mut all: Vec<_> = self
            .reactor
            .iter()
            .map(|(key, fd, direction, mode, &payload)| (payload, key, fd, direction, mode))
            .collect();
        all.sort_by_key(|&(payload, ..)| payload);
        for (watcher, found) in self.watchers.iter().zip(all) {
            let fd = self.places[watcher.place].fd;
            let Watcher {
                key,
                direction,
                mode,
                ..
            } = *watcher;
            assert_eq!(found, (watcher.payload, key, fd, direction, mode));
            assert_eq!(self.reactor.is_armed(key), watcher.armed);
            assert_eq!(self.reactor.get(key), Some(&watcher.payload));
        }
        for (place, file) in self.places.iter().enumerate() {
            for direction in [Direction::Read, Direction::Write] {
                let expected: Vec<Key> = self
                    .watchers
                    .iter()
                    .filter(|w| w.place == place && w.direction == direction)
                    .map(|w| w.key)
                    .collect();
                let found: Vec<Key> = self.reactor.keys_of(file.fd, direction).collect();
                assert_eq!(found, expected);
            }
        }
        let would_return = self.woken
            || self.always_ready()
            || (0..PLACES).any(|place| self.event(place).is_some());
        if !self.pending {
            assert_eq!(is_readable(&self.reactor), would_return);
        }
    }
}

fn is_readable(fd: &impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
}
