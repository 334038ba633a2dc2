//! A whole image from a manifest that uses every key, read back by the rules of `ecusson_abi::boot::payload` and by what
//! root and `rt` use.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use ecusson_abi::boot::{KERNEL_BASE, PAGE_BYTES};
use ecusson_image::elf::flatten::{FlattenError, flatten};
use ecusson_image::elf::write::{AttachError, attach_payload};
use ecusson_image::{Artifacts, Image, Manifest, Source, artifacts, check, compose, graph};
use ecusson_manifest::boot_table::label;
use ecusson_manifest::composition::{Control, Start, Target};
use ecusson_manifest::layout::{self, slots};
use ecusson_manifest::{BootTable, Composition, Entry};
use ecusson_payload::{PAYLOAD_LOCATION_MAGIC, PayloadHeader, PayloadLocation};
use object::Endianness;
use object::elf::{FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use support::{Segment, loader, ordinary, program};

fn here(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn manifest(path: &str) -> Manifest {
    let source = Source::load(&here(path)).unwrap();
    let mut manifest = Manifest::parse(&source).unwrap_or_else(|problems| panic!("{problems:#?}"));
    manifest.measure_files(here(path).parent().unwrap()).unwrap();
    manifest
}

fn everything() -> (Manifest, Artifacts) {
    let manifest = manifest("tests/accepted/everything.toml");
    let names = artifacts::binaries(&manifest);
    let binaries: BTreeMap<String, Vec<u8>> = names.into_iter().map(|name| (name, ordinary(0x20_0000))).collect();
    let artifacts = Artifacts {
        loader: loader(),
        kernel: ordinary(KERNEL_BASE),
        binaries,
        files: manifest.read_files(&here("tests/accepted")).unwrap(),
    };
    (manifest, artifacts)
}

fn image() -> Image {
    let (manifest, artifacts) = everything();
    compose(&manifest, &artifacts).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The payload as the loader finds it: physical address, bytes, header.
fn payload(elf: &[u8]) -> (u64, &[u8], PayloadHeader) {
    let header = FileHeader64::<Endianness>::parse(elf).unwrap();
    let endian = header.endian().unwrap();
    let segments: &[ProgramHeader64<Endianness>] = header.program_headers(endian, elf).unwrap();
    let last = segments.last().unwrap();
    assert_eq!(last.p_type(endian), object::elf::PT_LOAD);
    assert_eq!(last.p_offset(endian) % PAGE_BYTES, 0);
    let bytes = last.data(endian, elf).unwrap();
    (last.p_paddr(endian), bytes, PayloadHeader::from_bytes(bytes))
}

#[test]
fn the_image_is_what_the_loader_expects() {
    let image = image();
    let (phys, bytes, header) = payload(&image.elf);
    header.check(bytes.len() as u64).unwrap();
    assert_eq!(phys, 0x10_4000, "behind the loader's bss, page aligned");
    let location = PayloadLocation {
        magic: PAYLOAD_LOCATION_MAGIC,
        phys,
        bytes: bytes.len() as u64,
    };
    assert!(image.elf.windows(24).any(|window| window == location.to_bytes()));
    assert_eq!(header.kernel.entry, KERNEL_BASE + 16);
    let data = header.kernel.used()[2];
    assert_eq!(
        (data.vaddr, data.file_bytes, data.memory_bytes, data.flags),
        (KERNEL_BASE + 0x3000, 40, 0x3000, 3)
    );
    let start = data.file_offset as usize;
    assert_eq!(&bytes[start..start + 40], [[0; 16].as_slice(), &[0x22; 24]].concat());
    let in_file: u64 = header.kernel.used().iter().map(|segment| segment.file_bytes).sum();
    let in_memory: u64 = header.kernel.used().iter().map(|segment| segment.memory_bytes).sum();
    assert_eq!((image.kernel_bytes, in_memory), (in_file, 0x1000 + 0x2000 + 0x3000));
}

#[test]
fn the_composition_in_the_image_is_the_one_returned() {
    let image = image();
    let (_, bytes, header) = payload(&image.elf);
    let start = header.composition.offset as usize;
    let pages = &bytes[start..start + header.composition.bytes as usize];
    assert_eq!(Composition::decode(pages).unwrap(), image.composition);
}

#[test]
fn programs_are_in_the_bundle_once_and_whole() {
    let image = image();
    let (_, bytes, header) = payload(&image.elf);
    let bundle = &bytes[header.bundle.offset as usize..][..header.bundle.bytes as usize];
    let [switch, power] = ["switch", "power"].map(|name| {
        image
            .composition
            .processes
            .iter()
            .find(|process| process.name == name)
            .unwrap()
    });
    assert_eq!(
        switch.program.segments, power.program.segments,
        "the same binary, the same bytes"
    );
    let [code, constants, data] = switch.program.segments.as_slice() else {
        panic!("three segments")
    };
    assert_eq!((code.rights, constants.rights, data.rights), (5, 1, 3));
    assert_eq!(
        (constants.file_bytes, constants.memory_bytes),
        (0x2000, 0x2000),
        "all pages, to be mapped in place"
    );
    assert_eq!((data.file_bytes, data.memory_bytes), (0x1000, 0x3000));
    assert_eq!(bundle[constants.offset as usize..][..5000], [0x11; 5000]);
    assert!(
        switch
            .program
            .segments
            .iter()
            .all(|segment| segment.offset % PAGE_BYTES == 0)
    );
}

#[test]
fn each_boot_table_names_what_the_composition_gives() {
    let image = image();
    let (_, bytes, header) = payload(&image.elf);
    let bundle = &bytes[header.bundle.offset as usize..][..header.bundle.bytes as usize];
    for process in &image.composition.processes {
        let page = &bundle[process.boot_table.offset as usize..];
        let table = BootTable::decode(page).unwrap();
        assert_eq!(table.header().process, process.name);
        let target = |slot: u16| {
            process
                .capabilities
                .iter()
                .find(|capability| capability.slot == slot)
                .map(|capability| capability.target)
        };
        for entry in table.entries() {
            let good = match entry {
                Entry::Call { slot, .. } => matches!(target(slot), Some(Target::Portal { .. })),
                Entry::Notification { slot, .. } => matches!(target(slot), Some(Target::Notification { .. })),
                Entry::Signal { slot, bit, .. } => {
                    matches!(target(slot), Some(Target::Signal { bit: same, .. }) if same == bit)
                }
                Entry::Region { slot, address, .. } => {
                    matches!(target(slot), Some(Target::SharedRegion { address: same, .. }) if same == address)
                }
                Entry::Mmio { slot, address, .. } => {
                    matches!(target(slot), Some(Target::Mmio { address: same, .. }) if same == address)
                }
                Entry::Interrupt {
                    slot,
                    notification_slot,
                    ..
                } => {
                    matches!(target(slot), Some(Target::Interrupt { .. }))
                        && matches!(target(notification_slot), Some(Target::Notification { .. }))
                }
                Entry::Ports { slot, .. } => matches!(target(slot), Some(Target::Ports { .. })),
                Entry::Platform { slot, .. } => matches!(target(slot), Some(Target::Platform)),
                Entry::Dma { slot } => matches!(target(slot), Some(Target::DmaSpace)),
                Entry::File { slot, address, .. } => {
                    matches!(target(slot), Some(Target::File { address: same, .. }) if same == address)
                }
                Entry::Controlled { notification_slot, .. } => {
                    matches!(target(notification_slot), Some(Target::Notification { .. }))
                }
                Entry::Client { .. } | Entry::Signalled { .. } => true,
            };
            assert!(good, "{}: {entry:?}", process.name);
        }
    }
}

#[test]
fn labels_tell_clients_and_portals_apart() {
    let image = image();
    let (_, bytes, header) = payload(&image.elf);
    let bundle = &bytes[header.bundle.offset as usize..];
    let console = BootTable::decode(&bundle[image.composition.processes[0].boot_table.offset as usize..]).unwrap();
    assert_eq!(console.client(label(0, 0)), Some("nic"));
    assert_eq!(console.client(label(0, 1)), Some("switch"));
    assert_eq!(console.client(label(1, 0)), Some("guest-a"));
    assert_eq!(console.client(label(1, 1)), None);
    let switch = BootTable::decode(&bundle[image.composition.processes[2].boot_table.offset as usize..]).unwrap();
    assert_eq!(switch.portal("log"), Some(16));
    assert_eq!(switch.portal("power.off"), Some(100));
    assert_eq!(switch.signal("kick"), Some((101, 2)));
    assert_eq!(switch.notification("work"), Some(102));
    assert_eq!(switch.header().receive_first, 103);
}

#[test]
fn fixed_slots_mean_the_same_everywhere() {
    for process in &image().composition.processes {
        let at = |slot: u16| process.capabilities.iter().find(|capability| capability.slot == slot);
        assert!(matches!(at(slots::SPACE).unwrap().target, Target::OwnSpace));
        assert!(matches!(
            at(slots::SUPERVISOR).unwrap().target,
            Target::Supervisor { .. }
        ));
        assert_eq!(at(slots::MEMORY).is_some(), process.memory_pages > 0);
        assert_eq!(at(slots::PROTECTION_DOMAIN).is_some(), process.name == "switch");
        assert!(process.capabilities.is_sorted_by_key(|capability| capability.slot));
    }
}

/// The bundle's bytes of a file, whole pages, and the physical address of its first byte.
fn content<'e>(image: &'e Image, name: &str) -> (u64, &'e [u8]) {
    let (phys, bytes, header) = payload(&image.elf);
    let file = image.composition.files.iter().find(|file| file.name == name).unwrap();
    let bundle = &bytes[header.bundle.offset as usize..][..header.bundle.bytes as usize];
    let place = file.content.offset as usize;
    let pages = &bundle[place..place + (file.pages() * PAGE_BYTES) as usize];
    (phys + header.bundle.offset + file.content.offset, pages)
}

#[test]
fn files_are_in_the_bundle_once_on_whole_pages_and_found_by_name() {
    let image = image();
    let written = std::fs::read(here("tests/accepted/everything.toml")).unwrap();
    for (name, expected) in [("motd", b"Welcome.\n".as_slice()), ("firmware", &written)] {
        let (phys, pages) = content(&image, name);
        assert_eq!(phys % PAGE_BYTES, 0);
        let (bytes, rest) = pages.split_at(expected.len());
        assert_eq!(bytes, expected);
        assert!(rest.len() < PAGE_BYTES as usize && rest.iter().all(|byte| *byte == 0));
    }
    let (_, bytes, header) = payload(&image.elf);
    let bundle = &bytes[header.bundle.offset as usize..];
    let table = BootTable::decode(&bundle[image.composition.processes[1].boot_table.offset as usize..]).unwrap();
    let Some(Entry::File {
        slot, address, bytes, ..
    }) = table.file("microcode")
    else {
        panic!("no file");
    };
    assert_eq!((slot, bytes), (60, written.len() as u64));
    assert_eq!(table.file("firmware"), None, "it has another name here");
    let held = image.composition.processes[1].capabilities.iter();
    let held: Vec<_> = held
        .filter(|capability| matches!(capability.target, Target::File { .. }))
        .map(|capability| (capability.slot, capability.rights, capability.target))
        .collect();
    let behind = address + layout::REGION_ALIGN_BYTES;
    let read = ecusson_abi::Rights::READ.0;
    assert_eq!(
        held[1],
        (60, read, Target::File { file: 1, address }),
        "read only, and nothing to give on"
    );
    assert_eq!(
        held[0].2,
        Target::File {
            file: 0,
            address: behind
        }
    );
}

#[test]
fn large_files_are_aligned_for_large_pages() {
    let (mut manifest, mut artifacts) = everything();
    let bytes: Vec<u8> = (0..0x40_1234_u32).map(|index| (index % 251) as u8).collect();
    manifest.files[1].bytes = bytes.len() as u64;
    artifacts.files.insert("firmware".to_owned(), bytes.clone());
    let image = compose(&manifest, &artifacts).unwrap();
    let (phys, pages) = content(&image, "firmware");
    assert_eq!(phys % layout::REGION_ALIGN_BYTES, 0);
    assert_eq!(pages[..bytes.len()], bytes);
    assert_eq!(payload(&image.elf).0 % layout::REGION_ALIGN_BYTES, 0);
}

#[test]
fn an_empty_file_has_a_page_of_zeros() {
    let (mut manifest, mut artifacts) = everything();
    manifest.files[0].bytes = 0;
    artifacts.files.insert("motd".to_owned(), Vec::new());
    let image = compose(&manifest, &artifacts).unwrap();
    assert_eq!(content(&image, "motd").1, [0; 4096]);
}

#[test]
fn memory_counts_the_files_too() {
    let (mut manifest, mut artifacts) = everything();
    manifest.machine.memory_mib.value = 40;
    compose(&manifest, &artifacts).unwrap();
    manifest.files[1].bytes = 16 << 20;
    let problems = check(&manifest).unwrap_err();
    assert_eq!(problems[0].rule, "memory-sum");
    let note =
        |problems: &[ecusson_image::Diagnostic], text: &str| problems[0].notes.iter().any(|note| note.contains(text));
    assert!(note(&problems, "4096 pages: file `firmware`"), "{problems:#?}");
    artifacts.files.insert("firmware".to_owned(), vec![0; 16 << 20]);
    manifest.machine.memory_mib.value = 43;
    check(&manifest).expect("without the programs it fits");
    let problems = compose(&manifest, &artifacts).unwrap_err();
    assert!(note(&problems, "pages: the image"), "{problems:#?}");
}

#[test]
fn instances_are_processes_of_their_own_under_control() {
    let image = image();
    let composition = &image.composition;
    let names: Vec<&str> = composition
        .processes
        .iter()
        .map(|process| process.name.as_str())
        .collect();
    assert_eq!(names[5..], ["guest-b.0", "guest-b.1"]);
    let starts: Vec<Start> = composition.processes.iter().map(|process| process.start).collect();
    assert_eq!(starts[4..], [Start::Boot, Start::Demand, Start::Demand]);
    let control = |process, bit| Control {
        process,
        notification: 0,
        bit,
    };
    assert_eq!(composition.processes[3].controls, [control(5, 4), control(6, 5)]);
    let (_, bytes, header) = payload(&image.elf);
    let bundle = &bytes[header.bundle.offset as usize..];
    let table = |process: usize| {
        BootTable::decode(&bundle[composition.processes[process].boot_table.offset as usize..]).unwrap()
    };
    let controlled: Vec<_> = table(3)
        .entries()
        .filter_map(|entry| match entry {
            Entry::Controlled { name, number, bit, .. } => Some((name, number, bit)),
            _ => None,
        })
        .collect();
    assert_eq!(controlled, [("guest-b.0", 0, 4), ("guest-b.1", 1, 5)]);
    assert_eq!(table(5).header().process, "guest-b.0");
    assert_eq!(table(5).signal("nic.irq").map(|(_, bit)| bit), Some(20));
    assert_eq!(table(6).signal("nic.irq").map(|(_, bit)| bit), Some(21), "a bit each");
    let clients = [label(0, 2), label(0, 3)].map(|label| table(0).client(label));
    assert_eq!(clients, [Some("guest-b.0"), Some("guest-b.1")], "a label each");
}

#[test]
fn the_same_manifest_gives_the_same_image() {
    assert_eq!(image().elf, image().elf);
}

#[test]
fn memory_counts_the_programs_too() {
    let (mut manifest, mut artifacts) = everything();
    manifest.machine.memory_mib.value = 27;
    compose(&manifest, &artifacts).unwrap();
    let huge = program(
        0x20_0000,
        &[
            Segment(0x20_0000, &[0x90; 16], 16, 5),
            Segment(0x30_0000, &[], 0x100_0000, 6),
        ],
        0,
    );
    artifacts.binaries.insert("ecusson-switch".to_owned(), huge);
    let problems = compose(&manifest, &artifacts).unwrap_err();
    assert_eq!(problems[0].rule, "memory-sum");
    assert!(
        problems[0].notes.iter().any(|note| note.contains("program 4096")),
        "{problems:#?}"
    );
}

#[test]
fn a_missing_program_is_named_at_its_place() {
    let (manifest, mut artifacts) = everything();
    artifacts.binaries.remove("ecusson-nic");
    let problems = compose(&manifest, &artifacts).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].rule, &problems[0].place),
        ("no-program", &manifest.processes[1].binary.span)
    );
}

#[test]
fn programs_that_cannot_be_loaded_are_refused() {
    let window = 0x1000..0x4000_0000;
    let code = [0x90; 16];
    let cases = [
        (
            program(0x20_0000, &[Segment(0x20_0000, &code, 16, 7)], 0),
            FlattenError::WriteExecute { address: 0x20_0000 },
        ),
        (
            program(0x20_0000, &[Segment(0x20_0000, &code, 16, 5)], 2),
            FlattenError::Dynamic,
        ),
        (
            program(0x20_0000, &[Segment(0x20_0000, &code, 16, 5)], 7),
            FlattenError::ThreadLocal,
        ),
        (
            program(0, &[Segment(0, &code, 16, 5)], 0),
            FlattenError::Outside {
                address: 0,
                window: window.clone(),
            },
        ),
        (
            program(
                0x20_0000,
                &[Segment(0x20_0000, &code, 16, 5), Segment(0x20_0800, &code, 16, 6)],
                0,
            ),
            FlattenError::SharedPage { address: 0x20_0000 },
        ),
        (
            program(0x20_0000, &[Segment(0x20_0000, &code, 16, 4)], 0),
            FlattenError::Entry(0x20_0000),
        ),
        (program(0x20_0000, &[], 0), FlattenError::SegmentCount(0)),
    ];
    for (bytes, expected) in cases {
        assert_eq!(flatten(&bytes, &window), Err(expected));
    }
    assert!(matches!(
        flatten(b"#!/bin/sh", &window),
        Err(FlattenError::Malformed(_))
    ));
}

#[test]
fn a_loader_that_cannot_take_a_payload_is_refused() {
    let payload = vec![0; 4096];
    let whole = loader();
    let at = |from: &[u8]| whole.windows(from.len()).position(|window| window == from).unwrap();
    let broken = |at: usize, to: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        attach_payload(&bytes, &payload, PAGE_BYTES).err()
    };
    assert_eq!(broken(0, &[]), None);
    assert_eq!(
        broken(at(&0xE852_50D6u32.to_le_bytes()), &[0; 4]),
        Some(AttachError::NoMultiboot)
    );
    assert_eq!(broken(at(b"Xen\0"), b"Foo\0"), Some(AttachError::NoPvhNote));
    assert_eq!(broken(at(b"ECUWHERE"), b"ECUTHERE"), Some(AttachError::NoLocation));
    let last_header = 64 + 3 * 56;
    assert_eq!(broken(last_header, &[1]), Some(AttachError::NoSpareHeader));
}

#[test]
fn the_graphs_are_golden() {
    let composition = check(&manifest("tests/accepted/everything.toml")).unwrap().composition;
    for (name, found) in [
        ("everything.dot", graph::dot(&composition)),
        ("everything.svg", graph::svg(&composition)),
    ] {
        let path = here("tests/accepted").join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            golden == found,
            "{name} differs; look at it, then run the test with UPDATE_GOLDEN=1"
        );
    }
}

#[test]
fn the_manifests_of_the_project_are_accepted() {
    for entry in std::fs::read_dir(here("../manifests")).unwrap() {
        let path = entry.unwrap().path();
        let source = Source::load(&path).unwrap();
        let result = Manifest::parse(&source).and_then(|mut manifest| {
            manifest.measure_files(path.parent().unwrap())?;
            check(&manifest)
        });
        assert!(result.is_ok(), "{}: {:#?}", path.display(), result.err());
    }
}
