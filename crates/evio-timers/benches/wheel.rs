//! The wheel against a `BinaryHeap` with lazy cancellation and against slots of a millisecond: nanoseconds per
//! operation at a thousand to a million pending timers.
//!
//! ```text
//! cargo bench -p evio-timers [-- --quick] [-- --samples]
//! ```
//!
//! All do the same work in turn, round by round; the table shows the medians. Every run folds what it saw (what
//! fired, in which order, every next deadline) into a checksum, and wheel and heap must agree. Slots of a
//! millisecond have an order and deadlines of their own, so of them it is asked that they hand out the same timers.
//! With `--samples` each round is a line instead: the work, who did it, nanoseconds.

mod slots;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::process::ExitCode;
use std::time::Instant;

use evio_timers::{Key, Wheel};
use slots::Slots;

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = SECOND / 1_000;
const MINUTE: u64 = 60 * SECOND;
const ORIGIN: u64 = 1_000_000 * SECOND;

/// What both can do.
trait Timers {
    type Key: Copy;
    fn new() -> Self;
    fn insert(&mut self, deadline: u64, payload: u64) -> Self::Key;
    fn cancel(&mut self, key: Self::Key) -> Option<u64>;
    fn next_deadline(&mut self) -> Option<u64>;
    fn pop_due(&mut self, now: u64) -> Option<(u64, u64)>;
}

impl Timers for Wheel<u64> {
    type Key = Key;

    fn new() -> Self {
        Wheel::new()
    }

    fn insert(&mut self, deadline: u64, payload: u64) -> Key {
        self.insert(deadline, payload)
    }

    fn cancel(&mut self, key: Key) -> Option<u64> {
        self.cancel(key)
    }

    fn next_deadline(&mut self) -> Option<u64> {
        self.next_deadline()
    }

    fn pop_due(&mut self, now: u64) -> Option<(u64, u64)> {
        self.pop_due(now)
            .map(|(_, deadline, payload)| (deadline, payload))
    }
}

/// The usual way with std alone: a cancelled timer leaves its payload at once and its heap entry when that
/// reaches the top.
#[derive(Default)]
struct LazyHeap {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    payloads: Vec<Option<u64>>,
    free: Vec<u32>,
    inserted: u64,
}

impl LazyHeap {
    fn skip_cancelled(&mut self) -> Option<(u64, u32)> {
        while let Some(&Reverse((deadline, _, id))) = self.heap.peek() {
            if self.payloads[id as usize].is_some() {
                return Some((deadline, id));
            }
            self.heap.pop();
            self.free.push(id);
        }
        None
    }
}

impl Timers for LazyHeap {
    type Key = u32;

    fn new() -> Self {
        LazyHeap::default()
    }

    fn insert(&mut self, deadline: u64, payload: u64) -> u32 {
        let id = match self.free.pop() {
            Some(id) => {
                self.payloads[id as usize] = Some(payload);
                id
            }
            None => {
                self.payloads.push(Some(payload));
                self.payloads.len() as u32 - 1
            }
        };
        self.inserted += 1;
        self.heap.push(Reverse((deadline, self.inserted, id)));
        id
    }

    fn cancel(&mut self, id: u32) -> Option<u64> {
        self.payloads[id as usize].take()
    }

    fn next_deadline(&mut self) -> Option<u64> {
        self.skip_cancelled().map(|(deadline, _)| deadline)
    }

    fn pop_due(&mut self, now: u64) -> Option<(u64, u64)> {
        let (deadline, id) = self
            .skip_cancelled()
            .filter(|&(deadline, _)| deadline <= now)?;
        self.heap.pop();
        self.free.push(id);
        let payload = self.payloads[id as usize].take()?;
        Some((deadline, payload))
    }
}

impl Timers for Slots {
    type Key = u32;

    fn new() -> Self {
        Slots::new(ORIGIN)
    }

    fn insert(&mut self, deadline: u64, payload: u64) -> u32 {
        self.insert(deadline, payload)
    }

    fn cancel(&mut self, key: u32) -> Option<u64> {
        self.cancel(key)
    }

    fn next_deadline(&mut self) -> Option<u64> {
        Slots::next_deadline(self)
    }

    fn pop_due(&mut self, now: u64) -> Option<(u64, u64)> {
        self.pop_due(now)
    }
}

/// Checksums of what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Deadlines and payloads, in their order.
    order: u64,
    /// Payloads, in whatever order.
    payloads: u64,
}

impl Seen {
    fn deadline(&mut self, deadline: u64) {
        self.order = (self.order ^ deadline)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }

    fn payload(&mut self, payload: u64) {
        self.deadline(payload);
        self.payloads = self.payloads.wrapping_add(payload + 1);
    }
}

/// Nanoseconds and operations taken, and what was seen.
#[derive(Default)]
struct Run {
    nanoseconds: u64,
    operations: u64,
    seen: Seen,
}

impl Run {
    fn time(&mut self, operations: usize, work: impl FnOnce(&mut Seen)) {
        let mut seen = self.seen;
        let start = Instant::now();
        work(&mut seen);
        self.nanoseconds += start.elapsed().as_nanos() as u64;
        self.operations += operations as u64;
        self.seen = seen;
    }
}

/// The inputs, the same for both.
struct Input {
    /// Within a minute.
    spread: Vec<u64>,
    /// Within one slot of a coarse level, an hour ahead.
    crowded: Vec<u64>,
    /// The order to cancel in.
    shuffled: Vec<usize>,
    repeats: usize,
}

impl Input {
    fn new(size: usize, repeats: usize) -> Self {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut shuffled: Vec<usize> = (0..size).collect();
        for last in (1..size).rev() {
            shuffled.swap(last, random() as usize % (last + 1));
        }
        let coarse = (ORIGIN + 60 * MINUTE) >> 36 << 36;
        Input {
            spread: (0..size).map(|_| ORIGIN + random() % MINUTE).collect(),
            crowded: (0..size).map(|_| coarse + random() % (1 << 36)).collect(),
            shuffled,
            repeats,
        }
    }

    fn filled<W: Timers>(deadlines: &[u64]) -> (W, Vec<W::Key>) {
        let mut timers = W::new();
        let keys = deadlines
            .iter()
            .zip(0..)
            .map(|(&deadline, payload)| timers.insert(deadline, payload))
            .collect();
        (timers, keys)
    }
}

/// From nothing to all pending.
fn insert<W: Timers>(input: &Input) -> Run {
    let mut run = Run::default();
    for _ in 0..input.repeats {
        let mut timers = W::new();
        run.time(input.spread.len(), |_| {
            for (&deadline, payload) in input.spread.iter().zip(0..) {
                timers.insert(deadline, payload);
            }
        });
        run.seen.deadline(timers.next_deadline().unwrap_or(0));
    }
    run
}

/// All of them, in random order.
fn cancel<W: Timers>(input: &Input) -> Run {
    let mut run = Run::default();
    for _ in 0..input.repeats {
        let (mut timers, keys) = Input::filled::<W>(&input.spread);
        run.time(keys.len(), |seen| {
            for &index in &input.shuffled {
                seen.payload(timers.cancel(keys[index]).expect("pending"));
            }
        });
        assert_eq!(timers.next_deadline(), None);
    }
    run
}

/// The same, and the question what is next: here the heap pays for its lazy cancellation.
fn cancel_and_ask<W: Timers>(input: &Input) -> Run {
    let mut run = Run::default();
    for _ in 0..input.repeats {
        let (mut timers, keys) = Input::filled::<W>(&input.spread);
        run.time(keys.len(), |seen| {
            for &index in &input.shuffled {
                seen.payload(timers.cancel(keys[index]).expect("pending"));
            }
            assert_eq!(timers.next_deadline(), None);
        });
    }
    run
}

/// All of them, in a thousand turns.
fn fire<W: Timers>(input: &Input) -> Run {
    let mut run = Run::default();
    for _ in 0..input.repeats {
        let (mut timers, keys) = Input::filled::<W>(&input.spread);
        run.time(keys.len(), |seen| {
            for turn in 1..=1_000 {
                let now = ORIGIN + MINUTE / 1_000 * turn;
                while let Some((deadline, payload)) = timers.pop_due(now) {
                    seen.deadline(deadline);
                    seen.payload(payload);
                }
            }
        });
        assert_eq!(timers.next_deadline(), None);
    }
    run
}

/// The timers share one coarse slot; the earliest is cancelled over and over, and the next deadline asked.
fn next_deadline<W: Timers>(input: &Input) -> Run {
    let mut run = Run::default();
    let mut order: Vec<usize> = (0..input.crowded.len()).collect();
    order.sort_by_key(|&index| input.crowded[index]);
    for _ in 0..input.repeats {
        let (mut timers, keys) = Input::filled::<W>(&input.crowded);
        run.time(keys.len(), |seen| {
            for &index in &order {
                seen.deadline(timers.next_deadline().expect("pending"));
                seen.payload(timers.cancel(keys[index]).expect("pending"));
            }
        });
        assert_eq!(timers.next_deadline(), None);
    }
    run
}

/// Beside all of them: in at this moment, out, and the question whether there is more.
fn step<W: Timers>(input: &Input) -> Run {
    let mut run = Run::default();
    let late: Vec<u64> = input
        .spread
        .iter()
        .map(|deadline| deadline + MINUTE)
        .collect();
    let (mut timers, _) = Input::filled::<W>(&late);
    let operations = input.spread.len() * input.repeats;
    run.time(operations, |seen| {
        for count in 0..operations as u64 {
            let now = ORIGIN + count * 200;
            timers.insert(now, count);
            while let Some((_, payload)) = timers.pop_due(now) {
                seen.payload(payload);
            }
        }
        // What was rounded up.
        let end = ORIGIN + operations as u64 * 200 + MILLISECOND;
        while let Some((_, payload)) = timers.pop_due(end) {
            seen.payload(payload);
        }
    });
    run
}

/// Beside all of them: a minute's timeout made and, 64 later, cancelled.
fn timeout<W: Timers>(input: &Input) -> Run {
    let mut run = Run::default();
    let (mut timers, keys) = Input::filled::<W>(&input.spread);
    let operations = input.spread.len() * input.repeats;
    let mut open: Vec<W::Key> = keys[..64].to_vec();
    run.time(operations, |seen| {
        for count in 0..operations as u64 {
            let key = timers.insert(ORIGIN + count * 200 + MINUTE, count);
            let old = std::mem::replace(&mut open[count as usize % 64], key);
            seen.payload(timers.cancel(old).expect("pending"));
        }
    });
    run
}

/// The longest single call, in nanoseconds, of each kind, while the crowd comes and goes.
fn longest<W: Timers>(input: &Input) -> [u64; 4] {
    let mut longest = [0; 4];
    let mut watch = |kind: usize, start: Instant| {
        longest[kind] = start.elapsed().as_nanos().max(u128::from(longest[kind])) as u64;
    };
    let mut timers = W::new();
    let mut keys = Vec::with_capacity(input.crowded.len());
    for (&deadline, payload) in input.crowded.iter().zip(0..) {
        let start = Instant::now();
        keys.push(timers.insert(deadline, payload));
        watch(0, start);
    }
    for (turn, &index) in input.shuffled.iter().enumerate() {
        let start = Instant::now();
        timers.cancel(keys[index]);
        watch(1, start);
        let start = Instant::now();
        let next = timers.next_deadline();
        watch(2, start);
        if turn % 2 == 0 {
            let start = Instant::now();
            timers.pop_due(next.unwrap_or(0));
            watch(3, start);
        }
    }
    longest
}

type Work = fn(&Input) -> Run;

/// A name for people, one for `--samples`, and the same work by the wheel, by the heap and by slots.
const WORKS: [(&str, &str, [Work; 3]); 7] = [
    (
        "insert",
        "insert",
        [insert::<Wheel<u64>>, insert::<LazyHeap>, insert::<Slots>],
    ),
    (
        "cancel",
        "cancel",
        [cancel::<Wheel<u64>>, cancel::<LazyHeap>, cancel::<Slots>],
    ),
    (
        "cancel + ask at the end",
        "cancel-ask",
        [
            cancel_and_ask::<Wheel<u64>>,
            cancel_and_ask::<LazyHeap>,
            cancel_and_ask::<Slots>,
        ],
    ),
    (
        "fire",
        "fire",
        [fire::<Wheel<u64>>, fire::<LazyHeap>, fire::<Slots>],
    ),
    (
        "cancel first + next_deadline",
        "next",
        [
            next_deadline::<Wheel<u64>>,
            next_deadline::<LazyHeap>,
            next_deadline::<Slots>,
        ],
    ),
    (
        "insert now + fire",
        "now",
        [step::<Wheel<u64>>, step::<LazyHeap>, step::<Slots>],
    ),
    (
        "insert + cancel a timeout",
        "timeout",
        [timeout::<Wheel<u64>>, timeout::<LazyHeap>, timeout::<Slots>],
    ),
];

/// The contenders, in the order of their works.
const CONTENDERS: [&str; 3] = ["ours", "BinaryHeap", "ms slots"];

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds per operation of every round: by work, by contender.
fn rounds_of(input: &Input, rounds: usize) -> Vec<[Vec<f64>; 3]> {
    let mut taken = vec![[const { Vec::new() }; 3]; WORKS.len()];
    for round in 0..rounds {
        for (&(name, _, works), taken) in WORKS.iter().zip(&mut taken) {
            let mut seen = [Seen::default(); 3];
            for turn in 0..works.len() {
                let who = (turn + round) % works.len();
                let run = works[who](input);
                seen[who] = run.seen;
                taken[who].push(run.nanoseconds as f64 / run.operations as f64);
            }
            assert_eq!(seen[0], seen[1], "{name}: wheel and heap disagree");
            let payloads = (seen[0].payloads, seen[2].payloads);
            assert_eq!(
                payloads.0, payloads.1,
                "{name}: the slots handed out others"
            );
        }
    }
    taken
}

fn compare(sizes: &[(usize, usize)], rounds: usize) {
    println!("ns per operation, medians of {rounds} rounds; ratio above 1: the wheel is faster\n");
    println!(
        "| {:<28} | {:>9} | {:>8} | {:>10} | {:>6} | {:>8} | {:>6} |",
        "work", "timers", "wheel", "BinaryHeap", "ratio", "ms slots", "ratio"
    );
    println!(
        "|{:-<30}|{:->11}|{:->10}|{:->12}|{:->8}|{:->10}|{:->8}|",
        "", ":", ":", ":", ":", ":", ":"
    );
    for &(size, repeats) in sizes {
        let mut taken = rounds_of(&Input::new(size, repeats), rounds);
        for (&(name, ..), taken) in WORKS.iter().zip(&mut taken) {
            let [ours, heap, slots] = taken.each_mut().map(|taken| median(taken));
            println!(
                "| {name:<28} | {size:>9} | {ours:>8.1} | {heap:>10.1} | {:>6.2} | {slots:>8.1} | {:>6.2} |",
                heap / ours,
                slots / ours
            );
        }
    }
}

fn print_samples(sizes: &[(usize, usize)], rounds: usize) {
    for &(size, repeats) in sizes {
        let taken = rounds_of(&Input::new(size, repeats), rounds);
        for (&(_, name, _), taken) in WORKS.iter().zip(&taken) {
            for (who, taken) in CONTENDERS.iter().zip(taken) {
                for nanoseconds in taken {
                    println!("{name}-{size}\t{who}\t{nanoseconds:.3}");
                }
            }
        }
    }
}

fn compare_longest(size: usize, rounds: usize) {
    let input = Input::new(size, 1);
    let mut ours = [u64::MAX; 4];
    let mut theirs = [u64::MAX; 4];
    for _ in 0..rounds {
        let round = longest::<Wheel<u64>>(&input);
        ours = std::array::from_fn(|kind| ours[kind].min(round[kind]));
        let round = longest::<LazyHeap>(&input);
        theirs = std::array::from_fn(|kind| theirs[kind].min(round[kind]));
    }
    println!("\nthe longest single call at {size} timers in one coarse slot, in us");
    println!("(the least of {rounds} rounds, because the machine interrupts now and then)\n");
    println!("| {:<28} | {:>8} | {:>10} |", "call", "wheel", "BinaryHeap");
    println!("|{:-<30}|{:->10}|{:->12}|", "", ":", ":");
    let calls = ["insert", "cancel", "next_deadline", "pop_due"];
    for ((call, ours), theirs) in calls.iter().zip(ours).zip(theirs) {
        let us = |nanoseconds: u64| nanoseconds as f64 / 1_000.0;
        println!("| {call:<28} | {:>8.1} | {:>10.1} |", us(ours), us(theirs));
    }
}

fn main() -> ExitCode {
    let (mut quick, mut samples) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => quick = true,
            "--samples" => samples = true,
            "--bench" | "--test" => quick |= argument == "--test",
            other => {
                eprintln!(
                    "unknown argument {other:?}; there are --quick, for fewer timers, and --samples"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    match (samples, quick) {
        (true, true) => print_samples(&[(1_000, 20), (100_000, 1)], 3),
        (true, false) => print_samples(
            &[(1_000, 100), (10_000, 10), (100_000, 1), (1_000_000, 1)],
            7,
        ),
        (false, true) => {
            compare(&[(1_000, 20), (50_000, 1)], 7);
            compare_longest(50_000, 7);
        }
        (false, false) => {
            compare(&[(1_000, 500), (1_000_000, 1)], 9);
            compare_longest(1_000_000, 9);
        }
    }
    ExitCode::SUCCESS
}
