//! Regions and spaces: slices, attachments, page tables, and each error.
#![allow(missing_docs)]

mod common;

use common::{BELL, BEYOND, DONE, EMPTY, MEMORY, SPACE, World};
use ecusson_abi::{Error, Event, Kind, MAX_SLICE_DEPTH, Rights, ops};
use ecusson_core::space::Space;

const SLICE: u64 = ops::region::SLICE;
const ATTACH: u64 = ops::region::ATTACH;
const DETACH: u64 = ops::region::DETACH;
/// Read and write.
const RW: u64 = 3;

#[test]
fn slices() {
    let mut w = World::new();
    let region = w.region(4);
    let slot = w.slot();
    w.refuses(region, SLICE, &[4, 1, 3, MEMORY, slot], Error::BadArg, 1);
    w.refuses(region, SLICE, &[0, 0, 3, MEMORY, slot], Error::BadArg, 2);
    w.refuses(region, SLICE, &[1, 4, 3, MEMORY, slot], Error::BadArg, 2);
    w.refuses(region, SLICE, &[0, 1, 3, MEMORY, BELL], Error::Occupied, 5);
    w.refuses(region, SLICE, &[0, 1, 3, MEMORY, BEYOND], Error::BadCap, 5);
    w.refuses(region, SLICE, &[0, 1, 3, EMPTY, slot], Error::BadCap, 4);
    w.refuses(region, SLICE, &[0, 1, 3, BELL, slot], Error::BadType, 4);
    let weak_memory = w.with_rights(MEMORY, Rights::READ);
    w.refuses(region, SLICE, &[0, 1, 3, weak_memory, slot], Error::NoRight, 4);
    let weak = w.with_rights(region, Rights::READ);
    w.refuses(weak, SLICE, &[0, 1, 3, MEMORY, slot], Error::NoRight, 0);
    let raw = w.create(Kind::Region, &[1, 0]);
    w.refuses(raw, SLICE, &[0, 1, 3, MEMORY, slot], Error::BadState, 0);
    let full = w.pool(1);
    for _ in 0..8 {
        let slot = w.slot();
        assert_eq!(
            w.invoke(full, ops::memory::CREATE, &[Kind::Notification as u64, slot]),
            DONE
        );
    }
    w.refuses(region, SLICE, &[0, 1, 3, full, slot], Error::NoMemory, 1);
}

#[test]
fn slices_end_with_their_parent_and_are_bounded_in_depth() {
    let mut w = World::new();
    let root = w.region(2);
    let mut parent = root;
    for _ in 0..MAX_SLICE_DEPTH {
        let child = w.slot();
        assert_eq!(w.invoke(parent, SLICE, &[0, 1, RW, MEMORY, child]), DONE);
        parent = child;
    }
    let slot = w.slot();
    w.refuses(parent, SLICE, &[0, 1, RW, MEMORY, slot], Error::TooDeep, 0);
    assert_eq!(w.invoke(parent, ATTACH, &[SPACE, 40, RW]), DONE);
    w.until_done(root, ops::DESTROY, &[]);
    w.refuses(parent, ops::IDENTIFY, &[], Error::Dead, 0);
    assert_eq!(w.kernel.translate(w.object::<Space>(SPACE), 40), None);
}

#[test]
fn slices_have_no_more_rights() {
    let mut w = World::new();
    let region = w.region(2);
    let slot = w.slot();
    assert_eq!(w.invoke(region, SLICE, &[0, 2, 1, MEMORY, slot]), DONE);
    w.refuses(slot, ATTACH, &[SPACE, 40, RW], Error::NoRight, 3);
    assert_eq!(w.invoke(slot, ATTACH, &[SPACE, 40, 1]), DONE);
}

#[test]
fn attachments() {
    let mut w = World::new();
    let region = w.region(2);
    let dead = w.dead(Kind::Space, &[ops::space::HOST]);
    w.refuses_bad_capabilities(region, ATTACH, |space| vec![space, 40, RW], 1, SPACE, dead);
    for rights in [0, 2, 7, 9] {
        w.refuses(region, ATTACH, &[SPACE, 40, rights], Error::BadArg, 3);
    }
    w.refuses(region, ATTACH, &[SPACE, 255, RW], Error::BadArg, 2);
    w.refuses(region, ATTACH, &[SPACE, u64::MAX, RW], Error::BadArg, 2);
    let weak = w.with_rights(region, Rights::READ);
    w.refuses(weak, ATTACH, &[SPACE, 40, RW], Error::NoRight, 3);
    let raw = w.create(Kind::Region, &[1, 0]);
    w.refuses(raw, ATTACH, &[SPACE, 40, RW], Error::BadState, 0);
    w.refuses(region, ATTACH, &[SPACE, 16, RW], Error::Occupied, 2);
    assert_eq!(w.invoke(region, ATTACH, &[SPACE, 40, RW]), DONE);
    let first = w.first_page(region);
    assert_eq!(w.kernel.translate(w.object::<Space>(SPACE), 41), Some((first + 1, 3)));
    w.refuses(region, ATTACH, &[SPACE, 48, RW], Error::Occupied, 0);
    w.until_done(region, DETACH, &[]);
    assert_eq!(w.kernel.translate(w.object::<Space>(SPACE), 40), None);
    assert_eq!(w.invoke(region, DETACH, &[]), DONE, "detaching again is no error");
}

#[test]
fn tables_are_funded() {
    let mut w = World::new();
    let region = w.region(1);
    let space = w.create(Kind::Space, &[ops::space::HOST]);
    w.refuses(region, ATTACH, &[space, 0, 1], Error::NoMemory, 2);
    let other = w.pool(2);
    let dead = w.dead_pool();
    w.refuses_bad_capabilities(space, ops::space::FUND, |memory| vec![memory, 1], 1, MEMORY, dead);
    w.refuses(space, ops::space::FUND, &[MEMORY, 0], Error::BadArg, 2);
    w.refuses(space, ops::space::FUND, &[MEMORY, 65], Error::BadArg, 2);
    w.refuses(space, ops::space::FUND, &[other, 1], Error::BadState, 1);
    let weak = w.with_rights(space, Rights::READ);
    w.refuses(weak, ops::space::FUND, &[MEMORY, 1], Error::NoRight, 0);
    assert_eq!(w.invoke(space, ops::space::FUND, &[MEMORY, 2]), Ok((Event::Done, 2)));
    assert_eq!(w.invoke(region, ATTACH, &[space, 0, 1]), DONE);
    assert_eq!(w.invoke(space, ops::space::INFO, &[]), Ok((Event::Done, 0)));
    assert!(matches!(
        w.invoke(space, ops::space::FUND, &[MEMORY, 64]),
        Err((Error::NoMemory, _))
    ));
    let blind = w.with_rights(space, Rights::MANAGE);
    w.refuses(blind, ops::space::INFO, &[], Error::NoRight, 0);
    w.refuses(blind, ops::space::INTERCEPT, &[1, BELL, 1], Error::BadState, 0);
    let sighted = w.with_rights(space, Rights::READ);
    w.refuses(sighted, ops::space::INTERCEPT, &[1, BELL, 1], Error::NoRight, 0);
    w.refuses(space, ops::space::BIND_DEVICE, &[], Error::Unsupported, 0);
}

#[test]
fn devices_see_bus_addresses() {
    let mut w = World::new();
    let region = w.region(1);
    let device = w.create(Kind::Space, &[ops::space::DMA]);
    let first = w.first_page(region);
    assert_eq!(
        w.invoke(region, ATTACH, &[device, 0, RW]),
        Ok((Event::Done, first * 4096))
    );
    w.refuses(region, ATTACH, &[device, 0, RW], Error::Occupied, 0);
    w.until_done(region, DETACH, &[]);
}

#[test]
fn rights_of_the_other_operations() {
    let mut w = World::new();
    let region = w.region(1);
    let weak = w.with_rights(region, Rights::WRITE);
    for operation in [DETACH, ops::region::SCRUB, ops::region::INFO] {
        w.refuses(weak, operation, &[], Error::NoRight, 0);
    }
    for operation in [ops::region::DIRTY, ops::region::MARK_DIRTY] {
        w.refuses(region, operation, &[], Error::Unsupported, 0);
    }
    assert_eq!(w.invoke(region, ops::region::INFO, &[]), Ok((Event::Done, 1)));
}
