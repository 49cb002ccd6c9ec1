//! What a wait and a change cost, against mio and against bare epoll, in interleaved rounds.
//!
//! `cargo bench -p evio-reactor`, or with `-- --quick` for a rough look. Every figure is the median over the
//! rounds of nanoseconds of processor per operation; the ratios are medians of the rounds' own ratios, so that a machine
//! that speeds up or slows down half way does not tilt them. With `--samples` each round is a line instead: the
//! work, who did it, nanoseconds.

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this benchmark compares with epoll, which is Linux's");
}

#[cfg(target_os = "linux")]
mod linux {
    use evio_reactor::{Direction, Mode, Reactor};
    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use std::hint::black_box;
    use std::io::Write;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    /// One way of doing the same work.
    type Contender<'a> = (&'static str, Box<dyn FnMut(u32) + 'a>);

    pub(super) fn main() {
        let quick = std::env::args().any(|argument| argument == "--quick");
        let (rounds, turns) = if quick { (7, 5_000) } else { (31, 50_000) };
        let samples = std::env::args().any(|argument| argument == "--samples");
        if !samples {
            println!("{rounds} rounds of {turns} operations, ns per operation, medians");
        }
        let compare = |name, title, contenders: Vec<Contender<'_>>| {
            let names: Vec<_> = contenders.iter().map(|(who, _)| *who).collect();
            let times = measure(rounds, turns, contenders);
            if samples {
                print_samples(name, &names, &times);
            } else {
                print_medians(title, &names, &times);
            }
        };

        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"x").unwrap();
        let fd = near.as_raw_fd();
        compare("wait", "wait, one fd ready", wait_ready(fd));
        compare(
            "wait-zero",
            "wait, one fd ready, without blocking",
            wait_zero(fd),
        );
        compare("add-remove", "add + remove, level", add_remove(fd));
        compare(
            "modify",
            "modify: a watcher of the other direction comes and goes",
            modify(fd),
        );
        compare("oneshot", "one-shot: arm + wait", oneshot(fd));
        compare("wake", "wake + wait", wake());
    }

    /// Nanoseconds per operation, by contender and round.
    fn measure(rounds: usize, turns: u32, mut contenders: Vec<Contender<'_>>) -> Vec<Vec<f64>> {
        let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
        for round in 0..=rounds {
            for ((_, work), times) in contenders.iter_mut().zip(&mut times) {
                let start = processor_time();
                work(turns);
                let elapsed = (processor_time() - start) / f64::from(turns);
                // The first round warms up.
                if round > 0 {
                    times.push(elapsed);
                }
            }
        }
        times
    }

    /// Nanoseconds of processor that this process has taken: nothing here waits for anything.
    fn processor_time() -> f64 {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` outlives the call.
        let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
        assert_eq!(result, 0);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    }

    fn print_medians(title: &str, names: &[&str], times: &[Vec<f64>]) {
        println!("{title}");
        for (name, times_of) in names.iter().zip(times) {
            let ratios = times_of
                .iter()
                .zip(&times[0])
                .map(|(time, ours)| time / ours);
            let ratio = median(ratios.collect());
            println!(
                "  {name:<14} {:>8.0}  {ratio:>5.2} of evio",
                median(times_of.clone())
            );
        }
    }

    fn print_samples(name: &str, names: &[&str], times: &[Vec<f64>]) {
        for (who, times) in names.iter().zip(times) {
            let who = if *who == "evio-reactor" { "ours" } else { who };
            for nanoseconds in times {
                println!("{name}\t{who}\t{nanoseconds:.3}");
            }
        }
    }

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    fn wait_ready(fd: RawFd) -> Vec<Contender<'static>> {
        waits(fd, Some(Duration::from_secs(1)), 1000)
    }

    fn wait_zero(fd: RawFd) -> Vec<Contender<'static>> {
        waits(fd, Some(Duration::ZERO), 0)
    }

    fn waits(fd: RawFd, timeout: Option<Duration>, milliseconds: i32) -> Vec<Contender<'static>> {
        let mut reactor = Reactor::new().unwrap();
        reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
        let mut ready = Vec::new();
        let polling = polling::Poller::new().unwrap();
        // SAFETY: the stream outlives the poller, and goes with it.
        unsafe {
            polling
                .add_with_mode(fd, polling::Event::readable(1), polling::PollMode::Level)
                .unwrap();
        }
        let mut polled = polling::Events::new();
        let mut mio = Mio::new();
        let epoll = Epoll::new();
        epoll.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN);
        vec![
            (
                "evio-reactor",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        ready.clear();
                        assert_eq!(reactor.wait(timeout, &mut ready).unwrap(), 1);
                        black_box(&ready);
                    }
                }),
            ),
            ("bare epoll", {
                Box::new(move |turns| {
                    for _ in 0..turns {
                        assert_eq!(epoll.wait(milliseconds), 1);
                    }
                })
            }),
            (
                "mio (edge)",
                Box::new(move |turns| {
                    // mio is edge-triggered: it is told again, or it would report nothing.
                    for _ in 0..turns {
                        mio.register(fd);
                        mio.wait(timeout);
                        mio.deregister(fd);
                    }
                }),
            ),
            (
                "polling",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        polled.clear();
                        assert_eq!(polling.wait(&mut polled, timeout).unwrap(), 1);
                    }
                }),
            ),
        ]
    }

    fn add_remove(fd: RawFd) -> Vec<Contender<'static>> {
        let mut reactor = Reactor::new().unwrap();
        let mut mio = Mio::new();
        let epoll = Epoll::new();
        vec![
            (
                "evio-reactor",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        let key = reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
                        reactor.remove(key);
                    }
                }),
            ),
            (
                "bare epoll",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        epoll.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN);
                        epoll.control(libc::EPOLL_CTL_DEL, fd, 0);
                    }
                }),
            ),
            (
                "mio",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        mio.register(fd);
                        mio.deregister(fd);
                    }
                }),
            ),
        ]
    }

    /// Two changes of what a registration waits for.
    fn modify(fd: RawFd) -> Vec<Contender<'static>> {
        let mut reactor = Reactor::new().unwrap();
        reactor.add(fd, Direction::Read, Mode::Level, ()).unwrap();
        let mut mio = Mio::new();
        mio.register(fd);
        let epoll = Epoll::new();
        epoll.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN);
        vec![
            (
                "evio-reactor",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        let key = reactor.add(fd, Direction::Write, Mode::Level, ()).unwrap();
                        reactor.remove(key);
                    }
                }),
            ),
            (
                "bare epoll",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        epoll.control(libc::EPOLL_CTL_MOD, fd, libc::EPOLLIN | libc::EPOLLOUT);
                        epoll.control(libc::EPOLL_CTL_MOD, fd, libc::EPOLLIN);
                    }
                }),
            ),
            (
                "mio (edge)",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        mio.reregister(fd, Interest::READABLE | Interest::WRITABLE);
                        mio.reregister(fd, Interest::READABLE);
                    }
                }),
            ),
        ]
    }

    fn oneshot(fd: RawFd) -> Vec<Contender<'static>> {
        let mut reactor = Reactor::new().unwrap();
        let key = reactor.add(fd, Direction::Read, Mode::Oneshot, ()).unwrap();
        let mut ready = Vec::new();
        let mut mio = Mio::new();
        mio.register(fd);
        let epoll = Epoll::new();
        epoll.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN);
        vec![
            (
                "evio-reactor",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        ready.clear();
                        reactor.arm(key).unwrap();
                        assert_eq!(reactor.wait(None, &mut ready).unwrap(), 1);
                    }
                }),
            ),
            (
                "bare epoll",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        let flags = libc::EPOLLIN | libc::EPOLLONESHOT;
                        epoll.control(libc::EPOLL_CTL_MOD, fd, flags);
                        assert_eq!(epoll.wait(-1), 1);
                    }
                }),
            ),
            (
                "mio (edge)",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        mio.reregister(fd, Interest::READABLE);
                        mio.wait(None);
                    }
                }),
            ),
        ]
    }

    fn wake() -> Vec<Contender<'static>> {
        let mut reactor = Reactor::<()>::new().unwrap();
        let waker = reactor.waker();
        let mut ready = Vec::new();
        let mut mio = Mio::new();
        let mio_waker = mio::Waker::new(mio.poll.registry(), Token(9)).unwrap();
        let polling = polling::Poller::new().unwrap();
        let mut polled = polling::Events::new();
        vec![
            (
                "evio-reactor",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        waker.wake();
                        reactor.wait(None, &mut ready).unwrap();
                    }
                }),
            ),
            (
                "mio (edge)",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        mio_waker.wake().unwrap();
                        mio.wait(None);
                    }
                }),
            ),
            (
                "polling",
                Box::new(move |turns| {
                    for _ in 0..turns {
                        polled.clear();
                        polling.notify().unwrap();
                        polling.wait(&mut polled, None).unwrap();
                    }
                }),
            ),
        ]
    }

    struct Mio {
        poll: Poll,
        events: Events,
    }

    impl Mio {
        fn new() -> Self {
            Mio {
                poll: Poll::new().unwrap(),
                events: Events::with_capacity(256),
            }
        }

        fn register(&mut self, fd: RawFd) {
            let source = &mut SourceFd(&fd);
            let registry = self.poll.registry();
            registry
                .register(source, Token(1), Interest::READABLE)
                .unwrap();
        }

        fn reregister(&mut self, fd: RawFd, interest: Interest) {
            let source = &mut SourceFd(&fd);
            let registry = self.poll.registry();
            registry.reregister(source, Token(1), interest).unwrap();
        }

        fn deregister(&mut self, fd: RawFd) {
            self.poll.registry().deregister(&mut SourceFd(&fd)).unwrap();
        }

        fn wait(&mut self, timeout: Option<Duration>) {
            self.poll.poll(&mut self.events, timeout).unwrap();
            assert_eq!(self.events.iter().count(), 1);
        }
    }

    struct Epoll {
        fd: OwnedFd,
    }

    impl Epoll {
        fn new() -> Self {
            // SAFETY: a new descriptor has no other owner; -1 is ruled out.
            let fd = unsafe {
                let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
                assert!(fd >= 0);
                OwnedFd::from_raw_fd(fd)
            };
            Epoll { fd }
        }

        fn control(&self, operation: i32, fd: RawFd, flags: i32) {
            let mut event = libc::epoll_event {
                events: flags as u32,
                u64: 1,
            };
            // SAFETY: `event` outlives the call.
            let result = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &mut event) };
            assert_eq!(result, 0);
        }

        fn wait(&self, milliseconds: i32) -> i32 {
            let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
            // SAFETY: the kernel writes at most as many events as there is room for.
            let count = unsafe {
                libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), 256, milliseconds)
            };
            black_box(&events);
            count
        }
    }
}
