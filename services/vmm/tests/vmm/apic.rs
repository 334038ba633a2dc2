//! Local APICs, the I/O APIC and what connects them.

use std::sync::atomic::{AtomicU32, Ordering};

use ecusson_vmm::apic::{
    ApicEffect, ApicMode, Delivery, Destination, Fabric, IoApic, LocalApic, Message, Posted, Shorthand, Trigger,
    VcpuSet,
};
use ecusson_vmm::time::Timebase;
use proptest::prelude::*;

fn timebase() -> Timebase {
    Timebase::new(2_000_000)
}

/// An APIC in x2APIC mode, switched on.
fn x2apic(id: u32) -> LocalApic {
    let mut apic = LocalApic::new(id, timebase());
    let base = apic.base();
    apic.set_base(base | 0xc00, timebase()).expect("x2APIC mode");
    apic.write_msr(0x80f, 0x1ff, 0).expect("enabled");
    apic
}

fn posted(edge: &[u8], level: &[u8]) -> Posted {
    let mut posted = Posted::default();
    edge.iter().for_each(|&vector| posted.edge.insert(vector));
    level.iter().for_each(|&vector| posted.level.insert(vector));
    posted
}

fn fixed(destination: Destination, vector: u8) -> Message {
    Message {
        destination,
        delivery: Delivery::Fixed,
        vector,
        trigger: Trigger::Edge,
    }
}

#[test]
fn interrupts_come_by_priority_and_end_in_order() {
    let mut apic = x2apic(0);
    apic.accept(&posted(&[0x31, 0x52, 0x55], &[]));
    assert_eq!(apic.pending(), Some(0x55));
    apic.begin(0x55);
    assert_eq!(apic.pending(), None, "0x52 is of the same class");
    assert_eq!(apic.read_msr(0x80a, 0), Ok(0x50), "processor priority");
    apic.accept(&posted(&[0x61], &[]));
    assert_eq!(apic.pending(), Some(0x61));
    apic.begin(0x61);
    assert_eq!(apic.end(), ApicEffect::None);
    assert_eq!(apic.end(), ApicEffect::None);
    assert_eq!(apic.pending(), Some(0x52));
    apic.write_msr(0x808, 0x50, 0).expect("task priority");
    assert_eq!(apic.pending(), None);
    apic.set_cr8(4);
    assert_eq!((apic.pending(), apic.cr8()), (Some(0x52), 4));
}

#[test]
fn level_triggered_interrupts_are_reported_at_their_end() {
    let mut apic = x2apic(0);
    apic.accept(&posted(&[], &[0x41]));
    assert_eq!(apic.read_msr(0x81a, 0), Ok(2), "trigger mode register");
    apic.begin(0x41);
    assert!(!apic.end_is_silent());
    assert_eq!(apic.write_msr(0x80b, 0, 0), Ok(ApicEffect::EndOfInterrupt(0x41)));
    apic.accept(&posted(&[0x41], &[]));
    apic.begin(0x41);
    assert!(apic.end_is_silent());
    apic.accept(&posted(&[0x20], &[]));
    assert!(!apic.end_is_silent(), "somebody waits");
    assert_eq!(apic.end(), ApicEffect::None);
}

#[test]
fn a_disabled_apic_takes_nothing() {
    let mut apic = LocalApic::new(1, timebase());
    apic.accept(&posted(&[0x41], &[]));
    assert_eq!(apic.pending(), None);
    apic.write_page(0xf0, 0x1ff, 0);
    apic.accept(&posted(&[0x0f, 0x41], &[]));
    apic.begin(0x41);
    assert_eq!(apic.pending(), None, "exceptions can't be sent");
    apic.write_page(0xf0, 0xff, 0);
    assert_eq!(apic.read_page(0x320, 0) & 1 << 16, 1 << 16, "masked with it");
}

#[test]
fn the_timer_fires_once_periodically_and_at_a_deadline() {
    let mut apic = x2apic(0);
    let write = |apic: &mut LocalApic, msr, value, now| apic.write_msr(msr, value, now).expect("written");
    // Divide by 16; 1 GHz bus, 2 GHz TSC: 1000 counts are 32,000 ticks.
    write(&mut apic, 0x83e, 3, 0);
    write(&mut apic, 0x832, 0x40, 0);
    write(&mut apic, 0x838, 1000, 100);
    assert_eq!(apic.deadline(), Some(32_100));
    assert_eq!(apic.read_msr(0x839, 16_100), Ok(500));
    apic.expire(32_099);
    assert_eq!(apic.pending(), None);
    apic.expire(32_100);
    assert_eq!((apic.pending(), apic.deadline()), (Some(0x40), None));
    // Periodic, 100 us; a late look finds one interrupt and the next deadline on the grid.
    write(&mut apic, 0x832, 0x2_0041, 0);
    write(&mut apic, 0x838, 6250, 0);
    assert_eq!(apic.deadline(), Some(200_000));
    apic.expire(650_000);
    assert_eq!((apic.pending(), apic.deadline()), (Some(0x41), Some(800_000)));
    // Deadline.
    write(&mut apic, 0x832, 0x4_0042, 0);
    assert_eq!(apic.deadline(), None, "a change of mode stops it");
    apic.set_deadline_msr(5000);
    assert_eq!((apic.deadline(), apic.deadline_msr()), (Some(5000), 5000));
    apic.expire(5000);
    assert_eq!((apic.pending(), apic.deadline_msr()), (Some(0x42), 0));
    apic.set_deadline_msr(6000);
    write(&mut apic, 0x832, 0x5_0042, 0);
    assert_eq!(apic.deadline(), None, "masked: nobody would notice");
}

#[test]
fn modes_change_only_as_the_processor_allows() {
    let mut apic = LocalApic::new(0, timebase());
    assert_eq!(apic.base(), 0xfee0_0900);
    assert!(apic.read_msr(0x802, 0).is_err());
    assert!(apic.set_base(0xfee0_0500, timebase()).is_err(), "x2APIC without enable");
    assert!(apic.set_base(0xfed0_0900, timebase()).is_err(), "another address");
    apic.set_base(0xfee0_0d00, timebase()).expect("x2APIC mode");
    assert_eq!(apic.mode(), ApicMode::X2Apic);
    assert!(apic.set_base(0xfee0_0900, timebase()).is_err(), "no way back but off");
    assert_eq!(apic.read_page(0x20, 0), u32::MAX);
    apic.set_base(0xfee0_0100, timebase()).expect("off");
    apic.set_base(0xfee0_0900, timebase()).expect("xAPIC mode");
    assert_eq!(apic.read_page(0x30, 0), 0x0005_0014);
    assert!(x2apic(1).write_msr(0x80b, 1, 0).is_err(), "EOI takes zero");
    assert!(x2apic(1).write_msr(0x80e, 0, 0).is_err(), "no such register");
    assert!(x2apic(1).write_msr(0x808, 1 << 32, 0).is_err(), "reserved bits");
}

#[test]
fn commands_become_messages() {
    let mut apic = x2apic(1);
    let effect = apic.write_msr(0x830, 3 << 32 | 0x00fd, 0);
    let message = fixed(Destination::Physical(3), 0xfd);
    assert_eq!(effect, Ok(ApicEffect::Send(Shorthand::None, message)));
    let effect = apic.write_msr(0x830, 2 << 32 | 0x4608, 0);
    let Ok(ApicEffect::Send(Shorthand::None, message)) = effect else {
        panic!("a start-up message, not {effect:?}")
    };
    assert_eq!((message.delivery, message.vector), (Delivery::Startup, 8));
    assert_eq!(apic.write_msr(0x83f, 0x45, 0), Ok(ApicEffect::None));
    assert_eq!(apic.pending(), Some(0x45), "to itself");
    assert_eq!(
        apic.write_msr(0x830, 3 << 32 | 5, 0),
        Ok(ApicEffect::None),
        "no such vector"
    );
    apic.write_msr(0x828, 0, 0).expect("latched");
    assert_eq!(apic.read_msr(0x828, 0), Ok(0x20));
    // xAPIC: destination in the upper register, logical.
    let mut apic = LocalApic::new(0, timebase());
    apic.write_page(0xf0, 0x1ff, 0);
    apic.write_page(0x310, 0x0600_0000, 0);
    let effect = apic.write_page(0x300, 0x0841, 0);
    assert_eq!(
        effect,
        ApicEffect::Send(Shorthand::None, fixed(Destination::Logical(6), 0x41))
    );
}

#[test]
fn messages_find_their_targets() {
    let fabric = Fabric::new(4);
    let mut apics: Vec<_> = (0..4).map(|id| LocalApic::new(id, timebase())).collect();
    for (vcpu, apic) in apics.iter_mut().enumerate() {
        apic.write_page(0xd0, 1 << (24 + vcpu), 0);
        fabric.route(vcpu, apic.routing());
    }
    let to = |destination| fabric.send(&fixed(destination, 0x50)).0;
    assert_eq!(to(Destination::Physical(2)), 0b0100);
    assert_eq!(to(Destination::Physical(u32::MAX)), 0b1111);
    assert_eq!(to(Destination::Physical(9)), 0);
    assert_eq!(to(Destination::Logical(0b1010)), 0b1010);
    // Clusters: two of two.
    for (vcpu, apic) in apics.iter_mut().enumerate() {
        apic.write_page(0xe0, 0x0fff_ffff, 0);
        apic.write_page(0xd0, ((vcpu as u32 / 2) << 4 | 1 << (vcpu % 2)) << 24, 0);
        fabric.route(vcpu, apic.routing());
    }
    let to = |destination| fabric.send(&fixed(destination, 0x50)).0;
    assert_eq!(to(Destination::Logical(0x13)), 0b1100);
    assert_eq!(to(Destination::Logical(0xf1)), 0b0101);
    for vcpu in 0..4 {
        fabric.route(vcpu, x2apic(vcpu as u32).routing());
    }
    let to = |destination| fabric.send(&fixed(destination, 0x50)).0;
    assert_eq!(to(Destination::Logical(0b0110)), 0b0110);
    assert_eq!(to(Destination::Logical(0x1_0001)), 0, "another cluster");
    let lowest = Message {
        delivery: Delivery::LowestPriority,
        ..fixed(Destination::Logical(0b1110), 0x31)
    };
    assert_eq!(fabric.send(&lowest).0.count_ones(), 1);
    let from_1 = |shorthand| fabric.send_from(1, shorthand, &fixed(Destination::Physical(0), 0x50)).0;
    assert_eq!(from_1(Shorthand::Others), 0b1101);
    assert_eq!(from_1(Shorthand::All), 0b1111);
}

#[test]
fn inboxes_keep_everything_until_it_is_taken() {
    let fabric = Fabric::new(2);
    assert_eq!(fabric.take(1), None);
    fabric.send(&fixed(Destination::Physical(1), 0x50));
    fabric.send(&fixed(Destination::Physical(1), 0xf1));
    let level = Message {
        trigger: Trigger::Level,
        ..fixed(Destination::Physical(1), 0x60)
    };
    fabric.send(&level);
    for delivery in [Delivery::Init, Delivery::Startup, Delivery::Startup, Delivery::Nmi] {
        fabric.send(&Message {
            delivery,
            ..fixed(Destination::Physical(1), 0x9a)
        });
    }
    let taken = fabric.take(1).expect("something");
    assert!(taken.edge.contains(0x50) && taken.edge.contains(0xf1) && taken.level.contains(0x60));
    assert!(taken.init && taken.nmi && !taken.woken);
    assert_eq!(taken.startup, Some(0x9a));
    assert_eq!((fabric.take(1), fabric.take(0)), (None, None));
    assert_eq!(fabric.wake(1), VcpuSet::of(1));
    assert!(fabric.take(1).expect("something").woken);
    assert_eq!(fabric.wake(7), VcpuSet::NONE);
}

/// Two threads post, one takes: a vector that was posted is taken at some look after, and nothing is taken that was not posted.
#[test]
fn inboxes_lose_nothing_between_threads() {
    const ROUNDS: u32 = 20_000;
    let fabric = Fabric::new(2);
    let (posted, taken) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for first in [0x20, 0x90] {
            let (fabric, posted, taken) = (&fabric, &posted, &taken);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    fabric.send(&fixed(Destination::Physical(1), first + (round % 64) as u8));
                    let sent = posted.fetch_add(1, Ordering::SeqCst) + 1;
                    // Fewer under way than a thread has vectors, so that none is posted twice before it is taken.
                    while sent > taken.load(Ordering::SeqCst) + 32 {
                        std::thread::yield_now();
                    }
                }
            });
        }
        while taken.load(Ordering::SeqCst) < 2 * ROUNDS {
            let Some(inbox) = fabric.take(1) else {
                std::thread::yield_now();
                continue;
            };
            let count = (0..=255).filter(|&vector| inbox.edge.contains(vector)).count();
            taken.fetch_add(count as u32, Ordering::SeqCst);
        }
    });
    assert_eq!((taken.into_inner(), fabric.take(1)), (2 * ROUNDS, None));
}

#[test]
fn messages_of_devices_are_decoded() {
    let message = Message::of_msi(0xfee0_3000, 0x0041).expect("a message");
    assert_eq!(message, fixed(Destination::Physical(3), 0x41));
    let message = Message::of_msi(0xfee0_500c, 0x8141).expect("a message");
    assert_eq!(message.destination, Destination::Logical(5));
    assert_eq!(
        (message.delivery, message.trigger),
        (Delivery::LowestPriority, Trigger::Level)
    );
    let message = Message::of_msi(0xfee0_1020, 0x41).expect("a message");
    assert_eq!(message.destination, Destination::Physical(0x101), "extended");
    assert_eq!(Message::of_msi(0xfed0_0000, 0x41), None);
    assert_eq!(Message::of_msi(0x1_fee0_0000, 0x41), None);
}

fn program(io: &mut IoApic, pin: u32, entry: u64) -> Option<Message> {
    io.write(0, 0x11 + 2 * pin);
    let first = io.write(0x10, (entry >> 32) as u32);
    io.write(0, 0x10 + 2 * pin);
    first.or(io.write(0x10, entry as u32))
}

#[test]
fn edges_become_one_message_each_and_survive_a_mask() {
    let mut io = IoApic::default();
    io.write(0, 1);
    assert_eq!(io.read(0x10), 0x0017_0011);
    assert_eq!(io.set_line(4, true), None, "masked");
    let message = program(&mut io, 4, 2 << 56 | 0x34).expect("kept until now");
    assert_eq!(message, fixed(Destination::Physical(2), 0x34));
    assert_eq!(io.set_line(4, true), None, "no edge");
    assert_eq!(io.set_line(4, false), None);
    assert!(io.set_line(4, true).is_some());
    assert_eq!(io.set_line(24, true), None);
}

#[test]
fn levels_ask_again_until_they_are_served() {
    let mut io = IoApic::default();
    program(&mut io, 9, 0x8000 | 0x39);
    let message = io.set_line(9, true).expect("asked");
    assert_eq!(message.trigger, Trigger::Level);
    assert_eq!(io.set_line(9, true), None, "under way");
    io.write(0, 0x22);
    assert_eq!(io.read(0x10) & 1 << 14, 1 << 14, "remote request");
    assert_eq!(io.end_of_interrupt(0x38).count(), 0);
    assert_eq!(io.end_of_interrupt(0x39).count(), 1, "still asserted");
    io.set_line(9, false);
    assert_eq!(io.end_of_interrupt(0x39).count(), 0);
    // Linux's way out of a stuck one: make it an edge, and back.
    assert!(io.set_line(9, true).is_some());
    assert_eq!(program(&mut io, 9, 1 << 16 | 0x39), None);
    assert!(program(&mut io, 9, 0x8000 | 0x39).is_some());
}

proptest! {
    #[test]
    fn an_apic_survives_anything(accesses in prop::collection::vec((0_u8..6, any::<u32>(), any::<u64>(), any::<u64>()), 0..200)) {
        let mut apic = LocalApic::new(0, timebase());
        for (kind, place, value, now) in accesses {
            match kind {
                0 => { apic.write_page(u64::from(place % 0x1010), value as u32, now); }
                1 => { let _ = apic.write_msr(0x800 + place % 0x100, value, now); }
                2 => { let _ = apic.set_base(apic.base() ^ (value & 0xd00), timebase()); }
                3 => { apic.set_deadline_msr(value); }
                4 => { apic.accept(&posted(&[place as u8], &[value as u8])); }
                _ => { apic.end(); }
            }
            apic.expire(now);
            let _ = apic.read_msr(0x800 + place % 0x100, now);
            let _ = apic.read_page(u64::from(place % 0x1010), now);
            if let Some(vector) = apic.pending() {
                prop_assert!(vector >= 16);
                apic.begin(vector);
                prop_assert_ne!(apic.pending(), Some(vector));
            }
            prop_assert!(apic.deadline().is_none_or(|_| apic.mode() != ApicMode::Disabled));
        }
    }

    #[test]
    fn an_io_apic_survives_anything(accesses in prop::collection::vec((0_u8..4, any::<u32>(), any::<u32>()), 0..200)) {
        let mut io = IoApic::default();
        for (kind, place, value) in accesses {
            match kind {
                0 => { io.write(u64::from(place % 0x1000), value); }
                1 => { io.write(0, place); io.write(0x10, value); }
                2 => { io.set_line(place as usize % 30, value & 1 != 0); }
                _ => prop_assert!(io.end_of_interrupt(value as u8).count() <= 24),
            }
            let _ = io.read(u64::from(place % 0x40));
        }
    }

    /// The timer never fires early, and a periodic one's deadline is always ahead.
    #[test]
    fn a_timer_is_never_early(khz in 1_u32.., count in 1_u32.., divide in 0_u64..16, start in 0_u64..1 << 60, wait in any::<u64>()) {
        let timebase = Timebase::new(khz);
        let mut apic = LocalApic::new(0, timebase);
        apic.write_page(0xf0, 0x1ff, 0);
        apic.write_page(0x320, 0x2_0040, 0);
        apic.write_page(0x3e0, divide as u32, start);
        apic.write_page(0x380, count, start);
        let deadline = apic.deadline().expect("it runs");
        prop_assert!(timebase.ns(deadline - start) + 1 >= u64::from(count));
        let now = start.saturating_add(wait);
        apic.expire(now);
        prop_assert_eq!(apic.pending().is_some(), now >= deadline);
        prop_assert!(apic.deadline().expect("it goes on") > now || now == u64::MAX);
    }
}
