//! Capabilities on their way: grants with every mask, messages that carry one, drops, destruction and creation anew at the same place.

use ecusson_abi::{Error, Kind, Rights, Syscall, ops, root_slots};

use super::{DOMAIN, start, with_second_domain};
use crate::action::{Actions, DEADLINES, transfer};
use crate::machine::{self, Machine};
use crate::report::Outcome;
use crate::universe::Universe;

const OTHER: u64 = 13;
const PORTAL: u64 = 17;
const POOL: u64 = 19;
const BELL: u64 = 20;
const SPARE: u64 = 21;

fn first() -> Machine {
    let machine = with_second_domain();
    machine::create_thread(&machine, OTHER, DOMAIN, 1, 20);
    machine::create(&machine, Kind::Portal, PORTAL, [OTHER, 7, ops::portal::ACTIVE]);
    machine::create(&machine, Kind::Notification, BELL, [0; 3]);
    let split = [ops::memory::SPLIT, 1, POOL, 0, 0, 0];
    machine::furnish(&machine, root_slots::MEMORY, split);
    // One place of the pool is left for a notification: what loses its last capability stays there for ever.
    for slot in [23, 24, 25] {
        machine::furnish(
            &machine,
            POOL,
            [ops::memory::CREATE, Kind::Notification as u64, slot, 0, 0, 0],
        );
    }
    start(&machine, OTHER);
    machine
}

/// The universe.
pub(crate) fn universe() -> Universe {
    let mut actions = Actions::on(&[0, 1]);
    let masks = [
        Rights::ALL,
        Rights(!Rights::GRANT.0),
        Rights::SIGNAL.with(Rights::GRANT),
    ];
    for (domain, target) in [(root_slots::SELF, SPARE), (DOMAIN, SPARE)] {
        for source in [BELL, SPARE] {
            for mask in masks {
                let arguments = [source, target, u64::from(mask.0), 0, 0];
                actions.invoke("domain.grant", domain, ops::protection_domain::GRANT, arguments);
            }
        }
    }
    for (domain, slot) in [(root_slots::SELF, SPARE), (DOMAIN, SPARE), (root_slots::SELF, BELL)] {
        actions.invoke("domain.drop", domain, ops::protection_domain::DROP, [slot, 0, 0, 0, 0]);
    }
    actions.invoke(
        "domain.grant",
        DOMAIN,
        ops::protection_domain::GRANT,
        [BELL, 99, 0xFF, 0, 0],
    );
    let sent = [(BELL as u16, Rights::ALL), (SPARE as u16, Rights::SIGNAL)];
    for send in sent {
        actions.call("call", Syscall::Call, PORTAL, transfer(Some(send), None), 0);
        actions.call(
            "reply-wait",
            Syscall::ReplyWait,
            DEADLINES[0],
            transfer(Some(send), Some(SPARE as u16)),
            0,
        );
    }
    actions.call("call", Syscall::Call, PORTAL, transfer(None, Some(SPARE as u16)), 0);
    actions.call("call", Syscall::Call, PORTAL, 0, 0);
    actions.call("reply-wait", Syscall::ReplyWait, DEADLINES[0], 0, 0);
    for slot in [BELL, SPARE] {
        actions.call("signal", Syscall::Signal, slot, 0, 1);
        actions.query("identify", slot, ops::IDENTIFY, 0);
        actions.destroy("notification.destroy", slot);
    }
    actions.create("create-notification", POOL, Kind::Notification, BELL, [0; 3]);
    actions.interrupts();
    Universe {
        name: "grants",
        start: first,
        actions: actions.list,
        required: required(),
        limit: 400_000,
        sabotage: None,
    }
}

fn required() -> Vec<(&'static str, Outcome)> {
    let errors = [
        ("domain.grant", Error::BadCap),
        ("domain.grant", Error::NoRight),
        ("domain.grant", Error::Dead),
        ("domain.grant", Error::Occupied),
        ("domain.drop", Error::BadCap),
        ("call", Error::NoRight),
        ("call", Error::BadCap),
        ("signal", Error::BadCap),
        ("signal", Error::Dead),
        ("identify", Error::Dead),
        ("notification.destroy", Error::NoRight),
        ("notification.destroy", Error::Dead),
        ("create-notification", Error::Occupied),
    ];
    let others = [
        ("domain.grant", Outcome::Done),
        ("domain.drop", Outcome::Done),
        ("call", Outcome::Done),
        ("call", Outcome::Capability),
        ("reply-wait", Outcome::Capability),
        ("create-notification", Outcome::Done),
        ("notification.destroy", Outcome::Done),
    ];
    super::required(&errors, &others)
}
