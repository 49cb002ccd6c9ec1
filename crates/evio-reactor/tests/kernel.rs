//! What the kernel holds after each change, read from `/proc`: no call is made that is not needed.
#![cfg(target_os = "linux")]

use evio_reactor::{Direction, Mode, Reactor};
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;

/// The flags under which an epoll has `fd`.
fn flags_of<T>(reactor: &Reactor<T>, fd: RawFd) -> Option<u32> {
    let path = format!("/proc/self/fdinfo/{}", reactor.raw_fd());
    let info = std::fs::read_to_string(path).unwrap();
    info.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|&word| word == "tfd:")?;
        if words.next()?.parse() != Ok(fd) {
            return None;
        }
        let flags = words.nth(1)?;
        Some(u32::from_str_radix(flags, 16).unwrap() & (IN | OUT | ONESHOT))
    })
}

fn poll(reactor: &mut Reactor<()>) -> usize {
    let mut ready = Vec::new();
    reactor.wait(Some(Duration::ZERO), &mut ready).unwrap()
}

#[test]
fn the_kernel_holds_the_union_of_what_is_armed() {
    let (near, _far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    let mut reactor = Reactor::new().unwrap();
    let once = reactor.add(fd, Direction::Read, Mode::Oneshot, ()).unwrap();
    assert_eq!(flags_of(&reactor, fd), Some(IN | ONESHOT));
    let level = reactor.add(fd, Direction::Write, Mode::Level, ()).unwrap();
    assert_eq!(flags_of(&reactor, fd), Some(IN | OUT));
    reactor.disarm(once);
    assert_eq!(flags_of(&reactor, fd), Some(OUT));
    reactor.arm(once).unwrap();
    reactor.remove(level);
    assert_eq!(flags_of(&reactor, fd), Some(IN | ONESHOT));
    reactor.remove(once);
    assert_eq!(flags_of(&reactor, fd), None);
}

#[test]
fn a_one_shot_that_fired_stays_in_the_kernel_disabled() {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    let fd = near.as_raw_fd();
    let mut reactor = Reactor::new().unwrap();
    for _ in 0..2 {
        let once = reactor.add(fd, Direction::Read, Mode::Oneshot, ()).unwrap();
        assert_eq!(flags_of(&reactor, fd), Some(IN | ONESHOT));
        assert_eq!(poll(&mut reactor), 1);
        assert_eq!(flags_of(&reactor, fd), Some(ONESHOT));
        reactor.remove(once);
        assert_eq!(flags_of(&reactor, fd), Some(ONESHOT));
    }
}

#[test]
fn the_other_direction_is_restored_after_a_one_shot_fired() {
    let (near, _far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    let mut reactor = Reactor::new().unwrap();
    reactor.add(fd, Direction::Read, Mode::Oneshot, ()).unwrap();
    reactor
        .add(fd, Direction::Write, Mode::Oneshot, ())
        .unwrap();
    assert_eq!(poll(&mut reactor), 1);
    assert_eq!(flags_of(&reactor, fd), Some(IN | ONESHOT));
}
