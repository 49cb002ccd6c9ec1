//! The hubs of eventlet that programs are run on, ours among them.

use std::fmt;

use clap::ValueEnum;

/// What drives eventlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hub {
    /// eventlet's hub on epoll, which knows no asyncio
    Epolls,
    /// eventlet's hub on the asyncio loop of the standard library
    Asyncio,
    /// the hub of this project
    Ours,
}

impl Hub {
    /// What `EVENTLET_HUB` has to say.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::Epolls => "epolls",
            Self::Asyncio => "asyncio",
            Self::Ours => "eventlet_asyncio.hub",
        }
    }
}

impl fmt::Display for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Epolls => "epolls",
            Self::Asyncio => "asyncio",
            Self::Ours => "ours",
        })
    }
}
