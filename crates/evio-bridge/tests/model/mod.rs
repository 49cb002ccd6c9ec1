//! A naive crossing, the operations that drive it and the real one side by side, and what must agree.
//!
//! The model keeps the history of events and works everything out from it anew each time, promise by promise. It shares
//! no state machine with the crate. Every payload has a number of its own and cannot be copied, so that one that is
//! lost, or handed back twice, shows.

use std::collections::BTreeSet;

use evio_bridge::{
    Action, AlreadySettled, AwaiterId, Crossing, Ended, Interrupt, Leftover, Outcome, Policy,
    Reason, State,
};

/// One operation on a crossing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Takes the crossing apart and makes a new one.
    New {
        autostart: bool,
        end_source: bool,
        end_awaiters: bool,
    },
    Started,
    Await,
    /// By number of arrival, modulo those who ever came; they may have left.
    Leave(u8),
    Kill,
    Timeout,
    Missed,
    EndValue,
    EndError,
    EndCancelled,
    /// Polls one action.
    Poll,
    /// Polls all actions.
    Drain,
    TakeOutcome,
}

/// Reads operations from bytes; any bytes will do.
pub(crate) fn decode(bytes: &[u8]) -> Vec<Op> {
    let mut bytes = bytes.iter().copied();
    let mut ops = Vec::new();
    while let Some(byte) = bytes.next() {
        ops.push(match byte % 13 {
            0 => {
                let flags = byte / 13;
                Op::New {
                    autostart: flags & 1 == 0,
                    end_source: flags & 2 == 0,
                    end_awaiters: flags & 4 == 0,
                }
            }
            1 => Op::Started,
            2 => Op::Await,
            3 => Op::Leave(bytes.next().unwrap_or(0)),
            4 => Op::Kill,
            5 => Op::Timeout,
            6 => Op::EndValue,
            7 => Op::EndError,
            8 => Op::EndCancelled,
            9 => Op::Poll,
            10 => Op::Drain,
            11 => Op::Missed,
            _ => Op::TakeOutcome,
        });
    }
    ops
}

/// Runs the operations on the crossing and on the model, and panics where they disagree.
pub(crate) fn run(ops: &[Op]) {
    let mut test = Test::new(Policy::default(), 0);
    for op in ops {
        if let Op::New {
            autostart,
            end_source,
            end_awaiters,
        } = *op
        {
            let next = test.next_payload;
            test.finish();
            test = Test::new(
                Policy {
                    autostart,
                    end_source,
                    end_awaiters,
                },
                next,
            );
        } else {
            test.apply(*op);
        }
        test.compare();
    }
    test.finish();
}

#[derive(Debug, PartialEq, Eq)]
struct Value(u32);

#[derive(Debug, PartialEq, Eq)]
struct Error(u32);

/// Something that happened, by payload number or number of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Started,
    Came(usize),
    Left(usize),
    Killed(u32),
    TimedOut(u32),
    Missed,
    Value(u32),
    Error(u32),
    Cancelled,
}

impl Event {
    fn is_end(self) -> bool {
        matches!(self, Self::Value(_) | Self::Error(_) | Self::Cancelled)
    }

    fn interrupt(self) -> Option<u32> {
        match self {
            Self::Killed(number) | Self::TimedOut(number) => Some(number),
            _ => None,
        }
    }
}

/// What awaiters see, by payload number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Value(u32),
    Error(u32, Option<u32>),
    Cancelled,
    Exit,
    Interrupted(u32),
}

/// A history, and the promises read off it.
struct Model {
    policy: Policy,
    history: Vec<Event>,
}

impl Model {
    /// The first event after which the outcome stands, by position.
    fn settled_at(&self) -> Option<usize> {
        (0..self.history.len()).find(|&at| self.settles(at))
    }

    fn settles(&self, at: usize) -> bool {
        let event = self.history[at];
        // The end of the source always does. A source that is not to be ended is not waited for, and one that never
        // ran need not be.
        let wait = self.policy.end_source && self.ran_before(at);
        event.is_end()
            || (event.interrupt().is_some() && !wait)
            || (self.policy.end_source && !self.ran_before(at) && self.deserted_by(at))
    }

    fn ran_before(&self, at: usize) -> bool {
        self.history[..at].contains(&Event::Started)
    }

    /// Whether the event is a leaving that left nobody.
    fn deserted_by(&self, at: usize) -> bool {
        matches!(self.history[at], Event::Left(_)) && self.present(at + 1).is_empty()
    }

    /// Who had come and not left before that position, in order of arrival.
    fn present(&self, before: usize) -> Vec<usize> {
        let events = &self.history[..before];
        events
            .iter()
            .filter_map(|event| match event {
                Event::Came(who) if !events.contains(&Event::Left(*who)) => Some(*who),
                _ => None,
            })
            .collect()
    }

    /// The last interrupt before that position.
    fn interrupt(&self, before: usize) -> Option<u32> {
        self.history[..before]
            .iter()
            .rev()
            .find_map(|event| event.interrupt())
    }

    fn timed_out(&self, before: usize) -> bool {
        self.history[..before]
            .iter()
            .any(|event| matches!(event, Event::TimedOut(_)))
    }

    /// Whether what the source ends with is no answer to the interrupt that waits for its end.
    fn unanswered(&self, before: usize) -> bool {
        let missed =
            (0..before).any(|at| self.history[at] == Event::Missed && self.interrupt(at).is_some());
        missed || self.timed_out(before)
    }

    fn outcome(&self) -> Option<Seen> {
        let at = self.settled_at()?;
        let asked = self.history[..at]
            .iter()
            .any(|event| matches!(event, Event::Came(_)));
        let interrupt = self.interrupt(at);
        Some(match self.history[at] {
            Event::Killed(number) | Event::TimedOut(number) => Seen::Interrupted(number),
            _ if self.unanswered(at) => {
                Seen::Interrupted(interrupt.expect("there is an interrupt"))
            }
            Event::Value(number) => Seen::Value(number),
            Event::Error(number) => Seen::Error(number, interrupt),
            Event::Cancelled => match interrupt {
                Some(number) => Seen::Interrupted(number),
                None if self.policy.end_awaiters && !asked => Seen::Exit,
                None => Seen::Cancelled,
            },
            Event::Left(_) => Seen::Cancelled,
            Event::Started | Event::Came(_) | Event::Missed => {
                unreachable!("neither settles anything")
            }
        })
    }

    /// The payload that comes back by the last event: the one it brings, if it is late or has no place in the outcome,
    /// or the one whose place it takes.
    fn handed_back(&self) -> Option<u32> {
        let last = self.history.len() - 1;
        let brought = match self.history[last] {
            Event::Killed(number)
            | Event::TimedOut(number)
            | Event::Value(number)
            | Event::Error(number) => Some(number),
            _ => None,
        };
        let before = self.interrupt(last);
        match self.settled_at() {
            Some(at) if at < last => brought,
            Some(_) if self.unanswered(last) => brought,
            Some(_) if matches!(self.history[last], Event::Value(_)) => before,
            Some(_) => None,
            None => before.filter(|_| self.history[last].interrupt().is_some()),
        }
    }

    fn ending(&self) -> bool {
        self.settled_at().is_none() && self.asked_to_end() > 0
    }

    /// How often a running source was asked to end: by each interrupt, and by desertion if nothing else had.
    fn asked_to_end(&self) -> usize {
        if !self.policy.end_source {
            return 0;
        }
        let settled_at = self.settled_at().unwrap_or(self.history.len());
        let mut count = 0;
        for at in (0..settled_at).filter(|&at| self.ran_before(at)) {
            let interrupted = self.history[at].interrupt().is_some();
            count += usize::from(interrupted || (count == 0 && self.deserted_by(at)));
        }
        count
    }

    /// Whether a start is due: by policy, or because somebody asked before it was settled.
    fn start_due(&self) -> bool {
        let settled_at = self.settled_at().unwrap_or(self.history.len());
        let asked = |event: &Event| matches!(event, Event::Came(_));
        self.policy.autostart || self.history[..settled_at].iter().any(asked)
    }

    /// Whether the source is to be closed unrun: the crossing settled without it, and it is not to go on alone.
    fn dropped(&self) -> bool {
        match self.settled_at() {
            Some(at) => {
                self.policy.end_source && !self.ran_before(at) && !self.history[at].is_end()
            }
            None => false,
        }
    }

    fn source_ended(&self) -> bool {
        self.history.iter().any(|event| event.is_end())
    }

    fn may_run(&self) -> bool {
        !self.source_ended() && !self.dropped()
    }

    fn running(&self) -> bool {
        self.may_run() && self.history.contains(&Event::Started)
    }
}

struct Test {
    crossing: Crossing<Value, Error>,
    model: Model,
    ids: Vec<AwaiterId>,
    next_payload: u32,
    /// Payloads that went in and have not come out.
    inside: BTreeSet<u32>,
    taken: bool,
    starts: usize,
    ends: usize,
    drops: usize,
    woken: Vec<usize>,
}

impl Test {
    fn new(policy: Policy, next_payload: u32) -> Self {
        Self {
            crossing: Crossing::new(policy),
            model: Model {
                policy,
                history: Vec::new(),
            },
            ids: Vec::new(),
            next_payload,
            inside: BTreeSet::new(),
            taken: false,
            starts: 0,
            ends: 0,
            drops: 0,
            woken: Vec::new(),
        }
    }

    fn payload(&mut self) -> u32 {
        self.next_payload += 1;
        self.inside.insert(self.next_payload);
        self.next_payload
    }

    fn out(&mut self, number: u32) {
        assert!(
            self.inside.remove(&number),
            "payload {number} came out twice"
        );
    }

    fn interrupt(&mut self, event: Event, interrupt: Interrupt<Error>) {
        self.model.history.push(event);
        let back = match self.crossing.handle_interrupt(interrupt) {
            Ok(replaced) => replaced,
            Err(AlreadySettled(error)) => {
                assert_eq!(
                    Some(error.0),
                    event.interrupt(),
                    "a refusal returns what it refused"
                );
                Some(error)
            }
        };
        self.back(back.map(|error| error.0));
    }

    fn end(&mut self, event: Event, ended: Ended<Value, Error>) {
        self.model.history.push(event);
        let back = self
            .crossing
            .handle_ended(ended)
            .map(|leftover| match leftover {
                Leftover::Value(Value(number)) => {
                    assert_eq!(event, Event::Value(number));
                    number
                }
                Leftover::Error(Error(number)) => {
                    assert_eq!(event, Event::Error(number));
                    number
                }
                Leftover::Interrupt(Error(number)) => {
                    assert!(
                        matches!(event, Event::Value(_)),
                        "only a value wins over a kill"
                    );
                    number
                }
            });
        self.back(back);
    }

    fn back(&mut self, back: Option<u32>) {
        assert_eq!(back, self.model.handed_back(), "handed back");
        if let Some(number) = back {
            self.out(number);
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::New { .. } => unreachable!("done by `run`"),
            Op::Started => {
                let may = self.model.may_run();
                assert_eq!(self.crossing.handle_started(), may, "may the source run");
                if may {
                    self.model.history.push(Event::Started);
                }
            }
            Op::Await => {
                self.model.history.push(Event::Came(self.ids.len()));
                let id = self.crossing.handle_awaiter();
                assert!(!self.ids.contains(&id), "an id was given twice");
                self.ids.push(id);
            }
            Op::Leave(number) => {
                if self.ids.is_empty() {
                    return;
                }
                let who = usize::from(number) % self.ids.len();
                let present = self.model.present(self.model.history.len()).contains(&who);
                let waits = present && !self.woken.contains(&who);
                assert_eq!(
                    self.crossing.handle_leave(self.ids[who]),
                    waits,
                    "was it there to leave"
                );
                if waits {
                    self.model.history.push(Event::Left(who));
                }
            }
            Op::Kill => {
                let number = self.payload();
                self.interrupt(Event::Killed(number), Interrupt::Kill(Error(number)));
            }
            Op::Timeout => {
                let number = self.payload();
                self.interrupt(Event::TimedOut(number), Interrupt::Timeout(Error(number)));
            }
            Op::Missed => {
                self.model.history.push(Event::Missed);
                self.crossing.handle_missed();
            }
            Op::EndValue => {
                let number = self.payload();
                self.end(Event::Value(number), Ended::Value(Value(number)));
            }
            Op::EndError => {
                let number = self.payload();
                self.end(Event::Error(number), Ended::Error(Error(number)));
            }
            Op::EndCancelled => self.end(Event::Cancelled, Ended::Cancelled),
            Op::Poll => {
                self.poll();
            }
            Op::Drain => while self.poll() {},
            Op::TakeOutcome => {
                let outcome = self.crossing.take_outcome();
                let expected = self.model.outcome().filter(|_| !self.taken);
                assert_eq!(outcome.as_ref().map(seen), expected, "the outcome taken");
                self.taken |= outcome.is_some();
                self.outcome_out(outcome);
            }
        }
    }

    /// Polls one action and checks that it is the one the model expects; false if there was none.
    fn poll(&mut self) -> bool {
        let action = self.crossing.poll_action();
        assert_eq!(action, self.expected_action());
        match action {
            Some(Action::Start) => self.starts += 1,
            Some(Action::EndSource) => self.ends += 1,
            Some(Action::DropSource) => self.drops += 1,
            Some(Action::Wake(id)) => {
                let who = self
                    .ids
                    .iter()
                    .position(|known| *known == id)
                    .expect("a known awaiter");
                assert!(!self.woken.contains(&who), "woken twice");
                self.woken.push(who);
            }
            None => {}
        }
        action.is_some()
    }

    fn expected_action(&self) -> Option<Action> {
        let model = &self.model;
        let started = model.history.contains(&Event::Started);
        if self.starts == 0 && model.start_due() && model.may_run() && !started {
            return Some(Action::Start);
        }
        if self.ends < model.asked_to_end() && !model.source_ended() {
            return Some(Action::EndSource);
        }
        if self.drops == 0 && model.dropped() && !model.source_ended() {
            return Some(Action::DropSource);
        }
        model.settled_at()?;
        let waiting = model.present(model.history.len());
        let next = waiting.into_iter().find(|who| !self.woken.contains(who))?;
        Some(Action::Wake(self.ids[next]))
    }

    /// All that can be asked without changing anything.
    fn compare(&self) {
        let (crossing, model) = (&self.crossing, &self.model);
        let now = model.history.len();
        let ending = model.ending();
        let state = match model.settled_at() {
            Some(_) => State::Settled,
            None if ending => State::Ending,
            None => State::Pending,
        };
        assert_eq!(crossing.state(), state);
        let reason = match model.interrupt(now) {
            _ if model.timed_out(now) => Reason::TimedOut,
            Some(_) => Reason::Killed,
            None => Reason::Abandoned,
        };
        assert_eq!(crossing.reason(), ending.then_some(reason));
        let interrupt = model.interrupt(now).filter(|_| ending);
        assert_eq!(crossing.interrupt().map(|error| error.0), interrupt);
        let outcome = model.outcome().filter(|_| !self.taken);
        assert_eq!(crossing.outcome().map(seen), outcome);
        let waiting = model.present(now).len() - self.woken_present();
        assert_eq!(crossing.awaiters(), waiting);
        assert_eq!(crossing.is_running(), model.running());
        assert_eq!(crossing.policy(), model.policy);
    }

    /// A woken awaiter cannot leave, so all of them count as present.
    fn woken_present(&self) -> usize {
        self.woken.len()
    }

    /// Takes the crossing apart: those not woken are named, and no payload stays behind.
    fn finish(mut self) {
        let waiting: Vec<AwaiterId> = self
            .model
            .present(self.model.history.len())
            .into_iter()
            .filter(|who| !self.woken.contains(who))
            .map(|who| self.ids[who])
            .collect();
        let crossing = std::mem::replace(&mut self.crossing, Crossing::new(Policy::default()));
        let parts = crossing.into_parts();
        assert_eq!(parts.awaiters, waiting);
        self.outcome_out(parts.outcome);
        if let Some(Error(number)) = parts.interrupt {
            self.out(number);
        }
        assert!(self.inside.is_empty(), "payloads lost: {:?}", self.inside);
    }

    fn outcome_out(&mut self, outcome: Option<Outcome<Value, Error>>) {
        match outcome {
            Some(Outcome::Value(Value(number)) | Outcome::Interrupted(Error(number))) => {
                self.out(number)
            }
            Some(Outcome::Error { error, context }) => {
                self.out(error.0);
                if let Some(Error(number)) = context {
                    self.out(number);
                }
            }
            Some(Outcome::Cancelled | Outcome::Exit) | None => {}
        }
    }
}

fn seen(outcome: &Outcome<Value, Error>) -> Seen {
    match outcome {
        Outcome::Value(value) => Seen::Value(value.0),
        Outcome::Error { error, context } => {
            Seen::Error(error.0, context.as_ref().map(|error| error.0))
        }
        Outcome::Cancelled => Seen::Cancelled,
        Outcome::Exit => Seen::Exit,
        Outcome::Interrupted(error) => Seen::Interrupted(error.0),
    }
}
