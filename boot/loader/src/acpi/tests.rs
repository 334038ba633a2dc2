//! ACPI tables as QEMU and servers write them, and as nobody should.

use ecusson_abi::boot::*;

use super::*;
use crate::fake::{Lines, Memory};

/// A table with the right length and checksum; `body` begins behind the header.
fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = signature.to_vec();
    table.extend((body.len() as u32 + 36).to_le_bytes());
    table.resize(36, 0);
    table.extend(body);
    seal(table, 9)
}

/// Sets the byte `at` so that the sum is 0.
fn seal(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] = 0;
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[at] = sum.wrapping_neg();
    bytes
}

fn rsdp(revision: u8, rsdt: u32, xsdt: u64) -> Vec<u8> {
    let mut rsdp = b"RSD PTR \0ECUSSO".to_vec();
    rsdp.push(revision);
    rsdp.extend(rsdt.to_le_bytes());
    let mut rsdp = seal(rsdp, 8);
    rsdp.extend(36u32.to_le_bytes());
    rsdp.extend(xsdt.to_le_bytes());
    rsdp.extend([0; 4]);
    seal(rsdp, 32)
}

fn madt() -> Vec<u8> {
    let mut body = vec![0; 8];
    body[..4].copy_from_slice(&0xFEE0_0000u32.to_le_bytes());
    body.extend([0, 8, 10, 0, 0, 0, 0, 0]); // disabled
    body.extend([0, 8, 11, 3, 2, 0, 0, 0]); // online capable
    body.extend([0, 8, 12, 1, 1, 0, 0, 0]);
    body.extend([9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 13, 0, 0, 0]); // x2APIC id 256
    body.extend([9, 16, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 12, 0, 0, 0]); // id 1 again
    body.extend([1, 12, 5, 0, 0, 0, 0xC0, 0xFE, 24, 0, 0, 0]);
    body.extend([2, 10, 0, 9, 20, 0, 0, 0, 13, 0]);
    body.extend([4, 6, 0xFF, 5, 0, 1]);
    body.extend([10, 12, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
    table(b"APIC", &body)
}

fn dsdt() -> Vec<u8> {
    // A name that only ends like the right one, a reference without NameOp, then the real package.
    let code = b"\x08X_S5\x12\x05_S5_\x12\x08\\_S5_\x12\x07\x04\x0A\x05\x01\x00\x00";
    table(b"DSDT", code)
}

fn fadt(flags: u32) -> Vec<u8> {
    let mut body = vec![0; 244 - 36];
    let mut put = |at: usize, bytes: &[u8]| body[at - 36..at - 36 + bytes.len()].copy_from_slice(bytes);
    put(40, &0x9000u32.to_le_bytes());
    put(46, &[9, 0]);
    put(64, &0x604u32.to_le_bytes());
    put(76, &0x608u32.to_le_bytes());
    put(89, &[2, 0, 4]);
    put(108, &[0x32, 2, 0]);
    put(112, &flags.to_le_bytes());
    put(116, &[1, 8, 0, 0, 0xF9, 0x0C, 0, 0, 0, 0, 0, 0, 0xF]);
    put(184, &[0, 16, 0, 0, 0, 0, 0, 0xE0, 0, 0, 0, 0]);
    table(b"FACP", &body)
}

fn others() -> Vec<Vec<u8>> {
    let mut mcfg = vec![0; 8];
    mcfg.extend([0, 0, 0, 0xB0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0, 0, 0, 0]);
    mcfg.extend([1, 0, 0, 0xB0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0, 0, 0, 0]); // not aligned
    let mut hpet = vec![0; 20];
    hpet[8..16].copy_from_slice(&0xFED0_0000u64.to_le_bytes());
    let mut srat = vec![0; 12];
    srat.extend([0, 16, 2, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]); // APIC id 1: node 0x102
    srat.extend([2, 24, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // id 256: node 3
    let mut memory = vec![1, 40, 4, 0, 0, 0, 0, 0];
    memory.extend(0x10_0000u64.to_le_bytes());
    memory.extend(0x4000_0000u64.to_le_bytes());
    memory.extend([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    srat.extend(memory);
    let mut dmar = vec![0; 12];
    dmar.extend([1, 0, 8, 0, 0, 0, 0, 0]); // an RMRR: not a unit
    dmar.extend([0, 0, 16, 0, 1, 0, 2, 0, 0, 0, 0xD9, 0xFE, 0, 0, 0, 0]);
    let mut ivhd = vec![0x10, 0, 24, 0, 0x10, 0, 0x40, 0];
    ivhd.extend(0xFEB8_0000u64.to_le_bytes());
    ivhd.extend([0; 8]);
    let mut twice = ivhd.clone();
    twice[0] = 0x11;
    let ivrs = [vec![0; 12], ivhd, twice].concat();
    [
        (b"MCFG", mcfg),
        (b"HPET", hpet),
        (b"SRAT", srat),
        (b"DMAR", dmar),
        (b"IVRS", ivrs),
    ]
    .map(|(signature, body)| table(signature, &body))
    .to_vec()
}

/// All tables, 0x1000 apart from 0x10000; the roots at 0x8000 (XSDT) and 0x8800 (RSDT).
fn memory_with(tables: &[Vec<u8>]) -> Memory {
    let addresses = (0..tables.len() as u64).map(|index| 0x1_0000 + index * 0x1000);
    let long: Vec<u8> = addresses.clone().flat_map(u64::to_le_bytes).collect();
    let short: Vec<u8> = addresses.clone().flat_map(|at| (at as u32).to_le_bytes()).collect();
    let memory = Memory::default()
        .with(0x8000, table(b"XSDT", &long))
        .with(0x8800, table(b"RSDT", &short))
        .with(0x9000, dsdt());
    addresses
        .zip(tables)
        .fold(memory, |memory, (at, table)| memory.with(at, table.clone()))
}

fn all_tables() -> Vec<Vec<u8>> {
    [vec![others()[2].clone(), madt(), fadt(1 << 8 | 1 << 10)], others()].concat()
}

fn run(memory: &Memory, firmware: &Firmware) -> (Result<[u8; RSDP_BYTES], Fault>, Box<BootInfo>, Lines) {
    let (mut info, mut lines) = (Box::new(crate::empty::boot_info()), Lines::default());
    let result = read(memory, firmware, &mut info, &mut lines);
    (result, info, lines)
}

fn at_tag(rsdp: &[u8]) -> Firmware {
    let mut firmware = Firmware::empty();
    firmware.rsdp = rsdp.try_into().ok();
    firmware
}

/// Catches a wrong offset in the MADT, an order of tables that matters, and one processor counted twice.
#[test]
fn reads_every_table() {
    let (result, info, _) = run(&memory_with(&all_tables()), &at_tag(&rsdp(2, 0x8800, 0x8000)));
    assert!(result.is_ok());
    let cpu = |apic_id, acpi_id, node, flags| BootCpu {
        apic_id,
        acpi_id,
        node,
        flags,
    };
    let cpus = [
        cpu(1, 12, 0x102, CPU_ENABLED),
        cpu(256, 13, 3, CPU_ENABLED),
        cpu(3, 11, 0, CPU_ONLINE_CAPABLE),
    ];
    assert_eq!(info.cpus(), cpus);
    assert_eq!(info.local_apic_phys, 0xFEE0_0000);
    assert_eq!(
        info.io_apics(),
        [BootIoApic {
            phys: 0xFEC0_0000,
            id: 5,
            gsi_base: 24
        }]
    );
    assert_eq!(
        info.overrides(),
        [BootOverride {
            source: 9,
            gsi: 20,
            flags: 13,
            reserved: 0
        }]
    );
    let nmi = |acpi_id, lint, flags| BootLocalNmi {
        acpi_id,
        lint,
        flags,
        reserved: 0,
    };
    assert_eq!(info.local_nmis(), [nmi(u32::MAX, 1, 5), nmi(7, 0, 5)]);
}

/// Catches a wrong offset in MCFG, HPET, SRAT, DMAR or IVRS, and one IOMMU counted twice.
#[test]
fn reads_what_is_not_necessary() {
    let (_, info, lines) = run(&memory_with(&all_tables()), &at_tag(&rsdp(2, 0x8800, 0x8000)));
    assert_eq!(
        info.ecam(),
        [BootEcam {
            base: 0xB000_0000,
            end_bus: 0xFF,
            ..BootEcam::default()
        }]
    );
    assert_eq!(info.hpet_phys, 0xFED0_0000);
    let near = PhysRange {
        base: 0x10_0000,
        bytes: 0x4000_0000,
    };
    assert!(info.memory_nodes().contains(&BootMemoryNode {
        range: near,
        node: 4,
        flags: 1
    }));
    let unit = |phys, kind, segment, detail| BootIommu {
        phys,
        kind,
        segment,
        detail,
    };
    let units = [
        unit(0xFED9_0000, IOMMU_INTEL, 2, 1),
        unit(0xFEB8_0000, IOMMU_AMD, 0, 0x10),
    ];
    assert_eq!(info.iommus(), units);
    assert_eq!((info.dmar_phys, info.ivrs_phys), (0x1_6000, 0x1_7000));
    assert!(
        lines.0.iter().any(|line| line.contains("configuration window")),
        "{:?}",
        lines.0
    );
}

/// Catches a wrong offset in the FADT or in the search for `\_S5`.
#[test]
fn reads_power_management() {
    let (_, info, _) = run(&memory_with(&all_tables()), &at_tag(&rsdp(2, 0x8800, 0x8000)));
    let fadt = info.fadt;
    let port = |address, bits| BootRegister {
        address,
        space: REGISTER_PORT,
        bits,
    };
    assert_eq!(
        fadt.flags,
        FADT_PRESENT | FADT_RESET | FADT_TIMER_32_BITS | FADT_SOFT_OFF
    );
    assert_eq!((fadt.sci, fadt.century, fadt.boot_architecture), (9, 0x32, 2));
    assert_eq!((fadt.reset, fadt.reset_value), (port(0xCF9, 8), 0xF));
    assert_eq!((fadt.pm1a_control, fadt.pm_timer), (port(0x604, 16), port(0x608, 32)));
    assert_eq!(
        fadt.pm1b_control,
        BootRegister {
            address: 0xE000_0000,
            space: REGISTER_MEMORY,
            bits: 16
        }
    );
    assert_eq!((fadt.sleep_type_a, fadt.sleep_type_b), (5, 1));
}

/// Catches an RSDP that is found in one way only: copy, address, extended BIOS area, BIOS area, revision 0, a bad
/// XSDT.
#[test]
fn finds_the_root_in_every_way() {
    let tables = [madt()];
    let old = rsdp(0, 0x8800, 0);
    for place in [0x9_FC10, 0xF_5000] {
        let mut low = vec![0; 0x500];
        low[0x40E..0x410].copy_from_slice(&0x9FC0u16.to_le_bytes());
        let area = Memory::default().with(0, low).with(place, old.clone());
        let memory = Memory([memory_with(&tables).0, area.0].concat());
        assert!(run(&memory, &Firmware::empty()).0.is_ok(), "at {place:#x}");
        let mut firmware = Firmware::empty();
        firmware.rsdp_phys = place;
        assert!(run(&memory, &firmware).0.is_ok());
    }
    // The XSDT is not there: the RSDT serves.
    assert!(run(&memory_with(&tables), &at_tag(&rsdp(2, 0x8800, 0x7000))).0.is_ok());
    assert_eq!(
        run(&memory_with(&tables), &at_tag(&rsdp(2, 0x7000, 0x7000))).0,
        Err(NO_ROOT)
    );
    assert_eq!(run(&memory_with(&tables), &Firmware::empty()).0, Err(NO_RSDP));
    let mut wrong = rsdp(2, 0x8800, 0x8000);
    wrong[30] ^= 1;
    assert_eq!(run(&memory_with(&tables), &at_tag(&wrong)).0, Err(NO_RSDP));
}

/// Catches a machine that starts without processors, and a table that counts in spite of its checksum.
#[test]
fn insists_on_processors() {
    let at = at_tag(&rsdp(2, 0x8800, 0x8000));
    assert_eq!(run(&memory_with(&[fadt(0)]), &at).0, Err(NO_MADT));
    assert_eq!(run(&memory_with(&[table(b"APIC", &[0; 8])]), &at).0, Err(NO_MADT));
    let mut broken = madt();
    broken[40] ^= 1;
    let (result, _, lines) = run(&memory_with(&[broken]), &at);
    assert_eq!(result, Err(NO_MADT));
    assert!(lines.0[0].contains("checksum"));
}

/// Catches a list that overflows: 300 processors and 300 of everything else.
#[test]
fn more_than_there_is_room_for() {
    let mut body = vec![0; 8];
    for id in 0..300u32 {
        body.extend([9, 16, 0, 0]);
        body.extend(id.to_le_bytes());
        body.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        body.extend([1, 12, 5, 0, 0, 0, 0xC0, 0xFE, 24, 0, 0, 0]);
        body.extend([2, 10, 0, 9, 20, 0, 0, 0, 13, 0]);
        body.extend([4, 6, 0xFF, 5, 0, 1]);
    }
    let (result, info, lines) = run(
        &memory_with(&[table(b"APIC", &body)]),
        &at_tag(&rsdp(2, 0x8800, 0x8000)),
    );
    assert!(result.is_ok());
    assert_eq!(
        (info.cpus().len(), info.io_apics().len(), info.overrides().len()),
        (64, 16, 32)
    );
    assert!(lines.0.iter().any(|line| line.starts_with("236 processors")));
}

/// Catches a panic or an endless loop: every byte of every table takes hostile values, with the checksum made right
/// again.
#[test]
fn survives_every_damage() {
    let tables = all_tables();
    let at = at_tag(&rsdp(2, 0x8800, 0x8000));
    for index in 0..tables.len() {
        for byte in (0..tables[index].len()).filter(|byte| *byte != 9) {
            for value in [0, 1, 3, 4, 0x7F, 0xFF] {
                let mut damaged = tables.clone();
                damaged[index][byte] = value;
                damaged[index] = seal(damaged[index].clone(), 9);
                let _ = run(&memory_with(&damaged), &at);
            }
        }
    }
    let good = dsdt();
    for byte in 0..good.len() {
        for value in [0, 1, 0x12, 0x40, 0xC0, 0xFF] {
            let mut damaged = good.clone();
            damaged[byte] = value;
            let mut memory = memory_with(&tables);
            memory.0[2].1 = seal(damaged, 9);
            let _ = run(&memory, &at);
        }
    }
}
