//! Memory that becomes any object and comes back: split, create, slice, attach, detach, destroy, reclaim, with a second core that
//! has the space loaded and is late with its flushes.

use ecusson_abi::{Error, Kind, Rights, Syscall, ops, root_slots};

use crate::action::{Actions, DEADLINES};
use crate::machine::{self, Machine};
use crate::report::Outcome;
use crate::universe::Universe;

const POOL: u64 = 11;
const POOL_PAGES: u64 = 4;
const WITNESS: u64 = 13;
const SLOTS: [u64; 3] = [20, 21, 22];

/// Access rights of attachments.
const READ_WRITE: u64 = 3;

fn first() -> Machine {
    let machine = machine::boot();
    machine::create_thread(&machine, WITNESS, root_slots::SELF, 1, 20);
    let split = [ops::memory::SPLIT, POOL_PAGES, POOL, 0, 0, 0];
    machine::furnish(&machine, root_slots::MEMORY, split);
    super::start(&machine, WITNESS);
    machine
}

/// The universe.
pub(crate) fn universe() -> Universe {
    let mut actions = Actions::on(&[0]);
    for slot in SLOTS {
        creations(&mut actions, slot);
        actions.destroy("destroy", slot);
        actions.invoke("region.scrub", slot, ops::region::SCRUB, [0; 5]);
        actions.invoke("region.detach", slot, ops::region::DETACH, [0; 5]);
        for (page, rights) in [(0, READ_WRITE), (1, u64::from(Rights::READ.0))] {
            actions.invoke("region.attach", slot, ops::region::ATTACH, [root_slots::SPACE, page, rights, 0, 0]);
        }
    }
    let [one, two, three] = SLOTS;
    actions.invoke("region.slice", one, ops::region::SLICE, [0, 1, 0xFF, POOL, two]);
    actions.invoke("region.slice", two, ops::region::SLICE, [0, 1, 1, POOL, three]);
    actions.invoke("region.attach", one, ops::region::ATTACH, [two, 0, READ_WRITE, 0, 0]);
    actions.invoke("space.fund", one, ops::space::FUND, [POOL, 2, 0, 0, 0]);
    actions.invoke("memory.reclaim", POOL, ops::memory::RECLAIM, [0; 5]);
    actions.invoke("memory.reclaim", one, ops::memory::RECLAIM, [0; 5]);
    actions.query("memory.info", POOL, ops::memory::INFO, 0);
    let mut events = Actions::on(&[0, 1]);
    events.interrupts();
    let mut late = Actions::on(&[1]);
    late.call("wait", Syscall::Wait, DEADLINES[0], 0, 0);
    actions.list.extend(events.list);
    actions.list.extend(late.list);
    Universe { name: "memory", start: first, actions: actions.list, required: required(), limit: 400_000, sabotage: None }
}

fn creations(actions: &mut Actions, slot: u64) {
    let [one, two, _] = SLOTS;
    let other = if slot == one { two } else { one };
    actions.invoke("memory.split", POOL, ops::memory::SPLIT, [2, slot, 0, 0, 0]);
    actions.invoke("memory.split", other, ops::memory::SPLIT, [1, slot, 0, 0, 0]);
    actions.create("create-region", POOL, Kind::Region, slot, [2, 0, 0]);
    actions.create("create-space", POOL, Kind::Space, slot, [ops::space::HOST, 0, 0]);
    actions.create("create-space", POOL, Kind::Space, slot, [ops::space::DMA, 0, 0]);
    actions.create("create-domain", POOL, Kind::ProtectionDomain, slot, [1, other, 0]);
    actions.create("create-thread", POOL, Kind::Thread, slot, [other, 0, 0]);
    actions.create("create-thread", POOL, Kind::Thread, slot, [root_slots::SELF, 1, 0]);
    actions.create("create-portal", POOL, Kind::Portal, slot, [other, 7, 1]);
    actions.create("create-notification", other, Kind::Notification, slot, [0; 3]);
    actions.create("create-vcpu", POOL, Kind::Vcpu, slot, [0; 3]);
}

fn required() -> Vec<(&'static str, Outcome)> {
    let errors = [
        ("memory.split", Error::NoMemory),
        ("memory.split", Error::BadState),
        ("memory.split", Error::Occupied),
        ("create-vcpu", Error::Unsupported),
        ("create-domain", Error::NoMemory),
        ("create-domain", Error::Occupied),
        ("create-domain", Error::BadType),
        ("region.attach", Error::BadState),
        ("region.attach", Error::Occupied),
        ("region.attach", Error::NoRight),
        ("region.slice", Error::BadState),
        ("destroy", Error::Dead),
    ];
    let done = [
        "memory.split", "memory.reclaim", "create-region", "create-space", "create-domain", "create-thread",
        "create-portal", "create-notification", "region.scrub", "region.attach", "region.detach", "region.slice", "space.fund",
        "destroy", "memory.info",
    ];
    let progress = [("memory.reclaim", Outcome::Progress), ("region.detach", Outcome::Progress), ("destroy", Outcome::Progress)];
    let errors = errors.into_iter().map(|(row, error)| (row, Outcome::error(error)));
    errors.chain(done.into_iter().map(|row| (row, Outcome::Done))).chain(progress).collect()
}
