//! The kernel under exploration, and how the machine layer around it behaves: entries, exits, interrupts sent.

use ecusson_abi::{Kind, Rights, Status, Syscall, Words, ops, root_slots};
use ecusson_core::boot::Boot;
use ecusson_core::cap::Capability;
use ecusson_core::host::{CANONICAL_DEADLINE, CANONICAL_NOW, HostStore};
use ecusson_core::store::Tag;
use ecusson_core::thread::{Fault, State, Thread, flag};
use ecusson_core::{Frame, Kernel, Ref, Store};

use crate::action::{Action, Entry};

/// Small objects a page, capabilities a page, entries a table: three levels, four pages of user addresses.
pub type Machine = Kernel<HostStore<4, 16, 2>>;

/// Pages of the machine; the first is never used.
const PAGES: u64 = 65;
/// What rdx holds until the kernel writes a result: no label or other result of the universes has this value.
const NO_ANSWER: u64 = u64::MAX;
/// Where threads are started: tells a restart, which clears all registers, from a result.
pub const ENTRY: u64 = 0x1000;
/// The fault that threads make.
pub const FAULT: Fault = Fault {
    vector: 14,
    code: 4,
    address: 0x1000,
};
/// Cores of the machine.
pub const CORES: u8 = 2;

/// A machine of two cores on which root runs.
///
/// # Panics
/// If the core can't boot, which its own tests exclude.
#[must_use]
pub fn boot() -> Machine {
    let machine = Kernel::new(HostStore::new(PAGES as usize));
    let boot = Boot {
        free: &[(1, PAGES - 1)],
        reserved: &[(0, PAGES)],
        apic_ids: &[0, 1],
        ticks_per_us: 1,
        now: CANONICAL_NOW,
        segments: &[],
        entry: 2 * ENTRY,
        boot_info: (0, 0),
        bundle: (0, 0),
        composition: (0, 0),
        time_page: (0, 0),
    };
    machine.boot(&boot).expect("64 pages hold root");
    leave(&machine, 0);
    machine
}

/// Lets root do an `Invoke` while a universe is furnished.
///
/// # Panics
/// If it fails: a universe that can't be furnished is a defect of the universe.
pub fn furnish(machine: &Machine, slot: u64, words: Words) {
    let entry = Entry::Call(Syscall::Invoke, slot, 0, words);
    let answers = enter(
        machine,
        &Action {
            core: 0,
            entry,
            row: "",
            is_query: false,
        },
    );
    let done = answers.is_some_and(|answers| {
        answers
            .first()
            .is_some_and(|answer| answer.status == Some(Status::DONE))
    });
    assert!(done, "furnishing: slot {slot} {words:?}");
}

/// Root creates an object from its first Memory.
pub fn create(machine: &Machine, kind: Kind, slot: u64, arguments: [u64; 3]) {
    let [a, b, c] = arguments;
    furnish(
        machine,
        root_slots::MEMORY,
        [ops::memory::CREATE, kind as u64, slot, a, b, c],
    );
}

/// Root creates a thread with time of its own and its context in the next slot.
pub fn create_thread(machine: &Machine, slot: u64, domain: u64, core: u64, priority: u64) {
    create(machine, Kind::Thread, slot, [domain, core, 0]);
    create_context(machine, slot + 1, core, priority);
    furnish(machine, slot + 1, [ops::sched_context::BIND, slot, 0, 0, 0, 0]);
}

/// Root creates a scheduling context with all the time of a core.
pub fn create_context(machine: &Machine, slot: u64, core: u64, priority: u64) {
    create(machine, Kind::SchedContext, slot, [0; 3]);
    let place = core | priority << 8;
    let words = [ops::sched_context::CONFIGURE, root_slots::PLATFORM, place, 1, 1, 0];
    furnish(machine, slot, words);
}

/// Root gives a capability to another process, into the slot of the same number.
pub fn give(machine: &Machine, domain: u64, slot: u64, rights: Rights) {
    let words = [ops::protection_domain::GRANT, slot, slot, u64::from(rights.0), 0, 0];
    furnish(machine, domain, words);
}

/// A result that a thread got, or none for the actor, if it has none yet.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Who.
    pub thread: Ref<Thread>,
    /// What it did before: names the system call that was answered.
    pub before: State,
    /// Whether it is the thread that entered the kernel.
    pub is_actor: bool,
    /// The result.
    pub status: Option<Status>,
    /// The second result word.
    pub second: u64,
}

/// The threads of the machine.
pub fn threads(machine: &Machine) -> impl Iterator<Item = Ref<Thread>> + '_ {
    let frames = (1..PAGES)
        .map(Frame)
        .filter(|&frame| machine.store.frame(frame).is(Tag::Thread));
    frames.filter_map(|frame| Ref::new(frame.address()))
}

/// The capabilities in all tables: page, index, capability.
pub fn capabilities(machine: &Machine) -> impl Iterator<Item = (u64, u64, Capability)> + '_ {
    let tables = (1..PAGES).filter(|&frame| machine.store.frame(Frame(frame)).is(Tag::DomainTable));
    tables.flat_map(move |frame| {
        let slots = 0..<HostStore<4, 16, 2> as Store>::SLOTS_PER_PAGE;
        slots.map(move |slot| (frame, slot, machine.store.slot(Frame(frame), slot).get()))
    })
}

/// Whether an action can happen now.
#[must_use]
pub fn is_possible(machine: &Machine, action: &Action) -> bool {
    let core = machine.core(action.core);
    match action.entry {
        Entry::Call(..) | Entry::Fault => core.current.get().is_some(),
        Entry::Timer => core.timers.first().is_some(),
        Entry::Reschedule => true,
        Entry::Flush => core.needs_flush(),
    }
}

/// Takes an action; `None` if it can't happen now. The answer of the actor, if there is one, comes first.
pub fn enter(machine: &Machine, action: &Action) -> Option<Vec<Answer>> {
    if !is_possible(machine, action) {
        return None;
    }
    let core = machine.core(action.core);
    let actor = core.current.get();
    let before = prepare(machine);
    if action.entry == Entry::Flush {
        core.serve_flush();
        return Some(Vec::new());
    }
    let now = if action.entry == Entry::Timer {
        CANONICAL_DEADLINE
    } else {
        CANONICAL_NOW
    };
    (0..CORES).for_each(|index| drop_interrupt(machine, index, action.core));
    machine.enter(action.core, now);
    match action.entry {
        Entry::Call(call, first, second, words) => {
            load_registers(machine, action.core, call, first, second, words);
            machine.syscall();
        }
        Entry::Timer => {
            machine.timer();
            machine.schedule();
        }
        Entry::Fault => machine.fault(FAULT),
        Entry::Reschedule => machine.schedule(),
        Entry::Flush => {}
    }
    leave(machine, action.core);
    let is_call = matches!(action.entry, Entry::Call(..));
    Some(collect(machine, &before, actor.filter(|_| is_call)))
}

/// Marks every thread as not answered; what each did.
fn prepare(machine: &Machine) -> Vec<(Ref<Thread>, State)> {
    let mut before = Vec::new();
    for name in threads(machine) {
        let thread = machine.store.thread(name);
        thread.context.rdx.set(NO_ANSWER);
        before.push((name, thread.state()));
    }
    before
}

fn collect(machine: &Machine, before: &[(Ref<Thread>, State)], actor: Option<Ref<Thread>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for &(thread, before) in before {
        if !machine.store.frame(thread.frame()).is(Tag::Thread) {
            continue;
        }
        let context = &machine.store.thread(thread).context;
        let is_actor = actor == Some(thread);
        let is_silent = context.rdx.get() == NO_ANSWER || context.rip.get() == ENTRY;
        let status = if is_silent {
            None
        } else {
            Some(Status(context.rax.get()))
        };
        if status.is_some() || is_actor {
            answers.push(Answer {
                thread,
                before,
                is_actor,
                status,
                second: context.rdx.get(),
            });
        }
    }
    answers.sort_by_key(|answer| !answer.is_actor);
    answers
}

/// What entry code stores of a system call.
pub fn load_registers(machine: &Machine, core: u8, call: Syscall, first: u64, second: u64, words: Words) {
    let Some(name) = machine.core(core).current.get() else {
        return;
    };
    let thread = machine.store.thread(name);
    thread.clear_flag(flag::FULL_CONTEXT);
    thread.context.rax.set(call as u64);
    thread.context.rdi.set(first);
    thread.context.rsi.set(second);
    thread.context.set_words(words);
}

/// A reschedule interrupt that was sent to a core has arrived.
fn drop_interrupt(machine: &Machine, sender: u8, target: u8) {
    let mask = &machine.core(sender).ipi_mask;
    mask.set(mask.get() & !(1 << target));
}

/// What the machine layer does when the core has decided: load the next thread's space, resume it.
pub fn leave(machine: &Machine, index: u8) {
    let core = machine.core(index);
    let next = core.current.get().map(|name| machine.store.thread(name));
    core.loaded_root.set(next.map_or(0, |thread| thread.root.get()));
    if let Some(thread) = next {
        thread.clear_flag(flag::FULL_CONTEXT);
    }
}
