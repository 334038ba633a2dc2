//! Root's authority: the kernel's first objects, the free slots of root's table, shared regions, and windows into its own
//! space for copying.
//!
//! Key type: [`Machine`]. Used by [`crate::make`], [`crate::edges`] and [`crate::supervise`]; calls the kernel through `rt`.

use alloc::vec::Vec;
use core::cell::RefCell;

use ecusson_abi::{Error, FAIR_PRIORITY, Rights, root_slots};
use ecusson_manifest::Composition;
use ecusson_manifest::composition::{Dma, SharedRegion};
use ecusson_rt::cap::Share;
use ecusson_rt::cap::kind::{Memory, Platform, ProtectionDomain, Region, SchedContext, Space, Thread};
use ecusson_rt::window::{Access, Window};
use ecusson_rt::{Cap, Failure, println};

use crate::budget;
use crate::slots::Slots;
use crate::trouble::{During, Trouble};

/// Where root maps the bundle, first virtual page.
const BUNDLE_PAGE: u64 = 0x30_0000_0000 >> 12;
/// Where root maps what it fills, first virtual page.
const SCRATCH_PAGE: u64 = 0x50_0000_0000 >> 12;
/// Root's period and budget: all of its time, as far as its priority goes.
const PERIOD_US: u64 = 10_000;
/// Root's weight, should the manifest put it into the fair band.
const FAIR_WEIGHT: u64 = 256;
/// Most pages that one `fund` takes.
const FUND_PAGES: u64 = 64;

/// Root's authority.
#[derive(Debug)]
pub struct Machine {
    /// Its own capability table.
    domain: Cap<ProtectionDomain>,
    /// Its own space.
    space: Cap<Space>,
    /// Its only thread, which serves all of its portals.
    pub thread: Cap<Thread>,
    /// The machine.
    pub platform: Cap<Platform>,
    /// The other processes' programs.
    pub bundle: Cap<Region>,
    /// The kernel's time page.
    pub time_page: Cap<Region>,
    /// The part of it that root copies from, mapped.
    bundle_window: Option<Window>,
    /// Shared regions, in the composition's order.
    regions: Vec<Cap<Region>>,
    slots: RefCell<Slots>,
    /// Memory of processes that ended and are not made again by themselves, each with its pages.
    spare: RefCell<Vec<(u64, Cap<Memory>)>>,
    cores: u64,
    ticks_per_us: u64,
}

impl Machine {
    /// Takes stock, maps the programs, makes the shared regions.
    ///
    /// # Errors
    /// [`Trouble`] with the step that failed.
    pub fn new(composition: &Composition) -> Result<Self, Trouble> {
        let platform = Cap::<Platform>::at(root_slots::PLATFORM);
        let (cores, ticks_per_second) = platform.info().during("asking for cores and time")?;
        let mut machine = Self {
            domain: Cap::at(root_slots::SELF),
            space: Cap::at(root_slots::SPACE),
            thread: Cap::at(root_slots::THREAD),
            platform,
            bundle: Cap::at(root_slots::BUNDLE),
            time_page: Cap::at(root_slots::TIME_PAGE),
            bundle_window: None,
            regions: Vec::new(),
            slots: RefCell::default(),
            spare: RefCell::default(),
            cores: cores.max(1),
            ticks_per_us: (ticks_per_second / 1_000_000).max(1),
        };
        machine.take_priority(u64::from(composition.root_priority))?;
        machine.say_what_differs(composition);
        machine.bundle_window = machine.map_bundle(budget::copied_pages(composition))?;
        for region in &composition.regions {
            let made = machine.make_shared(region)?;
            machine.regions.push(made);
        }
        Ok(machine)
    }

    /// Maps the bundle's first pages, from which processes get copies: data files lie behind them and stay out of root's space.
    fn map_bundle(&self, pages: u64) -> Result<Option<Window>, Trouble> {
        if pages == 0 {
            return Ok(None);
        }
        let memory = Cap::<Memory>::at(root_slots::MEMORY);
        let slice = self.make("slicing the bundle", |slot| {
            self.bundle.slice(0, pages, Rights::READ, &memory, slot)
        })?;
        let window = self.open(&slice, BUNDLE_PAGE, Access::ReadOnly);
        window.during("mapping the bundle").map(Some)
    }

    /// The kernel starts root at a priority of its own choice; from here on it is the manifest's.
    fn take_priority(&self, priority: u64) -> Result<(), Trouble> {
        let period = self.ticks_of_us(PERIOD_US);
        let is_fair = priority == u64::from(FAIR_PRIORITY);
        let share = Share {
            core: 0,
            priority,
            weight: if is_fair { FAIR_WEIGHT } else { 0 },
            budget: period,
            period,
        };
        Cap::<SchedContext>::at(root_slots::SCHED_CONTEXT)
            .configure(&self.platform, share)
            .during("taking root's priority")
    }

    /// What the manifest asks of the machine and the machine does not have.
    fn say_what_differs(&self, composition: &Composition) {
        let wanted = u64::from(composition.machine.cores);
        if self.cores < wanted {
            println!(
                "root: the image wants {wanted} cores, this machine has {}: threads move to lower cores",
                self.cores
            );
        }
        if composition.machine.dma == Dma::Unconfined {
            println!("root: DMA is unconfined: devices and their drivers reach all memory");
        }
    }

    /// Cores of the machine.
    #[must_use]
    pub fn cores(&self) -> u64 {
        self.cores
    }

    /// The core for a thread that the manifest puts on this one.
    #[must_use]
    pub fn core(&self, wanted: u16) -> u64 {
        u64::from(wanted) % self.cores
    }

    /// Ticks in so many microseconds.
    #[must_use]
    pub fn ticks_of_us(&self, count_us: u64) -> u64 {
        count_us.saturating_mul(self.ticks_per_us)
    }

    /// Milliseconds in so many ticks.
    #[must_use]
    pub fn ms_of_ticks(&self, ticks: u64) -> u64 {
        ticks / self.ticks_per_us / 1000
    }

    /// A shared region by its index in the composition.
    ///
    /// # Errors
    /// [`Trouble::Index`].
    pub fn region(&self, index: u16) -> Result<&Cap<Region>, Trouble> {
        self.regions.get(usize::from(index)).ok_or(Trouble::Index("a region"))
    }

    /// An empty slot of root's table.
    ///
    /// # Errors
    /// [`Trouble::Slots`].
    pub fn slot(&self) -> Result<u64, Trouble> {
        self.slots.borrow_mut().take().ok_or(Trouble::Slots)
    }

    /// Empties a slot and gives it back. The object lives on until its Memory is reclaimed.
    pub fn release<K>(&self, capability: Cap<K>) {
        self.release_slot(capability.slot());
    }

    fn release_slot(&self, slot: u64) {
        // An operation that failed has left the slot empty, which is what is wanted.
        let _ = self.domain.empty(slot);
        self.slots.borrow_mut().give_back(slot);
    }

    /// The slots in use, to come back to with [`Machine::release_all_but`].
    #[must_use]
    pub fn slots_in_use(&self) -> Slots {
        self.slots.borrow().clone()
    }

    /// Gives back all slots but those that were in use before: of a process that could not be made to its end.
    pub fn release_all_but(&self, before: &Slots) {
        let newer: Vec<u64> = self.slots.borrow().newer_than(before).collect();
        newer.into_iter().for_each(|slot| self.release_slot(slot));
    }

    /// Makes something in a slot that is needed for the moment only.
    ///
    /// # Errors
    /// [`Trouble::Slots`] and those of `make`.
    pub fn with_slot<T>(&self, make: impl FnOnce(u64) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let slot = self.slot()?;
        let result = make(slot);
        self.release_slot(slot);
        result
    }

    /// Makes something in a slot that is kept if all goes well.
    ///
    /// # Errors
    /// [`Trouble::Slots`] and those of `make`, under the step's name.
    pub fn make<T>(&self, step: &'static str, make: impl FnOnce(u64) -> Result<T, Failure>) -> Result<T, Trouble> {
        let slot = self.slot()?;
        make(slot).during(step).inspect_err(|_| self.release_slot(slot))
    }

    /// Splits pages off the first range of memory that has them.
    ///
    /// # Errors
    /// [`Trouble`] when none has.
    pub fn split(&self, pages: u64) -> Result<Cap<Memory>, Trouble> {
        self.make("splitting memory off", |slot| {
            let mut refused = Failure {
                error: Error::NoMemory,
                argument: pages,
            };
            for range in root_slots::MEMORY..root_slots::MEMORY + root_slots::MEMORY_COUNT {
                match Cap::<Memory>::at(range).split(pages, slot) {
                    Ok(memory) => return Ok(memory),
                    Err(failure) if failure.error == Error::NoMemory => refused = failure,
                    // Behind the last range the slots are empty.
                    Err(failure) if failure.error == Error::BadCap => break,
                    Err(failure) => return Err(failure),
                }
            }
            Err(refused)
        })
    }

    /// Pages for a process: those of one that was as large and ended, or new ones.
    ///
    /// # Errors
    /// As [`Machine::split`].
    pub fn take_memory(&self, pages: u64) -> Result<Cap<Memory>, Trouble> {
        let mut spare = self.spare.borrow_mut();
        match spare.iter().position(|(size, _)| *size == pages) {
            Some(index) => Ok(spare.swap_remove(index).1),
            None => self.split(pages),
        }
    }

    /// Takes a process's Memory back, reclaimed, for the next that is as large: the kernel does not join what it split.
    pub fn keep_memory(&self, pages: u64, memory: Cap<Memory>) {
        self.spare.borrow_mut().push((pages, memory));
    }

    fn make_shared(&self, region: &SharedRegion) -> Result<Cap<Region>, Trouble> {
        // One page more for the object itself.
        let memory = self.split(u64::from(region.pages) + 1)?;
        let pages = u64::from(region.pages);
        let made = self.make("making a shared region", |slot| memory.create_region(pages, 0, slot))?;
        made.scrub().during("zeroing a shared region")?;
        self.release(memory);
        Ok(made)
    }

    /// Opens a window into root's own space, with tables from root's first Memory where they are missing.
    fn open(&self, region: &Cap<Region>, page: u64, access: Access) -> Result<Window, Failure> {
        loop {
            match Window::open(region, &self.space, page, access) {
                Err(Failure {
                    error: Error::NoMemory,
                    argument,
                }) => {
                    let memory = Cap::<Memory>::at(root_slots::MEMORY);
                    self.space.fund(&memory, argument.clamp(1, FUND_PAGES))?;
                }
                result => return result,
            }
        }
    }

    /// Copies bytes of the bundle to the beginning of a Region, which is attached nowhere.
    ///
    /// # Errors
    /// [`Trouble`] with the step that failed.
    pub fn fill(&self, region: &Cap<Region>, offset: u64, bytes: u64) -> Result<(), Trouble> {
        let bundle = self.bundle_window.as_ref().ok_or(Trouble::Index("a bundle"))?;
        let window = self.open(region, SCRATCH_PAGE, Access::ReadWrite);
        let mut window = window.during("mapping a segment to fill it")?;
        let copied = window.copy(0, bundle, offset, bytes);
        window.close(region).during("taking back a filled segment")?;
        copied.map_err(|_| Trouble::Index("bytes of the bundle"))
    }

    /// The rights with which everything of root's can be granted and kept.
    #[must_use]
    pub fn slice_rights(access: Rights) -> Rights {
        access.with(Rights::MANAGE).with(Rights::GRANT)
    }
}
