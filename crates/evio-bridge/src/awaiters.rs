//! The awaiters of one crossing in order of arrival; the usual single one costs no allocation.

use std::collections::VecDeque;

use crate::vocabulary::AwaiterId;

/// Invariant: `rest` is empty when `first` is.
#[derive(Debug, Default)]
pub(crate) struct Awaiters {
    first: Option<AwaiterId>,
    /// Ascending, because ids are given in ascending order.
    rest: VecDeque<AwaiterId>,
    given: u64,
}

impl Awaiters {
    /// Adds one at the end.
    pub(crate) fn add(&mut self) -> AwaiterId {
        let id = AwaiterId(self.given);
        self.given += 1;
        match self.first {
            None => self.first = Some(id),
            Some(_) => self.rest.push_back(id),
        }
        id
    }

    /// Takes out the one that has been here longest.
    pub(crate) fn pop(&mut self) -> Option<AwaiterId> {
        let next = self.rest.pop_front();
        std::mem::replace(&mut self.first, next)
    }

    /// Takes out `id`; false if it was not here.
    pub(crate) fn remove(&mut self, id: AwaiterId) -> bool {
        if self.first == Some(id) {
            self.pop();
            return true;
        }
        match self.rest.binary_search(&id) {
            Ok(index) => self.rest.remove(index).is_some(),
            Err(_) => false,
        }
    }

    /// How many are here.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Whether anybody ever was.
    pub(crate) fn ever(&self) -> bool {
        self.given > 0
    }

    pub(crate) fn into_vec(self) -> Vec<AwaiterId> {
        self.first.into_iter().chain(self.rest).collect()
    }
}
