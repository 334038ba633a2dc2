//! What can happen to the kernel: one entry on one core.

use ecusson_abi::{Kind, Rights, Syscall, Transfer, Words, ops};
use ecusson_core::host::{CANONICAL_DEADLINE, CANONICAL_NOW};

/// A way into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A system call of the core's current thread: number, rdi, rsi, message words.
    Call(Syscall, u64, u64, Words),
    /// The timer interrupt, when the deadlines of this core have passed.
    Timer,
    /// A page fault of the current thread.
    Fault,
    /// The reschedule interrupt.
    Reschedule,
    /// The flush interrupt: serves what flush is wanted.
    Flush,
}

/// An entry on a core, and the row of the operation x result matrix it counts in.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// Core it happens on.
    pub core: u8,
    /// What happens.
    pub entry: Entry,
    /// Row of the matrix.
    pub row: &'static str,
    /// Whether it may change nothing, even when it succeeds.
    pub is_query: bool,
}

/// Deadlines of waiting calls: never, over, to come.
pub const DEADLINES: [u64; 3] = [ecusson_abi::NO_DEADLINE, CANONICAL_NOW, CANONICAL_DEADLINE];

/// A transfer word: slot and rights to send, slot to receive into.
#[must_use]
pub fn transfer(send: Option<(u16, Rights)>, receive: Option<u16>) -> u64 {
    let mut word = Transfer(0);
    if let Some((slot, rights)) = send {
        word.set_send_slot_plus_one(slot + 1);
        word.set_send_rights(rights.0);
    }
    if let Some(slot) = receive {
        word.set_receive_slot_plus_one(slot + 1);
    }
    word.0
}

/// Collects the actions of a universe for the cores it names.
#[derive(Debug)]
pub struct Actions {
    cores: Vec<u8>,
    /// The actions.
    pub list: Vec<Action>,
}

impl Actions {
    /// Nothing yet, for some cores.
    #[must_use]
    pub fn on(cores: &[u8]) -> Self {
        Self {
            cores: cores.to_vec(),
            list: Vec::new(),
        }
    }

    fn add(&mut self, row: &'static str, entry: Entry, is_query: bool) {
        let cores = self.cores.iter();
        self.list.extend(cores.map(|&core| Action {
            core,
            entry,
            row,
            is_query,
        }));
    }

    /// An interrupt or another entry that is no system call.
    pub fn event(&mut self, row: &'static str, entry: Entry) {
        self.add(row, entry, false);
    }

    /// A system call.
    pub fn call(&mut self, row: &'static str, call: Syscall, first: u64, second: u64, word: u64) {
        self.add(row, Entry::Call(call, first, second, [word, 1, 2, 3, 4, 5]), false);
    }

    /// `Invoke`, arguments after the operation.
    pub fn invoke(&mut self, row: &'static str, slot: u64, operation: u64, arguments: [u64; 5]) {
        let [a, b, c, d, e] = arguments;
        self.add(
            row,
            Entry::Call(Syscall::Invoke, slot, 0, [operation, a, b, c, d, e]),
            false,
        );
    }

    /// An `Invoke` that only asks.
    pub fn query(&mut self, row: &'static str, slot: u64, operation: u64, argument: u64) {
        let words = [operation, argument, 0, 0, 0, 0];
        self.add(row, Entry::Call(Syscall::Invoke, slot, 0, words), true);
    }

    /// `Memory.create`.
    pub fn create(&mut self, row: &'static str, memory: u64, kind: Kind, slot: u64, arguments: [u64; 3]) {
        let [a, b, c] = arguments;
        self.invoke(row, memory, ops::memory::CREATE, [kind as u64, slot, a, b, c]);
    }

    /// Every kind's `DESTROY`.
    pub fn destroy(&mut self, row: &'static str, slot: u64) {
        self.invoke(row, slot, ops::DESTROY, [0; 5]);
    }

    /// Interrupts that come at any time.
    pub fn interrupts(&mut self) {
        self.event("timer", Entry::Timer);
        self.event("reschedule", Entry::Reschedule);
        self.event("flush", Entry::Flush);
    }
}
