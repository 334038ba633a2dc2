//! Puts a guest together: space, memory, vCPUs, tables, kernel.
//!
//! Key type: [`Builder`]. Takes the Regions that the toolstack gives, makes the guest's objects of the process's own Memory.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::sync::atomic::{AtomicBool, AtomicU64};

use ecusson_abi::{Error, Rights, ops};
use ecusson_guestmem::{Gpa, GuestMemory, Mapping};
use ecusson_manifest::BootTable;
use ecusson_manifest::layout::{FREE_BASE, PAGE_BYTES, slots};
use ecusson_proto::vmm::{Description, Part, State};
use ecusson_rt::cap::kind::{Memory, Region, Space};
use ecusson_rt::lock::Mutex;
use ecusson_rt::time::Clock;
use ecusson_rt::window::{Access, Window};
use ecusson_rt::{Cap, Failure, environment, sys};
use ecusson_vmm::acpi::Tables;
use ecusson_vmm::cpu::{Cpuid, Offer};
use ecusson_vmm::layout::{Layout, VCPUS_MAX};
use ecusson_vmm::loader::{self, Boot};
use ecusson_vmm::machine::{Board, Machine};
use ecusson_vmm::time::Timebase;
use spin::Once;

use super::console::Console;
use super::guest::{Guest, Locked, Processor};
use super::memory::Memory as Wanted;
use super::names;

/// Where the description is mapped, virtual page: behind the state pages.
const DESCRIPTION: u64 = FREE_BASE / PAGE_BYTES + VCPUS_MAX as u64;
/// Where the guest's memory begins to be mapped.
const VIEW: u64 = (FREE_BASE + (1 << 30)) / PAGE_BYTES;
/// Bytes that a description may take.
const DESCRIPTION_BYTES: usize = 4096;
/// Pages of tables that are funded at a time.
const FUND_PAGES: u64 = 4;
/// What a guest may do with its memory.
const ALL: Rights = Rights(7);

/// A step that may fail, for people.
trait Step<T> {
    fn when(self, what: impl Display) -> Result<T, String>;
}

impl<T, E: Display> Step<T> for Result<T, E> {
    fn when(self, what: impl Display) -> Result<T, String> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// A guest that is being put together.
pub(super) struct Builder {
    table: BootTable<'static>,
    clock: Clock,
    memory: Cap<Memory>,
    space: Cap<Space>,
    guest_space: Cap<Space>,
    /// Slots for what is received, then for what is made.
    receive: core::ops::Range<u16>,
    free: core::ops::Range<u16>,
    description: Vec<u8>,
    views: Vec<Mapping>,
    guest_pages: u64,
}

impl Builder {
    /// Begins with what the manifest gives.
    pub(super) fn of_process() -> Result<Self, String> {
        let table = environment().ok_or("not started by root")?;
        let clock = Clock::of_process().ok_or("no clock")?;
        let header = table.header();
        let receive = header.receive_first..header.receive_first.saturating_add(header.receive_count);
        let mut builder = Self {
            memory: Cap::at(slots::MEMORY.into()),
            space: Cap::at(slots::SPACE.into()),
            guest_space: Cap::at(0),
            free: receive.end..u16::MAX,
            receive,
            table,
            clock,
            description: Vec::new(),
            views: Vec::new(),
            guest_pages: 0,
        };
        let slot = builder.slot()?;
        builder.guest_space = builder
            .memory
            .create_space(ops::space::GUEST, slot)
            .when("making the guest's space")?;
        Ok(builder)
    }

    /// Where the next Region is received.
    pub(super) fn receive_slot(&self) -> Option<u16> {
        (!self.receive.is_empty()).then_some(self.receive.start)
    }

    fn slot(&mut self) -> Result<u64, String> {
        self.free
            .next()
            .map(u64::from)
            .ok_or_else(|| "no free slot".to_string())
    }

    /// Takes a part, whose Region was received.
    pub(super) fn take(&mut self, part: Part) -> Result<(), String> {
        let slot = self.receive.next().ok_or("too many parts")?;
        let region = Cap::<Region>::at(slot.into());
        match part {
            Part::Description => self.read_description(&region),
            Part::Memory { page } => {
                attach(&region, &self.guest_space, &self.memory, page).when("attaching the guest's memory")
            }
            Part::View { page } => {
                let open = Window::open(&region, &self.space, VIEW + page, Access::ReadWrite);
                let window = open.when("mapping the guest's memory")?;
                self.guest_pages += window.bytes() / PAGE_BYTES;
                let guest = Gpa(page.saturating_mul(PAGE_BYTES));
                self.views
                    .push(Mapping::of_window(guest, window).ok_or("a stretch of memory is too long")?);
                Ok(())
            }
        }
    }

    /// Copies the description: the toolstack could change it meanwhile.
    fn read_description(&mut self, region: &Cap<Region>) -> Result<(), String> {
        let open = Window::open(region, &self.space, DESCRIPTION, Access::ReadOnly);
        let window = open.when("mapping the description")?;
        let bytes = (window.bytes() as usize).min(DESCRIPTION_BYTES);
        self.description = alloc::vec![0; bytes];
        let read = window.read(0, &mut self.description);
        read.map_err(|_| "the description lies outside its Region".to_string())?;
        window.close(region).when("unmapping the description")
    }

    /// The guest, ready to run.
    pub(super) fn build(mut self) -> Result<Guest, String> {
        let bytes = core::mem::take(&mut self.description);
        let description = Description::decode(&bytes).ok_or("there is no description")?;
        let vcpus = usize::from(description.vcpus);
        if !(1..=VCPUS_MAX).contains(&vcpus) {
            return Err(format!("vcpus = {vcpus}: a guest has 1 to {VCPUS_MAX}"));
        }
        let layout = Layout::new(self.guest_pages * PAGE_BYTES).ok_or("a guest has at least 16 MiB")?;
        let views = core::mem::take(&mut self.views);
        let memory = Wanted(GuestMemory::new(views).when("the guest's memory")?);
        let tables = Tables::new(layout, vcpus);
        tables.write(&memory).when("writing ACPI tables")?;
        let entry = self.load(&memory, &description, layout, tables.rsdp())?;
        let khz = u32::try_from(self.clock.ticks_per_second() / 1000).unwrap_or(u32::MAX);
        let timebase = Timebase::new(khz);
        let cpuid = Cpuid::new(&offer(vcpus, timebase), sys::cpuid);
        let board = Locked(Mutex::new(Board::new()));
        Ok(Guest {
            name: description.name.to_string(),
            machine: Machine::new(memory, board, cpuid, vcpus, timebase),
            processors: self.processors(vcpus)?,
            entry,
            start: sys::now(),
            clock: self.clock,
            console: Mutex::new(Console::of_process()),
            listener: self
                .table
                .signal(names::ENDED)
                .map(|(slot, bit)| (Cap::at(slot.into()), bit)),
            state: AtomicU64::new(State::Running.number()),
            trouble: Once::new(),
            power_pressed: AtomicBool::new(false),
        })
    }

    fn load(
        &self,
        memory: &Wanted,
        description: &Description<'_>,
        layout: Layout,
        rsdp: u64,
    ) -> Result<loader::EntryState, String> {
        let kernel = file(description.kernel)?;
        let initrd = match description.initrd {
            "" => None,
            name => Some(file(name)?),
        };
        let boot = Boot {
            kernel,
            initrd,
            command_line: description.command_line,
            rsdp,
            layout,
        };
        loader::load(memory, &boot).when(format_args!("loading {}", description.kernel))
    }

    /// The objects of all vCPUs.
    fn processors(&mut self, count: usize) -> Result<Vec<Processor>, String> {
        (0..count).map(|index| self.processor(index)).collect()
    }

    fn processor(&mut self, index: usize) -> Result<Processor, String> {
        let what = format_args!("making vCPU {index}").to_string();
        let name = names::of_vcpu(index);
        let signals = self.table.notification(&name);
        let signals =
            signals.ok_or_else(|| format!("{what}: the manifest has no thread with a notification {name}"))?;
        let slot = self.slot()?;
        let state = self.memory.create_region(1, 0, slot).when(&what)?;
        state.scrub().when(&what)?;
        let slot = self.slot()?;
        let vcpu = self.memory.create_vcpu(&self.guest_space, &state, slot).when(&what)?;
        Ok(Processor {
            vcpu,
            state,
            signals: Cap::at(signals.into()),
        })
    }
}

/// What this kernel switches for its guests.
fn offer(vcpus: usize, timebase: Timebase) -> Offer {
    Offer {
        vcpus,
        timebase,
        extended_state: u64::MAX,
        tsc_aux: false,
        speculation_control: false,
        tlb_flush: true,
        invariant_tsc: false,
    }
}

/// A file of the image.
fn file(name: &str) -> Result<&'static [u8], String> {
    let file = ecusson_rt::environment::file(name);
    let file = file.ok_or_else(|| format!("the image has no file {name} for this process"))?;
    file.map().when(format_args!("mapping {name}"))
}

/// Attaches a Region to the guest's space; pays for tables as they are wanted.
fn attach(region: &Cap<Region>, space: &Cap<Space>, memory: &Cap<Memory>, page: u64) -> Result<(), Failure> {
    loop {
        match region.attach(space, page, ALL) {
            Err(failure) if failure.error == Error::NoMemory => space.fund(memory, FUND_PAGES)?,
            other => return other.map(|_| ()),
        }
    }
}
