//! What all threads of the process share once the guest is there.
//!
//! Key types: [`Guest`], [`End`]. Made by `build`; used by the threads of the vCPUs and by the main thread.

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ecusson_abi::NO_DEADLINE;
use ecusson_proto::vmm::State;
use ecusson_rt::cap::kind::{Notification, Region, Vcpu};
use ecusson_rt::lock::Mutex;
use ecusson_rt::time::Clock;
use ecusson_rt::{Cap, println, sys};
use ecusson_vmm::apic::VcpuSet;
use ecusson_vmm::loader::EntryState;
use ecusson_vmm::machine::{Board, BoardLock, Machine};
use ecusson_vmm::time::{Now, Wall};
use spin::Once;

use super::console::Console;
use super::memory::Memory;
use super::names;

/// The devices behind their lock.
#[derive(Debug)]
pub(super) struct Locked(pub(super) Mutex<Board>);

impl BoardLock for Locked {
    fn with<R>(&self, with: impl FnOnce(&mut Board) -> R) -> R {
        with(&mut self.0.lock())
    }
}

/// A vCPU's objects.
#[derive(Debug)]
pub(super) struct Processor {
    pub(super) vcpu: Cap<Vcpu>,
    pub(super) state: Cap<Region>,
    /// Notification of its thread.
    pub(super) signals: Cap<Notification>,
}

/// Why a guest is at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It switched itself off.
    PoweredOff,
    /// It wants to be started again.
    Reset,
    /// It crashed.
    Crashed(String),
}

impl End {
    fn state(&self) -> State {
        match self {
            Self::PoweredOff => State::PoweredOff,
            Self::Reset => State::Reset,
            Self::Crashed(_) => State::Crashed,
        }
    }
}

/// The guest.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) name: String,
    pub(super) machine: Machine<Memory, Locked>,
    pub(super) processors: Vec<Processor>,
    /// Registers of the first vCPU at the beginning.
    pub(super) entry: EntryState,
    /// Ticks of the machine when the guest's were 0.
    pub(super) start: u64,
    pub(super) clock: Clock,
    pub(super) console: Mutex<Console>,
    /// The toolstack's notification.
    pub(super) listener: Option<(Cap<Notification>, u8)>,
    /// [`State`] as a number.
    pub(super) state: AtomicU64,
    /// Why it crashed.
    pub(super) trouble: Once<String>,
    /// The power button was pressed; the first vCPU's thread takes it to the board.
    pub(super) power_pressed: AtomicBool,
}

impl Guest {
    /// How it is.
    pub(super) fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Acquire)).unwrap_or(State::Crashed)
    }

    /// The moment, in its own time.
    pub(super) fn now(&self) -> Now {
        Now {
            tsc: sys::now().wrapping_sub(self.start),
            wall: Wall(self.clock.wall_clock_ns().unwrap_or_default()),
        }
    }

    /// Its moment in ticks of the machine.
    pub(super) fn deadline(&self, tsc: Option<u64>) -> u64 {
        tsc.and_then(|tsc| tsc.checked_add(self.start)).unwrap_or(NO_DEADLINE)
    }

    /// Has vCPUs look at what was sent to them.
    pub(super) fn kick(&self, vcpus: VcpuSet) {
        for processor in vcpus.iter().filter_map(|vcpu| self.processors.get(vcpu)) {
            // One that ended needs no kick.
            let _ = processor.vcpu.kick();
        }
    }

    /// Wakes all threads, to look at the guest as it is now.
    pub(super) fn look(&self) {
        for processor in &self.processors {
            let _ = processor.signals.signal(1 << names::LOOK);
        }
    }

    /// Deals with what an exit left on the board: output for the console, room for more input.
    pub(super) fn look_after_board(&self) {
        let mut console = self.console.lock();
        let kicks = self.machine.with_board(|board, fabric| {
            let kicks = if self.power_pressed.swap(false, Ordering::AcqRel) {
                board.press_power_button(fabric)
            } else {
                VcpuSet::NONE
            };
            console.put_out(board);
            kicks.and(console.type_in(board, fabric))
        });
        self.kick(kicks);
    }

    /// The guest is at its end: all vCPUs stop, the toolstack hears of it. Only the first reason counts.
    pub(super) fn end(&self, end: &End) {
        if let End::Crashed(why) = end {
            println!("vmm: {} crashed: {why}", self.name);
            self.trouble.call_once(|| why.clone());
        }
        let running = State::Running.number();
        let state = end.state().number();
        let first = self
            .state
            .compare_exchange(running, state, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.kick(VcpuSet(u32::MAX));
            if let Some((listener, bit)) = &self.listener {
                let _ = listener.signal(1 << bit);
            }
        }
    }
}
