//! The crossing: one result on its way from its source to all who await it. Every transition is in this file.
//!
//! A crossing is *pending* until the source ends or somebody ends the wait, *ending* while a source that was asked to
//! end cleans up, and *settled* from then on. The source itself is *idle*, *running* (from `handle_started`) or *gone*.
//!
//! While pending:
//!
//! | event | policy, source | action | then |
//! |---|---|---|---|
//! | crossing made | `autostart` | `Start` | pending |
//! | awaiter comes | not `autostart`, idle, the first to come | `Start` | pending |
//! | source ends: value, error | any | wakes | settled: `Value`, `Error` without context |
//! | source ends: cancelled | `end_awaiters`, nobody has ever come | none to wake | settled: `Exit` |
//! | source ends: cancelled | else | wakes | settled: `Cancelled` |
//! | kill, timeout with E | `end_source`, running | `EndSource` | ending, with E |
//! | kill, timeout with E | `end_source`, idle | `DropSource`, wakes | settled: `Interrupted(E)` |
//! | kill, timeout with E | not `end_source` | wakes | settled: `Interrupted(E)` |
//! | last awaiter leaves | `end_source`, running | `EndSource` | ending, abandoned |
//! | last awaiter leaves | `end_source`, idle | `DropSource` | settled: `Cancelled` |
//! | last awaiter leaves | not `end_source` | none | pending |
//!
//! While ending there is at most one interrupt, the latest; the one it replaces is handed back. Its first timeout makes
//! the ending *timed out*, and a later kill does not undo that: whoever waits within a time limit never sees a late
//! value, and whoever kills last says with which error. A kill is *missed* where the source had ended before it was
//! asked, though the crossing has yet to be told: what it ended with is then no answer to the kill.
//!
//! | event | ending | action | then |
//! |---|---|---|---|
//! | kill with E | any | `EndSource` | ending as before, with E (abandoned: killed, with E) |
//! | timeout with E | any | `EndSource` | ending, timed out, with E |
//! | awaiters come and leave | any | none | ending as before |
//! | kill missed | with E | none | ending, missed, with E |
//! | source ends: value V | killed with E | wakes | settled: `Value(V)`; E is handed back |
//! | source ends: error Y | killed with E | wakes | settled: `Error` Y with context E |
//! | source ends: cancelled | killed with E | wakes | settled: `Interrupted(E)` |
//! | source ends: value V | timed out with E | wakes | settled: `Interrupted(E)`; V is handed back |
//! | source ends: error Y | timed out with E | wakes | settled: `Interrupted(E)`; Y is handed back, E's context |
//! | source ends: cancelled | timed out with E | wakes | settled: `Interrupted(E)` |
//! | source ends: any | missed, with E | as timed out | as timed out |
//! | source ends: any | abandoned | wakes | settled as from pending |
//!
//! Once settled, nothing changes the outcome, and late payloads are handed back. A source left alone (not `end_source`)
//! may still have its `Start` to come. An awaiter that comes is woken at once.
//!
//! Throughout: a source that ends counts as started; actions that lost their object are withdrawn (`Start` of a running
//! source, `EndSource` of one that is gone, the wake of an awaiter that left).
//!
//! # Examples
//!
//! A kill that the source answers with a value:
//!
//! ```
//! use evio_bridge::{Action, Crossing, Ended, Interrupt, Leftover, Outcome, Policy, State};
//!
//! let mut crossing = Crossing::<&str, &str>::new(Policy::default());
//! assert_eq!(crossing.poll_action(), Some(Action::Start));
//! assert!(crossing.handle_started());
//! let waiter = crossing.handle_awaiter();
//!
//! assert_eq!(crossing.handle_interrupt(Interrupt::Kill("stop")), Ok(None));
//! assert_eq!(crossing.poll_action(), Some(Action::EndSource));
//! assert_eq!(crossing.state(), State::Ending);
//!
//! let leftover = crossing.handle_ended(Ended::Value("done anyway"));
//! assert_eq!(leftover, Some(Leftover::Interrupt("stop")));
//! assert_eq!(crossing.poll_action(), Some(Action::Wake(waiter)));
//! assert_eq!(crossing.poll_action(), None);
//! assert_eq!(crossing.take_outcome(), Some(Outcome::Value("done anyway")));
//! ```

use std::mem;

use crate::awaiters::Awaiters;
use crate::vocabulary::{
    Action, AlreadySettled, AwaiterId, Ended, Interrupt, Leftover, Outcome, Parts, Policy, Reason,
    State,
};

/// One awaited result between two worlds: who waits, who interrupts, who ends, and what all of them see.
///
/// Feed it by the `handle_*` methods, in whatever order things happen. After each of them, and after `new`, call
/// [`poll_action`](Self::poll_action) until it gives `None`, and do what it says. An action may be carried out with the
/// crossing free for further calls: it borrows nothing.
///
/// `V` is the result's type, `E` the type of errors and interrupts. The crossing calls nothing of either, drops neither,
/// and holds at most two of them at a time. Whoever drops it unfinished and wants them takes
/// [`into_parts`](Self::into_parts).
#[derive(Debug)]
pub struct Crossing<V, E> {
    policy: Policy,
    source: Source,
    /// `EndSource` actions yet to be given.
    ends: usize,
    phase: Phase<V, E>,
    awaiters: Awaiters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Not started, and not to be yet.
    Idle,
    /// `Start` is yet to be given.
    Due,
    /// `Start` has been given; no word of the first step yet.
    Starting,
    Running,
    /// `DropSource` is yet to be given.
    Unwanted,
    Gone,
}

#[derive(Debug)]
enum Phase<V, E> {
    Pending,
    /// No interrupt: abandoned.
    Ending {
        interrupt: Option<E>,
        timed_out: bool,
        missed: bool,
    },
    /// No outcome: it has been taken.
    Settled(Option<Outcome<V, E>>),
}

impl<V, E> Crossing<V, E> {
    /// A pending crossing whose source has not been started.
    ///
    /// For a source that already runs, call [`handle_started`](Self::handle_started) next.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            source: if policy.autostart {
                Source::Due
            } else {
                Source::Idle
            },
            ends: 0,
            phase: Phase::Pending,
            awaiters: Awaiters::default(),
        }
    }

    /// The source is about to take its first step: may it?
    ///
    /// False if it was dropped before ([`Action::DropSource`]) or has ended: it must not run. Telling this again of a
    /// running source changes nothing.
    #[must_use = "a source that was dropped must not run"]
    pub fn handle_started(&mut self) -> bool {
        match self.source {
            Source::Idle | Source::Due | Source::Starting | Source::Running => {
                self.source = Source::Running;
                true
            }
            Source::Unwanted | Source::Gone => false,
        }
    }

    /// Somebody awaits the outcome from now on, until it is woken or leaves.
    pub fn handle_awaiter(&mut self) -> AwaiterId {
        if self.source == Source::Idle && matches!(self.phase, Phase::Pending) {
            self.source = Source::Due;
        }
        self.awaiters.add()
    }

    /// An awaiter has gone away without the outcome. False if it was not waiting: it had left or been woken.
    pub fn handle_leave(&mut self, awaiter: AwaiterId) -> bool {
        if !self.awaiters.remove(awaiter) {
            return false;
        }
        let abandoned = self.awaiters.len() == 0 && matches!(self.phase, Phase::Pending);
        if abandoned && self.policy.end_source {
            if self.source == Source::Running {
                self.ends += 1;
                self.phase = Phase::Ending {
                    interrupt: None,
                    timed_out: false,
                    missed: false,
                };
            } else {
                self.source = Source::Unwanted;
                self.phase = Phase::Settled(Some(Outcome::Cancelled));
            }
        }
        true
    }

    /// The awaiting side as a whole is killed or out of time. Hands back the interrupt that this one replaces, if any.
    ///
    /// # Errors
    ///
    /// [`AlreadySettled`] hands this interrupt's error back: the outcome stands.
    pub fn handle_interrupt(
        &mut self,
        interrupt: Interrupt<E>,
    ) -> Result<Option<E>, AlreadySettled<E>> {
        let (error, timeout) = match interrupt {
            Interrupt::Kill(error) => (error, false),
            Interrupt::Timeout(error) => (error, true),
        };
        match &mut self.phase {
            Phase::Settled(_) => Err(AlreadySettled(error)),
            Phase::Ending {
                interrupt,
                timed_out,
                ..
            } => {
                self.ends += 1;
                *timed_out |= timeout;
                Ok(interrupt.replace(error))
            }
            Phase::Pending if self.policy.end_source && self.source == Source::Running => {
                self.ends += 1;
                self.phase = Phase::Ending {
                    interrupt: Some(error),
                    timed_out: timeout,
                    missed: false,
                };
                Ok(None)
            }
            Phase::Pending => {
                if self.policy.end_source {
                    self.source = Source::Unwanted;
                }
                self.phase = Phase::Settled(Some(Outcome::Interrupted(error)));
                Ok(None)
            }
        }
    }

    /// The source had ended, unknown to the crossing, before it could be asked to end: it has not answered the interrupt.
    ///
    /// Changes nothing unless there is an interrupt that waits for the source's end.
    pub fn handle_missed(&mut self) {
        if let Phase::Ending {
            interrupt: Some(_),
            missed,
            ..
        } = &mut self.phase
        {
            *missed = true;
        }
    }

    /// The source has ended. Hands back the payload that the outcome has no room for, if any.
    #[must_use = "a payload may have been handed back"]
    pub fn handle_ended(&mut self, ended: Ended<V, E>) -> Option<Leftover<V, E>> {
        self.source = Source::Gone;
        self.ends = 0;
        let quiet = self.policy.end_awaiters && !self.awaiters.ever();
        let (outcome, leftover) = match mem::replace(&mut self.phase, Phase::Settled(None)) {
            Phase::Settled(outcome) => {
                self.phase = Phase::Settled(outcome);
                return match ended {
                    Ended::Value(value) => Some(Leftover::Value(value)),
                    Ended::Error(error) => Some(Leftover::Error(error)),
                    Ended::Cancelled => None,
                };
            }
            Phase::Pending
            | Phase::Ending {
                interrupt: None, ..
            } => match ended {
                Ended::Value(value) => (Outcome::Value(value), None),
                Ended::Error(error) => (
                    Outcome::Error {
                        error,
                        context: None,
                    },
                    None,
                ),
                Ended::Cancelled if quiet => (Outcome::Exit, None),
                Ended::Cancelled => (Outcome::Cancelled, None),
            },
            Phase::Ending {
                interrupt: Some(interrupt),
                timed_out: false,
                missed: false,
            } => match ended {
                Ended::Value(value) => {
                    (Outcome::Value(value), Some(Leftover::Interrupt(interrupt)))
                }
                Ended::Error(error) => (
                    Outcome::Error {
                        error,
                        context: Some(interrupt),
                    },
                    None,
                ),
                Ended::Cancelled => (Outcome::Interrupted(interrupt), None),
            },
            Phase::Ending {
                interrupt: Some(interrupt),
                ..
            } => (
                Outcome::Interrupted(interrupt),
                match ended {
                    Ended::Value(value) => Some(Leftover::Value(value)),
                    Ended::Error(error) => Some(Leftover::Error(error)),
                    Ended::Cancelled => None,
                },
            ),
        };
        self.phase = Phase::Settled(Some(outcome));
        leftover
    }

    /// The next thing to do, or `None` until something happens.
    ///
    /// What concerns the source comes before the wakes, which come in the awaiters' order of arrival. A woken awaiter
    /// is no longer waiting: it has nothing to leave.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.source == Source::Due {
            self.source = Source::Starting;
            return Some(Action::Start);
        }
        if self.ends > 0 {
            self.ends -= 1;
            return Some(Action::EndSource);
        }
        if self.source == Source::Unwanted {
            self.source = Source::Gone;
            return Some(Action::DropSource);
        }
        match self.phase {
            Phase::Settled(_) => self.awaiters.pop().map(Action::Wake),
            Phase::Pending | Phase::Ending { .. } => None,
        }
    }

    /// How far the crossing is. Settled means settled, whether or not the wakes have been polled.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Pending => State::Pending,
            Phase::Ending { .. } => State::Ending,
            Phase::Settled(_) => State::Settled,
        }
    }

    /// Why the source was asked to end, while in [`State::Ending`].
    pub fn reason(&self) -> Option<Reason> {
        match self.phase {
            Phase::Ending {
                timed_out: true, ..
            } => Some(Reason::TimedOut),
            Phase::Ending {
                interrupt: Some(_), ..
            } => Some(Reason::Killed),
            Phase::Ending {
                interrupt: None, ..
            } => Some(Reason::Abandoned),
            Phase::Pending | Phase::Settled(_) => None,
        }
    }

    /// The interrupt that waits for the source's end.
    pub fn interrupt(&self) -> Option<&E> {
        match &self.phase {
            Phase::Ending { interrupt, .. } => interrupt.as_ref(),
            Phase::Pending | Phase::Settled(_) => None,
        }
    }

    /// The outcome, once settled and until taken.
    pub fn outcome(&self) -> Option<&Outcome<V, E>> {
        match &self.phase {
            Phase::Settled(outcome) => outcome.as_ref(),
            Phase::Pending | Phase::Ending { .. } => None,
        }
    }

    /// Moves the outcome out, once settled. The crossing stays settled and still wakes, but has no more to show: with
    /// several awaiters, share what this gives, or clone [`outcome`](Self::outcome).
    pub fn take_outcome(&mut self) -> Option<Outcome<V, E>> {
        match &mut self.phase {
            Phase::Settled(outcome) => outcome.take(),
            Phase::Pending | Phase::Ending { .. } => None,
        }
    }

    /// How many have neither left nor been woken.
    pub fn awaiters(&self) -> usize {
        self.awaiters.len()
    }

    /// Whether the source has taken its first step and has not ended, as far as the crossing was told.
    pub fn is_running(&self) -> bool {
        self.source == Source::Running
    }

    /// The policy it was made with.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Ends the crossing where it stands and hands back all it holds.
    pub fn into_parts(self) -> Parts<V, E> {
        let (outcome, interrupt) = match self.phase {
            Phase::Pending => (None, None),
            Phase::Ending { interrupt, .. } => (None, interrupt),
            Phase::Settled(outcome) => (outcome, None),
        };
        Parts {
            outcome,
            interrupt,
            awaiters: self.awaiters.into_vec(),
        }
    }
}
