//! A binary heap of fixed capacity, ordered by time, whose members know their place: removal of any
//! member costs a logarithm. One of a core's heaps holds timers, the other the fair band.

use core::cell::Cell;

/// A member: when, and who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Entry {
    /// Order; the smallest is first.
    pub key: u64,
    /// Name of the member.
    pub name: u64,
}

/// The heap. Places given to `place` are 1-based; 0 says that a member is in no heap.
#[derive(Clone, Debug)]
pub struct Heap<const N: usize> {
    entries: [Cell<Entry>; N],
    length: Cell<usize>,
}

impl<const N: usize> Default for Heap<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Heap<N> {
    /// An empty heap.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: [const { Cell::new(Entry { key: 0, name: 0 }) }; N],
            length: Cell::new(0),
        }
    }

    /// Shows the members to a visitor of the whole state.
    #[cfg(feature = "host")]
    pub(crate) fn visit<V: crate::host::Visitor>(&self, visitor: &mut V) {
        self.length.set(visitor.word(self.len() as u64) as usize);
        for cell in self.entries.iter().take(self.len()) {
            let Entry { key, name } = cell.get();
            let (key, name) = (visitor.word(key), visitor.word(name));
            cell.set(Entry { key, name });
        }
    }

    /// Members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length.get()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The smallest.
    #[must_use]
    pub fn first(&self) -> Option<Entry> {
        if self.is_empty() {
            None
        } else {
            self.entries.first().map(Cell::get)
        }
    }

    /// The member at a 1-based place.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<Entry> {
        if place == 0 || place > self.len() {
            None
        } else {
            self.entries.get(place - 1).map(Cell::get)
        }
    }

    /// Adds a member. `place` is told every move.
    ///
    /// # Panics
    /// If the heap is full, which would be a broken invariant: each possible member is in it at most once and has been counted
    /// before (`core-threads`, `core-contexts`), and `N` is the most that may be counted ([`crate::percpu::CORE_THREADS`],
    /// [`crate::percpu::CORE_CONTEXTS`]).
    pub fn insert(&self, entry: Entry, place: impl Fn(u64, u32)) {
        let length = self.len() + 1;
        assert!(length <= N, "a core has more threads or contexts than it counts");
        self.length.set(length);
        self.rise(length, entry, &place);
    }

    /// Removes the member at a 1-based place.
    pub fn remove(&self, at: usize, place: impl Fn(u64, u32)) {
        let (Some(removed), Some(last)) = (self.at(at), self.at(self.len())) else {
            return;
        };
        self.length.set(self.len() - 1);
        place(removed.name, 0);
        if at > self.len() {
            return;
        }
        if last.key < removed.key {
            self.rise(at, last, &place);
        } else {
            self.sink(at, last, &place);
        }
    }

    fn put(&self, at: usize, entry: Entry, place: &impl Fn(u64, u32)) {
        if let Some(cell) = self.entries.get(at - 1) {
            cell.set(entry);
            place(entry.name, at as u32);
        }
    }

    fn rise(&self, mut at: usize, entry: Entry, place: &impl Fn(u64, u32)) {
        while at > 1 {
            match self.at(at / 2) {
                Some(parent) if entry.key < parent.key => self.put(at, parent, place),
                _ => break,
            }
            at /= 2;
        }
        self.put(at, entry, place);
    }

    fn sink(&self, mut at: usize, entry: Entry, place: &impl Fn(u64, u32)) {
        while let Some(left) = self.at(2 * at) {
            let (child_at, child) = match self.at(2 * at + 1) {
                Some(right) if right.key < left.key => (2 * at + 1, right),
                _ => (2 * at, left),
            };
            if entry.key <= child.key {
                break;
            }
            self.put(at, child, place);
            at = child_at;
        }
        self.put(at, entry, place);
    }
}
