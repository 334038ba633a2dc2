//! DMAR (Intel VT-d 4.0, 8) and IVRS (AMD I/O Virtualization 3.08, 5): that they are there, and where the IOMMUs are.
//!
//! Called by [`super::read`].

use ecusson_abi::boot::{BootInfo, BootIommu, IOMMU_AMD, IOMMU_INTEL};

use super::Entries;
use crate::bytes::{u8_at, u16_at, u64_at};
use crate::list::push;
use crate::report::Report;

const FIRST_ENTRY: usize = 48;

/// Takes the remapping units of the DMAR at `at`.
pub fn read_dmar<R: Report>(at: u64, table: &[u8], info: &mut BootInfo, report: &mut R) {
    info.dmar_phys = at;
    for entry in Entries::new(table, FIRST_ENTRY, Entries::word_length) {
        // Type 0 is a DRHD.
        if u16_at(entry, 0) == Some(0) {
            let unit = || {
                let detail = u16_at(entry, 4)?;
                Some(BootIommu {
                    phys: u64_at(entry, 8)?,
                    kind: IOMMU_INTEL,
                    segment: u16_at(entry, 6)?,
                    detail,
                })
            };
            add(unit(), info, report);
        }
    }
}

/// Takes the IOMMUs of the IVRS at `at`. One IOMMU may be described by up to three blocks (types 10h, 11h, 40h).
pub fn read_ivrs<R: Report>(at: u64, table: &[u8], info: &mut BootInfo, report: &mut R) {
    info.ivrs_phys = at;
    for entry in Entries::new(table, FIRST_ENTRY, Entries::word_length) {
        if matches!(u8_at(entry, 0), Some(0x10 | 0x11 | 0x40)) {
            let unit = || {
                let detail = u16_at(entry, 4)?;
                Some(BootIommu {
                    phys: u64_at(entry, 8)?,
                    kind: IOMMU_AMD,
                    segment: u16_at(entry, 16)?,
                    detail,
                })
            };
            add(unit(), info, report);
        }
    }
}

fn add<R: Report>(unit: Option<BootIommu>, info: &mut BootInfo, report: &mut R) {
    let known = unit.is_some_and(|unit| info.iommus().iter().any(|other| other.phys == unit.phys));
    if !known && !unit.is_some_and(|unit| push(&mut info.iommus, &mut info.iommu_count, unit)) {
        report.line(format_args!("an IOMMU's entry is damaged or one too many; ignored"));
    }
}
