//! Operations on a wheel, and a model of it so plain that it must be right: a `Vec` searched from end to end.
//!
//! ```ignore
//! mod model;
//!
//! model::run(&[model::Op::Insert(10), model::Op::NextDeadline, model::Op::PopDue(10)]);
//! model::run(&model::decode(b"any bytes are a list of operations"));
//! ```

#![allow(unreachable_pub, dead_code)] // Shared by tests and a fuzz target, neither of which uses all of it.

use evio_timers::{Key, Wheel};

/// One call. `which` picks one of all keys ever made, so it may name a stale one; all numbers are taken as
/// they come.
#[derive(Clone, Debug)]
pub enum Op {
    /// `insert` with this deadline.
    Insert(u64),
    /// `insert` with the deadline of an earlier timer plus or minus a little.
    InsertNear { which: usize, by: i8 },
    /// `cancel`.
    Cancel { which: usize },
    /// `cancel` of the timer that would fire first.
    CancelFirst,
    /// `get`, `deadline`, and `get_mut` to change the payload.
    Touch { which: usize },
    /// `next_deadline`.
    NextDeadline,
    /// `pop_due` once.
    PopDue(u64),
    /// `pop_due` at the next deadline plus this, until nothing is due, with an insertion of the same moment and
    /// a cancellation between the calls.
    FireAll { late: u64, which: usize },
    /// `retain` of the timers whose payload and deadline leave a remainder below `keep` when divided by seven.
    Retain { keep: u64 },
    /// `iter`, `len`, `is_empty`.
    Iter,
    /// `shrink_to_fit`.
    Shrink,
    /// `drain`.
    Drain,
}

/// Reads operations from bytes: any bytes are valid, and what is cut short ends the list.
pub fn decode(bytes: &[u8]) -> Vec<Op> {
    let mut bytes = bytes.iter().copied();
    std::iter::from_fn(|| decode_one(&mut bytes)).collect()
}

fn decode_one(bytes: &mut impl Iterator<Item = u8>) -> Option<Op> {
    Some(match bytes.next()? {
        0..96 => Op::Insert(decode_time(bytes)?),
        96..128 => Op::InsertNear {
            which: decode_index(bytes)?,
            by: bytes.next()? as i8,
        },
        128..160 => Op::Cancel {
            which: decode_index(bytes)?,
        },
        160..184 => Op::CancelFirst,
        184..192 => Op::Touch {
            which: decode_index(bytes)?,
        },
        192..208 => Op::NextDeadline,
        208..232 => Op::PopDue(decode_time(bytes)?),
        232..240 => Op::FireAll {
            late: decode_time(bytes)?,
            which: decode_index(bytes)?,
        },
        240..246 => Op::Retain {
            keep: u64::from(bytes.next()?),
        },
        246..250 => Op::Iter,
        250..253 => Op::Shrink,
        253..=255 => Op::Drain,
    })
}

/// A moment: near zero, in one of sixteen places around which many gather, anywhere, or at the very end.
fn decode_time(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let kind = bytes.next()?;
    Some(match kind >> 4 {
        0..3 => u64::from(bytes.next()?),
        3..12 => {
            let place = u64::from(kind & 15) << 58 | 1 << (kind & 15);
            let scale = bytes.next()? % 64;
            place ^ u64::from(bytes.next()?) << scale
        }
        12..15 => {
            let mut all = [0; 8];
            for byte in &mut all {
                *byte = bytes.next()?;
            }
            u64::from_le_bytes(all)
        }
        _ => u64::MAX - u64::from(kind & 15),
    })
}

fn decode_index(bytes: &mut impl Iterator<Item = u8>) -> Option<usize> {
    Some(usize::from(bytes.next()?) << 8 | usize::from(bytes.next()?))
}

/// Runs the operations on a wheel and on the model.
///
/// # Panics
///
/// If the two disagree at any step.
pub fn run(ops: &[Op]) {
    let mut pair = Pair::default();
    for op in ops {
        pair.step(op);
        pair.agree();
    }
    pair.step(&Op::FireAll {
        late: u64::MAX,
        which: 0,
    });
    pair.step(&Op::Drain);
}

#[derive(Copy, Clone)]
struct Pending {
    key: Key,
    deadline: u64,
    payload: u64,
}

/// A wheel beside its model, in which what is pending stands in order of insertion.
#[derive(Default)]
struct Pair {
    wheel: Wheel<u64>,
    pending: Vec<Pending>,
    /// Key and deadline of every timer there ever was.
    made: Vec<(Key, u64)>,
}

impl Pair {
    fn step(&mut self, op: &Op) {
        match *op {
            Op::Insert(deadline) => self.insert(deadline),
            Op::InsertNear { which, by } => {
                let near = self.pick(which).map_or(0, |(_, deadline)| deadline);
                self.insert(near.saturating_add_signed(i64::from(by)));
            }
            Op::Cancel { which } => {
                if let Some((key, _)) = self.pick(which) {
                    self.cancel(key);
                }
            }
            Op::CancelFirst => {
                if let Some(first) = self.first() {
                    self.cancel(self.pending[first].key);
                }
            }
            Op::Touch { which } => self.touch(which),
            Op::NextDeadline => {
                let expected = self.first().map(|first| self.pending[first].deadline);
                let expected = expected.filter(|&deadline| deadline != u64::MAX);
                assert_eq!(self.wheel.next_deadline(), expected);
            }
            Op::PopDue(now) => {
                self.pop_due(now);
            }
            Op::FireAll { late, which } => self.fire_all(late, which),
            Op::Retain { keep } => self.retain(keep),
            Op::Iter => self.iter(),
            Op::Shrink => self.wheel.shrink_to_fit(),
            Op::Drain => {
                self.pending.sort_by_key(|timer| timer.deadline);
                let expected: Vec<u64> =
                    self.pending.drain(..).map(|timer| timer.payload).collect();
                assert_eq!(self.wheel.drain(), expected);
            }
        }
    }

    /// What can be asked of a wheel without changing how it stands.
    fn agree(&self) {
        assert_eq!(self.wheel.len(), self.pending.len());
        assert_eq!(self.wheel.is_empty(), self.pending.is_empty());
    }

    fn pick(&self, which: usize) -> Option<(Key, u64)> {
        // Counted from the end, so that a short run of operations finds pending ones.
        let from_end = which.checked_rem(self.made.len())?;
        self.made.iter().rev().nth(from_end).copied()
    }

    fn first(&self) -> Option<usize> {
        // The first of several minima: the one inserted first.
        (0..self.pending.len()).min_by_key(|&index| self.pending[index].deadline)
    }

    fn find(&self, key: Key) -> Option<usize> {
        self.pending.iter().position(|timer| timer.key == key)
    }

    fn insert(&mut self, deadline: u64) {
        let payload = self.made.len() as u64;
        let key = self.wheel.insert(deadline, payload);
        assert!(
            self.made.iter().all(|&(made, _)| made != key),
            "a key was given twice"
        );
        self.made.push((key, deadline));
        self.pending.push(Pending {
            key,
            deadline,
            payload,
        });
    }

    fn cancel(&mut self, key: Key) {
        let expected = self
            .find(key)
            .map(|index| self.pending.remove(index).payload);
        assert_eq!(self.wheel.cancel(key), expected);
    }

    fn touch(&mut self, which: usize) {
        let Some((key, deadline)) = self.pick(which) else {
            return;
        };
        let Some(index) = self.find(key) else {
            assert_eq!(self.wheel.get(key), None);
            assert_eq!(self.wheel.get_mut(key), None);
            assert_eq!(self.wheel.deadline(key), None);
            return;
        };
        let payload = &mut self.pending[index].payload;
        assert_eq!(self.wheel.get(key), Some(&*payload));
        assert_eq!(self.wheel.deadline(key), Some(deadline));
        *payload = payload.wrapping_mul(31).wrapping_add(1);
        let changed = self.wheel.get_mut(key).expect("the timer is pending");
        *changed = changed.wrapping_mul(31).wrapping_add(1);
    }

    fn pop_due(&mut self, now: u64) -> bool {
        let due = self
            .first()
            .filter(|&first| self.pending[first].deadline <= now)
            .filter(|&first| self.pending[first].deadline != u64::MAX);
        let expected = due.map(|first| {
            let timer = self.pending.remove(first);
            (timer.key, timer.deadline, timer.payload)
        });
        assert_eq!(self.wheel.pop_due(now), expected);
        expected.is_some()
    }

    fn fire_all(&mut self, late: u64, which: usize) {
        let next = self.first().map_or(0, |first| self.pending[first].deadline);
        let now = next.saturating_add(late);
        for count in 0_usize.. {
            if !self.pop_due(now) {
                break;
            }
            // A bounded number, or it would never end.
            if count < 3 {
                self.insert(now);
            } else if count % 3 == 0 {
                self.step(&Op::Cancel {
                    which: which.wrapping_add(count),
                });
            }
        }
    }

    fn retain(&mut self, keep: u64) {
        let stays = |deadline: u64, payload: u64| deadline.wrapping_add(payload) % 7 < keep % 8;
        let mut seen = Vec::new();
        let removed = self.wheel.retain(|key, deadline, &payload| {
            seen.push((key, deadline, payload));
            stays(deadline, payload)
        });
        self.same_timers(seen);
        let (kept, mut expected): (Vec<Pending>, Vec<Pending>) = self
            .pending
            .drain(..)
            .partition(|timer| stays(timer.deadline, timer.payload));
        self.pending = kept;
        expected.sort_by_key(|timer| timer.deadline);
        let expected: Vec<u64> = expected.iter().map(|timer| timer.payload).collect();
        assert_eq!(removed, expected);
    }

    fn iter(&self) {
        let timers = self.wheel.iter();
        self.same_timers(
            timers
                .map(|(key, deadline, &payload)| (key, deadline, payload))
                .collect(),
        );
    }

    fn same_timers(&self, mut seen: Vec<(Key, u64, u64)>) {
        let rank = |key: Key| self.made.iter().position(|&(made, _)| made == key);
        seen.sort_by_key(|&(key, _, _)| rank(key));
        let expected: Vec<(Key, u64, u64)> = self
            .pending
            .iter()
            .map(|timer| (timer.key, timer.deadline, timer.payload))
            .collect();
        assert_eq!(seen, expected);
    }
}
