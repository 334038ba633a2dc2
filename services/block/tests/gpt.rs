//! Partition tables: good ones, each field damaged, the backup, and anything at all.

use ecusson_block::gpt::{GptError, Guid, Need, Partition, Reader, Table};
use ecusson_block::{Geometry, Selector, Volume, VolumeAccess, VolumeError};
use proptest::prelude::*;

const SECTORS: u64 = 200;

/// The sum that GPT uses, bit by bit.
fn sum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0xEDB8_8320 } else { 0 }
        })
    })
}

fn guid(byte: u8) -> Guid {
    Guid([byte; 16])
}

/// A disk with these partitions: first and last sector, label. Entries of both copies included.
fn disk(partitions: &[(u64, u64, &str)]) -> Vec<u8> {
    let mut entries = vec![0; 128 * 128];
    for (index, (first, last, label)) in partitions.iter().enumerate() {
        let entry = &mut entries[128 * index..];
        entry[..16].fill(0xAF);
        entry[16..32].fill(index as u8 + 1);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
        for (at, unit) in label.encode_utf16().enumerate() {
            entry[56 + 2 * at..58 + 2 * at].copy_from_slice(&unit.to_le_bytes());
        }
    }
    let mut disk = vec![0; (SECTORS * 512) as usize];
    for (at, entries_at) in [(1, 2), (SECTORS - 1, SECTORS - 33)] {
        let start = (entries_at * 512) as usize;
        disk[start..start + entries.len()].copy_from_slice(&entries);
        let header = &mut disk[(at * 512) as usize..];
        header[..8].copy_from_slice(b"EFI PART");
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        header[24..32].copy_from_slice(&at.to_le_bytes());
        header[40..48].copy_from_slice(&34_u64.to_le_bytes());
        header[48..56].copy_from_slice(&(SECTORS - 34).to_le_bytes());
        header[56..72].fill(0xDD);
        header[72..80].copy_from_slice(&entries_at.to_le_bytes());
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&sum(&entries).to_le_bytes());
        seal(&mut disk, at);
    }
    disk
}

/// Makes a header's own sum right again.
fn seal(disk: &mut [u8], at: u64) {
    let header = &mut disk[(at * 512) as usize..][..92];
    header[16..20].fill(0);
    let sum = sum(header).to_le_bytes();
    header[16..20].copy_from_slice(&sum);
}

fn read(disk: &[u8]) -> Need {
    let mut reader = Reader::new(disk.len() as u64 / 512);
    for _ in 0..5 {
        match reader.need() {
            Need::Sectors { first, count } => {
                assert!((1..=128).contains(&count));
                let start = first as usize * 512;
                reader.feed(disk.get(start..start + count as usize * 512).expect("within the disk"));
            }
            done => return done,
        }
    }
    panic!("the reader wants more than four reads");
}

fn table(need: Need) -> Table {
    match need {
        Need::Table(table) => table,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_table_is_read() {
    let table = table(read(&disk(&[(34, 99, "root"), (100, 166, "données")])));
    assert_eq!((table.disk, table.from_backup), (guid(0xDD), false));
    let expected = |index, first, sectors, label: &str| Partition {
        kind: guid(0xAF),
        uuid: guid(index),
        first,
        sectors,
        label: label.to_owned(),
    };
    assert_eq!(
        table.partitions,
        [expected(1, 34, 66, "root"), expected(2, 100, 67, "données")]
    );
}

#[test]
fn a_damaged_copy_gives_way_to_the_other() {
    let good = disk(&[(34, 99, "root")]);
    let with = |at: usize, bytes: &[u8], resealed: bool| {
        let mut disk = good.clone();
        disk[at..at + bytes.len()].copy_from_slice(bytes);
        if resealed {
            seal(&mut disk, 1);
        }
        disk
    };
    let mut cases = vec![
        with(512, b"X", false),
        with(512 + 56, &[1], false),
        with(1024 + 5, &[1], false),
    ];
    // Right sums over wrong fields: own place, usable range, entries behind the disk, too many or too small.
    for (at, bytes) in [
        (24, 7_u64),
        (40, 190),
        (48, 500),
        (72, SECTORS - 3),
        (80, 1 << 40 | 600),
        (80, 64 << 32 | 128),
        (80, 128 << 32),
    ] {
        cases.push(with(512 + at, &bytes.to_le_bytes(), true));
    }
    for case in &mut cases {
        assert!(table(read(case)).from_backup);
        let backup = (SECTORS as usize - 1) * 512;
        case[backup..backup + 512].fill(0);
        assert!(matches!(read(case), Need::Nothing(_, GptError::NoHeader)));
    }
}

#[test]
fn partitions_stay_in_their_range_and_apart() {
    for (partitions, guilty) in [
        (&[(33, 50, "")][..], 0),
        (&[(34, 167, "")], 0),
        (&[(50, 49, "")], 0),
        (&[(34, 60, ""), (60, 70, "")], 1),
        (&[(50, 60, ""), (34, 100, "")], 1),
    ] {
        let error = GptError::BadPartition(guilty);
        assert_eq!(read(&disk(partitions)), Need::Nothing(error, error), "{partitions:?}");
    }
}

#[test]
fn volumes_are_found_by_label_and_uuid() {
    let table = table(read(&disk(&[(34, 99, "root"), (100, 120, "twin"), (121, 130, "twin")])));
    let geometry = Geometry {
        sectors: 120,
        read_only: false,
        discard: false,
        max_segments: 1,
        max_bytes: 512,
    };
    let select = |selector, access| Volume::select(&geometry, Some(&table), &selector, access);
    let label = |label: &str| Selector::Label(label.to_owned());
    let root = select(label("root"), VolumeAccess::ReadWrite).unwrap();
    assert_eq!(
        (root.sectors(), root.on_disk(65, 1), root.on_disk(65, 2)),
        (66, Some(99), None)
    );
    assert_eq!(&root.id(), b"01010101-0101-0101-0");
    assert_eq!(
        Ok(&root),
        select(Selector::Uuid(guid(1)), VolumeAccess::ReadWrite).as_ref()
    );
    assert_eq!(
        select(label("twin"), VolumeAccess::ReadOnly),
        Err(VolumeError::Ambiguous)
    );
    assert_eq!(
        select(label("nobody"), VolumeAccess::ReadOnly),
        Err(VolumeError::NotFound)
    );
    assert_eq!(
        select(Selector::Uuid(guid(2)), VolumeAccess::ReadOnly),
        Err(VolumeError::BeyondDisk)
    );
    let whole = select(Selector::Disk, VolumeAccess::ReadOnly).unwrap();
    assert!(whole.conflicts_with(&root) && root.conflicts_with(&whole) && !whole.conflicts_with(&whole));
    let fixed = Geometry {
        read_only: true,
        ..geometry
    };
    let refused = Volume::select(&fixed, None, &Selector::Disk, VolumeAccess::ReadWrite);
    assert_eq!(refused, Err(VolumeError::DiskReadOnly));
    assert_eq!(
        Volume::select(&fixed, None, &label("root"), VolumeAccess::ReadOnly),
        Err(VolumeError::NotFound)
    );
}

#[test]
fn guids_are_written_as_people_write_them() {
    let text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
    let guid = Guid::parse(&text.to_uppercase()).unwrap();
    assert_eq!(guid.0[..8], [0x28, 0x73, 0x2A, 0xC1, 0x1F, 0xF8, 0xD2, 0x11]);
    assert_eq!(guid.to_string(), text);
    for wrong in [
        "",
        "c12a7328",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93",
        "g12a7328-f81f-11d2-ba4b-00a0c93ec93b",
    ] {
        assert_eq!(Guid::parse(wrong), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Anything at all in the header, with a right sum: an answer, within few reads of the disk.
    #[test]
    fn any_header_is_survived(fields in prop::collection::vec((8_usize..92, any::<u8>()), 0..40), sectors in 0_u64..300) {
        let mut disk = disk(&[(34, 99, "root")]);
        for (at, byte) in fields {
            disk[512 + at] = byte;
        }
        seal(&mut disk, 1);
        disk.resize(sectors as usize * 512, 0);
        read(&disk);
    }

    #[test]
    fn any_entry_is_survived(fields in prop::collection::vec((0_usize..512, any::<u8>()), 0..40)) {
        let mut disk = disk(&[(34, 99, "root")]);
        for (at, byte) in fields {
            disk[1024 + at] = byte;
        }
        let entries = sum(&disk[1024..1024 + 128 * 128]).to_le_bytes();
        disk[512 + 88..512 + 92].copy_from_slice(&entries);
        seal(&mut disk, 1);
        read(&disk);
    }
}
