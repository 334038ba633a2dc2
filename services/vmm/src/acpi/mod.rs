//! ACPI tables of a guest: hardware-reduced, ACPI 6.5 (crate `acpi_tables`).
//!
//! Key type: [`Tables`]. RSDP, XSDT, FADT, MADT, MCFG and DSDT, one after the other from [`crate::layout::ACPI_TABLES`] on. Written into
//! memory when the domain is created; what the tables say, [`crate::machine::Board`] does.

mod dsdt;

use alloc::vec::Vec;

use acpi_tables::Aml;
use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;

use crate::chipset::RESET_VALUE;
use crate::layout::{self, Layout, VCPUS_MAX};
use crate::memory::{GuestMemory, MemoryFault};

const OEM: [u8; 6] = *b"ECUSSN";
const TABLE: [u8; 8] = *b"ECUSSON ";
const REVISION: u32 = 1;
/// FADT, boot architecture: no VGA. Neither are there legacy devices or a keyboard controller, whose bits say that there are.
const NO_VGA: u16 = 1 << 2;
/// The century's place in the clock's memory.
const CENTURY: u8 = 0x32;
/// Tables begin at multiples of this.
const ALIGNMENT: usize = 16;
/// Address of the RSDP, which stands first.
const RSDP_BYTES: usize = 36;

/// The tables, ready to be written.
#[derive(Clone, Debug)]
pub struct Tables {
    bytes: Vec<u8>,
    places: Vec<(usize, usize)>,
}

impl Tables {
    /// Tables of a guest with this memory and so many vCPUs, 1 to [`VCPUS_MAX`].
    #[must_use]
    pub fn new(layout: Layout, vcpus: usize) -> Self {
        let vcpus = vcpus.clamp(1, VCPUS_MAX) as u8;
        let mut tables = Self {
            bytes: alloc::vec![0; RSDP_BYTES],
            places: Vec::new(),
        };
        let dsdt = tables.add(&dsdt::dsdt(layout, vcpus));
        let fadt = tables.add(&bytes(&fadt(dsdt)));
        let madt = tables.add(&bytes(&madt(vcpus)));
        let mut mcfg = MCFG::new(OEM, TABLE, REVISION);
        mcfg.add_ecam(layout::ECAM, 0, 0, 0);
        let mcfg = tables.add(&bytes(&mcfg));
        let mut xsdt = XSDT::new(OEM, TABLE, REVISION);
        for table in [fadt, madt, mcfg] {
            xsdt.add_entry(table);
        }
        let xsdt = tables.add(&bytes(&xsdt));
        let rsdp = bytes(&Rsdp::new(OEM, xsdt));
        for (to, from) in tables.bytes.iter_mut().zip(rsdp) {
            *to = from;
        }
        tables
    }

    /// Guest-physical address of the RSDP.
    #[must_use]
    pub fn rsdp(&self) -> u64 {
        layout::ACPI_TABLES
    }

    /// Each table but the RSDP.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.places
            .iter()
            .filter_map(|&(start, end)| self.bytes.get(start..end))
    }

    /// Writes them into the guest's memory.
    ///
    /// # Errors
    /// [`MemoryFault`] if the guest has no memory there.
    pub fn write(&self, memory: &impl GuestMemory) -> Result<(), MemoryFault> {
        memory.write(layout::ACPI_TABLES, &self.bytes)
    }

    /// Appends a table; gives its guest-physical address.
    fn add(&mut self, table: &[u8]) -> u64 {
        let start = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(start, 0);
        self.bytes.extend_from_slice(table);
        self.places.push((start, self.bytes.len()));
        layout::ACPI_TABLES + start as u64
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut out = Vec::new();
    table.to_aml_bytes(&mut out);
    out
}

/// A register of one byte at a port.
fn port(number: u16) -> GAS {
    GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, number.into())
}

fn fadt(dsdt: u64) -> acpi_tables::fadt::FADT {
    let mut fadt = FADTBuilder::new(OEM, TABLE, REVISION)
        .dsdt_64(dsdt)
        .preferred_pm_profile(PmProfile::EnterpriseServer)
        .flag(Flags::Wbinvd)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Headless)
        .flag(Flags::HwReducedAcpi);
    fadt.iapc_boot_arch = NO_VGA.into();
    fadt.century = CENTURY;
    fadt.sleep_control_reg = port(layout::POWER);
    fadt.sleep_status_reg = port(layout::POWER + 1);
    fadt.reset_reg = port(layout::POWER + 2);
    fadt.reset_value = RESET_VALUE;
    fadt.hypervisor_vendor_identity = u64::from_le_bytes(TABLE).into();
    fadt.finalize()
}

fn madt(vcpus: u8) -> MADT {
    let mut madt = MADT::new(
        OEM,
        TABLE,
        REVISION,
        LocalInterruptController::Address(layout::LOCAL_APIC as u32),
    );
    for vcpu in 0..vcpus {
        madt.add_structure(ProcessorLocalApic::new(vcpu, vcpu, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, layout::IO_APIC as u32, 0));
    madt
}
