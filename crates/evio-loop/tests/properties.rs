//! Whatever is asked of an engine and whenever, it hands out what the model says, once and in order.

mod model;

use evio_loop::{Direction, Lane, Mode};
use model::Op;
use proptest::prelude::*;

fn operation() -> impl Strategy<Value = Op> {
    let lane = || prop_oneof![Just(Lane::Callback), Just(Lane::Fiber)];
    let direction = prop_oneof![3 => Just(Direction::Read), 1 => Just(Direction::Write)];
    let mode = prop_oneof![Just(Mode::Level), Just(Mode::Oneshot)];
    let later = prop_oneof![
        8 => (-40_i64..100).prop_map(Some),
        2 => (0_i64..100_000).prop_map(Some),
        1 => Just(None),
    ];
    let place = || 0..model::PLACES;
    let which = || 0..16_usize;
    prop_oneof![
        4 => Just(Op::Push),
        8 => (lane(), later).prop_map(|(lane, later)| Op::Schedule { lane, later }),
        3 => which().prop_map(|which| Op::Cancel { which }),
        4 => (lane(), place(), direction, mode)
            .prop_map(|(lane, place, direction, mode)| Op::Watch { lane, place, direction, mode }),
        1 => which().prop_map(|which| Op::Unwatch { which }),
        2 => which().prop_map(|which| Op::Arm { which }),
        1 => which().prop_map(|which| Op::Disarm { which }),
        2 => place().prop_map(|place| Op::Feed { place }),
        1 => place().prop_map(|place| Op::Consume { place }),
        1 => Just(Op::Wake),
        3 => (0_u64..60).prop_map(|by| Op::Advance { by }),
        1 => (0_u64..60_000).prop_map(|by| Op::Advance { by }),
        8 => any::<bool>().prop_map(|poll| Op::Begin { poll }),
        5 => any::<bool>().prop_map(|aside| Op::Callback { aside }),
        5 => any::<bool>().prop_map(|aside| Op::Fiber { aside }),
        3 => Just(Op::Finish),
        2 => Just(Op::PutBack),
        1 => Just(Op::Adopt),
    ]
}

/// The operations that leave little behind, rarely enough that the engine fills up between them.
fn rare() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::DrainTimers {
            lane: Lane::Callback
        }),
        Just(Op::DrainTimers { lane: Lane::Fiber }),
        Just(Op::Drain),
    ]
}

fn operations() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(prop_oneof![80 => operation(), 1 => rare()], 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(ops in operations()) {
        model::run(&ops);
    }

    #[test]
    fn on_any_bytes_too(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        model::run(&model::decode(&bytes));
    }
}

/// More timers are cancelled in one turn than the queue of those due keeps the places of.
#[test]
fn due_timers_are_cancelled_by_the_hundred() {
    for lane in [Lane::Callback, Lane::Fiber] {
        let due = Op::Schedule {
            lane,
            later: Some(-1),
        };
        let mut ops = vec![Op::Begin { poll: true }];
        ops.extend(std::iter::repeat_n(due.clone(), 200));
        // Some of these name timers that were cancelled before.
        ops.extend((0..300).map(|step| Op::Cancel {
            which: step * 7 % 190,
        }));
        ops.extend([due.clone(), Op::Cancel { which: 0 }, due]);
        ops.extend([Op::Begin { poll: false }, Op::Finish]);
        model::run(&ops);
    }
}

#[test]
fn bytes_decode_to_every_operation() {
    let mut seen = std::collections::HashSet::new();
    for tag in 0..=255 {
        seen.extend(model::decode(&[tag, 0]).first().map(std::mem::discriminant));
    }
    assert_eq!(seen.len(), 19);
    assert!(model::decode(&[20]).is_empty(), "cut short");
}
