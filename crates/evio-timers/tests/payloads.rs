//! Every payload is handed back or, with the wheel, dropped: once, and never by a method of the wheel.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use evio_timers::{Key, Wheel};

/// Counts its drops in the slot of its number.
struct Counted<'a> {
    number: usize,
    drops: &'a [Cell<u32>],
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let drops = &self.drops[self.number];
        drops.set(drops.get() + 1);
    }
}

fn filled<'a>(drops: &'a [Cell<u32>]) -> (Wheel<Counted<'a>>, Vec<Key>) {
    let mut wheel = Wheel::new();
    let keys = (0..drops.len())
        .map(|number| {
            let spread = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let deadline = if number % 50 == 0 {
                u64::MAX
            } else {
                spread >> (number % 40)
            };
            wheel.insert(deadline, Counted { number, drops })
        })
        .collect();
    (wheel, keys)
}

fn total(drops: &[Cell<u32>]) -> u32 {
    drops.iter().map(Cell::get).sum()
}

#[test]
fn each_way_out_hands_the_payload_over_undropped() {
    let drops = vec![Cell::new(0); 1_000];
    let (mut wheel, keys) = filled(&drops);
    let mut out = Vec::new();
    out.extend(
        keys[..200]
            .iter()
            .map(|&key| wheel.cancel(key).expect("pending")),
    );
    out.extend(std::iter::from_fn(|| wheel.pop_due(1 << 50)).map(|(_, _, payload)| payload));
    out.extend(wheel.retain(|_, _, payload| payload.number % 2 == 0));
    for &key in &keys {
        assert_eq!(wheel.get(key).is_some(), wheel.deadline(key).is_some());
    }
    assert!(!wheel.is_empty());
    out.extend(wheel.drain());
    wheel.shrink_to_fit();
    assert!(keys.iter().all(|&key| wheel.cancel(key).is_none()));
    assert_eq!((out.len(), total(&drops)), (1_000, 0));

    drop(wheel);
    assert_eq!(total(&drops), 0);
    drop(out);
    assert!(drops.iter().all(|drops| drops.get() == 1));
}

#[test]
fn what_is_pending_is_dropped_with_the_wheel() {
    let drops = vec![Cell::new(0); 1_000];
    let (mut wheel, keys) = filled(&drops);
    let mut cancelled = Vec::new();
    for &key in keys.iter().step_by(3) {
        cancelled.extend(wheel.cancel(key));
    }
    drop(wheel);
    for (number, drops) in drops.iter().enumerate() {
        assert_eq!(drops.get(), u32::from(number % 3 != 0));
    }
    drop(cancelled);
    assert!(drops.iter().all(|drops| drops.get() == 1));
}

#[test]
fn a_panic_in_retain_takes_nothing_out() {
    let drops = vec![Cell::new(0); 100];
    let (mut wheel, keys) = filled(&drops);
    let mut calls = 0;
    let result = catch_unwind(AssertUnwindSafe(|| {
        wheel.retain(|_, _, _| {
            calls += 1;
            assert!(calls < 60, "as the test wants it");
            false
        })
    }));
    assert!(result.is_err());
    assert_eq!((wheel.len(), total(&drops)), (100, 0));
    assert!(keys.iter().all(|&key| wheel.get(key).is_some()));
    assert_eq!(wheel.drain().len(), 100);
}
