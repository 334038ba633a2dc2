//! Guests with real queues: one copy, mergeable buffers, headers, signals, and drivers that keep no rule.

mod support;

use std::sync::Arc;

use ecusson_guestmem::{Gpa, GuestMemory, Mapping};
use ecusson_switch::{Checksum, Features, Filter, GuestLink, HEADER_BYTES, PortId, Settings, Signals, Switch, Turn};
use ecusson_virtqueue::driver::{Driver, Style};
use ecusson_virtqueue::{Features as QueueFeatures, Queue};
use proptest::prelude::*;
use support::*;

const SIZE: u16 = 32;
const BUFFERS: u64 = 0x1_0000;
const SENT: u64 = 0x10_0000;

struct Guest {
    memory: Arc<GuestMemory>,
    receive: Driver,
    send: Driver,
    bytes: u32,
    provided: u64,
    sent: u64,
}

impl Guest {
    /// A guest with receive buffers of so many bytes, and its link.
    fn new(features: Features, bytes: u32) -> (Self, GuestLink) {
        let memory = Arc::new(GuestMemory::new(vec![Mapping::own(Gpa(0), 0x20_0000)]).unwrap());
        let queue_features = QueueFeatures::EVENT_INDEX;
        let receive = Driver::new(Gpa(0x1000), SIZE, queue_features);
        let send = Driver::new(Gpa(0x4000), SIZE, queue_features);
        let start = |driver: &Driver| Queue::start(&memory, driver.layout(), queue_features, None).unwrap();
        let link = GuestLink::new(memory.clone(), features, start(&receive), start(&send));
        (
            Self {
                memory,
                receive,
                send,
                bytes,
                provided: 0,
                sent: 0,
            },
            link,
        )
    }

    fn provide(&mut self, count: u64) {
        for _ in 0..count {
            // Buffers are used in order, so that one of this number is free again.
            let at = Gpa(BUFFERS + self.provided % u64::from(SIZE) * 0x1000);
            self.provided += 1;
            self.receive
                .add(&self.memory, &[], &[(at, self.bytes)], Style::Direct)
                .unwrap()
                .unwrap();
        }
        self.receive.publish(&self.memory).unwrap();
    }

    fn send(&mut self, header: [u8; HEADER_BYTES], frame: &[u8]) {
        let at = SENT + self.sent % 8 * 0x1_0000;
        self.sent += 1;
        self.memory.write(Gpa(at), &header).unwrap();
        self.memory.write(Gpa(at + 100), frame).unwrap();
        let half = frame.len() as u32 / 2;
        let rest = (Gpa(at + 100 + u64::from(half)), frame.len() as u32 - half);
        let buffers = [(Gpa(at), 12), (Gpa(at + 100), half), rest];
        self.send
            .add(&self.memory, &buffers, &[], Style::Direct)
            .unwrap()
            .unwrap();
        self.send.publish(&self.memory).unwrap();
    }

    /// What came, buffer by buffer.
    fn received(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some((head, written)) = self.receive.take_back(&self.memory).unwrap() {
            let at = self.memory.load_u64(Gpa(0x1000 + 16 * u64::from(head))).unwrap();
            let mut bytes = vec![0; written as usize];
            self.memory.read(Gpa(at), &mut bytes).unwrap();
            all.push(bytes);
        }
        all
    }
}

fn features(mergeable: bool) -> Features {
    let all = Features::offered().bits();
    Features::of(if mergeable { all } else { all & !Features::MERGEABLE })
}

fn pair(features: Features, bytes: u32) -> (Switch<GuestLink>, [Guest; 2]) {
    let mut switch = Switch::new(Settings::default());
    let guests = [1, 2].map(|last| {
        let (guest, link) = Guest::new(features, bytes);
        switch.add_port(settings(Filter::Only(mac(last))), link, 0).unwrap();
        guest
    });
    (switch, guests)
}

fn publish(switch: &mut Switch<GuestLink>, port: u16) -> Signals {
    switch.link(PortId(port)).unwrap().publish().unwrap()
}

const ONE_BUFFER: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

#[test]
fn a_frame_goes_from_guest_to_guest() {
    let (mut switch, [mut a, mut b]) = pair(features(false), 2048);
    b.provide(2);
    a.send([0; 12], &frame(mac(2), mac(1), b"hello there"));
    assert_eq!(switch.run(PortId(0), 0, 8), Ok(Turn::Idle));
    assert_eq!(b.received(), Vec::<Vec<u8>>::new());
    assert_eq!(
        publish(&mut switch, 0),
        Signals {
            received: false,
            sent: true
        }
    );
    assert_eq!(
        publish(&mut switch, 1),
        Signals {
            received: true,
            sent: false
        }
    );
    assert_eq!(
        b.received(),
        [[&ONE_BUFFER[..], &frame(mac(2), mac(1), b"hello there")].concat()]
    );
    assert_eq!(
        a.send.take_back(&a.memory).unwrap().map(|(_, written)| written),
        Some(0)
    );
}

#[test]
fn large_frames_fill_several_buffers_and_stay_whole() {
    let (mut switch, [mut a, mut b]) = pair(features(true), 1500);
    b.provide(16);
    let payload: Vec<u8> = (0..20_000_u32).map(|at| ((at * 7) >> 3) as u8).collect();
    let (bytes, Checksum { start, .. }) = tcp_frame(false, false, 0x18, &payload);
    let [g0, g1] = 1448_u16.to_le_bytes();
    // `hdr_len`, `num_buffers` and the "valid" flag of a driver are of no meaning.
    a.send([3, 1, 66, 0, g0, g1, start as u8, 0, 16, 0, 9, 9], &bytes);
    switch.run(PortId(0), 0, 8).unwrap();
    publish(&mut switch, 1);
    let got = b.received();
    let expected = (bytes.len() + 12).div_ceil(1500);
    assert_eq!(got.len(), expected);
    let stream = got.concat();
    assert_eq!(
        stream[..12],
        [1, 1, 0, 0, g0, g1, start as u8, 0, 16, 0, expected as u8, 0]
    );
    assert_eq!(stream[12..], bytes);
}

#[test]
fn without_room_a_frame_is_dropped_and_buffers_stay() {
    let (mut switch, [mut a, mut b]) = pair(features(true), 1000);
    b.provide(1);
    a.send([0; 12], &frame(mac(2), mac(1), &[1; 1400]));
    a.send([0; 12], &frame(mac(2), mac(1), &[1; 1400]));
    switch.run(PortId(0), 0, 8).unwrap();
    assert_eq!(switch.counters(PortId(1)).unwrap().received.dropped, 2);
    b.provide(1);
    a.send([0; 12], &frame(mac(2), mac(1), &[2; 1400]));
    switch.run(PortId(0), 0, 8).unwrap();
    publish(&mut switch, 1);
    assert_eq!(b.received().iter().map(Vec::len).collect::<Vec<_>>(), [1000, 426]);
    // Without mergeable buffers each must hold a whole frame.
    let (mut switch, [mut a, mut b]) = pair(features(false), 1000);
    b.provide(4);
    a.send([0; 12], &frame(mac(2), mac(1), &[1; 1400]));
    switch.run(PortId(0), 0, 8).unwrap();
    assert_eq!(switch.counters(PortId(1)).unwrap().received.dropped, 1);
}

#[test]
fn what_was_not_negotiated_is_dropped() {
    let (mut switch, [mut a, mut b]) = pair(Features::of(0), 2048);
    b.provide(4);
    let good = frame(mac(2), mac(1), &[1; 100]);
    a.send([1, 0, 0, 0, 0, 0, 14, 0, 16, 0, 0, 0], &good);
    a.send([0, 1, 0, 0, 0xFF, 0, 0, 0, 0, 0, 0, 0], &good);
    a.send([0, 3, 0, 0, 0xFF, 0, 0, 0, 0, 0, 0, 0], &good);
    a.send([0; 12], &good[..13]);
    switch.run(PortId(0), 0, 8).unwrap();
    assert_eq!(switch.counters(PortId(0)).unwrap().sent.dropped, 4);
    publish(&mut switch, 0);
    // All of them came back to their driver.
    assert_eq!(
        (0..5)
            .filter(|_| a.send.take_back(&a.memory).unwrap().is_some())
            .count(),
        4
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A guest that writes anything into its queues and headers loses its own port at most: the others' frames pass.
    #[test]
    fn a_hostile_guest_harms_nobody(
        writes in prop::collection::vec((prop_oneof![0x1000_u64..0x1300, 0x4000_u64..0x4300, SENT..SENT + 200], any::<u16>()), 0..200),
    ) {
        let (mut switch, [mut a, mut b]) = pair(features(true), 2048);
        let (mut c, link) = Guest::new(features(true), 2048);
        switch.add_port(settings(Filter::Only(mac(3))), link, 0).unwrap();
        a.provide(8);
        b.provide(8);
        for (round, chunk) in writes.chunks(20).enumerate() {
            for (at, value) in chunk {
                a.memory.store_u16(Gpa(at & !1), *value).unwrap();
            }
            let _ = switch.run(PortId(0), 0, 64);
            let _ = switch.link(PortId(0)).unwrap().publish();
            while c.send.take_back(&c.memory).unwrap().is_some() {}
            c.send([0; 12], &frame(mac(2), mac(3), &[round as u8; 60]));
            c.send([0; 12], &frame(mac(1), mac(3), &[round as u8; 60]));
            prop_assert_eq!(switch.run(PortId(2), 0, 8), Ok(Turn::Idle));
            publish(&mut switch, 1);
            publish(&mut switch, 2);
            let got = b.received();
            prop_assert!(got.iter().any(|bytes| bytes[12..] == frame(mac(2), mac(3), &[round as u8; 60])));
            b.provide(got.len() as u64);
        }
    }
}
