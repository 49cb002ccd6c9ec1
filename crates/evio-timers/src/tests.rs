//! The rules of the tree, checked after every step of long random runs, and the sizes that memory depends on.

use std::mem::size_of;

use crate::list::{CROWDED, List};
use crate::tree::{Level, Slot};
use crate::{Key, Wheel};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[derive(Default)]
struct Seen {
    timers: usize,
    levels: usize,
    depth: usize,
}

fn check_list<T>(wheel: &Wheel<T>, list: List, seen: &mut Seen) -> Vec<u64> {
    let ids: Vec<u32> = list.ids(&wheel.timers).collect();
    assert_eq!(ids.len(), list.len as usize);
    assert_eq!(
        (ids.first(), ids.last()),
        (Some(&list.head), Some(&list.tail))
    );
    let timers: Vec<_> = ids.iter().map(|&id| &wheel.timers[id]).collect();
    for pair in timers.windows(2) {
        if list.sorted {
            assert!(pair[0].deadline <= pair[1].deadline);
        }
        if pair[0].deadline == pair[1].deadline {
            assert!(pair[0].sequence < pair[1].sequence);
        }
        if list.len > CROWDED {
            assert!(list.sorted && pair[0].deadline == pair[1].deadline);
        }
    }
    seen.timers += ids.len();
    timers.iter().map(|timer| timer.deadline).collect()
}

fn check_slot<T>(wheel: &Wheel<T>, slot: Slot, depth: usize, seen: &mut Seen) -> Vec<u64> {
    seen.depth = seen.depth.max(depth);
    match slot {
        Slot::Empty => Vec::new(),
        Slot::List(list) => check_list(wheel, list, seen),
        Slot::Level(position) => {
            seen.levels += 1;
            let level = &wheel.tree.levels[position as usize];
            assert!(level.occupied.count_ones() >= 2);
            let mut all = Vec::new();
            for (index, &slot) in level.slots.iter().enumerate() {
                assert_eq!(
                    level.occupied >> index & 1 == 1,
                    !matches!(slot, Slot::Empty)
                );
                let deadlines = check_slot(wheel, slot, depth + 1, seen);
                for &deadline in &deadlines {
                    assert!(level.covers(deadline));
                    assert_eq!(level.slot_of(deadline), index);
                }
                all.extend(deadlines);
            }
            all
        }
    }
}

fn check<T>(wheel: &Wheel<T>) -> Seen {
    let mut seen = Seen::default();
    let deadlines = check_slot(wheel, wheel.tree.root, 0, &mut seen);
    assert_eq!(seen.timers, wheel.len());
    assert!(seen.depth <= 11);
    assert_eq!(
        seen.levels + wheel.tree.unused.len(),
        wheel.tree.levels.len()
    );
    for &position in &wheel.tree.unused {
        let Level {
            occupied, slots, ..
        } = &wheel.tree.levels[position as usize];
        assert_eq!(*occupied, 0);
        assert!(slots.iter().all(|slot| matches!(slot, Slot::Empty)));
    }
    if let Some((deadline, id)) = wheel.first {
        assert_eq!(Some(&deadline), deadlines.iter().min());
        assert_eq!(wheel.timers[id].deadline, deadline);
    }
    seen
}

fn random_run(seed: u64, steps: usize, deadline: impl Fn(&mut Random) -> u64) {
    let mut random = Random(seed);
    let mut wheel = Wheel::new();
    let mut keys: Vec<Key> = Vec::new();
    let mut growing = true;
    for step in 0..steps {
        if keys.len() > 400 {
            growing = false;
        } else if keys.is_empty() {
            growing = true;
        }
        let odds = if growing { 3 } else { 1 };
        if random.below(4) < odds {
            keys.push(wheel.insert(deadline(&mut random), step));
        } else if !keys.is_empty() && random.below(2) == 0 {
            let key = keys.swap_remove(random.below(keys.len() as u64) as usize);
            assert!(wheel.cancel(key).is_some());
        } else if let Some(due) = wheel.next_deadline() {
            let (key, fired, _) = wheel.pop_due(due).expect("the next deadline is due");
            assert_eq!(fired, due);
            keys.retain(|&other| other != key);
        }
        check(&wheel);
    }
    assert_eq!(wheel.drain().len(), keys.len());
    check(&wheel);
}

#[test]
fn rules_hold_for_any_deadlines() {
    random_run(1, 3_000, Random::next);
}

#[test]
fn rules_hold_for_clustered_deadlines() {
    random_run(2, 3_000, |random| {
        let bits = random.below(64);
        let cluster = random.below(4) << 60;
        cluster ^ (random.next() >> bits >> 1)
    });
}

#[test]
fn rules_hold_for_few_distinct_deadlines() {
    random_run(3, 3_000, |random| {
        [0, 1, 64, 1 << 36, u64::MAX][random.below(5) as usize]
    });
}

#[test]
fn the_deepest_tree_has_eleven_levels() {
    let mut wheel = Wheel::new();
    for bit in 0..64 {
        wheel.insert(1 << bit, ());
    }
    for _ in 0..=CROWDED {
        wheel.insert(0, ());
        wheel.insert(1, ());
    }
    assert_eq!(check(&wheel).depth, 11);
}

#[test]
fn levels_go_with_their_timers_and_come_from_the_pool() {
    let mut wheel = Wheel::new();
    let mut random = Random(5);
    let mut most = 0;
    for _ in 0..5 {
        let keys: Vec<Key> = (0..20_000)
            .map(|_| wheel.insert(random.below(60_000_000_000), ()))
            .collect();
        assert!(check(&wheel).levels > 10);
        for key in keys {
            wheel.cancel(key);
        }
        assert_eq!(check(&wheel).levels, 0);
        let levels = wheel.tree.levels.len();
        assert!(
            most == 0 || levels < most * 2,
            "{levels} levels after {most}"
        );
        most = most.max(levels);
        assert_eq!(wheel.timers.capacity(), 5 * 4_096);
    }
    wheel.shrink_to_fit();
    assert_eq!(wheel.tree.levels.capacity(), 0);
    assert_eq!(wheel.timers.capacity(), 0);
}

#[test]
fn shrinking_keeps_what_is_pending() {
    let mut wheel = Wheel::new();
    let keys: Vec<Key> = (0..5_000).map(|n| wheel.insert(n << 20, n)).collect();
    for &key in &keys[100..] {
        wheel.cancel(key);
    }
    wheel.shrink_to_fit();
    check(&wheel);
    assert_eq!(wheel.drain(), (0..100).collect::<Vec<_>>());
}

#[test]
fn keys_name_their_timers_in_every_chunk_of_memory() {
    let mut wheel = Wheel::with_capacity(10_000);
    let capacity = wheel.timers.capacity();
    assert!(capacity >= 10_000);
    let mut random = Random(7);
    let mut stale: Vec<Key> = Vec::new();
    for round in 0..3 {
        let keys: Vec<Key> = (0..10_000)
            .map(|n| wheel.insert(random.below(1 << 40), round * 10_000 + n))
            .collect();
        assert_eq!(wheel.timers.capacity(), capacity);
        assert!(stale.iter().all(|&key| wheel.get(key).is_none()));
        assert!(stale.iter().all(|&key| wheel.cancel(key).is_none()));
        check(&wheel);
        for (&key, n) in keys.iter().zip(0..) {
            assert_eq!(wheel.get(key), Some(&(round * 10_000 + n)));
        }
        let mut fired = 0;
        while let Some((key, _, payload)) = wheel.pop_due(1 << 39) {
            assert_eq!(keys[payload as usize % 10_000], key);
            fired += 1;
        }
        assert!((4_000..6_000).contains(&fired));
        check(&wheel);
        assert_eq!(wheel.drain().len(), 10_000 - fired);
        stale = keys;
    }
    wheel.shrink_to_fit();
    assert_eq!(wheel.timers.capacity(), 0);
}

#[test]
fn a_million_equal_deadlines_are_not_moved_by_a_different_one() {
    let mut wheel = Wheel::new();
    let first = wheel.insert(1 << 40, 0);
    for n in 1..1_000_000 {
        wheel.insert(1 << 40, n);
    }
    let Slot::List(before) = wheel.tree.root else {
        panic!("equal deadlines need no level");
    };
    wheel.insert((1 << 40) + 1, 1_000_000);
    let seen = check(&wheel);
    assert_eq!((seen.levels, seen.timers), (1, 1_000_001));
    let Slot::List(after) = wheel.tree.levels[0].slots[0] else {
        panic!("the equal deadlines are still one list");
    };
    assert_eq!((before.head, before.tail), (after.head, after.tail));
    assert_eq!(wheel.cancel(first), Some(0));
    assert_eq!(wheel.pop_due(1 << 40).map(|(_, _, n)| n), Some(1));
}

#[test]
fn sizes() {
    assert!(size_of::<Wheel<u64>>() <= 160);
    assert_eq!(size_of::<Slot>(), 16);
    assert_eq!(size_of::<Option<Key>>(), 16);
    assert_eq!(size_of::<crate::list::Timer<u64>>(), 32);
}
