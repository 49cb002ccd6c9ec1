//! The wheel does what the plainest model does, whatever is done to it.

mod model;

use model::Op;
use proptest::collection::vec;
use proptest::prelude::*;

/// Moments close together, far apart, in a few narrow places, and at both ends of time.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0_u64..200,
        4 => (0_u64..4, 0_u32..60, 0_u64..64).prop_map(|(place, scale, step)| place << 61 ^ step << scale),
        4 => 0_u64..60_000_000_000,
        2 => any::<u64>(),
        1 => (0_u64..3).prop_map(|before| u64::MAX - before),
    ]
}

/// One coarse slot: a second of nanoseconds a day away.
fn crowd() -> impl Strategy<Value = u64> {
    (0_u64..1 << 30).prop_map(|offset| 80_530 << 30 | offset)
}

fn which() -> impl Strategy<Value = usize> {
    prop_oneof![0_usize..8, any::<usize>()]
}

fn op(time: impl Strategy<Value = u64> + Clone) -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => time.clone().prop_map(Op::Insert),
        4 => (which(), any::<i8>()).prop_map(|(which, by)| Op::InsertNear { which, by }),
        4 => which().prop_map(|which| Op::Cancel { which }),
        2 => Just(Op::CancelFirst),
        1 => which().prop_map(|which| Op::Touch { which }),
        3 => Just(Op::NextDeadline),
        4 => time.clone().prop_map(Op::PopDue),
        1 => (time, which()).prop_map(|(late, which)| Op::FireAll { late, which }),
        1 => any::<u64>().prop_map(|keep| Op::Retain { keep }),
        1 => Just(Op::Iter),
    ]
}

/// The operations that leave little behind, rarely enough that the wheel fills up between them.
fn rare() -> impl Strategy<Value = Op> {
    prop_oneof![Just(Op::Shrink), Just(Op::Drain)]
}

fn ops(time: impl Strategy<Value = u64> + Clone) -> impl Strategy<Value = Vec<Op>> {
    vec(prop_oneof![200 => op(time), 1 => rare()], 0..500)
}

proptest! {
    #[test]
    fn any_moments(ops in ops(time().boxed())) {
        model::run(&ops);
    }

    #[test]
    fn one_coarse_slot(ops in ops(crowd().boxed())) {
        model::run(&ops);
    }

    #[test]
    fn few_moments(ops in ops(prop::sample::select(vec![0, 7, 64, 4_096, 1 << 40, u64::MAX]).boxed())) {
        model::run(&ops);
    }

    #[test]
    fn the_earliest_of_a_crowd_is_cancelled_over_and_over(deadlines in vec(crowd(), 1..500)) {
        let mut ops: Vec<Op> = deadlines.iter().copied().map(Op::Insert).collect();
        for _ in &deadlines {
            ops.extend([Op::NextDeadline, Op::CancelFirst]);
        }
        ops.push(Op::NextDeadline);
        model::run(&ops);
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..3_000)) {
        model::run(&model::decode(&bytes));
    }
}

#[test]
fn bytes_decode_to_every_operation() {
    let mut seen = std::collections::HashSet::new();
    for first in 0..=255 {
        let ops = model::decode(&[first, 0xc0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        seen.extend(ops.first().map(std::mem::discriminant));
    }
    assert_eq!(seen.len(), 12);
    assert!(model::decode(&[0, 0xff]).len() == 1);
    assert!(model::decode(&[0]).is_empty());
}
