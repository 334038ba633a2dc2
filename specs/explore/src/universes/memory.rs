//! Memory that becomes any object and comes back: split, create, slice, attach, detach, destroy, reclaim, with a second core that
//! has the space loaded and is late with its flushes.

use ecusson_abi::{Error, Kind, Syscall, ops, root_slots};

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
const READ: u64 = 1;

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
    creations(&mut actions);
    for slot in SLOTS {
        actions.destroy("destroy", slot);
        actions.invoke("region.detach", slot, ops::region::DETACH, [0; 5]);
    }
    let [one, two, three] = SLOTS;
    actions.invoke("region.scrub", one, ops::region::SCRUB, [0; 5]);
    actions.invoke("region.scrub", two, ops::region::SCRUB, [0; 5]);
    actions.invoke(
        "region.attach",
        one,
        ops::region::ATTACH,
        [root_slots::SPACE, 0, READ_WRITE, 0, 0],
    );
    actions.invoke(
        "region.attach",
        two,
        ops::region::ATTACH,
        [root_slots::SPACE, 1, READ, 0, 0],
    );
    actions.invoke(
        "region.attach",
        two,
        ops::region::ATTACH,
        [root_slots::SPACE, 0, READ_WRITE, 0, 0],
    );
    actions.invoke("region.attach", two, ops::region::ATTACH, [one, 0, READ, 0, 0]);
    actions.invoke(
        "region.attach",
        three,
        ops::region::ATTACH,
        [root_slots::SPACE, 2, READ_WRITE, 0, 0],
    );
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
    Universe {
        name: "memory",
        start: first,
        actions: actions.list,
        required: required(),
        limit: 300_000,
        sabotage: None,
    }
}

/// Every kind of object, in places where it can meet the others: a slice of a slice, a Memory in a Memory, a thread of a new process.
fn creations(actions: &mut Actions) {
    let [one, two, three] = SLOTS;
    actions.invoke("memory.split", POOL, ops::memory::SPLIT, [2, one, 0, 0, 0]);
    actions.invoke("memory.split", one, ops::memory::SPLIT, [1, two, 0, 0, 0]);
    actions.invoke("memory.split", POOL, ops::memory::SPLIT, [POOL_PAGES, two, 0, 0, 0]);
    actions.create("create-region", POOL, Kind::Region, one, [2, 0, 0]);
    actions.create("create-region", one, Kind::Region, two, [1, 0, 0]);
    actions.create("create-space", POOL, Kind::Space, one, [ops::space::HOST, 0, 0]);
    actions.create("create-space", POOL, Kind::Space, one, [ops::space::DMA, 0, 0]);
    actions.create("create-domain", POOL, Kind::ProtectionDomain, two, [1, one, 0]);
    actions.create("create-thread", POOL, Kind::Thread, one, [root_slots::SELF, 1, 0]);
    actions.create("create-thread", POOL, Kind::Thread, three, [two, 0, 0]);
    actions.create("create-context", POOL, Kind::SchedContext, three, [0; 3]);
    actions.create("create-portal", POOL, Kind::Portal, two, [one, 7, 1]);
    actions.create("create-notification", one, Kind::Notification, two, [0; 3]);
    actions.create("create-vcpu", POOL, Kind::Vcpu, one, [0; 3]);
    actions.invoke("region.slice", one, ops::region::SLICE, [0, 1, 0xFF, POOL, two]);
    actions.invoke("region.slice", two, ops::region::SLICE, [0, 1, 0xFD, POOL, three]);
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
        "memory.split",
        "memory.reclaim",
        "create-region",
        "create-space",
        "create-domain",
        "create-thread",
        "create-context",
        "create-portal",
        "create-notification",
        "region.scrub",
        "region.attach",
        "region.detach",
        "region.slice",
        "space.fund",
        "destroy",
        "memory.info",
    ];
    let progress = [
        ("memory.reclaim", Outcome::Progress),
        ("region.detach", Outcome::Progress),
        ("destroy", Outcome::Progress),
    ];
    let mut required = super::required(&errors, &progress);
    required.extend(done.map(|row| (row, Outcome::Done)));
    required
}
