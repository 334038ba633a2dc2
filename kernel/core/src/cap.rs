//! Capabilities: 16 bytes in a protection domain's table, and the one way from a slot to an object.

use core::cell::Cell;

use ecusson_abi::{Error, Kind, Rights, Words};

use crate::kernel::{Failure, Kernel};
use crate::name::{Frame, Object, Ref};
use crate::store::{Store, Tag};
use crate::thread::Thread;

/// A capability: who, what kind, with which rights, of which epoch. All zero is none.
///
/// `word`: bits 0..4 kind, 4..12 rights, 12..64 the object's physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Capability {
    /// Name, kind and rights.
    pub word: u64,
    /// Epoch the object must have.
    pub epoch: u64,
}

/// A slot of a capability table.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct CapabilityCell {
    word: Cell<u64>,
    epoch: Cell<u64>,
}

impl CapabilityCell {
    /// What is in the slot.
    #[must_use]
    #[inline(always)]
    pub fn get(&self) -> Capability {
        Capability {
            word: self.word.get(),
            epoch: self.epoch.get(),
        }
    }

    /// Replaces what is in the slot.
    pub fn set(&self, capability: Capability) {
        self.word.set(capability.word);
        self.epoch.set(capability.epoch);
    }
}

impl Capability {
    /// No capability.
    pub const NONE: Self = Self { word: 0, epoch: 0 };

    /// A capability to a living object.
    #[must_use]
    pub fn new<T: Object>(name: Ref<T>, epoch: u64, rights: Rights) -> Self {
        let word = name.address() << 12 | u64::from(rights.0) << 4 | T::KIND as u64;
        Self { word, epoch }
    }

    /// Whether the slot is empty.
    #[must_use]
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.word == 0
    }

    /// Kind of the object it was made for.
    #[must_use]
    pub fn kind(self) -> Option<Kind> {
        Kind::from_code(self.word & 0xF)
    }

    /// Rights.
    #[must_use]
    pub const fn rights(self) -> Rights {
        Rights((self.word >> 4) as u8)
    }

    /// The same capability with no more than the mask's rights.
    #[must_use]
    pub const fn masked(self, mask: Rights) -> Self {
        Self {
            word: self.word & !0xFF0 | (self.rights().and(mask).0 as u64) << 4,
            epoch: self.epoch,
        }
    }

    /// Whether kind and rights are these: one mask and one comparison.
    #[must_use]
    #[inline(always)]
    pub fn permits(self, kind: Kind, rights: Rights) -> bool {
        let mask = u32::from(rights.0) << 4 | 0xF;
        self.word as u32 & mask == u32::from(rights.0) << 4 | kind as u32
    }

    /// The name, if it is of that kind.
    #[must_use]
    #[inline(always)]
    pub fn name<T: Object>(self) -> Option<Ref<T>> {
        Ref::new(self.address())
    }

    /// Physical address of the object.
    #[must_use]
    #[inline(always)]
    pub const fn address(self) -> u64 {
        self.word >> 12
    }

    /// Number of the tag that the page of such an object has: a page that became a thread's must not pass for small objects.
    #[must_use]
    #[inline(always)]
    pub const fn tag(self) -> u8 {
        // Four bits for each kind; a table in a register, for `IDENTIFY` is the cheapest call there is.
        const SMALL: u64 = 0x1111_1111_1111_1111 * Tag::Small as u64;
        const DOMAIN: u64 = (Tag::Domain as u64 ^ Tag::Small as u64) << (4 * Kind::ProtectionDomain as u64);
        const THREAD: u64 = (Tag::Thread as u64 ^ Tag::Small as u64) << (4 * Kind::Thread as u64);
        ((SMALL ^ DOMAIN ^ THREAD) >> (self.word << 2 & 0x3C)) as u8 & 0xF
    }

    /// What `IDENTIFY` says: kind, and rights from bit 8.
    #[must_use]
    pub const fn identity(self) -> u64 {
        self.word & 0xF | (self.rights().0 as u64) << 8
    }
}

impl<S: Store> Kernel<S> {
    /// The object a capability names, if it still lives. The frame's tag comes first: a page that has become something else
    /// may hold any bytes where the epoch would be.
    #[inline(always)]
    pub fn live<T: Object>(&self, capability: Capability) -> Option<Ref<T>> {
        let name = capability.name::<T>()?;
        let is_object = self.store.frame(name.frame()).is(T::TAG);
        if is_object && T::of(&self.store, name).header().epoch.get() == capability.epoch {
            Some(name)
        } else {
            None
        }
    }

    /// The capability in a slot of a thread's table.
    #[inline(always)]
    pub fn capability(&self, thread: &Thread, slot: u64) -> Option<Capability> {
        if slot < thread.slots.get() {
            Some(self.store.slot(thread.table.get(), slot).get())
        } else {
            None
        }
    }

    /// From a slot to an object: presence, kind, right, liveness, in this order.
    ///
    /// # Errors
    /// `BadCap`, `BadType`, `NoRight`, `Dead`.
    pub fn lookup<T: Object>(&self, thread: &Thread, slot: u64, rights: Rights) -> Result<Ref<T>, Error> {
        let capability = self
            .capability(thread, slot)
            .filter(|c| !c.is_none())
            .ok_or(Error::BadCap)?;
        if !capability.permits(T::KIND, Rights::NONE) {
            return Err(Error::BadType);
        }
        if !capability.permits(T::KIND, rights) {
            return Err(Error::NoRight);
        }
        self.live::<T>(capability).ok_or(Error::Dead)
    }

    /// The object in the slot that a message word names.
    ///
    /// # Errors
    /// As [`Kernel::lookup`]; the argument is the word's index.
    pub(crate) fn argument<T: Object>(
        &self,
        thread: &Thread,
        words: &Words,
        index: usize,
        rights: Rights,
    ) -> Result<Ref<T>, Failure> {
        let found = self.lookup(thread, words[index], rights);
        found.map_err(|error| Failure::at(error, index as u64))
    }

    /// An empty slot of a thread's own table.
    ///
    /// # Errors
    /// `BadCap` beyond the table, `Occupied`.
    pub fn empty_slot(&self, thread: &Thread, slot: u64) -> Result<&CapabilityCell, Error> {
        if slot >= thread.slots.get() {
            return Err(Error::BadCap);
        }
        let cell = self.store.slot(thread.table.get(), slot);
        if cell.get().is_none() {
            Ok(cell)
        } else {
            Err(Error::Occupied)
        }
    }

    /// Whether the object of a capability of any kind still lives. Epochs are unique over all kinds.
    #[must_use]
    #[inline(always)]
    pub fn is_live(&self, capability: Capability) -> bool {
        let address = capability.address();
        let is_object = self.store.frame(Frame::of_address(address)).has_tag(capability.tag());
        is_object && self.store.header(address).epoch.get() == capability.epoch && capability.epoch != 0
    }
}
