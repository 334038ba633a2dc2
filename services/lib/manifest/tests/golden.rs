//! The bytes of both formats, pinned: `boot/image` and the machine's programs are built apart, and an accidental change of
//! a type must fail here and be answered by a new `VERSION`.

use ecusson_manifest::boot_table::{Entry, Header, encode, label, split_label};
use ecusson_manifest::composition::{
    Capability, Composition, Control, DataFile, Dma, Extent, InterruptLine, Machine, Notification, Portal, PortalMode,
    Process, Program, Restart, RestartPolicy, Segment, SharedRegion, Start, Target, Thread,
};
use ecusson_manifest::{BootTable, DecodeError};

const HEADER: Header<'static> = Header {
    process: "nic",
    threads: 2,
    memory_pages: 300,
    receive_first: 30,
    receive_count: 4,
    entries: 0,
};

/// One entry of each kind, in the order of their numbers.
const ENTRIES: [Entry<'static>; 13] = [
    Entry::Call {
        name: "log.write",
        slot: 16,
    },
    Entry::Client {
        portal: "send",
        client: "vmm",
        label: label(1, 0),
    },
    Entry::Notification { name: "irq", slot: 17 },
    Entry::Signalled {
        notification: "irq",
        by: "vmm",
        bit: 5,
    },
    Entry::Signal {
        name: "vmm.kick",
        slot: 18,
        bit: 63,
    },
    Entry::Region {
        name: "ring",
        slot: 19,
        address: 0x10_0000_0000,
        pages: 64,
        writable: true,
    },
    Entry::Mmio {
        name: "bar0",
        slot: 20,
        address: 0x10_0020_0000,
        pages: 32,
    },
    Entry::Interrupt {
        name: "q0",
        slot: 21,
        notification_slot: 17,
        bit: 0,
    },
    Entry::Ports {
        name: "com1",
        slot: 22,
        first: 0x3f8,
        count: 8,
    },
    Entry::Platform { slot: 23, rights: 16 },
    Entry::Dma { slot: 24 },
    Entry::File {
        name: "kernel",
        slot: 25,
        address: 0x10_0040_0000,
        bytes: 300,
    },
    Entry::Controlled {
        name: "vmm.1",
        number: 1,
        notification_slot: 17,
        bit: 9,
    },
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// [`HEADER`] and [`ENTRIES`] encoded, one line a field.
const BOOT_TABLE_BYTES: &[&str] = &[
    "45434254",
    "0400", // magic, version
    "036e6963",
    "02",
    "ac02",
    "1e",
    "04",
    "0d", // header
    "00",
    "096c6f672e7772697465",
    "10",
    "01",
    "0473656e64",
    "03766d6d",
    "8180808010",
    "02",
    "03697271",
    "11",
    "03",
    "03697271",
    "03766d6d",
    "05",
    "04",
    "08766d6d2e6b69636b",
    "12",
    "3f",
    "05",
    "0472696e67",
    "13",
    "808080808002",
    "40",
    "01",
    "06",
    "0462617230",
    "14",
    "808080818002",
    "20",
    "07",
    "027130",
    "15",
    "11",
    "00",
    "08",
    "04636f6d31",
    "16",
    "f807",
    "08",
    "09",
    "17",
    "10",
    "0a",
    "18",
    "0b",
    "066b65726e656c",
    "19",
    "808080828002",
    "ac02",
    "0c",
    "05766d6d2e31",
    "01",
    "11",
    "09",
];

#[test]
fn boot_table_bytes() {
    let bytes = encode(&HEADER, &ENTRIES).unwrap();
    assert_eq!(hex(&bytes), BOOT_TABLE_BYTES.concat());
}

#[test]
fn boot_table_round_trip_in_a_zeroed_page() {
    let mut page = encode(&HEADER, &ENTRIES).unwrap();
    page.resize(4096, 0);
    let table = BootTable::decode(&page).unwrap();
    assert_eq!(table.entries().collect::<Vec<_>>(), ENTRIES);
    assert_eq!(table.portal("log.write"), Some(16));
    assert_eq!(table.portal("log"), None);
    assert_eq!(table.notification("irq"), Some(17));
    assert_eq!(table.signal("vmm.kick"), Some((18, 63)));
    assert_eq!(table.region("ring"), Some(ENTRIES[5]));
    assert_eq!(table.file("kernel"), Some(ENTRIES[11]));
    assert_eq!(table.file("ring"), None, "a region is no file");
    assert_eq!(table.client(label(1, 0)), Some("vmm"));
}

#[test]
fn damaged_boot_tables_are_refused() {
    let bytes = encode(&HEADER, &ENTRIES).unwrap();
    assert_eq!(BootTable::decode(b"ECMP\x01\x00").err(), Some(DecodeError::BadMagic));
    let mut newer = bytes.clone();
    newer[4] = 9;
    assert_eq!(
        BootTable::decode(&newer).err(),
        Some(DecodeError::BadVersion { found: 9 })
    );
    for length in 4..bytes.len() {
        assert_eq!(
            BootTable::decode(&bytes[..length]).err(),
            Some(DecodeError::Malformed),
            "{length}"
        );
    }
}

#[test]
fn labels_are_taken_apart_again() {
    for (portal, client) in [(0, 0), (1, 0), (0, 65_535), (65_535, 7)] {
        assert_eq!(split_label(label(portal, client)), Some((portal, client)));
    }
    assert_eq!(
        label(0, 0),
        1,
        "0 is no label, so that a server can tell an unlabelled portal"
    );
    for label in [0, 1 << 32, 0x1_0000 + 1, 1 << 48 | 1] {
        assert_eq!(split_label(label), None);
    }
}

/// Every variant of [`Target`], in the order of their numbers.
fn capabilities() -> Vec<Capability> {
    let targets = [
        Target::OwnSpace,
        Target::OwnMemory,
        Target::Supervisor { label: 1 },
        Target::OwnProtectionDomain,
        Target::Portal {
            process: 1,
            portal: 2,
            label: 3,
        },
        Target::Notification { notification: 4 },
        Target::Signal {
            process: 5,
            notification: 6,
            bit: 7,
        },
        Target::SharedRegion {
            region: 0,
            address: 0x10_0000_0000,
        },
        Target::Mmio {
            first_page: 0xfeb00,
            pages: 2,
            address: 0x10_0020_0000,
        },
        Target::Interrupt {
            line: InterruptLine::Gsi { gsi: 11, trigger: 3 },
            core: 1,
        },
        Target::Interrupt {
            line: InterruptLine::Msi,
            core: 0,
        },
        Target::Ports { first: 0x60, count: 5 },
        Target::Platform,
        Target::DmaSpace,
        Target::File {
            file: 1,
            address: 0x10_0040_0000,
        },
    ];
    let slots = 1u16..;
    slots
        .zip(targets)
        .map(|(slot, target)| Capability {
            slot,
            rights: 0x41,
            target,
        })
        .collect()
}

fn thread() -> Thread {
    Thread {
        name: "main".to_owned(),
        stack_pages: 4,
        core: 1,
        priority: 20,
        weight: 256,
        budget_us: 5000,
        period_us: 10_000,
        fpu: true,
        notification: Some(0),
    }
}

fn portal(name: &str, mode: PortalMode) -> Portal {
    Portal {
        name: name.to_owned(),
        mode,
        thread: 0,
    }
}

fn process() -> Process {
    Process {
        name: "a".to_owned(),
        program: Program {
            binary: "b".to_owned(),
            entry: 0x20_0010,
            segments: vec![Segment {
                offset: 0x1000,
                address: 0x20_0000,
                file_bytes: 0x2000,
                memory_bytes: 0x3000,
                rights: 3,
            }],
        },
        boot_table: Extent {
            offset: 0x4000,
            bytes: 99,
        },
        table_pages: 1,
        threads: vec![thread()],
        portals: vec![portal("p", PortalMode::Passive), portal("q", PortalMode::Active)],
        notifications: vec![Notification { name: "n".to_owned() }],
        memory_pages: 7,
        start: Start::Demand,
        restart: Restart {
            policy: RestartPolicy::OnFailure,
            backoff_ms: 100,
            backoff_max_ms: 1000,
            give_up_after: 3,
        },
        controls: vec![Control {
            process: 2,
            notification: 1,
            bit: 60,
        }],
        capabilities: capabilities(),
        receive_first: 16,
        receive_count: 2,
    }
}

fn composition() -> Composition {
    Composition {
        machine: Machine {
            memory_mib: 64,
            cores: 2,
            dma: Dma::Unconfined,
        },
        root_priority: 30,
        regions: vec![SharedRegion {
            name: "r".to_owned(),
            pages: 16,
            dma: true,
        }],
        files: vec![DataFile {
            name: "f".to_owned(),
            content: Extent {
                offset: 0x20_0000,
                bytes: 300,
            },
        }],
        processes: vec![process()],
    }
}

/// Magic, version, machine and regions of [`composition`].
const COMPOSITION_BYTES: &[&str] = &[
    "45434d50", "0400", // magic, version
    "40", "02", "01", // machine
    "1e", // root's priority
    "01", "0172", "10", "01", // regions
    "01", "0166", "80808001", "ac02", // files
];

/// Its process, up to its capabilities.
const PROCESS_BYTES: &[&str] = &[
    "01",
    "0161", // processes, name
    "0162",
    "90808001",
    "01", // program
    "8020",
    "80808001",
    "8040",
    "8060",
    "03",
    "808001",
    "63", // boot table
    "01",
    "01",
    "046d61696e",
    "04",
    "01",
    "14",
    "8002",
    "8827",
    "904e",
    "01",
    "0100", // threads
    "02",
    "0170",
    "00",
    "00",
    "0171",
    "01",
    "00", // portals
    "01",
    "016e", // notifications
    "07",
    "01", // start
    "01",
    "64",
    "e807",
    "03", // restart
    "01",
    "02",
    "01",
    "3c", // controls
];

/// Its capabilities, in the order of [`capabilities`], and its receive slots.
const CAPABILITY_BYTES: &[&str] = &[
    "0f", // capabilities
    "01",
    "41",
    "00",
    "02",
    "41",
    "01",
    "03",
    "41",
    "02",
    "01",
    "04",
    "41",
    "03",
    "05",
    "41",
    "04",
    "01",
    "02",
    "03",
    "06",
    "41",
    "05",
    "04",
    "07",
    "41",
    "06",
    "05",
    "06",
    "07",
    "08",
    "41",
    "07",
    "00",
    "808080808002",
    "09",
    "41",
    "08",
    "80d63f",
    "02",
    "808080818002",
    "0a",
    "41",
    "09",
    "00",
    "0b",
    "03",
    "01",
    "0b",
    "41",
    "09",
    "01",
    "00",
    "0c",
    "41",
    "0a",
    "60",
    "05",
    "0d",
    "41",
    "0b",
    "0e",
    "41",
    "0c",
    "0f",
    "41",
    "0d",
    "01",
    "808080828002",
    "10",
    "02", // receive slots
];

#[test]
fn composition_bytes() {
    let bytes = composition().encode().unwrap();
    let expected = [COMPOSITION_BYTES, PROCESS_BYTES, CAPABILITY_BYTES].concat().concat();
    assert_eq!(hex(&bytes), expected);
}

#[test]
fn composition_round_trip_and_damage() {
    let mut bytes = composition().encode().unwrap();
    for length in 4..bytes.len() {
        assert_eq!(
            Composition::decode(&bytes[..length]),
            Err(DecodeError::Malformed),
            "{length}"
        );
    }
    bytes.resize(4096, 0);
    assert_eq!(Composition::decode(&bytes), Ok(composition()));
    assert_eq!(Composition::decode(b"ECBT\x01\x00"), Err(DecodeError::BadMagic));
}
