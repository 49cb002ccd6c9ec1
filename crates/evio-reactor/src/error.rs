//! What can go wrong, one sentence a variant.

use std::fmt;
use std::io;
use std::os::fd::RawFd;

/// Why a [`Reactor`](crate::Reactor) refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The number is not an open file descriptor (`EBADF`).
    #[error(
        "file descriptor {fd} is not open: add it while it is open, remove it before it is closed"
    )]
    BadDescriptor {
        /// The number that was given.
        fd: RawFd,
    },
    /// The poller cannot watch this descriptor (`EINVAL`, `ELOOP`): it is the
    /// reactor's own, or a poller in a nest that is too deep.
    #[error(
        "file descriptor {fd} cannot be watched: do not watch the reactor itself, and nest pollers less deeply"
    )]
    Unwatchable {
        /// The number that was given.
        fd: RawFd,
    },
    /// No watcher has this key.
    #[error("no watcher has this key: it was removed, so add it again")]
    UnknownKey,
    /// The process has no file descriptor left (`EMFILE`).
    #[error("no file descriptor is left: close some or raise the limit on open files")]
    TooManyFiles,
    /// The system has no open file left for any process (`ENFILE`).
    #[error("the system has no open file left: close some, in any process, or raise fs.file-max")]
    TooManySystemFiles,
    /// The user's limit on watched descriptors is reached (`ENOSPC`).
    #[error("too many descriptors are watched: remove some or raise fs.epoll.max_user_watches")]
    TooManyWatches,
    /// The kernel has no memory left for this (`ENOMEM`).
    #[error("the kernel is out of memory: free some and try again")]
    OutOfMemory,
    /// The poller failed in a way that has no variant of its own.
    #[error("the poller failed, see the system's error: {0}")]
    Poller(#[source] io::Error),
}

impl Error {
    /// Names what the system said about `fd`.
    pub(crate) fn of_descriptor(fd: RawFd, error: io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(&error) {
            Some(Errno::BADF) => Error::BadDescriptor { fd },
            Some(Errno::INVAL | Errno::LOOP) => Error::Unwatchable { fd },
            _ => Error::of_poller(error),
        }
    }

    /// Names what the system said about the poller itself.
    pub(crate) fn of_poller(error: io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(&error) {
            Some(Errno::MFILE) => Error::TooManyFiles,
            Some(Errno::NFILE) => Error::TooManySystemFiles,
            Some(Errno::NOSPC) => Error::TooManyWatches,
            Some(Errno::NOMEM) => Error::OutOfMemory,
            _ => Error::Poller(error),
        }
    }

    /// The system's error number behind this error, if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// use evio_reactor::Error;
    ///
    /// assert_eq!(Error::BadDescriptor { fd: 9 }.raw_os_error(), Some(9)); // EBADF
    /// assert_eq!(Error::UnknownKey.raw_os_error(), None);
    /// ```
    pub fn raw_os_error(&self) -> Option<i32> {
        use rustix::io::Errno;
        let errno = match self {
            Error::BadDescriptor { .. } => Errno::BADF,
            Error::Unwatchable { .. } => Errno::INVAL,
            Error::UnknownKey => return None,
            Error::TooManyFiles => Errno::MFILE,
            Error::TooManySystemFiles => Errno::NFILE,
            Error::TooManyWatches => Errno::NOSPC,
            Error::OutOfMemory => Errno::NOMEM,
            Error::Poller(error) => return error.raw_os_error(),
        };
        Some(errno.raw_os_error())
    }
}

/// A watcher that could not be added, with the payload it would have carried.
pub struct AddError<T> {
    /// Why it could not be added.
    pub error: Error,
    /// The payload, handed back.
    pub payload: T,
}

impl<T> fmt::Debug for AddError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for AddError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for AddError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_the_process_and_that_of_the_system_are_told_apart() {
        for (errno, limit) in [
            (rustix::io::Errno::MFILE, "limit on open files"),
            (rustix::io::Errno::NFILE, "fs.file-max"),
        ] {
            let code = errno.raw_os_error();
            let error = Error::of_descriptor(9, io::Error::from_raw_os_error(code));
            assert_eq!(error.raw_os_error(), Some(code));
            assert!(error.to_string().contains(limit));
        }
    }
}
