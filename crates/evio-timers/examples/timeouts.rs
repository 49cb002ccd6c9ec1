//! A day of a busy server, simulated: every request has a time limit, most are answered first.
//!
//! ```text
//! cargo run --release --example timeouts
//! ```

use std::time::Instant;

use evio_timers::{Key, Wheel};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
const DAY: u64 = 24 * 3_600 * SECOND;
const LIMIT: u64 = 30 * SECOND;

enum Event {
    Arrival,
    Answer { limit: Key },
    Limit,
    Report { hour: u32 },
}

/// A few numbers that look random, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn main() {
    let started = Instant::now();
    let mut random = Random(1);
    let mut wheel = Wheel::new();
    let (mut answered, mut timed_out, mut most) = (0_u64, 0_u64, 0);
    wheel.insert(0, Event::Arrival);
    for hour in 1..=24 {
        wheel.insert(u64::from(hour) * 3_600 * SECOND, Event::Report { hour });
    }

    let mut now = 0;
    while now < DAY {
        // Simulated time goes straight to the next deadline; a real loop would sleep until then.
        now = wheel
            .next_deadline()
            .expect("there is always another arrival");
        while let Some((_key, _deadline, event)) = wheel.pop_due(now) {
            match event {
                Event::Arrival => {
                    let limit = wheel.insert(now + LIMIT, Event::Limit);
                    // One request in a thousand takes up to ten minutes.
                    let longest = if random.below(1_000) == 0 {
                        600 * SECOND
                    } else {
                        SECOND
                    };
                    let answer = now + random.below(longest);
                    wheel.insert(answer, Event::Answer { limit });
                    wheel.insert(now + 1 + random.below(100 * MILLISECOND), Event::Arrival);
                    most = most.max(wheel.len());
                }
                Event::Answer { limit } => answered += u64::from(wheel.cancel(limit).is_some()),
                Event::Limit => timed_out += 1,
                Event::Report { hour } => {
                    println!(
                        "{hour:>2} h: {answered} answered, {timed_out} timed out, {} timers",
                        wheel.len()
                    );
                }
            }
        }
    }
    println!(
        "at most {most} timers at once; the day took {:.2?}",
        started.elapsed()
    );
}
