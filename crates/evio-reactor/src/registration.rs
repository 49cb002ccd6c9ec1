//! One poller registration per descriptor: the union of what its watchers want.
//!
//! The rules, all of them kept in this file:
//! * The kernel's state is believed to be [`Kernel`]; a change of the watchers
//!   costs a system call only if it changes the union.
//! * *Attaching* (a watcher is added or armed) always asks the kernel, because
//!   the number may mean another file by now. `ENOENT` on a change means that
//!   it does, so the file is added; `EEXIST` on adding means that it is there
//!   after all, so it is changed.
//! * *Settling* (a watcher is removed, disarmed or has fired) never adds. If
//!   the file is gone, the watchers left on the number stay silent until one of
//!   them is armed or another one is added.
//! * Every adding and changing takes a fresh generation, and an event of another
//!   generation is dropped: its file is gone, or the kernel has looked at it anew
//!   and reports it again. So what an event says of the kernel's state is true.
//! * A file that cannot be polled is always ready. While one of its watchers is
//!   armed, a *beacon* that is always readable stands in for it in the poller.

use crate::sys::{Interest, Poller};
use crate::{Direction, Error, Mode};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The poller key of the wake source.
pub(crate) const WAKE: usize = usize::MAX - 1;
/// The poller key of the beacon.
pub(crate) const BEACON: usize = usize::MAX - 2;

/// How much of a poller key is the registration's place; the rest is its
/// generation. No process has 2^24 descriptors in a 32-bit address space.
const SLOT_BITS: u32 = if usize::BITS >= 64 { 32 } else { 24 };
const GENERATION_MASK: usize = usize::MAX >> SLOT_BITS;

/// What the kernel is believed to hold of a descriptor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kernel {
    /// Nothing.
    Absent,
    /// A one-shot registration that has fired and was not renewed.
    Spent,
    /// This registration.
    Live(Interest),
    /// Nothing, because the file cannot be polled.
    Unpollable,
}

/// All watchers of one descriptor number.
#[derive(Debug)]
pub(crate) struct Registration {
    fd: RawFd,
    generation: usize,
    kernel: Kernel,
    /// How many watchers are armed, by direction and mode.
    armed: [[u32; 2]; 2],
    /// The watchers' indices, in order of addition.
    pub(crate) watchers: Vec<usize>,
}

impl Registration {
    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    /// Whether the file cannot be polled, and so is always ready.
    pub(crate) fn is_unpollable(&self) -> bool {
        self.kernel == Kernel::Unpollable
    }

    pub(crate) fn count_armed(&mut self, direction: Direction, mode: Mode) {
        self.armed[direction as usize][mode as usize] += 1;
    }

    pub(crate) fn count_disarmed(&mut self, direction: Direction, mode: Mode) {
        self.armed[direction as usize][mode as usize] -= 1;
    }

    /// Counts one-shots as disarmed, by direction.
    pub(crate) fn count_spent(&mut self, [read, write]: [u32; 2]) {
        self.armed[Direction::Read as usize][Mode::Oneshot as usize] -= read;
        self.armed[Direction::Write as usize][Mode::Oneshot as usize] -= write;
    }

    /// Notes that an event has been delivered.
    pub(crate) fn fired(&mut self) {
        if let Kernel::Live(Interest { oneshot: true, .. }) = self.kernel {
            self.kernel = Kernel::Spent;
        }
    }

    /// The union of what the armed watchers want.
    fn wanted(&self) -> Option<Interest> {
        let [read, write] = self.armed;
        let interest = Interest {
            read: read != [0, 0],
            write: write != [0, 0],
            oneshot: read[Mode::Level as usize] == 0 && write[Mode::Level as usize] == 0,
        };
        (interest.read || interest.write).then_some(interest)
    }
}

/// The registrations of one poller.
#[derive(Debug)]
pub(crate) struct Registry {
    poller: Arc<Poller>,
    /// One for every number ever seen: a number comes back soon, and its
    /// place, once made, costs nothing.
    registrations: Vec<Registration>,
    /// The place of a number plus one, or zero.
    slots: Vec<u32>,
    generation: usize,
    unpollable: Vec<usize>,
    beacon: Option<UnixStream>,
    beacon_lit: bool,
}

impl Registry {
    pub(crate) fn new(poller: Arc<Poller>) -> Self {
        Registry {
            poller,
            registrations: Vec::new(),
            slots: Vec::new(),
            generation: 0,
            unpollable: Vec::new(),
            beacon: None,
            beacon_lit: false,
        }
    }

    pub(crate) fn get(&self, slot: usize) -> &Registration {
        &self.registrations[slot]
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> &mut Registration {
        &mut self.registrations[slot]
    }

    pub(crate) fn len(&self) -> usize {
        self.registrations.len()
    }

    /// The always ready ones.
    pub(crate) fn unpollable(&self) -> &[usize] {
        &self.unpollable
    }

    pub(crate) fn find(&self, fd: RawFd) -> Option<usize> {
        let place = *self.slots.get(usize::try_from(fd).ok()?)?;
        (place as usize).checked_sub(1)
    }

    /// The place of `fd`, made if need be; none for a negative number.
    pub(crate) fn find_or_make(&mut self, fd: RawFd) -> Option<usize> {
        let number = usize::try_from(fd).ok()?;
        if let Some(slot) = self.find(fd) {
            return Some(slot);
        }
        let slot = self.registrations.len();
        self.registrations.push(Registration {
            fd,
            generation: 0,
            kernel: Kernel::Absent,
            armed: [[0; 2]; 2],
            watchers: Vec::new(),
        });
        if self.slots.len() <= number {
            self.slots.resize(number + 1, 0);
        }
        self.slots[number] = slot as u32 + 1;
        Some(slot)
    }

    /// The registration that an event means, unless it has changed since.
    pub(crate) fn find_event(&self, key: usize) -> Option<usize> {
        let slot = key & !(GENERATION_MASK << SLOT_BITS);
        let registration = self.registrations.get(slot)?;
        let live = matches!(registration.kernel, Kernel::Live(_) | Kernel::Spent);
        (live && registration.generation == key >> SLOT_BITS).then_some(slot)
    }

    /// Brings the kernel up to what the watchers want, after one was armed.
    pub(crate) fn attach(&mut self, slot: usize) -> Result<(), Error> {
        let registration = &self.registrations[slot];
        let Some(wanted) = registration.wanted() else {
            return Ok(());
        };
        let fd = registration.fd;
        let result = match registration.kernel {
            Kernel::Live(_) | Kernel::Spent => match self.modify(slot, wanted) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.believe(slot, Kernel::Absent);
                    self.add(slot, wanted)
                }
                other => other,
            },
            Kernel::Absent | Kernel::Unpollable => match self.add(slot, wanted) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.modify(slot, wanted)
                }
                other => other,
            },
        };
        let Err(error) = result else {
            self.believe(slot, Kernel::Live(wanted));
            return Ok(());
        };
        match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::PERM) => {
                self.believe(slot, Kernel::Unpollable);
                return self.update_beacon();
            }
            Some(rustix::io::Errno::BADF | rustix::io::Errno::NOENT) => {
                self.believe(slot, Kernel::Absent);
            }
            _ => {}
        }
        Err(Error::of_descriptor(fd, error))
    }

    /// Brings the kernel down to what the watchers still want.
    pub(crate) fn settle(&mut self, slot: usize) {
        let registration = &self.registrations[slot];
        let next = match (registration.kernel, registration.wanted()) {
            (Kernel::Live(_), None) => {
                // It may be gone already: that is what was wanted.
                let _ = self.poller.delete(registration.fd);
                Kernel::Absent
            }
            (Kernel::Live(current), Some(wanted)) if current == wanted => return,
            (Kernel::Live(_) | Kernel::Spent, Some(wanted)) => match self.modify(slot, wanted) {
                Ok(()) => Kernel::Live(wanted),
                Err(_) => Kernel::Absent,
            },
            (Kernel::Unpollable, _) => {
                // A beacon that cannot be put out costs turns, not events, and
                // nothing but putting it out can happen here.
                let _ = self.update_beacon();
                return;
            }
            (Kernel::Spent, None) | (Kernel::Absent, _) => return,
        };
        self.believe(slot, next);
    }

    /// Registers all that is armed anew, on a poller that has been replaced.
    pub(crate) fn attach_all(&mut self) -> Result<(), Error> {
        self.beacon_lit = false;
        self.unpollable.clear();
        for registration in &mut self.registrations {
            registration.kernel = Kernel::Absent;
        }
        let mut result = Ok(());
        for slot in 0..self.registrations.len() {
            match self.attach(slot) {
                Ok(()) | Err(Error::BadDescriptor { .. }) => {}
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    fn believe(&mut self, slot: usize, kernel: Kernel) {
        let before = std::mem::replace(&mut self.registrations[slot].kernel, kernel);
        if (before == Kernel::Unpollable) != (kernel == Kernel::Unpollable) {
            self.unpollable.retain(|&other| other != slot);
            if kernel == Kernel::Unpollable {
                self.unpollable.push(slot);
            } else {
                // As in `settle`: this can only put it out.
                let _ = self.update_beacon();
            }
        }
    }

    fn add(&mut self, slot: usize, interest: Interest) -> io::Result<()> {
        let (fd, generation) = self.next(slot);
        self.poller.add(fd, key(slot, generation), interest)?;
        self.registrations[slot].generation = generation;
        Ok(())
    }

    fn modify(&mut self, slot: usize, interest: Interest) -> io::Result<()> {
        let (fd, generation) = self.next(slot);
        self.poller.modify(fd, key(slot, generation), interest)?;
        self.registrations[slot].generation = generation;
        Ok(())
    }

    fn next(&mut self, slot: usize) -> (RawFd, usize) {
        self.generation = self.generation.wrapping_add(1) & GENERATION_MASK;
        (self.registrations[slot].fd, self.generation)
    }

    /// Lights the beacon exactly while an always ready watcher is armed.
    fn update_beacon(&mut self) -> Result<(), Error> {
        let wanted = self
            .unpollable
            .iter()
            .any(|&slot| self.registrations[slot].wanted().is_some());
        if wanted == self.beacon_lit {
            return Ok(());
        }
        let beacon = match self.beacon.take() {
            Some(beacon) => beacon,
            // The other end is closed at once: this end is readable for ever.
            None => UnixStream::pair().map_err(Error::of_poller)?.0,
        };
        let beacon = self.beacon.insert(beacon);
        let result = if wanted {
            self.poller.add(beacon.as_raw_fd(), BEACON, Interest::READ)
        } else {
            self.poller.delete(beacon.as_raw_fd())
        };
        result.map_err(Error::of_poller)?;
        self.beacon_lit = wanted;
        Ok(())
    }
}

fn key(slot: usize, generation: usize) -> usize {
    generation << SLOT_BITS | slot
}
