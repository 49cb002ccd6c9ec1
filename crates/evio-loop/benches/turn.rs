//! What a turn costs, in nanoseconds: `cargo bench -p evio-loop [-- --quick]`.
//!
//! Every figure is the median over the rounds. The clock is a counter, so that no figure contains a reading of the
//! system's; polls are real ones.

use std::hint::black_box;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Instant;

use evio_loop::{Direction, Engine, Host, Kernel, Lane, Mode, Plan, Waited, Waiter, Work};

/// Stands for the time that the work of a turn takes.
const STEP: u64 = 200;

fn main() -> ExitCode {
    let mut quick = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => quick = true,
            "--bench" => {}
            other => {
                eprintln!("unknown argument {other:?}; the only one is --quick, for fewer turns");
                return ExitCode::FAILURE;
            }
        }
    }
    let (rounds, turns) = if quick { (7, 20_000) } else { (31, 200_000) };
    println!("ns, medians of {rounds} rounds of {turns} turns\n");
    println!("| {:<56} | {:>8} |", "work", "ns");
    println!("|{:-<58}|{:->10}|", "", ":");
    for (name, polls, timers, work) in WORKS {
        let mut bench = Bench::new(polls, timers);
        let mut taken: Vec<f64> = (0..=rounds)
            .map(|_| {
                let start = Instant::now();
                let operations = work(&mut bench, turns);
                start.elapsed().as_nanos() as f64 / f64::from(operations)
            })
            .collect();
        // The first round warms up.
        taken.remove(0);
        taken.sort_by(f64::total_cmp);
        println!("| {name:<56} | {:>8.1} |", taken[taken.len() / 2]);
    }
    ExitCode::SUCCESS
}

type Turns = fn(&mut Bench, u32) -> u32;

const WORKS: [(&str, bool, u64, Turns); 9] = [
    ("turn, one pushed callback", false, 0, callback),
    (
        "turn, one pushed callback, polls included",
        true,
        0,
        callback,
    ),
    (
        "turn, one pushed callback, 1000 timers pending",
        false,
        1000,
        callback,
    ),
    (
        "turn, one fiber timer due at the turn's time",
        false,
        0,
        yields,
    ),
    (
        "turn, one fiber timer due at a later time (fresh clock)",
        false,
        0,
        fresh_yields,
    ),
    (
        "turn, one fiber timer due now, 1000 timers pending",
        false,
        1000,
        yields,
    ),
    ("the same with a fresh clock", false, 1000, fresh_yields),
    (
        "one of 100 fiber timers due now in a turn",
        false,
        0,
        many_yields,
    ),
    (
        "turn, one ready descriptor (a poll every turn)",
        true,
        0,
        descriptor,
    ),
];

struct Bench {
    engine: Engine<u64>,
    waiter: Waiter,
    now: u64,
    polls: bool,
    near: UnixStream,
    _far: UnixStream,
}

impl Bench {
    fn new(polls: bool, timers: u64) -> Self {
        let mut engine = Engine::new().expect("descriptors");
        for count in 0..timers {
            let lane = [Lane::Callback, Lane::Fiber][count as usize % 2];
            engine.schedule(lane, u64::MAX / 2 + count * 1_000_000, count);
        }
        let (near, mut far) = UnixStream::pair().expect("descriptors");
        far.write_all(b"x").expect("room");
        Bench {
            waiter: engine.waiter(),
            engine,
            now: 1_000_000,
            polls,
            near,
            _far: far,
        }
    }

    /// What comes before the work of a turn.
    fn begin(&mut self) {
        self.now += STEP;
        let plan = self.engine.plan(self.now);
        match plan {
            Plan::Begin => self.engine.begin(self.now, None),
            Plan::Poll(timeout) if self.polls => {
                let waited = Kernel.wait(&mut self.waiter, timeout).expect("a poll");
                assert_eq!(waited, Waited::Polled);
                self.engine.begin(self.now, Some(&mut self.waiter));
            }
            // An empty waiter in place of a poll that finds nothing.
            Plan::Poll(_) => self.engine.begin(self.now, Some(&mut self.waiter)),
        }
    }
}

fn callback(bench: &mut Bench, turns: u32) -> u32 {
    for turn in 0..turns {
        bench.engine.push(u64::from(turn));
        bench.begin();
        let mut count = 0;
        while let Some(work) = bench.engine.next_callback() {
            black_box(work);
            count += 1;
        }
        assert!(count == 1 && bench.engine.next_fiber().is_none());
    }
    turns
}

fn yields(bench: &mut Bench, turns: u32) -> u32 {
    yield_at(bench, turns, 0, 1)
}

fn fresh_yields(bench: &mut Bench, turns: u32) -> u32 {
    yield_at(bench, turns, STEP / 2, 1)
}

fn many_yields(bench: &mut Bench, turns: u32) -> u32 {
    yield_at(bench, turns / 100, 0, 100) * 100
}

fn yield_at(bench: &mut Bench, turns: u32, later: u64, fibers: u32) -> u32 {
    for turn in 0..turns {
        for _ in 0..fibers {
            let deadline = bench.now + later;
            bench
                .engine
                .schedule(Lane::Fiber, deadline, u64::from(turn));
        }
        bench.begin();
        assert!(bench.engine.next_callback().is_none());
        let mut count = 0;
        while let Some(work) = bench.engine.next_fiber() {
            black_box(work);
            count += 1;
        }
        assert_eq!(count, fibers);
    }
    turns
}

fn descriptor(bench: &mut Bench, turns: u32) -> u32 {
    let fd = bench.near.as_raw_fd();
    let key = bench
        .engine
        .watch(Lane::Callback, fd, Direction::Read, Mode::Level, 0)
        .expect("an open descriptor");
    for _ in 0..turns {
        bench.begin();
        assert_eq!(bench.engine.next_callback(), Some(Work::Ready(key)));
        assert!(bench.engine.next_callback().is_none());
        assert!(bench.engine.next_fiber().is_none());
    }
    bench.engine.unwatch(key);
    turns
}
