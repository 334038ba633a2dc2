//! All of it together: what a vCPU's exit leads to, and what it is entered with.
//!
//! Key types: [`Machine`], shared by all threads of a VMM, and [`Vcpu`], owned by one of them each. The main loop of a vCPU's thread
//! is thin:
//!
//! 1. [`Machine::prepare`] says whether to run, wait or start, what to inject and until when;
//! 2. the thread carries that out with `VcpuRun`;
//! 3. [`Machine::exit`] deals with what came out, and says whom to kick and whether anything remains to be done.
//!
//! [`Page`] is what lies between the kernel's state page and these.
//!
//! Devices that vCPUs share lie on the [`Board`], behind whatever lock the process has ([`BoardLock`]). Exits that need none of them
//! (CPUID, APIC, interrupts between processors, hypercalls) don't take it.

mod board;
mod emulate;
mod entry;
mod exits;
mod msrs;
mod page;

pub use board::{Board, BoardEffect};
pub use entry::{Entry, Injection, Interruptibility};
pub use page::{EntryFailed, Page};

use crate::apic::{ApicEffect, Fabric, LocalApic, VcpuSet};
use crate::chipset::PowerEvent;
use crate::cpu::{Cpuid, Exception, Msrs};
use crate::decode::{Code, Cr8Write};
use crate::kvm::Paravirtual;
use crate::memory::GuestMemory;
use crate::time::{Now, Timebase};

/// Which way a port access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the device.
    In,
    /// To the device.
    Out,
}

/// Lengths of instructions in bytes, for processors that do not say where the next one begins. They hold for instructions without
/// prefixes, and nobody has a reason to put one there.
pub mod length {
    /// CPUID.
    pub const CPUID: u64 = 2;
    /// RDMSR and WRMSR.
    pub const MSR: u64 = 2;
    /// HLT.
    pub const HALT: u64 = 1;
    /// VMMCALL and VMCALL.
    pub const HYPERCALL: u64 = 3;
    /// XSETBV.
    pub const SET_EXTENDED_STATE: u64 = 3;
    /// INVD and WBINVD.
    pub const CACHES: u64 = 2;
    /// PAUSE.
    pub const PAUSE: u64 = 2;
}

/// Why a guest was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// CPUID.
    Cpuid {
        /// RIP of the next instruction.
        next_rip: u64,
    },
    /// RDMSR.
    ReadMsr {
        /// RIP of the next instruction.
        next_rip: u64,
    },
    /// WRMSR.
    WriteMsr {
        /// RIP of the next instruction.
        next_rip: u64,
    },
    /// IN or OUT of a register.
    Port {
        /// The first port.
        port: u16,
        /// 1, 2 or 4.
        bytes: u8,
        /// Which way.
        direction: Direction,
        /// RIP of the next instruction.
        next_rip: u64,
    },
    /// INS or OUTS, repeated or not.
    StringPort {
        /// The port.
        port: u16,
    },
    /// An access to guest-physical memory that is not there: a device's, perhaps.
    Memory {
        /// Guest-physical address.
        address: u64,
        /// The instruction, where the processor has kept it.
        code: Code,
    },
    /// VMMCALL or VMCALL.
    Hypercall {
        /// RIP of the next instruction.
        next_rip: u64,
    },
    /// HLT.
    Halt {
        /// RIP of the next instruction.
        next_rip: u64,
    },
    /// A move from control register 8.
    ReadCr8 {
        /// The general register.
        register: usize,
        /// RIP of the next instruction.
        next_rip: u64,
    },
    /// A move to control register 8.
    WriteCr8 {
        /// The general register and RIP of the next instruction, where the processor says so.
        from: Option<Cr8Write>,
    },
    /// XSETBV.
    SetExtendedState {
        /// RIP of the next instruction.
        next_rip: u64,
    },
    /// A spin loop.
    Pause {
        /// RIP of the next instruction.
        next_rip: u64,
    },
    /// INVD or WBINVD.
    Caches {
        /// RIP of the next instruction.
        next_rip: u64,
    },
    /// An instruction that is not offered to this guest.
    NotOffered,
    /// The guest can be interrupted now, or somebody kicked the vCPU: nothing else happened.
    Nothing,
    /// The guest's processor has shut down.
    TripleFault,
}

/// How a thread goes on after an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// With [`Machine::prepare`].
    Continue,
    /// As [`Next::Continue`], after letting other threads run.
    Yield,
    /// Sets XCR0, then continues.
    SetExtendedState(u64),
    /// The guest has switched itself off.
    PowerOff,
    /// The guest wants to be reset.
    Reset,
    /// The guest's processor has shut down: the guest is at its end.
    TripleFault,
}

/// What an exit led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How the thread goes on.
    pub next: Next,
    /// Other vCPUs that must look at their interrupts.
    pub kicks: VcpuSet,
    /// The board was used: it may have output or changes to fetch.
    pub board_used: bool,
}

impl Outcome {
    fn new() -> Self {
        Self {
            next: Next::Continue,
            kicks: VcpuSet::NONE,
            board_used: false,
        }
    }

    fn absorb(&mut self, effect: BoardEffect) {
        self.board_used = true;
        self.kicks = self.kicks.and(effect.kicks);
        match effect.power {
            Some(PowerEvent::Off) => self.next = Next::PowerOff,
            Some(PowerEvent::Reset) => self.next = Next::Reset,
            None => {}
        }
    }
}

/// Mutual exclusion between the threads of a VMM, for the devices that they share.
pub trait BoardLock {
    /// Calls `with` while nobody else uses the board.
    fn with<R>(&self, with: impl FnOnce(&mut Board) -> R) -> R;
}

/// What a vCPU is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Running,
    Halted,
    /// Halted, and the other vCPUs have been told.
    Waiting,
    WaitingForStart,
}

/// What belongs to one vCPU alone.
#[derive(Clone, Debug)]
pub struct Vcpu {
    index: usize,
    apic: LocalApic,
    msrs: Msrs,
    paravirtual: Paravirtual,
    activity: Activity,
    exception: Option<Exception>,
    nmi: bool,
    woken: bool,
}

impl Vcpu {
    /// Number of the vCPU, and of its APIC.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its page attribute table, for the kernel to load.
    #[must_use]
    pub fn page_attributes(&self) -> u64 {
        self.msrs.page_attributes()
    }

    /// Asks for a non-maskable interrupt.
    pub fn raise_nmi(&mut self) {
        self.nmi = true;
    }

    /// Its local APIC, to look at.
    #[must_use]
    pub fn apic(&self) -> &LocalApic {
        &self.apic
    }
}

/// A guest's machine. Shared by the threads of its vCPUs.
#[derive(Debug)]
pub struct Machine<M, B> {
    memory: M,
    board: B,
    fabric: Fabric,
    cpuid: Cpuid,
    timebase: Timebase,
}

impl<M: GuestMemory, B: BoardLock> Machine<M, B> {
    /// A machine with so many vCPUs.
    #[must_use]
    pub fn new(memory: M, board: B, cpuid: Cpuid, vcpus: usize, timebase: Timebase) -> Self {
        Self {
            memory,
            board,
            fabric: Fabric::new(vcpus),
            cpuid,
            timebase,
        }
    }

    /// The vCPU with a number, as after power-on: the first runs, the others wait for their start-up. For its thread, once.
    #[must_use]
    pub fn vcpu(&self, index: usize) -> Vcpu {
        let apic = LocalApic::new(index as u32, self.timebase);
        self.fabric.route(index, apic.routing());
        Vcpu {
            index,
            apic,
            msrs: Msrs::default(),
            paravirtual: Paravirtual::new(self.timebase),
            activity: if index == 0 {
                Activity::Running
            } else {
                Activity::WaitingForStart
            },
            exception: None,
            nmi: false,
            woken: false,
        }
    }

    /// The guest's memory.
    #[must_use]
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The shared devices, behind their lock.
    #[must_use]
    pub fn board(&self) -> &B {
        &self.board
    }

    /// What connects the APICs.
    #[must_use]
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// Uses the board with the fabric at hand, for what comes from outside: input, buttons, interrupts of backends. Gives what
    /// `with` gives; it says whom to kick.
    pub fn with_board<R>(&self, with: impl FnOnce(&mut Board, &Fabric) -> R) -> R {
        self.board.with(|board| with(board, &self.fabric))
    }

    /// Carries out what an APIC asks of others.
    fn carry_out(&self, vcpu: &Vcpu, effect: ApicEffect, outcome: &mut Outcome) {
        match effect {
            ApicEffect::None => {}
            ApicEffect::Send(shorthand, message) => {
                let kicks = self.fabric.send_from(vcpu.index, shorthand, &message);
                // The sender looks at its own inbox before it is entered again.
                outcome.kicks = outcome.kicks.and(kicks.without(vcpu.index));
            }
            ApicEffect::EndOfInterrupt(vector) => {
                let kicks = self.board.with(|board| board.end_of_interrupt(vector, &self.fabric));
                outcome.kicks = outcome.kicks.and(kicks.without(vcpu.index));
            }
        }
    }

    /// Reads device memory.
    fn read_device(&self, vcpu: &Vcpu, address: u64, bytes: u8, now: Now, outcome: &mut Outcome) -> u64 {
        if let Some(offset) = apic_offset(address) {
            return vcpu.apic.read_page(offset, now.tsc).into();
        }
        outcome.board_used = true;
        self.board.with(|board| board.read_memory(address, bytes))
    }

    /// Writes device memory.
    fn write_device(&self, vcpu: &mut Vcpu, to: (u64, u8), value: u64, now: Now, outcome: &mut Outcome) {
        let (address, bytes) = to;
        if let Some(offset) = apic_offset(address) {
            let effect = vcpu.apic.write_page(offset, value as u32, now.tsc);
            self.fabric.route(vcpu.index, vcpu.apic.routing());
            self.carry_out(vcpu, effect, outcome);
            return;
        }
        outcome.board_used = true;
        let kicks = self
            .board
            .with(|board| board.write_memory(address, bytes, value, &self.fabric));
        outcome.kicks = outcome.kicks.and(kicks);
    }
}

/// The offset in the local APIC's page. Its registers are 16 bytes apart, and only their first four bytes are anything.
fn apic_offset(address: u64) -> Option<u64> {
    let offset = address.checked_sub(crate::layout::LOCAL_APIC)?;
    (offset < crate::layout::PAGE).then_some(offset)
}
