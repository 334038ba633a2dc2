//! The differentiated system description: processors, PCI, serial port, clock, power button.

use alloc::format;
use alloc::vec::Vec;

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, Device, EISAName, Equal, Field, FieldAccessType, FieldEntry,
    FieldLockRule, FieldUpdateRule, IO, If, Interrupt, Local, Memory32Fixed, Method, Name, Notify, OpRegion,
    OpRegionSpace, Package, Path, ResourceTemplate, Scope, Store,
};
use acpi_tables::sdt::Sdt;

use super::{OEM, REVISION, TABLE};
use crate::chipset::{EVENT_BUTTON, SLEEP_TYPE_OFF};
use crate::layout::{self, Layout};

const HEADER_BYTES: u32 = 36;
/// Integers of 64 bits.
const DSDT_REVISION: u8 = 2;
/// What a control method power button is told: it was pressed.
const PRESSED: u8 = 0x80;

pub(super) fn dsdt(layout: Layout, vcpus: u8) -> Vec<u8> {
    let mut table = Sdt::new(*b"DSDT", HEADER_BYTES, DSDT_REVISION, OEM, TABLE, REVISION);
    let mut body = Vec::new();
    add_sleep_state(&mut body);
    for vcpu in 0..vcpus {
        add_processor(&mut body, vcpu);
    }
    add_pci(&mut body, layout);
    add_serial_port(&mut body);
    add_clock(&mut body);
    add_power_button(&mut body);
    add_events(&mut body);
    table.append_slice(&body);
    table.as_slice().to_vec()
}

/// A device below `\_SB`.
fn add_device(body: &mut Vec<u8>, name: &str, children: Vec<&dyn Aml>) {
    let device = Device::new(Path::new(name), children);
    Scope::new(Path::new("\\_SB_"), alloc::vec![&device]).to_aml_bytes(body);
}

fn name(name: &str, value: &dyn Aml) -> Name {
    Name::new(Path::new(name), value)
}

fn hardware_id(id: &str) -> Name {
    name("_HID", &EISAName::new(id))
}

/// `\_S5`: what soft-off is called in the sleep control register.
fn add_sleep_state(body: &mut Vec<u8>) {
    name("\\_S5_", &Package::new(alloc::vec![&SLEEP_TYPE_OFF])).to_aml_bytes(body);
}

fn add_processor(body: &mut Vec<u8>, vcpu: u8) {
    add_device(
        body,
        &format!("C{vcpu:03}"),
        alloc::vec![&name("_HID", &"ACPI0007"), &name("_UID", &vcpu)],
    );
}

/// The host bridge with its windows, and a board device that owns the ECAM.
fn add_pci(body: &mut Vec<u8>, layout: Layout) {
    let window_64 = layout.pci_window_64();
    let last_32 = (layout::PCI_WINDOW_32 + layout::PCI_WINDOW_32_BYTES - 1) as u32;
    let resources = name(
        "_CRS",
        &ResourceTemplate::new(alloc::vec![
            &AddressSpace::new_bus_number(0_u16, 0_u16),
            &IO::new(layout::PCI_CONFIG, layout::PCI_CONFIG, 1, 8),
            &AddressSpace::new_io(layout::PCI_PORTS, u16::MAX, None),
            &AddressSpace::new_memory(
                AddressSpaceCacheable::NotCacheable,
                true,
                layout::PCI_WINDOW_32 as u32,
                last_32,
                None
            ),
            &AddressSpace::new_memory(
                AddressSpaceCacheable::NotCacheable,
                true,
                window_64.start,
                window_64.end() - 1,
                None
            ),
        ]),
    );
    add_device(
        body,
        "PCI0",
        alloc::vec![
            &hardware_id("PNP0A08"),
            &name("_CID", &EISAName::new("PNP0A03")),
            &name("_UID", &0_u8),
            &name("_SEG", &0_u8),
            &name("_BBN", &0_u8),
            &resources,
        ],
    );
    let ecam = Memory32Fixed::new(true, layout::ECAM as u32, layout::ECAM_BYTES as u32);
    add_device(
        body,
        "MBRD",
        alloc::vec![
            &hardware_id("PNP0C02"),
            &name("_UID", &0_u8),
            &name("_CRS", &ResourceTemplate::new(alloc::vec![&ecam])),
        ],
    );
}

fn add_serial_port(body: &mut Vec<u8>) {
    let ports = IO::new(layout::COM1, layout::COM1, 1, layout::COM1_PORTS as u8);
    let line = Interrupt::new(true, true, false, false, layout::COM1_LINE.into());
    add_device(
        body,
        "COM1",
        alloc::vec![
            &hardware_id("PNP0501"),
            &name("_UID", &1_u8),
            &name("_DDN", &"COM1"),
            &name("_CRS", &ResourceTemplate::new(alloc::vec![&ports, &line])),
        ],
    );
}

fn add_clock(body: &mut Vec<u8>) {
    let ports = IO::new(layout::RTC, layout::RTC, 1, 2);
    add_device(
        body,
        "RTC0",
        alloc::vec![
            &hardware_id("PNP0B00"),
            &name("_CRS", &ResourceTemplate::new(alloc::vec![&ports])),
        ],
    );
}

fn add_power_button(body: &mut Vec<u8>) {
    add_device(body, "PWRB", alloc::vec![&hardware_id("PNP0C0C"), &name("_UID", &0_u8)]);
}

/// The generic event device: its method fetches what happened, which also lets go of the line, and passes it on.
fn add_events(body: &mut Vec<u8>) {
    let line = Interrupt::new(true, false, false, false, layout::EVENT_LINE.into());
    let register = OpRegion::new(Path::new("EVRG"), OpRegionSpace::SystemIO, &(layout::POWER + 3), &1_u8);
    let field = Field::new(
        Path::new("EVRG"),
        FieldAccessType::Byte,
        FieldLockRule::NoLock,
        FieldUpdateRule::WriteAsZeroes,
        alloc::vec![FieldEntry::Named(*b"EVST", 8)],
    );
    let happened = Path::new("EVST");
    let fetch = Store::new(&Local(0), &happened);
    let button = And::new(&Local(1), &Local(0), &EVENT_BUTTON);
    let pressed = Equal::new(&Local(1), &EVENT_BUTTON);
    let button_path = Path::new("\\_SB_.PWRB");
    let notify = Notify::new(&button_path, &PRESSED);
    let tell = If::new(&pressed, alloc::vec![&notify]);
    let ours = Equal::new(&Arg(0), &layout::EVENT_LINE);
    let method_body = If::new(&ours, alloc::vec![&fetch, &button, &tell]);
    let method = Method::new(Path::new("_EVT"), 1, true, alloc::vec![&method_body]);
    add_device(
        body,
        "GED0",
        alloc::vec![
            &name("_HID", &"ACPI0013"),
            &name("_UID", &0_u8),
            &name("_CRS", &ResourceTemplate::new(alloc::vec![&line])),
            &register,
            &field,
            &method,
        ],
    );
}
