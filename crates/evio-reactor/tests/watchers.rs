//! Watchers share a descriptor, come and go, and are reported as their mode says.

use evio_reactor::{Direction, Error, Key, Mode, Reactor};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

fn poll<T>(reactor: &mut Reactor<T>) -> Vec<Key> {
    let mut ready = Vec::new();
    let count = reactor.wait(Some(Duration::ZERO), &mut ready).unwrap();
    assert_eq!(count, ready.len());
    ready
}

fn readable_pair() -> (UnixStream, UnixStream) {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    (near, far)
}

#[test]
fn all_watchers_of_a_direction_are_reported_in_order_of_addition() {
    let (near, _far) = readable_pair();
    let mut reactor = Reactor::new().unwrap();
    let fd = near.as_raw_fd();
    let readers: Vec<_> = (0..5)
        .map(|n| reactor.add(fd, Direction::Read, Mode::Level, n).unwrap())
        .collect();
    let writer = reactor.add(fd, Direction::Write, Mode::Level, 9).unwrap();
    assert_eq!(poll(&mut reactor), [&readers[..], &[writer]].concat());
    assert_eq!(
        reactor.keys_of(fd, Direction::Read).collect::<Vec<_>>(),
        readers
    );
    assert_eq!(
        reactor.keys_of(fd, Direction::Write).collect::<Vec<_>>(),
        [writer]
    );
    assert_eq!(reactor.keys_of(fd + 1000, Direction::Read).count(), 0);
    assert_eq!(reactor.keys_of(-1, Direction::Read).count(), 0);
}

#[test]
fn removing_one_watcher_leaves_the_others() {
    let (near, _far) = readable_pair();
    let mut reactor = Reactor::new().unwrap();
    let fd = near.as_raw_fd();
    let first = reactor.add(fd, Direction::Read, Mode::Level, 1).unwrap();
    let second = reactor.add(fd, Direction::Read, Mode::Oneshot, 2).unwrap();
    let writer = reactor.add(fd, Direction::Write, Mode::Level, 3).unwrap();
    assert_eq!(reactor.remove(first), Some(1));
    assert_eq!(reactor.remove(first), None);
    assert_eq!(poll(&mut reactor), [second, writer]);
    assert_eq!(reactor.remove(second), Some(2));
    assert_eq!(poll(&mut reactor), [writer]);
    assert_eq!(reactor.remove(writer), Some(3));
    assert!(poll(&mut reactor).is_empty());
    assert!(reactor.is_empty());
}

#[test]
fn a_one_shot_fires_once_and_leaves_level_watchers_in_place() {
    let (near, _far) = readable_pair();
    let mut reactor = Reactor::new().unwrap();
    let fd = near.as_raw_fd();
    let once = reactor.add(fd, Direction::Read, Mode::Oneshot, ()).unwrap();
    let level = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
    assert_eq!(poll(&mut reactor), [once, level]);
    assert!(!reactor.is_armed(once));
    assert_eq!(poll(&mut reactor), [level]);
    reactor.arm(once).unwrap();
    assert_eq!(poll(&mut reactor), [once, level]);
}

#[test]
fn a_one_shot_of_the_other_direction_stays_armed() {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let fd = near.as_raw_fd();
    let reader = reactor.add(fd, Direction::Read, Mode::Oneshot, ()).unwrap();
    let writer = reactor
        .add(fd, Direction::Write, Mode::Oneshot, ())
        .unwrap();
    assert_eq!(poll(&mut reactor), [writer]);
    assert!(poll(&mut reactor).is_empty());
    far.write_all(b"x").unwrap();
    assert_eq!(poll(&mut reactor), [reader]);
    near.read_exact(&mut [0]).unwrap();
    assert!(poll(&mut reactor).is_empty());
}

#[test]
fn a_disarmed_watcher_is_known_and_not_polled() {
    let (near, far) = readable_pair();
    let mut reactor = Reactor::new().unwrap();
    let key = reactor
        .add(near.as_raw_fd(), Direction::Read, Mode::Level, "p")
        .unwrap();
    reactor.disarm(key);
    reactor.disarm(key);
    drop(far); // a hang-up is reported to nobody either
    assert!(poll(&mut reactor).is_empty());
    assert_eq!(reactor.get(key), Some(&"p"));
    reactor.arm(key).unwrap();
    assert_eq!(poll(&mut reactor), [key]);
}

#[test]
fn hanging_up_wakes_both_directions() {
    let (near, far) = UnixStream::pair().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let fd = near.as_raw_fd();
    let reader = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
    drop(far);
    assert_eq!(poll(&mut reactor), [reader]);
    let writer = reactor.add(fd, Direction::Write, Mode::Level, ()).unwrap();
    assert_eq!(poll(&mut reactor), [reader, writer]);
}

#[test]
fn an_error_wakes_the_reader_and_the_writer() {
    // A pipe without a reader: its write end has an error, and is not readable.
    let (read, write) = rustix::pipe::pipe().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let fd = write.as_raw_fd();
    let reader = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
    assert!(poll(&mut reactor).is_empty());
    drop(read);
    assert_eq!(poll(&mut reactor), [reader]);
    let writer = reactor.add(fd, Direction::Write, Mode::Level, ()).unwrap();
    assert_eq!(poll(&mut reactor), [reader, writer]);
}

#[test]
fn a_key_names_one_watcher_for_ever() {
    let (near, _far) = readable_pair();
    let mut reactor = Reactor::new().unwrap();
    let fd = near.as_raw_fd();
    let old = reactor.add(fd, Direction::Read, Mode::Level, 1).unwrap();
    reactor.remove(old);
    let new = reactor.add(fd, Direction::Write, Mode::Oneshot, 2).unwrap();
    assert_ne!(old, new);
    assert_eq!(reactor.get(old), None);
    assert_eq!(reactor.get_mut(old), None);
    assert_eq!(reactor.fd(old), None);
    assert_eq!(reactor.direction(old), None);
    assert_eq!(reactor.mode(old), None);
    assert!(!reactor.is_armed(old));
    assert!(matches!(reactor.arm(old), Err(Error::UnknownKey)));
    reactor.disarm(old);
    assert_eq!(reactor.remove(old), None);
    assert!(reactor.is_armed(new));
    assert_eq!(reactor.fd(new), Some(fd));
    assert_eq!(reactor.direction(new), Some(Direction::Write));
    assert_eq!(reactor.mode(new), Some(Mode::Oneshot));
}

#[test]
fn drain_hands_everything_back_in_order_and_polls_nothing_any_more() {
    let (near, far) = readable_pair();
    let mut reactor = Reactor::new().unwrap();
    let fds = [near.as_raw_fd(), far.as_raw_fd()];
    let gone = reactor
        .add(fds[0], Direction::Read, Mode::Level, 0)
        .unwrap();
    let one = reactor
        .add(fds[1], Direction::Write, Mode::Oneshot, 1)
        .unwrap();
    reactor.remove(gone);
    let two = reactor
        .add(fds[0], Direction::Read, Mode::Level, 2)
        .unwrap();
    reactor.disarm(one);
    assert_eq!(reactor.iter().count(), 2);
    assert_eq!(
        reactor.drain(),
        [
            (one, fds[1], Direction::Write, Mode::Oneshot, 1),
            (two, fds[0], Direction::Read, Mode::Level, 2),
        ]
    );
    assert_eq!(reactor.len(), 0);
    assert!(poll(&mut reactor).is_empty());
    assert!(reactor.get(two).is_none());
    let three = reactor
        .add(fds[0], Direction::Read, Mode::Level, 3)
        .unwrap();
    assert_eq!(poll(&mut reactor), [three]);
}

#[test]
fn more_events_than_the_buffer_holds_are_all_reported() {
    let pairs: Vec<_> = (0..400).map(|_| readable_pair()).collect();
    let mut reactor = Reactor::new().unwrap();
    let mut expected: Vec<_> = pairs
        .iter()
        .map(|(near, _)| {
            let fd = near.as_raw_fd();
            reactor.add(fd, Direction::Read, Mode::Oneshot, fd).unwrap()
        })
        .collect();
    let mut seen = poll(&mut reactor);
    assert!(
        seen.len() < 400,
        "the first buffer is smaller than this test"
    );
    seen.extend(poll(&mut reactor));
    let by_fd = |key: &Key| reactor.get(*key).copied();
    seen.sort_by_key(by_fd);
    expected.sort_by_key(by_fd);
    assert_eq!(seen, expected);
    for key in expected {
        reactor.arm(key).unwrap();
    }
    assert_eq!(poll(&mut reactor).len(), 400, "the buffer has grown");
}

#[test]
fn a_wait_is_never_early_and_never_overflows() {
    let mut reactor = Reactor::<()>::new().unwrap();
    let mut ready = Vec::new();
    for timeout in [1, 999, 1_000, 1_500_001, 20_000_000].map(Duration::from_nanos) {
        let start = Instant::now();
        assert_eq!(reactor.wait(Some(timeout), &mut ready).unwrap(), 0);
        assert!(start.elapsed() >= timeout);
    }
    reactor.waker().wake();
    assert_eq!(reactor.wait(Some(Duration::MAX), &mut ready).unwrap(), 0);
}

#[test]
fn blocking_twice_before_collecting_loses_nothing() {
    let (near, _far) = readable_pair();
    let mut reactor = Reactor::new().unwrap();
    let key = reactor
        .add(near.as_raw_fd(), Direction::Read, Mode::Oneshot, ())
        .unwrap();
    let mut waiter = reactor.waiter();
    waiter.block(None).unwrap();
    waiter.block(None).unwrap();
    let mut ready = Vec::new();
    reactor.collect(&mut waiter, &mut ready);
    assert_eq!(ready, [key]);
    ready.clear();
    reactor.collect(&mut waiter, &mut ready);
    assert!(ready.is_empty());
}

#[test]
fn what_is_removed_between_block_and_collect_is_left_out() {
    let (near, _far) = readable_pair();
    let mut reactor = Reactor::new().unwrap();
    let fd = near.as_raw_fd();
    let removed = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
    let disarmed = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
    let stays = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
    let mut waiter = reactor.waiter();
    waiter.block(None).unwrap();
    reactor.remove(removed);
    reactor.disarm(disarmed);
    let mut ready = Vec::new();
    reactor.collect(&mut waiter, &mut ready);
    assert_eq!(ready, [stays]);
}
