//! Guests by AMD's SVM with nested paging (AMD APM vol. 2, chapter 15).
//!
//! | module | what it does |
//! |---|---|
//! | `svm` (this) | whether there is SVM, setting it up, which guest a core has loaded, identifiers and flushes |
//! | `svm::control` | the control block: layout, what is always intercepted, state to and from the state page |
//! | `svm::nmi` | that a guest is not given an NMI while it handles one |
//! | `svm::run` | into the guest and out of it |
//!
//! Called by [`crate::switch`] (a thread's guest is entered or left), `ecusson::trap` ([`left`], [`skip`]) and [`crate::tlb`].
//! VMX can stand behind the same functions: they speak of vCPUs, state pages and the core's `GuestExit` only.
//!
//! # Stale translations
//! A core's TLB has a guest's translations under an address space identifier (15.16). A vCPU gets one of its own on each core,
//! and a new one when it comes to another core or the core's identifiers are used up, which flushes them all; an identifier never
//! used since such a flush has no translations. When a Region is taken out of a guest space, the core writes the generation of
//! the flush into the space. A core that has a vCPU of the space *loaded* is asked to flush: its interrupt ends the guest's turn,
//! and [`flush_loaded`] has the next `VMRUN` drop the identifier's translations before it answers. Every other vCPU of the space
//! compares the generation when it is entered ([`prepare`], under the lock), so that none runs on old translations. What a VMM
//! asks for on its guest's behalf (`run::FLUSH`) is the same for one vCPU. `TLB_CONTROL` is cleared only behind a `VMRUN` that happened. Changes that only add need no flush: entries that are not present are not cached
//! (15.25.7).

mod control;
mod nmi;
mod run;

use core::arch::asm;
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::PAGE_BYTES;
use ecusson_core::name::{Frame, Ref};
use ecusson_core::store::Store;
use ecusson_core::thread::Thread;
use ecusson_core::vcpu::Vcpu;
use x86::debugregs::{dr0, dr1, dr2, dr3};

use self::control::{Block, Control, word};
use crate::features::Features;
use crate::lock::Guard;
use crate::msr;
use crate::percpu::{CoreBlock, here};
use crate::store::direct;

pub use self::run::{left, skip};

const EFER_SVME: u64 = 1 << 12;
const VM_CR_LOCK: u64 = 1 << 3;
const VM_CR_DISABLED: u64 = 1 << 4;
/// Features of SVM that are used where they are (APM vol. 3, leaf 0x8000000A).
const NESTED_PAGING: u32 = 1 << 0;
const NEXT_RIP: u32 = 1 << 3;
const FLUSH_BY_IDENTIFIER: u32 = 1 << 6;
const DECODE_ASSISTS: u32 = 1 << 7;
/// `TLB_CONTROL`, in the upper half of the identifier's word.
const FLUSH_ALL: u64 = 1 << 32;
const FLUSH_THIS: u64 = 3 << 32;

/// Pages of the maps that all guests share: I/O ports (all intercepted), model specific registers.
const IO_MAP_PAGES: u64 = 3;
const MAP_PAGES: u64 = IO_MAP_PAGES + 2;
/// Registers that a guest has to itself, because `VMSAVE` and `VMLOAD` switch them: STAR to SFMASK, FS, GS and kernel GS
/// base, and those of SYSENTER. Byte and bits in the map of registers (15.11).
const OWN_REGISTERS: [(u64, u8); 4] = [
    (0x800 + 0x81 / 4, 0xFC),
    (0x800 + 0x84 / 4, 0x03),
    (0x800 + 0x100 / 4, 0x3F),
    (0x174 / 4, 0x3F),
];

/// Physical address of the first page of the maps; 0 as long as there are no guests. The cores' pages follow.
static MAPS: AtomicU64 = AtomicU64::new(0);
/// Features, and in the upper half identifiers, which begin with 1.
static SUPPORT: AtomicU64 = AtomicU64::new(0);

fn has(feature: u32) -> bool {
    SUPPORT.load(Ordering::Relaxed) as u32 & feature != 0
}

/// What a core knows about guests. Entry code uses the first two.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct CoreGuest {
    /// Virtual address of the [`Block`] of the vCPU that is loaded, 0 for none.
    pub(crate) block: Cell<u64>,
    /// Physical address of the page with what `VMLOAD` gives back to the host.
    pub(crate) host_area: Cell<u64>,
    /// State components of the host.
    xcr0: Cell<u64>,
    /// The next identifier, and how often they were used up.
    next: Cell<u64>,
    generation: Cell<u64>,
    /// Whether all guests' translations must go before the next guest runs.
    owes_flush: Cell<bool>,
}

impl CoreGuest {
    /// All zero, so that it takes no room in the image; [`set_up_core`] begins the counts.
    pub(crate) const fn new() -> Self {
        Self {
            block: Cell::new(0),
            host_area: Cell::new(0),
            xcr0: Cell::new(0),
            next: Cell::new(0),
            generation: Cell::new(0),
            owes_flush: Cell::new(false),
        }
    }

    fn loaded(&self) -> Option<&Block> {
        // SAFETY: the block of a vCPU that this core has loaded and that is therefore pinned (`Core::guest`).
        (self.block.get() != 0).then(|| unsafe { &*(self.block.get() as *const Block) })
    }
}

/// Whether this machine can run guests: the level of their largest pages.
///
/// # Errors
/// Why not, for the console.
pub fn detect(features: &Features) -> Result<u8, &'static str> {
    if !features.svm {
        return Err("the processor has no SVM");
    }
    if features.svm_features & NESTED_PAGING == 0 || features.svm_identifiers < 2 {
        return Err("SVM without nested paging");
    }
    let state = msr::probe(msr::VM_CR).unwrap_or(0);
    let is_open = |state: u64| {
        // SAFETY: the register exists with SVM; clearing the bit only lets EFER.SVME be set (15.30.1).
        state & VM_CR_LOCK == 0 && unsafe { msr::probe_write(msr::VM_CR, state & !VM_CR_DISABLED) }
    };
    if state & VM_CR_DISABLED != 0 && !is_open(state) {
        return Err("SVM is switched off in the firmware setup");
    }
    Ok(if features.huge_pages { 2 } else { 1 })
}

/// Pages that [`set_up`] wants for so many cores.
#[must_use]
pub fn pages(cores: usize) -> u64 {
    MAP_PAGES + 2 * cores as u64
}

/// Takes [`pages`] of RAM that are nobody's, makes the maps in them, and sets up the booting core. Once, after [`detect`].
pub fn set_up(kernel: &Guard<'_>, first: u64, cores: usize, features: &Features) {
    for page in first..first + pages(cores) {
        kernel.store.scrub(Frame(page));
    }
    let maps = Frame(first).address();
    // SAFETY: pages set aside by the caller; the offsets lie in them.
    unsafe {
        core::ptr::write_bytes(direct(maps) as *mut u8, 0xFF, (MAP_PAGES * PAGE_BYTES) as usize);
        for (byte, bits) in OWN_REGISTERS {
            let byte = (direct(maps + IO_MAP_PAGES * PAGE_BYTES) + byte) as *mut u8;
            *byte &= !bits;
        }
    }
    let support = u64::from(features.svm_features) | u64::from(features.svm_identifiers) << 32;
    SUPPORT.store(support, Ordering::Relaxed);
    MAPS.store(maps, Ordering::Release);
    set_up_core(here());
}

/// Switches SVM on in the core that executes this, if there are to be guests.
pub(crate) fn set_up_core(block: &CoreBlock) {
    let maps = MAPS.load(Ordering::Acquire);
    if maps == 0 {
        return;
    }
    let save_area = maps + (MAP_PAGES + 2 * u64::from(block.index())) * PAGE_BYTES;
    let host_area = save_area + PAGE_BYTES;
    // SAFETY: both pages are this core's alone; CPUID has SVM. `VMSAVE` stores this core's TR, GS base and system call
    // registers, all set up before and never changed again, so that `VMLOAD` of the same page restores them at any time.
    unsafe {
        msr::write(msr::EFER, msr::read(msr::EFER) | EFER_SVME);
        msr::write(msr::VM_HSAVE_PA, save_area);
        asm!("vmsave rax", in("rax") host_area, options(nostack, preserves_flags));
    }
    block.guest.host_area.set(host_area);
    block.guest.next.set(1);
    block.guest.generation.set(1);
    block.guest.owes_flush.set(true);
    if is_xsave_on() {
        // SAFETY: OSXSAVE is set.
        block.guest.xcr0.set(unsafe { x86::controlregs::xcr0() }.bits());
    }
}

fn is_xsave_on() -> bool {
    // SAFETY: reading CR4 has no effect.
    unsafe { x86::controlregs::cr4() }.contains(x86::controlregs::Cr4::CR4_ENABLE_OS_XSAVE)
}

/// Loads state components; `value` is made of the host's ([`control`]).
fn set_xcr0(value: u64) {
    // SAFETY: called with OSXSAVE set, a value with no bit that the host's has not, and bit 0; the kernel uses no FPU.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nomem, nostack));
    }
}

/// Makes the control block of a thread's vCPU ready for `VMRUN`. False if `VcpuRun` ended instead.
pub(crate) fn prepare(kernel: &Guard<'_>, name: Ref<Thread>) -> bool {
    let Some(entry) = kernel.guest_entry(name) else {
        return false;
    };
    let vcpu = kernel.store.vcpu(entry.vcpu);
    let (block, control) = parts(vcpu);
    if vcpu.load.take() {
        block.vmcb.set(vcpu.pages[1].get().address());
        control.load(block, state_page(entry.state));
    }
    control.arm(
        MAPS.load(Ordering::Relaxed),
        entry.root,
        vcpu.window.get(),
        block.has_debug.get(),
    );
    nmi::before_entry(block, control);
    let (here, index) = (here(), u64::from(here().index()) + 1);
    let (core, is_old) = (&here.guest, block.flush.get() < entry.flush || vcpu.flush.take());
    let keeps = block.core.get() == index && block.generation.get() == core.generation.get();
    if !keeps || is_old && !has(FLUSH_BY_IDENTIFIER) {
        if core.next.get() >= SUPPORT.load(Ordering::Relaxed) >> 32 {
            core.next.set(1);
            core.generation.set(core.generation.get() + 1);
            core.owes_flush.set(true);
        }
        control.set(word::IDENTIFIER, core.next.get());
        core.next.set(core.next.get() + 1);
        block.core.set(index);
        block.generation.set(core.generation.get());
    } else if is_old {
        control.set(word::IDENTIFIER, control.get(word::IDENTIFIER) | FLUSH_THIS);
    }
    if core.owes_flush.get() {
        control.set(
            word::IDENTIFIER,
            control.get(word::IDENTIFIER) & 0xFFFF_FFFF | FLUSH_ALL,
        );
    }
    block.flush.set(entry.flush);
    true
}

/// Writes the state of a thread's vCPU, whose `VcpuRun` ended, to its state page, if both still exist.
pub(crate) fn save(kernel: &Guard<'_>, thread: &Thread) {
    let Some(entry) = thread.vcpu.get().and_then(|vcpu| kernel.entry_of(vcpu)) else {
        return;
    };
    let vcpu = kernel.store.vcpu(entry.vcpu);
    let (block, control) = parts(vcpu);
    let state = state_page(entry.state);
    state.reason.set(vcpu.reason.get());
    if block.is_valid.get() {
        state.halted.set(u64::from(vcpu.halted.get()));
        nmi::take_step_back(block, control);
        control.save(block, state);
    }
}

/// A vCPU's two pages. Their users hold the lock or are the core that has it loaded.
fn parts(vcpu: &Vcpu) -> (&Block, &Control) {
    let [block, control] = [0, 1].map(|index: usize| direct(vcpu.pages[index].get().address()));
    // SAFETY: a living vCPU's two pages, tagged as such, scrubbed, nobody else's; zeroes are valid for both types.
    unsafe { (&*(block as *const Block), &*(control as *const Control)) }
}

fn state_page<'a>(frame: Frame) -> &'a ecusson_abi::vcpu::State {
    // SAFETY: a page of RAM of a living Region (`Kernel::entry_of`, lock held), in the direct map; user mode may change it
    // meanwhile, and all its words are atomic.
    unsafe { &*(direct(frame.address()) as *const ecusson_abi::vcpu::State) }
}

/// Takes the loaded vCPU's registers off the core, if it is not `next`, and notes `next` as the one that is loaded.
pub(crate) fn unload(kernel: &Guard<'_>, next: Option<Ref<Vcpu>>) {
    let (here, core) = (here(), kernel.this_core());
    if core.guest.get() == next {
        return;
    }
    if let Some(block) = here.guest.loaded() {
        if block.has_debug.get() {
            // SAFETY: reading debug registers has no effect.
            let debug = unsafe { [dr0(), dr1(), dr2(), dr3()] };
            block.debug.set(debug.map(|address| address as u64));
        }
        if here.guest.xcr0.get() != 0 {
            set_xcr0(here.guest.xcr0.get());
        }
    }
    core.guest.set(next);
    let block = next.map_or(0, |vcpu| direct(kernel.store.vcpu(vcpu).pages[0].get().address()));
    here.guest.block.set(block);
}

/// Loads what `VMRUN` does not: the guest's state components and breakpoint addresses.
pub(crate) fn load() {
    let guest = &here().guest;
    let Some(block) = guest.loaded() else { return };
    if guest.xcr0.get() != 0 {
        set_xcr0(block.xcr0.get());
    }
    if block.has_debug.get() {
        let debug = block.debug.get().map(|address| address as usize);
        // SAFETY: breakpoint addresses; none is enabled while the host runs, for an exit resets DR7 (15.6).
        unsafe {
            asm!("mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}", in(reg) debug[0], in(reg) debug[1],
                in(reg) debug[2], in(reg) debug[3], options(nomem, nostack, preserves_flags));
        }
    }
}

/// Has the loaded guest's translations dropped before it runs again. Without the lock, with interrupts off, while the guest
/// does not run: the control block of a loaded vCPU is this core's own.
pub(crate) fn flush_loaded() {
    if let Some(block) = here().guest.loaded() {
        let control = block.control();
        // What the core owes to all identifiers is not made less.
        let how = if has(FLUSH_BY_IDENTIFIER) && !here().guest.owes_flush.get() {
            FLUSH_THIS
        } else {
            FLUSH_ALL
        };
        control.set(word::IDENTIFIER, control.get(word::IDENTIFIER) & 0xFFFF_FFFF | how);
    }
}
