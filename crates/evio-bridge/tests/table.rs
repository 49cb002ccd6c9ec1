//! The promises to awaiters, one row each: what happens, what the caller is told to do, what the awaiters see.
//!
//! What a binding alone can keep (tracebacks, context variables, whether an argument is awaitable) has no row here.

use evio_bridge::{Action, Crossing, Ended, Interrupt, Leftover, Outcome, Policy, State};

#[derive(Clone, Copy)]
enum Event {
    Started,
    Await,
    /// Of the awaiter that came as number so-and-so.
    Leave(usize),
    Kill(&'static str),
    Timeout(&'static str),
    Missed,
    Value(&'static str),
    Error(&'static str),
    Cancelled,
}

/// What the caller is told, with awaiters by number of arrival.
#[derive(Debug, PartialEq)]
enum Told {
    Start,
    EndSource,
    DropSource,
    Wake(usize),
    Back(&'static str),
}

struct Row {
    promise: &'static str,
    policy: Policy,
    events: &'static [Event],
    told: &'static [Told],
    outcome: Option<Outcome<&'static str, &'static str>>,
}

const ALL: Policy = Policy {
    autostart: true,
    end_source: true,
    end_awaiters: true,
};
const LAZY: Policy = Policy {
    autostart: false,
    ..ALL
};
const LET_RUN: Policy = Policy {
    end_source: false,
    ..ALL
};
const LET_ASK: Policy = Policy {
    end_awaiters: false,
    ..ALL
};

const ROWS: &[Row] = &[
    Row {
        promise: "a kill with any exception cancels the source; the wait ends after its cleanup, with that exception",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Kill("K"),
            Event::Cancelled,
        ],
        told: &[Told::EndSource, Told::Wake(0)],
        outcome: Some(Outcome::Interrupted("K")),
    },
    Row {
        promise: "a kill does not wait: until the cleanup is over there is no outcome",
        policy: ALL,
        events: &[Event::Started, Event::Await, Event::Kill("K")],
        told: &[Told::EndSource],
        outcome: None,
    },
    Row {
        promise: "a second kill cancels again and its exception wins",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Kill("K"),
            Event::Kill("L"),
            Event::Cancelled,
        ],
        told: &[
            Told::EndSource,
            Told::Back("K"),
            Told::EndSource,
            Told::Wake(0),
        ],
        outcome: Some(Outcome::Interrupted("L")),
    },
    Row {
        promise: "a killed source that returns a value all the same has it delivered",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Kill("K"),
            Event::Value("v"),
        ],
        told: &[Told::EndSource, Told::Back("K"), Told::Wake(0)],
        outcome: Some(Outcome::Value("v")),
    },
    Row {
        promise: "a killed source that raises Y has Y delivered, with the kill as its context",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Kill("K"),
            Event::Error("Y"),
        ],
        told: &[Told::EndSource, Told::Wake(0)],
        outcome: Some(Outcome::Error {
            error: "Y",
            context: Some("K"),
        }),
    },
    Row {
        promise: "a kill that comes after the source's end is seen, be there a value",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Kill("K"),
            Event::Missed,
            Event::Value("v"),
        ],
        told: &[Told::EndSource, Told::Back("v"), Told::Wake(0)],
        outcome: Some(Outcome::Interrupted("K")),
    },
    Row {
        promise: "... be there an error",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Kill("K"),
            Event::Missed,
            Event::Error("Y"),
        ],
        told: &[Told::EndSource, Told::Back("Y"), Told::Wake(0)],
        outcome: Some(Outcome::Interrupted("K")),
    },
    Row {
        promise: "a kill before the first step: the source never runs, the wait ends at once",
        policy: ALL,
        events: &[Event::Await, Event::Kill("K")],
        told: &[Told::Start, Told::DropSource, Told::Wake(0)],
        outcome: Some(Outcome::Interrupted("K")),
    },
    Row {
        promise: "a timeout cancels, waits for the cleanup, then the timeout is seen",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Timeout("T"),
            Event::Cancelled,
        ],
        told: &[Told::EndSource, Told::Wake(0)],
        outcome: Some(Outcome::Interrupted("T")),
    },
    Row {
        promise: "... always, be there a value",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Timeout("T"),
            Event::Value("v"),
        ],
        told: &[Told::EndSource, Told::Back("v"), Told::Wake(0)],
        outcome: Some(Outcome::Interrupted("T")),
    },
    Row {
        promise: "... or an error, which is handed back as the timeout's context",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Timeout("T"),
            Event::Error("Y"),
        ],
        told: &[Told::EndSource, Told::Back("Y"), Told::Wake(0)],
        outcome: Some(Outcome::Interrupted("T")),
    },
    Row {
        promise: "a kill after a timeout gives its exception, and the value still comes too late",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Timeout("T"),
            Event::Kill("K"),
            Event::Value("v"),
        ],
        told: &[
            Told::EndSource,
            Told::Back("T"),
            Told::EndSource,
            Told::Back("v"),
            Told::Wake(0),
        ],
        outcome: Some(Outcome::Interrupted("K")),
    },
    Row {
        promise: "a timeout after a kill is seen, always",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Kill("K"),
            Event::Timeout("T"),
            Event::Error("Y"),
        ],
        told: &[
            Told::EndSource,
            Told::Back("K"),
            Told::EndSource,
            Told::Back("Y"),
            Told::Wake(0),
        ],
        outcome: Some(Outcome::Interrupted("T")),
    },
    Row {
        promise: "a source cancelled from its own side: the awaiter sees the cancellation",
        policy: ALL,
        events: &[Event::Started, Event::Await, Event::Cancelled],
        told: &[Told::Wake(0)],
        outcome: Some(Outcome::Cancelled),
    },
    Row {
        promise: "... and where nobody has asked yet, the facade ends",
        policy: ALL,
        events: &[Event::Started, Event::Cancelled, Event::Await],
        told: &[Told::Wake(0)],
        outcome: Some(Outcome::Exit),
    },
    Row {
        promise: "... unless the policy lets it ask",
        policy: LET_ASK,
        events: &[Event::Started, Event::Cancelled, Event::Await],
        told: &[Told::Wake(0)],
        outcome: Some(Outcome::Cancelled),
    },
    Row {
        promise: "one of two awaiters leaves: nothing happens to the source",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Await,
            Event::Leave(0),
            Event::Value("v"),
        ],
        told: &[Told::Wake(1)],
        outcome: Some(Outcome::Value("v")),
    },
    Row {
        promise: "the last awaiter leaves: the source is asked to end",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Await,
            Event::Leave(1),
            Event::Leave(0),
        ],
        told: &[Told::EndSource],
        outcome: None,
    },
    Row {
        promise: "who comes while an abandoned source cleans up sees how it ends",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Leave(0),
            Event::Await,
            Event::Cancelled,
        ],
        told: &[Told::EndSource, Told::Wake(1)],
        outcome: Some(Outcome::Cancelled),
    },
    Row {
        promise: "a source that lets itself be ended (exit of the green kind) is a cancellation to its awaiters",
        policy: ALL,
        events: &[Event::Started, Event::Await, Event::Await, Event::Cancelled],
        told: &[Told::Wake(0), Told::Wake(1)],
        outcome: Some(Outcome::Cancelled),
    },
    Row {
        promise: "a source that raises X has X delivered as it is",
        policy: ALL,
        events: &[Event::Started, Event::Await, Event::Error("X")],
        told: &[Told::Wake(0)],
        outcome: Some(Outcome::Error {
            error: "X",
            context: None,
        }),
    },
    Row {
        promise: "without autostart, the first awaiter starts the source, once",
        policy: LAZY,
        events: &[Event::Await, Event::Await, Event::Value("v")],
        told: &[Told::Start, Told::Wake(0), Told::Wake(1)],
        outcome: Some(Outcome::Value("v")),
    },
    Row {
        promise: "without end_source, a kill ends the wait at once; the source goes on alone and nothing of it is lost",
        policy: LET_RUN,
        events: &[
            Event::Started,
            Event::Await,
            Event::Kill("K"),
            Event::Value("v"),
        ],
        told: &[Told::Wake(0), Told::Back("v")],
        outcome: Some(Outcome::Interrupted("K")),
    },
    Row {
        promise: "without end_source, it goes on alone too when it has yet to take its first step",
        policy: LET_RUN,
        events: &[Event::Kill("K"), Event::Started, Event::Error("Y")],
        told: &[Told::Start, Told::Back("Y")],
        outcome: Some(Outcome::Interrupted("K")),
    },
    Row {
        promise: "without end_source, the last awaiter may leave and another may come",
        policy: LET_RUN,
        events: &[
            Event::Started,
            Event::Await,
            Event::Leave(0),
            Event::Await,
            Event::Value("v"),
        ],
        told: &[Told::Wake(1)],
        outcome: Some(Outcome::Value("v")),
    },
    Row {
        promise: "once settled, a late kill and a late end are handed back",
        policy: ALL,
        events: &[
            Event::Started,
            Event::Await,
            Event::Value("v"),
            Event::Kill("K"),
            Event::Timeout("T"),
            Event::Error("Y"),
        ],
        told: &[
            Told::Wake(0),
            Told::Back("K"),
            Told::Back("T"),
            Told::Back("Y"),
        ],
        outcome: Some(Outcome::Value("v")),
    },
];

/// Runs the events, and polls all actions after each but a start: a source that starts by itself withdraws `Start`.
fn play(row: &Row) -> (Vec<Told>, Option<Outcome<&'static str, &'static str>>) {
    let mut crossing = Crossing::new(row.policy);
    let mut awaiters = Vec::new();
    let mut told = Vec::new();
    for (index, event) in row.events.iter().enumerate() {
        match *event {
            Event::Started => assert!(crossing.handle_started()),
            Event::Await => awaiters.push(crossing.handle_awaiter()),
            Event::Leave(number) => assert!(crossing.handle_leave(awaiters[number])),
            Event::Kill(error) => told.extend(interrupt(&mut crossing, Interrupt::Kill(error))),
            Event::Timeout(error) => {
                told.extend(interrupt(&mut crossing, Interrupt::Timeout(error)))
            }
            Event::Value(value) => told.extend(end(&mut crossing, Ended::Value(value))),
            Event::Error(error) => told.extend(end(&mut crossing, Ended::Error(error))),
            Event::Missed => crossing.handle_missed(),
            Event::Cancelled => told.extend(end(&mut crossing, Ended::Cancelled)),
        }
        if let (0, Event::Started) = (index, event) {
            continue;
        }
        while let Some(action) = crossing.poll_action() {
            told.push(match action {
                Action::Start => Told::Start,
                Action::EndSource => Told::EndSource,
                Action::DropSource => Told::DropSource,
                Action::Wake(id) => {
                    Told::Wake(awaiters.iter().position(|known| *known == id).unwrap())
                }
            });
        }
    }
    assert_eq!(
        crossing.state() == State::Settled,
        crossing.outcome().is_some(),
        "{}",
        row.promise
    );
    (told, crossing.take_outcome())
}

type Text = Crossing<&'static str, &'static str>;

fn interrupt(crossing: &mut Text, interrupt: Interrupt<&'static str>) -> Option<Told> {
    match crossing.handle_interrupt(interrupt) {
        Ok(replaced) => replaced.map(Told::Back),
        Err(refused) => Some(Told::Back(refused.0)),
    }
}

fn end(crossing: &mut Text, ended: Ended<&'static str, &'static str>) -> Option<Told> {
    crossing.handle_ended(ended).map(|leftover| {
        Told::Back(match leftover {
            Leftover::Value(text) | Leftover::Error(text) | Leftover::Interrupt(text) => text,
        })
    })
}

#[test]
fn every_row_of_the_table_holds() {
    for row in ROWS {
        let (told, outcome) = play(row);
        assert_eq!(told, row.told, "{}", row.promise);
        assert_eq!(outcome, row.outcome, "{}", row.promise);
    }
}
