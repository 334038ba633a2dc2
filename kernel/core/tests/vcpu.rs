//! vCPUs: creation, `VcpuRun` in each of its endings, doorbells, destruction; the machine's part is played by the test.
#![allow(missing_docs)]

mod common;

use common::{BELL, BEYOND, DONE, EMPTY, MEMORY, ROOT, SPACE, World};
use ecusson_abi::vcpu::{exit, run};
use ecusson_abi::{Error, Event, Kind, NO_DEADLINE, Rights, Syscall, ops};
use ecusson_core::thread::{State, Thread, flag};
use ecusson_core::vcpu::{GuestExit, Vcpu};
use ecusson_core::{Ref, Store};

const BIND: u64 = ops::vcpu::BIND;
const CREATE: u64 = ops::memory::CREATE;
const INTERCEPT: u64 = ops::space::INTERCEPT;
const VCPU: u64 = Kind::Vcpu as u64;

/// A world with guests, a guest space, a state page and a vCPU that root runs.
struct Guests {
    w: World,
    space: u64,
    page: u64,
    vcpu: u64,
    root: Ref<Thread>,
}

impl Guests {
    fn new() -> Self {
        let mut w = World::new();
        w.kernel.guest_pages.set(1);
        let space = w.create(Kind::Space, &[ops::space::GUEST]);
        assert_eq!(w.invoke(space, ops::space::FUND, &[MEMORY, 3]), Ok((Event::Done, 3)));
        let page = w.region(1);
        let vcpu = w.create(Kind::Vcpu, &[space, page]);
        assert_eq!(w.invoke(vcpu, BIND, &[0]), DONE);
        let root = w.thread(ROOT);
        Self {
            w,
            space,
            page,
            vcpu,
            root,
        }
    }

    fn run(&self, deadline: u64, flags: u64) -> Option<common::Answer> {
        let answer = self
            .w
            .system_call(0, Syscall::VcpuRun as u64, deadline, 0, [flags, 0, 0, 0, 0, 0]);
        self.enter();
        answer.or_else(|| self.w.answer_of(self.root))
    }

    /// What the machine layer does when a thread with a guest is to go on.
    fn enter(&self) {
        let core = self.w.kernel.core(0);
        let inside = core.current.get().filter(|&name| self.thread(name).has(flag::GUEST));
        let entry = inside.and_then(|name| self.w.kernel.guest_entry(name));
        if let Some(entry) = entry {
            self.w.kernel.store.vcpu(entry.vcpu).load.set(false);
        }
        core.guest.set(entry.map(|entry| entry.vcpu));
        self.thread(self.root).clear_flag(flag::LEFT_GUEST);
        assert_eq!(self.w.kernel.check(), Ok(()));
    }

    fn thread(&self, name: Ref<Thread>) -> &Thread {
        self.w.kernel.store.thread(name)
    }

    /// The guest leaves; whether its instruction is done, and what `VcpuRun` answered.
    fn leaves(&self, reason: GuestExit) -> (bool, Option<common::Answer>) {
        self.w.kernel.enter(0, self.w.kernel.now.get() + 7);
        let done = self.w.kernel.guest_exit(reason);
        self.w.kernel.schedule();
        self.enter();
        (done, self.w.answer_of(self.root))
    }

    fn state(&self) -> State {
        self.thread(self.root).state()
    }
}

#[test]
fn creation_and_its_errors() {
    let mut w = World::new();
    let slot = w.slot();
    w.refuses(
        MEMORY,
        CREATE,
        &[Kind::Space as u64, slot, ops::space::GUEST],
        Error::Unsupported,
        3,
    );
    w.refuses(MEMORY, CREATE, &[VCPU, slot, SPACE, EMPTY], Error::Unsupported, 1);
    w.kernel.guest_pages.set(1);
    let space = w.create(Kind::Space, &[ops::space::GUEST]);
    let page = w.region(1);
    w.refuses(MEMORY, CREATE, &[VCPU, slot, EMPTY, page], Error::BadCap, 3);
    w.refuses(MEMORY, CREATE, &[VCPU, slot, SPACE, page], Error::BadType, 3);
    w.refuses(MEMORY, CREATE, &[VCPU, slot, space, BELL], Error::BadType, 4);
    let weak = w.with_rights(page, Rights::READ);
    w.refuses(MEMORY, CREATE, &[VCPU, slot, space, weak], Error::NoRight, 4);
    let raw = w.create(Kind::Region, &[1, 0]);
    w.refuses(MEMORY, CREATE, &[VCPU, slot, space, raw], Error::BadState, 4);
    let small = w.pool(1);
    w.refuses(small, CREATE, &[VCPU, slot, space, page], Error::NoMemory, 2);
    let vcpu = w.create(Kind::Vcpu, &[space, page]);
    w.refuses(vcpu, BIND, &[BEYOND], Error::BadCap, 1);
    w.refuses(vcpu, 9, &[], Error::BadArg, 0);
    assert_eq!(w.invoke(vcpu, BIND, &[ROOT]), DONE);
    w.refuses(vcpu, BIND, &[ROOT], Error::Occupied, 0);
    let other = w.create(Kind::Vcpu, &[space, page]);
    w.refuses(other, BIND, &[ROOT], Error::Occupied, 1);
    let none = w.with_rights(vcpu, Rights::NONE);
    w.refuses(none, BIND, &[ROOT], Error::NoRight, 0);
    w.refuses(none, ops::vcpu::KICK, &[], Error::NoRight, 0);
}

#[test]
fn a_thread_without_a_vcpu_runs_none() {
    let w = World::new();
    let answer = w.system_call(0, Syscall::VcpuRun as u64, NO_DEADLINE, 0, [0; 6]);
    assert_eq!(answer, Some(Err((Error::BadState, 0))));
}

#[test]
fn each_ending_of_a_run() {
    let g = Guests::new();
    assert_eq!(g.run(NO_DEADLINE, 0), None);
    assert_eq!(
        g.leaves(GuestExit::Report(exit::CPUID)),
        (false, Some(Ok((Event::Exit, exit::CPUID))))
    );
    assert_eq!(
        g.run(0, 0),
        Some(Ok((Event::Deadline, 0))),
        "a deadline that has passed"
    );
    assert_eq!(g.w.invoke(g.vcpu, ops::vcpu::KICK, &[]), DONE);
    assert_eq!(
        g.run(NO_DEADLINE, 0),
        Some(Ok((Event::Exit, exit::KICK))),
        "a kick waits for the next run"
    );
    assert_eq!(
        g.w.system_call(0, Syscall::Signal as u64, BELL, 0, [5, 0, 0, 0, 0, 0]),
        Some(DONE)
    );
    assert_eq!(
        g.run(NO_DEADLINE, 0),
        Some(Ok((Event::Signal, 5))),
        "signals come first"
    );
    assert_eq!(g.run(500, 0), None);
    g.w.kernel.enter(0, 501);
    g.w.kernel.timer();
    g.w.kernel.schedule();
    g.enter();
    assert_eq!(
        g.w.answer_of(g.root),
        Some(Ok((Event::Deadline, 0))),
        "the deadline ends the guest's turn"
    );
}

#[test]
fn a_halted_guest_waits() {
    let g = Guests::new();
    assert_eq!(g.run(900, 0), None);
    assert_eq!(g.leaves(GuestExit::Halt), (true, None));
    assert_eq!(g.state(), State::WaitingSignal);
    g.w.kernel.enter(0, 901);
    g.w.kernel.timer();
    g.w.kernel.schedule();
    g.enter();
    assert_eq!(g.w.answer_of(g.root), Some(Ok((Event::Deadline, 0))));
    assert_eq!(g.run(NO_DEADLINE, run::WINDOW), None);
    assert_eq!(
        g.leaves(GuestExit::Halt),
        (true, Some(Ok((Event::Exit, exit::HALT)))),
        "with a window asked for"
    );
    assert_eq!(g.run(2_000, run::HALTED), None);
    assert_eq!(g.state(), State::WaitingSignal, "halted as it was");
}

#[test]
fn a_flush_is_owed_until_the_guest_is_entered() {
    let g = Guests::new();
    let vcpu = g.w.object::<Vcpu>(g.vcpu);
    let owes = || g.w.kernel.store.vcpu(vcpu).flush.get();
    assert_eq!(g.run(0, run::WINDOW), Some(Ok((Event::Deadline, 0))));
    assert!(!owes(), "nobody asked for one");
    assert_eq!(g.run(0, run::FLUSH), Some(Ok((Event::Deadline, 0))));
    assert!(owes(), "it was not entered");
    assert_eq!(g.run(NO_DEADLINE, 0), None);
    assert!(owes(), "the machine layer takes it");
}

#[test]
fn doorbells_signal_and_do_not_end_the_run() {
    let mut g = Guests::new();
    let (space, other) = (g.space, g.w.create(Kind::Notification, &[]));
    g.w.refuses(SPACE, INTERCEPT, &[1, BELL, 1], Error::BadState, 0);
    g.w.refuses(space, INTERCEPT, &[0x1_0000, BELL, 1], Error::BadArg, 1);
    g.w.refuses(space, INTERCEPT, &[1, SPACE, 1], Error::BadType, 2);
    g.w.refuses(space, INTERCEPT, &[1, BELL, 64], Error::BadArg, 3);
    assert_eq!(g.w.invoke(space, INTERCEPT, &[0x500, other, 3]), DONE);
    assert_eq!(g.w.invoke(space, INTERCEPT, &[0x502, BELL, 7]), DONE);
    // Eight words a table on this machine: two doorbells.
    g.w.refuses(space, INTERCEPT, &[0x504, BELL, 1], Error::Busy, 0);
    assert_eq!(g.run(NO_DEADLINE, 0), None);
    assert_eq!(g.leaves(GuestExit::PortWrite(0x500)), (true, None), "for somebody else");
    let io = Some(Ok((Event::Exit, exit::IO)));
    assert_eq!(g.leaves(GuestExit::PortWrite(0x501)), (false, io), "no doorbell");
    assert_eq!(g.run(NO_DEADLINE, 0), None);
    assert_eq!(
        g.leaves(GuestExit::PortWrite(0x502)),
        (true, Some(Ok((Event::Signal, 1 << 7)))),
        "for its own VMM"
    );
    assert_eq!(g.w.invoke(other, ops::DESTROY, &[]), DONE);
    assert_eq!(g.run(NO_DEADLINE, 0), None);
    assert_eq!(
        g.leaves(GuestExit::PortWrite(0x500)),
        (false, io),
        "its notification is gone"
    );
    let poor = g.w.create(Kind::Space, &[ops::space::GUEST]);
    g.w.refuses(poor, INTERCEPT, &[1, BELL, 1], Error::NoMemory, 1);
}

#[test]
fn what_a_run_needs_can_end() {
    let g = Guests::new();
    assert_eq!(g.w.invoke(g.page, ops::DESTROY, &[]), DONE);
    assert_eq!(g.run(NO_DEADLINE, 0), Some(Err((Error::Dead, 0))), "the state page");
    let g = Guests::new();
    g.w.until_done(g.space, ops::DESTROY, &[]);
    assert_eq!(g.run(NO_DEADLINE, 0), Some(Err((Error::Dead, 0))), "the space");
    g.w.until_done(g.vcpu, ops::DESTROY, &[]);
    assert_eq!(g.run(NO_DEADLINE, 0), Some(Err((Error::BadState, 0))), "the vCPU");
}

#[test]
fn a_vcpu_is_pinned_while_a_core_has_it_loaded() {
    let mut g = Guests::new();
    let before = g.w.invoke(MEMORY, ops::memory::INFO, &[]);
    let spare = g.w.create(Kind::Vcpu, &[g.space, g.page]);
    g.w.kernel.core(1).guest.set(Some(g.w.object::<Vcpu>(spare)));
    assert_eq!(g.w.invoke(spare, ops::DESTROY, &[]), Ok((Event::Progress, 0)));
    assert_eq!(g.w.invoke(spare, ops::DESTROY, &[]), Ok((Event::Progress, 0)));
    g.w.kernel.core(1).guest.set(None);
    g.w.until_done(spare, ops::DESTROY, &[]);
    assert_eq!(
        g.w.invoke(MEMORY, ops::memory::INFO, &[]),
        before,
        "its pages come back"
    );
}

#[test]
fn guest_memory_may_be_writable_code_in_large_pages() {
    let mut g = Guests::new();
    let region = g.w.region(2);
    assert_eq!(g.w.invoke(region, ops::region::ATTACH, &[g.space, 16, 7]), DONE);
    let first = g.w.kernel.store.region(g.w.object(region)).first.get();
    assert_eq!(g.w.kernel.translate(g.w.object(g.space), 16), Some((first, 7)));
}
