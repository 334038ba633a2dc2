//! Protection domains: a capability table and a host space, and the threads that share them.

use core::cell::Cell;

use ecusson_abi::{Error, Rights, Words, ops};

use crate::kernel::{Answer, Failure, Kernel, Outcome};
use crate::list::List;
use crate::memory::{Place, SmallObjects};
use crate::name::{Frame, Header, Ref, object};
use crate::percpu::CORE_THREADS;
use crate::ports::Ports;
use crate::space::{Space, SpaceKind};
use crate::store::{Store, Tag};
use crate::thread::{Thread, flag};

/// A process. Its first page; the capability table follows in the next pages.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct ProtectionDomain {
    /// Epoch.
    pub header: Header,
    /// Pages of the capability table.
    pub table_pages: Cell<u64>,
    /// Its space.
    pub space: Cell<Option<Ref<Space>>>,
    /// Memory it is made of.
    pub memory: Cell<Option<Ref<crate::memory::Memory>>>,
    /// Its threads.
    pub threads: List<Thread>,
    /// Port ranges it may use.
    pub ports: List<Ports>,
    /// How many.
    pub ports_count: Cell<u32>,
}

object!(ProtectionDomain, Domain, protection_domain);

/// Most pages of a capability table.
const MAX_TABLE_PAGES: u64 = 255;

impl<S: Store> Kernel<S> {
    /// Operations of ProtectionDomain.
    pub(crate) fn domain_operation(
        &self,
        actor: Ref<Thread>,
        name: Ref<ProtectionDomain>,
        rights: Rights,
        words: &Words,
    ) -> Answer {
        Failure::require(rights, Rights::MANAGE)?;
        match words[0] {
            ops::protection_domain::GRANT => self.grant(actor, name, words),
            ops::protection_domain::DROP => self.drop_capability(name, words),
            _ => Err(Failure::BAD_OPERATION),
        }
    }

    fn table_slot(&self, name: Ref<ProtectionDomain>, slot: u64) -> Option<&crate::cap::CapabilityCell> {
        let domain = self.store.protection_domain(name);
        let table = Frame(name.frame().0 + 1);
        if slot < domain.table_pages.get() * S::SLOTS_PER_PAGE {
            Some(self.store.slot(table, slot))
        } else {
            None
        }
    }

    fn grant(&self, actor: Ref<Thread>, name: Ref<ProtectionDomain>, words: &Words) -> Answer {
        let source = self
            .capability(self.store.thread(actor), words[1])
            .filter(|source| !source.is_none());
        let source = source.ok_or(Failure::at(Error::BadCap, 1))?;
        if !source.rights().has(Rights::GRANT) {
            return Err(Failure::at(Error::NoRight, 1));
        }
        if !self.is_live(source) {
            return Err(Failure::at(Error::Dead, 1));
        }
        let target = self.table_slot(name, words[2]).ok_or(Failure::at(Error::BadCap, 2))?;
        if !target.get().is_none() {
            return Err(Failure::at(Error::Occupied, 2));
        }
        target.set(source.masked(Rights(words[3] as u8)));
        Ok(Outcome::Done(0))
    }

    fn drop_capability(&self, name: Ref<ProtectionDomain>, words: &Words) -> Answer {
        let cell = self.table_slot(name, words[1]).ok_or(Failure::at(Error::BadCap, 1))?;
        if cell.get().is_none() {
            return Err(Failure::at(Error::BadCap, 1));
        }
        cell.set(crate::cap::Capability::NONE);
        Ok(Outcome::Done(0))
    }

    pub(crate) fn create_domain(&self, actor: &Thread, place: &Place<'_>, words: &Words) -> Answer {
        let pages = words[3];
        if !(1..=MAX_TABLE_PAGES).contains(&pages) {
            return Err(Failure::at(Error::BadArg, 3));
        }
        let space_name = self.argument::<Space>(actor, words, 4, Rights::MANAGE)?;
        let space = self.store.space(space_name);
        if space.kind() != SpaceKind::Host {
            return Err(Failure::at(Error::BadType, 4));
        }
        if space.domain.get().is_some() {
            return Err(Failure::at(Error::Occupied, 4));
        }
        self.afford_run(place.memory, 1 + pages)?;
        // Nothing may fail from here on.
        if let Some(name) = self.make_domain(place.memory, pages, space_name) {
            self.announce(name, place.cell, Rights::ALL);
        }
        Ok(Outcome::Done(0))
    }

    /// Makes a protection domain in a Memory that has the pages.
    pub(crate) fn make_domain(
        &self,
        memory: Ref<crate::memory::Memory>,
        table_pages: u64,
        space: Ref<Space>,
    ) -> Option<Ref<ProtectionDomain>> {
        let first = self.take_lower_run(memory, 1 + table_pages)?;
        let name = Ref::<ProtectionDomain>::new(first.address())?;
        self.store.frame(first).assign(Tag::Domain, memory);
        for page in 1..=table_pages {
            self.store.frame(Frame(first.0 + page)).assign(Tag::DomainTable, name);
        }
        let domain = self.store.protection_domain(name);
        domain.table_pages.set(table_pages);
        domain.space.set(Some(space));
        domain.memory.set(Some(memory));
        self.store.space(space).domain.set(Some(name));
        Some(name)
    }

    pub(crate) fn create_thread(&self, actor: &Thread, place: &Place<'_>, words: &Words) -> Answer {
        let domain = self.argument::<ProtectionDomain>(actor, words, 3, Rights::MANAGE)?;
        let core = u8::try_from(words[4])
            .ok()
            .filter(|&core| usize::from(core) < self.core_count());
        let core = core.ok_or(Failure::at(Error::BadArg, 4))?;
        if words[5] > ops::thread::USES_FPU {
            return Err(Failure::at(Error::BadArg, 5));
        }
        if self.core(core).threads.get() >= CORE_THREADS {
            return Err(Failure::at(Error::NoMemory, 4));
        }
        self.afford(place.memory, 1, SmallObjects::None)?;
        // Nothing may fail from here on.
        if let Some(name) = self.make_thread(place.memory, domain, core, words[5]) {
            self.announce(name, place.cell, Rights::ALL);
        }
        Ok(Outcome::Done(0))
    }

    /// Makes a thread in a Memory that has a page.
    pub(crate) fn make_thread(
        &self,
        memory: Ref<crate::memory::Memory>,
        domain_name: Ref<ProtectionDomain>,
        core: u8,
        flags: u64,
    ) -> Option<Ref<Thread>> {
        let frame = self.take_page(memory)?;
        let name = Ref::<Thread>::new(frame.address())?;
        self.store.frame(frame).assign(Tag::Thread, memory);
        let (thread, domain) = (self.store.thread(name), self.store.protection_domain(domain_name));
        thread.set_core(core);
        if flags & ops::thread::USES_FPU != 0 {
            thread.set_flag(flag::FPU);
        }
        if domain.ports_count.get() > 0 {
            thread.set_flag(flag::PORTS);
        }
        thread.domain.set(Some(domain_name));
        thread.table.set(Frame(domain_name.frame().0 + 1));
        thread.slots.set(domain.table_pages.get() * S::SLOTS_PER_PAGE);
        let root = domain.space.get().map_or(0, |space| self.store.space(space).root.get());
        thread.root.set(Frame(root).address());
        domain.threads.push_back(&self.store, name, Thread::sibling_links);
        let counter = &self.core(core).threads;
        counter.set(counter.get() + 1);
        Some(name)
    }
}
