//! What Python sees of evio: `eventlet_asyncio._evio`, thin bindings over the pure crates.
//!
//! No class here decides when or in what order anything runs (but that a callback which only wakes a
//! greenlet is done at once where it overtakes none): the engine of `evio-loop` does, and
//! the crossing of `evio-bridge` decides who sees what. This crate holds Python objects for them
//! and switches greenlets. ARCHITECTURE.md in the repository has the map.
#![deny(unsafe_code)]

mod address;
mod block_check;
#[allow(unsafe_code)] // A cell that the interpreter's lock guards.
mod cell;
#[allow(unsafe_code)] // CPython's arena allocator.
mod chunks;
#[allow(unsafe_code)] // CPython's clock.
mod clock;
#[allow(unsafe_code)] // CPython's contexts.
mod context;
mod core;
mod crossing;
mod datagram;
mod descent;
mod driver;
mod errors;
#[allow(unsafe_code)] // The unwinder's interface.
mod exit;
mod fast;
mod fiber;
mod files;
mod green_await;
mod green_wait;
#[allow(unsafe_code)] // greenlet's C interface.
mod greenlet;
mod guard;
mod handle;
#[allow(unsafe_code)] // Fields of CPython's threads.
mod hooks;
mod host;
mod hub;
mod identity;
mod imported;
mod job;
#[allow(unsafe_code)] // Fields of objects and of CPython's threads.
mod layout;
mod listener;
mod listeners;
#[allow(unsafe_code)] // A class that CPython calls by its vectorcall.
mod method;
mod primitives;
mod run;
mod sockets;
#[allow(unsafe_code)] // The bounds of a stack.
mod stack;
mod step;
mod stream;
#[allow(unsafe_code)] // A field of asyncio's tasks.
mod task;
mod threads;
mod timer;
mod trace;
mod transports;
mod wakeup;
#[allow(unsafe_code)] // Exceptions in other threads.
mod watch;

/// The extension module.
#[pyo3::pymodule(gil_used = true)]
mod _evio {
    use pyo3::exceptions::PyImportError;
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::block_check::set_block_check;
    #[pymodule_export]
    use crate::chunks::cache_stack_chunks;
    #[pymodule_export]
    use crate::core::LoopCore;
    #[pymodule_export]
    use crate::core::call_soon::call_soon_method;
    #[pymodule_export]
    use crate::crossing::Crossing;
    #[pymodule_export]
    use crate::datagram::{Datagram, DatagramCore, can_datagram};
    #[pymodule_export]
    use crate::descent::{pass_to_step, switch_carrier};
    #[pymodule_export]
    use crate::driver::Driver;
    #[pymodule_export]
    use crate::exit::call_to_stop_at_exit;
    #[pymodule_export]
    use crate::fast::await_::await_;
    #[pymodule_export]
    use crate::fast::event::wait_for_event;
    #[pymodule_export]
    use crate::fast::future::{begin_future_green_thread, init_future_green_thread};
    #[pymodule_export]
    use crate::fast::green_thread::{init_green_thread, spawn, spawn_n};
    #[pymodule_export]
    use crate::fast::ident::get_ident;
    #[pymodule_export]
    use crate::fast::sleep::sleep;
    #[pymodule_export]
    use crate::fast::socket::recv_loop;
    #[pymodule_export]
    use crate::fast::timeout::{
        cancel_timeout, enter_timeout, exit_timeout, init_timeout, start_timeout,
    };
    #[pymodule_export]
    use crate::fast::trampoline::trampoline;
    #[pymodule_export]
    use crate::fast::waker::Waker;
    #[pymodule_export]
    use crate::green_await::{GreenAwait, await_green_thread};
    #[pymodule_export]
    use crate::green_wait::GreenWait;
    #[pymodule_export]
    use crate::guard::Guard;
    #[pymodule_export]
    use crate::handle::{Handle, TimerHandle};
    #[pymodule_export]
    use crate::host::ForeignLoop;
    #[pymodule_export]
    use crate::hub::HubCore;
    #[pymodule_export]
    use crate::listener::Listener;
    #[pymodule_export]
    use crate::method::method;
    #[pymodule_export]
    use crate::primitives::{
        any_of, append_if_room, count_done, exchange, first_for_permit, join_event,
        leave_semaphore, reopen_join, send_event, take_permit, take_permit_or_join,
        take_permit_or_rejoin, wake_for_permit,
    };
    #[pymodule_export]
    use crate::run::check_hub;
    #[pymodule_export]
    use crate::sockets::{
        SocketCall, accept_connections, ensure_free, sock_accept, sock_connect, sock_recv,
        sock_recv_into, sock_recvfrom, sock_recvfrom_into, sock_sendall, sock_sendto,
    };
    #[pymodule_export]
    use crate::step::{CallbackRun, Step};
    #[pymodule_export]
    use crate::stream::{Peer, Stream, StreamCore, open_stream, write_method};
    #[pymodule_export]
    use crate::threads::{
        discharge, enlist, hub_of_thread, hub_to_wait_in, is_here, is_stranded, py_wake,
    };
    #[pymodule_export]
    use crate::timer::GreenTimer;
    #[pymodule_export]
    use crate::transports::Transports;
    #[pymodule_export]
    use crate::watch::Watch;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        if !crate::context::is_main_interpreter(py) {
            return Err(PyImportError::new_err(
                "eventlet_asyncio does not support sub-interpreters",
            ));
        }
        crate::greenlet::load(py)?;
        crate::context::prepare(py)?;
        crate::handle::keep_handles(py)?;
        let core = py.get_type::<LoopCore>();
        core.setattr(
            "call_soon",
            crate::core::call_soon::call_soon_method(&core)?,
        )?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    /// The step that runs, or `None` outside asyncio callbacks.
    #[pyfunction]
    fn current_step(py: Python<'_>) -> Option<Py<Step>> {
        crate::step::current(py)
    }

    /// Whom green code takes for the running green thread: a task, a callback's run or a greenlet.
    #[pyfunction]
    fn owner(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        crate::step::owner(py)
    }

    /// Raises what stands against a green block of the running greenlet.
    #[pyfunction]
    fn check_block(py: Python<'_>) -> PyResult<()> {
        crate::block_check::check(&crate::greenlet::current(py)?)
    }

    /// Lets go of what is kept for the running thread, as it ends: no greenlet of it runs any more.
    #[pyfunction]
    fn end_thread(py: Python<'_>) -> PyResult<()> {
        crate::hub::forget_thread();
        crate::threads::set_ended(py, true)
    }

    /// Has descriptors to spare for the next fork.
    #[pyfunction]
    fn reserve_wakeup(py: Python<'_>) {
        crate::wakeup::reserve(py);
    }

    /// Leaves the running step without running loop and task when its hub is no longer the thread's.
    #[pyfunction]
    fn abandon_step(py: Python<'_>) -> PyResult<()> {
        crate::step::abandon(py)
    }

    /// In a forked child, parts from what tells the parent of signals, and gives the step that forked
    /// its running loop back.
    #[pyfunction]
    fn after_fork(py: Python<'_>) -> PyResult<()> {
        crate::guard::after_fork();
        crate::wakeup::after_fork(py)?;
        crate::step::after_fork(py)
    }

    /// Sets what a task awaits that runs, whose `cancel()` is called when the task is cancelled.
    #[pyfunction]
    #[pyo3(signature = (task, awaited, /))]
    fn set_awaited(task: &Bound<'_, PyAny>, awaited: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        crate::task::set_awaited(task, awaited).map(drop)
    }

    /// Parks the running step, if there is one, before its greenlet blocks in a hub not ours.
    #[pyfunction]
    fn park(py: Python<'_>) -> PyResult<Option<Py<Step>>> {
        crate::run::check_hub(py)?;
        crate::step::park(&crate::greenlet::current(py)?)
    }

    /// Gives a step its identity back before something is thrown at its carrier.
    #[pyfunction]
    fn restore(carrier: &Bound<'_, PyAny>) -> PyResult<()> {
        crate::step::restore_before_switch(carrier)
    }

    /// Gives the running greenlet its own identity, or none, after a switch that was no green block.
    #[pyfunction]
    fn go_on(py: Python<'_>) -> PyResult<()> {
        crate::step::go_on(&crate::greenlet::current(py)?)
    }

    /// Leaves the running step without an identity before a switch to a greenlet that is not part of it.
    #[pyfunction]
    fn leave_for(target: &Bound<'_, PyAny>) -> PyResult<()> {
        crate::step::leave_for(target)
    }

    /// Makes a parked step, whose greenlet goes on, the running one again.
    #[pyfunction]
    fn unpark(py: Python<'_>, step: Py<Step>) -> PyResult<()> {
        crate::step::unpark(py, step)
    }
}
