//! How fibers move from one engine to another.

use std::collections::{HashMap, HashSet};

use evio_reactor::{AddError, Error, Key};

use crate::engine::{Engine, Lane};

/// What [`Engine::adopt_fibers`] did with the watchers.
#[derive(Debug)]
pub struct Adopted<T> {
    /// Old and new key of each watcher that was moved.
    pub moved: Vec<(Key, Key)>,
    /// Old key, reason and payload of each watcher that could not be moved.
    pub refused: Vec<(Key, Error, T)>,
}

impl<T> Engine<T> {
    /// Moves the fiber lane of `other` into this engine, which must have none of its own. Both must count time from
    /// one origin.
    ///
    /// Timer keys stay valid and name timers of this engine now. Watchers get new keys: the answer pairs the old with
    /// the new, in order of addition. They stay armed or disarmed as they were, and readiness that was not handed out
    /// yet moves along. Those whose descriptor can no longer be watched are handed back with the reason.
    ///
    /// # Panics
    ///
    /// When this engine has fiber work already.
    ///
    /// # Examples
    ///
    /// ```
    /// use evio_loop::{Engine, Lane, Work};
    ///
    /// let mut idle = Engine::new()?; // has fibers already, and nobody who runs it
    /// let timer = idle.schedule(Lane::Fiber, 10, "fiber");
    /// let mut engine = Engine::new()?;
    /// engine.adopt_fibers(&mut idle);
    /// assert_eq!(engine.deadline(timer), Some(10));
    /// engine.begin(10, None);
    /// assert_eq!(engine.next_fiber(), Some(Work::Run("fiber")));
    /// # Ok::<(), evio_loop::Error>(())
    /// ```
    pub fn adopt_fibers(&mut self, other: &mut Self) -> Adopted<T> {
        assert!(
            self.fiber_timers.is_empty() && self.watchers(Lane::Fiber).next().is_none(),
            "an engine that has fibers of its own cannot adopt another's"
        );
        let (own, others) = (self.fiber_timers.turn(), other.fiber_timers.turn());
        std::mem::swap(&mut self.fiber_timers, &mut other.fiber_timers);
        self.fiber_timers.reach(own);
        other.fiber_timers.reach(others);

        let mut watchers: Vec<_> = other
            .reactor
            .iter()
            .filter(|(.., watched)| watched.lane == Lane::Fiber)
            .map(|(key, fd, direction, mode, watched)| (watched.added, key, fd, direction, mode))
            .collect();
        watchers.sort_unstable_by_key(|&(added, ..)| added);

        let mut adopted = Adopted {
            moved: Vec::with_capacity(watchers.len()),
            refused: Vec::new(),
        };
        let mut queued = HashMap::new();
        for (_, old, fd, direction, mode) in watchers {
            let armed = other.reactor.is_armed(old);
            let queued_as = other.queued_as(old);
            let Some(payload) = other.unwatch(old) else {
                continue;
            };
            match self.watch(Lane::Fiber, fd, direction, mode, payload) {
                Ok(new) => {
                    if !armed {
                        self.disarm(new);
                    }
                    if let Some(readiness) = queued_as {
                        queued.insert(readiness, new);
                    }
                    adopted.moved.push((old, new));
                }
                Err(AddError { error, payload }) => adopted.refused.push((old, error, payload)),
            }
        }
        for readiness in std::mem::take(&mut other.ready_fibers) {
            if let Some(new) = queued.remove(&readiness) {
                self.queue_fiber(new);
            }
        }
        // Readiness that was put back stands among the other engine's callbacks.
        let rest: HashSet<Key> = queued.into_values().collect();
        for (_, new) in &adopted.moved {
            if rest.contains(new) {
                self.queue_fiber(*new);
            }
        }
        adopted
    }

    fn queue_fiber(&mut self, key: Key) {
        if let Some(readiness) = self.queue_readiness(key) {
            self.ready_fibers.push_back(readiness);
        }
    }
}
