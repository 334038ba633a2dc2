//! Memory: splitting, creating every kind, reclaiming, and each error.
#![allow(missing_docs)]

mod common;

use common::{BELL, BEYOND, DONE, MEMORY, ROOT, SELF, SPACE, World};
use ecusson_abi::{Error, Event, Kind, Rights, ops};

const SPLIT: u64 = ops::memory::SPLIT;
const CREATE: u64 = ops::memory::CREATE;
const RECLAIM: u64 = ops::memory::RECLAIM;

#[test]
fn splits() {
    let mut w = World::new();
    let slot = w.slot();
    w.refuses(MEMORY, SPLIT, &[0, slot], Error::BadArg, 1);
    w.refuses(MEMORY, SPLIT, &[u64::MAX, slot], Error::BadArg, 1);
    w.refuses(MEMORY, SPLIT, &[1, BELL], Error::Occupied, 2);
    w.refuses(MEMORY, SPLIT, &[1, BEYOND], Error::BadCap, 2);
    let weak = w.with_rights(MEMORY, Rights::READ.with(Rights::GRANT));
    w.refuses(weak, SPLIT, &[1, slot], Error::NoRight, 0);
    let pool = w.pool(4);
    assert_eq!(w.invoke(pool, ops::memory::INFO, &[]), Ok((Event::Done, 4)));
    // One page is kept for the object itself.
    w.refuses(pool, SPLIT, &[4, slot], Error::NoMemory, 1);
    assert_eq!(w.invoke(pool, SPLIT, &[3, slot]), DONE);
    let nobody = w.with_rights(pool, Rights::MANAGE);
    w.refuses(nobody, ops::memory::INFO, &[], Error::NoRight, 0);
}

#[test]
fn creations_without_room() {
    let mut w = World::new();
    let slot = w.slot();
    let empty = w.pool(1);
    assert_eq!(
        w.invoke(empty, CREATE, &[Kind::Notification as u64, slot]),
        DONE,
        "small objects share a page"
    );
    let slot = w.slot();
    let space = w.create(Kind::Space, &[ops::space::HOST]);
    w.refuses(empty, CREATE, &[Kind::Region as u64, slot, 1, 0], Error::NoMemory, 1);
    w.refuses(
        empty,
        CREATE,
        &[Kind::Space as u64, slot, ops::space::HOST],
        Error::NoMemory,
        1,
    );
    w.refuses(
        empty,
        CREATE,
        &[Kind::Thread as u64, slot, SELF, 0, 0],
        Error::NoMemory,
        1,
    );
    w.refuses(
        empty,
        CREATE,
        &[Kind::ProtectionDomain as u64, slot, 1, space],
        Error::NoMemory,
        2,
    );
    for _ in 0..7 {
        let slot = w.slot();
        assert_eq!(w.invoke(empty, CREATE, &[Kind::SchedContext as u64, slot]), DONE);
    }
    for words in [
        [Kind::SchedContext as u64, slot, 0],
        [Kind::Notification as u64, slot, 0],
        [Kind::Portal as u64, slot, ROOT],
    ] {
        w.refuses(empty, CREATE, &words, Error::NoMemory, 1);
    }
}

#[test]
fn creations_with_bad_arguments() {
    let mut w = World::new();
    let slot = w.slot();
    for kind in [
        0,
        13,
        Kind::Memory as u64,
        Kind::Interrupt as u64,
        Kind::Ports as u64,
        Kind::Platform as u64,
    ] {
        w.refuses(MEMORY, CREATE, &[kind, slot], Error::BadArg, 1);
    }
    w.refuses(MEMORY, CREATE, &[Kind::Vcpu as u64, slot], Error::Unsupported, 1);
    w.refuses(MEMORY, CREATE, &[Kind::Notification as u64, BELL], Error::Occupied, 2);
    w.refuses(MEMORY, CREATE, &[Kind::Notification as u64, BEYOND], Error::BadCap, 2);
    w.refuses(MEMORY, CREATE, &[Kind::Region as u64, slot, 0, 0], Error::BadArg, 3);
    w.refuses(MEMORY, CREATE, &[Kind::Region as u64, slot, 1, 19], Error::BadArg, 4);
    w.refuses(
        MEMORY,
        CREATE,
        &[Kind::Space as u64, slot, ops::space::GUEST],
        Error::Unsupported,
        3,
    );
    w.refuses(MEMORY, CREATE, &[Kind::Space as u64, slot, 3], Error::BadArg, 3);
}

#[test]
fn creations_of_processes_with_bad_arguments() {
    let mut w = World::new();
    let slot = w.slot();
    w.refuses(
        MEMORY,
        CREATE,
        &[Kind::ProtectionDomain as u64, slot, 0, SPACE],
        Error::BadArg,
        3,
    );
    w.refuses(
        MEMORY,
        CREATE,
        &[Kind::ProtectionDomain as u64, slot, 256, SPACE],
        Error::BadArg,
        3,
    );
    w.refuses(
        MEMORY,
        CREATE,
        &[Kind::ProtectionDomain as u64, slot, 1, SPACE],
        Error::Occupied,
        4,
    );
    let device = w.create(Kind::Space, &[ops::space::DMA]);
    w.refuses(
        MEMORY,
        CREATE,
        &[Kind::ProtectionDomain as u64, slot, 1, device],
        Error::BadType,
        4,
    );
    w.refuses(
        MEMORY,
        CREATE,
        &[Kind::Thread as u64, slot, SELF, 2, 0],
        Error::BadArg,
        4,
    );
    w.refuses(
        MEMORY,
        CREATE,
        &[Kind::Thread as u64, slot, SELF, 0, 2],
        Error::BadArg,
        5,
    );
    w.refuses(
        MEMORY,
        CREATE,
        &[Kind::Portal as u64, slot, ROOT, 0, 2],
        Error::BadArg,
        5,
    );
    let weak = w.with_rights(MEMORY, Rights::READ);
    w.refuses(weak, CREATE, &[Kind::Notification as u64, slot], Error::NoRight, 0);
}

#[test]
fn creations_with_bad_capabilities() {
    let mut w = World::new();
    let slot = w.slot();
    let dead_space = w.dead(Kind::Space, &[ops::space::HOST]);
    let domain = |space| vec![Kind::ProtectionDomain as u64, slot, 1, space];
    let space = w.create(Kind::Space, &[ops::space::HOST]);
    w.refuses_bad_capabilities(MEMORY, CREATE, domain, 4, space, dead_space);
    let dead_domain = w.dead(Kind::ProtectionDomain, &[1, space]);
    let thread = |domain| vec![Kind::Thread as u64, slot, domain, 0, 0];
    w.refuses_bad_capabilities(MEMORY, CREATE, thread, 3, SELF, dead_domain);
    let dead_thread = w.dead(Kind::Thread, &[SELF, 0, 0]);
    let portal = |server| vec![Kind::Portal as u64, slot, server, 0, 0];
    w.refuses_bad_capabilities(MEMORY, CREATE, portal, 3, ROOT, dead_thread);
}

#[test]
fn what_was_given_comes_back() {
    let mut w = World::new();
    w.refuses(MEMORY, RECLAIM, &[], Error::BadState, 0);
    let pool = w.pool(16);
    let weak = w.with_rights(pool, Rights::READ);
    w.refuses(weak, RECLAIM, &[], Error::NoRight, 0);
    let slots: Vec<u64> = (0..6).map(|_| w.slot()).collect();
    let create = |words: &[u64]| assert_eq!(w.invoke(pool, CREATE, words), DONE);
    create(&[Kind::Space as u64, slots[0], ops::space::HOST]);
    create(&[Kind::ProtectionDomain as u64, slots[1], 1, slots[0]]);
    create(&[Kind::Thread as u64, slots[2], slots[1], 1, 0]);
    create(&[Kind::Region as u64, slots[3], 2, 0]);
    create(&[Kind::Portal as u64, slots[4], slots[2], 0, 0]);
    assert_eq!(w.invoke(pool, SPLIT, &[3, slots[5]]), DONE);
    w.until_done(pool, RECLAIM, &[]);
    assert_eq!(w.invoke(pool, ops::memory::INFO, &[]), Ok((Event::Done, 16)));
    for slot in slots {
        w.refuses(slot, ops::IDENTIFY, &[], Error::Dead, 0);
    }
}

#[test]
fn a_memory_being_reclaimed_gives_nothing() {
    let mut w = World::new();
    let pool = w.pool(4);
    let (region, slot) = (w.slot(), w.slot());
    assert_eq!(w.invoke(pool, CREATE, &[Kind::Region as u64, region, 2, 0]), DONE);
    assert!(matches!(w.invoke(pool, RECLAIM, &[]), Ok((Event::Progress, _))));
    w.refuses(pool, SPLIT, &[1, slot], Error::BadState, 0);
    w.refuses(pool, CREATE, &[Kind::Notification as u64, slot], Error::BadState, 0);
    w.refuses(SPACE, ops::space::FUND, &[pool, 1], Error::BadState, 0);
    w.until_done(pool, RECLAIM, &[]);
}

#[test]
fn objects_of_a_memory_at_an_odd_place_live() {
    let mut w = World::new();
    let pools = [w.pool(2), w.pool(2)];
    for pool in pools {
        let slot = w.slot();
        assert_eq!(w.invoke(pool, CREATE, &[Kind::Notification as u64, slot]), DONE);
        assert!(w.invoke(slot, ops::IDENTIFY, &[]).is_ok());
    }
}
