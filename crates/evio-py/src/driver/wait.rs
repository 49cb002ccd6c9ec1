//! How a turn begins: what the engine waits for, and which host does.

use std::time::Duration;

use evio_loop::{Host, Plan, Waited};
use pyo3::prelude::*;

use super::Driver;
use crate::clock;
use crate::core::LoopCore;
use crate::host::{EventletHub, ForeignLoop, Interpreter};
use crate::hub::HubCore;
use crate::step;
use crate::wakeup::{self, Heed};

/// Waits as long as there is nothing to do, and begins a turn.
pub(super) fn begin_turn(driver: &Bound<'_, Driver>, core: &Bound<'_, LoopCore>) -> PyResult<()> {
    let py = driver.py();
    let this = core.get();
    loop {
        let now = clock::now(py);
        let plan = if this.is_stopping() {
            Plan::Poll(Some(Duration::ZERO))
        } else {
            this.open_engine(py, |engine| engine.plan(now))?
        };
        let Plan::Poll(timeout) = plan else {
            return this.open_engine(py, |engine| engine.begin(now, None));
        };
        this.set_waiting(true);
        let parked = park(driver, core, timeout);
        // Not before: a thread may end while this one is parked, and that must not keep the poller.
        let mut waiter = match this.take_waiter(py) {
            Ok(waiter) => waiter,
            Err(closed) => {
                this.set_waiting(false);
                return parked.and(Err(closed));
            }
        };
        let timeout = match parked {
            Ok(Parked::Nowhere(timeout)) => timeout,
            _ => Some(Duration::ZERO),
        };
        let polled = Interpreter(py).wait(&mut waiter, timeout);
        this.set_waiting(false);
        let now = clock::now(py);
        if let Some(()) = this.engine(py, |engine| engine.begin(now, Some(&mut waiter))) {
            this.give_waiter(py, waiter);
        }
        let parked = parked?;
        polled?;
        py.check_signals()?;
        if !matches!(parked, Parked::Until(Waited::Suspended)) || !drives(driver, core)? {
            return Ok(());
        }
    }
}

/// Whether a loop is still the one that a driver runs: while it was suspended, another may have come.
fn drives(driver: &Bound<'_, Driver>, core: &Bound<'_, LoopCore>) -> PyResult<bool> {
    let py = driver.py();
    Ok(match driver.get().hub(py) {
        Some(hub) => HubCore::core(hub.bind(py))?.is(core),
        None => driver.get().core(py).is_some_and(|own| own.is(core)),
    })
}

/// What came of leaving a wait to the host.
enum Parked {
    /// The host is the kernel: the wait is still to come.
    Nowhere(Option<Duration>),
    /// It is over.
    Until(Waited),
}

/// Waits by the host that the driver has now, if that is another than the kernel.
fn park(
    driver: &Bound<'_, Driver>,
    core: &Bound<'_, LoopCore>,
    timeout: Option<Duration>,
) -> PyResult<Parked> {
    let py = driver.py();
    if let Some(hub) = EventletHub::of_driver(driver, core)? {
        step::put_away(py)?;
        return hub.park(timeout).map(|()| Parked::Until(Waited::Polled));
    }
    if let Some(hub) = driver.get().hub(py) {
        let hub = hub.bind(py);
        if let Some(foreign) = HubCore::foreign_host(hub)? {
            if let Some(waited) = ForeignLoop::park(&foreign, hub, timeout)? {
                return Ok(Parked::Until(waited));
            }
        }
    }
    heed_signals(core, timeout).map(Parked::Nowhere)
}

/// Sees to it that a signal ends a wait in the kernel, and returns how long that may be.
fn heed_signals(
    core: &Bound<'_, LoopCore>,
    timeout: Option<Duration>,
) -> PyResult<Option<Duration>> {
    if timeout == Some(Duration::ZERO) {
        return Ok(timeout);
    }
    let py = core.py();
    let Heed { fd, most } = wakeup::prepare(py, clock::now(py))?;
    // What came before the descriptor was ours has written nowhere.
    py.check_signals()?;
    let most = if core.get().watch_wakeup(py, fd) {
        most
    } else {
        Some(wakeup::UNHEARD_WAIT)
    };
    Ok(match (timeout, most) {
        (Some(timeout), Some(most)) => Some(timeout.min(most)),
        (timeout, most) => timeout.or(most),
    })
}
