//! Each kind of request and each way to get it wrong, over images and the model disk.

mod support;

use std::sync::atomic::AtomicU64;

use ecusson_block::{Attachment, Backend, Cache, Config, Features, Image, Selector, Turn, Volume, VolumeAccess};
use ecusson_guestmem::Gpa;
use ecusson_rate::{Limits, Rate};
use support::*;

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;
const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

/// A guest on an image of 20 sectors, of which the last is cut short.
struct Rig {
    guest: Guest,
    disk: Image,
    attachment: Attachment<'static>,
}

impl Rig {
    fn new(access: VolumeAccess) -> Self {
        let content: Vec<u8> = (0..20 * 512 - 100).map(|at| (at / 512) as u8 + 1).collect();
        let disk = Image::new(content.leak(), access);
        let guest = Guest::new();
        let words: &'static [AtomicU64] = words().leak();
        let setup = setup(&guest, &disk, access, Cache::WriteBack, Limits::default());
        let attachment = Attachment::new(setup, queue(&guest, words));
        Self {
            guest,
            disk,
            attachment,
        }
    }

    fn finish(&mut self) -> Answer {
        assert_eq!(self.attachment.run(&mut self.disk, 0, 64), Ok(Turn::Idle));
        complete(&mut self.attachment, &mut self.disk);
        self.attachment.publish().unwrap();
        self.guest.answer().expect("an answer")
    }

    fn ask(&mut self, kind: u32, sector: u64, out: &[u8], bytes_in: u32) -> Answer {
        self.guest.request(kind, sector, out, bytes_in).unwrap();
        self.finish()
    }

    fn status(&mut self, kind: u32, sector: u64, out: &[u8], bytes_in: u32) -> u8 {
        let answer = self.ask(kind, sector, out, bytes_in);
        if answer.status != OK {
            assert_eq!(answer.written, 1);
        }
        answer.status
    }
}

fn range(sector: u64, sectors: u32, flags: u32) -> Vec<u8> {
    let mut bytes = sector.to_le_bytes().to_vec();
    bytes.extend(sectors.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes
}

#[test]
fn what_is_written_is_read_back() {
    let mut rig = Rig::new(VolumeAccess::ReadWrite);
    let answer = rig.ask(IN, 2, &[], 1024);
    assert_eq!((answer.status, answer.written), (OK, 1025));
    assert_eq!(answer.data, [vec![3; 512], vec![4; 512]].concat());
    assert_eq!(rig.status(OUT, 7, &[0xAA; 1024], 0), OK);
    assert_eq!(rig.status(FLUSH, 0, &[], 0), OK);
    let answer = rig.ask(IN, 6, &[], 2048);
    assert_eq!(answer.data, [vec![7; 512], vec![0xAA; 1024], vec![10; 512]].concat());
    // The last sector is filled up with zeroes.
    assert_eq!(rig.ask(IN, 19, &[], 512).data, [vec![20; 412], vec![0; 100]].concat());
}

#[test]
fn places_and_sizes_are_checked() {
    let mut rig = Rig::new(VolumeAccess::ReadWrite);
    for (sector, bytes) in [
        (20, 512),
        (19, 1024),
        (u64::MAX, 512),
        (u64::MAX / 512, 512),
        (0, 511),
        (0, 0),
        (0, 513),
    ] {
        assert_eq!(
            rig.status(IN, sector, &[], bytes),
            IO_ERROR,
            "read of {bytes} at {sector}"
        );
        assert_eq!(
            rig.status(OUT, sector, &vec![1; bytes as usize], 0),
            IO_ERROR,
            "write of {bytes} at {sector}"
        );
    }
    assert_eq!(rig.ask(IN, 0, &[], 512).data, [1; 512]);
}

#[test]
fn requests_of_any_shape_are_answered() {
    let mut rig = Rig::new(VolumeAccess::ReadWrite);
    assert_eq!(rig.status(99, 0, &[], 0), UNSUPPORTED);
    // No header; half a header.
    for bytes in [0, 9] {
        rig.guest.memory.write(Gpa(0x8100), &[0xFF]).unwrap();
        rig.guest.raw(&[(Gpa(0x8000), bytes)], &[(Gpa(0x8100), 1)]).unwrap();
        assert_eq!(rig.finish().written, 1);
        let mut status = [0];
        rig.guest.memory.read(Gpa(0x8100), &mut status).unwrap();
        assert_eq!(status, [IO_ERROR]);
    }
    // Nowhere to put a status: it comes back untouched.
    rig.guest.raw(&[(Gpa(0x8000), 16)], &[]).unwrap();
    assert_eq!(rig.finish().written, 0);
    // Header split over buffers, data and status in one.
    let mut header = [0; 16];
    header[8] = 1;
    rig.guest.memory.write(Gpa(0x8000), &header[..7]).unwrap();
    rig.guest.memory.write(Gpa(0x8080), &header[7..]).unwrap();
    rig.guest
        .raw(&[(Gpa(0x8000), 7), (Gpa(0x8080), 9)], &[(Gpa(0x8100), 513)])
        .unwrap();
    assert_eq!(rig.finish().written, 513);
    let mut data = [0xFF; 513];
    rig.guest.memory.read(Gpa(0x8100), &mut data).unwrap();
    assert_eq!((&data[..512], data[512]), (&[2; 512][..], OK));
}

#[test]
fn the_id_is_cut_to_the_buffer() {
    let mut rig = Rig::new(VolumeAccess::ReadOnly);
    let answer = rig.ask(GET_ID, 0, &[], 20);
    assert_eq!((answer.status, &answer.data[..5]), (OK, &b"disk\0"[..]));
    assert_eq!(rig.ask(GET_ID, 0, &[], 3).data, b"dis");
}

#[test]
fn what_is_read_only_stays_as_it_is() {
    let mut rig = Rig::new(VolumeAccess::ReadOnly);
    assert_eq!(rig.status(OUT, 0, &[9; 512], 0), IO_ERROR);
    assert_eq!(rig.status(WRITE_ZEROES, 0, &range(0, 1, 0), 0), IO_ERROR);
    assert_eq!(rig.status(DISCARD, 0, &range(0, 1, 0), 0), UNSUPPORTED);
    assert_eq!(rig.status(FLUSH, 0, &[], 0), OK);
    assert_eq!(rig.ask(IN, 0, &[], 512).data, [1; 512]);
}

#[test]
fn ranges_are_checked_and_zeroed() {
    let mut rig = Rig::new(VolumeAccess::ReadWrite);
    let two = [range(1, 1, 0), range(3, 9, 1)].concat();
    assert_eq!(rig.status(WRITE_ZEROES, 0, &two, 0), OK);
    let data = rig.ask(IN, 0, &[], 13 * 512).data;
    let zeroed: Vec<bool> = data.chunks(512).map(|sector| sector == [0; 512]).collect();
    let expected: Vec<bool> = (0..13).map(|sector| sector == 1 || (3..12).contains(&sector)).collect();
    assert_eq!(zeroed, expected);
    assert_eq!(rig.status(DISCARD, 0, &range(12, 8, 0), 0), OK);
    for (kind, ranges, status) in [
        (WRITE_ZEROES, range(0, 1, 2), UNSUPPORTED),
        (DISCARD, range(0, 1, 1), UNSUPPORTED),
        (WRITE_ZEROES, range(20, 1, 0), IO_ERROR),
        (WRITE_ZEROES, range(u64::MAX, 2, 0), IO_ERROR),
        (WRITE_ZEROES, range(0, u32::MAX, 0), IO_ERROR),
        (WRITE_ZEROES, vec![0; 15], IO_ERROR),
        (DISCARD, Vec::new(), IO_ERROR),
        (DISCARD, range(0, 1, 0).repeat(17), IO_ERROR),
    ] {
        assert_eq!(rig.status(kind, 0, &ranges, 0), status, "{kind} {ranges:?}");
    }
}

#[test]
fn the_limits_of_the_disk_hold() {
    let mut disk = ModelDisk::new(100);
    let mut guest = Guest::new();
    let words = words();
    let setup = setup(
        &guest,
        &disk,
        VolumeAccess::ReadWrite,
        Cache::WriteBack,
        Limits::default(),
    );
    let mut attachment = Attachment::new(setup, queue(&guest, &words));
    // Too many buffers, then too many bytes.
    let header = (Gpa(0x8000), 16);
    let many: Vec<_> = (0..9)
        .map(|index| (Gpa(0x9000 + 512 * index), 512))
        .chain([(Gpa(0x8100), 1)])
        .collect();
    let large = [(Gpa(0x10000), (16 << 10) + 512), (Gpa(0x8101), 1)];
    guest.raw(&[header], &many).unwrap();
    guest.raw(&[header], &large).unwrap();
    assert_eq!(attachment.run(&mut disk, 0, 64), Ok(Turn::Idle));
    assert_eq!(disk.pending(), 0);
    let mut status = [0; 2];
    guest.memory.read(Gpa(0x8100), &mut status).unwrap();
    assert_eq!(status, [IO_ERROR; 2]);
}

#[test]
fn a_failure_of_the_disk_is_an_io_error() {
    let mut disk = ModelDisk::new(100);
    disk.fail = true;
    let mut guest = Guest::new();
    let words = words();
    let setup = setup(
        &guest,
        &disk,
        VolumeAccess::ReadWrite,
        Cache::WriteThrough,
        Limits::default(),
    );
    let mut attachment = Attachment::new(setup, queue(&guest, &words));
    for (kind, out, bytes) in [
        (IN, vec![], 512),
        (OUT, vec![1; 512], 0),
        (FLUSH, vec![], 0),
        (DISCARD, range(0, 1, 0), 0),
    ] {
        guest.request(kind, 0, &out, bytes).unwrap();
        attachment.run(&mut disk, 0, 1).unwrap();
        disk.do_one(0);
        complete(&mut attachment, &mut disk);
        attachment.publish().unwrap();
        assert_eq!(guest.answer().map(|answer| answer.status), Some(IO_ERROR));
    }
}

#[test]
fn without_flushes_a_write_is_on_the_medium_when_it_is_answered() {
    let mut disk = ModelDisk::new(100);
    let mut guest = Guest::new();
    let words = words();
    let cache = Cache::negotiated(Features::of(0));
    let setup = setup(&guest, &disk, VolumeAccess::ReadWrite, cache, Limits::default());
    let mut attachment = Attachment::new(setup, queue(&guest, &words));
    guest.request(OUT, 5, &[7; 512], 0).unwrap();
    attachment.run(&mut disk, 0, 8).unwrap();
    disk.do_one(0);
    complete(&mut attachment, &mut disk);
    assert_eq!(attachment.publish(), Ok(false));
    assert_eq!((guest.answer(), disk.pending()), (None, 1));
    disk.do_one(0);
    complete(&mut attachment, &mut disk);
    attachment.publish().unwrap();
    assert_eq!(guest.answer().map(|answer| answer.status), Some(OK));
    assert_eq!(disk.medium[5], [7; 512]);
}

#[test]
fn a_busy_disk_and_spent_budgets_put_requests_off() {
    let mut disk = ModelDisk::new(100);
    disk.capacity = 2;
    let mut guest = Guest::new();
    let words = words();
    let rate = |per_second| Some(Rate { per_second, burst: 4 });
    let limits = Limits {
        bytes: None,
        operations: rate(10),
    };
    let setup = setup(&guest, &disk, VolumeAccess::ReadWrite, Cache::WriteBack, limits);
    let mut attachment = Attachment::new(setup, queue(&guest, &words));
    for sector in 0..6 {
        guest.request(OUT, sector, &[7; 512], 0).unwrap();
    }
    assert_eq!(attachment.run(&mut disk, 0, 1), Ok(Turn::More));
    assert_eq!(attachment.run(&mut disk, 0, 8), Ok(Turn::AfterCompletion));
    disk.do_one(0);
    disk.do_one(0);
    complete(&mut attachment, &mut disk);
    assert_eq!(attachment.run(&mut disk, 0, 8), Ok(Turn::Until(1)));
    assert_eq!(disk.pending(), 2);
    assert_eq!(attachment.run(&mut disk, 100_000_001, 8), Ok(Turn::AfterCompletion));
}

#[test]
fn the_guest_reads_features_and_configuration() {
    let disk = ModelDisk::new(1000);
    let geometry = disk.geometry();
    let volume = |access| Volume::select(&geometry, None, &Selector::Disk, access).unwrap();
    let writable = volume(VolumeAccess::ReadWrite);
    assert_eq!(
        Features::offered(&geometry, &volume(VolumeAccess::ReadOnly)).bits(),
        1 << 2 | 1 << 5 | 1 << 6 | 1 << 9
    );
    assert_eq!(
        Features::offered(&geometry, &writable).bits(),
        1 << 2 | 1 << 6 | 1 << 9 | 1 << 13 | 1 << 14
    );
    let Config(bytes) = Config::of(&geometry, &writable);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(4), word(8), word(12), word(20)), (1000, 0, 0, 8, 512));
    assert_eq!([36, 40, 44, 48, 52, 56].map(word), [1000, 16, 1, 1000, 16, 1]);
}
