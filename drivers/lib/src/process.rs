//! What the driver's process was given, and what it makes of it: a pool of memory for its device, and windows on device memory.
//!
//! Key types: [`Process`], [`Slots`]. Set up once, by the program's first thread; used by `hal.rs` and `pci.rs`.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::{Error, PAGE_BYTES, Rights};
use ecusson_rt::cap::kind::{Memory, Platform, Space};
use ecusson_rt::{Cap, Failure};

use crate::dma;
use crate::registers::Registers;

/// Where in the table of capabilities things are; from the boot table.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    /// Own Space.
    pub space: u64,
    /// Memory quota, for the pool and for the objects of Regions.
    pub memory: u64,
    /// Dma space.
    pub dma: u64,
    /// Platform, with the right to device memory.
    pub platform: u64,
    /// First of the slots that nothing else uses, to the end of the table.
    pub first_free: u64,
}

/// A step of setting up that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetupError {
    /// What was being done.
    pub during: &'static str,
    /// What the kernel said.
    pub failure: Failure,
}

impl fmt::Display for SetupError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}: {}", self.during, self.failure)
    }
}

/// Names a step.
fn during(during: &'static str) -> impl Fn(Failure) -> SetupError {
    move |failure| SetupError { during, failure }
}

/// The process's means.
#[derive(Debug)]
pub struct Process {
    slots: Slots,
    next_slot: AtomicU64,
    next_page: AtomicU64,
}

impl Process {
    /// Makes the pool: pages that this process and its device see. Everything is mapped from `first_page` on, which nothing else may
    /// use; tables for as many pages as the quota has are there already.
    ///
    /// # Errors
    /// [`SetupError`], with what the kernel refused; `Occupied` when it was set up before.
    pub fn set_up(slots: Slots, first_page: u64) -> Result<Self, SetupError> {
        if !dma::POOL.claim() {
            let failure = Failure {
                error: Error::Occupied,
                argument: 0,
            };
            return Err(during("setting the process up again")(failure));
        }
        let process = Self {
            slots,
            next_slot: AtomicU64::new(slots.first_free),
            next_page: AtomicU64::new(first_page),
        };
        let memory = Cap::<Memory>::at(slots.memory);
        let both = Rights::READ.with(Rights::WRITE);
        let pages = dma::POOL_PAGES;
        let whole = memory.create_region(pages, 0, process.slot());
        let whole = whole.map_err(during("making the pool"))?;
        whole.scrub().map_err(during("zeroing the pool"))?;
        // A Region is attached once: the process gets one slice, the device another.
        let own = whole.slice(0, pages, both, &memory, process.slot());
        let own = own.map_err(during("slicing the pool"))?;
        let page = process.pages(pages);
        own.attach(&Cap::<Space>::at(slots.space), page, both)
            .map_err(during("mapping the pool"))?;
        let device = whole.slice(0, pages, both, &memory, process.slot());
        let device = device.map_err(during("slicing the pool"))?;
        let bus = device.attach(&Cap::<Space>::at(slots.dma), 0, both);
        let bus = bus.map_err(during("showing the pool to the device"))?;
        // SAFETY: claimed above, so once; the pages were just mapped, writable, where nothing else is, and stay as long as the
        // process.
        unsafe { dma::POOL.fill((page * PAGE_BYTES) as usize, bus) };
        Ok(process)
    }

    fn slot(&self) -> u64 {
        self.next_slot.fetch_add(1, Ordering::Relaxed)
    }

    /// Virtual pages for a mapping.
    fn pages(&self, pages: u64) -> u64 {
        self.next_page.fetch_add(pages, Ordering::Relaxed)
    }

    /// Maps registers of a device: `bytes` from a physical address.
    ///
    /// # Errors
    /// [`SetupError`]; what is RAM or the kernel's is refused.
    pub fn map(&self, address: u64, bytes: u64) -> Result<Registers, SetupError> {
        let first = address / PAGE_BYTES;
        let pages = (address % PAGE_BYTES + bytes).div_ceil(PAGE_BYTES);
        let platform = Cap::<Platform>::at(self.slots.platform);
        let memory = Cap::<Memory>::at(self.slots.memory);
        let region = platform.create_device_region(first, pages, &memory, self.slot());
        let region = region.map_err(during("taking device memory"))?;
        let page = self.pages(pages);
        region
            .attach(
                &Cap::<Space>::at(self.slots.space),
                page,
                Rights::READ.with(Rights::WRITE),
            )
            .map_err(during("mapping device memory"))?;
        let start = page * PAGE_BYTES + address % PAGE_BYTES;
        // SAFETY: device memory that the kernel just mapped there, where nothing else is, and that stays as long as the process.
        Ok(unsafe { Registers::new(start as usize, bytes as usize) })
    }
}
