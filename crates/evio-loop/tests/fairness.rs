//! No work starves other work: ready queues that refill themselves leave room for descriptors and timers, within a
//! bounded number of turns.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use evio_loop::{Clock, Direction, Engine, Host, Kernel, Lane, ManualClock, Mode, Plan, Work};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Job {
    /// Adds itself again when it runs.
    Again(Lane),
    /// What must not starve.
    Patient(Lane),
}

/// Turns on simulated time, in which a piece of work takes a microsecond if `moves`, and no time if not.
fn turns_until_all_patient_ran(engine: &mut Engine<Job>, moves: bool, count: usize) -> u32 {
    let mut clock = ManualClock::new(1_000);
    let mut waiter = engine.waiter();
    let mut ran = 0;
    for turn in 1..1_000 {
        let now = clock.now();
        match engine.plan(now) {
            Plan::Begin => engine.begin(now, None),
            Plan::Poll(timeout) => {
                Kernel.wait(&mut waiter, timeout).unwrap();
                engine.begin(now, Some(&mut waiter));
            }
        }
        while let Some(work) = engine.next_callback().or_else(|| engine.next_fiber()) {
            let job = match work {
                Work::Run(job) => job,
                Work::Ready(key) => engine.unwatch(key).unwrap(),
            };
            match job {
                Job::Again(Lane::Callback) => engine.push(job),
                Job::Again(Lane::Fiber) => drop(engine.schedule(Lane::Fiber, now, job)),
                Job::Patient(_) => ran += 1,
            }
            clock.advance(if moves { 1_000 } else { 0 });
        }
        if ran == count {
            return turn;
        }
    }
    panic!("{ran} of {count} in a thousand turns");
}

fn refilling() -> Engine<Job> {
    let mut engine = Engine::new().unwrap();
    for lane in [Lane::Callback, Lane::Fiber] {
        engine.push(Job::Again(lane));
    }
    engine
}

/// How many turns pass until a descriptor that becomes ready behind the engine's back is noticed.
fn turns_until_noticed(lane: Lane, moves: bool) -> u32 {
    let mut engine = refilling();
    let (near, mut far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    engine
        .watch(lane, fd, Direction::Read, Mode::Level, Job::Patient(lane))
        .unwrap();
    let mut waiter = engine.waiter();
    waiter.block(Some(Duration::ZERO)).unwrap();
    engine.begin(1_000, Some(&mut waiter));
    far.write_all(b"x").unwrap();
    turns_until_all_patient_ran(&mut engine, moves, 1)
}

#[test]
fn a_queue_that_refills_itself_does_not_starve_descriptors() {
    for moves in [false, true] {
        assert_eq!(turns_until_noticed(Lane::Callback, moves), 17);
    }
}

#[test]
fn the_descriptors_of_fibers_are_looked_at_before_every_turn() {
    for moves in [false, true] {
        assert_eq!(turns_until_noticed(Lane::Fiber, moves), 1);
    }
}

#[test]
fn what_is_watched_or_armed_anew_is_looked_at_before_the_next_turn() {
    let mut engine = refilling();
    let (near, _far) = UnixStream::pair().unwrap();
    let at_once = Plan::Poll(Some(Duration::ZERO));
    let mut waiter = engine.waiter();
    engine.begin(1_000, Some(&mut waiter));
    assert_eq!(engine.plan(1_000), Plan::Begin);
    for lane in [Lane::Callback, Lane::Fiber] {
        let (fd, job) = (near.as_raw_fd(), Job::Patient(lane));
        let key = engine
            .watch(lane, fd, Direction::Read, Mode::Oneshot, job)
            .unwrap();
        assert_eq!(engine.plan(1_000), at_once);
        engine.disarm(key);
        engine.begin(1_000, Some(&mut waiter));
        assert_eq!(engine.plan(1_000), Plan::Begin);
        engine.arm(key).unwrap();
        assert_eq!(engine.plan(1_000), at_once);
        engine.unwatch(key);
        engine.begin(1_000, Some(&mut waiter));
    }
}

#[test]
fn a_queue_that_refills_itself_does_not_starve_timers() {
    let mut engine = refilling();
    for lane in [Lane::Callback, Lane::Fiber] {
        engine.schedule(lane, 21_000, Job::Patient(lane));
    }
    // Two pieces of work a turn, of a microsecond each: twenty microseconds are ten turns.
    let turns = turns_until_all_patient_ran(&mut engine, true, 2);
    assert!((10..=12).contains(&turns), "{turns} turns");
}

#[test]
fn descriptors_that_are_always_ready_starve_neither_callbacks_nor_timers() {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    let mut engine = Engine::new().unwrap();
    for lane in [Lane::Callback, Lane::Fiber] {
        let fd = near.as_raw_fd();
        engine
            .watch(lane, fd, Direction::Read, Mode::Level, "ready")
            .unwrap();
    }
    engine.push("pushed");
    engine.schedule(Lane::Callback, 1, "callback timer");
    engine.schedule(Lane::Fiber, 1, "fiber timer");
    let mut waiter = engine.waiter();
    Kernel.wait(&mut waiter, None).unwrap();
    engine.begin(1, Some(&mut waiter));
    let mut seen = Vec::new();
    while let Some(work) = engine.next_callback().or_else(|| engine.next_fiber()) {
        seen.push(match work {
            Work::Run(payload) => payload,
            Work::Ready(key) => *engine.watcher(key).unwrap(),
        });
    }
    assert_eq!(
        seen,
        ["pushed", "ready", "callback timer", "ready", "fiber timer"]
    );
}

#[test]
fn work_due_at_a_moment_that_does_not_pass_needs_no_wait() {
    let mut engine = refilling();
    let mut waiter = engine.waiter();
    engine.begin(5, Some(&mut waiter));
    while engine.next_callback().is_some() {}
    assert_eq!(engine.next_fiber(), None);
    engine.schedule(Lane::Fiber, 5, Job::Patient(Lane::Fiber));
    assert_eq!(engine.next_fiber(), None);
    assert_eq!(engine.plan(5), Plan::Begin);
    engine.begin(5, None);
    assert_eq!(
        engine.next_fiber(),
        Some(Work::Run(Job::Patient(Lane::Fiber)))
    );
}
