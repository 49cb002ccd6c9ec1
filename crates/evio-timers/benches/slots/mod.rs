//! A wheel of slots a millisecond wide, as runtimes for async Rust have: six levels of 64 slots, a list for each.
//!
//! Deadlines are rounded up to the next millisecond, and what is due in one comes in any order.

const NANOSECONDS: u64 = 1_000_000;
const LEVELS: usize = 6;
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const NONE: u32 = u32::MAX;

struct Entry {
    /// In milliseconds.
    deadline: u64,
    /// `None` for an entry that is free.
    payload: Option<u64>,
    previous: u32,
    next: u32,
    /// The list that it is in.
    list: u32,
}

pub(crate) struct Slots {
    /// In milliseconds; everything that was due until then has left the levels.
    elapsed: u64,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// The first of each list: all slots of all levels, and last the list of what is due.
    heads: Vec<u32>,
    /// By level, a bit for each slot that has a timer.
    occupied: [u64; LEVELS],
}

const DUE: u32 = (LEVELS * SLOTS) as u32;

impl Slots {
    /// `start` is no later than any deadline.
    pub(crate) fn new(start: u64) -> Self {
        Slots {
            elapsed: start / NANOSECONDS,
            entries: Vec::new(),
            free: Vec::new(),
            heads: vec![NONE; LEVELS * SLOTS + 1],
            occupied: [0; LEVELS],
        }
    }

    pub(crate) fn insert(&mut self, deadline: u64, payload: u64) -> u32 {
        let entry = Entry {
            deadline: deadline.div_ceil(NANOSECONDS),
            payload: Some(payload),
            previous: NONE,
            next: NONE,
            list: DUE,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        self.place(id);
        id
    }

    pub(crate) fn cancel(&mut self, id: u32) -> Option<u64> {
        self.unlink(id);
        self.free.push(id);
        self.entries[id as usize].payload.take()
    }

    /// In nanoseconds, and no more exact than the slot.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if self.heads[DUE as usize] != NONE {
            return Some(self.elapsed * NANOSECONDS);
        }
        self.next_slot().map(|(_, _, time)| time * NANOSECONDS)
    }

    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(u64, u64)> {
        let now = now / NANOSECONDS;
        while self.heads[DUE as usize] == NONE {
            let Some((level, slot, time)) = self.next_slot().filter(|slot| slot.2 <= now) else {
                self.elapsed = self.elapsed.max(now);
                return None;
            };
            self.elapsed = time;
            let list = level * SLOTS + slot;
            self.occupied[level] &= !(1 << slot);
            let mut id = std::mem::replace(&mut self.heads[list], NONE);
            while id != NONE {
                let next = self.entries[id as usize].next;
                self.place(id);
                id = next;
            }
        }
        let id = self.heads[DUE as usize];
        let deadline = self.entries[id as usize].deadline * NANOSECONDS;
        self.cancel(id).map(|payload| (deadline, payload))
    }

    /// The earliest slot that is not empty: its level, its index, and when it begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        (0..LEVELS).find_map(|level| {
            let shift = level as u32 * BITS;
            let here = (self.elapsed >> shift) as u32 % SLOTS as u32;
            let occupied = self.occupied[level].rotate_right(here);
            if occupied == 0 {
                return None;
            }
            let ahead = u64::from(occupied.trailing_zeros());
            let time = ((self.elapsed >> shift) + ahead) << shift;
            let slot = (here as usize + ahead as usize) % SLOTS;
            Some((level, slot, time.max(self.elapsed)))
        })
    }

    /// Links an entry into the list where its deadline belongs.
    fn place(&mut self, id: u32) {
        let deadline = self.entries[id as usize].deadline;
        let list = if deadline <= self.elapsed {
            DUE as usize
        } else {
            // The highest bit in which the deadline differs from the time says how coarse a slot will do.
            let highest = 63 - (deadline ^ self.elapsed).leading_zeros();
            let level = ((highest / BITS) as usize).min(LEVELS - 1);
            let slot = (deadline >> (level as u32 * BITS)) as usize % SLOTS;
            self.occupied[level] |= 1 << slot;
            level * SLOTS + slot
        };
        let head = std::mem::replace(&mut self.heads[list], id);
        if head != NONE {
            self.entries[head as usize].previous = id;
        }
        let entry = &mut self.entries[id as usize];
        (entry.previous, entry.next, entry.list) = (NONE, head, list as u32);
    }

    fn unlink(&mut self, id: u32) {
        let &Entry {
            previous,
            next,
            list,
            ..
        } = &self.entries[id as usize];
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous != NONE {
            self.entries[previous as usize].next = next;
            return;
        }
        self.heads[list as usize] = next;
        if next == NONE && list != DUE {
            let (level, slot) = (list as usize / SLOTS, list as usize % SLOTS);
            self.occupied[level] &= !(1 << slot);
        }
    }
}
