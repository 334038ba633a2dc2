//! Start-up: from the loader's report to the first objects and running cores.

use core::fmt;

use ecusson_abi::Rights;
use ecusson_abi::boot::{
    BootSegment, IO_APIC_MAX, IOMMU_MAX, PAGE_BYTES, PhysRange, RANGE_MAX, SEGMENT_EXECUTE, SEGMENT_MAX, SEGMENT_READ,
    SEGMENT_WRITE,
};
use ecusson_abi::platform;
use ecusson_abi::time::TimePage;
use ecusson_core::boot::{Boot, MAX_RESERVED, Run, Segment};
use ecusson_core::{Kernel, Store};
use ecusson_x86::boot::{BootError, Machine, set_up_machine};
use ecusson_x86::lock::KERNEL;
use ecusson_x86::{BootInfo, clock, percpu, smp, svm};

use crate::log;

/// Why the kernel does not start.
pub(crate) enum StartError {
    /// The machine.
    Machine(BootError),
    /// A core does not answer; its index in the firmware's list.
    Core(usize),
    /// Not even root's own objects fit.
    Memory,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(error) => error.fmt(f),
            Self::Core(index) => write!(f, "cannot start: processor {index} of the ACPI table does not answer"),
            Self::Memory => f.write_str("cannot start: the largest free range of memory is below 1 MiB"),
        }
    }
}

/// Sets up the machine, makes the first objects, starts the other cores.
pub(crate) fn start(info: &'static BootInfo) -> Result<(), StartError> {
    let machine = set_up_machine(info).map_err(StartError::Machine)?;
    report(info, &machine);
    make_first_objects(info, &machine)?;
    smp::start_others(info).map_err(StartError::Core)?;
    log::boot_line(format_args!("{} of {} cores run", smp::arrived(), info.cpu_count));
    Ok(())
}

fn report(info: &BootInfo, machine: &Machine) {
    let bytes: u64 = info.ram().iter().map(|range| range.bytes).sum();
    let (features, policy) = (&machine.features, &machine.policy);
    log::boot_line(format_args!(
        "Ecusson, {} MiB of memory, TSC {} kHz",
        bytes >> 20,
        machine.ticks_per_second / 1000
    ));
    log::boot_line(format_args!(
        "{:?} family {:#x} model {:#x}; mitigations: control {:#x}, automatic IBRS {}, border {:#x}",
        features.vendor,
        features.family,
        features.model,
        policy.speculation_control,
        policy.automatic_ibrs,
        policy.entry
    ));
    defmt::info!("kernel starts, TSC {=u64} Hz", machine.ticks_per_second);
}

/// A list of runs of pages, of fixed room.
struct Runs<const N: usize> {
    runs: [Run; N],
    count: usize,
}

impl<const N: usize> Runs<N> {
    const fn new() -> Self {
        Self {
            runs: [(0, 0); N],
            count: 0,
        }
    }

    /// Adds a run, if there is room; empty ones are left out.
    fn push(&mut self, run: Run) {
        if run.1 != 0
            && let Some(place) = self.runs.get_mut(self.count)
        {
            *place = run;
            self.count += 1;
        }
    }

    fn as_slice(&self) -> &[Run] {
        self.runs.get(..self.count).unwrap_or(&[])
    }
}

/// Whole pages that a range touches.
fn pages(range: PhysRange) -> Run {
    let first = range.base / PAGE_BYTES;
    (first, range.end().div_ceil(PAGE_BYTES) - first)
}

/// Free memory, largest first, less the page that becomes the time page and those behind it that guests need.
fn free_memory(info: &BootInfo, guest_pages: u64) -> Option<(Runs<RANGE_MAX>, Run)> {
    let mut free = Runs::new();
    for &range in info.free() {
        free.push(pages(range));
    }
    let used = free.runs.get_mut(..free.count)?;
    used.sort_unstable_by_key(|run| core::cmp::Reverse(run.1));
    let largest = used.first_mut()?;
    largest.1 = largest.1.checked_sub(1 + guest_pages)?;
    let time_page = (largest.0 + largest.1, 1);
    Some((free, time_page))
}

/// RAM, and the devices that the kernel drives: nobody may map them as device memory.
fn reserved_memory(info: &BootInfo) -> Runs<MAX_RESERVED> {
    const { assert!(MAX_RESERVED >= RANGE_MAX + IO_APIC_MAX + IOMMU_MAX + 2) }
    let mut reserved = Runs::new();
    for range in info.kernel_devices().chain(info.ram().iter().copied()) {
        reserved.push(pages(range));
    }
    reserved
}

/// Has the core know what the firmware says of interrupt lines (ACPI 6.5, 5.2.12.5 and table 5.26).
fn override_lines<S: Store>(kernel: &Kernel<S>, info: &BootInfo) {
    for entry in info.overrides() {
        // 1: high or edge, 3: low or level, 0: as the bus has it (ISA: high, edge).
        let when = |bits, flag| if bits == 3 { flag } else { 0 };
        let flags = when(entry.flags >> 2 & 3, platform::LEVEL) | when(entry.flags & 3, platform::ACTIVE_LOW);
        kernel.override_line(entry.gsi, flags as u8);
    }
}

fn segment(segment: &BootSegment) -> Segment {
    let mut rights = Rights::NONE;
    for (bit, right) in [
        (SEGMENT_READ, Rights::READ),
        (SEGMENT_WRITE, Rights::WRITE),
        (SEGMENT_EXECUTE, Rights::EXECUTE),
    ] {
        if segment.flags & bit != 0 {
            rights = rights.with(right);
        }
    }
    Segment {
        run: (segment.phys / PAGE_BYTES, segment.pages),
        virtual_page: segment.vaddr / PAGE_BYTES,
        rights,
    }
}

fn make_first_objects(info: &BootInfo, machine: &Machine) -> Result<(), StartError> {
    let support = svm::detect(&machine.features);
    let cores = percpu::apic_ids(info).count();
    let guest_pages = support.map_or(0, |_| svm::pages(cores));
    let (free, time_page) = free_memory(info, guest_pages).ok_or(StartError::Memory)?;
    let reserved = reserved_memory(info);
    let mut apic_ids = [0; ecusson_abi::MAX_CORES];
    for (place, id) in apic_ids.iter_mut().zip(percpu::apic_ids(info)) {
        *place = id;
    }
    let mut segments = [Segment::default(); SEGMENT_MAX];
    for (place, from) in segments.iter_mut().zip(info.root_segments()) {
        *place = segment(from);
    }
    let kernel = KERNEL.lock();
    let now = clock::now();
    kernel.store.write_time_page(time_page.0, time(info, machine, now));
    let boot = Boot {
        free: free.as_slice(),
        reserved: reserved.as_slice(),
        apic_ids: apic_ids.get(..cores).unwrap_or(&apic_ids),
        ticks_per_us: machine.ticks_per_second / 1_000_000,
        now,
        segments: segments.get(..info.root_segments().len()).unwrap_or(&segments),
        entry: info.root_entry,
        boot_info: pages(info.boot_info_phys),
        bundle: pages(info.bundle),
        composition: pages(info.composition),
        time_page,
    };
    kernel.is_test.set(info.flags & ecusson_abi::boot::BOOT_DEBUG_EXIT != 0);
    override_lines(&kernel, info);
    match support {
        Ok(largest_page) => {
            kernel.guest_pages.set(largest_page);
            svm::set_up(&kernel, time_page.0 + 1, cores, &machine.features);
        }
        Err(why) => log::line(format_args!("no guests: {why}")),
    }
    kernel.boot(&boot).ok_or(StartError::Memory)
}

fn time(info: &BootInfo, machine: &Machine, now: u64) -> TimePage {
    let scale = (1_000_000_000u128 << 32) / u128::from(machine.ticks_per_second.max(1));
    TimePage {
        ticks_per_second: machine.ticks_per_second,
        nanoseconds_scale: u64::try_from(scale).unwrap_or(u64::MAX),
        boot_ticks: now,
        boot_wall_clock_ns: info.wall_clock_ns,
    }
}
