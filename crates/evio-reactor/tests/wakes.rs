//! Wakes from other threads end a wait, coalesce, and are never lost.

use evio_reactor::{Direction, Mode, Reactor};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn is_readable(fd: &impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
}

#[test]
fn wakes_before_a_wait_coalesce_into_one_return() {
    let mut reactor = Reactor::<()>::new().unwrap();
    let waker = reactor.waker();
    let mut ready = Vec::new();
    for _ in 0..3 {
        waker.wake();
    }
    let forever = Some(Duration::from_secs(3600));
    assert_eq!(reactor.wait(forever, &mut ready).unwrap(), 0);
    let start = Instant::now();
    let short = Duration::from_millis(5);
    assert_eq!(reactor.wait(Some(short), &mut ready).unwrap(), 0);
    assert!(start.elapsed() >= short);
}

#[test]
fn a_wake_hides_no_event_and_no_event_hides_a_wake() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let key = reactor
        .add(near.as_raw_fd(), Direction::Read, Mode::Oneshot, ())
        .unwrap();
    far.write_all(b"x").unwrap();
    reactor.waker().wake();
    let mut ready = Vec::new();
    assert_eq!(reactor.wait(None, &mut ready).unwrap(), 1);
    assert_eq!(ready, [key]);
    assert!(!is_readable(&reactor), "the wake was taken note of as well");
    reactor.waker().wake();
    assert_eq!(reactor.wait(None, &mut ready).unwrap(), 0);
}

#[test]
fn every_message_announced_by_a_wake_is_seen() {
    const MESSAGES: usize = 20_000;
    let mut reactor = Reactor::<()>::new().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (waker, sent) = (reactor.waker(), sent.clone());
            std::thread::spawn(move || {
                for turn in 0..MESSAGES / 2 {
                    sent.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                    if turn % 64 == 0 {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut ready = Vec::new();
    // A lost wake would leave this waiting without end.
    while sent.load(Ordering::Relaxed) < MESSAGES {
        let start = Instant::now();
        reactor
            .wait(Some(Duration::from_secs(30)), &mut ready)
            .unwrap();
        assert!(start.elapsed() < Duration::from_secs(30), "a wake was lost");
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn the_descriptor_of_the_reactor_is_readable_when_a_wait_would_return_at_once() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut ready = Vec::new();
    let zero = Some(Duration::ZERO);
    assert!(!is_readable(&reactor));

    reactor.waker().wake();
    assert!(is_readable(&reactor));
    reactor.wait(zero, &mut ready).unwrap();
    assert!(!is_readable(&reactor));

    let fd = near.as_raw_fd();
    let socket = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
    assert!(!is_readable(&reactor));
    far.write_all(b"x").unwrap();
    assert!(is_readable(&reactor));
    reactor.remove(socket);
    assert!(!is_readable(&reactor));

    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let fd = file.as_raw_fd();
    let once = reactor.add(fd, Direction::Read, Mode::Oneshot, ()).unwrap();
    assert!(is_readable(&reactor));
    assert_eq!(reactor.wait(None, &mut ready).unwrap(), 1);
    assert_eq!(ready, [once]);
    assert!(!is_readable(&reactor));
}

#[test]
fn a_task_waker_wakes_and_a_waker_outlives_its_reactor() {
    let mut reactor = Reactor::<()>::new().unwrap();
    let waker = reactor.waker();
    let task_waker = waker.task_waker();
    let mut ready = Vec::new();
    task_waker.wake_by_ref();
    reactor.wait(None, &mut ready).unwrap();
    let second = task_waker.clone();
    drop(task_waker);
    second.wake_by_ref();
    reactor.wait(None, &mut ready).unwrap();
    std::task::Waker::from(waker.clone()).wake();
    reactor.wait(None, &mut ready).unwrap();
    drop(reactor);
    waker.wake();
    second.wake();
}
