//! What a guest flushed survives a power cut, and nothing is lost or answered twice when the service is restarted.

mod support;

use std::collections::BTreeMap;

use ecusson_block::{Attachment, Backend as _, Cache, Setup, VolumeAccess};
use ecusson_rate::Limits;
use ecusson_virtqueue::{Features, InFlight, Queue};
use proptest::prelude::*;
use support::*;

const SECTORS: u64 = 12;

#[derive(Clone, Debug)]
enum Step {
    Write(u64, u64),
    Read(u64),
    Flush,
    Run(u16),
    Disk(usize),
    Answer,
    Restart(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..SECTORS, 1_u64..4).prop_map(|(sector, count)| Step::Write(sector, count.min(SECTORS - sector))),
        1 => (0..SECTORS).prop_map(Step::Read),
        2 => Just(Step::Flush),
        3 => (0_u16..4).prop_map(Step::Run),
        5 => (0_usize..16).prop_map(Step::Disk),
        3 => Just(Step::Answer),
        1 => any::<u64>().prop_map(Step::Restart),
    ]
}

/// What may be in a sector after a power cut: values in the order they were written, by stamp.
#[derive(Default)]
struct History {
    /// Stamp and whether the guest knows that it was written.
    values: Vec<(u32, bool)>,
    /// A write to it is in flight; a guest that cares starts no second one.
    busy: bool,
}

enum Asked {
    Write(u64, u64, u32),
    Read(u64),
    /// For each sector the stamp known to be written when the flush began.
    Flush(Vec<u32>),
}

struct World<'r> {
    guest: Guest,
    disk: ModelDisk,
    words: &'r [std::sync::atomic::AtomicU64],
    attachment: Attachment<'r>,
    cache: Cache,
    asked: BTreeMap<u16, Asked>,
    sectors: Vec<History>,
    stamp: u32,
}

fn content(stamp: u32) -> [u8; 512] {
    let mut bytes = [0; 512];
    for part in bytes.chunks_mut(4) {
        part.copy_from_slice(&stamp.to_le_bytes());
    }
    bytes
}

fn stamp_of(bytes: &[u8]) -> u32 {
    let stamp = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert_eq!(bytes, content(stamp), "a torn sector");
    stamp
}

fn make_setup(guest: &Guest, disk: &ModelDisk, cache: Cache) -> Setup {
    setup(guest, disk, VolumeAccess::ReadWrite, cache, Limits::default())
}

impl<'r> World<'r> {
    fn new(words: &'r [std::sync::atomic::AtomicU64], cache: Cache) -> Self {
        let (guest, disk) = (Guest::new(), ModelDisk::new(SECTORS));
        let attachment = Attachment::new(make_setup(&guest, &disk, cache), queue(&guest, words));
        let first = || History {
            values: vec![(0, true)],
            busy: false,
        };
        Self {
            guest,
            disk,
            words,
            attachment,
            cache,
            asked: BTreeMap::new(),
            sectors: (0..SECTORS).map(|_| first()).collect(),
            stamp: 0,
        }
    }

    fn write(&mut self, first: u64, count: u64) {
        let range = first as usize..(first + count) as usize;
        if self.sectors[range.clone()].iter().any(|sector| sector.busy) {
            return;
        }
        let data = content(self.stamp + 1).repeat(count as usize);
        if let Some(head) = self.guest.request(1, first, &data, 0) {
            self.stamp += 1;
            for sector in &mut self.sectors[range] {
                sector.busy = true;
                sector.values.push((self.stamp, false));
            }
            self.asked.insert(head, Asked::Write(first, count, self.stamp));
        }
    }

    fn flush(&mut self) {
        let known = |sector: &History| sector.values.iter().rev().find(|(_, known)| *known).unwrap().0;
        let known = self.sectors.iter().map(known).collect();
        if let Some(head) = self.guest.request(4, 0, &[], 0) {
            self.asked.insert(head, Asked::Flush(known));
        }
    }

    fn answer(&mut self) {
        self.attachment.publish().unwrap();
        while let Some(answer) = self.guest.answer() {
            assert_eq!(answer.status, 0);
            match self.asked.remove(&answer.head).expect("answered once") {
                Asked::Write(first, count, stamp) => {
                    for sector in &mut self.sectors[first as usize..(first + count) as usize] {
                        sector.busy = false;
                        sector
                            .values
                            .iter_mut()
                            .filter(|value| value.0 == stamp)
                            .for_each(|value| value.1 = true);
                        if self.cache == Cache::WriteThrough {
                            sector.values.retain(|value| value.0 >= stamp);
                        }
                    }
                }
                Asked::Flush(known) => {
                    for (sector, stamp) in self.sectors.iter_mut().zip(known) {
                        sector.values.retain(|value| value.0 >= stamp);
                    }
                }
                Asked::Read(sector) => {
                    let stamp = stamp_of(&answer.data);
                    // Writes may have begun or ended meanwhile; what it can't be is older than what was flushed.
                    let history = &self.sectors[sector as usize].values;
                    assert!(history.iter().any(|value| value.0 == stamp) || stamp < history[0].0);
                }
            }
        }
    }

    fn restart(&mut self, mut seed: u64) {
        self.disk.forget_owner(|| {
            seed = seed.rotate_left(1);
            seed & 1 == 1
        });
        let layout = self.guest.driver.layout();
        let record = Some(InFlight::new(self.words));
        let resumed = Queue::resume(&self.guest.memory, layout, Features::EVENT_INDEX, record).unwrap();
        self.attachment = Attachment::resume(make_setup(&self.guest, &self.disk, self.cache), resumed);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write(first, count) => self.write(first, count),
            Step::Read(sector) => {
                if let Some(head) = self.guest.request(0, sector, &[], 512) {
                    self.asked.insert(head, Asked::Read(sector));
                }
            }
            Step::Flush => self.flush(),
            Step::Run(budget) => {
                self.attachment.run(&mut self.disk, 0, budget).unwrap();
            }
            Step::Disk(which) => {
                self.disk.do_one(which);
                complete(&mut self.attachment, &mut self.disk);
            }
            Step::Answer => self.answer(),
            Step::Restart(seed) => self.restart(seed),
        }
    }

    /// Everything asked is answered in the end.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            self.attachment.run(&mut self.disk, 0, 64).unwrap();
            self.disk.do_one(0);
            complete(&mut self.attachment, &mut self.disk);
            self.answer();
            if self.asked.is_empty() {
                return;
            }
        }
        panic!("{} requests were never answered", self.asked.len());
    }
}

fn cache() -> impl Strategy<Value = Cache> {
    prop_oneof![2 => Just(Cache::WriteBack), 1 => Just(Cache::WriteThrough)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn what_was_flushed_survives(cache in cache(), capacity in 1_usize..8, steps in prop::collection::vec(step(), 0..150), mut seed: u64) {
        let words = words();
        let mut world = World::new(&words, cache);
        world.disk.capacity = capacity;
        for step in &steps {
            world.step(step);
        }
        world.disk.lose_power(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 63 == 1
        });
        for (sector, history) in world.disk.medium.iter().zip(&world.sectors) {
            let stamp = stamp_of(sector);
            prop_assert!(history.values.iter().any(|value| value.0 == stamp), "{stamp} is none of {:?}", history.values);
        }
    }

    #[test]
    fn nothing_is_lost_by_restarts(cache in cache(), steps in prop::collection::vec(step(), 0..150)) {
        let words = words();
        let mut world = World::new(&words, cache);
        for step in &steps {
            world.step(step);
        }
        world.drain();
        // With nothing in flight each sector reads as the guest wrote it last.
        for sector in 0..SECTORS {
            world.guest.request(0, sector, &[], 512).unwrap();
            world.attachment.run(&mut world.disk, 0, 64).unwrap();
            world.disk.do_one(0);
            complete(&mut world.attachment, &mut world.disk);
            world.attachment.publish().unwrap();
            let answer = world.guest.answer().unwrap();
            let last = world.sectors[sector as usize].values.last().unwrap().0;
            prop_assert_eq!(stamp_of(&answer.data), last);
        }
        prop_assert_eq!(world.attachment.in_flight(), 0);
        prop_assert_eq!(world.disk.geometry().sectors, SECTORS);
    }
}
