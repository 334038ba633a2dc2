//! From the loader's jump to a core that is set up.
//!
//! `_start` hands [`BootInfo`] to `ecusson`'s `main`, which calls [`set_up_machine`]; the other cores come through
//! [`crate::smp`] and share [`set_up_core`].

use core::cell::Cell;

use ecusson_abi::boot::{BOOT_MITIGATIONS_OFF, BOOT_MITIGATIONS_ON, BootInfo, BootLocalNmi};

use crate::features::Features;
use crate::lock::KERNEL;
use crate::mitigations::{Mode, Policy};
use crate::percpu::{self, CoreBlock};
use crate::{apic, clock, control, descriptors, entry, io_apic, machine_check, power, serial};

#[cfg(target_os = "none")]
core::arch::global_asm!(
    // rdi = BootInfo; the stack is the one of the booting core.
    ".pushsection .text.entry, \"ax\"",
    ".global _start",
    "_start:",
    "xor ebp, ebp",
    "call ecusson_main",
    "ud2",
    ".popsection",
);

/// Why the machine cannot be used.
#[derive(Clone, Copy, Debug)]
pub enum BootError {
    /// Loader and kernel were built from different sources.
    Version,
    /// The processor lacks something.
    Missing(&'static str),
    /// The processor is refused by the mitigation policy.
    Refused(&'static str),
    /// Neither CPUID nor a clock tells how fast the TSC runs.
    NoClock,
}

impl core::fmt::Display for BootError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Version => f.write_str("cannot start: loader and kernel are of different versions"),
            Self::Missing(what) => write!(f, "cannot start: the processor lacks {what}"),
            Self::Refused(why) => write!(f, "cannot start: {why}"),
            Self::NoClock => f.write_str(
                "cannot start: no clock tells how fast the time stamp counter runs (HPET, ACPI timer, interval timer)",
            ),
        }
    }
}

/// What the set-up of the other cores needs of the booting one's.
struct Common {
    mode: Cell<Mode>,
    nmis: Cell<&'static [BootLocalNmi]>,
}

// SAFETY: written by the booting core before others run, read afterwards.
unsafe impl Sync for Common {}

static COMMON: Common = Common {
    mode: Cell::new(Mode::Auto),
    nmis: Cell::new(&[]),
};

/// What is known of the machine once it is set up.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// The booting core's processor.
    pub features: Features,
    /// Mitigations in force.
    pub policy: Policy,
    /// TSC ticks in a second.
    pub ticks_per_second: u64,
}

/// Sets up the booting core and the devices that the kernel drives. From its first lines on, faults are reported.
///
/// # Errors
/// One line for the console; the machine must halt.
pub fn set_up_machine(info: &'static BootInfo) -> Result<Machine, BootError> {
    serial::CONSOLE.set_up();
    serial::TRACE.set_up();
    if !info.is_of_this_version() {
        return Err(BootError::Version);
    }
    power::set_up(info);
    let features = Features::detect();
    if let Some(what) = features.missing() {
        return Err(BootError::Missing(what));
    }
    let policy = choose_policy(info, &features)?;
    descriptors::prepare_interrupt_table();
    if let Some((number, index, cpu)) = percpu::cores(info).next() {
        percpu::prepare(number, index, cpu, info.kernel_cr3);
    }
    apic::choose(&features);
    let block = percpu::block(0);
    // SAFETY: the loader's entry state (`BootInfo`): ring 0, interrupts off, all kernel mappings in `kernel_cr3`. The block
    // is prepared. The frame table is zeroed, in the direct map and nobody else's (loader's contract).
    unsafe {
        x86::controlregs::cr3_write(info.kernel_cr3);
        io_apic::mask_old_controllers();
        set_up_core(block);
        KERNEL
            .lock()
            .store
            .set_memory(info.frame_table.base, info.top_frame, info.kernel_cr3);
    }
    io_apic::set_up(info);
    let ticks_per_second = clock::calibrate(&features, info).ok_or(BootError::NoClock)?;
    Ok(Machine {
        features,
        policy,
        ticks_per_second,
    })
}

fn choose_policy(info: &'static BootInfo, features: &Features) -> Result<Policy, BootError> {
    let mode = match info.flags & (BOOT_MITIGATIONS_OFF | BOOT_MITIGATIONS_ON) {
        0 => Mode::Auto,
        BOOT_MITIGATIONS_ON => Mode::Force,
        _ => Mode::Off,
    };
    COMMON.mode.set(mode);
    COMMON.nmis.set(info.local_nmis());
    let policy = Policy::new(features, mode);
    policy.refusal.map_or(Ok(policy), |why| Err(BootError::Refused(why)))
}

/// Sets up the core that executes this.
///
/// # Safety
/// `block` is prepared and this core's; interrupts are off; CR3 holds the kernel's root.
pub(crate) unsafe fn set_up_core(block: &'static CoreBlock) {
    let features = Features::detect();
    let policy = Policy::new(&features, COMMON.mode.get());
    // SAFETY: in this order each step has what it needs: tables before anything can fault, EFER before SYSCALL's registers.
    unsafe {
        descriptors::load(block);
        control::set_up(&features, &policy);
        block.set_border_work(policy.entry);
        entry::set_up_syscall(policy.entry);
        machine_check::set_up(&features);
        crate::svm::set_up_core(block);
        apic::set_up(block.acpi_id.get(), COMMON.nmis.get());
    }
}
