//! The other cores: starting them, stopping them (Intel SDM vol. 3, 9.4; AMD APM vol. 2, 15.27 for INIT and SIPI).
//!
//! [`start_others`] is called by `ecusson` on the booting core once the kernel's state stands; each core arrives in
//! `ecusson_core_arrived`, sets itself up like the booting core and waits until [`release`] lets all go. Started one after
//! the other: they share one trampoline page.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ecusson_abi::boot::{BootInfo, StackKind, stack_top};

use crate::store::direct;
use crate::{apic, clock, percpu};

/// Cores that have arrived, the booting one included.
static ARRIVED: AtomicU32 = AtomicU32::new(1);
/// Whether they may run threads.
static RELEASED: AtomicBool = AtomicBool::new(false);
/// The core that stops all others, if one does.
static STOPPER: AtomicU32 = AtomicU32::new(NOBODY);
const NOBODY: u32 = u32::MAX;

const INIT_WAIT_US: u64 = 10_000;
const SECOND_TRY_US: u64 = 2_000;
const ARRIVAL_WAIT_US: u64 = 500_000;

// Runs from a copy in the trampoline page, whose number gives CS. What depends on the page's address or on the core is
// filled in by `fill_page`, at the offsets below. Real mode first, then long mode at once: paging and protection are switched
// on by one write to CR0 while EFER.LME is set (AMD APM vol. 2, 14.6.1; it needs no protected mode in between).
#[cfg(target_os = "none")]
core::arch::global_asm!(
    ".pushsection .rodata",
    ".p2align 4",
    ".global ecusson_trampoline, ecusson_trampoline_long, ecusson_trampoline_end",
    ".code16",
    "ecusson_trampoline:",
    "cli",
    "cld",
    "mov ax, cs",
    "mov ds, ax",
    "mov eax, 0x6A0", // PAE, PGE, OSFXSR, OSXMMEXCPT
    "mov cr4, eax",
    "mov eax, dword ptr [{root}]",
    "mov cr3, eax",
    "mov ecx, 0xC0000080",
    "rdmsr",
    "or eax, 0x900", // LME, NXE
    "wrmsr",
    "lgdt [{table_pointer}]",
    "mov eax, 0x80010033", // PG, WP, NE, ET, MP, PE
    "mov cr0, eax",
    ".byte 0x66, 0xFF, 0x2E", // far jump through memory, 32-bit offset
    ".word {far_pointer}",
    ".code64",
    "ecusson_trampoline_long:",
    "mov ax, 0x10",
    "mov ss, ax",
    "lea rbx, [rip + ecusson_trampoline]",
    "mov rsp, [rbx + {stack}]",
    "mov rdi, [rbx + {index}]",
    "xor ebp, ebp",
    "jmp qword ptr [rbx + {entry}]",
    "ecusson_trampoline_end:",
    ".popsection",
    root = const ROOT,
    table_pointer = const TABLE_POINTER,
    far_pointer = const FAR_POINTER,
    stack = const STACK,
    index = const INDEX,
    entry = const ENTRY,
);

// Offsets of the trampoline's data in its page.
const TABLE: usize = 0xFA0;
const TABLE_POINTER: usize = 0xFC8;
const ENTRY: usize = 0xFD8;
const FAR_POINTER: usize = 0xFE0;
const ROOT: usize = 0xFE8;
const STACK: usize = 0xFF0;
const INDEX: usize = 0xFF8;

unsafe extern "C" {
    fn ecusson_trampoline();
    fn ecusson_trampoline_long();
    fn ecusson_trampoline_end();
    fn ecusson_core_main() -> !;
}

/// Writes a word of the trampoline page.
///
/// # Safety
/// `page` is the direct map's address of the trampoline page, which belongs to nobody else, and `offset` is one of the above.
unsafe fn poke(page: u64, offset: usize, value: u64) {
    // SAFETY: by the contract; all offsets are inside the page.
    unsafe { ((page as usize + offset) as *mut u64).write_volatile(value) }
}

/// Copies the code and fills in what is the same for all cores.
fn fill_page(info: &BootInfo) -> u64 {
    let page = direct(info.trampoline_phys);
    let begin = ecusson_trampoline as *const () as usize;
    let bytes = ecusson_trampoline_end as *const () as usize - begin;
    let long = ecusson_trampoline_long as *const () as usize - begin;
    debug_assert!(bytes <= TABLE);
    // SAFETY: `BootInfo::trampoline_phys` is a page of RAM set aside for this (checked by the loader), and in the direct map;
    // the code is shorter than its data's offset.
    unsafe {
        core::ptr::copy_nonoverlapping(begin as *const u8, page as *mut u8, bytes);
        for (place, entry) in [0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF]
            .into_iter()
            .enumerate()
        {
            poke(page, TABLE + 8 * place, entry);
        }
        poke(page, TABLE_POINTER, 23 | (info.trampoline_phys + TABLE as u64) << 16);
        poke(page, FAR_POINTER, (info.trampoline_phys + long as u64) | 0x08 << 32);
        poke(page, ROOT, info.ap_cr3);
        poke(page, ENTRY, ecusson_core_arrived as *const () as u64);
    }
    page
}

/// Starts every enabled core but this one; they wait for [`release`]. The index of the first one that does not answer, if
/// any: a machine that loses a core at boot is not one to run on.
///
/// # Errors
/// The index in `cpus` of the core that did not arrive.
pub fn start_others(info: &BootInfo) -> Result<(), usize> {
    let page = fill_page(info);
    let others = || percpu::cores(info).skip(1);
    if others().next().is_none() {
        return Ok(());
    }
    for (_, _, cpu) in others() {
        apic::send_init(cpu.apic_id);
    }
    clock::wait_us(INIT_WAIT_US);
    for (number, index, cpu) in others() {
        percpu::prepare(number, index, cpu, info.kernel_cr3);
        // SAFETY: no core uses the page now: the last one that did has arrived.
        unsafe {
            poke(page, STACK, stack_top(index as u32, StackKind::Main) - 8);
            poke(page, INDEX, number as u64);
        }
        if !start(cpu.apic_id, info.trampoline_phys) {
            return Err(index);
        }
    }
    Ok(())
}

/// Starts one core and waits until it has arrived; says whether it did.
fn start(apic_id: u32, trampoline: u64) -> bool {
    let before = ARRIVED.load(Ordering::Acquire);
    let has_arrived = |wait_us| {
        let begin = clock::now();
        let ticks = clock::ticks_per_second() / 1_000_000 * wait_us;
        loop {
            if ARRIVED.load(Ordering::Acquire) != before {
                return true;
            }
            if clock::now().wrapping_sub(begin) > ticks {
                return false;
            }
            core::hint::spin_loop();
        }
    };
    let number = (trampoline >> 12) as u32;
    apic::send_startup(apic_id, number);
    if has_arrived(SECOND_TRY_US) {
        return true;
    }
    apic::send_startup(apic_id, number);
    has_arrived(ARRIVAL_WAIT_US)
}

/// First Rust of another core: interrupts off, the trampoline's page table and descriptors, its own stack.
#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
extern "C" fn ecusson_core_arrived(index: usize) -> ! {
    let block = percpu::block(index);
    // SAFETY: the booting core has prepared the block; the kernel's table maps what the trampoline's maps, less its page.
    unsafe {
        x86::controlregs::cr3_write(block.kernel_root.get());
        crate::boot::set_up_core(block);
    }
    ARRIVED.fetch_add(1, Ordering::Release);
    while !RELEASED.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    // SAFETY: bound by `bind_kernel`.
    unsafe { ecusson_core_main() }
}

#[cfg(not(target_os = "none"))]
extern "C" fn ecusson_core_arrived(_: usize) -> ! {
    unreachable!("host build")
}

/// Lets the waiting cores run.
pub fn release() {
    RELEASED.store(true, Ordering::Release);
}

/// Cores that run, this one included.
#[must_use]
pub fn arrived() -> u32 {
    ARRIVED.load(Ordering::Acquire)
}

/// Whether cores must stop.
#[must_use]
pub fn is_stopping() -> bool {
    STOPPER.load(Ordering::Acquire) != NOBODY
}

/// Whether a core begins to stop the machine or comes back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The others are stopped.
    First,
    /// This core had stopped them before: a panic inside a panic.
    Again,
}

/// Stops every other core, for good, by NMI; if another core is already doing that, stops this one.
pub fn stop_others() -> Stop {
    let me = u32::from(percpu::core_number());
    match STOPPER.compare_exchange(NOBODY, me, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            stop_by_nmi(me as usize);
            Stop::First
        }
        Err(stopper) if stopper == me => Stop::Again,
        Err(_) => halt(),
    }
}

fn stop_by_nmi(me: usize) {
    if arrived() == 1 {
        return;
    }
    for index in 0..ecusson_abi::MAX_CORES {
        let block = percpu::block(index);
        if index != me && block.this.get() != 0 {
            apic::send_nmi(block.apic_id());
        }
    }
    // Time to obey, so that they do not write between the lines that follow.
    clock::wait_us(1_000);
}

/// Stops this core for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: interrupts off, then wait for an NMI, again and again.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) }
    }
}
