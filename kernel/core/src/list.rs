//! Doubly linked lists through the objects themselves: constant time, no memory of their own.

use core::cell::Cell;

use crate::name::{Object, Ref};
use crate::store::Store;

/// The links of an object in one list.
#[derive(Debug)]
#[repr(C)]
pub struct Links<T> {
    next: Cell<Option<Ref<T>>>,
    previous: Cell<Option<Ref<T>>>,
}

impl<T> Default for Links<T> {
    fn default() -> Self {
        Self {
            next: Cell::new(None),
            previous: Cell::new(None),
        }
    }
}
impl<T> Clone for Links<T> {
    fn clone(&self) -> Self {
        Self {
            next: self.next.clone(),
            previous: self.previous.clone(),
        }
    }
}

impl<T> Links<T> {
    /// Shows both links to a visitor of the whole state.
    #[cfg(feature = "host")]
    pub(crate) fn visit<V: crate::host::Visitor>(&self, visitor: &mut V) {
        for cell in [&self.next, &self.previous] {
            cell.set(Ref::new(visitor.word(cell.get().map_or(0, Ref::address))));
        }
    }

    /// The next object of the list.
    #[must_use]
    pub fn next(&self) -> Option<Ref<T>> {
        self.next.get()
    }
}

/// Head and tail of a list of objects. `of` names which of an object's links the list uses.
#[derive(Debug)]
#[repr(C)]
pub struct List<T> {
    head: Cell<Option<Ref<T>>>,
    tail: Cell<Option<Ref<T>>>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}
impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self {
            head: self.head.clone(),
            tail: self.tail.clone(),
        }
    }
}

impl<T> List<T> {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            head: Cell::new(None),
            tail: Cell::new(None),
        }
    }

    /// Shows both ends to a visitor of the whole state.
    #[cfg(feature = "host")]
    pub(crate) fn visit<V: crate::host::Visitor>(&self, visitor: &mut V) {
        for cell in [&self.head, &self.tail] {
            cell.set(Ref::new(visitor.word(cell.get().map_or(0, Ref::address))));
        }
    }
}

impl<T: Object> List<T> {
    /// First object.
    #[must_use]
    #[inline(always)]
    pub fn first(&self) -> Option<Ref<T>> {
        self.head.get()
    }

    /// Whether nothing is in it.
    #[must_use]
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    /// Appends an object that is in no list of these links.
    pub fn push_back<S: Store>(&self, store: &S, name: Ref<T>, of: fn(&T) -> &Links<T>) {
        let links = of(T::of(store, name));
        links.next.set(None);
        links.previous.set(self.tail.get());
        match self.tail.get() {
            Some(last) => of(T::of(store, last)).next.set(Some(name)),
            None => self.head.set(Some(name)),
        }
        self.tail.set(Some(name));
    }

    /// Puts an object that is in no list of these links first.
    pub fn push_front<S: Store>(&self, store: &S, name: Ref<T>, of: fn(&T) -> &Links<T>) {
        let links = of(T::of(store, name));
        links.previous.set(None);
        links.next.set(self.head.get());
        match self.head.get() {
            Some(first) => of(T::of(store, first)).previous.set(Some(name)),
            None => self.tail.set(Some(name)),
        }
        self.head.set(Some(name));
    }

    /// Takes an object that is in this list out of it.
    pub fn remove<S: Store>(&self, store: &S, name: Ref<T>, of: fn(&T) -> &Links<T>) {
        let links = of(T::of(store, name));
        let (next, previous) = (links.next.take(), links.previous.take());
        match previous {
            Some(previous) => of(T::of(store, previous)).next.set(next),
            None => self.head.set(next),
        }
        match next {
            Some(next) => of(T::of(store, next)).previous.set(previous),
            None => self.tail.set(previous),
        }
    }

    /// The objects in order, without changing the list meanwhile.
    pub fn iter<'a, S: Store>(
        &self,
        store: &'a S,
        of: fn(&T) -> &Links<T>,
    ) -> impl Iterator<Item = Ref<T>> + use<'a, S, T>
    where
        T: 'a,
    {
        core::iter::successors(self.first(), move |&name| of(T::of(store, name)).next())
    }
}
