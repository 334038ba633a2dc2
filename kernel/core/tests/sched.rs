//! Scheduling contexts, priorities, budgets, the fair band, and the machine's own objects: each error.
#![allow(missing_docs)]

mod common;

use common::{BELL, DONE, EMPTY, MEMORY, PLATFORM, ROOT, SELF, World, failed};
use ecusson_abi::{Error, Event, Kind, Rights, Syscall, ops, platform};
use ecusson_core::percpu::{Effect, FIRST_VECTOR};

const CONFIGURE: u64 = ops::sched_context::CONFIGURE;
const BIND: u64 = ops::sched_context::BIND;

#[test]
fn configurations() {
    let mut w = World::new();
    let context = w.create(Kind::SchedContext, &[]);
    let weak_platform = w.with_rights(PLATFORM, Rights::POWER);
    for (slot, error) in [
        (EMPTY, Error::BadCap),
        (BELL, Error::BadType),
        (weak_platform, Error::NoRight),
    ] {
        w.refuses(context, CONFIGURE, &[slot, 0x500, 1, 1], error, 1);
    }
    for place in [2, 32 << 8, 1 << 8, 0x10000 << 32 | 1 << 8] {
        w.refuses(context, CONFIGURE, &[PLATFORM, place, 1, 1], Error::BadArg, 2);
    }
    w.refuses(context, CONFIGURE, &[PLATFORM, 0x500, 0, 1], Error::BadArg, 3);
    w.refuses(context, CONFIGURE, &[PLATFORM, 0x500, 2, 1], Error::BadArg, 3);
    w.refuses(context, CONFIGURE, &[PLATFORM, 0x500, 1, u64::MAX], Error::BadArg, 4);
    let weak = w.with_rights(context, Rights::EXECUTE);
    w.refuses(weak, CONFIGURE, &[PLATFORM, 0x500, 1, 1], Error::NoRight, 0);
    w.refuses(weak, BIND, &[ROOT], Error::NoRight, 0);
    w.refuses(weak, ops::sched_context::USED, &[], Error::NoRight, 0);
    w.refuses(
        ecusson_abi::root_slots::SCHED_CONTEXT,
        CONFIGURE,
        &[PLATFORM, 0x501, 1, 1],
        Error::BadState,
        0,
    );
}

#[test]
fn bindings() {
    let mut w = World::new();
    let thread = w.bare_thread(0);
    let raw = w.create(Kind::SchedContext, &[]);
    w.refuses(raw, BIND, &[thread], Error::BadState, 0);
    let context = w.context(0, 5);
    let dead = w.dead(Kind::Thread, &[SELF, 0, 0]);
    w.refuses_bad_capabilities(context, BIND, |slot| vec![slot], 1, thread, dead);
    w.refuses(context, BIND, &[ROOT], Error::Occupied, 1);
    let elsewhere = w.context(1, 5);
    w.refuses(elsewhere, BIND, &[thread], Error::BadArg, 1);
    assert_eq!(w.invoke(context, BIND, &[thread]), DONE);
    w.refuses(context, BIND, &[thread], Error::Occupied, 1);
}

#[test]
fn a_core_has_room_for_so_many_contexts() {
    let mut w = World::new();
    for _ in 0..255 {
        let context = w.context(0, 5);
        assert_eq!(w.invoke(SELF, ops::protection_domain::DROP, &[context]), DONE);
        w.forget(context);
    }
    let context = w.create(Kind::SchedContext, &[]);
    w.refuses(context, CONFIGURE, &[PLATFORM, 0x500, 1, 1], Error::NoMemory, 2);
}

#[test]
fn a_budget_is_a_limit() {
    let mut w = World::new();
    let thread = w.bare_thread(1);
    let context = w.create(Kind::SchedContext, &[]);
    assert_eq!(w.invoke(context, CONFIGURE, &[PLATFORM, 0x501, 100, 1000]), DONE);
    assert_eq!(w.invoke(context, BIND, &[thread]), DONE);
    assert_eq!(w.invoke(thread, ops::thread::START, &[common::ENTRY]), DONE);
    let begin = w.kernel.now.get();
    w.timer(1, begin);
    assert_eq!(w.current(1), Some(w.thread(thread)));
    assert!(w.kernel.next_timer(w.kernel.core(1)) <= begin + 100);
    w.timer(1, begin + 100);
    assert_eq!(w.current(1), None, "its budget is used up");
    w.timer(1, begin + 999);
    assert_eq!(
        w.current(1),
        Some(w.thread(thread)),
        "its next period began with its configuration"
    );
    assert_eq!(w.invoke(context, ops::sched_context::USED, &[]), Ok((Event::Done, 100)));
}

#[test]
fn equals_take_turns_and_the_higher_goes_first() {
    let mut w = World::new();
    let (low, equal, high) = (w.thread_on(1, 5), w.thread_on(1, 9), w.thread_on(1, 9));
    w.reschedule(1);
    assert_eq!(w.current(1), Some(w.thread(equal)));
    assert_eq!(w.on(1, Syscall::Yield, 0, 0, [0; 6]), Some(DONE));
    assert_eq!(w.current(1), Some(w.thread(high)));
    for thread in [equal, high] {
        assert_eq!(w.invoke(thread, ops::thread::STOP, &[]), DONE);
    }
    w.reschedule(1);
    assert_eq!(w.current(1), Some(w.thread(low)));
}

#[test]
fn interrupts() {
    let mut w = World::new();
    let slot = w.slot();
    w.refuses(PLATFORM, platform::IRQ, &[4096, 0, 0, MEMORY, slot], Error::BadArg, 1);
    w.refuses(PLATFORM, platform::IRQ, &[4, 2, 0, MEMORY, slot], Error::BadArg, 2);
    w.refuses(PLATFORM, platform::IRQ, &[4, 0, 4, MEMORY, slot], Error::BadArg, 3);
    w.refuses(PLATFORM, platform::IRQ, &[4, 0, 0, BELL, slot], Error::BadType, 4);
    w.refuses(PLATFORM, platform::IRQ, &[4, 0, 0, MEMORY, BELL], Error::Occupied, 5);
    assert_eq!(
        w.invoke(PLATFORM, platform::IRQ, &[4, 0, platform::LEVEL, MEMORY, slot]),
        Ok((Event::Done, platform::LEVEL))
    );
    let other = w.slot();
    w.refuses(PLATFORM, platform::IRQ, &[4, 0, 0, MEMORY, other], Error::Occupied, 1);
    let bell = w.create(Kind::Notification, &[]);
    let dead = w.dead(Kind::Notification, &[]);
    w.refuses_bad_capabilities(slot, ops::interrupt::BIND, |bell| vec![bell, 0], 1, bell, dead);
    w.refuses(slot, ops::interrupt::BIND, &[bell, 64], Error::BadArg, 2);
    w.refuses(slot, ops::interrupt::ACK, &[], Error::BadState, 0);
    assert_eq!(
        w.kernel.core(0).effect.get(),
        Effect::Nothing,
        "nothing is unmasked that leads nowhere"
    );
    assert_eq!(w.invoke(slot, ops::interrupt::BIND, &[BELL, 3]), DONE);
    w.refuses(slot, ops::interrupt::BIND, &[bell, 3], Error::Occupied, 0);
    w.kernel.enter(0, w.kernel.now.get());
    w.kernel.interrupt(FIRST_VECTOR);
    assert_eq!(
        w.kernel.core(0).effect.replace(Effect::Nothing),
        Effect::MaskLine { line: 4 }
    );
    assert_eq!(
        w.on(0, Syscall::Wait, ecusson_abi::NO_DEADLINE, 0, [0; 6]),
        Some(Ok((Event::Signal, 8)))
    );
    assert_eq!(w.invoke(slot, ops::interrupt::ACK, &[]), DONE);
    assert_eq!(
        w.kernel.core(0).effect.replace(Effect::Nothing),
        Effect::UnmaskLine { line: 4 }
    );
    let weak = w.with_rights(slot, Rights::READ);
    w.refuses(weak, ops::interrupt::ACK, &[], Error::NoRight, 0);
    assert_eq!(w.invoke(BELL, ops::DESTROY, &[]), DONE);
    w.refuses(slot, ops::interrupt::ACK, &[], Error::BadState, 0);
    assert_eq!(w.invoke(slot, ops::interrupt::BIND, &[bell, 3]), DONE);
}

/// Catches a driver that is believed against the firmware, a line that stays routed when its object ends, and one that
/// goes on interrupting for nobody.
#[test]
fn interrupt_lines_follow_the_firmware_and_end_with_their_object() {
    let mut w = World::new();
    w.kernel.override_line(9, platform::LEVEL as u8);
    w.kernel.override_line(4, 0);
    let bell = w.create(Kind::Notification, &[]);
    for (line, wanted, flags) in [
        (9, platform::ACTIVE_LOW, platform::LEVEL),
        (4, platform::LEVEL, 0),
        (5, 2, 2),
    ] {
        let slot = w.slot();
        let made = w.invoke(PLATFORM, platform::IRQ, &[line, 0, wanted, MEMORY, slot]);
        assert_eq!(made, Ok((Event::Done, flags)));
        assert_eq!(w.invoke(slot, ops::interrupt::BIND, &[bell, 3]), DONE);
        let routed = Effect::RouteLine {
            line: line as u32,
            vector: FIRST_VECTOR,
            core: 0,
            flags,
        };
        assert_eq!(w.kernel.core(0).effect.take(), routed);
        w.kernel.enter(0, w.kernel.now.get());
        w.kernel.interrupt(FIRST_VECTOR);
        let is_masked = flags & platform::LEVEL != 0;
        assert_eq!(w.kernel.core(0).effect.take() != Effect::Nothing, is_masked);
        assert_eq!(w.invoke(slot, ops::interrupt::ACK, &[]), DONE);
        assert_eq!(w.kernel.core(0).effect.take() != Effect::Nothing, is_masked);
        assert_eq!(w.invoke(slot, ops::DESTROY, &[]), DONE);
        let released = Effect::ReleaseLine { line: line as u32 };
        assert_eq!(w.kernel.core(0).effect.take(), released);
    }
    let slot = w.slot();
    let _ = w.invoke(PLATFORM, platform::IRQ, &[5, 0, 0, MEMORY, slot]);
    assert_eq!(w.invoke(slot, ops::interrupt::BIND, &[bell, 3]), DONE);
    assert_eq!(w.invoke(bell, ops::DESTROY, &[]), DONE);
    w.kernel.enter(0, w.kernel.now.get());
    w.kernel.interrupt(FIRST_VECTOR);
    assert_eq!(w.kernel.core(0).effect.take(), Effect::MaskLine { line: 5 });
}

/// Catches an interrupt sent to another core than the one asked for, whose id has the same lower bits.
#[test]
fn cores_that_no_message_names_get_no_interrupts() {
    let mut w = World::new();
    let slot = w.slot();
    for (apic_id, refused) in [(0x101, true), (0xFF, true), (0xFE, false)] {
        w.kernel.core(1).apic_id.set(apic_id);
        let made = w.invoke(PLATFORM, platform::IRQ, &[platform::MSI, 1, 0, MEMORY, slot]);
        assert_eq!(made, if refused { failed(Error::Unsupported, 2) } else { DONE });
    }
}

#[test]
fn vectors_run_out() {
    let mut w = World::new();
    let pool = w.pool(30);
    for _ in 0..192 {
        assert_eq!(w.message_interrupt(pool, 250), DONE);
        assert_eq!(w.invoke(SELF, ops::protection_domain::DROP, &[250]), DONE);
    }
    w.refuses(
        PLATFORM,
        platform::IRQ,
        &[platform::MSI, 0, 0, pool, 250],
        Error::Busy,
        2,
    );
}

#[test]
fn ports() {
    let mut w = World::new();
    let slot = w.slot();
    w.refuses(PLATFORM, platform::PORTS, &[0x10000, 1, MEMORY, slot], Error::BadArg, 1);
    for count in [0, 0x10000, u64::MAX] {
        w.refuses(PLATFORM, platform::PORTS, &[1, count, MEMORY, slot], Error::BadArg, 2);
    }
    w.refuses(PLATFORM, platform::PORTS, &[1, 1, EMPTY, slot], Error::BadCap, 3);
    w.refuses(PLATFORM, platform::PORTS, &[1, 1, MEMORY, BELL], Error::Occupied, 4);
    let mut made = Vec::new();
    for first in 0..9 {
        made.push(w.slot());
        assert_eq!(
            w.invoke(
                PLATFORM,
                platform::PORTS,
                &[0x3F8 + first, 1, MEMORY, made[first as usize]]
            ),
            DONE
        );
    }
    let space = w.create(Kind::Space, &[ops::space::HOST]);
    let dead = w.dead(Kind::ProtectionDomain, &[1, space]);
    w.refuses_bad_capabilities(made[0], ops::ports::ATTACH, |domain| vec![domain], 1, SELF, dead);
    for range in &made[..8] {
        assert_eq!(w.invoke(*range, ops::ports::ATTACH, &[SELF]), DONE);
    }
    w.refuses(made[0], ops::ports::ATTACH, &[SELF], Error::Occupied, 0);
    w.refuses(made[8], ops::ports::ATTACH, &[SELF], Error::Occupied, 1);
    let weak = w.with_rights(made[8], Rights::READ);
    w.refuses(weak, ops::ports::ATTACH, &[SELF], Error::NoRight, 0);
    assert_eq!(w.kernel.ports_of(w.thread(ROOT)).count(), 8);
}

#[test]
fn device_memory_and_power() {
    let mut w = World::new();
    let slot = w.slot();
    for pages in [0, u64::MAX] {
        w.refuses(PLATFORM, platform::MMIO, &[200, pages, MEMORY, slot], Error::BadArg, 2);
    }
    for first in [u64::MAX, 1 << 40] {
        w.refuses(PLATFORM, platform::MMIO, &[first, 1, MEMORY, slot], Error::BadArg, 1);
    }
    w.refuses(PLATFORM, platform::MMIO, &[127, 1, MEMORY, slot], Error::NoRight, 1);
    w.refuses(PLATFORM, platform::MMIO, &[200, 1, EMPTY, slot], Error::BadCap, 3);
    w.refuses(PLATFORM, platform::MMIO, &[200, 1, MEMORY, BELL], Error::Occupied, 4);
    assert_eq!(w.invoke(PLATFORM, platform::MMIO, &[200, 1, MEMORY, slot]), DONE);
    w.refuses(PLATFORM, platform::POWER, &[2], Error::BadArg, 1);
    assert_eq!(w.invoke(PLATFORM, platform::POWER, &[platform::OFF]), DONE);
    assert_eq!(w.kernel.core(0).effect.replace(Effect::Nothing), Effect::PowerOff);
    assert_eq!(w.invoke(PLATFORM, platform::INFO, &[]), Ok((Event::Done, 2)));
    w.refuses(PLATFORM, platform::CHECK, &[], Error::Unsupported, 0);
    w.kernel.is_test.set(true);
    assert_eq!(w.invoke(PLATFORM, platform::CHECK, &[]), DONE);
    let nothing = w.with_rights(PLATFORM, Rights::NONE);
    for operation in [
        platform::IRQ,
        platform::PORTS,
        platform::MMIO,
        platform::POWER,
        platform::CHECK,
    ] {
        w.refuses(nothing, operation, &[0, 1, 0, MEMORY, slot], Error::NoRight, 0);
    }
}
