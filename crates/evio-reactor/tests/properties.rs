//! Whatever is done to a reactor and behind its back, it reports what the model says.

mod model;

use evio_reactor::{Direction, Mode};
use model::{Kind, Op};
use proptest::prelude::*;

fn operation() -> impl Strategy<Value = Op> {
    let direction = prop_oneof![Just(Direction::Read), Just(Direction::Write)];
    let mode = prop_oneof![Just(Mode::Level), Just(Mode::Oneshot)];
    let kind = prop_oneof![
        3 => Just(Kind::Stream),
        1 => Just(Kind::PipeRead),
        1 => Just(Kind::PipeWrite),
        1 => Just(Kind::Regular),
    ];
    let place = || 0..model::PLACES;
    let which = || 0..64_usize;
    prop_oneof![
        6 => (place(), direction, mode)
            .prop_map(|(place, direction, mode)| Op::Add { place, direction, mode }),
        2 => which().prop_map(|which| Op::Remove { which }),
        3 => which().prop_map(|which| Op::Arm { which }),
        2 => which().prop_map(|which| Op::Disarm { which }),
        1 => Just(Op::Drain),
        1 => Just(Op::Rebuild),
        1 => Just(Op::Wake),
        2 => Just(Op::Block),
        6 => Just(Op::Wait),
        2 => place().prop_map(|place| Op::Feed { place }),
        2 => place().prop_map(|place| Op::Consume { place }),
        1 => place().prop_map(|place| Op::Fill { place }),
        1 => place().prop_map(|place| Op::Relieve { place }),
        1 => place().prop_map(|place| Op::HangUp { place }),
        1 => place().prop_map(|place| Op::Close { place }),
        2 => (place(), kind).prop_map(|(place, kind)| Op::Reopen { place, kind }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    // One test, so that no other takes the descriptor numbers it plays with.
    #[test]
    fn the_reactor_does_what_the_model_does(
        ops in prop::collection::vec(operation(), 0..60),
        bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        model::run(&ops);
        model::run(&model::decode(&bytes));
    }
}
