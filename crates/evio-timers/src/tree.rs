//! Where a timer stands, by its deadline: levels of 64 slots, made only where timers crowd.
//!
//! The rules that hold between two calls, and on which every bound rests:
//!
//! 1. A level splits the deadlines it covers by six of their bits, so a slot of a level with shift `s` spans
//!    `2^s` ns. A level inside a slot has a smaller shift; there are at most eleven, one inside the other.
//! 2. A slot is empty, or holds a list, or holds a level. A list of more than [`CROWDED`] timers has only one
//!    deadline.
//! 3. A level has at least two occupied slots. One that is left with a single slot gives its place to it, so
//!    there are fewer levels than lists, and none without timers.
//! 4. A slot that is not occupied is [`Slot::Empty`], in unused levels too: taking a level into use writes
//!    none of its slots.
//!
//! There is no hand that moves with time: a deadline in the past is a deadline like any other.

use crate::list::{CROWDED, Links, List, SHORT, Timers};

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

#[derive(Copy, Clone, Debug)]
pub(crate) enum Slot {
    Empty,
    List(List),
    /// The position of a level.
    Level(u32),
}

#[derive(Debug)]
pub(crate) struct Level {
    /// Any deadline that the level covers.
    pub(crate) within: u64,
    /// Bit `i` is set if slot `i` is not empty.
    pub(crate) occupied: u64,
    pub(crate) shift: u32,
    /// Boxed, so that more levels move little.
    pub(crate) slots: Box<[Slot; SLOTS]>,
}

impl Level {
    pub(crate) fn covers(&self, deadline: u64) -> bool {
        (deadline ^ self.within) >> self.shift < SLOTS as u64
    }

    pub(crate) fn slot_of(&self, deadline: u64) -> usize {
        (deadline >> self.shift) as usize % SLOTS
    }
}

/// The shift of the one level in which deadlines that differ in the bits `difference`, and only in bits up to
/// its highest, stand in different slots.
fn shift_for(difference: u64) -> u32 {
    difference.ilog2() / SLOT_BITS * SLOT_BITS
}

#[derive(Copy, Clone)]
enum Place {
    Root,
    In { level: u32, slot: usize },
}

#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: Slot,
    pub(crate) levels: Vec<Level>,
    pub(crate) unused: Vec<u32>,
}

impl Tree {
    pub(crate) const fn new() -> Self {
        Tree {
            root: Slot::Empty,
            levels: Vec::new(),
            unused: Vec::new(),
        }
    }

    /// Gives the timer `id`, which is in no slot yet, its place.
    pub(crate) fn insert<T>(&mut self, timers: &mut Timers<T>, id: u32, deadline: u64) {
        let mut place = Place::Root;
        loop {
            let slot = self.at(place);
            match *slot {
                Slot::Empty => {
                    *slot = Slot::List(List::of_new(id));
                    return;
                }
                Slot::List(ref mut list)
                    if list.len < CROWDED || list.only_deadline(timers) == Some(deadline) =>
                {
                    list.push(timers, id, deadline);
                    return;
                }
                Slot::List(list) => *self.at(place) = self.split(timers, list, deadline),
                Slot::Level(position) => {
                    let level = &mut self.levels[position as usize];
                    if level.covers(deadline) {
                        let slot = level.slot_of(deadline);
                        level.occupied |= 1 << slot;
                        place = Place::In {
                            level: position,
                            slot,
                        };
                    } else {
                        let within = level.within;
                        let inner = Slot::Level(position);
                        *self.at(place) = self.enclose(inner, within, deadline);
                    }
                }
            }
        }
    }

    /// Closes the gap that a timer with this deadline and these links left. Returns the first timer of what is
    /// left in its slot, if that is known without a search.
    pub(crate) fn remove<T>(
        &mut self,
        timers: &mut Timers<T>,
        deadline: u64,
        links: Links,
    ) -> Option<u32> {
        let mut outer = Place::Root;
        let mut place = Place::Root;
        loop {
            match *self.at(place) {
                Slot::Level(level) => {
                    let slot = self.levels[level as usize].slot_of(deadline);
                    outer = place;
                    place = Place::In { level, slot };
                }
                Slot::List(list) => {
                    if let Some(rest) = list.without(timers, links) {
                        *self.at(place) = Slot::List(rest);
                        return rest.sorted.then_some(rest.head);
                    }
                    self.vacate(place, outer);
                    return None;
                }
                Slot::Empty => unreachable!("the tree lost a timer"),
            }
        }
    }

    /// The timer with the earliest deadline, and of those the first inserted.
    pub(crate) fn first<T>(&mut self, timers: &mut Timers<T>) -> Option<u32> {
        let mut place = Place::Root;
        loop {
            match *self.at(place) {
                Slot::Level(level) => {
                    let occupied = self.levels[level as usize].occupied;
                    let slot = occupied.trailing_zeros() as usize;
                    place = Place::In { level, slot };
                }
                Slot::List(list) if list.sorted => return Some(list.head),
                Slot::List(mut list) if list.len <= SHORT => {
                    list.sort(timers);
                    *self.at(place) = Slot::List(list);
                    return Some(list.head);
                }
                Slot::List(list) => {
                    let head = timers[list.head].deadline;
                    *self.at(place) = self.split(timers, list, head);
                }
                Slot::Empty => return None,
            }
        }
    }

    /// Forgets every timer and gives the memory of all levels back.
    pub(crate) fn clear(&mut self) {
        *self = Tree::new();
    }

    /// Gives memory back that no level in use needs.
    pub(crate) fn shrink_to_fit(&mut self) {
        let last = (0..self.levels.len())
            .rev()
            .find(|&position| self.levels[position].occupied != 0);
        let keep = last.map_or(0, |position| position + 1);
        self.levels.truncate(keep);
        self.levels.shrink_to_fit();
        self.unused.retain(|&position| (position as usize) < keep);
        self.unused.shrink_to_fit();
    }

    fn at(&mut self, place: Place) -> &mut Slot {
        match place {
            Place::Root => &mut self.root,
            Place::In { level, slot } => &mut self.levels[level as usize].slots[slot % SLOTS],
        }
    }

    /// What a slot with a crowded list holds instead, so that a timer due at `deadline` finds room.
    fn split<T>(&mut self, timers: &mut Timers<T>, mut list: List, deadline: u64) -> Slot {
        let first = timers[list.head].deadline;
        let difference = list.difference(timers);
        let beyond = first ^ deadline;
        if difference == 0 {
            list.sorted = true;
        }
        if beyond != 0 && (difference == 0 || shift_for(beyond) > shift_for(difference)) {
            return self.enclose(Slot::List(list), first, deadline);
        }
        if difference == 0 {
            return Slot::List(list);
        }
        let position = self.take_level(first, shift_for(difference));
        let level = &mut self.levels[position as usize];
        let mut rest = Some(list.head);
        while let Some(id) = rest {
            rest = List::after(timers, id);
            let deadline = timers[id].deadline;
            let slot = level.slot_of(deadline);
            match &mut level.slots[slot] {
                Slot::List(list) => list.push(timers, id, deadline),
                empty => *empty = Slot::List(List::of(timers, id)),
            }
            level.occupied |= 1 << slot;
        }
        Slot::Level(position)
    }

    /// A level around `inner`, which covers the deadline `within`, wide enough to cover `deadline` as well.
    fn enclose(&mut self, inner: Slot, within: u64, deadline: u64) -> Slot {
        let position = self.take_level(within, shift_for(within ^ deadline));
        let level = &mut self.levels[position as usize];
        let slot = level.slot_of(within);
        level.slots[slot] = inner;
        level.occupied = 1 << slot;
        Slot::Level(position)
    }

    fn take_level(&mut self, within: u64, shift: u32) -> u32 {
        if let Some(position) = self.unused.pop() {
            let level = &mut self.levels[position as usize];
            level.within = within;
            level.shift = shift;
            return position;
        }
        // Fewer levels than timers, whose positions fit.
        let position = self.levels.len() as u32;
        self.levels.push(Level {
            within,
            occupied: 0,
            shift,
            slots: Box::new([Slot::Empty; SLOTS]),
        });
        position
    }

    /// Empties the slot at `place`, inside the level that stands at `outer`.
    fn vacate(&mut self, place: Place, outer: Place) {
        *self.at(place) = Slot::Empty;
        let Place::In {
            level: position,
            slot,
        } = place
        else {
            return;
        };
        let level = &mut self.levels[position as usize];
        level.occupied &= !(1 << slot);
        if level.occupied.is_power_of_two() {
            let last = level.occupied.trailing_zeros() as usize;
            level.occupied = 0;
            let remaining = std::mem::replace(&mut level.slots[last], Slot::Empty);
            self.unused.push(position);
            *self.at(outer) = remaining;
        }
    }
}
