//! What each core has of its own, reached through GS in the kernel: the words that entry code uses, the core's place in
//! the kernel's state, its descriptor tables.
//!
//! Key type: [`CoreBlock`]. Entry code ([`crate::entry`]) uses the offsets pinned below; everything else calls [`here`].

use core::cell::Cell;
use core::mem::offset_of;

use ecusson_abi::MAX_CORES;
use ecusson_abi::boot::{BootCpu, BootInfo, CPU_ENABLED, StackKind, stack_top};
use ecusson_core::percpu::Core;
use static_assertions::const_assert_eq;

use crate::descriptors::Tables;
use crate::lock::KERNEL;

/// One core's block. All fields but `tables` are written by this core only, or before it starts.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct CoreBlock {
    /// Where this block is: the way from GS to a pointer.
    pub(crate) this: Cell<u64>,
    /// Virtual address of the thread whose registers entry code stores, 0 while idle.
    pub(crate) current: Cell<u64>,
    /// Initial stack pointer of the main kernel stack.
    pub(crate) stack_top: Cell<u64>,
    /// Address of this core's part of the kernel's state.
    pub(crate) core: Cell<*const Core>,
    /// Work at the border, bits of [`crate::mitigations`].
    pub(crate) border_work: Cell<u8>,
    /// 1 while entry code has saved, or has to load, all registers of the current thread; 2 when it has to enter its guest. The thread's own flag
    /// (`FULL_CONTEXT`) is touched under the lock only, for it shares a word with flags that other cores change.
    pub(crate) full_context: Cell<u8>,
    /// Index of this core.
    pub(crate) index: Cell<u8>,
    /// Local APIC id.
    pub(crate) apic_id: Cell<u32>,
    /// ACPI processor UID.
    pub(crate) acpi_id: Cell<u32>,
    /// Virtual address of the thread whose FPU state is in the registers, 0 if they hold the initial state.
    pub(crate) fpu_owner: Cell<u64>,
    /// TSC value that the timer is armed for.
    pub(crate) armed: Cell<u64>,
    /// TSC value by which the timer fires in any case, for the ports ([`crate::serial`]).
    pub(crate) output_time: Cell<u64>,
    /// Whether FPU state, ports or a guest of the current thread are loaded: a switch from it has more to do than most.
    pub(crate) is_loaded: Cell<bool>,
    /// Whether the I/O bitmap counts at present.
    pub(crate) ports_shown: Cell<bool>,
    /// Address of the protection domain whose ports the I/O bitmap has, and the generation it was filled in.
    pub(crate) ports_filled: Cell<(u64, u64)>,
    /// Page table of the kernel alone.
    pub(crate) kernel_root: Cell<u64>,
    /// What belongs to guests.
    pub(crate) guest: crate::svm::CoreGuest,
    /// GDT, TSS, I/O bitmap.
    pub(crate) tables: Tables,
}

/// Offsets that entry code uses.
pub(crate) const CURRENT: usize = offset_of!(CoreBlock, current);
/// See [`CURRENT`].
pub(crate) const STACK_TOP: usize = offset_of!(CoreBlock, stack_top);
/// See [`CURRENT`].
pub(crate) const CORE: usize = offset_of!(CoreBlock, core);
/// See [`CURRENT`].
pub(crate) const BORDER_WORK: usize = offset_of!(CoreBlock, border_work);
/// See [`CURRENT`].
pub(crate) const FULL: usize = offset_of!(CoreBlock, full_context);
/// See [`CURRENT`]: the loaded guest's block.
pub(crate) const GUEST: usize = offset_of!(CoreBlock, guest) + offset_of!(crate::svm::CoreGuest, block);
/// See [`CURRENT`].
pub(crate) const HOST_AREA: usize = offset_of!(CoreBlock, guest) + offset_of!(crate::svm::CoreGuest, host_area);
const_assert_eq!(offset_of!(CoreBlock, this), 0);
// The exit tests both bytes at once.
const_assert_eq!(FULL, BORDER_WORK + 1);

struct Blocks([CoreBlock; MAX_CORES]);

// SAFETY: a block is written by its own core, or by the booting core before that core runs (`smp` publishes it with a
// release store that the new core acquires). Other cores read `apic_id` only, which never changes afterwards.
unsafe impl Sync for Blocks {}

static BLOCKS: Blocks = Blocks([const { CoreBlock::new() }; MAX_CORES]);

impl CoreBlock {
    const fn new() -> Self {
        Self {
            this: Cell::new(0),
            current: Cell::new(0),
            stack_top: Cell::new(0),
            core: Cell::new(core::ptr::null()),
            border_work: Cell::new(0),
            full_context: Cell::new(0),
            index: Cell::new(0),
            apic_id: Cell::new(0),
            acpi_id: Cell::new(0),
            fpu_owner: Cell::new(0),
            armed: Cell::new(0),
            output_time: Cell::new(0),
            is_loaded: Cell::new(false),
            ports_shown: Cell::new(false),
            ports_filled: Cell::new((0, 0)),
            kernel_root: Cell::new(0),
            guest: crate::svm::CoreGuest::new(),
            tables: Tables::new(),
        }
    }

    /// This core's index.
    #[must_use]
    #[inline(always)]
    pub fn index(&self) -> u8 {
        self.index.get()
    }

    /// This core's local APIC id.
    #[must_use]
    pub fn apic_id(&self) -> u32 {
        self.apic_id.get()
    }

    /// Sets what a core's border work is.
    pub fn set_border_work(&self, work: u8) {
        self.border_work.set(work);
    }
}

/// The block of a core, by an index below [`MAX_CORES`].
#[must_use]
pub(crate) fn block(index: usize) -> &'static CoreBlock {
    &BLOCKS.0[index % MAX_CORES]
}

/// The cores that the kernel uses: its own number of each (the booting core is 0), the index in `BootInfo::cpus`, the entry.
pub(crate) fn cores(info: &BootInfo) -> impl Iterator<Item = (usize, usize, &BootCpu)> {
    let booting = info.bsp_index as usize;
    let all = || info.cpus().iter().enumerate();
    let first = all().filter(move |&(index, _)| index == booting);
    let others = all().filter(move |&(index, cpu)| index != booting && cpu.flags & CPU_ENABLED != 0);
    first
        .chain(others)
        .enumerate()
        .map(|(number, (index, cpu))| (number, index, cpu))
}

/// Fills in a core's block before that core uses it: `number` as the kernel counts, `index` in `BootInfo::cpus`.
pub(crate) fn prepare(number: usize, index: usize, cpu: &BootCpu, kernel_root: u64) {
    let block = block(number);
    block.this.set(core::ptr::from_ref(block) as u64);
    block.stack_top.set(stack_top(index as u32, StackKind::Main));
    block.core.set(KERNEL.core_address(number));
    block.index.set(number as u8);
    block.apic_id.set(cpu.apic_id);
    block.acpi_id.set(cpu.acpi_id);
    block.kernel_root.set(kernel_root);
    block.armed.set(u64::MAX);
    block.output_time.set(u64::MAX);
    block.tables.prepare(index);
}

/// The block of the core that executes this.
#[must_use]
#[inline(always)]
pub fn here() -> &'static CoreBlock {
    let this: *const CoreBlock;
    // SAFETY: in the kernel GS points at this core's block, from `descriptors::load` on; its first word is its address.
    unsafe {
        core::arch::asm!("mov {}, gs:[0]", out(reg) this, options(nostack, preserves_flags, readonly, pure));
        &*this
    }
}

/// Index of the core that executes this; 0 as long as GS is not set up.
#[must_use]
pub fn core_number() -> u8 {
    // SAFETY: GS_BASE exists on every 64-bit processor; a kernel address in it is the block of this core.
    let is_set = unsafe { crate::msr::read(crate::msr::GS_BASE) } >> 63 != 0;
    if is_set { here().index() } else { 0 }
}

/// Local APIC ids of the cores that the kernel uses, by its own numbers.
pub fn apic_ids(info: &BootInfo) -> impl Iterator<Item = u32> {
    cores(info).map(|(_, _, cpu)| cpu.apic_id)
}

/// The address of the last page fault of this core.
#[must_use]
pub fn fault_address() -> u64 {
    // SAFETY: reading CR2 has no effect.
    unsafe { x86::controlregs::cr2() as u64 }
}
