//! A driver and a device that keep the rules, step by step, against what must come of it: chains arrive whole and in order and
//! come back, nobody waits for a signal that does not come, and a backend that ends anywhere repeats what was in flight.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;

use ecusson_guestmem::{Gpa, GuestMemory, Mapping};
use ecusson_virtqueue::driver::{Buffer, Driver, Style};
use ecusson_virtqueue::{Chain, Features, InFlight, Queue};
use proptest::prelude::*;

const SIZE: u16 = 8;
const BASE: Gpa = Gpa(0x1000);

fn memory() -> GuestMemory {
    GuestMemory::new(vec![Mapping::own(Gpa(0), 0x20000)]).unwrap()
}

fn words() -> Vec<AtomicU64> {
    (0..InFlight::words(SIZE)).map(|_| AtomicU64::new(0)).collect()
}

#[derive(Clone, Debug)]
enum Step {
    /// The driver adds a chain of so many buffers to read and to write.
    Add(u8, u8, u8),
    /// The driver shows what it added, and kicks if asked to.
    Publish,
    /// The device takes a chain.
    Take,
    /// The device gives back one of the chains it has.
    GiveBack(u8),
    /// The device shows what it gave back, and interrupts if asked to.
    PublishUsed,
    /// The device looks no more until it is kicked, unless something waits.
    DeviceSleeps,
    /// The driver takes all that came back, then sleeps until interrupted, unless something came.
    DriverSleeps,
    /// The device's process ends and is started again.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..4, 0_u8..4, 0_u8..3).prop_map(|(readable, writable, style)| Step::Add(readable, writable, style)),
        3 => Just(Step::Publish),
        4 => Just(Step::Take),
        3 => any::<u8>().prop_map(Step::GiveBack),
        2 => Just(Step::PublishUsed),
        1 => Just(Step::DeviceSleeps),
        1 => Just(Step::DriverSleeps),
        1 => Just(Step::Crash),
    ]
}

/// One chain as the driver made it.
#[derive(Clone, Debug)]
struct Sent {
    head: u16,
    readable: Vec<Buffer>,
    writable: Vec<Buffer>,
}

struct World<'r> {
    memory: GuestMemory,
    words: &'r [AtomicU64],
    features: Features,
    driver: Driver,
    queue: Queue<'r>,
    /// Added, not shown; shown, not taken; taken, not given back; given back, not shown to the driver.
    added: VecDeque<Sent>,
    shown: VecDeque<Sent>,
    taken: Vec<Sent>,
    given: Vec<Sent>,
    /// Used entries the driver has not looked at, with the bytes said to be written.
    back: VecDeque<(u16, u32)>,
    device_asleep: bool,
    driver_asleep: bool,
    tables: u64,
    kicked: bool,
    interrupted: bool,
}

impl<'r> World<'r> {
    fn new(words: &'r [AtomicU64], features: Features) -> Self {
        let memory = memory();
        let driver = Driver::new(BASE, SIZE, features);
        let queue = Queue::start(&memory, driver.layout(), features, Some(InFlight::new(words))).unwrap();
        Self {
            memory,
            words,
            features,
            driver,
            queue,
            added: VecDeque::new(),
            shown: VecDeque::new(),
            taken: Vec::new(),
            given: Vec::new(),
            back: VecDeque::new(),
            device_asleep: false,
            driver_asleep: false,
            tables: 0,
            kicked: false,
            interrupted: false,
        }
    }

    fn add(&mut self, readable: u8, writable: u8, style: u8) {
        let buffers = |count: u8, from: u64| -> Vec<Buffer> {
            (0..count)
                .map(|index| (Gpa(from + 64 * u64::from(index)), 1 + u32::from(index)))
                .collect()
        };
        let (readable, writable) = (buffers(readable, 0x8000), buffers(writable, 0x9000));
        let empty = readable.is_empty() && writable.is_empty();
        // A table of its own for each chain of a run.
        self.tables += 1;
        let table = Gpa(0xA000 + 128 * self.tables);
        let style = match style {
            1 if self.features.has(Features::INDIRECT) => Style::Indirect(table),
            2 if self.features.has(Features::INDIRECT) && readable.len() + writable.len() > 1 => Style::Mixed(table),
            _ => Style::Direct,
        };
        if empty {
            return;
        }
        if let Some(head) = self.driver.add(&self.memory, &readable, &writable, style).unwrap() {
            self.added.push_back(Sent {
                head,
                readable,
                writable,
            });
        }
    }

    fn check(&self, chain: &Chain, sent: &Sent) {
        let plain = |segments: &[ecusson_virtqueue::Segment]| -> Vec<Buffer> {
            segments
                .iter()
                .map(|segment| (segment.address, segment.bytes))
                .collect()
        };
        assert_eq!(chain.head(), sent.head);
        assert_eq!(plain(chain.readable()), sent.readable);
        assert_eq!(plain(chain.writable()), sent.writable);
    }

    fn take(&mut self) {
        let mut chain = Chain::default();
        let taken = self.queue.take(&self.memory, &mut chain).unwrap();
        let expected = self.shown.pop_front();
        assert_eq!(taken, expected.is_some());
        if let Some(sent) = expected {
            self.check(&chain, &sent);
            self.taken.push(sent);
        }
    }

    fn publish_used(&mut self) {
        let wanted = self.queue.publish(&self.memory).unwrap();
        self.back
            .extend(self.given.drain(..).map(|sent| (sent.head, u32::from(sent.head) * 3)));
        self.interrupted |= wanted;
        // Whoever sleeps and has something to do was told so.
        assert!(!self.driver_asleep || self.back.is_empty() || self.interrupted);
        self.driver_asleep &= !self.interrupted;
    }

    fn driver_sleeps(&mut self) {
        while let Some((head, written)) = self.driver.take_back(&self.memory).unwrap() {
            assert_eq!(self.back.pop_front(), Some((head, written)));
        }
        assert!(self.back.is_empty());
        self.interrupted = false;
        assert!(!self.driver.ask_for_interrupt(&self.memory).unwrap());
        self.driver_asleep = true;
    }

    fn crash(&mut self) {
        let record = InFlight::new(self.words);
        let resumed = Queue::resume(&self.memory, self.driver.layout(), self.features, Some(record)).unwrap();
        self.queue = resumed.queue;
        // What was given back but not shown is in flight again, as it was taken.
        self.taken.append(&mut self.given);
        let mut expected: Vec<u16> = self.taken.iter().map(|sent| sent.head).collect();
        let mut found = resumed.repeat.clone();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        let mut chain = Chain::default();
        for head in resumed.repeat {
            self.queue.chain(&self.memory, head, &mut chain).unwrap();
            let sent = self.taken.iter().find(|sent| sent.head == head).unwrap();
            self.check(&chain, sent);
        }
        // A fresh backend looks, and interrupts once.
        self.device_asleep = false;
        self.interrupted = true;
        self.driver_asleep = false;
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Add(readable, writable, style) => self.add(readable, writable, style),
            Step::Publish => {
                let kick = self.driver.publish(&self.memory).unwrap();
                let new = !self.added.is_empty();
                self.shown.append(&mut self.added);
                self.kicked |= kick;
                assert!(!self.device_asleep || !new || self.kicked);
                self.device_asleep &= !self.kicked;
            }
            Step::Take => self.take(),
            Step::GiveBack(which) if !self.taken.is_empty() => {
                let sent = self.taken.remove(usize::from(which) % self.taken.len());
                self.queue
                    .give_back(&self.memory, sent.head, u32::from(sent.head) * 3)
                    .unwrap();
                self.given.push(sent);
            }
            Step::GiveBack(_) => {}
            Step::PublishUsed => self.publish_used(),
            Step::DeviceSleeps => {
                self.kicked = false;
                let waiting = self.queue.ask_for_kick(&self.memory).unwrap();
                assert_eq!(waiting, !self.shown.is_empty());
                self.device_asleep = !waiting;
            }
            Step::DriverSleeps => self.driver_sleeps(),
            Step::Crash => self.crash(),
        }
        assert_eq!(usize::from(self.queue.in_flight()), self.taken.len());
    }
}

fn features() -> impl Strategy<Value = Features> {
    (any::<bool>(), any::<bool>()).prop_map(|(indirect, event)| {
        let none = Features::default();
        let indirect = if indirect { Features::INDIRECT } else { none };
        indirect.with(if event { Features::EVENT_INDEX } else { none })
    })
}

proptest! {
    #[test]
    fn chains_travel_and_nobody_waits_in_vain(features in features(), steps in prop::collection::vec(step(), 0..400)) {
        let words = words();
        let mut world = World::new(&words, features);
        for step in &steps {
            world.step(step);
        }
    }
}

/// A backend that ends between two stores of a publication: the used index is out, the record is as it was before, after none or
/// some of its changes.
#[test]
fn a_crash_while_publishing_repeats_nothing_that_came_back() {
    for cleared in 0..=3 {
        let words = words();
        let mut world = World::new(&words, Features::default());
        for _ in 0..4 {
            world.add(1, 1, 0);
        }
        world.step(&Step::Publish);
        (0..4).for_each(|_| world.take());
        let before: Vec<u64> = words
            .iter()
            .map(|word| word.load(std::sync::atomic::Ordering::Relaxed))
            .collect();
        let heads: Vec<u16> = world.taken.iter().map(|sent| sent.head).collect();
        for _ in 0..3 {
            world.step(&Step::GiveBack(0));
        }
        world.step(&Step::PublishUsed);
        // The record of a backend that came only to `cleared` of the three heads.
        for (word, value) in words.iter().zip(&before) {
            word.store(*value, std::sync::atomic::Ordering::Relaxed);
        }
        for head in &heads[..cleared] {
            words[8 + usize::from(*head)].store(0, std::sync::atomic::Ordering::Relaxed);
        }
        world.crash();
        assert_eq!(world.taken.len(), 1);
        world.step(&Step::GiveBack(0));
        world.step(&Step::PublishUsed);
        world.driver_sleeps();
        assert_eq!(world.driver.free(), usize::from(SIZE));
    }
}

/// The numbers order what is repeated, also after several crashes.
#[test]
fn repetition_is_in_order() {
    let words = words();
    let mut world = World::new(&words, Features::default());
    for _ in 0..3 {
        world.add(1, 0, 0);
    }
    world.step(&Step::Publish);
    (0..3).for_each(|_| world.take());
    world.step(&Step::GiveBack(0));
    world.step(&Step::PublishUsed);
    world.driver_sleeps();
    world.crash();
    // The freed descriptor is used again: a low head, taken last.
    world.add(1, 0, 0);
    world.step(&Step::Publish);
    world.take();
    let order: Vec<u16> = world.taken.iter().map(|sent| sent.head).collect();
    let record = InFlight::new(&words);
    let resumed = Queue::resume(&world.memory, world.driver.layout(), Features::default(), Some(record)).unwrap();
    assert_eq!(resumed.repeat, order);
}

/// Without a record: buffers taken and not used are simply taken again.
#[test]
fn untaken_chains_are_taken_again() {
    let memory = memory();
    let mut driver = Driver::new(BASE, SIZE, Features::default());
    let mut queue = Queue::start(&memory, driver.layout(), Features::default(), None).unwrap();
    let mut heads = Vec::new();
    for _ in 0..3 {
        heads.extend(driver.add(&memory, &[], &[(Gpa(0x8000), 8)], Style::Direct).unwrap());
    }
    driver.publish(&memory).unwrap();
    let mut chain = Chain::default();
    let mut take = |queue: &mut Queue<'static>| {
        assert!(queue.take(&memory, &mut chain).unwrap());
        chain.head()
    };
    assert_eq!(take(&mut queue), heads[0]);
    assert_eq!(take(&mut queue), heads[1]);
    queue.untake(2);
    assert_eq!(take(&mut queue), heads[0]);
    let resumed = Queue::resume(&memory, driver.layout(), Features::default(), None).unwrap();
    assert!(resumed.repeat.is_empty());
    queue = resumed.queue;
    assert_eq!(take(&mut queue), heads[0]);
}
