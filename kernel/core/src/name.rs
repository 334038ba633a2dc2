//! Names of objects and pages, epochs, and the header that every object begins with.
//!
//! A [`Ref`] is the physical address of an object's header. It is only made from a capability that
//! [`crate::cap`] found alive, or from a link that [`crate::destroy`] severs before the object's page is
//! given back, so following one is always allowed (`specs/adr/0002-symmetric-links.md`).

use core::cell::Cell;
use core::marker::PhantomData;
use core::num::NonZeroU64;

use ecusson_abi::{Kind, PAGE_BYTES};

use crate::store::Store;

/// Bytes between two small objects of a page.
pub const SMALL_OBJECT_BYTES: u64 = 128;

/// A physical page number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Frame(pub u64);

impl Frame {
    /// The frame that holds a physical address.
    #[must_use]
    #[inline(always)]
    pub const fn of_address(address: u64) -> Self {
        Self(address / PAGE_BYTES)
    }

    /// First physical address of the frame.
    #[must_use]
    #[inline(always)]
    pub const fn address(self) -> u64 {
        self.0 * PAGE_BYTES
    }
}

/// The name of a kernel object of type `T`: the physical address of its header.
pub struct Ref<T> {
    address: NonZeroU64,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Ref<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Ref<T> {}
impl<T> PartialEq for Ref<T> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}
impl<T> Eq for Ref<T> {}
impl<T> core::hash::Hash for Ref<T> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.address.hash(state);
    }
}
impl<T> core::fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "@{:#x}", self.address)
    }
}

impl<T> Ref<T> {
    /// The object at a physical address that is not zero.
    #[must_use]
    #[inline(always)]
    pub const fn new(address: u64) -> Option<Self> {
        match NonZeroU64::new(address) {
            Some(address) => Some(Self {
                address,
                kind: PhantomData,
            }),
            None => None,
        }
    }

    /// The header's physical address.
    #[must_use]
    #[inline(always)]
    pub const fn address(self) -> u64 {
        self.address.get()
    }

    /// The page the object begins in.
    #[must_use]
    #[inline(always)]
    pub const fn frame(self) -> Frame {
        Frame::of_address(self.address.get())
    }

    /// Index among the small objects of its page.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.address.get() % PAGE_BYTES / SMALL_OBJECT_BYTES
    }
}

/// What every object begins with.
///
/// `epoch` is unique in the kernel's lifetime and has the object's kind in its low four bits. It is zero
/// unless the object lives, so that one comparison with a capability's epoch tells whether that capability
/// still means something. While the object is being destroyed its epoch stands in `dying` instead.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Header {
    /// Epoch while alive, else 0.
    pub epoch: Cell<u64>,
    /// Epoch while being destroyed, else 0.
    pub dying: Cell<u64>,
}

impl Header {
    /// Kind of a living or dying object.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_code((self.epoch.get() | self.dying.get()) & 0xF)
    }

    /// Whether the object lives.
    #[must_use]
    #[inline(always)]
    pub fn is_alive(&self) -> bool {
        self.epoch.get() != 0
    }

    /// Whether the object is being destroyed.
    #[must_use]
    pub fn is_dying(&self) -> bool {
        self.dying.get() != 0
    }

    /// Kills every capability to the object.
    pub fn condemn(&self) {
        if self.is_alive() {
            self.dying.set(self.epoch.take());
        }
    }
}

/// A kernel object type.
pub trait Object: Sized {
    /// Its kind.
    const KIND: Kind;
    /// How the pages of such objects are tagged.
    const TAG: crate::store::Tag;
    /// The object of that name.
    fn of<S: Store>(store: &S, name: Ref<Self>) -> &Self;
    /// Its header.
    fn header(&self) -> &Header;
}

/// Makes a type with a `header` an [`Object`] of the kind that is called as the type is: the tag of its pages, and the function of
/// the [`Store`] that reaches it.
macro_rules! object {
    ($object:ident, $tag:ident, $reach:ident) => {
        impl $crate::name::Object for $object {
            const KIND: ecusson_abi::Kind = ecusson_abi::Kind::$object;
            const TAG: $crate::store::Tag = $crate::store::Tag::$tag;
            #[inline(always)]
            fn of<S: $crate::store::Store>(store: &S, name: $crate::name::Ref<Self>) -> &Self {
                store.$reach(name)
            }
            #[inline(always)]
            fn header(&self) -> &$crate::name::Header {
                &self.header
            }
        }
    };
}
pub(crate) use object;

/// A link to an object that may have been destroyed: a name and the epoch it must still have.
pub type Weak = crate::cap::Capability;
