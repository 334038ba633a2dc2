//! A machine for tests that read like a transcript: root on core 0 makes system calls and says what it expects.
#![allow(dead_code, missing_docs, unreachable_pub)]

use ecusson_abi::{Error, Event, Kind, Rights, Status, Syscall, Words, ops, root_slots};
use ecusson_core::boot::{Boot, Segment};
use ecusson_core::host::HostStore;
use ecusson_core::name::Object;
use ecusson_core::thread::{Thread, flag};
use ecusson_core::{Kernel, Ref, Store};

pub const MEMORY: u64 = root_slots::MEMORY;
pub const PLATFORM: u64 = root_slots::PLATFORM;
pub const SELF: u64 = root_slots::SELF;
pub const SPACE: u64 = root_slots::SPACE;
pub const ROOT: u64 = root_slots::THREAD;
pub const BELL: u64 = root_slots::NOTIFICATION;
/// An empty slot, and one beyond every table.
pub const EMPTY: u64 = 200;
pub const BEYOND: u64 = 256;
/// A user address that threads may begin at.
pub const ENTRY: u64 = 16 * 4096;

/// What a system call answered: an event and the second result word, or an error and its argument.
pub type Answer = Result<(Event, u64), (Error, u64)>;

/// Success with nothing to say.
pub const DONE: Answer = Ok((Event::Done, 0));

/// An error and the argument it names.
pub const fn failed(error: Error, argument: u64) -> Answer {
    Err((error, argument))
}

/// A machine of two cores; the table of root has 256 slots.
pub struct World {
    pub kernel: Kernel<HostStore<8, 64, 8>>,
    next_slot: u64,
}

impl World {
    /// A machine with 96 free pages.
    pub fn new() -> Self {
        Self::with_pages(96)
    }

    /// A machine with so many free pages in its first Memory, and some more; root's image and the boot's Regions lie between.
    pub fn with_pages(pages: u64) -> Self {
        let kernel = Kernel::new(HostStore::new(pages as usize + 32));
        let boot = Boot {
            free: &[(1, pages), (pages + 14, 8)],
            reserved: &[(0, pages + 32)],
            apic_ids: &[0, 1],
            ticks_per_us: 1,
            now: 0,
            segments: &[Segment {
                run: (pages + 4, 2),
                virtual_page: 16,
                rights: Rights(5),
            }],
            entry: ENTRY,
            boot_info: (pages + 6, 1),
            bundle: (pages + 7, 4),
            composition: (pages + 11, 1),
            time_page: (pages + 12, 1),
        };
        kernel.boot(&boot).expect("the pages hold root");
        let world = Self { kernel, next_slot: 100 };
        let root = world.kernel.store.thread(world.root());
        root.clear_flag(flag::FULL_CONTEXT);
        world.leave();
        world
    }

    /// A slot that was emptied again may be given out once more.
    pub fn forget(&mut self, slot: u64) {
        assert_eq!(self.next_slot, slot);
        self.next_slot -= 1;
    }

    /// A message-signalled interrupt, paid for by a Memory.
    pub fn message_interrupt(&self, memory: u64, slot: u64) -> Answer {
        let arguments = [ecusson_abi::platform::MSI, 0, 0, memory, slot];
        self.invoke(PLATFORM, ecusson_abi::platform::IRQ, &arguments)
    }

    /// A slot nobody has used.
    pub fn slot(&mut self) -> u64 {
        self.next_slot += 1;
        self.next_slot
    }

    /// The current thread of a core makes a system call; `None` if it has no answer yet. Every invariant holds afterwards.
    pub fn system_call(&self, core: u8, call: u64, first: u64, second: u64, words: Words) -> Option<Answer> {
        let now = self.kernel.now.get() + 7;
        self.kernel.enter(core, now);
        let name = self.kernel.core(core).current.get().expect("the core runs somebody");
        let thread = self.kernel.store.thread(name);
        thread.clear_flag(flag::FULL_CONTEXT);
        thread.context.rax.set(call);
        thread.context.rdi.set(first);
        thread.context.rsi.set(second);
        thread.context.rdx.set(NO_ANSWER);
        thread.context.set_words(words);
        if self.kernel.fast_saved(self.kernel.core(core), now).is_none() {
            self.kernel.syscall();
        }
        self.leave();
        let answer = self.answer_of(name);
        let answers_words = call <= Syscall::ReplyWait as u64 || call == Syscall::Invoke as u64;
        if matches!(answer, Some(Err(_))) || answer.is_some() && !answers_words {
            assert_eq!(thread.context.words(), words, "words are kept");
        }
        answer
    }

    /// What the machine layer does on the way out, and what every test relies on.
    fn leave(&self) {
        for index in 0..2 {
            let core = self.kernel.core(index);
            core.serve_flush();
            let current = core.current.get().map(|name| self.kernel.store.thread(name));
            core.loaded_root.set(current.map_or(0, |thread| thread.root.get()));
        }
        assert_eq!(self.kernel.check(), Ok(()));
    }

    /// The result in a thread's registers.
    pub fn answer_of(&self, name: Ref<Thread>) -> Option<Answer> {
        let context = &self.kernel.store.thread(name).context;
        let (status, second) = (Status(context.rax.get()), context.rdx.get());
        if second == NO_ANSWER {
            return None;
        }
        Some(match status.failure() {
            Some(error) => Err((error, second)),
            None => Ok((EVENTS[usize::from(status.event_code())], second)),
        })
    }

    /// The thread in a slot of root's.
    pub fn thread(&self, slot: u64) -> Ref<Thread> {
        self.object(slot)
    }

    /// The object in a slot of root's.
    pub fn object<T: Object>(&self, slot: u64) -> Ref<T> {
        let root = self.kernel.store.thread(self.root());
        let capability = self.kernel.capability(root, slot).expect("a slot of root's");
        capability.name().expect("the slot is in use")
    }

    /// First page of the Region in a slot.
    pub fn first_page(&self, slot: u64) -> u64 {
        self.kernel.store.region(self.object(slot)).first.get()
    }

    fn root(&self) -> Ref<Thread> {
        let first = self.kernel.core(0).current.get().expect("core 0 runs somebody");
        assert!(self.kernel.store.thread(first).slots.get() == 256, "root runs");
        first
    }

    pub fn on(&self, core: u8, call: Syscall, first: u64, second: u64, words: Words) -> Option<Answer> {
        self.system_call(core, call as u64, first, second, words)
    }

    /// `Invoke` on core 0.
    pub fn invoke(&self, slot: u64, operation: u64, arguments: &[u64]) -> Answer {
        let mut words = [operation, 0, 0, 0, 0, 0];
        words
            .iter_mut()
            .skip(1)
            .zip(arguments)
            .for_each(|(word, argument)| *word = *argument);
        self.on(0, Syscall::Invoke, slot, 0, words)
            .expect("invocations are answered at once")
    }

    /// Expects an error of an `Invoke`, and that it changed nothing.
    pub fn refuses(&self, slot: u64, operation: u64, arguments: &[u64], error: Error, argument: u64) {
        let before = self.fingerprint();
        assert_eq!(
            self.invoke(slot, operation, arguments),
            failed(error, argument),
            "operation {operation} {arguments:?}"
        );
        assert_eq!(
            self.fingerprint(),
            before,
            "operation {operation} {arguments:?} failed and changed something"
        );
    }

    /// Fingerprint of the canonical state, of a copy.
    pub fn fingerprint(&self) -> u128 {
        let copy = self.kernel.clone();
        copy.canonicalize();
        let mut words = Vec::new();
        copy.save(&mut words);
        ecusson_core::host::fingerprint(&words)
    }

    /// Creates an object from root's Memory; its slot.
    pub fn create(&mut self, kind: Kind, arguments: &[u64]) -> u64 {
        let slot = self.slot();
        let words: Vec<u64> = [kind as u64, slot].iter().chain(arguments).copied().collect();
        assert_eq!(self.invoke(MEMORY, ops::memory::CREATE, &words), DONE);
        slot
    }

    /// A capability with fewer rights in a new slot.
    pub fn with_rights(&mut self, slot: u64, rights: Rights) -> u64 {
        let target = self.slot();
        let arguments = [slot, target, u64::from(rights.0)];
        assert_eq!(self.invoke(SELF, ops::protection_domain::GRANT, &arguments), DONE);
        target
    }

    /// A capability to an object of the kind that was destroyed.
    pub fn dead(&mut self, kind: Kind, arguments: &[u64]) -> u64 {
        let slot = self.create(kind, arguments);
        self.until_done(slot, ops::DESTROY, &[]);
        slot
    }

    /// Repeats an operation that makes progress.
    pub fn until_done(&self, slot: u64, operation: u64, arguments: &[u64]) {
        for _ in 0..1000 {
            match self.invoke(slot, operation, arguments) {
                Ok((Event::Progress, _)) => {}
                Ok((Event::Done, _)) => return,
                other => panic!("operation {operation}: {other:?}"),
            }
        }
        panic!("operation {operation} never ends");
    }

    /// A Memory of its own, split from root's.
    pub fn pool(&mut self, pages: u64) -> u64 {
        let slot = self.slot();
        assert_eq!(self.invoke(MEMORY, ops::memory::SPLIT, &[pages, slot]), DONE);
        slot
    }

    /// A capability to a Memory that ended with the one it was split from.
    pub fn dead_pool(&mut self) -> u64 {
        let (outer, inner) = (self.pool(2), self.slot());
        assert_eq!(self.invoke(outer, ops::memory::SPLIT, &[1, inner]), DONE);
        self.until_done(outer, ops::memory::RECLAIM, &[]);
        inner
    }

    /// A Region that is scrubbed.
    pub fn region(&mut self, pages: u64) -> u64 {
        let slot = self.create(Kind::Region, &[pages, 0]);
        self.until_done(slot, ops::region::SCRUB, &[]);
        slot
    }

    /// A context with all the time of a core.
    pub fn context(&mut self, core: u64, priority: u64) -> u64 {
        let slot = self.create(Kind::SchedContext, &[]);
        let arguments = [PLATFORM, core | priority << 8, 100, 100];
        assert_eq!(self.invoke(slot, ops::sched_context::CONFIGURE, &arguments), DONE);
        slot
    }

    /// A thread of root's process on a core, not started; without time.
    pub fn bare_thread(&mut self, core: u64) -> u64 {
        self.create(Kind::Thread, &[SELF, core, 0])
    }

    /// A thread of root's process with time of its own, started.
    pub fn thread_on(&mut self, core: u64, priority: u64) -> u64 {
        self.thread_and_time(core, priority).0
    }

    /// As [`World::thread_on`]; the thread and its scheduling context.
    pub fn thread_and_time(&mut self, core: u64, priority: u64) -> (u64, u64) {
        let thread = self.bare_thread(core);
        let context = self.context(core, priority);
        assert_eq!(self.invoke(context, ops::sched_context::BIND, &[thread]), DONE);
        assert_eq!(self.invoke(thread, ops::thread::START, &[ENTRY]), DONE);
        (thread, context)
    }

    /// Whether core 0 asked the other core to enter the kernel since the last time this was asked.
    pub fn was_told(&self) -> bool {
        self.kernel.core(0).ipi_mask.take() & 2 != 0
    }

    /// A portal to a thread.
    pub fn portal(&mut self, server: u64, label: u64, mode: u64) -> u64 {
        self.create(Kind::Portal, &[server, label, mode])
    }

    /// The reschedule interrupt of a core.
    pub fn reschedule(&self, core: u8) {
        self.kernel.enter(core, self.kernel.now.get() + 1);
        self.kernel.schedule();
        self.leave();
    }

    /// The timer interrupt of a core, at a time.
    pub fn timer(&self, core: u8, now: u64) {
        self.kernel.enter(core, now);
        self.kernel.timer();
        self.kernel.schedule();
        self.leave();
    }

    /// Who runs on a core.
    pub fn current(&self, core: u8) -> Option<Ref<Thread>> {
        self.kernel.core(core).current.get()
    }

    /// Every error of looking up a capability argument. `arguments` makes the arguments from its slot, `index` is what the
    /// kernel names; `good` is a capability that would do, `dead` one whose object was destroyed.
    pub fn refuses_bad_capabilities(
        &mut self,
        slot: u64,
        operation: u64,
        arguments: impl Fn(u64) -> Vec<u64>,
        index: u64,
        good: u64,
        dead: u64,
    ) {
        let weak = self.with_rights(good, Rights::GRANT);
        let other = if self
            .invoke(good, ops::IDENTIFY, &[])
            .is_ok_and(|(_, word)| word & 0xFF == Kind::Portal as u64)
        {
            BELL
        } else {
            self.portal(ROOT, 0, 0)
        };
        self.refuses(slot, operation, &arguments(EMPTY), Error::BadCap, index);
        self.refuses(slot, operation, &arguments(BEYOND), Error::BadCap, index);
        self.refuses(slot, operation, &arguments(other), Error::BadType, index);
        self.refuses(slot, operation, &arguments(weak), Error::NoRight, index);
        self.refuses(slot, operation, &arguments(dead), Error::Dead, index);
    }
}

/// No operation answers this.
const NO_ANSWER: u64 = 0xA5A5_A5A5_A5A5_A5A5;

const EVENTS: [Event; 5] = [
    Event::Done,
    Event::Signal,
    Event::Deadline,
    Event::Exit,
    Event::Progress,
];
