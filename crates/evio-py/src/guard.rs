//! Calls made one at a time, between OS threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

use crate::cell::GilCell;

/// How soon a guard looks again whether another thread is done.
const RETRY: Duration = Duration::from_micros(50);

/// After how many looks in vain others have to let a thread go first. Sooner, each would wait for each.
const PATIENCE: usize = 40;

thread_local! {
    /// Lives as long as the thread.
    static ALIVE: Arc<()> = Arc::new(());
}

/// How often this process came of a fork, since it was begun.
static FORKS: AtomicUsize = AtomicUsize::new(0);

/// In a forked child, forgets the threads that are not there.
pub(crate) fn after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

struct Owner {
    thread: Weak<()>,
    forks: usize,
}

impl Owner {
    fn new(thread: &Arc<()>) -> Self {
        Self {
            thread: Arc::downgrade(thread),
            forks: FORKS.load(Ordering::Relaxed),
        }
    }

    fn is(&self, thread: &Arc<()>) -> bool {
        self.thread.as_ptr() == Arc::as_ptr(thread)
    }

    /// Whether its thread has ended, in the middle of the call, or was not forked along.
    fn is_gone(&self) -> bool {
        self.thread.strong_count() == 0 || self.forks != FORKS.load(Ordering::Relaxed)
    }
}

enum State {
    Free,
    Mine,
    Taken,
}

/// Makes calls one at a time, whatever Python code they run, if need be by waiting for the thread
/// that is about one.
#[pyclass(frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct Guard {
    owner: GilCell<Option<Owner>>,
    /// How many threads have waited for too long, in the process of so many forks.
    waiting: GilCell<(usize, usize)>,
}

impl Guard {
    /// Takes a guard that is free, and says how it was; where others have waited for too long it is free to them only,
    /// as who makes one call after another would leave them none.
    ///
    /// What tells that the thread lives is let go of here, as the call that follows may never end.
    fn take(&self, py: Python<'_>, waited: bool) -> State {
        let Ok(me) = ALIVE.try_with(Arc::clone) else {
            // At the very end of a thread, where no other waits for it.
            return State::Mine;
        };
        let others_wait = !waited && self.count(py, |count| *count > 0);
        self.owner.with(py, |owner| match owner {
            Some(owner) if owner.is(&me) => State::Mine,
            Some(owner) if !owner.is_gone() => State::Taken,
            _ if others_wait => State::Taken,
            _ => {
                *owner = Some(Owner::new(&me));
                State::Free
            }
        })
    }

    /// Looks at how many threads wait.
    fn count<T>(&self, py: Python<'_>, look: impl FnOnce(&mut usize) -> T) -> T {
        self.waiting.with(py, |(count, forks)| {
            let now = FORKS.load(Ordering::Relaxed);
            if std::mem::replace(forks, now) != now {
                *count = 0;
            }
            look(count)
        })
    }

    /// Waits, for so many looks at most, until the guard is not taken by another thread.
    fn wait(&self, py: Python<'_>, looks: usize, waited: bool) -> PyResult<State> {
        for _ in 0..looks {
            py.detach(|| thread::sleep(RETRY));
            py.check_signals()?;
            let state = self.take(py, waited);
            if !matches!(state, State::Taken) {
                return Ok(state);
            }
        }
        Ok(State::Taken)
    }
}

#[pymethods]
impl Guard {
    #[new]
    fn new() -> Self {
        Self {
            owner: GilCell::new(None),
            waiting: GilCell::new((0, 0)),
        }
    }

    #[pyo3(signature = (function, first, second = None))]
    fn call<'py>(
        &self,
        function: &Bound<'py, PyAny>,
        first: &Bound<'py, PyAny>,
        second: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let call = || match second {
            Some(second) => function.call1((first, second)),
            None => function.call1((first,)),
        };
        let py = function.py();
        let mut state = self.take(py, false);
        if matches!(state, State::Taken) {
            state = self.wait(py, PATIENCE, false)?;
        }
        if matches!(state, State::Taken) {
            self.count(py, |count| *count += 1);
            let waited = self.wait(py, usize::MAX, true);
            // A handler of a signal may have forked meanwhile, and in the child it counts no more.
            self.count(py, |count| *count = count.saturating_sub(1));
            state = waited?;
        }
        if matches!(state, State::Mine) {
            // Called again by what it calls, or by what was switched to from there.
            return call();
        }
        let outcome = call();
        self.owner.replace(py, None);
        outcome
    }
}
