//! What an engine says of itself, beside what the model says.

use evio_loop::{Direction, Key, Lane};

use super::PLACES;
use super::world::{LANES, World, run_of};

impl World {
    /// What can be asked of an engine without changing how it stands.
    pub(crate) fn check(&mut self) {
        let mut held: Vec<u32> = self.engine.payloads().copied().collect();
        held.sort_unstable();
        let timers = self.timers.iter().map(|timer| timer.payload);
        let watchers = self.watchers.iter().map(|watcher| watcher.payload);
        let callbacks = self.callbacks.iter().copied().filter_map(run_of);
        let mut expected: Vec<u32> = timers.chain(watchers).chain(callbacks).collect();
        expected.sort_unstable();
        assert_eq!(held, expected, "a payload was lost or doubled");
        if self.batch > 0 {
            assert!(self.engine.has_callbacks());
        }
        let mut later = self.callbacks.iter().copied().skip(self.batch);
        if later.any(|item| run_of(item).is_some()) {
            assert!(self.engine.has_later_callbacks());
            assert!(self.engine.has_later_work());
        }
        let next = self.timers.iter().map(|timer| timer.deadline).min();
        assert_eq!(
            self.engine.next_deadline(),
            next.filter(|&next| next != u64::MAX)
        );
        for &key in &self.timer_keys {
            let timer = self.timers.iter().find(|timer| timer.key == key);
            assert_eq!(self.engine.deadline(key), timer.map(|timer| timer.deadline));
        }
        for lane in LANES {
            self.check_lane(lane);
        }
    }

    fn check_lane(&self, lane: Lane) {
        let timers = self.timers.iter().filter(|timer| timer.lane == lane);
        let mut expected: Vec<_> = timers.map(|t| (t.deadline, t.payload)).collect();
        expected.sort_unstable();
        let mut found: Vec<_> = self.engine.timers(lane).map(|(d, &p)| (d, p)).collect();
        found.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(self.engine.timer_count(lane), expected.len());
        assert_eq!(self.engine.turn(), self.turn);

        let watchers = || self.watchers.iter().filter(|watcher| watcher.lane == lane);
        let mut found: Vec<_> = self.engine.watchers(lane).collect();
        found.sort_unstable_by_key(|&(.., payload)| payload);
        let mut expected: Vec<_> = watchers()
            .map(|w| (w.key, self.fd(w.place), w.direction, &w.payload))
            .collect();
        expected.sort_unstable_by_key(|&(.., payload)| payload);
        assert_eq!(found, expected);
        for place in 0..PLACES {
            for direction in [Direction::Read, Direction::Write] {
                let expected: Vec<Key> = watchers()
                    .filter(|w| w.place == place && w.direction == direction)
                    .map(|w| w.key)
                    .collect();
                let found = self.engine.watchers_of(lane, self.fd(place), direction);
                assert_eq!(found.collect::<Vec<Key>>(), expected);
            }
        }
    }

    /// One last turn, at the end of time, hands out all that was ever to come.
    pub(crate) fn end(&mut self) {
        self.now = u64::MAX;
        self.begin(true);
        while self.next_callback().is_some() {}
        while self.next_fiber().is_some() {}
        self.check();
        assert!(self.callbacks.is_empty() && self.fibers.is_empty());
        assert!(self.timers.iter().all(|timer| timer.deadline == u64::MAX));
        self.drain();
        self.check();
    }
}
