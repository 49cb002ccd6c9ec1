//! An engine beside its model.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use evio_loop::{Direction, Engine, Key, Lane, Mode, Plan, TimerKey, Waiter, Work};

use super::{Op, PLACES};

pub(super) const LANES: [Lane; 2] = [Lane::Callback, Lane::Fiber];

struct Place {
    near: UnixStream,
    far: UnixStream,
    buffered: bool,
}

pub(super) struct Timer {
    pub(super) key: TimerKey,
    pub(super) lane: Lane,
    pub(super) deadline: u64,
    /// What orders it among those that are due.
    rank: u64,
    /// The turn under way when it was added, if that had reached its deadline.
    overdue_in: Option<u64>,
    pub(super) payload: u32,
}

pub(super) struct Watcher {
    pub(super) key: Key,
    pub(super) lane: Lane,
    pub(super) place: usize,
    pub(super) direction: Direction,
    mode: Mode,
    armed: bool,
    pub(super) payload: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Item {
    Run(u32),
    /// Found by the poll with this number. What one poll finds may come in any order of places.
    Ready {
        key: Key,
        poll: u64,
    },
}

pub(crate) struct World {
    pub(super) engine: Engine<u32>,
    waiter: Waiter,
    places: Vec<Place>,
    pub(super) now: u64,
    pub(super) turn: u64,
    turn_count: u64,
    polls: u64,
    /// Time of the last poll, and the turns begun since without one.
    polled: Option<(u64, u32)>,
    /// A watcher was added or armed since the last poll.
    interest_is_new: bool,
    last_payload: u32,
    pub(super) timers: Vec<Timer>,
    pub(super) timer_keys: Vec<TimerKey>,
    pub(super) watchers: Vec<Watcher>,
    watcher_keys: Vec<Key>,
    pub(super) callbacks: VecDeque<Item>,
    pub(super) batch: usize,
    pub(super) fibers: VecDeque<Item>,
    /// The turn under way has not come to the fiber timers yet.
    takes_fiber_timers: bool,
    aside: Vec<Work<u32>>,
    /// By lane, whether the engine may hold readiness that does not count any more, and so begin a turn for nothing.
    void: [bool; 2],
}

fn pick<K: Copy>(keys: &[K], which: usize) -> Option<K> {
    let from_end = which.checked_rem(keys.len())?;
    keys.iter().rev().nth(from_end).copied()
}

impl World {
    pub(crate) fn new() -> Self {
        let engine = Engine::new().unwrap();
        let place = || {
            let (near, far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            far.set_nonblocking(true).unwrap();
            Place {
                near,
                far,
                buffered: false,
            }
        };
        World {
            waiter: engine.waiter(),
            engine,
            places: std::iter::repeat_with(place).take(PLACES).collect(),
            now: 1_000,
            turn: 0,
            turn_count: 0,
            polls: 0,
            polled: None,
            interest_is_new: false,
            last_payload: 0,
            timers: Vec::new(),
            timer_keys: Vec::new(),
            watchers: Vec::new(),
            watcher_keys: Vec::new(),
            callbacks: VecDeque::new(),
            batch: 0,
            fibers: VecDeque::new(),
            takes_fiber_timers: false,
            aside: Vec::new(),
            void: [false; 2],
        }
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        match *op {
            Op::Push => self.push(),
            Op::Schedule { lane, later } => {
                let deadline = later.map(|later| self.now.saturating_add_signed(later));
                self.schedule(lane, deadline.unwrap_or(u64::MAX));
            }
            Op::Cancel { which } => self.cancel(which),
            Op::Watch {
                lane,
                place,
                direction,
                mode,
            } => self.watch(lane, place % PLACES, direction, mode),
            Op::Unwatch { which } => self.unwatch(which),
            Op::Arm { which } => self.arm(which),
            Op::Disarm { which } => self.disarm(which),
            Op::Feed { place } => self.feed(place % PLACES),
            Op::Consume { place } => self.consume(place % PLACES),
            Op::Wake => self.engine.waker().wake(),
            Op::Advance { by } => self.now += by,
            Op::Begin { poll } => self.begin(poll),
            Op::Callback { aside } => {
                if let Some(work) = self.next_callback() {
                    self.aside.extend(aside.then_some(work));
                }
            }
            Op::Fiber { aside } => {
                if let Some(work) = self.next_fiber() {
                    self.aside.extend(aside.then_some(work));
                }
            }
            Op::Finish => {
                while self.next_callback().is_some() {
                    self.push();
                }
                while self.next_fiber().is_some() {
                    self.schedule(Lane::Fiber, self.turn);
                }
            }
            Op::PutBack => self.put_back(),
            Op::Adopt => self.adopt(),
            Op::DrainTimers { lane } => self.drain_timers(lane),
            Op::Drain => self.drain(),
        }
    }

    fn payload(&mut self) -> u32 {
        self.last_payload += 1;
        self.last_payload
    }

    fn push(&mut self) {
        let payload = self.payload();
        self.engine.push(payload);
        self.callbacks.push_back(Item::Run(payload));
    }

    fn schedule(&mut self, lane: Lane, deadline: u64) {
        let payload = self.payload();
        let key = self.engine.schedule(lane, deadline, payload);
        assert!(!self.timer_keys.contains(&key), "a key was given twice");
        self.timer_keys.push(key);
        let too_late = lane == Lane::Callback || !self.takes_fiber_timers;
        self.timers.push(Timer {
            key,
            lane,
            deadline: deadline.max(self.turn),
            rank: match lane {
                Lane::Callback => deadline,
                Lane::Fiber => deadline.max(self.turn),
            },
            overdue_in: (deadline <= self.turn && too_late).then_some(self.turn_count),
            payload,
        });
    }

    fn cancel(&mut self, which: usize) {
        if let Some(key) = pick(&self.timer_keys, which) {
            let at = self.timers.iter().position(|timer| timer.key == key);
            let expected = at.map(|at| self.timers.remove(at).payload);
            assert_eq!(self.engine.cancel(key), expected);
        }
    }

    /// Takes out the timer that comes first of those that a turn at this time may hand out.
    fn take_due(&mut self, lane: Lane, now: u64) -> Option<u32> {
        let may = |timer: &Timer| {
            timer.lane == lane
                && timer.deadline <= now
                && timer.deadline != u64::MAX
                && timer.overdue_in != Some(self.turn_count)
        };
        let due = (0..self.timers.len()).filter(|&at| may(&self.timers[at]));
        // Of equal ranks, `min_by_key` finds the one added first.
        let first = due.min_by_key(|&at| self.timers[at].rank)?;
        Some(self.timers.remove(first).payload)
    }

    fn watch(&mut self, lane: Lane, place: usize, direction: Direction, mode: Mode) {
        let payload = self.payload();
        let fd = self.fd(place);
        let key = self.engine.watch(lane, fd, direction, mode, payload);
        let key = key.unwrap();
        self.interest_is_new = true;
        self.watcher_keys.push(key);
        self.watchers.push(Watcher {
            key,
            lane,
            place,
            direction,
            mode,
            armed: true,
            payload,
        });
    }

    pub(super) fn fd(&self, place: usize) -> RawFd {
        self.places[place].near.as_raw_fd()
    }

    fn find(&self, key: Key) -> Option<usize> {
        self.watchers.iter().position(|watcher| watcher.key == key)
    }

    fn unwatch(&mut self, which: usize) {
        if let Some(key) = pick(&self.watcher_keys, which) {
            self.forget_readiness(key);
            let at = self.find(key);
            let expected = at.map(|at| self.watchers.remove(at).payload);
            assert_eq!(self.engine.unwatch(key), expected);
        }
    }

    fn arm(&mut self, which: usize) {
        if let Some(key) = pick(&self.watcher_keys, which) {
            let at = self.find(key);
            assert_eq!(self.engine.arm(key).is_ok(), at.is_some());
            if let Some(at) = at {
                self.interest_is_new = true;
                self.watchers[at].armed = true;
            }
        }
    }

    fn disarm(&mut self, which: usize) {
        if let Some(key) = pick(&self.watcher_keys, which) {
            self.forget_readiness(key);
            self.engine.disarm(key);
            if let Some(at) = self.find(key) {
                self.watchers[at].armed = false;
            }
        }
    }

    /// Takes a watcher's readiness out of the queues; whether there was any.
    fn forget_readiness(&mut self, of: Key) -> bool {
        let is_of = |item: &Item| matches!(*item, Item::Ready { key, .. } if key == of);
        let before = self.callbacks.len() + self.fibers.len();
        self.batch -= self
            .callbacks
            .iter()
            .take(self.batch)
            .filter(|i| is_of(i))
            .count();
        self.callbacks.retain(|item| !is_of(item));
        self.fibers.retain(|item| !is_of(item));
        let was_queued = before != self.callbacks.len() + self.fibers.len();
        self.void = self.void.map(|void| void || was_queued);
        was_queued
    }

    fn feed(&mut self, place: usize) {
        match self.places[place].far.write(b"x") {
            Ok(written) => self.places[place].buffered |= written == 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    fn consume(&mut self, place: usize) {
        let mut scratch = [0; 4096];
        while self.places[place].near.read(&mut scratch).is_ok() {}
        self.places[place].buffered = false;
    }

    pub(super) fn begin(&mut self, poll: bool) {
        let plan = self.engine.plan(self.now);
        let is_ready = !self.callbacks.is_empty() || !self.fibers.is_empty();
        let expected = self.expected_plan(is_ready);
        if plan != expected {
            assert!(self.void != [false; 2], "{plan:?} is not {expected:?}");
            assert_eq!(plan, self.expected_plan(true));
        }
        self.turn = self.turn.max(self.now);
        self.turn_count += 1;
        self.takes_fiber_timers = true;
        if poll || matches!(plan, Plan::Poll(_)) {
            self.waiter.block(Some(Duration::ZERO)).unwrap();
            self.engine.begin(self.now, Some(&mut self.waiter));
            self.poll();
        } else {
            self.engine.begin(self.now, None);
            if let Some((_, turns)) = &mut self.polled {
                *turns += 1;
            }
        }
        while let Some(payload) = self.take_due(Lane::Callback, self.turn) {
            self.callbacks.push_back(Item::Run(payload));
        }
        self.batch = self.callbacks.len();
    }

    fn expected_plan(&self, is_ready: bool) -> Plan {
        let mut deadlines = self.timers.iter().map(|timer| timer.deadline);
        let next = deadlines.by_ref().min().filter(|&next| next != u64::MAX);
        let mut watchers = self.watchers.iter();
        let may_wait = !self.interest_is_new && !watchers.any(|w| w.lane == Lane::Fiber && w.armed);
        match next {
            Some(next) if !is_ready && next > self.now => {
                Plan::Poll(Some(Duration::from_nanos(next - self.now)))
            }
            None if !is_ready => Plan::Poll(None),
            _ => match self.polled {
                Some((at, turns)) if may_wait && turns < 16 && self.now - at < 50_000 => {
                    Plan::Begin
                }
                _ => Plan::Poll(Some(Duration::ZERO)),
            },
        }
    }

    fn poll(&mut self) {
        self.polls += 1;
        self.polled = Some((self.now, 0));
        self.interest_is_new = false;
        let poll = self.polls;
        for at in 0..self.watchers.len() {
            let watcher = &mut self.watchers[at];
            let is_ready = match watcher.direction {
                Direction::Read => self.places[watcher.place].buffered,
                Direction::Write => true,
            };
            if !(watcher.armed && is_ready) {
                continue;
            }
            watcher.armed = watcher.mode == Mode::Level;
            let (key, lane) = (watcher.key, watcher.lane);
            let mut queued = self.callbacks.iter().chain(&self.fibers);
            if queued.any(|item| matches!(*item, Item::Ready { key: of, .. } if of == key)) {
                continue;
            }
            match lane {
                Lane::Callback => self.callbacks.push_back(Item::Ready { key, poll }),
                Lane::Fiber => self.fibers.push_back(Item::Ready { key, poll }),
            }
        }
    }

    /// Which of the items is handed out when the engine hands out this work.
    fn match_first(&self, items: &VecDeque<Item>, work: &Work<u32>) -> usize {
        let first = *items.front().expect("nothing was left to hand out");
        let (Work::Ready(handed), Item::Ready { poll: first, .. }) = (work, first) else {
            assert_eq!(Some(first), as_run(work), "not in order");
            return 0;
        };
        let place_of = |key| self.watchers[self.find(key).expect("watched")].place;
        let same_poll = items.iter().map_while(|item| match *item {
            Item::Ready { key, poll } if poll == first => Some(key),
            _ => None,
        });
        let (at, key) = same_poll
            .enumerate()
            .find(|&(_, key)| place_of(key) == place_of(*handed))
            .expect("not found by this poll");
        assert_eq!(
            key, *handed,
            "the watchers of a descriptor are not in order"
        );
        at
    }

    pub(super) fn next_callback(&mut self) -> Option<Work<u32>> {
        let work = self.engine.next_callback();
        let Some(work) = work else {
            assert_eq!(self.batch, 0, "a callback was kept back");
            assert!(!self.engine.has_callbacks());
            self.void[0] = false;
            return None;
        };
        assert!(self.batch > 0, "a callback of a later turn");
        let at = self.match_first(&self.callbacks, &work);
        self.callbacks.remove(at);
        self.batch -= 1;
        Some(work)
    }

    pub(super) fn next_fiber(&mut self) -> Option<Work<u32>> {
        let work = self.engine.next_fiber();
        match &work {
            Some(work) if !self.fibers.is_empty() => {
                let at = self.match_first(&self.fibers, work);
                self.fibers.remove(at);
            }
            work => {
                assert!(self.fibers.is_empty(), "a ready fiber was kept back");
                self.takes_fiber_timers = false;
                let due = self.take_due(Lane::Fiber, self.turn);
                assert_eq!(work.as_ref().and_then(as_run), due.map(Item::Run));
            }
        }
        self.void[1] &= work.is_some();
        work
    }

    fn put_back(&mut self) {
        let Some(work) = self.aside.pop() else {
            return;
        };
        let item = match work {
            Work::Run(payload) => Some(Item::Run(payload)),
            Work::Ready(key) => self.find(key).map(|_| {
                self.forget_readiness(key);
                self.polls += 1;
                let poll = self.polls;
                Item::Ready { key, poll }
            }),
        };
        self.engine.push_front(work);
        if let Some(item) = item {
            self.callbacks.push_front(item);
            self.batch += 1;
        }
    }

    fn adopt(&mut self) {
        let mut shell = Engine::new().unwrap();
        let there = shell.adopt_fibers(&mut self.engine);
        let back = self.engine.adopt_fibers(&mut shell);
        assert!(there.refused.is_empty() && back.refused.is_empty());
        let (moved, kept) = std::mem::take(&mut self.watchers)
            .into_iter()
            .partition(|watcher| watcher.lane == Lane::Fiber);
        self.watchers = kept;
        assert_eq!(there.moved.len(), back.moved.len());
        let pairs = there.moved.iter().zip(&back.moved);
        let moved: Vec<Watcher> = moved;
        for (mut watcher, (first, second)) in moved.into_iter().zip(pairs) {
            assert_eq!((watcher.key, first.1), (first.0, second.0));
            self.interest_is_new = true;
            let (old, new) = (watcher.key, second.1);
            watcher.key = new;
            self.watcher_keys.push(new);
            self.watchers.push(watcher);
            let in_lane = self.fibers.iter_mut().find_map(|item| match item {
                Item::Ready { key, .. } if *key == old => Some(key),
                _ => None,
            });
            if let Some(key) = in_lane {
                *key = new;
            } else if self.forget_readiness(old) {
                self.polls += 1;
                let poll = self.polls;
                self.fibers.push_back(Item::Ready { key: new, poll });
            }
        }
    }

    fn drain_timers(&mut self, lane: Lane) {
        let (mut drained, kept): (Vec<Timer>, _) = std::mem::take(&mut self.timers)
            .into_iter()
            .partition(|timer| timer.lane == lane);
        self.timers = kept;
        drained.sort_by_key(|timer| timer.rank);
        let expected: Vec<u32> = drained.iter().map(|timer| timer.payload).collect();
        assert_eq!(self.engine.drain_timers(lane), expected);
    }

    pub(super) fn drain(&mut self) {
        let mut expected: Vec<u32> = self.callbacks.drain(..).filter_map(run_of).collect();
        self.timers.sort_by_key(|timer| timer.rank);
        for lane in LANES {
            let timers = self.timers.iter().filter(|timer| timer.lane == lane);
            expected.extend(timers.map(|timer| timer.payload));
        }
        self.timers.clear();
        expected.extend(self.watchers.drain(..).map(|watcher| watcher.payload));
        self.fibers.clear();
        self.batch = 0;
        assert_eq!(self.engine.drain(), expected);
    }
}

fn as_run(work: &Work<u32>) -> Option<Item> {
    match *work {
        Work::Run(payload) => Some(Item::Run(payload)),
        Work::Ready(_) => None,
    }
}

pub(super) fn run_of(item: Item) -> Option<u32> {
    match item {
        Item::Run(payload) => Some(payload),
        Item::Ready { .. } => None,
    }
}
