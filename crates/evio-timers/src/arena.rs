//! The memory of the timers: slabs of a bounded size, so that growth never moves what is there already.

use std::ops::{Index, IndexMut};

use slab::Slab;

const CHUNK_BITS: u32 = 12;
const CHUNK: usize = 1 << CHUNK_BITS;

/// Values by position. The first chunk grows by doubling; the others are made whole.
#[derive(Debug)]
pub(crate) struct Arena<V> {
    chunks: Vec<Slab<V>>,
    /// The chunks with room, the one to fill next last.
    open: Vec<u32>,
    len: usize,
}

fn split(position: u32) -> (usize, usize) {
    ((position >> CHUNK_BITS) as usize, position as usize % CHUNK)
}

fn join(chunk: usize, slot: usize) -> u32 {
    (chunk << CHUNK_BITS | slot) as u32
}

impl<V> Arena<V> {
    pub(crate) const fn new() -> Self {
        Arena {
            chunks: Vec::new(),
            open: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn with_capacity(n: usize) -> Self {
        let chunks: Vec<Slab<V>> = (0..n.div_ceil(CHUNK))
            .map(|chunk| Slab::with_capacity((n - chunk * CHUNK).min(CHUNK)))
            .collect();
        Arena {
            open: (0..chunks.len() as u32).rev().collect(),
            chunks,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the position, which is below `u32::MAX` as long as fewer than `u32::MAX` values are there.
    pub(crate) fn insert(&mut self, value: V) -> u32 {
        let chunk = match self.open.last() {
            Some(&chunk) => chunk as usize,
            None => self.add_chunk(),
        };
        let slab = &mut self.chunks[chunk];
        let slot = slab.insert(value);
        if slab.len() == CHUNK {
            self.open.pop();
        }
        self.len += 1;
        join(chunk, slot)
    }

    #[cold]
    fn add_chunk(&mut self) -> usize {
        let chunk = self.chunks.len();
        let capacity = if chunk == 0 { 0 } else { CHUNK };
        self.chunks.push(Slab::with_capacity(capacity));
        self.open.push(chunk as u32);
        chunk
    }

    /// # Panics
    ///
    /// If nothing is at `position`.
    pub(crate) fn remove(&mut self, position: u32) -> V {
        let (chunk, slot) = split(position);
        let slab = &mut self.chunks[chunk];
        if slab.len() == CHUNK {
            self.open.push(chunk as u32);
        }
        self.len -= 1;
        slab.remove(slot)
    }

    pub(crate) fn get(&self, position: u32) -> Option<&V> {
        let (chunk, slot) = split(position);
        self.chunks.get(chunk)?.get(slot)
    }

    pub(crate) fn get_mut(&mut self, position: u32) -> Option<&mut V> {
        let (chunk, slot) = split(position);
        self.chunks.get_mut(chunk)?.get_mut(slot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &V)> {
        self.chunks.iter().enumerate().flat_map(|(chunk, slab)| {
            slab.iter()
                .map(move |(slot, value)| (join(chunk, slot), value))
        })
    }

    /// Takes all values out; the memory stays.
    pub(crate) fn take_all(&mut self) -> Vec<V> {
        let mut all = Vec::with_capacity(self.len);
        for slab in &mut self.chunks {
            all.extend(slab.drain());
        }
        self.len = 0;
        self.open.clear();
        self.open.extend((0..self.chunks.len() as u32).rev());
        all
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        while self.chunks.last().is_some_and(Slab::is_empty) {
            self.chunks.pop();
        }
        for slab in &mut self.chunks {
            slab.shrink_to_fit();
        }
        self.chunks.shrink_to_fit();
        self.open
            .retain(|&chunk| (chunk as usize) < self.chunks.len());
        self.open.shrink_to_fit();
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.iter().map(Slab::capacity).sum()
    }
}

impl<V> Index<u32> for Arena<V> {
    type Output = V;

    fn index(&self, position: u32) -> &V {
        let (chunk, slot) = split(position);
        &self.chunks[chunk][slot]
    }
}

impl<V> IndexMut<u32> for Arena<V> {
    fn index_mut(&mut self, position: u32) -> &mut V {
        let (chunk, slot) = split(position);
        &mut self.chunks[chunk][slot]
    }
}
