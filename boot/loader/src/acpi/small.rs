//! MCFG (PCI Firmware 3.3, 4.1.2) and HPET (IA-PC HPET 1.0a, 3.2.4): a few words each.
//!
//! Called by [`super::read`].

use ecusson_abi::boot::{BootEcam, BootInfo};

use crate::bytes::{u8_at, u16_at, u64_at};
use crate::list::push;
use crate::report::Report;

/// Takes the configuration windows.
pub fn read_mcfg<R: Report>(table: &[u8], info: &mut BootInfo, report: &mut R) {
    let entries = table.get(44..).unwrap_or(&[]);
    for entry in entries.chunks_exact(16) {
        let window = BootEcam {
            base: u64_at(entry, 0).unwrap_or(0),
            segment: u16_at(entry, 8).unwrap_or(0),
            start_bus: u8_at(entry, 10).unwrap_or(0),
            end_bus: u8_at(entry, 11).unwrap_or(0),
            reserved: 0,
        };
        // A window is 1 MiB a bus; one that is not aligned or runs backwards can't be meant.
        let sound = window.base != 0 && window.base.is_multiple_of(1 << 20) && window.start_bus <= window.end_bus;
        if !sound || !push(&mut info.ecam, &mut info.ecam_count, window) {
            report.line(format_args!(
                "PCI configuration window at {:#x} is wrong or one too many; ignored",
                window.base
            ));
        }
    }
}

/// Takes the address of the first HPET.
pub fn read_hpet<R: Report>(table: &[u8], info: &mut BootInfo, report: &mut R) {
    // A generic address in memory, whose page the kernel maps.
    match (u8_at(table, 40), u64_at(table, 44)) {
        (Some(0), Some(at)) if at != 0 && at.is_multiple_of(4096) && info.hpet_phys == 0 => info.hpet_phys = at,
        _ => report.line(format_args!("HPET is not in memory or is the second; ignored")),
    }
}
