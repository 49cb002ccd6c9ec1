//! What a crossing and a send cost, in nanoseconds: `cargo bench -p evio-bridge [-- --quick]`.

use std::env;
use std::future::ready;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::thread;
use std::time::Instant;

use evio_bridge::{Action, Crossing, Ended, Interrupt, Policy, channel, inbox};

fn main() {
    let quick = env::args().any(|arg| arg == "--quick");
    let rounds = if quick { 50_000 } else { 2_000_000 };

    println!("{:<52} {:>10}", "one of", "ns");
    report("crossing: start, await, value, wake, take", rounds, value);
    report(
        "crossing: start, await, kill, cleanup, wake, take",
        rounds,
        killed,
    );
    report(
        "crossing with 100 awaiters, half of which leave",
        rounds / 100,
        crowd,
    );
    report("channel: run a ready future, await it", rounds / 4, futures);

    let (sender, mut mailbox) = inbox::channel();
    report("inbox: send, receive, one thread", rounds, || {
        sender.send(black_box(1_u64)).expect("open");
        black_box(mailbox.try_next());
    });
    let (sender, mut mailbox) = inbox::channel();
    report(
        "inbox: park, send with wake, receive, one thread",
        rounds,
        || {
            assert!(mailbox.park(Waker::noop()));
            sender.send(black_box(1_u64)).expect("open");
            black_box(mailbox.try_next());
        },
    );
    between_threads(rounds);
}

/// The best of five runs: the machine's other work only ever adds.
fn report(name: &str, rounds: u32, mut round: impl FnMut()) {
    let best = (0..5)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..rounds {
                round();
            }
            start.elapsed().as_nanos() as f64 / f64::from(rounds)
        })
        .fold(f64::INFINITY, f64::min);
    println!("{name:<52} {best:>10.1}");
}

fn drain(crossing: &mut Crossing<u64, u64>) -> usize {
    let mut wakes = 0;
    while let Some(action) = crossing.poll_action() {
        wakes += usize::from(matches!(black_box(action), Action::Wake(_)));
    }
    wakes
}

fn value() {
    let mut crossing = Crossing::new(black_box(Policy::default()));
    drain(&mut crossing);
    assert!(crossing.handle_started());
    crossing.handle_awaiter();
    assert!(crossing.handle_ended(Ended::Value(black_box(1))).is_none());
    assert_eq!(drain(&mut crossing), 1);
    black_box(crossing.take_outcome());
}

fn killed() {
    let mut crossing = Crossing::new(black_box(Policy::default()));
    drain(&mut crossing);
    assert!(crossing.handle_started());
    crossing.handle_awaiter();
    assert!(
        crossing
            .handle_interrupt(Interrupt::Kill(black_box(2)))
            .is_ok()
    );
    drain(&mut crossing);
    assert!(crossing.handle_ended(Ended::Cancelled).is_none());
    assert_eq!(drain(&mut crossing), 1);
    black_box(crossing.take_outcome());
}

fn crowd() {
    let mut crossing = Crossing::new(black_box(Policy::default()));
    drain(&mut crossing);
    assert!(crossing.handle_started());
    let awaiters: Vec<_> = (0..100).map(|_| crossing.handle_awaiter()).collect();
    for awaiter in awaiters.into_iter().step_by(2) {
        assert!(crossing.handle_leave(awaiter));
    }
    assert!(crossing.handle_ended(Ended::Value(black_box(1))).is_none());
    assert_eq!(drain(&mut crossing), 50);
    black_box(crossing.take_outcome());
}

fn futures() {
    let (source, mut awaiter) = channel::<u64, u64>(black_box(Policy::default()));
    let mut cx = Context::from_waker(Waker::noop());
    let mut task = pin!(source.run(ready(Ok(black_box(1)))));
    assert!(Pin::new(&mut awaiter).poll(&mut cx).is_pending());
    assert!(task.as_mut().poll(&mut cx).is_ready());
    assert!(black_box(Pin::new(&mut awaiter).poll(&mut cx)).is_ready());
}

/// One thread sends as fast as it can, another receives without parking: the cost of the queue itself.
fn between_threads(rounds: u32) {
    let (sender, mut mailbox) = inbox::channel();
    let start = Instant::now();
    let worker = thread::spawn(move || {
        for number in 0..rounds {
            sender.send(number).expect("open");
        }
    });
    let mut received = 0;
    while received < rounds {
        match mailbox.try_next() {
            Some(number) => {
                assert_eq!(number, received);
                received += 1;
            }
            None => thread::yield_now(),
        }
    }
    let each = start.elapsed().as_nanos() as f64 / f64::from(rounds);
    worker.join().expect("the sender ended");
    println!("{:<52} {each:>10.1}", "inbox: send, receive, two threads");
}
