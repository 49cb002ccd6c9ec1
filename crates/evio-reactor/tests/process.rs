//! What takes a process of its own: forks, signals, and a sandbox that refuses system calls.
//!
//! No test harness: its threads and a fork do not go together.

use evio_reactor::{Direction, Key, Mode, Reactor};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);

fn main() {
    let tests: &[(&str, fn())] = &[
        (
            "parent_and_child_get_their_own_events_after_a_rebuild",
            parent_and_child,
        ),
        ("a_child_of_a_child_rebuilds_too", grandchild),
        (
            "a_child_that_drops_the_reactor_leaves_the_parent_alone",
            dropping_child,
        ),
        (
            "a_wake_pending_at_the_fork_is_delivered_to_both",
            pending_wake,
        ),
        ("rebuilding_leaks_no_descriptor", no_leak),
        ("a_signal_ends_a_wait_with_nothing_ready", signal),
        #[cfg(target_os = "linux")]
        (
            "a_sandbox_without_epoll_pwait2_is_waited_in_all_the_same",
            sandbox,
        ),
    ];
    // Options of the usual harness that this one has no use for begin with a dash.
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    for &(name, test) in tests {
        if filter
            .as_ref()
            .is_none_or(|filter| name.contains(filter.as_str()))
        {
            // In a child, so that what one test does to its process is over with it.
            assert!(in_child(test), "test {name} ... FAILED");
            println!("test {name} ... ok");
        }
    }
}

/// Whether `work` ends without a panic in a forked child.
fn in_child(work: impl FnOnce()) -> bool {
    join(spawn(work))
}

fn spawn(work: impl FnOnce()) -> libc::pid_t {
    // SAFETY: this process has one thread wherever it forks, so the child may do anything.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "cannot fork");
    if pid == 0 {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // SAFETY: ends the child at once; what its parent's frames own is not its to drop.
        unsafe { libc::_exit(i32::from(outcome.is_err())) };
    }
    pid
}

fn join(pid: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    waited == pid && status == 0
}

fn wait(reactor: &mut Reactor<char>, timeout: Duration) -> Vec<char> {
    let mut ready: Vec<Key> = Vec::new();
    reactor.wait(Some(timeout), &mut ready).unwrap();
    ready
        .iter()
        .map(|&key| *reactor.get(key).unwrap())
        .collect()
}

fn add_reader(reactor: &mut Reactor<char>, stream: &UnixStream, name: char) -> Key {
    reactor
        .add(stream.as_raw_fd(), Direction::Read, Mode::Level, name)
        .unwrap()
}

fn parent_and_child() {
    let (shared, mut shared_far) = UnixStream::pair().unwrap();
    let (mut signal, mut signal_far) = UnixStream::pair().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let number = reactor.raw_fd();
    let key = add_reader(&mut reactor, &shared, 's');
    let waker = reactor.waker();
    let mut held = Some(reactor);

    let child = spawn(|| {
        let mut reactor = held.take().unwrap();
        reactor.rebuild().unwrap();
        assert_eq!(reactor.raw_fd(), number);
        // What the child removes and adds is nobody else's business.
        reactor.remove(key);
        let (own, mut own_far) = UnixStream::pair().unwrap();
        add_reader(&mut reactor, &own, 'c');
        own_far.write_all(b"x").unwrap();
        assert_eq!(wait(&mut reactor, SOON), ['c']);
        reactor.drain();
        waker.wake();
        let start = Instant::now();
        assert_eq!(wait(&mut reactor, SOON), []);
        assert!(
            start.elapsed() < SOON,
            "an old waker does not wake the child"
        );
        drop(reactor);
        signal_far.write_all(b"x").unwrap();
    });
    signal.read_exact(&mut [0]).unwrap();
    assert!(join(child));

    let mut reactor = held.unwrap();
    let quiet = Duration::from_millis(20);
    let start = Instant::now();
    assert_eq!(wait(&mut reactor, quiet), []);
    assert!(start.elapsed() >= quiet, "the child's wake woke the parent");
    shared_far.write_all(b"x").unwrap();
    assert_eq!(wait(&mut reactor, SOON), ['s']);
    reactor.remove(key);
    waker.wake();
    let start = Instant::now();
    assert_eq!(wait(&mut reactor, SOON), []);
    assert!(start.elapsed() < SOON, "the parent has gone deaf");
}

fn grandchild() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut reactor = Reactor::new().unwrap();
    add_reader(&mut reactor, &near, 'n');
    far.write_all(b"x").unwrap();
    assert!(in_child(|| {
        reactor.rebuild().unwrap();
        assert!(in_child(|| {
            reactor.rebuild().unwrap();
            assert_eq!(wait(&mut reactor, SOON), ['n']);
            reactor.drain();
        }));
        assert_eq!(wait(&mut reactor, SOON), ['n']);
        reactor.drain();
    }));
    assert_eq!(wait(&mut reactor, SOON), ['n']);
}

fn dropping_child() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut reactor = Reactor::new().unwrap();
    add_reader(&mut reactor, &near, 'n');
    let mut held = Some(reactor);
    let child = spawn(|| drop(held.take()));
    assert!(join(child));
    let mut reactor = held.unwrap();
    reactor.waker().wake();
    let start = Instant::now();
    assert_eq!(wait(&mut reactor, SOON), []);
    assert!(start.elapsed() < SOON, "the parent has gone deaf to wakes");
    far.write_all(b"x").unwrap();
    assert_eq!(wait(&mut reactor, SOON), ['n']);
}

fn pending_wake() {
    let mut reactor = Reactor::<char>::new().unwrap();
    reactor.waker().wake();
    let returns_at_once = |reactor: &mut Reactor<char>| {
        let start = Instant::now();
        assert_eq!(wait(reactor, SOON), []);
        assert!(start.elapsed() < SOON, "the wake was lost");
    };
    assert!(in_child(|| {
        reactor.rebuild().unwrap();
        returns_at_once(&mut reactor);
        reactor.waker().wake();
        returns_at_once(&mut reactor);
    }));
    returns_at_once(&mut reactor);
}

fn no_leak() {
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let mut reactor = Reactor::new().unwrap();
    reactor
        .add(file.as_raw_fd(), Direction::Read, Mode::Level, 'f')
        .unwrap();
    let lowest_free = || file.try_clone().unwrap().as_raw_fd();
    let before = lowest_free();
    for _ in 0..10 {
        reactor.rebuild().unwrap();
        assert_eq!(wait(&mut reactor, Duration::MAX), ['f']);
    }
    assert_eq!(lowest_free(), before);
}

extern "C" fn ignore(_: libc::c_int) {}

fn signal() {
    // SAFETY: an all-zero sigaction is valid, and `ignore` does nothing that a handler must not do.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as *const () as usize;
        assert_eq!(
            libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()),
            0
        );
    }
    let (near, _far) = UnixStream::pair().unwrap();
    let mut reactor = Reactor::new().unwrap();
    add_reader(&mut reactor, &near, 'n');
    let start = Instant::now();
    // SAFETY: sets a timer, which needs nothing to hold.
    unsafe { libc::alarm(1) };
    assert_eq!(wait(&mut reactor, SOON), []);
    assert!(start.elapsed() < SOON, "the wait slept through the signal");
}

/// Makes every `epoll_pwait2` of this process fail with `errno` from now on.
#[cfg(target_os = "linux")]
fn refuse_epoll_pwait2(errno: i32) {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let unless_equal_skip = |k: u32| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: 1,
        k,
    };
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        unless_equal_skip(libc::SYS_epoll_pwait2 as u32),
        statement(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | errno as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which lives until the call returns.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program),
            0
        );
    }
}

#[cfg(target_os = "linux")]
fn sandbox() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        assert!(in_child(|| {
            let (near, mut far) = UnixStream::pair().unwrap();
            let mut reactor = Reactor::new().unwrap();
            add_reader(&mut reactor, &near, 'n');
            refuse_epoll_pwait2(errno);
            let timeout = Duration::from_micros(1_500);
            let start = Instant::now();
            assert_eq!(wait(&mut reactor, timeout), []);
            assert!(start.elapsed() >= timeout);
            reactor.waker().wake();
            assert_eq!(wait(&mut reactor, Duration::MAX), []);
            far.write_all(b"x").unwrap();
            assert_eq!(wait(&mut reactor, Duration::MAX), ['n']);
        }));
    }
}
