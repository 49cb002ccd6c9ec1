//! What becomes of work when a turn is cut short, watchers go away between collection and hand-out, or fibers move to
//! another engine.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use evio_loop::{Direction, Engine, Error, Key, Lane, Mode, Plan, Waiter, Work};

/// An engine and a descriptor that is always readable.
struct Fixture {
    engine: Engine<&'static str>,
    waiter: Waiter,
    near: UnixStream,
    _far: UnixStream,
}

impl Fixture {
    fn new() -> Self {
        let engine = Engine::new().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"x").unwrap();
        Fixture {
            waiter: engine.waiter(),
            engine,
            near,
            _far: far,
        }
    }

    fn watch(&mut self, lane: Lane, mode: Mode, payload: &'static str) -> Key {
        let fd = self.near.as_raw_fd();
        self.engine
            .watch(lane, fd, Direction::Read, mode, payload)
            .unwrap()
    }

    fn begin_polled(&mut self, now: u64) {
        self.waiter.block(Some(Duration::ZERO)).unwrap();
        self.engine.begin(now, Some(&mut self.waiter));
    }

    /// What the turn has left.
    fn rest(&mut self) -> Vec<Work<&'static str>> {
        let engine = &mut self.engine;
        std::iter::from_fn(|| engine.next_callback().or_else(|| engine.next_fiber())).collect()
    }
}

#[test]
fn what_a_turn_that_was_cut_short_has_left_comes_once_and_first() {
    let mut fixture = Fixture::new();
    let callback = fixture.watch(Lane::Callback, Mode::Level, "callback");
    let fiber = fixture.watch(Lane::Fiber, Mode::Level, "fiber");
    fixture.engine.push("raises");
    fixture.engine.schedule(Lane::Fiber, 7, "old timer");
    fixture.begin_polled(10);
    assert_eq!(fixture.engine.next_callback(), Some(Work::Run("raises")));
    fixture.engine.push("new");
    fixture.engine.schedule(Lane::Fiber, 7, "new timer");
    fixture.begin_polled(20);
    assert_eq!(
        fixture.rest(),
        [
            Work::Ready(callback),
            Work::Run("new"),
            Work::Ready(fiber),
            Work::Run("old timer"),
            Work::Run("new timer"),
        ]
    );
}

#[test]
fn callbacks_that_were_overdue_when_added_come_by_deadline() {
    let mut engine = Engine::new().unwrap();
    engine.begin(1_000, None);
    for (deadline, payload) in [
        (700, "third"),
        (300, "gone"),
        (100, "first"),
        (700, "fourth"),
        (300, "second"),
    ] {
        let timer = engine.schedule(Lane::Callback, deadline, payload);
        if payload == "gone" {
            assert_eq!(engine.cancel(timer), Some("gone"));
        }
    }
    engine.schedule(Lane::Callback, 1_001, "fifth");
    engine.schedule(Lane::Fiber, 700, "added first");
    engine.schedule(Lane::Fiber, 300, "added second");
    engine.begin(2_000, None);
    let rest = std::iter::from_fn(|| engine.next_callback().or_else(|| engine.next_fiber()));
    let expected = [
        "first",
        "second",
        "third",
        "fourth",
        "fifth",
        "added first",
        "added second",
    ];
    assert!(rest.eq(expected.map(Work::Run)));
}

#[test]
fn readiness_that_was_collected_goes_with_the_watcher() {
    for lane in [Lane::Callback, Lane::Fiber] {
        for mode in [Mode::Level, Mode::Oneshot] {
            let mut fixture = Fixture::new();
            let removed = fixture.watch(lane, mode, "removed");
            let disarmed = fixture.watch(lane, mode, "disarmed");
            let kept = fixture.watch(lane, mode, "kept");
            fixture.begin_polled(1);
            assert_eq!(fixture.engine.unwatch(removed), Some("removed"));
            fixture.engine.disarm(disarmed);
            assert_eq!(fixture.rest(), [Work::Ready(kept)]);

            fixture.engine.arm(disarmed).unwrap();
            fixture.begin_polled(2);
            assert!(
                fixture.rest().contains(&Work::Ready(disarmed)),
                "lost by disarming"
            );
        }
    }
}

#[test]
fn a_one_shot_that_was_disarmed_and_armed_before_its_hand_out_comes_once() {
    let mut fixture = Fixture::new();
    let key = fixture.watch(Lane::Fiber, Mode::Oneshot, "one-shot");
    fixture.begin_polled(1);
    fixture.engine.disarm(key);
    fixture.engine.arm(key).unwrap();
    fixture.begin_polled(2);
    assert_eq!(fixture.rest(), [Work::Ready(key)]);
    fixture.begin_polled(3);
    assert_eq!(fixture.rest(), []);
}

#[test]
fn a_timer_that_is_cancelled_in_its_turn_is_not_handed_out() {
    let mut fixture = Fixture::new();
    let engine = &mut fixture.engine;
    let first = engine.schedule(Lane::Fiber, 5, "first");
    let second = engine.schedule(Lane::Fiber, 5, "second");
    engine.begin(5, None);
    assert_eq!(engine.next_fiber(), Some(Work::Run("first")));
    assert_eq!(engine.cancel(second), Some("second"));
    assert_eq!(engine.cancel(first), None);
    assert_eq!(engine.next_fiber(), None);
}

#[test]
fn nothing_comes_early_and_never_never_comes() {
    let mut fixture = Fixture::new();
    let engine = &mut fixture.engine;
    for lane in [Lane::Callback, Lane::Fiber] {
        engine.schedule(lane, u64::MAX, "never");
        engine.schedule(lane, 10, "ten");
    }
    assert_eq!(engine.plan(9), Plan::Poll(Some(Duration::from_nanos(1))));
    engine.begin(9, None);
    assert_eq!(fixture.rest(), []);
    fixture.engine.begin(u64::MAX, None);
    assert_eq!(fixture.rest(), [Work::Run("ten"), Work::Run("ten")]);
    fixture.engine.schedule(Lane::Fiber, u64::MAX, "never");
    assert_eq!(fixture.engine.next_deadline(), None);
    assert_eq!(fixture.engine.plan(u64::MAX), Plan::Poll(None));
    assert_eq!(fixture.engine.timer_count(Lane::Fiber), 2);
}

#[test]
fn a_fiber_woken_by_a_callback_or_a_descriptor_runs_before_the_next_look() {
    let mut fixture = Fixture::new();
    let ready = fixture.watch(Lane::Fiber, Mode::Level, "ready");
    fixture.engine.push("callback");
    fixture.begin_polled(5);
    let engine = &mut fixture.engine;
    assert_eq!(engine.next_callback(), Some(Work::Run("callback")));
    engine.schedule(Lane::Fiber, 0, "woken by the callback");
    assert_eq!(
        engine.next_fiber_if(|_| true),
        None,
        "a descriptor is ready"
    );
    assert_eq!(engine.next_fiber(), Some(Work::Ready(ready)));
    engine.schedule(Lane::Fiber, 5, "woken by the descriptor");
    assert_eq!(
        engine.next_fiber(),
        Some(Work::Run("woken by the callback"))
    );
    engine.schedule(Lane::Fiber, 0, "woken by a fiber");
    assert_eq!(
        engine.next_fiber(),
        Some(Work::Run("woken by the descriptor"))
    );
    assert_eq!(engine.next_fiber(), None);
    fixture.engine.begin(5, None);
    assert_eq!(
        fixture.engine.next_fiber(),
        Some(Work::Run("woken by a fiber"))
    );
}

#[test]
fn adopted_fibers_keep_their_readiness_their_state_and_their_order() {
    let mut fixture = Fixture::new();
    let fired = fixture.watch(Lane::Fiber, Mode::Oneshot, "fired");
    let disarmed = fixture.watch(Lane::Fiber, Mode::Oneshot, "disarmed");
    let level = fixture.watch(Lane::Fiber, Mode::Level, "level");
    let callback = fixture.watch(Lane::Callback, Mode::Level, "callback");
    fixture.engine.disarm(disarmed);
    let timer = fixture.engine.schedule(Lane::Fiber, 50, "timer");
    fixture.begin_polled(10);

    let mut engine = Engine::new().unwrap();
    let own = engine.schedule(Lane::Fiber, 40, "own");
    assert_eq!(engine.cancel(own), Some("own"));
    let adopted = engine.adopt_fibers(&mut fixture.engine);
    let old: Vec<Key> = adopted.moved.iter().map(|&(old, _)| old).collect();
    assert_eq!(old, [fired, disarmed, level]);
    assert!(adopted.refused.is_empty());
    assert_eq!(
        engine.cancel(own),
        None,
        "a stale key named an adopted timer"
    );
    assert_eq!(fixture.engine.deadline(timer), None);

    let mut other = std::mem::replace(&mut fixture.engine, engine);
    assert_eq!(other.next_callback(), Some(Work::Ready(callback)));
    assert_eq!(other.next_fiber(), None);
    fixture.waiter = fixture.engine.waiter();
    fixture.begin_polled(50);
    let (_, fired) = adopted.moved[0];
    let (_, level) = adopted.moved[2];
    assert_eq!(
        fixture.rest(),
        [Work::Ready(fired), Work::Ready(level), Work::Run("timer")]
    );
    fixture.begin_polled(60);
    assert_eq!(
        fixture.rest(),
        [Work::Ready(level)],
        "a one-shot came twice"
    );
}

#[test]
fn adoption_leaves_no_engine_behind_its_own_turn() {
    let mut early = Engine::new().unwrap();
    let mut late = Engine::new().unwrap();
    for (from, to) in [(10, 100), (200, 150)] {
        early.begin(from, None);
        late.begin(to, None);
        late.adopt_fibers(&mut early);
        for (engine, turn) in [(&mut early, from), (&mut late, to)] {
            assert_eq!(engine.next_fiber(), None);
            engine.schedule(Lane::Fiber, turn, "due");
            assert_eq!(engine.next_fiber(), None, "added to the turn under way");
            engine.begin(0, None);
            assert_eq!(engine.next_fiber(), Some(Work::Run("due")));
        }
    }
}

#[test]
fn a_watcher_that_cannot_be_adopted_is_handed_back() {
    let mut fixture = Fixture::new();
    let mut engine = Engine::new().unwrap();
    // Its own descriptor is one that no engine can watch.
    let fd = engine.raw_fd();
    let refused = fixture
        .engine
        .watch(Lane::Fiber, fd, Direction::Read, Mode::Level, "refused")
        .unwrap();
    let kept = fixture.watch(Lane::Fiber, Mode::Level, "kept");
    let adopted = engine.adopt_fibers(&mut fixture.engine);
    let moved: Vec<Key> = adopted.moved.iter().map(|&(old, _)| old).collect();
    assert_eq!(moved, [kept]);
    let [(old, Error::Unwatchable { fd: named }, payload)] = adopted.refused[..] else {
        panic!("{:?}", adopted.refused);
    };
    assert_eq!((old, named, payload), (refused, fd, "refused"));
    assert_eq!(fixture.engine.payloads().count(), 0);
}

#[test]
#[should_panic(expected = "cannot adopt")]
fn an_engine_with_fibers_adopts_none() {
    let mut engine = Engine::new().unwrap();
    engine.schedule(Lane::Fiber, 1, ());
    engine.adopt_fibers(&mut Engine::new().unwrap());
}

#[test]
fn draining_hands_back_everything_once() {
    let mut fixture = Fixture::new();
    fixture.watch(Lane::Fiber, Mode::Level, "fiber watcher");
    fixture.watch(Lane::Callback, Mode::Level, "callback watcher");
    fixture.engine.push("callback");
    fixture.engine.schedule(Lane::Fiber, 3, "second");
    fixture.engine.begin(5, None);
    fixture.engine.schedule(Lane::Fiber, 4, "third");
    fixture.engine.schedule(Lane::Fiber, 9, "fourth");
    fixture.engine.schedule(Lane::Callback, 9, "first");
    assert_eq!(
        fixture.engine.drain(),
        [
            "callback",
            "first",
            "second",
            "third",
            "fourth",
            "fiber watcher",
            "callback watcher"
        ]
    );
    assert_eq!(fixture.engine.payloads().count(), 0);
    fixture.begin_polled(20);
    assert_eq!(fixture.rest(), []);
}

#[test]
fn callbacks_go_on_only_where_nothing_comes_between() {
    let mut fixture = Fixture::new();
    fixture.begin_polled(10);
    let engine = &mut fixture.engine;
    engine.push("callback");
    engine.schedule(Lane::Callback, 15, "timer");
    engine.schedule(Lane::Fiber, 15, "fiber of the next turn");
    assert!(engine.begin_callbacks(20));
    assert!(!engine.begin_callbacks(20), "it has callbacks left");
    assert_eq!(engine.next_callback(), Some(Work::Run("callback")));
    assert_eq!(engine.next_callback(), Some(Work::Run("timer")));

    engine.push("another");
    assert!(!engine.begin_callbacks(30), "the turn has a fiber");
    engine.schedule(Lane::Fiber, 0, "not of this turn");
    let fiber = Some(Work::Run("fiber of the next turn"));
    assert_eq!(engine.next_fiber(), fiber);
    assert!(engine.begin_callbacks(30));
    assert_eq!(engine.next_callback(), Some(Work::Run("another")));
    assert_eq!(engine.next_fiber(), Some(Work::Run("not of this turn")));

    engine.push("last");
    assert!(!engine.begin_callbacks(u64::MAX - 1), "a poll is due");
    fixture.watch(Lane::Fiber, Mode::Level, "watched");
    assert!(
        !fixture.engine.begin_callbacks(40),
        "it wants to be looked at"
    );
    assert_eq!(fixture.rest(), []);
}
