//! Whatever happens in whatever order, the crossing agrees with a naive model, and no payload is lost or doubled.

mod model;

use model::Op;
use proptest::prelude::*;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => any::<(bool, bool, bool)>().prop_map(|(autostart, end_source, end_awaiters)| Op::New {
            autostart,
            end_source,
            end_awaiters,
        }),
        2 => Just(Op::Started),
        3 => Just(Op::Await),
        3 => any::<u8>().prop_map(Op::Leave),
        2 => Just(Op::Kill),
        2 => Just(Op::Timeout),
        1 => Just(Op::Missed),
        1 => Just(Op::EndValue),
        1 => Just(Op::EndError),
        1 => Just(Op::EndCancelled),
        2 => Just(Op::Poll),
        1 => Just(Op::Drain),
        1 => Just(Op::TakeOutcome),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_model(ops in prop::collection::vec(op(), 0..48)) {
        model::run(&ops);
    }

    #[test]
    fn agrees_with_the_model_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
        model::run(&model::decode(&bytes));
    }
}

/// Every order of five events, under every policy, with and without an awaiter and a start.
#[test]
fn every_short_history_agrees_with_the_model() {
    let events = [
        Op::Started,
        Op::Await,
        Op::Leave(0),
        Op::Kill,
        Op::Timeout,
        Op::Missed,
        Op::EndValue,
        Op::EndError,
        Op::EndCancelled,
        Op::Drain,
    ];
    let base = events.len();
    for policy in 0..8 {
        let new = Op::New {
            autostart: policy & 1 == 0,
            end_source: policy & 2 == 0,
            end_awaiters: policy & 4 == 0,
        };
        for history in 0..base.pow(5) {
            let mut ops = vec![new];
            let mut rest = history;
            for _ in 0..5 {
                ops.push(events[rest % base]);
                rest /= base;
            }
            model::run(&ops);
        }
    }
}

#[test]
fn every_operation_can_be_decoded() {
    let kinds: std::collections::HashSet<_> = (0..=255)
        .flat_map(|byte| model::decode(&[byte]))
        .map(|op| std::mem::discriminant(&op))
        .collect();
    assert_eq!(kinds.len(), 13);
}
