//! Descriptors that are closed, reused, not open, or not pollable.

use evio_reactor::{Direction, Error, Key, Mode, Reactor};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn poll<T>(reactor: &mut Reactor<T>) -> Vec<Key> {
    let mut ready = Vec::new();
    reactor.wait(Some(Duration::ZERO), &mut ready).unwrap();
    ready
}

fn readable() -> (OwnedFd, UnixStream) {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    (near.into(), far)
}

/// Numbers far above what other threads of the test get from the system.
fn place(fd: OwnedFd, number: RawFd) -> OwnedFd {
    rustix::io::fcntl_dupfd_cloexec(fd, number).unwrap()
}

/// Closes the file of `place` by putting another behind its number.
fn reuse(place: &mut OwnedFd, other: impl Into<OwnedFd>) {
    rustix::io::dup2(other.into(), place).unwrap();
}

#[test]
fn a_descriptor_that_is_not_open_gives_the_payload_back() {
    let mut reactor = Reactor::new().unwrap();
    for fd in [-1, RawFd::MIN, 900_000] {
        let refused = reactor
            .add(fd, Direction::Read, Mode::Level, "mine")
            .unwrap_err();
        assert!(matches!(refused.error, Error::BadDescriptor { fd: named } if named == fd));
        assert_eq!(refused.error.raw_os_error(), Some(libc::EBADF));
        assert_eq!(refused.payload, "mine");
    }
    assert!(reactor.is_empty());
}

#[test]
fn the_reactor_itself_cannot_be_watched() {
    let mut reactor = Reactor::new().unwrap();
    let fd = reactor.raw_fd();
    let refused = reactor
        .add(fd, Direction::Read, Mode::Level, ())
        .unwrap_err();
    assert!(matches!(refused.error, Error::Unwatchable { fd: named } if named == fd));
    assert!(poll(&mut reactor).is_empty());
}

#[test]
fn a_closed_descriptor_falls_silent_and_its_removal_too() {
    let mut reactor = Reactor::new().unwrap();
    let (near, _far) = readable();
    let near = place(near, 600);
    let fd = near.as_raw_fd();
    let key = reactor.add(fd, Direction::Read, Mode::Level, 1).unwrap();
    let other = reactor.add(fd, Direction::Write, Mode::Oneshot, 2).unwrap();
    drop(near);
    assert!(poll(&mut reactor).is_empty());
    assert_eq!(reactor.remove(key), Some(1));
    assert!(matches!(
        reactor.arm(other),
        Err(Error::BadDescriptor { .. })
    ));
    assert_eq!(reactor.remove(other), Some(2));
    assert!(reactor.is_empty());
}

#[test]
fn a_reused_number_is_watched_anew_by_add_and_by_arm() {
    for mode in [Mode::Level, Mode::Oneshot] {
        let mut reactor = Reactor::new().unwrap();
        let (quiet, _keep) = UnixStream::pair().unwrap();
        let mut at = place(quiet.into(), 700);
        let (other, _far) = readable();
        let fd = at.as_raw_fd();
        let old = reactor.add(fd, Direction::Read, mode, "old").unwrap();
        reuse(&mut at, other);
        assert!(
            poll(&mut reactor).is_empty(),
            "nobody asked for the new file"
        );
        let new = reactor.add(fd, Direction::Read, mode, "new").unwrap();
        assert_eq!(poll(&mut reactor), [old, new]);

        let (third, _far) = readable();
        reuse(&mut at, third);
        assert!(poll(&mut reactor).is_empty());
        reactor.arm(new).unwrap();
        let expected: &[Key] = match mode {
            Mode::Level => &[old, new],
            Mode::Oneshot => &[new],
        };
        assert_eq!(poll(&mut reactor), expected);
    }
}

#[test]
fn an_event_of_a_closed_file_fires_nobody_on_the_reused_number() {
    let mut reactor = Reactor::new().unwrap();
    let (near, _far) = readable();
    let mut at = place(near, 800);
    let fd = at.as_raw_fd();
    let old = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
    let mut waiter = reactor.waiter();
    waiter.block(None).unwrap(); // an event of the old file is on its way
    reactor.remove(old);
    let (quiet, _keep) = UnixStream::pair().unwrap();
    reuse(&mut at, quiet);
    let new = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
    let mut ready = Vec::new();
    reactor.collect(&mut waiter, &mut ready);
    assert!(ready.is_empty());
    assert!(reactor.is_armed(new));
}

#[test]
fn a_file_that_lives_on_elsewhere_fires_nobody_and_rebuild_forgets_it() {
    let mut reactor = Reactor::new().unwrap();
    let (near, _far) = readable();
    let _elsewhere = near.try_clone().unwrap();
    let mut at = place(near, 850);
    let fd = at.as_raw_fd();
    let old = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
    let (quiet, mut far) = UnixStream::pair().unwrap();
    reuse(&mut at, quiet);
    reactor.remove(old);
    let new = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
    assert!(poll(&mut reactor).is_empty());
    let mut ready = Vec::new();
    let long = Some(Duration::from_secs(3600));
    assert_eq!(
        reactor.wait(long, &mut ready).unwrap(),
        0,
        "the kernel still reports it"
    );
    reactor.rebuild().unwrap();
    let start = std::time::Instant::now();
    let short = Duration::from_millis(5);
    assert_eq!(reactor.wait(Some(short), &mut ready).unwrap(), 0);
    assert!(start.elapsed() >= short);
    far.write_all(b"x").unwrap();
    assert_eq!(poll(&mut reactor), [new]);
}

#[test]
fn a_regular_file_is_always_ready() {
    let mut reactor = Reactor::new().unwrap();
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let fd = file.as_raw_fd();
    let level = reactor.add(fd, Direction::Read, Mode::Level, 1).unwrap();
    let once = reactor.add(fd, Direction::Write, Mode::Oneshot, 2).unwrap();
    let mut ready = Vec::new();
    assert_eq!(reactor.wait(None, &mut ready).unwrap(), 2);
    assert_eq!(ready, [level, once]);
    assert_eq!(poll(&mut reactor), [level]);
    reactor.disarm(level);
    assert!(poll(&mut reactor).is_empty());
    reactor.arm(once).unwrap();
    assert_eq!(poll(&mut reactor), [once]);
    assert_eq!(reactor.remove(level), Some(1));
    assert_eq!(reactor.remove(once), Some(2));
    assert!(poll(&mut reactor).is_empty());
}

#[test]
fn a_number_may_change_between_file_and_socket() {
    let mut reactor = Reactor::new().unwrap();
    let file: OwnedFd = File::open(std::env::current_exe().unwrap()).unwrap().into();
    let (quiet, mut far) = UnixStream::pair().unwrap();
    let mut at = place(file.try_clone().unwrap(), 950);
    let fd = at.as_raw_fd();
    let key = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
    assert_eq!(poll(&mut reactor), [key]);
    reuse(&mut at, quiet);
    reactor.arm(key).unwrap();
    assert!(poll(&mut reactor).is_empty());
    far.write_all(b"x").unwrap();
    assert_eq!(poll(&mut reactor), [key]);
    reuse(&mut at, file);
    reactor.arm(key).unwrap();
    assert_eq!(poll(&mut reactor), [key]);
}
