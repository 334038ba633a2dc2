//! What the kernel needs of the ACPI tables, read with bounds and checksums from memory that nobody vouches for.
//!
//! [`read`] is called by the binary. It finds the RSDP, walks XSDT or RSDT and gives each known table to its
//! module: [`madt`], [`fadt`], [`affinity`] (SRAT), [`iommu`] (DMAR, IVRS), [`small`] (MCFG, HPET). Only the MADT is
//! necessary; every other damaged table costs a line and is left out.

pub mod affinity;
pub mod fadt;
pub mod iommu;
pub mod madt;
pub mod small;

#[cfg(test)]
mod tests;

use ecusson_abi::boot::BootInfo;

use crate::bytes::{sums_to_zero, u8_at, u32_at, u64_at};
use crate::firmware::{Firmware, RSDP_BYTES};
use crate::physical::Physical;
use crate::report::{Fault, Report};

/// Bytes of the header that every table begins with (ACPI 6.5, 5.2.6).
pub(crate) const HEADER_BYTES: usize = 36;
/// Longest table that is believed.
const TABLE_MAX: u64 = 4 << 20;
/// Most tables that are looked at.
const TABLES_MAX: usize = 128;

const NO_RSDP: Fault = Fault::new(
    "no ACPI root pointer was found",
    "switch ACPI on in the firmware's setup",
);
const NO_ROOT: Fault = Fault::new("the ACPI root table is damaged", "update the machine's firmware");
const NO_MADT: Fault = Fault::new(
    "the ACPI tables list no processors (no valid MADT)",
    "switch the APIC on in the firmware's setup, or update the firmware",
);

/// Reads all tables into `info`. Returns the RSDP's bytes, for whoever goes on reading tables later.
///
/// # Errors
/// No RSDP, no root table, or no MADT with a processor that is enabled.
pub fn read<P: Physical, R: Report>(
    memory: &P,
    firmware: &Firmware,
    info: &mut BootInfo,
    report: &mut R,
) -> Result<[u8; RSDP_BYTES], Fault> {
    let rsdp = find_rsdp(memory, firmware).ok_or(NO_RSDP)?;
    let root = Root::find(memory, &rsdp).ok_or(NO_ROOT)?;
    let mut madt_seen = false;
    let mut srat = None;
    for at in root.tables() {
        let Some(table) = table(memory, at, report) else {
            continue;
        };
        match table.get(..4) {
            Some(b"APIC") if !madt_seen => madt_seen = madt::read(table, info, report),
            Some(b"FACP") => fadt::read(memory, table, info, report),
            Some(b"MCFG") => small::read_mcfg(table, info, report),
            Some(b"HPET") => small::read_hpet(table, info, report),
            Some(b"DMAR") => iommu::read_dmar(at, table, info, report),
            Some(b"IVRS") => iommu::read_ivrs(at, table, info, report),
            Some(b"SRAT") => srat = Some(table),
            _ => {}
        }
    }
    if let Some(srat) = srat {
        affinity::read(srat, info, report);
    }
    if madt_seen { Ok(rsdp) } else { Err(NO_MADT) }
}

/// The RSDP: the protocol's copy, else at the protocol's address, else in the BIOS areas (ACPI 6.5, 5.2.5.1).
fn find_rsdp<P: Physical>(memory: &P, firmware: &Firmware) -> Option<[u8; RSDP_BYTES]> {
    if let Some(rsdp) = firmware.rsdp.filter(rsdp_is_valid) {
        return Some(rsdp);
    }
    if firmware.rsdp_phys != 0
        && let Some(rsdp) = rsdp_at(memory, firmware.rsdp_phys)
    {
        return Some(rsdp);
    }
    // The real-mode segment of the extended BIOS data area stands at 0x40E.
    let segment = memory
        .read(0x40E, 2)
        .map_or(0, |bytes| u64::from(bytes[0]) | u64::from(bytes[1]) << 8);
    let extended = segment << 4;
    let in_extended = (0x8_0000..0xA_0000).contains(&extended);
    let first = if in_extended {
        scan(memory, extended, 1024)
    } else {
        None
    };
    first.or_else(|| scan(memory, 0xE_0000, 0x2_0000))
}

/// The first RSDP on a 16-byte boundary of an area.
fn scan<P: Physical>(memory: &P, base: u64, bytes: u64) -> Option<[u8; RSDP_BYTES]> {
    (base..base + bytes).step_by(16).find_map(|at| rsdp_at(memory, at))
}

/// The RSDP at an address, if there is a valid one; revision 0 has 20 bytes and is filled up with zeros.
fn rsdp_at<P: Physical>(memory: &P, at: u64) -> Option<[u8; RSDP_BYTES]> {
    let short = memory.read(at, 20)?;
    if !short.starts_with(b"RSD PTR ") {
        return None;
    }
    let mut rsdp = [0; RSDP_BYTES];
    if u8_at(short, 15)? < 2 {
        rsdp.get_mut(..20)?.copy_from_slice(short);
    } else {
        rsdp.copy_from_slice(memory.read(at, RSDP_BYTES as u64)?);
    }
    rsdp_is_valid(&rsdp).then_some(rsdp)
}

/// Signature and checksums: of 20 bytes always, of all from revision 2 on.
fn rsdp_is_valid(rsdp: &[u8; RSDP_BYTES]) -> bool {
    let short = sums_to_zero(&rsdp[..20]);
    let long = rsdp[15] < 2 || sums_to_zero(rsdp);
    rsdp.starts_with(b"RSD PTR ") && short && long
}

/// The table of tables.
struct Root<'a> {
    entries: &'a [u8],
    entry_bytes: usize,
}

impl<'a> Root<'a> {
    /// The XSDT where there is a valid one, else the RSDT.
    fn find<P: Physical>(memory: &'a P, rsdp: &[u8; RSDP_BYTES]) -> Option<Self> {
        let extended = if rsdp[15] >= 2 { u64_at(rsdp, 24)? } else { 0 };
        if extended != 0
            && let Ok(table) = checked_table(memory, extended)
            && table.starts_with(b"XSDT")
        {
            return Some(Root {
                entries: table.get(HEADER_BYTES..)?,
                entry_bytes: 8,
            });
        }
        let table = checked_table(memory, u64::from(u32_at(rsdp, 16)?)).ok()?;
        table.starts_with(b"RSDT").then_some(())?;
        Some(Root {
            entries: table.get(HEADER_BYTES..)?,
            entry_bytes: 4,
        })
    }

    /// Addresses of the tables.
    fn tables(&self) -> impl Iterator<Item = u64> + 'a {
        let entries = self.entries.chunks_exact(self.entry_bytes).take(TABLES_MAX);
        entries.map(|entry| entry.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
}

/// Why a table is left out.
enum Damage {
    /// It does not lie in memory the loader reaches (below 4 GiB), or its length is absurd.
    Unreachable,
    /// Its checksum is wrong.
    Checksum,
}

/// A whole table with the right checksum.
fn checked_table<P: Physical>(memory: &P, at: u64) -> Result<&[u8], Damage> {
    let header = memory.read(at, HEADER_BYTES as u64).ok_or(Damage::Unreachable)?;
    let length = u64::from(u32_at(header, 4).ok_or(Damage::Unreachable)?);
    if !(HEADER_BYTES as u64..=TABLE_MAX).contains(&length) {
        return Err(Damage::Unreachable);
    }
    let table = memory.read(at, length).ok_or(Damage::Unreachable)?;
    if sums_to_zero(table) {
        Ok(table)
    } else {
        Err(Damage::Checksum)
    }
}

/// The same with a line when the table is left out.
fn table<'a, P: Physical, R: Report>(memory: &'a P, at: u64, report: &mut R) -> Option<&'a [u8]> {
    match checked_table(memory, at) {
        Ok(table) => Some(table),
        Err(Damage::Unreachable) => {
            report.line(format_args!("ACPI table at {at:#x} can't be read; ignored"));
            None
        }
        Err(Damage::Checksum) => {
            report.line(format_args!("ACPI table at {at:#x} has a wrong checksum; ignored"));
            None
        }
    }
}

/// Entries of a table that begin with a type and a length: yields type and entry, and ends at the first that lies
/// about its length. `wide`: both are 16 bits (DMAR), else 8.
pub(crate) struct Entries<'a> {
    rest: &'a [u8],
    length: fn(&[u8]) -> Option<usize>,
}

impl<'a> Entries<'a> {
    /// The entries from `first` on; `length` reads the length of an entry.
    pub(crate) fn new(table: &'a [u8], first: usize, length: fn(&[u8]) -> Option<usize>) -> Self {
        Entries {
            rest: table.get(first..).unwrap_or(&[]),
            length,
        }
    }

    /// Length in byte 1 (MADT, SRAT).
    pub(crate) fn byte_length(entry: &[u8]) -> Option<usize> {
        u8_at(entry, 1).map(usize::from)
    }

    /// Length in bytes 2 and 3 (DMAR, IVRS).
    pub(crate) fn word_length(entry: &[u8]) -> Option<usize> {
        crate::bytes::u16_at(entry, 2).map(usize::from)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = (self.length)(self.rest).filter(|length| *length >= 4)?;
        let (entry, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(entry)
    }
}
