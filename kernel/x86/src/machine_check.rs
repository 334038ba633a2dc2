//! Machine checks and NMI (Intel SDM vol. 3, chapter 16; AMD APM vol. 2, chapter 9).
//!
//! Called by entry code on stacks of their own. An uncorrected error stops the machine: its banks are printed and the panic
//! policy applies. An NMI is either another core's request to stop, or the platform's, which is printed and survived.

use crate::entry::KernelFrame;
use crate::features::Features;
use crate::{msr, serial, smp};

const BANK_VALID: u64 = 1 << 63;
const BANK_MISC_VALID: u64 = 1 << 59;
const BANK_ADDRESS_VALID: u64 = 1 << 58;
/// Most banks that are looked at.
const BANK_MAX: u64 = 64;

/// Switches reporting on for every bank of this core and clears what is old.
pub(crate) fn set_up(features: &Features) {
    if !features.machine_check {
        return;
    }
    for bank in banks() {
        // SAFETY: the bank exists by MCG_CAP; both writes are what the manual prescribes at start-up. Firmware may have
        // locked a control register, so the first write may be refused.
        unsafe {
            let _ = msr::probe_write(bank, u64::MAX);
            let _ = msr::probe_write(bank + 1, 0);
        }
    }
}

/// The control register of each bank.
fn banks() -> impl Iterator<Item = u32> {
    let count = msr::probe(msr::MCG_CAP).unwrap_or(0) & 0xFF;
    (0..count.min(BANK_MAX) as u32).map(|bank| msr::MC0_CTL + 4 * bank)
}

/// Vector 18.
pub(crate) fn machine_check(frame: &KernelFrame) {
    let state = msr::probe(msr::MCG_STATUS).unwrap_or(0);
    serial::emergency_line(format_args!("machine check: state {state:#x} rip {:#x}", frame.rip));
    for bank in banks() {
        let status = msr::probe(bank + 1).unwrap_or(0);
        if status & BANK_VALID == 0 {
            continue;
        }
        let when = |bit: u64, register| {
            if status & bit != 0 {
                msr::probe(register).unwrap_or(0)
            } else {
                0
            }
        };
        let (address, detail) = (when(BANK_ADDRESS_VALID, bank + 2), when(BANK_MISC_VALID, bank + 3));
        let number = (bank - msr::MC0_CTL) / 4;
        serial::emergency_line(format_args!(
            "bank {number}: status {status:#x} address {address:#x} detail {detail:#x}"
        ));
    }
    panic!("machine check");
}

/// Vector 2.
pub(crate) fn non_maskable(frame: &KernelFrame) {
    if smp::is_stopping() {
        smp::halt();
    }
    serial::emergency_line(format_args!("NMI from the platform at rip {:#x}", frame.rip));
}
