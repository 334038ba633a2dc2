//! A driver that writes anything anywhere: errors and chains come of it, never a panic, never an access outside, never much work.

use std::sync::atomic::{AtomicU64, Ordering};

use ecusson_guestmem::{Access, Gpa, GuestMemory, Mapping};
use ecusson_virtqueue::driver::{Driver, Style};
use ecusson_virtqueue::{CHAIN_MAX, Chain, Cursor, Features, InFlight, Queue};
use proptest::prelude::*;

const SIZE: u16 = 16;
const BASE: Gpa = Gpa(0x1000);
const BYTES: usize = 0x4000;
/// The queue's areas end here; most of the damage is done before.
const END: u64 = 0x1000 + 0x200;

/// Memory of which each range is checked by `GuestMemory`; what a chain says must hold there.
fn check(memory: &GuestMemory, chain: &Chain) {
    assert!(chain.readable().len() + chain.writable().len() <= CHAIN_MAX as usize + usize::from(SIZE));
    for (segments, access) in [(chain.readable(), Access::Read), (chain.writable(), Access::Write)] {
        for segment in segments {
            assert!(segment.bytes > 0);
            memory.range(segment.address, u64::from(segment.bytes), access).unwrap();
        }
        let mut cursor = Cursor::new(segments);
        let mut pieces = 0;
        while cursor.next_piece(4096).is_some() && pieces < 100 {
            pieces += 1;
        }
    }
}

/// A write of the driver's: a small field somewhere in the queue, with a value that is often nearly right.
fn damage() -> impl Strategy<Value = (u64, u16)> {
    let value = prop_oneof![0_u16..40, any::<u16>(), Just(0xFFFF), (0_u16..8)];
    let place = prop_oneof![4 => BASE.0..END, 1 => 0x2000_u64..0x2100];
    (place, value).prop_map(|(place, value)| (place & !1, value))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_damage_is_survived(
        bits in 0_u64..4,
        rounds in prop::collection::vec((prop::collection::vec(damage(), 0..6), 0_u8..8), 1..30),
    ) {
        let memory = GuestMemory::new(vec![Mapping::own(Gpa(0), BYTES)]).unwrap();
        let features = Features::of(bits << 28);
        let words: Vec<AtomicU64> = (0..InFlight::words(SIZE)).map(|_| AtomicU64::new(0)).collect();
        let mut driver = Driver::new(BASE, SIZE, features);
        let mut queue = Queue::start(&memory, driver.layout(), features, Some(InFlight::new(&words))).unwrap();
        let mut chain = Chain::default();
        for (writes, what) in rounds {
            let style = if bits & 1 == 1 && what & 1 == 1 { Style::Indirect(Gpa(0x2000)) } else { Style::Direct };
            let _ = driver.add(&memory, &[(Gpa(0x3000), 8), (Gpa(0x3100), 8)], &[(Gpa(0x3200), 64)], style);
            let _ = driver.publish(&memory);
            for (place, value) in writes {
                memory.store_u16(Gpa(place), value).unwrap();
            }
            let mut held = Vec::new();
            while let Ok(true) = queue.take(&memory, &mut chain) {
                check(&memory, &chain);
                held.push(chain.head());
                prop_assert!(held.len() <= usize::from(SIZE));
            }
            prop_assert!(queue.in_flight() <= SIZE);
            if what & 2 == 2 {
                for head in held {
                    let _ = queue.give_back(&memory, head, 1);
                }
                let _ = queue.publish(&memory);
            }
            let _ = (queue.ask_for_kick(&memory), queue.refuse_kicks(&memory));
            if queue.broken().is_some() || what == 7 {
                let record = InFlight::new(&words);
                let resumed = Queue::resume(&memory, driver.layout(), features, Some(record)).unwrap();
                queue = resumed.queue;
                for head in resumed.repeat {
                    if queue.chain(&memory, head, &mut chain).is_ok() { check(&memory, &chain); }
                }
            }
            if queue.broken().is_some() {
                queue = Queue::start(&memory, driver.layout(), features, Some(InFlight::new(&words))).unwrap();
            }
        }
    }

    /// A record with nonsense in it, which only a fault of this side's could write, is survived as well.
    #[test]
    fn any_record_is_survived(words in prop::collection::vec(any::<u64>(), 0..40), used: u16) {
        let memory = GuestMemory::new(vec![Mapping::own(Gpa(0), BYTES)]).unwrap();
        let layout = Driver::new(BASE, SIZE, Features::default()).layout();
        memory.store_u16(Gpa(layout.used.0 + 2), used).unwrap();
        let words: Vec<AtomicU64> = words.into_iter().map(AtomicU64::new).collect();
        if let Some(header) = words.first() {
            header.store((0x666C_7471 << 32) | u64::from(SIZE), Ordering::Relaxed);
        }
        let resumed = Queue::resume(&memory, layout, Features::default(), Some(InFlight::new(&words))).unwrap();
        let mut queue = resumed.queue;
        for head in resumed.repeat {
            prop_assert!(head < SIZE);
        }
        let _ = queue.take(&memory, &mut Chain::default());
        let _ = queue.publish(&memory);
    }
}
