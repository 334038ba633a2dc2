//! The local APIC: acknowledging, sending, the timer; as memory (xAPIC) or as registers (x2APIC) behind one interface
//! (Intel SDM vol. 3, chapter 11; AMD APM vol. 2, chapter 16).
//!
//! Called by [`crate::boot`] and [`crate::smp`] (set-up), [`crate::tlb`] (shootdown), `ecusson::trap` (end of interrupt,
//! timer, reschedule). Vectors below 0x30 are exceptions and the masked PICs', 0x30 to 0xEF user mode's interrupts.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ecusson_abi::boot::{BootLocalNmi, LOCAL_APIC_VIRT};

use crate::features::Features;
use crate::msr;
use crate::percpu::here;

/// The timer fired.
pub const TIMER_VECTOR: u8 = 0xF0;
/// Another core made something ready here.
pub const RESCHEDULE_VECTOR: u8 = 0xF1;
/// Another core wants translations flushed.
pub const FLUSH_VECTOR: u8 = 0xF2;
/// The APIC found an error.
pub const ERROR_VECTOR: u8 = 0xFE;
/// An interrupt that went away before it was delivered; gets no end of interrupt.
pub const SPURIOUS_VECTOR: u8 = 0xFF;

const ID: u32 = 0x2;
const TASK_PRIORITY: u32 = 0x8;
const END_OF_INTERRUPT: u32 = 0xB;
const SPURIOUS: u32 = 0xF;
const ERROR_STATUS: u32 = 0x28;
const COMMAND: u32 = 0x30;
const COMMAND_HIGH: u32 = 0x31;
const LVT_TIMER: u32 = 0x32;
const LVT_THERMAL: u32 = 0x33;
const LVT_COUNTERS: u32 = 0x34;
const LVT_LINT0: u32 = 0x35;
const LVT_ERROR: u32 = 0x37;
const INITIAL_COUNT: u32 = 0x38;
const CURRENT_COUNT: u32 = 0x39;
const DIVIDE: u32 = 0x3E;

const MASKED: u32 = 1 << 16;
const DELIVER_NMI: u32 = 4 << 8;
const DELIVER_INIT: u32 = 5 << 8;
const DELIVER_STARTUP: u32 = 6 << 8;
const ASSERT: u32 = 1 << 14;
const PENDING: u32 = 1 << 12;
const DEADLINE_MODE: u32 = 2 << 17;
const DIVIDE_BY_1: u32 = 0xB;
const ENABLE: u32 = 1 << 8;

const BASE_ENABLE: u64 = 1 << 11;
const BASE_X2: u64 = 1 << 10;

/// All cores use the same mode: registers (x2APIC) or memory.
static X2_MODE: AtomicBool = AtomicBool::new(false);
/// Whether the timer compares with the TSC.
static DEADLINE: AtomicBool = AtomicBool::new(false);
/// Without that: timer ticks in a TSC tick, as a fraction of 2^32.
static TIMER_RATIO: AtomicU32 = AtomicU32::new(0);
static TIMER_RATIO_SHIFT: AtomicU32 = AtomicU32::new(32);

/// Polls of the delivery status of an xAPIC before a message is sent anyhow.
const SEND_POLLS: u32 = 1_000_000;

fn read(register: u32) -> u32 {
    // SAFETY: in x2APIC mode the register is an MSR that exists; in xAPIC mode the page is mapped uncached at this address.
    // Reading one of the registers named above changes nothing.
    unsafe {
        if is_x2() {
            msr::read(msr::X2APIC + register) as u32
        } else {
            ((LOCAL_APIC_VIRT + u64::from(register) * 16) as *const u32).read_volatile()
        }
    }
}

fn write(register: u32, value: u32) {
    // SAFETY: as in `read`; the APIC delivers interrupts and touches no memory.
    unsafe {
        if is_x2() {
            msr::write(msr::X2APIC + register, u64::from(value));
        } else {
            ((LOCAL_APIC_VIRT + u64::from(register) * 16) as *mut u32).write_volatile(value);
        }
    }
}

/// Chooses the mode, once, on the booting core.
pub(crate) fn choose(features: &Features) {
    X2_MODE.store(features.x2apic, Ordering::Relaxed);
    DEADLINE.store(features.tsc_deadline, Ordering::Relaxed);
}

/// Switches this core's APIC on with everything masked but NMI pins and errors.
///
/// # Safety
/// This core's interrupt table is loaded and interrupts are off; in xAPIC mode the page is mapped.
pub(crate) unsafe fn set_up(acpi_id: u32, nmis: &[BootLocalNmi]) {
    // SAFETY: the register exists wherever there is an APIC. x2APIC is entered from enabled xAPIC, as the manual demands.
    unsafe {
        let base = msr::read(msr::APIC_BASE) | BASE_ENABLE;
        msr::write(msr::APIC_BASE, base);
        if is_x2() {
            msr::write(msr::APIC_BASE, base | BASE_X2);
        }
    }
    write(SPURIOUS, ENABLE | u32::from(SPURIOUS_VECTOR));
    write(TASK_PRIORITY, 0);
    for local in [LVT_TIMER, LVT_THERMAL, LVT_COUNTERS, LVT_LINT0, LVT_LINT0 + 1] {
        write(local, MASKED);
    }
    for nmi in nmis
        .iter()
        .filter(|nmi| nmi.acpi_id == u32::MAX || nmi.acpi_id == acpi_id)
    {
        write(LVT_LINT0 + (nmi.lint & 1), DELIVER_NMI);
    }
    write(LVT_ERROR, u32::from(ERROR_VECTOR));
    write(ERROR_STATUS, 0);
    write(END_OF_INTERRUPT, 0);
    if DEADLINE.load(Ordering::Relaxed) {
        write(LVT_TIMER, DEADLINE_MODE | u32::from(TIMER_VECTOR));
        // The write to memory and the one to the MSR that follows are not ordered otherwise (SDM vol. 3, 11.5.4.1).
        // SAFETY: a fence.
        unsafe { core::arch::x86_64::_mm_mfence() }
    } else {
        write(DIVIDE, DIVIDE_BY_1);
        write(LVT_TIMER, u32::from(TIMER_VECTOR));
    }
}

/// This core's id, as the APIC has it.
#[must_use]
pub fn id() -> u32 {
    let value = read(ID);
    if is_x2() { value } else { value >> 24 }
}

/// Whether cores are reached through x2APIC.
#[must_use]
#[inline]
pub fn is_x2() -> bool {
    X2_MODE.load(Ordering::Relaxed)
}

/// Ends the interrupt in service.
#[inline]
pub fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Reads and clears the errors the APIC has seen.
pub fn take_errors() -> u32 {
    write(ERROR_STATUS, 0);
    read(ERROR_STATUS)
}

fn command(target: u32, command: u32) {
    if is_x2() {
        // The receiver must see what was written before (x2APIC writes are not serialising; SDM vol. 3, 11.12.3).
        // SAFETY: fences, and a register that exists in this mode.
        unsafe {
            core::arch::x86_64::_mm_mfence();
            core::arch::x86_64::_mm_lfence();
            msr::write(msr::X2APIC + COMMAND, u64::from(target) << 32 | u64::from(command));
        }
        return;
    }
    for _ in 0..SEND_POLLS {
        if read(COMMAND) & PENDING == 0 {
            break;
        }
        core::hint::spin_loop();
    }
    write(COMMAND_HIGH, target << 24);
    write(COMMAND, command);
}

/// Sends an interrupt to a core by its APIC id.
pub fn send(target: u32, vector: u8) {
    command(target, ASSERT | u32::from(vector));
}

/// Sends an NMI to a core.
pub fn send_nmi(target: u32) {
    command(target, ASSERT | DELIVER_NMI);
}

/// Resets a core into waiting for [`send_startup`].
pub(crate) fn send_init(target: u32) {
    command(target, ASSERT | DELIVER_INIT);
}

/// Starts a core at a page below 1 MiB.
pub(crate) fn send_startup(target: u32, page: u32) {
    command(target, ASSERT | DELIVER_STARTUP | page & 0xFF);
}

/// Starts the timer's counter from its largest value, masked; for calibration.
pub(crate) fn start_counter() {
    write(DIVIDE, DIVIDE_BY_1);
    write(LVT_TIMER, MASKED | u32::from(TIMER_VECTOR));
    write(INITIAL_COUNT, u32::MAX);
}

/// Ticks counted since [`start_counter`].
pub(crate) fn counted() -> u32 {
    u32::MAX - read(CURRENT_COUNT)
}

/// Ends calibration: the counter counted `timer` ticks while the TSC counted `tsc`.
pub(crate) fn set_timer_ratio(timer: u64, tsc: u64) {
    write(INITIAL_COUNT, 0);
    write(LVT_TIMER, u32::from(TIMER_VECTOR));
    // The largest shift with which the ratio fits 32 bits keeps it exact to 2^-31.
    let mut shift = 40;
    let ratio = loop {
        let ratio = (u128::from(timer) << shift) / u128::from(tsc.max(1));
        if ratio <= u128::from(u32::MAX) {
            break ratio as u32;
        }
        shift -= 1;
    };
    TIMER_RATIO.store(ratio, Ordering::Relaxed);
    TIMER_RATIO_SHIFT.store(shift, Ordering::Relaxed);
}

/// Whether the timer needs a calibrated counter.
#[must_use]
pub(crate) fn needs_calibration() -> bool {
    !DEADLINE.load(Ordering::Relaxed)
}

/// Makes the timer of this core fire when the TSC reaches `deadline`, or not at all for `u64::MAX`. May fire earlier, when
/// the counter does not reach that far: then the kernel arms it again.
pub fn arm(deadline: u64) {
    let here = here();
    if here.armed.get() == deadline {
        return;
    }
    here.armed.set(deadline);
    set_timer(deadline.min(here.output_time.get()));
}

/// Has the timer of this core fire at a time at the latest, whatever is armed, `u64::MAX` for no such time: then there is
/// output to send.
pub(crate) fn set_output_time(time: u64) {
    let here = here();
    if here.output_time.replace(time) != time {
        set_timer(here.armed.get().min(time));
    }
}

fn set_timer(deadline: u64) {
    if DEADLINE.load(Ordering::Relaxed) {
        // 0 disarms; a deadline that has passed fires at once.
        let value = if deadline == u64::MAX { 0 } else { deadline.max(1) };
        // SAFETY: CPUID announced the register.
        unsafe { msr::write(msr::TSC_DEADLINE, value) }
        return;
    }
    if deadline == u64::MAX {
        write(INITIAL_COUNT, 0);
        return;
    }
    let ticks = deadline.saturating_sub(crate::clock::now());
    let scaled = u128::from(ticks) * u128::from(TIMER_RATIO.load(Ordering::Relaxed));
    let count = scaled >> TIMER_RATIO_SHIFT.load(Ordering::Relaxed);
    write(INITIAL_COUNT, count.clamp(1, u128::from(u32::MAX)) as u32);
}

/// Notes that the timer has fired: the next [`arm`] writes in any case. Says whether there is output to send.
pub fn timer_fired() -> bool {
    here().armed.set(u64::MAX - 1);
    here().output_time.replace(u64::MAX) != u64::MAX
}
