//! Looking up, granting, dropping and destroying: each error, and what a capability confers after its object died.
#![allow(missing_docs)]

mod common;

use common::{BELL, BEYOND, DONE, EMPTY, MEMORY, PLATFORM, ROOT, SELF, World, failed};
use ecusson_abi::{Error, Event, Kind, Rights, Syscall, ops};
use ecusson_core::notification::Notification;

const GRANT: u64 = ops::protection_domain::GRANT;
const DROP: u64 = ops::protection_domain::DROP;

#[test]
fn unknown_calls_and_operations() {
    let mut w = World::new();
    assert_eq!(w.system_call(0, 8, 0, 0, [0; 6]), Some(failed(Error::BadArg, 0)));
    assert_eq!(
        w.on(0, Syscall::VcpuRun, 0, 0, [0; 6]),
        Some(failed(Error::BadState, 0))
    );
    let context = w.context(0, 5);
    let portal = w.portal(ROOT, 0, 0);
    let region = w.region(1);
    for slot in [
        MEMORY,
        region,
        SELF,
        ROOT,
        context,
        portal,
        BELL,
        PLATFORM,
        common::SPACE,
    ] {
        w.refuses(slot, 0x77, &[], Error::BadArg, 0);
    }
}

#[test]
fn identify_and_absent_capabilities() {
    let mut w = World::new();
    assert_eq!(
        w.invoke(BELL, ops::IDENTIFY, &[]),
        Ok((Event::Done, Kind::Notification as u64 | 0xFF00))
    );
    let weak = w.with_rights(BELL, Rights::NONE);
    assert_eq!(
        w.invoke(weak, ops::IDENTIFY, &[]),
        Ok((Event::Done, Kind::Notification as u64))
    );
    w.refuses(EMPTY, ops::IDENTIFY, &[], Error::BadCap, 0);
    w.refuses(BEYOND, ops::IDENTIFY, &[], Error::BadCap, 0);
    let dead = w.dead(Kind::Notification, &[]);
    w.refuses(dead, ops::IDENTIFY, &[], Error::Dead, 0);
}

#[test]
fn grants() {
    let mut w = World::new();
    let target = w.slot();
    let weak = w.with_rights(BELL, Rights::SIGNAL);
    let dead = w.dead(Kind::Notification, &[]);
    w.refuses(SELF, GRANT, &[EMPTY, target, 0xFF], Error::BadCap, 1);
    w.refuses(SELF, GRANT, &[weak, target, 0xFF], Error::NoRight, 1);
    w.refuses(SELF, GRANT, &[dead, target, 0xFF], Error::Dead, 1);
    w.refuses(SELF, GRANT, &[BELL, BEYOND, 0xFF], Error::BadCap, 2);
    w.refuses(SELF, GRANT, &[BELL, weak, 0xFF], Error::Occupied, 2);
    let readable = w.with_rights(SELF, Rights::READ);
    w.refuses(readable, GRANT, &[BELL, target, 0xFF], Error::NoRight, 0);
    let less = w.with_rights(BELL, Rights::SIGNAL.with(Rights::GRANT));
    let copy = w.with_rights(less, Rights::ALL);
    let kept = Kind::Notification as u64 | u64::from(Rights::SIGNAL.with(Rights::GRANT).0) << 8;
    assert_eq!(
        w.invoke(copy, ops::IDENTIFY, &[]),
        Ok((Event::Done, kept)),
        "a mask adds nothing"
    );
}

#[test]
fn drops() {
    let mut w = World::new();
    let copy = w.with_rights(BELL, Rights::ALL);
    w.refuses(SELF, DROP, &[EMPTY], Error::BadCap, 1);
    w.refuses(SELF, DROP, &[BEYOND], Error::BadCap, 1);
    assert_eq!(w.invoke(SELF, DROP, &[copy]), DONE);
    w.refuses(copy, ops::IDENTIFY, &[], Error::BadCap, 0);
}

#[test]
fn destruction_kills_every_copy_and_reuse_revives_none() {
    let mut w = World::new();
    let original = w.create(Kind::Notification, &[]);
    let copy = w.with_rights(original, Rights::ALL);
    let weak = w.with_rights(original, Rights::SIGNAL);
    w.refuses(weak, ops::DESTROY, &[], Error::NoRight, 0);
    assert_eq!(w.invoke(original, ops::DESTROY, &[]), DONE);
    let successor = w.create(Kind::Notification, &[]);
    assert_eq!(
        w.object::<Notification>(successor),
        w.object::<Notification>(copy),
        "the room is used again"
    );
    for slot in [original, copy] {
        w.refuses(slot, ops::DESTROY, &[], Error::Dead, 0);
    }
    assert_eq!(
        w.on(0, Syscall::Signal, copy, 0, [1, 0, 0, 0, 0, 0]),
        Some(failed(Error::Dead, 0))
    );
}

#[test]
fn a_page_that_became_a_threads_passes_for_no_small_object() {
    let mut w = World::new();
    let pool = w.pool(2);
    let stale: Vec<u64> = (0..8).map(|_| w.slot()).collect();
    for &slot in &stale {
        let words = [Kind::Notification as u64, slot];
        assert_eq!(w.invoke(pool, ops::memory::CREATE, &words), DONE);
    }
    w.until_done(pool, ops::memory::RECLAIM, &[]);
    let thread = w.slot();
    let words = [Kind::Thread as u64, thread, SELF, 0, 0];
    assert_eq!(w.invoke(pool, ops::memory::CREATE, &words), DONE);
    let page = w.thread(thread).frame();
    let target = w.slot();
    for slot in stale {
        assert_eq!(w.object::<Notification>(slot).frame(), page, "the page is used again");
        // What lies there now are the thread's registers: nothing of them is an epoch.
        w.refuses(slot, ops::IDENTIFY, &[], Error::Dead, 0);
        w.refuses(slot, ops::DESTROY, &[], Error::Dead, 0);
        w.refuses(slot, 1, &[], Error::Dead, 0);
        w.refuses(SELF, GRANT, &[slot, target, 0xFF], Error::Dead, 1);
        assert_eq!(w.on(0, Syscall::Signal, slot, 0, [1; 6]), Some(failed(Error::Dead, 0)));
    }
}

#[test]
fn kinds_that_are_not_destroyed_by_name() {
    let w = World::new();
    w.refuses(MEMORY, ops::DESTROY, &[], Error::BadArg, 0);
    w.refuses(PLATFORM, ops::DESTROY, &[], Error::BadArg, 0);
}

#[test]
fn portals() {
    let mut w = World::new();
    let portal = w.portal(ROOT, 7, 0);
    assert_eq!(w.invoke(portal, ops::portal::LABEL, &[9]), Ok((Event::Done, 7)));
    assert_eq!(w.invoke(portal, ops::portal::LABEL, &[1]), Ok((Event::Done, 9)));
    let weak = w.with_rights(portal, Rights::CALL);
    w.refuses(weak, ops::portal::LABEL, &[9], Error::NoRight, 0);
}
