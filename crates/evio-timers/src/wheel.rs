//! The timers, the order they fire in, and the keys that name them.

use std::fmt;
use std::num::NonZeroU64;

use crate::list::{Timer, Timers};
use crate::tree::Tree;

/// The deadline of a timer that never fires.
const NEVER: u64 = u64::MAX;

/// Names one timer of one [`Wheel`], for as long as it is pending.
///
/// Once the timer has fired or was cancelled, its key is stale and stays so: it never names a later timer of the
/// wheel. A key means nothing to another wheel.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct Key {
    sequence: NonZeroU64,
    id: u32,
}

/// Timers that carry a payload each, ordered by deadline, and by insertion where deadlines are equal.
///
/// A deadline is a number of nanoseconds since an origin that the caller picks; [`u64::MAX`] is never due. The
/// wheel reads no clock: what is due is due at the `now` that the caller gives, and `now` may stay, leap ahead
/// by hours or go back.
///
/// The calls come in a cycle: [`insert`](Wheel::insert) and [`cancel`](Wheel::cancel) as needed,
/// [`next_deadline`](Wheel::next_deadline) to learn how long to wait, then [`pop_due`](Wheel::pop_due) with one
/// `now` until it returns `None`. Timers may be inserted and cancelled between any two of them.
///
/// No method drops a payload: every timer that leaves the wheel hands its payload back. Only dropping the wheel
/// drops what is still in it; [`drain`](Wheel::drain) it first where that matters.
///
/// # Examples
///
/// ```
/// use evio_timers::Wheel;
///
/// let mut wheel = Wheel::new();
/// wheel.insert(20, "second");
/// wheel.insert(10, "first");
/// wheel.insert(20, "third");
/// assert_eq!(wheel.next_deadline(), Some(10));
///
/// let mut fired = Vec::new();
/// while let Some((_key, deadline, payload)) = wheel.pop_due(25) {
///     fired.push((deadline, payload));
/// }
/// assert_eq!(fired, [(10, "first"), (20, "second"), (20, "third")]);
/// ```
pub struct Wheel<T> {
    pub(crate) timers: Timers<T>,
    pub(crate) tree: Tree,
    /// Deadline and position of the first timer; `None` if there is none or it has to be searched for.
    pub(crate) first: Option<(u64, u32)>,
    inserted: u64,
}

impl<T> Wheel<T> {
    /// An empty wheel. Allocates nothing.
    pub const fn new() -> Self {
        Wheel {
            timers: Timers::new(),
            tree: Tree::new(),
            first: None,
            inserted: 0,
        }
    }

    /// An empty wheel with memory for `n` timers.
    pub fn with_capacity(n: usize) -> Self {
        Wheel {
            timers: Timers::with_capacity(n),
            ..Wheel::new()
        }
    }

    /// Adds a timer that is due at `deadline`, in nanoseconds: any moment, a past one included. With
    /// [`u64::MAX`] it is pending until it is cancelled. O(1).
    ///
    /// # Panics
    ///
    /// If the wheel already holds 2³² − 1 timers.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut wheel = evio_timers::Wheel::new();
    /// let key = wheel.insert(1_000_000, "a millisecond");
    /// assert_eq!(wheel.get(key), Some(&"a millisecond"));
    /// ```
    pub fn insert(&mut self, deadline: u64, payload: T) -> Key {
        assert!(
            self.timers.len() < u32::MAX as usize,
            "a wheel holds at most 2^32 - 1 timers"
        );
        self.inserted += 1;
        let sequence = NonZeroU64::new(self.inserted).expect("the count of insertions wrapped");
        let is_first = match self.first {
            Some((first, _)) => deadline < first,
            None => self.timers.len() == 0,
        };
        let id = self.timers.insert(Timer::new(deadline, sequence, payload));
        self.tree.insert(&mut self.timers, id, deadline);
        if is_first {
            self.first = Some((deadline, id));
        }
        Key { sequence, id }
    }

    /// Takes a timer out before it fires and hands its payload back; `None` if the key is stale. O(1).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut wheel = evio_timers::Wheel::new();
    /// let key = wheel.insert(10, "timeout");
    /// assert_eq!(wheel.cancel(key), Some("timeout"));
    /// assert_eq!(wheel.cancel(key), None);
    /// ```
    pub fn cancel(&mut self, key: Key) -> Option<T> {
        self.timer(key)?;
        Some(self.take(key.id).payload)
    }

    /// The payload of a pending timer; `None` if the key is stale.
    pub fn get(&self, key: Key) -> Option<&T> {
        self.timer(key).map(|timer| &timer.payload)
    }

    /// The payload of a pending timer, to change; `None` if the key is stale.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.timers
            .get_mut(key.id)
            .filter(|timer| timer.sequence == key.sequence)
            .map(|timer| &mut timer.payload)
    }

    /// The deadline of a pending timer, in nanoseconds; `None` if the key is stale.
    pub fn deadline(&self, key: Key) -> Option<u64> {
        self.timer(key).map(|timer| timer.deadline)
    }

    /// The earliest deadline of all pending timers, in nanoseconds; `None` if there is none or all are
    /// [`u64::MAX`].
    ///
    /// Exact, whatever was cancelled before, and bounded: at most eleven levels are looked at and a list of at
    /// most 64 timers is sorted or split, however many timers there are. It takes `&mut self`
    /// because it keeps what it found.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut wheel = evio_timers::Wheel::new();
    /// let soon = wheel.insert(10, ());
    /// wheel.insert(3_600_000_000_000, ());
    /// assert_eq!(wheel.next_deadline(), Some(10));
    /// wheel.cancel(soon);
    /// assert_eq!(wheel.next_deadline(), Some(3_600_000_000_000));
    /// ```
    pub fn next_deadline(&mut self) -> Option<u64> {
        let (deadline, _) = self.find_first()?;
        (deadline != NEVER).then_some(deadline)
    }

    /// Takes out the first timer that is due at `now`, in nanoseconds, and hands it over with its key, already
    /// stale, and its deadline; `None` if no timer is due.
    ///
    /// Timers come by deadline, and by insertion where deadlines are equal. None comes early: a deadline is
    /// never above `now`, and [`u64::MAX`] is never due.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut wheel = evio_timers::Wheel::new();
    /// let key = wheel.insert(10, "tick");
    /// assert_eq!(wheel.pop_due(9), None);
    /// assert_eq!(wheel.pop_due(10), Some((key, 10, "tick")));
    /// assert_eq!(wheel.pop_due(10), None);
    /// ```
    pub fn pop_due(&mut self, now: u64) -> Option<(Key, u64, T)> {
        let (deadline, id) = self.find_first()?;
        if deadline > now || deadline == NEVER {
            return None;
        }
        let Timer {
            sequence, payload, ..
        } = self.take(id);
        Some((Key { sequence, id }, deadline, payload))
    }

    /// Keeps the timers for which `f` returns true and hands the payloads of the others back, in the order in
    /// which they would have fired.
    ///
    /// `f` is given key, deadline in nanoseconds and payload of every timer once, in no particular order.
    /// Nothing is taken out before the last call of `f`: if it panics, the wheel is as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut wheel = evio_timers::Wheel::new();
    /// wheel.insert(30, "c");
    /// wheel.insert(10, "a");
    /// wheel.insert(20, "b");
    /// assert_eq!(wheel.retain(|_key, _deadline, payload| *payload == "b"), ["a", "c"]);
    /// assert_eq!(wheel.len(), 1);
    /// ```
    pub fn retain(&mut self, mut f: impl FnMut(Key, u64, &T) -> bool) -> Vec<T> {
        let mut removed: Vec<(u64, Key)> = self
            .iter()
            .filter(|&(key, deadline, payload)| !f(key, deadline, payload))
            .map(|(key, deadline, _)| (deadline, key))
            .collect();
        removed.sort_unstable_by_key(|&(deadline, key)| (deadline, key.sequence));
        removed
            .into_iter()
            .map(|(_, key)| self.take(key.id).payload)
            .collect()
    }

    /// Key, deadline in nanoseconds and payload of every pending timer, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, u64, &T)> {
        self.timers.iter().map(|(id, timer)| {
            let key = Key {
                sequence: timer.sequence,
                id,
            };
            (key, timer.deadline, &timer.payload)
        })
    }

    /// How many timers are pending, those that are never due included.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether no timer is pending.
    pub fn is_empty(&self) -> bool {
        self.timers.len() == 0
    }

    /// Takes every timer out and hands the payloads back in the order in which they would have fired, those that
    /// are never due last.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut wheel = evio_timers::Wheel::new();
    /// wheel.insert(u64::MAX, "never");
    /// wheel.insert(20, "later");
    /// wheel.insert(10, "soon");
    /// assert_eq!(wheel.drain(), ["soon", "later", "never"]);
    /// assert!(wheel.is_empty());
    /// ```
    pub fn drain(&mut self) -> Vec<T> {
        self.first = None;
        self.tree.clear();
        let mut timers: Vec<Timer<T>> = self.timers.take_all();
        timers.sort_unstable_by_key(|timer| (timer.deadline, timer.sequence));
        timers.into_iter().map(|timer| timer.payload).collect()
    }

    /// Gives memory back to the allocator, as far as no pending timer stands in the way. All of it, if none is
    /// pending.
    ///
    /// Otherwise the wheel keeps the memory of timers that left one by one, and uses it again.
    pub fn shrink_to_fit(&mut self) {
        self.timers.shrink_to_fit();
        self.tree.shrink_to_fit();
    }

    fn timer(&self, key: Key) -> Option<&Timer<T>> {
        self.timers
            .get(key.id)
            .filter(|timer| timer.sequence == key.sequence)
    }

    fn find_first(&mut self) -> Option<(u64, u32)> {
        if self.first.is_none() {
            self.first = self
                .tree
                .first(&mut self.timers)
                .map(|id| (self.timers[id].deadline, id));
        }
        self.first
    }

    fn take(&mut self, id: u32) -> Timer<T> {
        let timer = self.timers.remove(id);
        let next = self
            .tree
            .remove(&mut self.timers, timer.deadline, timer.links);
        if self.first.is_some_and(|(_, first)| first == id) {
            // The first timer stood in the earliest slot of all, so the rest of that slot comes before any other.
            self.first = next.map(|next| (self.timers[next].deadline, next));
        }
        timer
    }
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Wheel::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.iter()
                    .map(|(_, deadline, payload)| (deadline, payload)),
            )
            .finish()
    }
}
