//! Test suites of others, run on what is made here: they know what nobody here thought of.

mod cpython;
mod differences;
mod eventlet;
mod exceptions;
mod findings;
mod library;
mod outcomes;
mod release;

pub(crate) use cpython::{Loop, OfAsyncio};
pub(crate) use eventlet::{Part, Suite};
pub(crate) use library::{Host, Library, OfLibrary};
