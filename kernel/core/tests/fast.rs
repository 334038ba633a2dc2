//! The fast paths that the explorer does not reach: device interrupts. And the promise that every path keeps: the timer of a core
//! never fires later than it must.

mod common;

use std::cell::Cell;

use common::{DONE, MEMORY, PLATFORM, World};
use ecusson_abi::{FAIR_PRIORITY, Kind, NO_DEADLINE, Syscall, Words, ops, root_slots};
use ecusson_core::host::HostStore;
use ecusson_core::interrupt::Interrupt;
use ecusson_core::thread::{Fault, State, flag};
use ecusson_core::{Kernel, Store};
use proptest::prelude::*;

/// A thread of core 0 above root with a bound notification, an interrupt that signals it, and a thread below.
struct Scene {
    world: World,
    handler: u64,
    context: u64,
    vector: u8,
}

impl Scene {
    fn new(handler_priority: u64) -> Self {
        let mut w = World::new();
        let handler = w.bare_thread(0);
        let context = w.context(0, handler_priority);
        assert_eq!(w.invoke(context, ops::sched_context::BIND, &[handler]), DONE);
        let bell = w.create(Kind::Notification, &[]);
        assert_eq!(w.invoke(handler, ops::thread::BIND, &[bell]), DONE);
        let interrupt = w.slot();
        assert_eq!(w.message_interrupt(MEMORY, interrupt), DONE);
        w.invoke(interrupt, ops::interrupt::BIND, &[bell, 3])
            .expect("both are fresh");
        let vector = w.kernel.store.interrupt(w.object::<Interrupt>(interrupt)).vector.get();
        Self {
            world: w,
            handler,
            context,
            vector,
        }
    }

    /// The handler runs and waits, in a way of its own; root goes on.
    fn wait(&self, call: Syscall) {
        let w = &self.world;
        assert_eq!(w.invoke(self.handler, ops::thread::START, &[common::ENTRY]), DONE);
        let alarm = w.kernel.now.get() + 1000;
        if w.current(0) != Some(w.thread(self.handler)) {
            assert_eq!(w.on(0, Syscall::Wait, alarm, 0, [0; 6]), None, "root makes place");
        }
        assert_eq!(w.current(0), Some(w.thread(self.handler)));
        w.on(0, call, NO_DEADLINE, 0, [0; 6]);
        w.timer(0, alarm);
        assert_eq!(w.current(0), Some(w.thread(root_slots::THREAD)));
    }

    /// The interrupt arrives on both paths; whether the fast one takes it, and that it agrees with the slow one.
    fn arrives(&self) -> bool {
        let (fast, slow) = (self.world.kernel.clone(), self.world.kernel.clone());
        for kernel in [&fast, &slow] {
            if let Some(current) = kernel.core(0).current.get() {
                kernel.store.thread(current).set_flag(flag::FULL_CONTEXT);
            }
            kernel.enter(0, kernel.now.get() + 5);
        }
        let before = words_of(&fast);
        let is_taken = fast.fast_interrupt(fast.core(0), self.vector).is_some();
        slow.interrupt(self.vector);
        assert_eq!(fast.check(), Ok(()));
        let expected = if is_taken { words_of(&slow) } else { before };
        assert_eq!(words_of(&fast), expected);
        is_taken
    }
}

type World8 = Kernel<HostStore<8, 64, 8>>;

/// The canonical state of a copy.
fn words_of(kernel: &World8) -> Vec<u64> {
    let copy = kernel.clone();
    copy.canonicalize();
    let mut words = Vec::new();
    copy.save(&mut words);
    words
}

#[test]
fn an_interrupt_switches_at_once_to_a_handler_above_everybody() {
    for call in [Syscall::Wait, Syscall::ReplyWait] {
        let scene = Scene::new(31);
        scene.wait(call);
        assert!(scene.arrives(), "root runs, below the handler");
        assert_eq!(scene.world.on(0, Syscall::Wait, NO_DEADLINE, 0, [0; 6]), None);
        assert_eq!(scene.world.current(0), None);
        assert!(scene.arrives(), "nobody runs");
    }
}

#[test]
fn the_slow_path_takes_every_other_interrupt() {
    let equal = Scene::new(30);
    equal.wait(Syscall::Wait);
    assert!(!equal.arrives(), "the handler is no more than root");
    let fair = Scene::new(u64::from(FAIR_PRIORITY) | 256 << 24);
    fair.wait(Syscall::Wait);
    assert!(!fair.arrives(), "the fair band has slices");
    let limited = Scene::new(31);
    limited.wait(Syscall::Wait);
    let arguments = [PLATFORM, 31 << 8, 50, 100];
    assert_eq!(
        limited
            .world
            .invoke(limited.context, ops::sched_context::CONFIGURE, &arguments),
        DONE
    );
    assert!(!limited.arrives(), "a budget needs the timer");
    let busy = Scene::new(31);
    assert_eq!(busy.world.current(0), Some(busy.world.thread(root_slots::THREAD)));
    assert!(!busy.arrives(), "the handler was never started");
}

/// Catches a thread of the fair band that becomes ready beside the one that runs, whose slice nobody then ends.
#[test]
fn a_second_thread_of_the_fair_band_has_the_timer_armed() {
    let scene = Scene::new(u64::from(FAIR_PRIORITY) | 256 << 24);
    scene.wait(Syscall::Wait);
    let (w, kernel) = (&scene.world, &scene.world.kernel);
    let fair = [PLATFORM, u64::from(FAIR_PRIORITY) << 8 | 256 << 32, 100, 100];
    assert_eq!(
        w.invoke(root_slots::SCHED_CONTEXT, ops::sched_context::CONFIGURE, &fair),
        DONE
    );
    let _ = kernel.new_timer(kernel.core(0));
    kernel.enter(0, kernel.now.get() + 5);
    kernel.interrupt(scene.vector);
    assert_eq!(w.current(0), Some(w.thread(root_slots::THREAD)), "its slice has begun");
    assert_ne!(kernel.new_timer(kernel.core(0)), None);
}

/// A machine that enters the kernel as entry code does, and its timer.
struct Machine {
    world: World,
    armed: Cell<u64>,
}

impl Machine {
    /// Threads of all sorts on core 0, and portals to them.
    fn new() -> Self {
        let mut world = World::new();
        for (priority, budget, mode) in [
            (31, 100, 0),
            (30, 40, 1),
            (u64::from(FAIR_PRIORITY), 100, 0),
            (1, 60, 1),
        ] {
            let thread = world.bare_thread(0);
            let context = world.create(Kind::SchedContext, &[]);
            let weight = if priority == 1 { 256 << 32 } else { 0 };
            let arguments = [PLATFORM, priority << 8 | weight, budget, 100];
            let _ = world.invoke(context, ops::sched_context::CONFIGURE, &arguments);
            assert_eq!(world.invoke(context, ops::sched_context::BIND, &[thread]), DONE);
            let bell = world.create(Kind::Notification, &[]);
            assert_eq!(world.invoke(thread, ops::thread::BIND, &[bell]), DONE);
            let portal = world.portal(thread, 7, mode);
            assert_eq!(world.invoke(thread, ops::thread::SET_FAULT_HANDLER, &[portal]), DONE);
            let interrupt = world.slot();
            assert_eq!(world.message_interrupt(MEMORY, interrupt), DONE);
            world
                .invoke(interrupt, ops::interrupt::BIND, &[bell, 1])
                .expect("fresh");
            assert_eq!(world.invoke(thread, ops::thread::START, &[common::ENTRY]), DONE);
        }
        Self {
            world,
            armed: Cell::new(NO_DEADLINE),
        }
    }

    fn kernel(&self) -> &World8 {
        &self.world.kernel
    }

    /// One entry of core 0, by whichever path takes it.
    fn enter(&self, kind: u8, first: u64, words: Words) {
        let kernel = self.kernel();
        let core = kernel.core(0);
        let now = kernel.now.get() + 3;
        if self.armed.get() <= now {
            self.armed.set(NO_DEADLINE);
            self.interrupted(now, |kernel| {
                kernel.timer();
                kernel.schedule();
            });
        }
        let running = core
            .current
            .get()
            .filter(|&name| kernel.store.thread(name).state() == State::Running);
        match kind {
            0..=5 if running.is_some() => self.call(now, kind, first, words),
            6 if running.is_some() => {
                let fault = Fault::default();
                if kernel.fast_fault(core, fault).is_none() {
                    self.interrupted(now, |kernel| kernel.fault(fault));
                }
            }
            7 => {
                kernel.enter(0, now);
                let vector = 0x30 + (first % 4) as u8;
                if kernel.fast_interrupt(core, vector).is_none() {
                    self.interrupted(now, |kernel| kernel.interrupt(vector));
                }
            }
            _ => self.interrupted(now, |kernel| kernel.schedule()),
        }
        self.leave();
    }

    fn interrupted(&self, now: u64, handle: impl FnOnce(&World8)) {
        let kernel = self.kernel();
        kernel.enter(0, now);
        kernel.core(0).rearm.set(true);
        handle(kernel);
        self.leave();
    }

    fn call(&self, now: u64, call: u8, first: u64, words: Words) {
        let kernel = self.kernel();
        let core = kernel.core(0);
        let fast = match call {
            0 => kernel.fast_call(core, first).map(|_| ()),
            1 => kernel.fast_reply_wait(core),
            2 => kernel.fast_signal(core, first, words[0]),
            4 if words[0] == ops::region::ATTACH => kernel
                .fast_attach(core, first, [words[1], words[2], words[3]])
                .map(|_| ()),
            _ => None,
        };
        if fast.is_some() {
            return;
        }
        let actor = core.current.get().expect("somebody runs");
        let thread = kernel.store.thread(actor);
        thread.clear_flag(flag::FULL_CONTEXT);
        let number = [
            Syscall::Call,
            Syscall::ReplyWait,
            Syscall::Signal,
            Syscall::Wait,
            Syscall::Invoke,
            Syscall::Yield,
        ][usize::from(call)];
        thread.context.rax.set(number as u64);
        let waits = call == 1 || call == 3;
        thread.context.rdi.set(if waits && first.is_multiple_of(2) {
            NO_DEADLINE
        } else {
            first
        });
        thread.context.rsi.set(0);
        thread.context.set_words(words);
        if kernel.fast_saved(core, now).is_none() {
            kernel.enter(0, now);
            kernel.syscall();
        }
    }

    fn leave(&self) {
        let kernel = self.kernel();
        let core = kernel.core(0);
        if let Some(thread) = core.current.get() {
            let thread = kernel.store.thread(thread);
            core.loaded_root.set(thread.root.get());
        }
        if let Some(deadline) = kernel.new_timer(core) {
            self.armed.set(deadline);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_path_leaves_the_timer_too_late(
        steps in prop::collection::vec((0u8..9, 98u64..130, prop::array::uniform6(0u64..130)), 1..150)
    ) {
        let machine = Machine::new();
        for (kind, first, words) in steps {
            machine.enter(kind, first, words);
            let kernel = machine.kernel();
            prop_assert_eq!(kernel.check(), Ok(()), "after {} {} {:?}", kind, first, words);
            let needed = kernel.next_timer(kernel.core(0));
            prop_assert!(machine.armed.get() <= needed, "after {} {} {:?}", kind, first, words);
        }
    }
}
