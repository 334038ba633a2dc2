//! Segments, task state with I/O bitmap, and the interrupt table (AMD APM vol. 2, chapters 4, 8 and 12).
//!
//! Key types: [`Tables`] (one a core, inside its block), the interrupt table (one for all). Loaded by [`crate::boot`] and
//! [`crate::smp`] as a core's first deed.

use core::cell::{Cell, UnsafeCell};

use ecusson_abi::boot::{StackKind, stack_top};
use static_assertions::const_assert_eq;
use x86::debugregs::{Dr7, dr7_write};
use x86::dtables::{DescriptorTablePointer, lgdt, lidt, load_ldtr};
use x86::segmentation::{SegmentSelector, load_cs, load_ds, load_es, load_fs, load_gs, load_ss};

use crate::msr;
use crate::percpu::CoreBlock;

/// Kernel code; kernel data follows it, as SYSCALL wants.
pub(crate) const KERNEL_CODE: u16 = 0x08;
/// Kernel data.
pub(crate) const KERNEL_DATA: u16 = 0x10;
/// User data; user code follows it, as SYSRET wants.
pub(crate) const USER_DATA: u16 = 0x18 | 3;
/// User code.
pub(crate) const USER_CODE: u16 = 0x20 | 3;
const TASK_STATE: u16 = 0x28;

const CODE_64: u64 = 0x00AF_9B00_0000_FFFF;
const DATA: u64 = 0x00CF_9300_0000_FFFF;
const RING_3: u64 = 3 << 45;

/// Bytes of the I/O bitmap: one bit a port, and one byte of ones behind it (Intel SDM vol. 1, 19.5.2).
const BITMAP_BYTES: usize = 8192 + 1;
/// Offset of the bitmap in the task state when ports are open, and the value that denies all when none is.
const BITMAP_OFFSET: u16 = 104;
const NO_BITMAP: u16 = u16::MAX;

/// Task state with its I/O bitmap.
#[derive(Debug)]
#[repr(C, packed(4))]
struct TaskState {
    reserved_0: u32,
    /// Stacks of rings 0 to 2.
    rsp: [u64; 3],
    reserved_1: u64,
    /// Interrupt stacks 1 to 7.
    ist: [u64; 7],
    reserved_2: u64,
    reserved_3: u16,
    bitmap_offset: u16,
    bitmap: [u8; BITMAP_BYTES],
}
const_assert_eq!(core::mem::offset_of!(TaskState, bitmap_offset), 102);
const_assert_eq!(core::mem::offset_of!(TaskState, bitmap), BITMAP_OFFSET as usize);

/// A core's descriptor tables.
#[derive(Debug)]
#[repr(C, align(16))]
pub(crate) struct Tables {
    segments: [Cell<u64>; 7],
    task_state: UnsafeCell<TaskState>,
}

impl Tables {
    pub(crate) const fn new() -> Self {
        Self {
            segments: [const { Cell::new(0) }; 7],
            task_state: UnsafeCell::new(TaskState {
                reserved_0: 0,
                rsp: [0; 3],
                reserved_1: 0,
                ist: [0; 7],
                reserved_2: 0,
                reserved_3: 0,
                bitmap_offset: 0,
                bitmap: [0; BITMAP_BYTES],
            }),
        }
    }

    /// Fills in the tables of the core with this index.
    pub(crate) fn prepare(&self, index: usize) {
        let stack = |kind| stack_top(index as u32, kind);
        let ist = [
            StackKind::NonMaskable,
            StackKind::DoubleFault,
            StackKind::MachineCheck,
            StackKind::Debug,
        ];
        let state = self.task_state.get();
        // SAFETY: the core does not run yet (`percpu::prepare`): nobody else reads or writes its task state.
        unsafe {
            (*state).rsp = [stack(StackKind::Main), 0, 0];
            for (place, kind) in ist.into_iter().enumerate() {
                (*state).ist[place] = stack(kind);
            }
            (*state).bitmap_offset = NO_BITMAP;
            (*state).bitmap = [0xFF; BITMAP_BYTES];
        }
        let base = state as u64;
        let limit = size_of::<TaskState>() as u64 - 1;
        let low =
            limit & 0xFFFF | (base & 0xFF_FFFF) << 16 | 0x89 << 40 | (limit >> 16) << 48 | (base >> 24 & 0xFF) << 56;
        let entries = [0, CODE_64, DATA, DATA | RING_3, CODE_64 | RING_3, low, base >> 32];
        for (cell, entry) in self.segments.iter().zip(entries) {
            cell.set(entry);
        }
    }

    /// Opens ports in the bitmap, both ends included.
    pub(crate) fn open_ports(&self, first: u16, last: u16) {
        let state = self.task_state.get();
        for port in first..=last {
            // SAFETY: only this core, with interrupts off, touches its bitmap; the index is at most 8191.
            unsafe { (*state).bitmap[usize::from(port) / 8] &= !(1 << (port % 8)) }
        }
    }

    /// Closes all ports in the bitmap.
    pub(crate) fn close_ports(&self) {
        // SAFETY: as in `open_ports`.
        unsafe { (*self.task_state.get()).bitmap = [0xFF; BITMAP_BYTES] }
    }

    /// Has the bitmap count, or denies user mode all ports whatever it says.
    pub(crate) fn show_ports(&self, visibility: Visibility) {
        let offset = match visibility {
            Visibility::Shown => BITMAP_OFFSET,
            Visibility::Hidden => NO_BITMAP,
        };
        // SAFETY: as in `open_ports`; the processor reads the field at each port access of user mode.
        unsafe { (*self.task_state.get()).bitmap_offset = offset }
    }
}

/// Whether the bitmap of a core counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// User mode may use the ports that are open in it.
    Shown,
    /// It may use none.
    Hidden,
}

/// Interrupt stack numbers of vectors 1, 2, 8 and 18 (the order of `ist` in [`Tables::prepare`]).
const fn interrupt_stack(vector: usize) -> u64 {
    match vector {
        2 => 1,
        8 => 2,
        18 => 3,
        1 => 4,
        _ => 0,
    }
}

#[repr(C, align(16))]
struct InterruptTable(UnsafeCell<[[u64; 2]; 256]>);

// SAFETY: written once by the booting core before any other core runs, read by processors only.
unsafe impl Sync for InterruptTable {}

static INTERRUPT_TABLE: InterruptTable = InterruptTable(UnsafeCell::new([[0; 2]; 256]));

/// Vector of `int3`, the one instruction of user mode that may name its vector: debuggers live by it.
const BREAKPOINT: usize = 3;

/// Writes the interrupt table: 256 interrupt gates, present, ring 0 (so that no other `int n` of user mode gets through).
pub(crate) fn prepare_interrupt_table() {
    for vector in 0..256 {
        let entry = crate::entry::vector_address(vector);
        let gate = if vector == BREAKPOINT { 0xEE } else { 0x8E };
        let low = entry & 0xFFFF
            | u64::from(KERNEL_CODE) << 16
            | interrupt_stack(vector) << 32
            | gate << 40
            | (entry >> 16 & 0xFFFF) << 48;
        // SAFETY: only the booting core runs.
        unsafe { (*INTERRUPT_TABLE.0.get())[vector] = [low, entry >> 32] }
    }
}

/// Empties the selectors of the data segments, if user mode left something in one. They mean nothing in 64-bit mode, but can
/// be read, and nobody saves them.
#[inline(always)]
pub(crate) fn drop_selectors() {
    let found: u32;
    // SAFETY: reads registers.
    unsafe {
        core::arch::asm!("mov {0:e}, ds", "mov {1:e}, es", "or {0:e}, {1:e}", "mov {1:e}, fs", "or {0:e}, {1:e}",
            "mov {1:e}, gs", "or {0:e}, {1:e}", out(reg) found, out(reg) _, options(nomem, nostack));
    }
    if found != 0 {
        empty_selectors();
    }
}

#[cold]
fn empty_selectors() {
    // SAFETY: the kernel uses none of these segments but GS, whose base some processors clear together with the selector: it
    // is user mode's base that is in place meanwhile. An NMI in between finds out which is (`ecusson_paranoid_entry`).
    unsafe {
        core::arch::asm!("mov ds, {0:e}", "mov es, {0:e}", "mov fs, {0:e}", "swapgs", "mov gs, {0:e}", "swapgs",
            in(reg) 0, options(nostack, preserves_flags));
    }
}

/// Loads a core's tables and points GS at its block.
///
/// # Safety
/// The block and the interrupt table are prepared; the caller runs on the core the block is for, interrupts off.
pub(crate) unsafe fn load(block: &'static CoreBlock) {
    let segments = DescriptorTablePointer::new(&block.tables.segments);
    let limit = (256 * 16 - 1) as u16;
    let interrupts = DescriptorTablePointer {
        limit,
        base: INTERRUPT_TABLE.0.get().cast::<u64>().cast_const(),
    };
    // SAFETY: both tables live as long as the kernel and are complete; the selectors loaded exist in the new table.
    unsafe {
        lgdt(&segments);
        load_cs(SegmentSelector::from_raw(KERNEL_CODE));
        load_ss(SegmentSelector::from_raw(KERNEL_DATA));
        for load in [load_ds, load_es, load_fs, load_gs] {
            load(SegmentSelector::from_raw(0));
        }
        // After INIT there is a local table at linear address 0, which user mode could fill.
        load_ldtr(SegmentSelector::from_raw(0));
        dr7_write(Dr7(0x400));
        lidt(&interrupts);
        x86::task::load_tr(SegmentSelector::from_raw(TASK_STATE));
        msr::write(msr::FS_BASE, 0);
        msr::write(msr::GS_BASE, block.this.get());
        msr::write(msr::KERNEL_GS_BASE, 0);
    }
}
