//! Turns of a reactor to count system calls by: `strace -c -f target/release/examples/waits idle 100000`.
//!
//! `idle N` waits N times without blocking, `oneshot N` arms and fires a one-shot N times, `shared N` does so
//! beside a watcher of the other direction, `wake N` wakes and waits N times, `green N` adds, fires and removes
//! a one-shot N times.

use evio_reactor::{Direction, Mode, Reactor};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [work, count] = arguments.as_slice() else {
        return Err("usage: waits idle|oneshot|shared|wake|green COUNT".into());
    };
    let count: u32 = count.parse()?;
    let (near, mut far) = UnixStream::pair()?;
    far.write_all(b"x")?;
    let fd = near.as_raw_fd();
    let mut reactor = Reactor::new()?;
    let mut ready = Vec::new();
    match work.as_str() {
        "idle" => {
            for _ in 0..count {
                reactor.wait(Some(Duration::ZERO), &mut ready)?;
            }
        }
        "oneshot" | "shared" => {
            if work == "shared" {
                far.set_nonblocking(true)?;
                near.set_nonblocking(true)?;
                while (&near).write(&[0; 4096]).is_ok() {}
                reactor.add(fd, Direction::Write, Mode::Oneshot, ())?;
            }
            let key = reactor.add(fd, Direction::Read, Mode::Oneshot, ())?;
            for turn in 0..count {
                if turn > 0 {
                    reactor.arm(key)?;
                }
                assert_eq!(reactor.wait(None, &mut ready)?, 1);
                ready.clear();
            }
        }
        "wake" => {
            let waker = reactor.waker();
            for _ in 0..count {
                waker.wake();
                reactor.wait(None, &mut ready)?;
            }
        }
        "green" => {
            for _ in 0..count {
                let key = reactor.add(fd, Direction::Read, Mode::Oneshot, ())?;
                assert_eq!(reactor.wait(None, &mut ready)?, 1);
                ready.clear();
                reactor.remove(key);
            }
        }
        other => return Err(format!("there is no work called {other}").into()),
    }
    println!("{work}: {count} turns");
    Ok(())
}
