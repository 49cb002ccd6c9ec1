//! Operations on an engine over real descriptors and simulated time, and a model of it so plain that it must be right:
//! lists, searched from end to end.
//!
//! ```ignore
//! mod model;
//!
//! model::run(&model::decode(b"any bytes are a list of operations"));
//! ```

mod check;
mod world;

use evio_loop::{Direction, Lane, Mode};

/// How many descriptors the operations play with.
pub(crate) const PLACES: usize = 3;

/// One call, or one change of the world. `which` picks one of all keys ever made, counted from the last, so it may name
/// a stale one; `place` is taken modulo [`PLACES`].
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Push,
    /// `schedule`, so many nanoseconds from now, or never.
    Schedule {
        lane: Lane,
        later: Option<i64>,
    },
    Cancel {
        which: usize,
    },
    Watch {
        lane: Lane,
        place: usize,
        direction: Direction,
        mode: Mode,
    },
    Unwatch {
        which: usize,
    },
    Arm {
        which: usize,
    },
    Disarm {
        which: usize,
    },
    /// The far end writes a byte.
    Feed {
        place: usize,
    },
    /// The near end reads all there is.
    Consume {
        place: usize,
    },
    Wake,
    Advance {
        by: u64,
    },
    /// `plan` and `begin`, with a poll where the plan asks for one or `poll` says so.
    Begin {
        poll: bool,
    },
    /// `next_callback`; what it hands out is laid aside or forgotten.
    Callback {
        aside: bool,
    },
    /// `next_fiber`, likewise.
    Fiber {
        aside: bool,
    },
    /// All that the turn has left, while every callback pushes another.
    Finish,
    /// `push_front` of what was laid aside last.
    PutBack,
    /// `adopt_fibers`, there and back again.
    Adopt,
    DrainTimers {
        lane: Lane,
    },
    Drain,
}

/// Reads operations from bytes: any bytes are valid, and what is cut short ends the list.
pub(crate) fn decode(bytes: &[u8]) -> Vec<Op> {
    let mut bytes = bytes.iter().copied();
    std::iter::from_fn(|| decode_one(&mut bytes)).collect()
}

fn decode_one(bytes: &mut impl Iterator<Item = u8>) -> Option<Op> {
    let tag = bytes.next()?;
    let flag = tag & 1 == 1;
    let lane = [Lane::Callback, Lane::Fiber][usize::from(flag)];
    let mut number = || bytes.next().map(usize::from);
    Some(match tag >> 1 {
        0..10 => Op::Push,
        10..26 => Op::Schedule {
            lane,
            later: match number()? {
                255 => None,
                near @ ..128 => Some(near as i64 - 32),
                far => Some((far as i64 - 128) << 8),
            },
        },
        26..34 => Op::Cancel { which: number()? },
        34..44 => {
            let bits = number()?;
            Op::Watch {
                lane,
                place: bits >> 2,
                direction: [Direction::Read, Direction::Write][bits & 1],
                mode: [Mode::Level, Mode::Oneshot][bits >> 1 & 1],
            }
        }
        44..48 => Op::Unwatch { which: number()? },
        48..53 => Op::Arm { which: number()? },
        53..57 => Op::Disarm { which: number()? },
        57..62 => Op::Feed { place: number()? },
        62..66 => Op::Consume { place: number()? },
        66 => Op::Wake,
        67..76 => Op::Advance {
            by: number()? as u64,
        },
        76 => Op::Advance {
            by: (number()? as u64) << 9,
        },
        77..92 => Op::Begin { poll: flag },
        92..104 => Op::Callback { aside: flag },
        104..116 => Op::Fiber { aside: flag },
        116..120 => Op::Finish,
        120..124 => Op::PutBack,
        124 | 125 => Op::Adopt,
        126 => Op::DrainTimers { lane },
        127.. => Op::Drain,
    })
}

/// Does the operations on an engine and on the model.
///
/// # Panics
///
/// When they differ.
pub(crate) fn run(ops: &[Op]) {
    let mut world = world::World::new();
    for op in ops {
        world.apply(op);
        world.check();
    }
    world.end();
}
