//! Places for the model: descriptor numbers behind which files come and go.

use rustix::io::{Errno, read, write};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// What can be opened at a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Stream,
    PipeRead,
    PipeWrite,
    Regular,
}

/// What a file is ready for; `both` is a hang-up or an error.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Readiness {
    pub read: bool,
    pub write: bool,
    pub both: bool,
}

/// The file behind a number, and the test's own record of its state.
#[derive(Debug)]
struct Open {
    near: OwnedFd,
    kind: Kind,
    far: Option<OwnedFd>,
    buffered: bool,
    full: bool,
}

/// A descriptor number and what is open there.
#[derive(Debug)]
pub struct Place {
    pub fd: RawFd,
    open: Option<Open>,
}

impl Place {
    /// Takes the first free number from `lowest` on.
    pub fn new(lowest: RawFd) -> Self {
        let (stream, _) = UnixStream::pair().unwrap();
        let number = rustix::io::fcntl_dupfd_cloexec(stream, lowest).unwrap();
        let fd = number.as_raw_fd();
        drop(number);
        let mut place = Place { fd, open: None };
        place.reopen(Kind::Stream);
        place
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub fn is_regular(&self) -> bool {
        self.open.as_ref().is_some_and(|o| o.kind == Kind::Regular)
    }

    pub fn close(&mut self) {
        self.open = None;
    }

    /// Opens another file behind the same number, closing what was there.
    pub fn reopen(&mut self, kind: Kind) {
        self.close();
        let (near, far): (OwnedFd, Option<OwnedFd>) = match kind {
            Kind::Stream => {
                let (near, far) = UnixStream::pair().unwrap();
                (near.into(), Some(far.into()))
            }
            Kind::PipeRead => {
                let (read, write) = rustix::pipe::pipe().unwrap();
                (read, Some(write))
            }
            Kind::PipeWrite => {
                let (read, write) = rustix::pipe::pipe().unwrap();
                (write, Some(read))
            }
            Kind::Regular => (
                File::open(std::env::current_exe().unwrap()).unwrap().into(),
                None,
            ),
        };
        let near = rustix::io::fcntl_dupfd_cloexec(near, self.fd).unwrap();
        assert_eq!(
            near.as_raw_fd(),
            self.fd,
            "somebody took the place's number"
        );
        for fd in [Some(&near), far.as_ref()].into_iter().flatten() {
            rustix::io::ioctl_fionbio(fd, true).unwrap();
        }
        self.open = Some(Open {
            near,
            kind,
            far,
            buffered: false,
            full: false,
        });
    }

    pub fn readiness(&self) -> Readiness {
        let Some(open) = &self.open else {
            return Readiness::default();
        };
        let both = open.far.is_none();
        match open.kind {
            Kind::Stream => Readiness {
                read: open.buffered,
                write: !open.full,
                both,
            },
            Kind::PipeRead => Readiness {
                read: open.buffered,
                write: false,
                both,
            },
            Kind::PipeWrite => Readiness {
                read: false,
                write: !open.full,
                both,
            },
            Kind::Regular => Readiness {
                read: true,
                write: true,
                both: true,
            },
        }
    }

    /// The far end writes a byte.
    pub fn feed(&mut self) {
        if let Some(open) = &mut self.open {
            if let (Kind::Stream | Kind::PipeRead, Some(far)) = (open.kind, &open.far) {
                match write(far, b"x") {
                    Ok(_) => open.buffered = true,
                    Err(Errno::AGAIN) => assert!(open.buffered),
                    Err(error) => panic!("feeding failed: {error}"),
                }
            }
        }
    }

    /// The near end reads all there is.
    pub fn consume(&mut self) {
        if let Some(open) = &mut self.open {
            if let Kind::Stream | Kind::PipeRead = open.kind {
                empty(&open.near);
                open.buffered = false;
            }
        }
    }

    /// The near end writes until no more fits.
    pub fn fill(&mut self) {
        if let Some(open) = &mut self.open {
            if let (Kind::Stream | Kind::PipeWrite, Some(_)) = (open.kind, &open.far) {
                while write(&open.near, &[0; 16384]).is_ok() {}
                open.full = true;
            }
        }
    }

    /// The far end reads all there is.
    pub fn relieve(&mut self) {
        if let Some(open) = &mut self.open {
            if let (Kind::Stream | Kind::PipeWrite, Some(far)) = (open.kind, &open.far) {
                empty(far);
                open.full = false;
            }
        }
    }

    /// The far end is closed.
    pub fn hang_up(&mut self) {
        if let Some(open) = &mut self.open {
            open.far = None;
        }
    }
}

fn empty(fd: &OwnedFd) {
    let mut scratch = vec![0; 1 << 16];
    while matches!(read(fd, &mut scratch), Ok(1..)) {}
}
