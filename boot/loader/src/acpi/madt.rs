//! MADT: processors and interrupt controllers (ACPI 6.5, 5.2.12).
//!
//! Called by [`super::read`].

use ecusson_abi::boot::{
    BootCpu, BootInfo, BootIoApic, BootLocalNmi, BootOverride, CPU_ENABLED, CPU_MAX, CPU_ONLINE_CAPABLE,
};

use super::Entries;
use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use crate::list::push;
use crate::report::Report;

const FIRST_ENTRY: usize = 44;
/// ACPI processor UID that means all processors, in the entries of the old and the new kind.
const ALL_PROCESSORS_OLD: u8 = 0xFF;

/// Fills processors, I/O APICs, overrides and NMI wiring. Says whether there is an enabled processor.
pub fn read<R: Report>(table: &[u8], info: &mut BootInfo, report: &mut R) -> bool {
    info.local_apic_phys = u32_at(table, 36).map_or(0, u64::from);
    let mut left_out = 0;
    // Enabled processors first: the kernel's core numbers are theirs.
    for flag in [CPU_ENABLED, CPU_ONLINE_CAPABLE] {
        for entry in Entries::new(table, FIRST_ENTRY, Entries::byte_length) {
            left_out += processor(entry)
                .filter(|cpu| cpu.flags == flag)
                .map_or(0, |cpu| add(cpu, info));
        }
    }
    if left_out != 0 {
        report.line(format_args!("{left_out} processors above {CPU_MAX} are not used"));
    }
    for entry in Entries::new(table, FIRST_ENTRY, Entries::byte_length) {
        if other(entry, info).is_none() {
            let kind = entry.first().copied().unwrap_or(0);
            report.line(format_args!(
                "MADT entry of type {kind} is damaged or one too many; ignored"
            ));
        }
    }
    info.cpus
        .first()
        .is_some_and(|cpu| info.cpu_count != 0 && cpu.flags == CPU_ENABLED)
}

/// The processor that an entry describes.
fn processor(entry: &[u8]) -> Option<BootCpu> {
    let (apic_id, acpi_id, flags) = match u8_at(entry, 0)? {
        0 => (
            u32::from(u8_at(entry, 3)?),
            u32::from(u8_at(entry, 2)?),
            u32_at(entry, 4)?,
        ),
        9 => (u32_at(entry, 4)?, u32_at(entry, 12)?, u32_at(entry, 8)?),
        _ => return None,
    };
    // Flags bit 0 is enabled; bit 1, online capable, counts only when bit 0 is clear.
    let flags = match flags & 3 {
        0 => return None,
        2 => CPU_ONLINE_CAPABLE,
        _ => CPU_ENABLED,
    };
    Some(BootCpu {
        apic_id,
        acpi_id,
        node: 0,
        flags,
    })
}

/// Adds a processor that is not yet known; returns how many found no room. Firmware may list one twice, in both kinds
/// of entry.
fn add(cpu: BootCpu, info: &mut BootInfo) -> u32 {
    if info.cpus().iter().any(|known| known.apic_id == cpu.apic_id) {
        return 0;
    }
    u32::from(!push(&mut info.cpus, &mut info.cpu_count, cpu))
}

/// Takes all other kinds of entry; `None` when it is too short or its list is full.
fn other(entry: &[u8], info: &mut BootInfo) -> Option<()> {
    let taken = match u8_at(entry, 0)? {
        1 => {
            let phys = u64::from(u32_at(entry, 4)?);
            let apic = BootIoApic {
                phys,
                id: u32::from(u8_at(entry, 2)?),
                gsi_base: u32_at(entry, 8)?,
            };
            phys != 0 && push(&mut info.io_apics, &mut info.io_apic_count, apic)
        }
        2 => {
            let source = u32::from(u8_at(entry, 3)?);
            let flags = u32::from(u16_at(entry, 8)?);
            let item = BootOverride {
                source,
                gsi: u32_at(entry, 4)?,
                flags,
                reserved: 0,
            };
            push(&mut info.overrides, &mut info.override_count, item)
        }
        4 => {
            let id = u8_at(entry, 2)?;
            let acpi_id = if id == ALL_PROCESSORS_OLD {
                u32::MAX
            } else {
                u32::from(id)
            };
            nmi(info, acpi_id, u8_at(entry, 5)?, u16_at(entry, 3)?)
        }
        5 => {
            info.local_apic_phys = u64_at(entry, 4)?;
            true
        }
        10 => nmi(info, u32_at(entry, 4)?, u8_at(entry, 8)?, u16_at(entry, 2)?),
        _ => true,
    };
    taken.then_some(())
}

fn nmi(info: &mut BootInfo, acpi_id: u32, lint: u8, flags: u16) -> bool {
    let item = BootLocalNmi {
        acpi_id,
        lint: u32::from(lint),
        flags: u32::from(flags),
        reserved: 0,
    };
    lint < 2 && push(&mut info.local_nmis, &mut info.local_nmi_count, item)
}
