//! The two handles keep the crossing's rules for Rust futures, across threads, and call no waker under their lock.

use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use evio_bridge::{
    AlreadySettled, Awaiter, Ended, Interrupt, Interrupter, Leftover, Outcome, Policy, Settlement,
    Source, State, channel,
};

type Text = &'static str;

const LET_RUN: Policy = Policy {
    autostart: true,
    end_source: false,
    end_awaiters: true,
};
const LAZY: Policy = Policy {
    autostart: false,
    end_source: true,
    end_awaiters: true,
};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread; a wake that never comes fails the test.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let started = Instant::now();
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(Duration::from_secs(20)),
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "a wake was lost"
        );
    }
}

const NOTHING: Settlement<u32, Text> = Settlement {
    leftover: None,
    unclaimed: None,
};

#[test]
fn the_handles_cross_threads() {
    fn crosses<T: Send>(_: &T) {}
    let (source, awaiter) = channel::<Cell<u8>, Cell<u8>>(Policy::default());
    crosses(&awaiter);
    crosses(&awaiter.interrupter());
    crosses(&source.run(ready(Ok(Cell::new(0)))));
}

#[test]
fn a_value_arrives_and_wakes_once() {
    let (source, awaiter) = channel::<u32, Text>(Policy::default());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut awaiter = pin!(awaiter);
    assert!(
        awaiter
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert_eq!(source.settle(Ok(7)), NOTHING);
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert_eq!(poll(awaiter), Poll::Ready(Outcome::Value(7)));
}

#[test]
fn an_outcome_waits_for_an_awaiter_that_is_not_yet_polled() {
    let (source, awaiter) = channel::<u32, Text>(Policy::default());
    assert_eq!(source.settle(Err("broken")), NOTHING);
    assert_eq!(awaiter.state(), State::Settled);
    let outcome = Outcome::Error {
        error: "broken",
        context: None,
    };
    assert_eq!(poll(pin!(awaiter)), Poll::Ready(outcome));
}

#[test]
fn dropping_the_source_cancels() {
    let (source, mut awaiter) = channel::<u32, Text>(Policy::default());
    assert!(poll(Pin::new(&mut awaiter)).is_pending());
    drop(source);
    assert_eq!(
        poll(Pin::new(&mut awaiter)),
        Poll::Ready(Outcome::Cancelled)
    );

    let (source, awaiter) = channel::<u32, Text>(Policy::default());
    drop(source);
    assert_eq!(
        poll(pin!(awaiter)),
        Poll::Ready(Outcome::Exit),
        "before it was asked"
    );
}

#[test]
fn dropping_a_running_future_cancels() {
    let (source, mut awaiter) = channel::<u32, Text>(Policy::default());
    let mut task = Box::pin(source.run(pending()));
    assert!(poll(task.as_mut()).is_pending());
    assert!(poll(Pin::new(&mut awaiter)).is_pending());
    drop(task);
    assert_eq!(
        poll(Pin::new(&mut awaiter)),
        Poll::Ready(Outcome::Cancelled)
    );
}

#[test]
fn dropping_the_awaiter_ends_the_source_whether_or_not_it_was_polled() {
    for polled in [false, true] {
        let (source, mut awaiter) = channel::<u32, Text>(Policy::default());
        let mut task = pin!(source.run(pending()));
        assert!(poll(task.as_mut()).is_pending());
        if polled {
            assert!(poll(Pin::new(&mut awaiter)).is_pending());
        }
        drop(awaiter);
        let Poll::Ready(settlement) = poll(task) else {
            panic!("the source was not asked to end");
        };
        assert_eq!(settlement.unclaimed, Some(Outcome::Cancelled));
    }
}

#[test]
fn a_source_left_alone_gets_its_value_back() {
    let (source, mut awaiter) = channel::<u32, Text>(LET_RUN);
    let (release, released) = futures_channel::oneshot::channel();
    let mut task = pin!(source.run(async { Ok(released.await.expect("it is released")) }));
    assert!(poll(task.as_mut()).is_pending());
    assert!(poll(Pin::new(&mut awaiter)).is_pending());
    drop(awaiter);
    assert!(poll(task.as_mut()).is_pending(), "it goes on");
    release.send(3).unwrap();
    let settlement = Settlement {
        leftover: None,
        unclaimed: Some(Outcome::Value(3)),
    };
    assert_eq!(poll(task), Poll::Ready(settlement));
}

#[test]
fn an_interrupt_that_may_not_end_the_source_ends_the_wait() {
    let (source, mut awaiter) = channel::<u32, Text>(LET_RUN);
    assert!(poll(Pin::new(&mut awaiter)).is_pending());
    assert_eq!(awaiter.interrupt(Interrupt::Kill("stop")), Ok(None));
    assert_eq!(
        poll(Pin::new(&mut awaiter)),
        Poll::Ready(Outcome::Interrupted("stop"))
    );
    let settlement = Settlement {
        leftover: Some(Leftover::Value(5)),
        unclaimed: None,
    };
    assert_eq!(source.settle(Ok(5)), settlement);
}

#[test]
fn without_autostart_the_first_poll_of_the_awaiter_starts() {
    let (source, mut awaiter) = channel::<u32, Text>(LAZY);
    let runs = Cell::new(0);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut task = pin!(source.run(poll_fn(|_| {
        runs.set(runs.get() + 1);
        Poll::Ready(Ok(1))
    })));
    assert!(
        task.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert_eq!((runs.get(), wakes.0.load(Ordering::SeqCst)), (0, 0));
    assert!(poll(Pin::new(&mut awaiter)).is_pending());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert!(poll(task).is_ready());
    assert_eq!(runs.get(), 1);
    assert_eq!(poll(Pin::new(&mut awaiter)), Poll::Ready(Outcome::Value(1)));
}

#[test]
fn a_source_that_nobody_can_start_any_more_is_dropped() {
    for policy in [
        LAZY,
        Policy {
            end_source: false,
            ..LAZY
        },
    ] {
        let (source, awaiter) = channel::<u32, Text>(policy);
        let polled = Cell::new(false);
        let mut task = pin!(source.run(poll_fn(|_| {
            polled.set(true);
            Poll::Pending
        })));
        assert!(poll(task.as_mut()).is_pending());
        drop(awaiter);
        assert!(poll(task).is_ready(), "{policy:?}");
        assert!(!polled.get());
    }
}

#[test]
fn a_source_that_starts_itself_is_not_dropped_for_that() {
    for started_first in [true, false] {
        let (mut source, awaiter) = channel::<u32, Text>(Policy {
            end_source: false,
            ..LAZY
        });
        if started_first {
            assert!(source.start());
            drop(awaiter);
        } else {
            drop(awaiter);
            assert!(source.start());
        }
        assert!(poll(pin!(source.ending())).is_pending());
    }
}

#[test]
fn a_kill_before_the_first_step_drops_the_future_unpolled() {
    let (source, mut awaiter) = channel::<u32, Text>(Policy::default());
    let polled = Cell::new(false);
    let task = source.run(poll_fn(|_| {
        polled.set(true);
        Poll::Ready(Ok(1))
    }));
    assert_eq!(awaiter.interrupt(Interrupt::Kill("stop")), Ok(None));
    assert_eq!(
        poll(Pin::new(&mut awaiter)),
        Poll::Ready(Outcome::Interrupted("stop"))
    );
    assert_eq!(poll(pin!(task)), Poll::Ready(NOTHING));
    assert!(!polled.get());
}

#[test]
fn a_cleanup_may_await_and_is_told_of_each_kill() {
    let (mut source, mut awaiter) = channel::<u32, Text>(Policy::default());
    assert_eq!(poll(pin!(source.started())), Poll::Ready(true));
    assert!(poll(Pin::new(&mut awaiter)).is_pending());
    assert!(poll(pin!(source.ending())).is_pending());
    assert_eq!(awaiter.interrupt(Interrupt::Kill("first")), Ok(None));
    assert_eq!(
        awaiter.interrupt(Interrupt::Kill("second")),
        Ok(Some("first"))
    );
    assert!(poll(pin!(source.ending())).is_ready());
    assert!(poll(pin!(source.ending())).is_ready());
    assert!(poll(pin!(source.ending())).is_pending());
    assert_eq!(awaiter.state(), State::Ending);
    assert_eq!(source.settle(Err("cleanup failed")), NOTHING);
    let outcome = Outcome::Error {
        error: "cleanup failed",
        context: Some("second"),
    };
    assert_eq!(poll(Pin::new(&mut awaiter)), Poll::Ready(outcome));
    assert_eq!(
        awaiter.interrupt(Interrupt::Kill("third")),
        Err(AlreadySettled("third"))
    );
}

#[test]
fn leaving_hands_back_an_outcome_that_was_there() {
    let (source, awaiter) = channel::<u32, Text>(Policy::default());
    assert_eq!(source.settle(Ok(9)), NOTHING);
    assert_eq!(awaiter.leave(), Some(Outcome::Value(9)));

    let (_source, awaiter) = channel::<u32, Text>(Policy::default());
    assert_eq!(awaiter.leave(), None);
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn an_awaiter_is_not_polled_twice_to_the_end() {
    let (source, mut awaiter) = channel::<u32, Text>(Policy::default());
    drop(source);
    assert!(poll(Pin::new(&mut awaiter)).is_ready());
    let _ = poll(Pin::new(&mut awaiter));
}

/// A waker that looks at the crossing, interrupts it, and polls the awaiter at once.
struct Nosy {
    awaiter: Mutex<Option<Awaiter<u32, Text>>>,
    interrupter: Interrupter<u32, Text>,
    seen: Mutex<Vec<Outcome<u32, Text>>>,
}

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        assert_eq!(self.interrupter.state(), State::Settled);
        assert!(self.interrupter.interrupt(Interrupt::Kill("late")).is_err());
        let mut awaiter = self.awaiter.lock().unwrap().take().expect("woken once");
        if let Poll::Ready(outcome) = poll(Pin::new(&mut awaiter)) {
            self.seen.lock().unwrap().push(outcome);
        }
    }
}

/// The same on the source's side: told to end, it settles within the wake.
struct Hasty(Mutex<Option<Source<u32, Text>>>);

impl Wake for Hasty {
    fn wake(self: Arc<Self>) {
        let source = self.0.lock().unwrap().take().expect("woken once");
        assert_eq!(source.settle(Ended::Cancelled), NOTHING);
    }
}

#[test]
fn wakers_may_use_the_crossing() {
    let (done, wait) = mpsc::channel();
    // On a thread of its own: a waker called under the lock would never return.
    let test = thread::spawn(move || {
        let (mut source, mut awaiter) = channel::<u32, Text>(Policy::default());
        let interrupter = awaiter.interrupter();
        let nosy = Arc::new(Nosy {
            awaiter: Mutex::new(None),
            interrupter: interrupter.clone(),
            seen: Mutex::new(Vec::new()),
        });
        let waker = Waker::from(Arc::clone(&nosy));
        assert!(
            Pin::new(&mut awaiter)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        *nosy.awaiter.lock().unwrap() = Some(awaiter);

        assert!(source.start());
        let hasty = Arc::new(Hasty(Mutex::new(None)));
        let waker = Waker::from(Arc::clone(&hasty));
        assert!(
            source
                .poll_ending(&mut Context::from_waker(&waker))
                .is_pending()
        );
        *hasty.0.lock().unwrap() = Some(source);

        assert_eq!(interrupter.interrupt(Interrupt::Kill("stop")), Ok(None));
        let seen = std::mem::take(&mut *nosy.seen.lock().unwrap());
        done.send(seen).unwrap();
    });
    let seen = wait
        .recv_timeout(Duration::from_secs(20))
        .expect("a waker was called under the lock");
    test.join().unwrap();
    assert_eq!(seen, [Outcome::Interrupted("stop")]);
}

/// Three threads race: the source ends or is ended, the awaiter waits, a kill and a timeout strike.
#[test]
fn races_between_threads_settle_once_and_lose_nothing() {
    for round in 0..1_000_u32 {
        let (source, awaiter) = channel::<u32, u32>(Policy::default());
        let interrupter = awaiter.interrupter();
        let worker = thread::spawn(move || {
            block_on(source.run(async {
                if round % 2 == 0 {
                    return Ok(1);
                }
                pending().await
            }))
        });
        let killer = thread::spawn(move || {
            let mut back = Vec::new();
            for interrupt in [Interrupt::Kill(2), Interrupt::Timeout(3)] {
                match interrupter.interrupt(interrupt) {
                    Ok(replaced) => back.extend(replaced),
                    Err(AlreadySettled(refused)) => back.push(refused),
                }
            }
            back
        });
        let outcome = block_on(awaiter);
        let settlement = worker.join().unwrap();
        let mut payloads = killer.join().unwrap();
        assert_eq!(settlement.unclaimed, None);
        payloads.extend(settlement.leftover.map(|leftover| match leftover {
            Leftover::Value(payload) | Leftover::Error(payload) | Leftover::Interrupt(payload) => {
                payload
            }
        }));
        match outcome {
            Outcome::Value(payload) | Outcome::Interrupted(payload) => payloads.push(payload),
            other => panic!("nothing leads to {other:?}"),
        }
        payloads.sort_unstable();
        // The value exists only if the source came to produce it before it was asked to end.
        assert!(payloads == [1, 2, 3] || payloads == [2, 3], "{payloads:?}");
    }
}

/// A value and a leaving race: whoever comes second has the value, and nobody else.
#[test]
fn a_value_that_races_with_a_leaving_comes_out_once() {
    for _ in 0..1_000 {
        let (source, awaiter) = channel::<u32, u32>(LET_RUN);
        let worker = thread::spawn(move || source.settle(Ok(1)));
        let left = awaiter.leave();
        let settlement = worker.join().unwrap();
        assert_eq!(settlement.leftover, None);
        let both = [left, settlement.unclaimed];
        assert_eq!(both.iter().flatten().count(), 1, "{both:?}");
    }
}
