//! Each rule of split queues that a driver can break, broken once; and the setups that are refused.

use ecusson_guestmem::{FaultKind, Gpa, GuestMemory, Mapping};
use ecusson_virtqueue::driver::{Driver, Style};
use ecusson_virtqueue::{Chain, Cursor, Features, Layout, Queue, QueueError, SetupError, Short};

const SIZE: u16 = 8;
const BASE: Gpa = Gpa(0x1000);
const BUFFERS: Gpa = Gpa(0x4000);
const TABLE: Gpa = Gpa(0x6000);

fn memory() -> GuestMemory {
    GuestMemory::new(vec![Mapping::own(Gpa(0), 0x8000)]).unwrap()
}

fn pair(memory: &GuestMemory, features: Features) -> (Driver, Queue<'static>) {
    let driver = Driver::new(BASE, SIZE, features);
    let queue = Queue::start(memory, driver.layout(), features, None).unwrap();
    (driver, queue)
}

/// Makes one chain of two buffers available, lets `spoil` write, and says what the device says.
fn spoilt(features: Features, style: Style, spoil: impl FnOnce(&GuestMemory)) -> Result<bool, QueueError> {
    let memory = memory();
    let (mut driver, mut queue) = pair(&memory, features);
    let head = driver.add(&memory, &[(BUFFERS, 16)], &[(BUFFERS, 16)], style).unwrap();
    assert_eq!(head, Some(if style == Style::Direct { 1 } else { 0 }));
    driver.publish(&memory).unwrap();
    spoil(&memory);
    let result = queue.take(&memory, &mut Chain::default());
    // A queue that broke stays broken, and says why.
    if let Err(error) = result {
        assert_eq!(queue.take(&memory, &mut Chain::default()), Err(error));
        assert_eq!(queue.publish(&memory), Err(error));
        assert_eq!(queue.broken(), Some(error));
    }
    result
}

/// Flags of a descriptor in a table, and its other fields.
fn set(memory: &GuestMemory, table: Gpa, index: u64, bytes: u32, flags: u16, next: u16) {
    let at = table.0 + 16 * index;
    memory.store_u32(Gpa(at + 8), bytes).unwrap();
    memory.store_u16(Gpa(at + 12), flags).unwrap();
    memory.store_u16(Gpa(at + 14), next).unwrap();
}

#[test]
fn each_rule_of_the_own_table() {
    let direct = |spoil: &dyn Fn(&GuestMemory)| spoilt(Features::default(), Style::Direct, spoil);
    assert_eq!(direct(&|_| ()), Ok(true));
    // The chain is 1 -> 0, as the driver takes descriptors from the end of its list.
    assert_eq!(
        direct(&|memory| set(memory, BASE, 0, 16, 1, 1)),
        Err(QueueError::Loop(1))
    );
    assert_eq!(
        direct(&|memory| set(memory, BASE, 0, 16, 3, 0)),
        Err(QueueError::Loop(1))
    );
    assert_eq!(
        direct(&|memory| set(memory, BASE, 1, 16, 1, SIZE)),
        Err(QueueError::NoSuchDescriptor(SIZE))
    );
    assert_eq!(
        direct(&|memory| memory.store_u16(Gpa(BASE.0 + 16 * 8 + 4), 0xFFFF).unwrap()),
        Err(QueueError::NoSuchDescriptor(0xFFFF))
    );
    assert_eq!(direct(&|memory| set(memory, BASE, 1, 16, 3, 0)), Ok(true));
    assert_eq!(
        direct(&|memory| {
            set(memory, BASE, 1, 16, 3, 0);
            set(memory, BASE, 0, 16, 0, 0);
        }),
        Err(QueueError::ReadAfterWrite(1))
    );
    // Not negotiated.
    assert_eq!(
        direct(&|memory| set(memory, BASE, 0, 16, 4, 0)),
        Err(QueueError::BadIndirect(1))
    );
}

#[test]
fn each_rule_of_indirect_tables() {
    let indirect = |spoil: &dyn Fn(&GuestMemory)| spoilt(Features::INDIRECT, Style::Indirect(TABLE), spoil);
    assert_eq!(indirect(&|_| ()), Ok(true));
    // The device's flag on the table itself is to be ignored.
    assert_eq!(indirect(&|memory| set(memory, BASE, 0, 32, 6, 0)), Ok(true));
    for (bytes, flags) in [(0, 4), (24, 4), (32, 5)] {
        let result = indirect(&|memory| set(memory, BASE, 0, bytes, flags, 0));
        assert_eq!(result, Err(QueueError::BadIndirect(0)), "{bytes} bytes, flags {flags}");
    }
    assert_eq!(
        indirect(&|memory| set(memory, BASE, 0, 16 * 1025, 4, 0)),
        Err(QueueError::TooLong(0))
    );
    assert_eq!(
        indirect(&|memory| set(memory, TABLE, 1, 16, 4, 0)),
        Err(QueueError::BadIndirect(0))
    );
    assert_eq!(
        indirect(&|memory| set(memory, TABLE, 1, 16, 3, 1)),
        Err(QueueError::Loop(0))
    );
    assert_eq!(
        indirect(&|memory| set(memory, TABLE, 0, 16, 1, 2)),
        Err(QueueError::NoSuchDescriptor(2))
    );
}

#[test]
fn buffers_are_in_memory_and_not_too_long() {
    let kind = |result: Result<bool, QueueError>| match result {
        Err(QueueError::Memory(fault)) => Err(fault.kind),
        other => Ok(other.map_err(|error| error.to_string())),
    };
    let at = |address: u64, bytes: u32| {
        move |memory: &GuestMemory| {
            memory.store_u64(Gpa(BASE.0 + 16), address).unwrap();
            memory.store_u32(Gpa(BASE.0 + 24), bytes).unwrap();
        }
    };
    let direct = |address, bytes| kind(spoilt(Features::default(), Style::Direct, at(address, bytes)));
    assert_eq!(direct(0x7FFF, 1), Ok(Ok(true)));
    assert_eq!(direct(0x7FFF, 2), Err(FaultKind::Outside));
    assert_eq!(direct(u64::MAX, 2), Err(FaultKind::Outside));
    assert_eq!(direct(u64::MAX, 0), Ok(Ok(true)));
    assert_eq!(direct(0, u32::MAX), Err(FaultKind::Outside));
    let table = kind(spoilt(Features::INDIRECT, Style::Indirect(TABLE), |memory| {
        memory.store_u64(BASE, 0x7FF8).unwrap();
    }));
    assert_eq!(table, Err(FaultKind::Outside));
}

#[test]
fn the_available_index_may_not_jump() {
    for available in [SIZE + 1, 100, u16::MAX] {
        let result = spoilt(Features::default(), Style::Direct, |memory| {
            memory.store_u16(Gpa(BASE.0 + 16 * 8 + 2), available).unwrap();
        });
        assert_eq!(result, Err(QueueError::IndexJump { available, taken: 0 }));
    }
    // Back behind what was taken; and more in flight than the queue has descriptors.
    let memory = memory();
    let (mut driver, mut queue) = pair(&memory, Features::default());
    driver.add(&memory, &[(BUFFERS, 16)], &[], Style::Direct).unwrap();
    driver.publish(&memory).unwrap();
    assert_eq!(queue.take(&memory, &mut Chain::default()), Ok(true));
    assert_eq!(queue.in_flight(), 1);
    memory.store_u16(Gpa(BASE.0 + 16 * 8 + 2), 0).unwrap();
    assert_eq!(
        queue.waiting(&memory),
        Err(QueueError::IndexJump { available: 0, taken: 1 })
    );
}

#[test]
fn what_was_not_taken_is_not_given_back() {
    let memory = memory();
    let (_, mut queue) = pair(&memory, Features::default());
    assert_eq!(queue.give_back(&memory, 3, 0), Err(QueueError::NoSuchDescriptor(3)));
}

#[test]
fn setups_are_checked() {
    let memory = memory();
    let good = Driver::new(BASE, SIZE, Features::default()).layout();
    let start = |layout| Queue::start(&memory, layout, Features::default(), None).map(|_| ());
    assert_eq!(start(good), Ok(()));
    for size in [0, 3, 33000] {
        assert_eq!(start(Layout { size, ..good }), Err(SetupError::BadSize(size)));
    }
    let unaligned = |at| Err(SetupError::Unaligned(Gpa(at)));
    assert_eq!(
        start(Layout {
            descriptors: Gpa(8),
            ..good
        }),
        unaligned(8)
    );
    assert_eq!(
        start(Layout {
            available: Gpa(3),
            ..good
        }),
        unaligned(3)
    );
    assert_eq!(start(Layout { used: Gpa(2), ..good }), unaligned(2));
    assert!(matches!(
        start(Layout { size: 32768, ..good }),
        Err(SetupError::Memory(_))
    ));
    let outside = Gpa(0x8000 - 16);
    assert!(matches!(
        start(Layout { used: outside, ..good }),
        Err(SetupError::Memory(_))
    ));
    assert!(matches!(
        start(Layout {
            available: outside,
            ..good
        }),
        Err(SetupError::Memory(_))
    ));
}

#[test]
fn cursors_read_and_write_over_buffers() {
    let memory = memory();
    let features = Features::INDIRECT;
    let (mut driver, mut queue) = pair(&memory, features);
    let buffers = [(Gpa(0x4000), 3), (Gpa(0x4100), 0), (Gpa(0x4200), 5)];
    driver.add(&memory, &buffers, &buffers, Style::Mixed(TABLE)).unwrap();
    driver.publish(&memory).unwrap();
    let mut chain = Chain::default();
    assert_eq!(queue.take(&memory, &mut chain), Ok(true));
    // The empty buffers are left out.
    assert_eq!((chain.readable().len(), chain.writable().len()), (2, 2));

    let mut writer = Cursor::new(chain.writable());
    assert_eq!(writer.write(&memory, &[0; 9]), Err(Short::End));
    writer.write(&memory, &[1, 2]).unwrap();
    writer.write(&memory, &[3, 4, 5, 6, 7, 8]).unwrap();
    assert_eq!(writer.remaining(), 0);

    let mut reader = Cursor::new(chain.readable());
    reader.skip(2).unwrap();
    let mut taken = reader.take(4).unwrap();
    let (mut four, mut rest) = ([0; 4], [0; 2]);
    taken.read(&memory, &mut four).unwrap();
    reader.read(&memory, &mut rest).unwrap();
    assert_eq!((four, rest), ([3, 4, 5, 6], [7, 8]));
    assert_eq!(taken.read(&memory, &mut [0]), Err(Short::End));
    assert_eq!(reader.skip(1), Err(Short::End));

    let other = GuestMemory::new(vec![Mapping::own(Gpa(0x10_0000), 64)]).unwrap();
    let segments = [ecusson_virtqueue::Segment {
        address: Gpa(0x10_0007),
        bytes: 20,
    }];
    let mut target = Cursor::new(&segments);
    target
        .copy(&other, &mut Cursor::new(chain.readable()), &memory, 8)
        .unwrap();
    let mut copied = [0; 8];
    other.read(Gpa(0x10_0007), &mut copied).unwrap();
    assert_eq!(copied, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(
        target.copy(&other, &mut Cursor::new(chain.readable()), &memory, 9),
        Err(Short::End)
    );
}
