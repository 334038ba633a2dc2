//! Makes one process: its objects, its memory, its image. Nothing runs yet, and its capability table is empty
//! ([`crate::edges`] fills it).
//!
//! Key types: [`Objects`], [`Maker`]. Called by [`crate::supervise`] at the start and after each death. Everything comes out
//! of one Memory, so that reclaiming that one ends all of it.

use alloc::vec::Vec;

use ecusson_abi::{FAIR_PRIORITY, PAGE_BYTES, Rights, ops};
use ecusson_manifest::Composition;
use ecusson_manifest::composition::{PortalMode, Process, Segment, Target, Thread as ThreadPlan};
use ecusson_manifest::layout;
use ecusson_rt::Cap;
use ecusson_rt::cap::kind::{Memory, Notification, Portal, ProtectionDomain, Region, Space, Thread};
use ecusson_rt::cap::{Share, Start};
use ecusson_rt::environment::argument;

use crate::budget::{self, pages};
use crate::label::Caller;
use crate::machine::Machine;
use crate::trouble::{During, Trouble};

/// What root keeps of a process that exists. The slots go back with [`Objects::release`].
#[derive(Debug)]
pub struct Objects {
    /// Its space.
    pub space: Cap<Space>,
    /// Its capability table.
    pub domain: Cap<ProtectionDomain>,
    /// Its quota, if it has one.
    pub quota: Option<Cap<Memory>>,
    /// The portal by which it reaches root.
    pub supervisor: Cap<Portal>,
    /// Its threads, in the composition's order.
    pub threads: Vec<Cap<Thread>>,
    /// Its notifications, in the composition's order.
    pub notifications: Vec<Cap<Notification>>,
    /// The portals it serves, one for each edge.
    pub served: Vec<Served>,
}

/// A portal made for one edge.
#[derive(Debug)]
pub struct Served {
    /// Index of the client.
    pub client: usize,
    /// The client's slot.
    pub slot: u16,
    /// The portal.
    pub portal: Cap<Portal>,
}

impl Objects {
    /// Gives all slots back.
    pub fn release(self, machine: &Machine) {
        machine.release(self.space);
        machine.release(self.domain);
        machine.release(self.supervisor);
        self.quota.into_iter().for_each(|quota| machine.release(quota));
        self.threads.into_iter().for_each(|thread| machine.release(thread));
        self.notifications.into_iter().for_each(|own| machine.release(own));
        self.served
            .into_iter()
            .for_each(|served| machine.release(served.portal));
    }

    /// Starts its threads.
    ///
    /// # Errors
    /// [`Trouble`] with the step that failed.
    pub fn start(&self, process: &Process) -> Result<(), Trouble> {
        for (index, thread) in (0_u16..).zip(&self.threads) {
            let start = Start {
                entry: process.program.entry,
                stack: layout::stack_top(index),
                argument: argument(index, pages(process.boot_table.bytes)),
            };
            thread.start(start).during("starting a thread")?;
        }
        Ok(())
    }
}

/// What a process is made with.
#[derive(Clone, Copy, Debug)]
pub struct Maker<'a> {
    /// Root's authority.
    pub machine: &'a Machine,
    /// The whole image.
    pub composition: &'a Composition,
    /// Index of the process.
    pub index: usize,
    /// The process.
    pub process: &'a Process,
    /// All of its pages, unused.
    pub memory: &'a Cap<Memory>,
}

impl Maker<'_> {
    /// Makes the process.
    ///
    /// # Errors
    /// [`Trouble`] with the step that failed. What was made by then ends with the Memory.
    pub fn make(&self) -> Result<Objects, Trouble> {
        let (machine, memory) = (self.machine, self.memory);
        let quota = match self.process.memory_pages {
            0 => None,
            pages => Some(machine.make("splitting a quota off", |slot| memory.split(u64::from(pages), slot))?),
        };
        let space = machine.make("making a space", |slot| memory.create_space(ops::space::HOST, slot))?;
        self.fund(&space)?;
        let tables = u64::from(self.process.table_pages);
        let domain = machine.make("making a protection domain", |slot| {
            memory.create_domain(tables, &space, slot)
        })?;
        let label = Caller::Request { process: self.index }.label();
        let supervisor = machine.make("making the supervisor's portal", |slot| {
            memory.create_portal(&machine.thread, label, ops::portal::ACTIVE, slot)
        })?;
        self.load(&space)?;
        let notifications = self.notifications()?;
        let threads = self.threads(&space, &domain, &notifications)?;
        let served = self.served(&threads)?;
        Ok(Objects {
            space,
            domain,
            quota,
            supervisor,
            threads,
            notifications,
            served,
        })
    }

    fn fund(&self, space: &Cap<Space>) -> Result<(), Trouble> {
        const FUND_PAGES: u64 = 64;
        let mut missing = budget::funding(self.composition, self.process);
        while missing > 0 {
            let pages = missing.min(FUND_PAGES);
            space.fund(self.memory, pages).during("funding page tables")?;
            missing -= pages;
        }
        Ok(())
    }

    /// Program, boot table and time page.
    fn load(&self, space: &Cap<Space>) -> Result<(), Trouble> {
        for segment in &self.process.program.segments {
            if Rights(segment.rights).has(Rights::WRITE) {
                self.load_writable(space, segment)?;
            } else {
                let run = (segment.offset / PAGE_BYTES, pages(segment.memory_bytes));
                let bundle = &self.machine.bundle;
                self.map_slice(space, bundle, run, segment.address / PAGE_BYTES, Rights(segment.rights))?;
            }
        }
        let table = self.process.boot_table;
        let run = (table.offset / PAGE_BYTES, pages(table.bytes));
        let at = layout::BOOT_TABLE_ADDRESS / PAGE_BYTES;
        self.map_slice(space, &self.machine.bundle, run, at, Rights::READ)?;
        let at = layout::TIME_PAGE_ADDRESS / PAGE_BYTES;
        self.map_slice(space, &self.machine.time_page, (0, 1), at, Rights::READ)
    }

    /// Maps pages of a Region that others see, too.
    fn map_slice(
        &self,
        space: &Cap<Space>,
        region: &Cap<Region>,
        run: budget::Run,
        page: u64,
        access: Rights,
    ) -> Result<(), Trouble> {
        self.machine.with_slot(|slot| {
            let rights = Machine::slice_rights(access);
            let slice = region
                .slice(run.0, run.1, rights, self.memory, slot)
                .during("slicing a region")?;
            slice.attach(space, page, access).during("mapping a slice").map(|_| ())
        })
    }

    /// Maps fresh pages with a copy of what the bundle has, and zeros behind.
    fn load_writable(&self, space: &Cap<Space>, segment: &Segment) -> Result<(), Trouble> {
        let (page, length) = (segment.address / PAGE_BYTES, pages(segment.memory_bytes));
        self.map_fresh(space, (page, length), Rights(segment.rights), |region| {
            if segment.file_bytes == 0 {
                return Ok(());
            }
            self.machine
                .fill(region, segment.offset, segment.file_bytes.min(segment.memory_bytes))
        })
    }

    fn map_fresh(
        &self,
        space: &Cap<Space>,
        run: budget::Run,
        access: Rights,
        fill: impl FnOnce(&Cap<Region>) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        self.machine.with_slot(|slot| {
            let region = self.memory.create_region(run.1, 0, slot).during("making a region")?;
            region.scrub().during("zeroing a region")?;
            fill(&region)?;
            region
                .attach(space, run.0, access)
                .during("mapping a region")
                .map(|_| ())
        })
    }

    fn notifications(&self) -> Result<Vec<Cap<Notification>>, Trouble> {
        let make = |_| {
            self.machine
                .make("making a notification", |slot| self.memory.create_notification(slot))
        };
        self.process.notifications.iter().map(make).collect()
    }

    fn threads(
        &self,
        space: &Cap<Space>,
        domain: &Cap<ProtectionDomain>,
        notifications: &[Cap<Notification>],
    ) -> Result<Vec<Cap<Thread>>, Trouble> {
        let mut threads = Vec::new();
        for (index, plan) in (0_u16..).zip(&self.process.threads) {
            let access = Rights::READ.with(Rights::WRITE);
            self.map_fresh(space, budget::stack_run(index, plan.stack_pages), access, |_| Ok(()))?;
            let thread = self.thread(domain, plan)?;
            self.give_time(&thread, plan)?;
            self.handle_faults(&thread, usize::from(index))?;
            if let Some(number) = plan.notification {
                let own = notifications
                    .get(usize::from(number))
                    .ok_or(Trouble::Index("a notification"))?;
                thread.bind(own).during("binding a notification")?;
            }
            threads.push(thread);
        }
        Ok(threads)
    }

    fn thread(&self, domain: &Cap<ProtectionDomain>, plan: &ThreadPlan) -> Result<Cap<Thread>, Trouble> {
        let flags = if plan.fpu { ops::thread::USES_FPU } else { 0 };
        let core = self.machine.core(plan.core);
        self.machine.make("making a thread", |slot| {
            self.memory.create_thread(domain, core, flags, slot)
        })
    }

    fn give_time(&self, thread: &Cap<Thread>, plan: &ThreadPlan) -> Result<(), Trouble> {
        let machine = self.machine;
        let is_fair = plan.priority == FAIR_PRIORITY;
        let share = Share {
            core: machine.core(plan.core),
            priority: u64::from(plan.priority),
            weight: if is_fair { u64::from(plan.weight) } else { 0 },
            budget: machine.ticks_of_us(u64::from(plan.budget_us)),
            period: machine.ticks_of_us(u64::from(plan.period_us)),
        };
        machine.with_slot(|slot| {
            let context = self
                .memory
                .create_sched_context(slot)
                .during("making a scheduling context")?;
            context
                .configure(&machine.platform, share)
                .during("giving processor time")?;
            context.bind(thread).during("binding processor time")
        })
    }

    fn handle_faults(&self, thread: &Cap<Thread>, index: usize) -> Result<(), Trouble> {
        let label = Caller::Fault {
            process: self.index,
            thread: index,
        }
        .label();
        self.machine.with_slot(|slot| {
            let portal = self
                .memory
                .create_portal(&self.machine.thread, label, ops::portal::ACTIVE, slot);
            let portal = portal.during("making a fault portal")?;
            thread.set_fault_handler(&portal).during("setting the fault handler")
        })
    }

    /// The portals of all edges that lead here.
    fn served(&self, threads: &[Cap<Thread>]) -> Result<Vec<Served>, Trouble> {
        let mut served = Vec::new();
        for (client, process) in self.composition.processes.iter().enumerate() {
            for capability in &process.capabilities {
                let Target::Portal {
                    process: server,
                    portal,
                    label,
                } = capability.target
                else {
                    continue;
                };
                if usize::from(server) != self.index {
                    continue;
                }
                let portal = self.portal(threads, portal, label)?;
                served.push(Served {
                    client,
                    slot: capability.slot,
                    portal,
                });
            }
        }
        Ok(served)
    }

    fn portal(&self, threads: &[Cap<Thread>], number: u16, label: u64) -> Result<Cap<Portal>, Trouble> {
        let plan = self
            .process
            .portals
            .get(usize::from(number))
            .ok_or(Trouble::Index("a portal"))?;
        let thread = threads
            .get(usize::from(plan.thread))
            .ok_or(Trouble::Index("a thread"))?;
        let mode = match plan.mode {
            PortalMode::Passive => ops::portal::PASSIVE,
            PortalMode::Active => ops::portal::ACTIVE,
        };
        self.machine.make("making a portal", |slot| {
            self.memory.create_portal(thread, label, mode, slot)
        })
    }
}
