//! Fills capability tables: exactly what the composition lists, nothing else.
//!
//! Key functions: [`fill`] for a new process, [`renew`] for those that knew its former self. Called by [`crate::supervise`].

use ecusson_abi::{PAGE_BYTES, Rights, platform};
use ecusson_manifest::composition::{Capability, DataFile, InterruptLine, Process, Target};
use ecusson_rt::Cap;
use ecusson_rt::cap::kind::{Memory, Region};

use crate::machine::Machine;
use crate::make::Objects;
use crate::trouble::{During, Trouble};

/// Everything an edge may lead to.
pub trait Peers {
    /// The objects of a process, if it exists at the moment.
    fn objects(&self, index: usize) -> Option<&Objects>;
}

/// Whose table is filled.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Root's authority.
    pub machine: &'a Machine,
    /// The image's data files.
    pub files: &'a [DataFile],
    /// Index of the process.
    pub index: usize,
    /// The process.
    pub process: &'a Process,
    /// Its pages.
    pub memory: &'a Cap<Memory>,
    /// Its objects.
    pub objects: &'a Objects,
}

/// Fills the table of a new process. Edges to processes that don't exist at the moment stay empty until those are made.
///
/// # Errors
/// [`Trouble`] with the step that failed.
pub fn fill(owner: &Owner<'_>, peers: &impl Peers) -> Result<(), Trouble> {
    owner
        .process
        .capabilities
        .iter()
        .try_for_each(|capability| owner.put(capability, peers))
}

/// Replaces a process's capabilities to a peer that was made anew.
///
/// # Errors
/// [`Trouble`] with the step that failed.
pub fn renew(owner: &Owner<'_>, peer: usize, peers: &impl Peers) -> Result<(), Trouble> {
    for capability in &owner.process.capabilities {
        let leads_there = match capability.target {
            Target::Portal { process, .. } | Target::Signal { process, .. } => usize::from(process) == peer,
            _ => false,
        };
        if leads_there && owner.index != peer {
            // The stale one, if it was ever there.
            let _ = owner.objects.domain.empty(u64::from(capability.slot));
            owner.put(capability, peers)?;
        }
    }
    Ok(())
}

impl Owner<'_> {
    fn put(&self, capability: &Capability, peers: &impl Peers) -> Result<(), Trouble> {
        match capability.target {
            Target::Portal { process, .. } => self.put_portal(capability, usize::from(process), peers),
            Target::Signal {
                process, notification, ..
            } => {
                let Some(peer) = peers.objects(usize::from(process)) else {
                    return Ok(());
                };
                let theirs = peer.notifications.get(usize::from(notification));
                self.grant(theirs.ok_or(Trouble::Index("a notification"))?, capability)
            }
            _ => self.put_own(capability),
        }
    }

    fn put_portal(&self, capability: &Capability, server: usize, peers: &impl Peers) -> Result<(), Trouble> {
        let Some(peer) = peers.objects(server) else {
            return Ok(());
        };
        let mut served = peer.served.iter();
        let edge = served.find(|served| served.client == self.index && served.slot == capability.slot);
        self.grant(&edge.ok_or(Trouble::Index("an edge"))?.portal, capability)
    }

    fn put_own(&self, capability: &Capability) -> Result<(), Trouble> {
        let (machine, objects) = (self.machine, self.objects);
        match capability.target {
            Target::OwnSpace => self.grant(&objects.space, capability),
            Target::OwnProtectionDomain => self.grant(&objects.domain, capability),
            Target::Supervisor { .. } => self.grant(&objects.supervisor, capability),
            Target::Platform => self.grant(&machine.platform, capability),
            Target::OwnMemory => self.grant(objects.quota.as_ref().ok_or(Trouble::Index("a quota"))?, capability),
            Target::Notification { notification } => {
                let own = objects.notifications.get(usize::from(notification));
                self.grant(own.ok_or(Trouble::Index("a notification"))?, capability)
            }
            _ => machine.with_slot(|slot| self.put_new(capability, slot)),
        }
    }

    /// What is made for this table alone, in a slot of root's that is needed for the moment.
    fn put_new(&self, capability: &Capability, slot: u64) -> Result<(), Trouble> {
        let (machine, memory) = (self.machine, self.memory);
        match capability.target {
            Target::SharedRegion { region, address } => self.put_shared(capability, region, address, slot),
            Target::File { file, .. } => self.put_file(capability, file, slot),
            Target::Mmio {
                first_page,
                pages,
                address,
            } => {
                let pages = u64::from(pages);
                let region = machine.platform.create_device_region(first_page, pages, memory, slot);
                self.put_mapped(&region.during("taking device memory")?, capability, address)
            }
            Target::Interrupt { line, core } => {
                let (line, flags) = match line {
                    InterruptLine::Gsi { gsi, trigger } => (u64::from(gsi), u64::from(trigger)),
                    InterruptLine::Msi => (platform::MSI, 0),
                };
                let core = machine.core(core);
                let interrupt = machine.platform.create_interrupt(line, core, flags, memory, slot);
                self.grant(&interrupt.during("taking an interrupt")?, capability)
            }
            Target::Ports { first, count } => {
                let ports = machine
                    .platform
                    .create_ports(first, count, memory, slot)
                    .during("taking ports")?;
                ports.attach(&self.objects.domain).during("attaching ports")?;
                self.grant(&ports, capability)
            }
            _ => {
                let space = memory.create_space(ecusson_abi::ops::space::DMA, slot);
                self.grant(&space.during("making a Dma space")?, capability)
            }
        }
    }

    fn put_shared(&self, capability: &Capability, region: u16, address: u64, slot: u64) -> Result<(), Trouble> {
        let shared = self.machine.region(region)?;
        let pages = shared.info().during("measuring a shared region")?.pages;
        let rights = Machine::slice_rights(Rights(capability.rights));
        let slice = shared
            .slice(0, pages, rights, self.memory, slot)
            .during("slicing a shared region")?;
        self.put_mapped(&slice, capability, address)
    }

    /// A slice of the bundle, for this process alone: a Region has one attachment, and this one ends with the process.
    fn put_file(&self, capability: &Capability, file: u16, slot: u64) -> Result<(), Trouble> {
        let file = self.files.get(usize::from(file)).ok_or(Trouble::Index("a file"))?;
        let first_page = file.content.offset / PAGE_BYTES;
        let rights = Machine::slice_rights(Rights::READ);
        let bundle = &self.machine.bundle;
        let slice = bundle.slice(first_page, file.pages(), rights, self.memory, slot);
        self.grant(&slice.during("slicing a file")?, capability)
    }

    fn put_mapped(&self, region: &Cap<Region>, capability: &Capability, address: u64) -> Result<(), Trouble> {
        let access = Rights(capability.rights).and(Rights::READ.with(Rights::WRITE));
        region
            .attach(&self.objects.space, address / PAGE_BYTES, access)
            .during("mapping a region")?;
        self.grant(region, capability)
    }

    fn grant<K>(&self, from: &Cap<K>, capability: &Capability) -> Result<(), Trouble> {
        let (slot, rights) = (u64::from(capability.slot), Rights(capability.rights));
        self.objects
            .domain
            .grant(from, slot, rights)
            .during("granting a capability")
    }
}
