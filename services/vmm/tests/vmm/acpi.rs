//! The ACPI tables: read back, and compiled by the reference compiler without a warning.

use std::path::Path;
use std::process::Command;

use ecusson_vmm::acpi::Tables;
use ecusson_vmm::layout::{ACPI_TABLES_BYTES, Layout};

use crate::support::Memory;

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn tables(vcpus: usize) -> Tables {
    Tables::new(Layout::new(6 << 30).expect("enough memory"), vcpus)
}

#[test]
fn tables_are_found_from_the_rsdp() {
    let memory = Memory::new(1 << 20);
    let tables = tables(4);
    tables.write(&memory).expect("memory of the test");
    assert_eq!(memory.bytes(tables.rsdp(), 8), b"RSD PTR ");
    assert_eq!(sum(&memory.bytes(tables.rsdp(), 36)), 0);
    let xsdt = memory.u64(tables.rsdp() + 24);
    let count = (u64::from(memory.u32(xsdt + 4)) - 36) / 8;
    let entries: Vec<u64> = (0..count).map(|index| memory.u64(xsdt + 36 + 8 * index)).collect();
    let signatures: Vec<Vec<u8>> = entries.iter().map(|&at| memory.bytes(at, 4)).collect();
    assert_eq!(signatures, [b"FACP", b"APIC", b"MCFG"]);
    let dsdt = memory.u64(entries[0] + 140);
    assert_eq!(memory.bytes(dsdt, 4), b"DSDT");
    for at in entries.into_iter().chain([xsdt, dsdt]) {
        let length = memory.u32(at + 4);
        assert_eq!(
            sum(&memory.bytes(at, length as usize)),
            0,
            "checksum of the table at {at:#x}"
        );
        assert!(at + u64::from(length) <= tables.rsdp() + ACPI_TABLES_BYTES);
    }
}

/// Runs `iasl` and gives all that it said.
fn iasl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("iasl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("iasl runs (Debian package acpica-tools)");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}{}", text[0], text[1]);
    text.concat()
}

#[test]
fn the_reference_compiler_has_nothing_to_say() {
    let folder = std::env::temp_dir().join(format!("ecusson-acpi-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the tables");
    for (index, table) in tables(8).iter().enumerate() {
        let name = format!("table{index}");
        std::fs::write(folder.join(format!("{name}.aml")), table).expect("written");
        let said = iasl(&folder, &["-d", &format!("{name}.aml")]);
        assert!(!said.contains("Warning") && !said.contains("Error"), "{said}");
        let said = iasl(&folder, &["-p", &format!("{name}-again"), &format!("{name}.dsl")]);
        let quiet = said.contains("0 Errors, 0 Warnings") || !said.contains("Warning") && !said.contains("Error");
        assert!(quiet, "{said}");
        if table.starts_with(b"DSDT") {
            assert!(said.contains("0 Errors, 0 Warnings"), "{said}");
        }
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}
