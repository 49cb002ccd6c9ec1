//! The same program under each kind of host: what it does and in what order depends on none of them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use evio_loop::{
    Clock, Direction, Engine, Error, Host, Kernel, Lane, Mode, MonotonicClock, Plan, Waited,
    Waiter, Work,
};

const MILLISECOND: u64 = 1_000_000;

/// A program on an engine, and the driver that runs its turns.
struct Program {
    engine: Engine<&'static str>,
    waiter: Waiter,
    clock: MonotonicClock,
    seen: Vec<&'static str>,
    far: UnixStream,
    _near: UnixStream,
}

const EXPECTED: [&str; 5] = ["start", "fed", "fiber", "late", "end"];

impl Program {
    fn new() -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        let clock = MonotonicClock::new();
        let mut engine = Engine::new().unwrap();
        engine.push("start");
        engine
            .watch(
                Lane::Callback,
                near.as_raw_fd(),
                Direction::Read,
                Mode::Oneshot,
                "fed",
            )
            .unwrap();
        Program {
            waiter: engine.waiter(),
            engine,
            clock,
            seen: Vec::new(),
            far,
            _near: near,
        }
    }

    /// Runs turns until the program has ended (`true`) or the host wants to be returned to (`false`).
    fn drive<H: Host>(&mut self, host: &mut H) -> Result<bool, H::Error> {
        while !self.seen.contains(&"end") {
            let polled = match self.engine.plan(self.clock.now()) {
                Plan::Begin => None,
                Plan::Poll(timeout) => match host.wait(&mut self.waiter, timeout)? {
                    Waited::Polled => Some(&mut self.waiter),
                    Waited::Suspended => return Ok(false),
                },
            };
            self.engine.begin(self.clock.now(), polled);
            while let Some(work) = self.engine.next_callback() {
                self.run(work);
            }
            while let Some(work) = self.engine.next_fiber() {
                self.run(work);
            }
        }
        Ok(true)
    }

    fn schedule(&mut self, lane: Lane, job: &'static str) {
        let deadline = self.clock.now() + 10 * MILLISECOND;
        self.engine.schedule(lane, deadline, job);
    }

    fn run(&mut self, work: Work<&'static str>) {
        let job = match work {
            Work::Run(job) => job,
            Work::Ready(key) => self.engine.watcher(key).unwrap(),
        };
        self.seen.push(job);
        match job {
            "start" => self.far.write_all(b"x").unwrap(),
            // Each makes the next, so that the order does not depend on how busy the machine is.
            "fed" => self.schedule(Lane::Fiber, "fiber"),
            "fiber" => self.schedule(Lane::Callback, "late"),
            "late" => self.engine.push("end"),
            _ => {}
        }
    }
}

#[test]
fn the_kernel_blocks_until_there_is_work() {
    let start = Instant::now();
    let mut program = Program::new();
    assert!(program.drive(&mut Kernel).unwrap());
    assert_eq!(program.seen, EXPECTED);
    assert!(
        start.elapsed() >= Duration::from_millis(20),
        "a timer came early"
    );
}

#[test]
fn the_kernels_wait_ends_by_a_waker() {
    let mut engine = Engine::<()>::new().unwrap();
    let (waker, mut waiter) = (engine.waker(), engine.waiter());
    let thread = std::thread::spawn(move || waker.wake());
    let waited = Kernel.wait(&mut waiter, None).unwrap();
    thread.join().unwrap();
    engine.begin(1, Some(&mut waiter));
    assert_eq!((waited, engine.next_callback()), (Waited::Polled, None));
}

/// What an outer engine waits for on behalf of an inner one.
#[derive(Debug, PartialEq)]
enum Outer {
    InnerIsReadable,
    InnerIsDue,
    Other(u32),
}

/// The outer engine of a fiber scheduler, with one fiber that drives the inner engine and parks in its waits, and
/// others that count.
struct Scheduler {
    engine: Engine<Outer>,
    waiter: Waiter,
    clock: MonotonicClock,
    others: u32,
}

/// Parks the fiber that drives the inner engine: runs the scheduler until it is to go on.
struct Parked {
    scheduler: Rc<RefCell<Scheduler>>,
    inner: RawFd,
}

impl Host for Parked {
    type Error = Error;

    fn wait(&mut self, waiter: &mut Waiter, timeout: Option<Duration>) -> Result<Waited, Error> {
        let scheduler = &mut *self.scheduler.borrow_mut();
        let Scheduler { engine, clock, .. } = scheduler;
        let (lane, direction) = (Lane::Fiber, Direction::Read);
        let watcher = engine
            .watch(
                lane,
                self.inner,
                direction,
                Mode::Oneshot,
                Outer::InnerIsReadable,
            )
            .map_err(|refused| refused.error)?;
        let timer = timeout.map(|timeout| {
            let deadline = clock.now() + timeout.as_nanos() as u64;
            engine.schedule(Lane::Fiber, deadline, Outer::InnerIsDue)
        });
        while !scheduler.turn()? {}
        scheduler.engine.unwatch(watcher);
        timer.map(|timer| scheduler.engine.cancel(timer));
        waiter.block(Some(Duration::ZERO))?;
        Ok(Waited::Polled)
    }
}

impl Scheduler {
    /// Whether the fiber that drives the inner engine is to go on.
    fn turn(&mut self) -> Result<bool, Error> {
        let Scheduler { engine, waiter, .. } = self;
        let polled = match engine.plan(self.clock.now()) {
            Plan::Begin => None,
            Plan::Poll(timeout) => {
                Kernel.wait(waiter, timeout)?;
                Some(waiter)
            }
        };
        engine.begin(self.clock.now(), polled);
        let mut resume = false;
        while let Some(work) = engine.next_fiber() {
            match work {
                Work::Ready(key) => resume |= engine.watcher(key) == Some(&Outer::InnerIsReadable),
                Work::Run(Outer::Other(count)) => {
                    self.others = count;
                    let later = self.clock.now() + MILLISECOND;
                    engine.schedule(Lane::Fiber, later, Outer::Other(count + 1));
                }
                Work::Run(_) => resume = true,
            }
        }
        Ok(resume)
    }
}

#[test]
fn a_fiber_scheduler_watches_the_engines_descriptor_and_deadline() {
    let mut engine = Engine::new().unwrap();
    engine.schedule(Lane::Fiber, 0, Outer::Other(1));
    let scheduler = Rc::new(RefCell::new(Scheduler {
        waiter: engine.waiter(),
        engine,
        clock: MonotonicClock::new(),
        others: 0,
    }));
    let mut program = Program::new();
    let mut host = Parked {
        scheduler: scheduler.clone(),
        inner: program.engine.raw_fd(),
    };
    let start = Instant::now();
    assert!(program.drive(&mut host).unwrap());
    assert_eq!(program.seen, EXPECTED);
    assert!(
        start.elapsed() >= Duration::from_millis(20),
        "a timer came early"
    );
    assert!(
        scheduler.borrow().others >= 2,
        "the other fibers stood still"
    );
    let left: VecDeque<Outer> = scheduler.borrow_mut().engine.drain().into();
    assert!(
        matches!(Vec::from(left)[..], [Outer::Other(_)]),
        "the host left something behind"
    );
}

/// The kind of host that waits itself, and must be returned to: notes what it has to watch for.
#[derive(Default)]
struct ForeignLoop {
    wake_at: Option<Option<Duration>>,
}

impl Host for ForeignLoop {
    type Error = Error;

    fn wait(&mut self, waiter: &mut Waiter, timeout: Option<Duration>) -> Result<Waited, Error> {
        let would_block = timeout != Some(Duration::ZERO);
        // It has waited since it was told to: now the descriptors are looked at, without waiting.
        if would_block && self.wake_at.take().is_none() {
            self.wake_at = Some(timeout);
            return Ok(Waited::Suspended);
        }
        waiter.block(Some(Duration::ZERO))?;
        Ok(Waited::Polled)
    }
}

#[test]
fn a_foreign_loop_is_returned_to_wherever_the_engine_would_block() {
    let mut program = Program::new();
    let mut host = ForeignLoop::default();
    let mut suspended = 0;
    // The foreign loop itself, on a reactor that knows of the engine one descriptor and one timeout.
    let mut foreign = Engine::new().unwrap();
    foreign
        .watch(
            Lane::Callback,
            program.engine.raw_fd(),
            Direction::Read,
            Mode::Level,
            (),
        )
        .unwrap();
    let mut waiter = foreign.waiter();
    let start = Instant::now();
    while !program.drive(&mut host).unwrap() {
        suspended += 1;
        let timeout = host.wake_at.expect("it was told how long to wait");
        waiter.block(timeout).unwrap();
        foreign.begin(0, Some(&mut waiter));
        while foreign.next_callback().is_some() {}
    }
    assert_eq!(program.seen, EXPECTED);
    assert!(
        start.elapsed() >= Duration::from_millis(20),
        "a timer came early"
    );
    // For the descriptor, and for either timer unless the machine was busy so long that it was due already.
    assert!((1..=3).contains(&suspended), "{suspended} suspensions");
}
