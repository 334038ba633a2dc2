//! What the kernel's test programs share: objects made from root's authority, threads with stacks, a second process that
//! sees the same memory, and a count of what held.
//!
//! The programs are the root process of their image: nothing lies between them and the kernel. Key types: [`Kit`],
//! [`Worker`], [`Process`].

#![no_std]
#![forbid(unsafe_code)]

use core::cell::Cell;
use core::fmt::Write;
use core::sync::atomic::AtomicU64;

use ecusson_abi::{Error, Event, Kind, PAGE_BYTES, Rights, Words, ops, platform, root_slots};
use ecusson_rt::sys::{self, Answer};

/// Words of a thread's stack: 16 KiB.
const STACK_WORDS: usize = 2048;
/// Threads that can exist at a time.
const STACKS: usize = 64;
/// First slot the kit hands out.
const FIRST_SLOT: u64 = 128;
/// Slots of root's table.
const SLOTS: u64 = root_slots::TABLE_PAGES * ecusson_abi::SLOTS_PER_PAGE;
/// Port that ends QEMU: status `value << 1 | 1`.
const DEBUG_EXIT: u64 = 0xF4;

/// Stacks. Words are atomic because threads of several processes write them; nobody reads them by name.
static STACK_MEMORY: [[AtomicU64; STACK_WORDS]; STACKS] =
    [const { [const { AtomicU64::new(0) }; STACK_WORDS] }; STACKS];

/// Where a thread begins.
pub type Entry = extern "C" fn(u64) -> !;

/// State of a test program.
#[derive(Debug)]
pub struct Kit {
    next_slot: Cell<u64>,
    next_stack: Cell<usize>,
    held: Cell<u32>,
    failed: Cell<u32>,
    /// Memory that objects are made of; reclaimed between tests.
    memory: Cell<u64>,
    /// Cores of the machine.
    pub cores: u64,
    /// TSC ticks in a millisecond.
    pub ticks_per_ms: u64,
}

/// Slots of a thread and what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    /// The thread.
    pub thread: u64,
    /// Its scheduling context.
    pub context: u64,
    /// Its bound notification.
    pub notification: u64,
    /// Initial stack pointer.
    pub stack: u64,
}

/// Slots of a process.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Its protection domain.
    pub domain: u64,
    /// Its space.
    pub space: u64,
}

/// How a worker is scheduled. Times in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Core.
    pub core: u64,
    /// Priority, 0 to 31.
    pub priority: u64,
    /// Weight, for priority 1.
    pub weight: u64,
    /// Budget.
    pub budget: u64,
    /// Period.
    pub period: u64,
}

impl Share {
    /// Unlimited time at a priority on a core.
    #[must_use]
    pub const fn unlimited(core: u64, priority: u64) -> Self {
        Self {
            core,
            priority,
            weight: 0,
            budget: 1 << 32,
            period: 1 << 32,
        }
    }
}

/// A line of text on its way to the log.
struct Line {
    bytes: [u8; 160],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for &byte in text.as_bytes() {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}

/// Writes a line to the console.
pub fn print(text: core::fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; 160],
        length: 0,
    };
    // Infallible: a line that is too long is cut.
    let _ = line.write_fmt(text);
    let _ = line.write_str("\n");
    let end = line.length.saturating_sub(1);
    if let Some(last) = line.bytes.get_mut(end) {
        *last = b'\n';
    }
    sys::log(line.bytes.get(..line.length).unwrap_or_default());
}

/// A subject of a test program: its name and what tries it.
pub type Subject = (&'static str, fn(&Kit));

impl Kit {
    /// Takes stock of the machine. Called once, by the first thread.
    #[must_use]
    pub fn new() -> Self {
        let info = sys::invoke(root_slots::PLATFORM, [platform::INFO, 0, 0, 0, 0, 0]);
        let kit = Self {
            next_slot: Cell::new(FIRST_SLOT),
            next_stack: Cell::new(0),
            held: Cell::new(0),
            failed: Cell::new(0),
            memory: Cell::new(root_slots::MEMORY),
            cores: info.second,
            ticks_per_ms: info.words[1] / 1000,
        };
        let pages = sys::invoke(root_slots::MEMORY, [ops::memory::INFO, 0, 0, 0, 0, 0]).second;
        let child = kit.slot();
        kit.must(
            root_slots::MEMORY,
            [ops::memory::SPLIT, (pages / 2).min(16_384), child, 0, 0, 0],
        );
        kit.memory.set(child);
        kit
    }

    /// A slot never used before.
    #[must_use]
    pub fn slot(&self) -> u64 {
        let slot = self.next_slot.get();
        assert!(slot < SLOTS, "slots used up");
        self.next_slot.set(slot + 1);
        slot
    }

    /// How many expectations failed.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failed.get()
    }

    /// Slot of the Memory that objects are made of.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory.get()
    }

    /// Tries subjects one after the other, says of each whether all held, and takes back what it made.
    pub fn try_all(&self, subjects: &[Subject]) {
        for (name, subject) in subjects {
            let failed = self.failures();
            subject(self);
            self.reset();
            if self.failures() == failed {
                print(format_args!("TEST ok {name}"));
            } else {
                print(format_args!("TEST failed {name}: see above"));
            }
        }
    }

    /// Notes whether something held; says so if not.
    pub fn expect(&self, holds: bool, what: &str) {
        if holds {
            self.held.set(self.held.get() + 1);
        } else {
            self.failed.set(self.failed.get() + 1);
            print(format_args!("FAILED: {what}"));
        }
    }

    /// Notes whether two numbers are equal; says what they are if not.
    pub fn expect_equal(&self, found: u64, expected: u64, what: &str) {
        if found != expected {
            print(format_args!("{what}: found {found:#x}, expected {expected:#x}"));
        }
        self.expect(found == expected, what);
    }

    /// Notes whether an operation failed as it should.
    pub fn expect_error(&self, answer: &Answer, error: Error, argument: u64, what: &str) {
        let is_right = answer.status.failure() == Some(error) && answer.second == argument;
        if !is_right {
            print(format_args!(
                "{what}: {:?} {:#x}",
                answer.status.failure(),
                answer.second
            ));
        }
        self.expect(is_right, what);
    }

    /// Operates until it is done; a failure ends the program, for what comes after would be meaningless.
    pub fn must(&self, slot: u64, words: Words) -> Answer {
        loop {
            let answer = sys::invoke(slot, words);
            if let Some(error) = answer.status.failure() {
                panic!(
                    "operation {} of slot {slot}: {error:?}, argument {:#x}",
                    words[0], answer.second
                );
            }
            if answer.status.event_code() != Event::Progress as u8 {
                return answer;
            }
        }
    }

    /// Operates until it is done or fails.
    #[must_use]
    pub fn finish(&self, slot: u64, words: Words) -> Answer {
        loop {
            let answer = sys::invoke(slot, words);
            if answer.status.failure().is_some() || answer.status.event_code() != Event::Progress as u8 {
                return answer;
            }
        }
    }

    /// Makes an object; its slot.
    pub fn create(&self, kind: Kind, arguments: [u64; 3]) -> u64 {
        let slot = self.slot();
        let [first, second, third] = arguments;
        self.must(
            self.memory(),
            [ops::memory::CREATE, kind as u64, slot, first, second, third],
        );
        slot
    }

    /// Ends an object.
    pub fn destroy(&self, slot: u64) {
        self.must(slot, [ops::DESTROY, 0, 0, 0, 0, 0]);
        self.drop_slot(slot);
    }

    /// Empties a slot of root's table.
    pub fn drop_slot(&self, slot: u64) {
        self.must(root_slots::SELF, [ops::protection_domain::DROP, slot, 0, 0, 0, 0]);
    }

    /// Gives a scheduling context its parameters.
    pub fn configure(&self, context: u64, share: Share) -> Answer {
        let place = share.core | share.priority << 8 | share.weight << 32;
        let words = [
            ops::sched_context::CONFIGURE,
            root_slots::PLATFORM,
            place,
            share.budget,
            share.period,
            0,
        ];
        sys::invoke(context, words)
    }

    /// Makes a thread of a protection domain, with time, stack and notification; it does not run yet.
    pub fn worker(&self, domain: u64, share: Share, flags: u64) -> Worker {
        let thread = self.create(Kind::Thread, [domain, share.core, flags]);
        let context = self.create(Kind::SchedContext, [0; 3]);
        let configured = self.configure(context, share);
        assert!(
            configured.status.failure().is_none(),
            "configure: {:?}",
            configured.status.failure()
        );
        self.must(context, [ops::sched_context::BIND, thread, 0, 0, 0, 0]);
        let notification = self.create(Kind::Notification, [0; 3]);
        self.must(thread, [ops::thread::BIND, notification, 0, 0, 0, 0]);
        Worker {
            thread,
            context,
            notification,
            stack: self.stack(),
        }
    }

    /// The next stack; they are handed out in turn, so that a test must not have more than [`STACKS`] threads.
    fn stack(&self) -> u64 {
        let index = self.next_stack.get() % STACKS;
        self.next_stack.set(index + 1);
        let bottom = STACK_MEMORY.get(index).map_or(0, |stack| stack.as_ptr() as u64);
        // As after a call: the stack pointer is 8 below a multiple of 16 (System V ABI, 3.2.2).
        ((bottom + (STACK_WORDS as u64) * 8 - 72) & !15) | 8
    }

    /// Starts a worker.
    pub fn start(&self, worker: Worker, entry: Entry, argument: u64) {
        let entry = entry as usize as u64;
        self.must(worker.thread, [ops::thread::START, entry, worker.stack, argument, 0, 0]);
    }

    /// Makes and starts a thread in root's own process.
    pub fn spawn(&self, share: Share, entry: Entry, argument: u64) -> Worker {
        let worker = self.worker(root_slots::SELF, share, 0);
        self.start(worker, entry, argument);
        worker
    }

    /// A portal into a worker.
    pub fn portal(&self, worker: Worker, label: u64, mode: u64) -> u64 {
        self.create(Kind::Portal, [worker.thread, label, mode])
    }

    /// A second process with the same memory at the same addresses: slices of root's image.
    pub fn process(&self) -> Process {
        let space = self.create(Kind::Space, [ops::space::HOST, 0, 0]);
        self.must(space, [ops::space::FUND, self.memory(), 16, 0, 0, 0]);
        let domain = self.create(Kind::ProtectionDomain, [4, space, 0]);
        for segment in root_slots::SEGMENTS..root_slots::SEGMENTS + root_slots::SEGMENT_COUNT {
            self.share_segment(segment, space);
        }
        Process { domain, space }
    }

    fn share_segment(&self, segment: u64, space: u64) {
        let info = sys::invoke(segment, [ops::region::INFO, 0, 0, 0, 0, 0]);
        if info.status.failure().is_some() {
            return;
        }
        let slice = self.slot();
        let rights = Rights::READ.with(Rights::WRITE).with(Rights::EXECUTE).0;
        self.must(
            segment,
            [
                ops::region::SLICE,
                0,
                info.second,
                u64::from(rights),
                self.memory(),
                slice,
            ],
        );
        let kind_and_rights = sys::invoke(slice, [ops::IDENTIFY, 0, 0, 0, 0, 0]).second;
        let access = kind_and_rights >> 8 & u64::from(rights);
        self.must(slice, [ops::region::ATTACH, space, info.words[2], access, 0, 0]);
    }

    /// Copies a capability into the same slot of another process.
    pub fn grant(&self, process: Process, slot: u64, rights: Rights) {
        self.must(
            process.domain,
            [ops::protection_domain::GRANT, slot, slot, u64::from(rights.0), 0, 0],
        );
    }

    /// Takes everything back that was made, and all slots.
    pub fn reset(&self) {
        self.must(self.memory(), [ops::memory::RECLAIM, 0, 0, 0, 0, 0]);
        for slot in FIRST_SLOT + 1..self.next_slot.get() {
            // A slot that was never filled or is empty already is no fault.
            let _ = sys::invoke(root_slots::SELF, [ops::protection_domain::DROP, slot, 0, 0, 0, 0]);
        }
        self.next_slot.set(FIRST_SLOT + 1);
        self.next_stack.set(0);
    }

    /// Ticks in so many microseconds.
    #[must_use]
    pub fn microseconds(&self, count: u64) -> u64 {
        self.ticks_per_ms * count / 1000
    }

    /// Waits; the thread's notification may end it early.
    pub fn sleep_us(&self, count: u64) {
        let _ = sys::wait(sys::now() + self.microseconds(count));
    }

    /// Waits until something holds, or gives up after 20 seconds. Between two looks ever more time is left to others: where more
    /// cores are emulated than the host has, a system call can take longer than a short wait, and who only waits shortly keeps
    /// his core for himself.
    pub fn wait_until(&self, holds: impl Fn() -> bool) -> bool {
        let deadline = sys::now() + self.ticks_per_ms * 20_000;
        let mut pause_us = 200;
        while !holds() && sys::now() < deadline {
            self.sleep_us(pause_us);
            pause_us = (pause_us * 2).min(500_000);
        }
        holds()
    }

    /// Has the kernel check its own state; says where it is wrong.
    #[must_use]
    pub fn check_kernel(&self) -> bool {
        let answer = sys::invoke(root_slots::PLATFORM, [platform::CHECK, 0, 0, 0, 0, 0]);
        if let Some(error) = answer.status.failure() {
            print(format_args!("kernel check: {error:?} at {:#x}", answer.second));
        }
        answer.status.failure().is_none()
    }

    /// Prints the result and ends QEMU: status 33 if all held, else 35.
    pub fn end(&self) -> ! {
        print(format_args!("{} held, {} failed", self.held.get(), self.failed.get()));
        let value = if self.failed.get() == 0 && self.held.get() > 0 {
            0x10
        } else {
            0x11
        };
        exit_machine(value)
    }
}

impl Default for Kit {
    fn default() -> Self {
        Self::new()
    }
}

/// Ends QEMU with a value; switches the machine off where there is no debug exit.
pub fn exit_machine(value: u8) -> ! {
    let slot = SLOTS - 1;
    let made = sys::invoke(
        root_slots::PLATFORM,
        [platform::PORTS, DEBUG_EXIT, 4, root_slots::MEMORY, slot, 0],
    );
    let attached = sys::invoke(slot, [ops::ports::ATTACH, root_slots::SELF, 0, 0, 0, 0]);
    if made.status.failure().is_none() && attached.status.failure().is_none() {
        sys::out_byte(DEBUG_EXIT as u16, value);
    }
    let _ = sys::invoke(root_slots::PLATFORM, [platform::POWER, platform::OFF, 0, 0, 0, 0]);
    loop {
        let _ = sys::wait(ecusson_abi::NO_DEADLINE);
    }
}

/// Bytes of a page, for tests that count in bytes.
pub const PAGE: u64 = PAGE_BYTES;
