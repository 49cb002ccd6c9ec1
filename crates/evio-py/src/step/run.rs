//! Running callbacks, each in its context and under the identity of its loop.

use std::mem;

use evio_loop::Key;
use pyo3::prelude::*;

use super::{Step, active, put_away, set_active};
use crate::cell::intern;
use crate::core::{Callback, LoopCore};
use crate::handle::{Handle, Outcome};
use crate::hooks::Hooks;
use crate::identity::Identity;
use crate::{clock, context as contexts, task};

/// The task whose step a callback is.
fn task_of<'py>(handle: &Bound<'py, Handle>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = handle.py();
    let Some((callback, _)) = handle.get().call_parts(py) else {
        return Ok(None);
    };
    let task = contexts::attribute(callback.bind(py), intern!(py, "__self__"))?;
    let Some(task) = task else {
        return Ok(None);
    };
    Ok(task::is_one(&task)?.then_some(task))
}

impl Step {
    /// Runs one callback in its context and under the loop's identity.
    ///
    /// # Errors
    ///
    /// Those that end the loop; all others went to its exception handler.
    pub(crate) fn run_callback(
        slf: &Bound<'_, Self>,
        core: &Bound<'_, LoopCore>,
        callback: Callback,
    ) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let (handle, key) = (callback.0.into_bound(py), callback.1);
        if handle.get().is_cancelled() {
            return Ok(());
        }
        let Some(context) = handle.get().context(py)? else {
            return Ok(());
        };
        Self::activate(slf, core)?;
        let ahead = match Self::ahead_of(core, &handle)? {
            None if contexts::enter(&context)? => None,
            None => match Self::inside(core, &context) {
                None => {
                    // Not ours to wait for: let the stdlib's own way of running it tell the handler.
                    return handle.call_method0(intern!(py, "_run")).map(drop);
                }
                inside => inside,
            },
            ahead => ahead,
        };
        if let Some(step) = ahead {
            step.get().defer(core, handle, key);
            return Ok(());
        }
        this.begin(Some(&handle), &context, key);
        let outcome = if core.get().debug() {
            Self::invoke_timed(slf, core, &handle)
        } else {
            Ok(handle.get().invoke(py))
        };
        let exited = if this.has_parked.get() {
            Self::exit_parked(&context)
        } else {
            contexts::exit(&context)
        };
        this.end(py);
        match outcome {
            Ok(None) if exited.is_ok() && !this.has_parked.get() => {
                this.busy.set(false);
                if this.is_held(py) {
                    Self::note_held(slf, || task_of(&handle))?;
                }
                let own = Handle::take_context(&handle);
                // First, lest what is freed with the context finds a handle without one.
                drop((handle, context));
                if let Some(own) = own {
                    contexts::give_back(own);
                }
                Ok(())
            }
            outcome => Self::settle(slf, core, &handle, outcome, exited),
        }
    }

    /// What is left to do for a callback that has failed, or has parked.
    #[inline(never)]
    fn settle(
        slf: &Bound<'_, Self>,
        core: &Bound<'_, LoopCore>,
        handle: &Bound<'_, Handle>,
        outcome: PyResult<Outcome>,
        exited: PyResult<()>,
    ) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let settled = match outcome {
            Ok(None) => Ok(()),
            Ok(Some(failure)) => Handle::settle(handle, failure),
            Err(error) => Err(error),
        };
        this.busy.set(false);
        if this.has_parked.get() {
            this.count_holders();
            Self::after_park(slf, core)?;
        }
        if this.is_held(py) {
            Self::note_held(slf, || task_of(handle))?;
        }
        settled?;
        exited
    }

    /// A callback begins, or a task is started, in a context that was entered.
    #[inline]
    pub(super) fn begin(
        &self,
        handle: Option<&Bound<'_, Handle>>,
        context: &Bound<'_, PyAny>,
        watch: Option<Key>,
    ) {
        let py = context.py();
        let handle = handle.map(|handle| handle.clone().unbind());
        let context = Some(context.clone().unbind());
        let old = self.running.with(py, |running| {
            running.number += 1;
            running.watch = watch;
            (
                mem::replace(&mut running.handle, handle),
                mem::replace(&mut running.context, context),
                running.run.take(),
            )
        });
        drop(old);
        self.busy.set(true);
    }

    /// It has left its context.
    #[inline]
    pub(super) fn end(&self, py: Python<'_>) {
        let (handle, context, run) = self.running.with(py, |running| {
            let run = running.run.take();
            (running.handle.take(), running.context.take(), run)
        });
        drop(run);
        drop(handle.map(|handle| handle.into_bound(py)));
        drop(context.map(|context| context.into_bound(py)));
    }

    /// Leaves the context of a task that blocks greenly, as it does at an `await`: for another task of the same context.
    ///
    /// One that it has entered another context in, as by `Context.run()`, stays entered.
    pub(super) fn leave_context(&self, py: Python<'_>) {
        let Some(entered) = contexts::entered(py) else {
            return;
        };
        if self.runs_in(py, &entered) && contexts::exit(&entered).is_ok() {
            self.outside.set(true);
        }
    }

    /// Goes on in the context that [`leave_context`](Self::leave_context) left.
    #[inline]
    pub(super) fn enter_context(&self, py: Python<'_>) -> PyResult<()> {
        if !self.outside.replace(false) {
            return Ok(());
        }
        match self.context(py) {
            // Somebody who was left by a kill() may still be in it, or a callback that blocks greenly.
            Some(own) if !contexts::enter(own.bind(py))? => {
                contexts::assume(py, Some(own.bind(py)))
            }
            _ => Ok(()),
        }
    }

    /// Leaves the context of a callback that has parked, which others may have entered and left meanwhile.
    #[cold]
    fn exit_parked(context: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = context.py();
        let is_current = contexts::entered(py).is_some_and(|entered| entered.is(context));
        match contexts::exit(context) {
            Err(_) if is_current => contexts::assume(py, None),
            exited => exited,
        }
    }

    /// What a callback that parked owes to others when it is over.
    pub(super) fn after_park(slf: &Bound<'_, Self>, core: &Bound<'_, LoopCore>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let key = this.running.with(py, |running| running.watch.take());
        if let Some(identity) = this.saved.take(py) {
            // It was put away by somebody who then switched back past everything of ours.
            this.forget_displaced(slf);
            drop(identity);
        }
        this.has_parked.set(false);
        this.end_turn(py);
        if let Some(due) = this.due_cancel.take(py) {
            // It has reached an await, or its end.
            py.import("eventlet_asyncio._strikes")?
                .call_method1("cancel_left", (due.task, due.exception))?;
        }
        let core = core.get();
        let rearm = |key| {
            // A watcher that went away meanwhile needs no arming; a descriptor that did, likewise.
            drop(core.engine(py, |engine| engine.arm(key)));
        };
        if let Some(key) = key {
            rearm(key);
        }
        for (handle, key) in this.deferred.take(py).into_iter().rev() {
            match key {
                // Level-triggered: if there is still something to do, the poll will say so.
                Some(key) => rearm(key),
                None => core.push_again(py, handle),
            }
        }
        Ok(())
    }

    /// Makes the call as asyncio's debug mode does: known while it runs, and timed.
    fn invoke_timed(
        slf: &Bound<'_, Self>,
        core: &Bound<'_, LoopCore>,
        handle: &Bound<'_, Handle>,
    ) -> PyResult<Outcome> {
        let py = slf.py();
        core.setattr(intern!(py, "_current_handle"), handle)?;
        slf.get().parked_time.replace(py, 0);
        let start = clock::now(py);
        let outcome = handle.get().invoke(py);
        let parked = slf.get().parked_time.with(py, |time| *time);
        let took = clock::now(py).saturating_sub(start).saturating_sub(parked);
        core.setattr(intern!(py, "_current_handle"), py.None())?;
        core.call_method1(
            intern!(py, "_report_slow_callback"),
            (handle, clock::seconds(took)),
        )?;
        Ok(outcome)
    }

    /// Installs the loop's identity for this step, unless it is installed already.
    #[inline]
    pub(super) fn activate(slf: &Bound<'_, Self>, core: &Bound<'_, LoopCore>) -> PyResult<()> {
        let same = |own: &mut Option<Py<LoopCore>>| own.as_ref().is_some_and(|own| own.is(core));
        if slf.get().is_active.get() && slf.get().core.with(slf.py(), same) {
            return Ok(());
        }
        Self::install(slf, core)
    }

    fn install(slf: &Bound<'_, Self>, core: &Bound<'_, LoopCore>) -> PyResult<()> {
        let py = slf.py();
        if let Some(step) = active(py) {
            let this = step.bind(py).get();
            let same_loop = this.core.with(py, |active| {
                active.as_ref().is_some_and(|active| active.is(core))
            });
            if same_loop && (step.is(slf) || !this.busy.get()) {
                if !step.is(slf) {
                    slf.get().set_core(core);
                    set_active(slf.clone().unbind());
                }
                return Ok(());
            }
            put_away(py)?;
        }
        let running_loop = core.clone().into_any();
        slf.get().set_core(core);
        let hooks = slf.get().hooks_of(core)?;
        Identity::of_loop(running_loop.unbind(), hooks).install(py)?;
        set_active(slf.clone().unbind());
        Ok(())
    }

    /// Notes whose callbacks it runs, and forgets what it knows of another loop.
    fn set_core(&self, core: &Bound<'_, LoopCore>) {
        let py = core.py();
        let is_known =
            |own: &mut Option<Py<LoopCore>>| own.as_ref().is_some_and(|own| own.is(core));
        if !self.core.with(py, is_known) {
            self.leave_loop(py);
            drop(self.core.replace(py, Some(core.clone().unbind())));
        }
    }

    /// Forgets a loop whose callbacks it ran, and that runs no more.
    pub(crate) fn forget_loop(&self, core: &Bound<'_, LoopCore>) {
        let py = core.py();
        let is_its = |own: &mut Option<Py<LoopCore>>| own.as_ref().is_some_and(|own| own.is(core));
        if !self.busy.get() && !self.is_active.get() && self.core.with(py, is_its) {
            self.leave_loop(py);
        }
    }

    /// Lets go of the loop, for good where its carrier has ended.
    pub(crate) fn leave_loop(&self, py: Python<'_>) {
        drop((self.hooks.take(py), self.options.take(py)));
        drop(self.core.take(py));
    }

    /// The hooks of the step's loop.
    fn hooks_of(&self, core: &Bound<'_, LoopCore>) -> PyResult<Hooks> {
        let py = core.py();
        let known = self
            .hooks
            .with(py, |hooks| hooks.as_ref().map(|hooks| hooks.clone_ref(py)));
        if let Some(hooks) = known {
            return Ok(hooks);
        }
        let hooks = Identity::hooks_of(core.as_any())?;
        drop(self.hooks.replace(py, Some(hooks.clone_ref(py))));
        Ok(hooks)
    }
}
