//! Threads: what a flow of control is waiting for, on whose time it runs, and its registers.
//!
//! The layout is part of the interface to `ecusson-x86`: entry code stores registers into [`Context`], and
//! the fast paths ([`crate::fast`]) read the first cache lines.

use core::cell::Cell;

use ecusson_abi::{PRIORITIES, Words};

use crate::cap::CapabilityCell;
use crate::list::{Links, List};
use crate::name::{Frame, Header, Ref, object};
use crate::notification::Notification;
use crate::portal::Portal;
use crate::protection_domain::ProtectionDomain;
use crate::sched_context::SchedContext;
use crate::vcpu::Vcpu;

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Never started, or ended.
    Inactive = 0,
    /// Current on its core.
    Running = 1,
    /// In its core's ready queue.
    Ready = 2,
    /// Could run, but is stopped or has no budget.
    Held = 3,
    /// In `ReplyWait`: waits for a call, a signal or a deadline.
    Waiting = 4,
    /// In `Wait`: waits for a signal or a deadline.
    WaitingSignal = 5,
    /// Its call is being served; `callee` is the server.
    Called = 6,
    /// Its call is queued at `callee`.
    Queued = 7,
}

/// Flags beside the state, in bits 16.. of the run word.
pub mod flag {
    /// Must not run until resumed.
    pub const STOPPED: u32 = 1 << 16;
    /// Has an entry in its core's timer heap.
    pub const DEADLINE: u32 = 1 << 17;
    /// Signals are pending in the bound notification.
    pub const SIGNALS: u32 = 1 << 18;
    /// Callers are queued.
    pub const CALLERS: u32 = 1 << 19;
    /// Owns FPU state.
    pub const FPU: u32 = 1 << 20;
    /// Its protection domain may use I/O ports.
    pub const PORTS: u32 = 1 << 21;
    /// What the machine layer loads and stores for it when it is switched to and from, beside registers and space.
    pub const LOADED: u32 = FPU | PORTS;
    /// The call it waits for is a fault.
    pub const FAULTING: u32 = 1 << 22;
    /// Resumes with all registers, by IRET (it was interrupted or faulted), not as from a system call.
    pub const FULL_CONTEXT: u32 = 1 << 23;
    /// It opened a slot for a capability in the message it waits for: `receive_slot` is not 0.
    pub const RECEIVING: u32 = 1 << 24;
    /// The time that it lent in its call was destroyed: the server that answers runs on other time, which is not the caller's.
    pub const BEREFT: u32 = 1 << 25;
    /// In `VcpuRun`: it goes on in its guest.
    pub const GUEST: u32 = 1 << 26;
    /// The guest it left must be unloaded, and its state written to the state page, before the thread goes on.
    pub const LEFT_GUEST: u32 = 1 << 27;
}

/// Registers of a thread that does not run. Fast system calls keep the instruction and stack pointers
/// only; slow ones the message registers and arguments as well; interrupts and faults everything.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Context {
    /// Message word 0.
    pub r12: Cell<u64>,
    /// Message word 1.
    pub r13: Cell<u64>,
    /// Message word 2.
    pub r14: Cell<u64>,
    /// Message word 3.
    pub r15: Cell<u64>,
    /// Message word 4.
    pub rbx: Cell<u64>,
    /// Message word 5.
    pub rbp: Cell<u64>,
    /// System call number, then status.
    pub rax: Cell<u64>,
    /// Second result word.
    pub rdx: Cell<u64>,
    /// First argument: slot or deadline.
    pub rdi: Cell<u64>,
    /// Second argument: transfer.
    pub rsi: Cell<u64>,
    /// r8.
    pub r8: Cell<u64>,
    /// r9.
    pub r9: Cell<u64>,
    /// r10.
    pub r10: Cell<u64>,
    /// r11.
    pub r11: Cell<u64>,
    /// rcx.
    pub rcx: Cell<u64>,
    /// Flags.
    pub rflags: Cell<u64>,
    /// Instruction pointer.
    pub rip: Cell<u64>,
    /// Stack pointer.
    pub rsp: Cell<u64>,
}

impl Context {
    /// The registers in `peek` order: three groups of six.
    #[must_use]
    pub fn registers(&self) -> [&Cell<u64>; 18] {
        [
            &self.r12,
            &self.r13,
            &self.r14,
            &self.r15,
            &self.rbx,
            &self.rbp,
            &self.rax,
            &self.rdx,
            &self.rdi,
            &self.rsi,
            &self.r8,
            &self.r9,
            &self.r10,
            &self.r11,
            &self.rcx,
            &self.rflags,
            &self.rip,
            &self.rsp,
        ]
    }

    /// The message words.
    #[must_use]
    pub fn words(&self) -> Words {
        [
            self.r12.get(),
            self.r13.get(),
            self.r14.get(),
            self.r15.get(),
            self.rbx.get(),
            self.rbp.get(),
        ]
    }

    /// Sets the message words.
    pub fn set_words(&self, words: Words) {
        let registers = [&self.r12, &self.r13, &self.r14, &self.r15, &self.rbx, &self.rbp];
        for (register, word) in registers.into_iter().zip(words) {
            register.set(word);
        }
    }
}

/// A processor exception of a thread, as the entry code reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Fault {
    /// Vector, 0 to 31.
    pub vector: u64,
    /// Error code, 0 if the vector has none.
    pub code: u64,
    /// Faulting linear address (page faults).
    pub address: u64,
}

/// A thread. One page; on the machine its FPU save area fills the page's upper 3 KiB.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Thread {
    /// Epoch.
    pub header: Header,
    /// Bits 0..8 [`State`], 8..16 core, 16.. [`flag`]s: one comparison on the fast paths.
    pub run: Cell<u32>,
    /// Priority it runs at: its context's, or a passive caller's if that is higher.
    pub priority: Cell<u8>,
    /// Priority of its own scheduling context.
    pub own_priority: Cell<u8>,
    /// Calls above it in the chain it serves.
    pub depth: Cell<u8>,
    /// The time it runs on; none while it is lent to a server, or while it waits.
    pub sched_context: Cell<Option<Ref<SchedContext>>>,
    /// Whom it serves.
    pub caller: Cell<Option<Ref<Thread>>>,
    /// Who serves it, or whom it is queued at.
    pub callee: Cell<Option<Ref<Thread>>>,
    /// First page of its domain's capability table.
    pub table: Cell<Frame>,
    /// Slots in that table.
    pub slots: Cell<u64>,
    /// Physical address of its space's root table: what CR3 gets.
    pub root: Cell<u64>,
    /// Registers.
    pub context: Context,
    /// The time that is its own.
    pub own_sched_context: Cell<Option<Ref<SchedContext>>>,
    /// Its process.
    pub domain: Cell<Option<Ref<ProtectionDomain>>>,
    /// Bound notification.
    pub notification: Cell<Option<Ref<Notification>>>,
    /// The vCPU it runs.
    pub vcpu: Cell<Option<Ref<Vcpu>>>,
    /// Where its faults are handled.
    pub fault_handler: CapabilityCell,
    /// The fault it reports.
    pub fault: Cell<Fault>,
    /// Portal it called through, checked again when its call is taken from the queue.
    pub called_through: CapabilityCell,
    /// Slot it receives a capability into, plus one.
    pub receive_slot: Cell<u16>,
    /// Transfer word of the call it waits for.
    pub transfer: Cell<u64>,
    /// 1-based place in the timer heap.
    pub timer_place: Cell<u32>,
    /// 1-based place in the fair band's heap.
    pub fair_place: Cell<u32>,
    /// In a ready queue or in a queue of callers.
    pub queue: Links<Thread>,
    /// In its domain's list.
    pub siblings: Links<Thread>,
    /// Its portals.
    pub portals: List<Portal>,
    /// Priorities at which callers are queued.
    pub callers_bitmap: Cell<u32>,
    /// Callers by priority.
    pub callers: [List<Thread>; PRIORITIES as usize],
}

object!(Thread, Thread, thread);

impl Default for Thread {
    fn default() -> Self {
        Self {
            header: Header::default(),
            run: Cell::default(),
            priority: Cell::default(),
            own_priority: Cell::default(),
            depth: Cell::default(),
            sched_context: Cell::default(),
            caller: Cell::default(),
            callee: Cell::default(),
            table: Cell::default(),
            slots: Cell::default(),
            root: Cell::default(),
            context: Context::default(),
            own_sched_context: Cell::default(),
            domain: Cell::default(),
            notification: Cell::default(),
            vcpu: Cell::default(),
            fault_handler: CapabilityCell::default(),
            fault: Cell::default(),
            called_through: CapabilityCell::default(),
            receive_slot: Cell::default(),
            transfer: Cell::default(),
            timer_place: Cell::default(),
            fair_place: Cell::default(),
            queue: Links::default(),
            siblings: Links::default(),
            portals: List::default(),
            callers_bitmap: Cell::default(),
            callers: core::array::from_fn(|_| List::default()),
        }
    }
}

impl Thread {
    /// The run word of a state on a core, no flag set.
    #[must_use]
    #[inline(always)]
    pub const fn run_word(state: State, core: u8) -> u32 {
        state as u32 | (core as u32) << 8
    }

    /// What it does.
    #[must_use]
    pub fn state(&self) -> State {
        match self.run.get() & 0xFF {
            1 => State::Running,
            2 => State::Ready,
            3 => State::Held,
            4 => State::Waiting,
            5 => State::WaitingSignal,
            6 => State::Called,
            7 => State::Queued,
            _ => State::Inactive,
        }
    }

    /// Changes what it does; flags and core stay.
    pub fn set_state(&self, state: State) {
        self.run.set(self.run.get() & !0xFF | state as u32);
    }

    /// Its core.
    #[must_use]
    pub fn core(&self) -> u8 {
        (self.run.get() >> 8) as u8
    }

    /// Moves it to a core.
    pub fn set_core(&self, core: u8) {
        self.run.set(self.run.get() & !0xFF00 | u32::from(core) << 8);
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u32) -> bool {
        self.run.get() & flag != 0
    }

    /// Sets a flag.
    pub fn set_flag(&self, flag: u32) {
        self.run.set(self.run.get() | flag);
    }

    /// Clears a flag.
    pub fn clear_flag(&self, flag: u32) {
        self.run.set(self.run.get() & !flag);
    }

    /// Whether it has time to run on when it is woken: time that it holds, or its own.
    #[must_use]
    pub fn has_time(&self) -> bool {
        self.sched_context.get().is_some() || self.own_sched_context.get().is_some()
    }

    /// Links of the ready queue and of queues of callers.
    #[must_use]
    pub fn queue_links(&self) -> &Links<Self> {
        &self.queue
    }

    /// Links of the domain's list.
    #[must_use]
    pub fn sibling_links(&self) -> &Links<Self> {
        &self.siblings
    }

    /// The words it sends: the message registers, or the fault.
    #[must_use]
    pub fn message(&self) -> Words {
        if !self.has(flag::FAULTING) {
            return self.context.words();
        }
        self.fault_message()
    }

    /// The words of its fault, for the handler.
    #[must_use]
    pub fn fault_message(&self) -> Words {
        let fault = self.fault.get();
        let (rip, rsp) = (self.context.rip.get(), self.context.rsp.get());
        [
            ecusson_abi::fault::FAULT + fault.vector,
            fault.code,
            fault.address,
            rip,
            rsp,
            0,
        ]
    }

    /// Opens a slot, given plus one, for a capability in the message it waits for; 0 closes it. A thread with an
    /// open slot is no case for the fast paths, which never look at it.
    pub fn open_slot(&self, slot_plus_one: u16) {
        self.receive_slot.set(slot_plus_one);
        if slot_plus_one == 0 {
            self.clear_flag(flag::RECEIVING);
        } else {
            self.set_flag(flag::RECEIVING);
        }
    }

    /// Writes the result of the system call it is in, and closes the slot it may have opened.
    pub fn finish(&self, status: ecusson_abi::Status, second: u64) {
        self.clear_flag(flag::FULL_CONTEXT | flag::GUEST);
        self.open_slot(0);
        self.context.rax.set(status.0);
        self.context.rdx.set(second);
    }
}
