//! Turns of an engine to count system calls by: `strace -c -f target/release/examples/turns callbacks 100000`.
//!
//! `callbacks N` makes N turns, none of them idle, with a callback that pushes itself again; `fibers N` with a fiber
//! that yields; `descriptors N` with a descriptor that is always ready; `timers N` waits for N timers, a microsecond
//! apart. The last line tells how many turns polled.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use evio_loop::{Clock, Direction, Engine, Host, Kernel, Lane, Mode, MonotonicClock, Plan, Work};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [work, count] = arguments.as_slice() else {
        return Err("usage: turns callbacks|fibers|descriptors|timers COUNT".into());
    };
    let count: u32 = count.parse()?;
    let clock = MonotonicClock::new();
    let mut engine = Engine::new()?;
    let (near, mut far) = UnixStream::pair()?;
    match work.as_str() {
        "callbacks" => engine.push(()),
        "fibers" | "timers" => drop(engine.schedule(Lane::Fiber, clock.now(), ())),
        "descriptors" => {
            far.write_all(b"x")?;
            let (fd, lane) = (near.as_raw_fd(), Lane::Callback);
            engine.watch(lane, fd, Direction::Read, Mode::Level, ())?;
        }
        other => return Err(format!("there is no work called {other}").into()),
    }

    let mut waiter = engine.waiter();
    let (mut turns, mut polls) = (0_u32, 0_u32);
    let mut ran = 0;
    while ran < count {
        let mut now = clock.now();
        let polled = match engine.plan(now) {
            Plan::Begin => None,
            Plan::Poll(timeout) => {
                polls += 1;
                Kernel.wait(&mut waiter, timeout)?;
                now = clock.now();
                Some(&mut waiter)
            }
        };
        engine.begin(now, polled);
        turns += 1;
        while let Some(done) = engine.next_callback() {
            ran += 1;
            if done == Work::Run(()) {
                engine.push(());
            }
        }
        while engine.next_fiber().is_some() {
            ran += 1;
            let later = if work == "timers" { 1_000 } else { 0 };
            engine.schedule(Lane::Fiber, now + later, ());
        }
    }
    println!("{work}: {turns} turns, {polls} of them with a poll");
    Ok(())
}
