//! The words of a crossing: what goes in, what comes out, and who decides.

use thiserror::Error;

/// What a [`Crossing`](crate::Crossing) does on its own account. By default it does all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// The source is started when the crossing is made; otherwise when it is first awaited.
    pub autostart: bool,
    /// An interrupt, or the last awaiter's leaving, asks the source to end. Otherwise an interrupt settles the
    /// crossing at once, the leaving is only noted, and the source goes on alone.
    pub end_source: bool,
    /// A source cancelled from its own side before anybody has asked settles as [`Outcome::Exit`]: the facade should
    /// end quietly. Otherwise it settles as [`Outcome::Cancelled`].
    pub end_awaiters: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            autostart: true,
            end_source: true,
            end_awaiters: true,
        }
    }
}

/// An error sent at the awaiting side, for all who await.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interrupt<E> {
    /// The source is asked to end, and what it makes of that counts: a value is delivered all the same, unless the
    /// source [had ended before](crate::Crossing::handle_missed).
    Kill(E),
    /// The source is asked to end, and whatever it makes of that, the awaiters see the interrupt.
    Timeout(E),
}

/// How the source ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended<V, E> {
    /// It produced its result.
    Value(V),
    /// It failed.
    Error(E),
    /// It was cancelled or killed, and let that happen.
    Cancelled,
}

impl<V, E> From<Result<V, E>> for Ended<V, E> {
    fn from(result: Result<V, E>) -> Self {
        match result {
            Ok(value) => Self::Value(value),
            Err(error) => Self::Error(error),
        }
    }
}

/// What every awaiter sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome<V, E> {
    /// The source's result.
    Value(V),
    /// The source's failure.
    Error {
        /// What the source failed with.
        error: E,
        /// The kill that the source was dealing with when it failed.
        context: Option<E>,
    },
    /// The source was cancelled, and no interrupt is to blame.
    Cancelled,
    /// The source was cancelled from its own side before anybody asked, and [`Policy::end_awaiters`] is set.
    Exit,
    /// The interrupt that ended the wait.
    Interrupted(E),
}

/// What the caller has to do next, as told by [`Crossing::poll_action`](crate::Crossing::poll_action).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Start the source; given once at most. Call `handle_started` when it takes its first step.
    Start,
    /// Ask the running source to end: cancel the task, kill the fiber. Given again for each further interrupt, and to
    /// be passed on again.
    EndSource,
    /// Close the source, which has not taken its first step and must not.
    DropSource,
    /// Let this awaiter see the outcome; given once per awaiter that has not left.
    Wake(AwaiterId),
}

/// Names one awaiter of one crossing, and is not used again for another of that crossing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AwaiterId(pub(crate) u64);

/// How far a crossing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The source has yet to end.
    Pending,
    /// The source has been asked to end and is cleaning up.
    Ending,
    /// The outcome is there and will not change.
    Settled,
}

/// Why a crossing is in [`State::Ending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// By an [`Interrupt::Kill`], and no timeout.
    Killed,
    /// By an [`Interrupt::Timeout`], whether kills came before or after it.
    TimedOut,
    /// By the last awaiter's leaving, and no interrupt.
    Abandoned,
}

/// The payload that the outcome had no room for when the source ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leftover<V, E> {
    /// The source's value: a timeout or a missed kill won, or the crossing had settled without the source.
    Value(V),
    /// The source's error: a timeout or a missed kill won, and this is its context; or the crossing had settled without the source.
    Error(E),
    /// The kill that the source's value won over.
    Interrupt(E),
}

/// All that a crossing still held, from [`Crossing::into_parts`](crate::Crossing::into_parts).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parts<V, E> {
    /// The outcome, if it was there and nobody took it.
    pub outcome: Option<Outcome<V, E>>,
    /// The interrupt that waited for the source's end.
    pub interrupt: Option<E>,
    /// Those who have neither left nor been woken, in order of arrival.
    pub awaiters: Vec<AwaiterId>,
}

/// The refusal of an interrupt that came too late, with its error.
#[derive(Clone, Copy, Error, PartialEq, Eq, Hash)]
#[error(
    "the crossing has settled: read its outcome, and deliver this interrupt where the wait has gone on to"
)]
pub struct AlreadySettled<E>(pub E);

// By hand, so that payloads need not be `Debug`.
impl<E> std::fmt::Debug for AlreadySettled<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AlreadySettled").finish_non_exhaustive()
    }
}
