//! The system calls: a poller addressed by raw descriptor numbers, and the
//! only `unsafe` of this crate.
//!
//! The rest of the crate sees a safe [`Poller`]. A number that is closed or
//! means another file by now is the kernel's to judge, and its verdict is an
//! ordinary error; nothing here reads or writes through a watched descriptor.

#[cfg(target_os = "linux")]
pub(crate) use self::linux::Events;
#[cfg(target_os = "linux")]
use self::linux::Queue;
#[cfg(not(target_os = "linux"))]
pub(crate) use self::portable::Events;
#[cfg(not(target_os = "linux"))]
use self::portable::Queue;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// The directions and the mode in which one descriptor is polled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) oneshot: bool,
}

impl Interest {
    /// Polled for readability, level-triggered.
    pub(crate) const READ: Interest = Interest {
        read: true,
        write: false,
        oneshot: false,
    };
}

/// One descriptor of which the poller has news.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Event {
    pub(crate) key: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// A poller whose registrations are addressed by descriptor numbers.
#[derive(Debug)]
pub(crate) struct Poller {
    queue: Queue,
    #[cfg(target_os = "linux")]
    wait: linux::Wait,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Poller {
            queue: Queue::new()?,
            #[cfg(target_os = "linux")]
            wait: linux::Wait::default(),
        })
    }

    pub(crate) fn add(&self, fd: RawFd, key: usize, interest: Interest) -> io::Result<()> {
        self.queue.add(checked(fd)?, key, interest)
    }

    pub(crate) fn modify(&self, fd: RawFd, key: usize, interest: Interest) -> io::Result<()> {
        self.queue.modify(checked(fd)?, key, interest)
    }

    pub(crate) fn delete(&self, fd: RawFd) -> io::Result<()> {
        self.queue.delete(checked(fd)?)
    }

    /// Waits once and fills `events`; an interrupted wait brings none.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        return self.wait.run(self.queue.as_fd(), events, timeout);
        #[cfg(not(target_os = "linux"))]
        return events.wait(&self.queue, timeout);
    }

    /// Puts a fresh, empty queue behind the same descriptor number.
    ///
    /// The `Queue` stays, and its number gets a new file: a forked child may
    /// share the old one with its parent, from which a `polling::Poller` that
    /// is dropped, elsewhere than on Linux, would deregister its notifier. That
    /// is not missed, because this crate brings its own wake source.
    pub(crate) fn replace(&self) -> io::Result<()> {
        let fresh = Queue::new()?;
        #[cfg(target_os = "linux")]
        return overwrite(&self.queue, fresh.into());
        #[cfg(not(target_os = "linux"))]
        {
            if fresh.as_fd().as_raw_fd() == self.as_raw_fd() {
                // A kqueue does not survive a fork, so its number was free and
                // the fresh one got it: it has one owner too many.
                std::mem::forget(fresh);
                return Ok(());
            }
            let copy = fresh.as_fd().try_clone_to_owned()?;
            overwrite(&self.queue, copy)
        }
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.queue.as_fd().as_raw_fd()
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

/// A number as what the calls take that only hand it to the kernel.
fn checked<'a>(fd: RawFd) -> io::Result<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(rustix::io::Errno::BADF.into());
    }
    // SAFETY: -1 is ruled out. The number goes to the kernel and nowhere else, in a call that ends before
    // anybody else has a turn; the kernel says if it is not open.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Makes the number of `target` mean the file of `fresh`, atomically.
pub(crate) fn overwrite(target: &impl AsFd, fresh: OwnedFd) -> io::Result<()> {
    let number = target.as_fd().as_raw_fd();
    // SAFETY: `target` is borrowed, so its number stays open and owned
    // throughout; `ManuallyDrop` keeps this second owner from closing it.
    let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    #[cfg(target_os = "linux")]
    rustix::io::dup3(&fresh, &mut place, rustix::io::DupFlags::CLOEXEC)?;
    #[cfg(not(target_os = "linux"))]
    {
        rustix::io::dup2(&fresh, &mut place)?;
        rustix::io::fcntl_setfd(&*place, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(())
}

/// Bare epoll, and the wait in one system call.
///
/// A `polling::Poller` has a notifier and a timer of its own, which take eight
/// system calls to make and to close.
#[cfg(target_os = "linux")]
mod linux {
    use super::{Event, Interest};
    use rustix::event::epoll::{self, EventFlags};
    use std::fmt;
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    const READABLE: u32 = (libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLHUP | libc::EPOLLERR) as u32;
    const WRITABLE: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32;

    /// What is polled. The kernel forgets a file when its last descriptor is
    /// closed, and keeps no pointer into this process.
    #[derive(Debug)]
    pub(super) struct Queue {
        epoll: OwnedFd,
    }

    impl Queue {
        pub(super) fn new() -> io::Result<Self> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            Ok(Queue { epoll })
        }

        pub(super) fn add(&self, fd: BorrowedFd<'_>, key: usize, of: Interest) -> io::Result<()> {
            Ok(epoll::add(&self.epoll, fd, data(key), flags(of))?)
        }

        pub(super) fn modify(
            &self,
            fd: BorrowedFd<'_>,
            key: usize,
            of: Interest,
        ) -> io::Result<()> {
            Ok(epoll::modify(&self.epoll, fd, data(key), flags(of))?)
        }

        pub(super) fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
            Ok(epoll::delete(&self.epoll, fd)?)
        }
    }

    impl AsFd for Queue {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.epoll.as_fd()
        }
    }

    impl From<Queue> for OwnedFd {
        fn from(queue: Queue) -> OwnedFd {
            queue.epoll
        }
    }

    fn data(key: usize) -> epoll::EventData {
        epoll::EventData::new_u64(key as u64)
    }

    fn flags(interest: Interest) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN | EventFlags::PRI, interest.read);
        flags.set(EventFlags::OUT, interest.write);
        flags.set(EventFlags::ONESHOT, interest.oneshot);
        flags
    }

    /// Room for what a wait brings; it doubles when a wait fills it.
    pub(crate) struct Events {
        list: Vec<libc::epoll_event>,
    }

    impl Events {
        pub(crate) fn with_capacity(capacity: usize) -> Self {
            Events {
                list: Vec::with_capacity(capacity.max(1)),
            }
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = Event> + '_ {
            self.list.iter().map(|raw| {
                let (flags, key) = (raw.events, raw.u64);
                Event {
                    key: key as usize,
                    readable: flags & READABLE != 0,
                    writable: flags & WRITABLE != 0,
                }
            })
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.list.is_empty()
        }

        /// Forgets the events, and makes more room if there was none left.
        pub(crate) fn clear(&mut self) {
            let filled = self.list.len() == self.list.capacity();
            self.list.clear();
            if filled {
                self.list.reserve(self.list.capacity() * 2);
            }
        }
    }

    impl fmt::Debug for Events {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_list().entries(self.iter()).finish()
        }
    }

    /// How to wait: to the nanosecond, or to the millisecond where the kernel
    /// has no `epoll_pwait2` or a sandbox refuses it.
    #[derive(Debug, Default)]
    pub(crate) struct Wait {
        pub(super) coarse: AtomicBool,
    }

    impl Wait {
        pub(super) fn run(
            &self,
            epoll: BorrowedFd<'_>,
            events: &mut Events,
            timeout: Option<Duration>,
        ) -> io::Result<()> {
            events.clear();
            let mut result = Err(libc::ENOSYS);
            if !self.coarse.load(Ordering::Relaxed) {
                result = epoll_pwait2(epoll, events, timeout);
            }
            if let Err(libc::ENOSYS | libc::EPERM) = result {
                self.coarse.store(true, Ordering::Relaxed);
                result = epoll_wait(epoll, events, timeout);
            }
            match result {
                Ok(()) | Err(libc::EINTR) => Ok(()),
                Err(errno) => Err(io::Error::from_raw_os_error(errno)),
            }
        }
    }

    /// The kernel's own timespec, 64-bit on every architecture.
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: i64,
    }

    fn epoll_pwait2(
        epoll: BorrowedFd<'_>,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> Result<(), i32> {
        let timeout = timeout.map(|timeout| Timespec {
            seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(timeout.subsec_nanos()),
        });
        let timeout: *const Timespec = timeout.as_ref().map_or(std::ptr::null(), |t| t);
        let room = libc::c_int::try_from(events.list.capacity()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the kernel writes at most `room` events into the vector's
        // allocation and reads `timeout`, which lives until the call returns;
        // the absent signal mask is a null pointer of the size it demands.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                epoll.as_raw_fd(),
                events.list.as_mut_ptr(),
                room,
                timeout,
                std::ptr::null::<libc::sigset_t>(),
                8_usize,
            )
        };
        let count = usize::try_from(count).map_err(|_| errno())?;
        // SAFETY: the kernel has just written `count` events, `room` at most.
        unsafe { events.list.set_len(count) };
        Ok(())
    }

    fn epoll_wait(
        epoll: BorrowedFd<'_>,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> Result<(), i32> {
        let timeout = timeout.map_or(-1, milliseconds);
        let room = libc::c_int::try_from(events.list.capacity()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the kernel writes at most `room` events into the vector's
        // allocation.
        let count =
            unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.list.as_mut_ptr(), room, timeout) };
        let count = usize::try_from(count).map_err(|_| errno())?;
        // SAFETY: the kernel has just written `count` events, `room` at most.
        unsafe { events.list.set_len(count) };
        Ok(())
    }

    /// Rounds up, so that no wait ends early; 24 days are the most a wait takes.
    pub(super) fn milliseconds(timeout: Duration) -> libc::c_int {
        libc::c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
    }

    fn errno() -> i32 {
        io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }
}

/// The wait of `polling`, where there is no epoll (and in tests).
#[cfg(any(test, not(target_os = "linux")))]
mod portable {
    use super::{Event, Interest};
    use std::fmt;
    use std::io;
    use std::num::NonZeroUsize;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
    use std::time::Duration;

    /// What is polled.
    #[derive(Debug)]
    pub(super) struct Queue {
        poller: polling::Poller,
    }

    impl Queue {
        pub(super) fn new() -> io::Result<Self> {
            let poller = polling::Poller::new()?;
            Ok(Queue { poller })
        }

        pub(super) fn add(&self, fd: BorrowedFd<'_>, key: usize, of: Interest) -> io::Result<()> {
            // SAFETY: the number goes to the kernel and nowhere else, which
            // forgets a file when its last descriptor is closed, and keeps no
            // pointer into this process.
            unsafe {
                self.poller
                    .add_with_mode(fd.as_raw_fd(), event(key, of), mode(of))
            }
        }

        #[cfg(not(target_os = "linux"))]
        pub(super) fn modify(
            &self,
            fd: BorrowedFd<'_>,
            key: usize,
            of: Interest,
        ) -> io::Result<()> {
            self.poller.modify_with_mode(fd, event(key, of), mode(of))
        }

        #[cfg(not(target_os = "linux"))]
        pub(super) fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
            self.poller.delete(fd)
        }
    }

    impl AsFd for Queue {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.poller.as_fd()
        }
    }

    fn event(key: usize, of: Interest) -> polling::Event {
        polling::Event::new(key, of.read, of.write)
    }

    fn mode(of: Interest) -> polling::PollMode {
        if of.oneshot {
            polling::PollMode::Oneshot
        } else {
            polling::PollMode::Level
        }
    }

    /// Room for what a wait brings; it doubles when a wait fills it.
    pub(crate) struct Events {
        raw: polling::Events,
        list: Vec<Event>,
    }

    impl Events {
        pub(crate) fn with_capacity(capacity: usize) -> Self {
            let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
            Events {
                raw: polling::Events::with_capacity(capacity),
                list: Vec::new(),
            }
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = Event> + '_ {
            self.list.iter().copied()
        }

        #[cfg(not(target_os = "linux"))]
        pub(crate) fn is_empty(&self) -> bool {
            self.list.is_empty()
        }

        #[cfg(not(target_os = "linux"))]
        pub(crate) fn clear(&mut self) {
            self.list.clear();
        }

        pub(super) fn wait(&mut self, queue: &Queue, timeout: Option<Duration>) -> io::Result<()> {
            let capacity = self.raw.capacity();
            if self.raw.len() == capacity.get() {
                self.raw = polling::Events::with_capacity(capacity.saturating_add(capacity.get()));
            }
            self.raw.clear();
            self.list.clear();
            queue.poller.wait(&mut self.raw, timeout)?;
            self.list.extend(self.raw.iter().map(|event| Event {
                key: event.key,
                readable: event.readable,
                writable: event.writable,
            }));
            // A kqueue reports the two directions of a descriptor apart.
            self.list.sort_by_key(|event| event.key);
            self.list.dedup_by(|later, first| {
                let same = later.key == first.key;
                if same {
                    first.readable |= later.readable;
                    first.writable |= later.writable;
                }
                same
            });
            Ok(())
        }
    }

    impl fmt::Debug for Events {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_list().entries(self.iter()).finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    fn readable_stream() -> (UnixStream, UnixStream) {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"x").unwrap();
        (near, far)
    }

    #[test]
    fn portable_wait_brings_every_event_of_a_full_buffer_in_the_end() {
        let queue = portable::Queue::new().unwrap();
        let streams: Vec<_> = (0..5).map(|_| readable_stream()).collect();
        for (key, (_, far)) in streams.iter().enumerate() {
            let oneshot = Interest {
                oneshot: true,
                ..Interest::READ
            };
            queue.add(far.as_fd(), key, oneshot).unwrap();
        }
        let mut events = portable::Events::with_capacity(2);
        let mut seen = Vec::new();
        for _ in 0..3 {
            events.wait(&queue, Some(Duration::ZERO)).unwrap();
            seen.extend(events.iter().map(|event| event.key));
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn portable_wait_keeps_its_timeout() {
        let queue = portable::Queue::new().unwrap();
        let mut events = portable::Events::with_capacity(2);
        let start = Instant::now();
        events
            .wait(&queue, Some(Duration::from_micros(1500)))
            .unwrap();
        assert!(start.elapsed() >= Duration::from_micros(1500));
        assert_eq!(events.iter().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn coarse_wait_rounds_up_and_never_overflows() {
        assert_eq!(linux::milliseconds(Duration::ZERO), 0);
        assert_eq!(linux::milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(linux::milliseconds(Duration::from_micros(1001)), 2);
        assert_eq!(linux::milliseconds(Duration::MAX), i32::MAX);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn coarse_wait_brings_the_same_events() {
        let poller = Poller::new().unwrap();
        let (_near, far) = readable_stream();
        poller.add(far.as_raw_fd(), 7, Interest::READ).unwrap();
        let mut fine = Events::with_capacity(4);
        poller.wait(&mut fine, Some(Duration::ZERO)).unwrap();
        poller
            .wait
            .coarse
            .store(true, std::sync::atomic::Ordering::Relaxed);
        let mut coarse = Events::with_capacity(4);
        poller.wait(&mut coarse, None).unwrap();
        assert_eq!(
            fine.iter().collect::<Vec<_>>(),
            coarse.iter().collect::<Vec<_>>()
        );
        assert_eq!(fine.iter().map(|event| event.key).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn a_negative_number_is_a_bad_descriptor() {
        let poller = Poller::new().unwrap();
        for result in [
            poller.add(-1, 0, Interest::READ),
            poller.modify(-1, 0, Interest::READ),
            poller.delete(-1),
        ] {
            let errno = rustix::io::Errno::BADF.raw_os_error();
            assert_eq!(result.unwrap_err().raw_os_error(), Some(errno));
        }
    }
}
