//! Spaces: the addresses of a process, of a guest, or of a device.

use core::cell::Cell;

use ecusson_abi::{Error, Rights, Words, ops};

use crate::kernel::{Answer, Failure, Kernel, Outcome};
use crate::list::List;
use crate::memory::{Memory, Place, SmallObjects};
use crate::name::{Frame, Header, Ref, object};
use crate::protection_domain::ProtectionDomain;
use crate::region::Region;
use crate::store::Store;
use crate::thread::Thread;

/// Most pages that one `fund` takes.
const FUND_PAGES: u64 = 64;

/// Whose addresses a space translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpaceKind {
    /// A process.
    Host,
    /// A guest.
    Guest,
    /// A device.
    Dma,
}

/// An address space.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Space {
    /// Epoch.
    pub header: Header,
    /// [`SpaceKind`] as the ABI numbers it.
    pub kind: Cell<u64>,
    /// Page of the root table; 0 for Dma spaces.
    pub root: Cell<u64>,
    /// Memory that its pages come from.
    pub memory: Cell<Option<Ref<Memory>>>,
    /// First of the list of its tables in use, the root apart; 0 for none.
    pub used_head: Cell<u64>,
    /// First of the list of funded pages not in use; 0 for none.
    pub unused_head: Cell<u64>,
    /// Funded pages not in use.
    pub unused: Cell<u64>,
    /// What is attached.
    pub attachments: List<Region>,
    /// The process that lives in it.
    pub domain: Cell<Option<Ref<ProtectionDomain>>>,
    /// Generation of the last flush that was asked for.
    pub flush: Cell<u64>,
    /// Page with the doorbells of a guest space; 0 for none.
    pub doorbells: Cell<u64>,
}

object!(Space, Small, space);

impl Space {
    /// Whose addresses it translates.
    #[must_use]
    pub fn kind(&self) -> SpaceKind {
        match self.kind.get() {
            ops::space::GUEST => SpaceKind::Guest,
            ops::space::DMA => SpaceKind::Dma,
            _ => SpaceKind::Host,
        }
    }
}

impl<S: Store> Kernel<S> {
    /// Operations of Space.
    pub(crate) fn space_operation(
        &self,
        actor: Ref<Thread>,
        name: Ref<Space>,
        rights: Rights,
        words: &Words,
    ) -> Answer {
        match words[0] {
            ops::space::FUND => {
                Failure::require(rights, Rights::MANAGE)?;
                self.fund(actor, name, words)
            }
            ops::space::INFO => {
                Failure::require(rights, Rights::READ)?;
                Ok(Outcome::Done(self.store.space(name).unused.get()))
            }
            ops::space::INTERCEPT => {
                Failure::require(rights, Rights::MANAGE)?;
                self.intercept(actor, name, words)
            }
            ops::space::BIND_DEVICE => Err(Failure::at(Error::Unsupported, 0)),
            _ => Err(Failure::BAD_OPERATION),
        }
    }

    fn fund(&self, actor: Ref<Thread>, name: Ref<Space>, words: &Words) -> Answer {
        let memory = self.argument::<Memory>(self.store.thread(actor), words, 1, Rights::MANAGE)?;
        self.usable(memory)?;
        let space = self.store.space(name);
        if !(1..=FUND_PAGES).contains(&words[2]) {
            return Err(Failure::at(Error::BadArg, 2));
        }
        if space.memory.get() != Some(memory) {
            return Err(Failure::at(Error::BadState, 1));
        }
        self.afford(memory, words[2], SmallObjects::None)?;
        // Nothing may fail from here on.
        self.add_tables(name, memory, words[2]);
        Ok(Outcome::Done(space.unused.get()))
    }

    /// Gives a space pages for its tables from a Memory that has them.
    pub(crate) fn add_tables(&self, name: Ref<Space>, memory: Ref<Memory>, pages: u64) {
        let space = self.store.space(name);
        for _ in 0..pages {
            let Some(frame) = self.take_page(memory) else { return };
            self.tag_table(name, frame);
            let next = Some(Frame(space.unused_head.get())).filter(|frame| frame.0 != 0);
            self.store.frame(frame).set_next(next);
            space.unused_head.set(frame.0);
            space.unused.set(space.unused.get() + 1);
        }
    }

    pub(crate) fn create_space(&self, place: &Place<'_>, words: &Words) -> Answer {
        let pages = match words[3] {
            ops::space::HOST => 1,
            ops::space::GUEST if self.guest_pages.get() != 0 => 1,
            ops::space::DMA => 0,
            ops::space::GUEST => return Err(Failure::at(Error::Unsupported, 3)),
            _ => return Err(Failure::at(Error::BadArg, 3)),
        };
        self.afford(place.memory, pages, SmallObjects::One)?;
        // Nothing may fail from here on.
        if let Some(name) = self.make_small::<Space>(place, Rights::ALL) {
            self.init_space(name, place.memory, words[3]);
        }
        Ok(Outcome::Done(0))
    }

    /// Makes a new space's root table.
    pub(crate) fn init_space(&self, name: Ref<Space>, memory: Ref<Memory>, kind: u64) {
        let space = self.store.space(name);
        space.kind.set(kind);
        space.memory.set(Some(memory));
        if space.kind() == SpaceKind::Dma {
            return;
        }
        if let Some(root) = self.take_page(memory) {
            self.tag_table(name, root);
            if space.kind() == SpaceKind::Host {
                self.store.copy_kernel_half(root);
            }
            space.root.set(root.0);
        }
    }
}
