//! The machine as a vCPU's thread uses it: exits in, what to do out.

use std::sync::Mutex;

use ecusson_vmm::apic::VcpuSet;
use ecusson_vmm::cpu::{CpuState, Cpuid, Exception, Offer, PlainState, gpr};
use ecusson_vmm::decode::{Code, Cr8Write};
use ecusson_vmm::kvm::TlbFlush;
use ecusson_vmm::layout::{COM1, IO_APIC, LOCAL_APIC};
use ecusson_vmm::machine::{
    Board, BoardLock, Direction, Entry, Exit, Injection, Interruptibility, Machine, Next, Outcome, Vcpu,
};
use ecusson_vmm::memory::GuestMemory;
use ecusson_vmm::time::{Now, Timebase, Wall};
use proptest::prelude::*;

use crate::decode::{long_mode, map_small};
use crate::support::Memory;

const MIB: usize = 1 << 20;
/// Where the tests put instructions.
const CODE: u64 = 0x8000;
const IF: u64 = 1 << 9;

pub(crate) struct Locked(Mutex<Board>);

impl BoardLock for Locked {
    fn with<R>(&self, with: impl FnOnce(&mut Board) -> R) -> R {
        with(&mut self.0.lock().expect("nobody panics with the board"))
    }
}

pub(crate) type TestMachine = Machine<Memory, Locked>;

/// A vCPU with its registers.
struct Runner {
    machine: TestMachine,
    vcpu: Vcpu,
    state: PlainState,
    tsc: u64,
}

pub(crate) fn machine(vcpus: usize) -> TestMachine {
    let timebase = Timebase::new(1_000_000);
    let offer = Offer {
        vcpus,
        timebase,
        extended_state: 7,
        tsc_aux: false,
        speculation_control: false,
        tlb_flush: true,
        invariant_tsc: false,
    };
    let cpuid = Cpuid::new(&offer, |leaf, subleaf| match (leaf, subleaf) {
        (0, _) => [0xd, 0, 0, 0],
        (0xd, 0) => [7, 0, 0, 0],
        _ => [u32::MAX; 4],
    });
    let memory = Memory::new(2 * MIB);
    map_small(&memory);
    Machine::new(memory, Locked(Mutex::new(Board::new())), cpuid, vcpus, timebase)
}

fn runner() -> Runner {
    let machine = machine(2);
    Runner {
        vcpu: machine.vcpu(0),
        machine,
        state: PlainState {
            rip: CODE,
            rflags: 2,
            xcr0: 1,
            system: long_mode(),
            ..PlainState::default()
        },
        tsc: 0,
    }
}

impl Runner {
    fn now(&self) -> Now {
        Now {
            tsc: self.tsc,
            wall: Wall(1_700_000_000_000_000_000),
        }
    }

    fn exit(&mut self, exit: Exit) -> Outcome {
        let now = self.now();
        self.machine.exit(&mut self.vcpu, &exit, &mut self.state, now)
    }

    fn prepare(&mut self) -> Entry {
        let mut kicks = VcpuSet::NONE;
        let interruptibility = Interruptibility {
            event_pending: false,
            shadowed: false,
            nmi_blocked: false,
        };
        let now = self.now();
        self.machine
            .prepare(&mut self.vcpu, &self.state, interruptibility, now, &mut kicks)
    }

    fn injection(&mut self) -> Option<Injection> {
        match self.prepare() {
            Entry::Run { injection, .. } => injection,
            other => panic!("{other:?}"),
        }
    }

    fn write_msr(&mut self, msr: u32, value: u64) {
        self.state.gpr[gpr::RCX] = msr.into();
        self.state.gpr[gpr::RAX] = value & 0xffff_ffff;
        self.state.gpr[gpr::RDX] = value >> 32;
        let next_rip = self.state.rip + 2;
        self.exit(Exit::WriteMsr { next_rip });
        assert_eq!(self.state.rip, next_rip, "{msr:#x} was written");
    }

    fn out(&mut self, port: u16, value: u8) -> Outcome {
        self.state.gpr[gpr::RAX] = value.into();
        self.exit(Exit::Port {
            port,
            bytes: 1,
            direction: Direction::Out,
            next_rip: self.state.rip + 1,
        })
    }

    /// Puts an instruction at RIP and lets it touch `address`.
    fn touch(&mut self, instruction: &[u8], address: u64) -> Outcome {
        self.state.rip = CODE;
        self.machine.memory().write(CODE, instruction).expect("memory");
        self.exit(Exit::Memory {
            address,
            code: Code::UNKNOWN,
        })
    }

    fn enable_x2apic(&mut self) {
        self.write_msr(0x1b, 0xfee0_0d00);
        self.write_msr(0x80f, 0x1ff);
        self.state.rflags |= IF;
    }
}

#[test]
fn serial_output_and_input_go_through_the_board() {
    let mut run = runner();
    for byte in b"Linux" {
        assert!(run.out(COM1, *byte).board_used);
    }
    let mut text = [0; 16];
    let count = run.machine.with_board(|board, _| board.take_output(&mut text));
    assert_eq!(&text[..count], b"Linux");
    // Route line 4 to vector 0x34 of vCPU 1, by instructions on the I/O APIC's page; connect the port; type.
    for (select, value) in [(0x19_u8, 1_u32 << 24), (0x18, 0x34)] {
        run.touch(&[0xc7, 0x03, select, 0, 0, 0], IO_APIC);
        run.state.gpr[gpr::RCX] = value.into();
        run.touch(&[0x89, 0x0b], IO_APIC + 0x10);
    }
    run.touch(&[0x8b, 0x03], IO_APIC + 0x10);
    assert_eq!(run.state.gpr[gpr::RAX], 0x34);
    run.out(COM1 + 4, 8);
    run.out(COM1 + 1, 1);
    let (taken, kicks) = run
        .machine
        .with_board(|board, fabric| board.serial_input(b"ls\n", fabric));
    assert_eq!((taken, kicks), (3, VcpuSet::of(1)));
    assert!(run.machine.fabric().take(1).expect("an interrupt").edge.contains(0x34));
    // IN gives a byte and leaves the rest of RAX.
    run.state.gpr[gpr::RAX] = u64::MAX;
    run.exit(Exit::Port {
        port: COM1,
        bytes: 1,
        direction: Direction::In,
        next_rip: CODE + 1,
    });
    assert_eq!(run.state.gpr[gpr::RAX], !0xff | u64::from(b'l'));
}

#[test]
fn a_halt_ends_with_the_timer() {
    let mut run = runner();
    run.enable_x2apic();
    run.write_msr(0x832, 0x4_0040);
    run.write_msr(0x6e0, 5000);
    run.exit(Exit::Halt { next_rip: CODE + 1 });
    assert_eq!(run.prepare(), Entry::Wait { deadline: Some(5000) });
    run.tsc = 4999;
    assert_eq!(run.prepare(), Entry::Wait { deadline: Some(5000) });
    run.tsc = 5000;
    assert_eq!(run.injection(), Some(Injection::Interrupt(0x40)));
    run.write_msr(0x80b, 0);
    // With interrupts off only a kick ends a halt, also one that came first.
    run.state.rflags = 2;
    run.machine.fabric().wake(0);
    assert_eq!(run.injection(), None);
    run.exit(Exit::Halt { next_rip: CODE + 1 });
    assert_eq!(run.injection(), None);
    run.write_msr(0x83f, 0x50);
    run.exit(Exit::Halt { next_rip: CODE + 1 });
    assert_eq!(run.prepare(), Entry::Wait { deadline: None });
    run.vcpu.raise_nmi();
    assert_eq!(run.injection(), Some(Injection::Nmi));
}

#[test]
fn interrupts_wait_for_their_window() {
    let mut run = runner();
    run.enable_x2apic();
    run.state.rflags = 2;
    run.write_msr(0x83f, 0x50);
    assert!(matches!(
        run.prepare(),
        Entry::Run {
            injection: None,
            interrupt_window: true,
            ..
        }
    ));
    run.state.rflags |= IF;
    let blocked = Interruptibility {
        event_pending: false,
        shadowed: true,
        nmi_blocked: false,
    };
    let now = run.now();
    let mut kicks = VcpuSet::NONE;
    let entry = run.machine.prepare(&mut run.vcpu, &run.state, blocked, now, &mut kicks);
    assert!(matches!(
        entry,
        Entry::Run {
            injection: None,
            interrupt_window: true,
            ..
        }
    ));
    assert!(matches!(
        run.prepare(),
        Entry::Run {
            injection: Some(Injection::Interrupt(0x50)),
            interrupt_window: false,
            ..
        }
    ));
}

#[test]
fn another_processor_is_started() {
    let mut run = runner();
    run.enable_x2apic();
    let mut other = run.machine.vcpu(1);
    let machine = machine(1);
    let look = |vcpu: &mut Vcpu, state: &PlainState, run: &Runner| {
        let free = Interruptibility {
            event_pending: false,
            shadowed: false,
            nmi_blocked: false,
        };
        run.machine
            .prepare(vcpu, state, free, run.now(), &mut VcpuSet::default())
    };
    let state = PlainState::default();
    assert_eq!(look(&mut other, &state, &run), Entry::WaitForStart);
    run.state.gpr[gpr::RCX] = 0x830;
    for (command, kicked) in [(0x4500_u64, 2), (0x4608, 2)] {
        (run.state.gpr[gpr::RDX], run.state.gpr[gpr::RAX]) = (1, command);
        let outcome = run.exit(Exit::WriteMsr { next_rip: CODE });
        assert_eq!(outcome.kicks, VcpuSet(kicked));
    }
    assert_eq!(look(&mut other, &state, &run), Entry::Start { page: 8 });
    assert!(matches!(
        look(&mut other, &state, &run),
        Entry::Run { injection: None, .. }
    ));
    assert_eq!(machine.fabric().vcpus(), 1);
}

#[test]
fn interrupts_end_silently_in_memory() {
    let mut run = runner();
    run.enable_x2apic();
    run.write_msr(0x4b56_4d04, 0x1_0000 | 1);
    run.write_msr(0x83f, 0x50);
    assert_eq!(run.injection(), Some(Injection::Interrupt(0x50)));
    assert_eq!(run.machine.memory().bytes(0x1_0000, 1), [1], "offered");
    // The guest takes the offer; the next interrupt of the same class comes at once.
    run.machine.memory().write(0x1_0000, &[0]).expect("memory");
    run.write_msr(0x83f, 0x51);
    assert_eq!(run.injection(), Some(Injection::Interrupt(0x51)));
    // It does not: the interrupt is still in service.
    run.write_msr(0x83f, 0x52);
    assert_eq!(run.machine.memory().bytes(0x1_0000, 1), [0], "taken back");
    assert_eq!(run.injection(), None);
    assert_eq!(run.machine.memory().bytes(0x1_0000, 1), [0], "somebody waits: no offer");
    run.write_msr(0x80b, 0);
    assert_eq!(run.injection(), Some(Injection::Interrupt(0x52)));
}

#[test]
fn a_waiting_vcpu_is_flushed_by_mail() {
    let mut run = runner();
    run.enable_x2apic();
    run.write_msr(0x4b56_4d03, 0x1_0000 | 1);
    run.exit(Exit::Halt { next_rip: CODE + 1 });
    run.prepare();
    assert_eq!(run.machine.memory().bytes(0x1_0010, 1), [1], "preempted");
    run.machine.memory().write(0x1_0010, &[3]).expect("memory");
    run.vcpu.raise_nmi();
    assert!(matches!(
        run.prepare(),
        Entry::Run {
            flush: TlbFlush::Yes,
            ..
        }
    ));
    assert_eq!(run.machine.memory().bytes(0x1_0010, 1), [0]);
    assert!(matches!(
        run.prepare(),
        Entry::Run {
            flush: TlbFlush::No,
            ..
        }
    ));
}

#[test]
fn the_clock_page_is_written_when_it_is_registered() {
    let mut run = runner();
    run.tsc = 3_000_000_000;
    run.write_msr(0x4b56_4d01, 0x1_0000 | 1);
    let memory = run.machine.memory();
    assert_eq!(memory.u32(0x1_0000) % 2, 0);
    assert_eq!(memory.u32(0x1_0018), 1 << 31, "1 GHz: half, shifted by one");
    assert_eq!(memory.bytes(0x1_001c, 2), [1, 1]);
    run.write_msr(0x4b56_4d00, 0x1_0100);
    assert_eq!(run.machine.memory().u32(0x1_0104), 1_700_000_000 - 3);
    run.write_msr(0x4b56_4d01, 0xffff_ffff_f001);
}

#[test]
fn what_is_not_there_faults_and_leaves_the_instruction() {
    let mut run = runner();
    run.state.gpr[gpr::RCX] = 0x4b56_4d02;
    for exit in [
        Exit::ReadMsr { next_rip: 1 },
        Exit::WriteMsr { next_rip: 1 },
        Exit::SetExtendedState { next_rip: 1 },
    ] {
        run.exit(exit);
        assert_eq!(run.state.rip, CODE);
        assert_eq!(
            run.injection(),
            Some(Injection::Exception(Exception::GENERAL_PROTECTION))
        );
    }
    run.exit(Exit::NotOffered);
    assert_eq!(run.injection(), Some(Injection::Exception(Exception::INVALID_OPCODE)));
    (run.state.gpr[gpr::RCX], run.state.gpr[gpr::RAX]) = (0, 7);
    assert_eq!(
        run.exit(Exit::SetExtendedState { next_rip: 1 }).next,
        Next::SetExtendedState(7)
    );
    assert_eq!(run.exit(Exit::TripleFault).next, Next::TripleFault);
    assert_eq!(run.exit(Exit::Pause { next_rip: 1 }).next, Next::Yield);
}

#[test]
fn the_guest_switches_itself_off() {
    let mut run = runner();
    assert_eq!(run.out(0x600, 0x34).next, Next::PowerOff);
    assert_eq!(run.out(0x602, 1).next, Next::Reset);
    assert_eq!(run.out(0x64, 0xfe).next, Next::Reset);
    assert_eq!(run.out(0xcf9, 6).next, Next::Reset);
    assert_eq!(run.out(0x80, 1).next, Next::Continue);
}

#[test]
fn xapic_registers_are_reached_by_instructions() {
    let mut run = runner();
    // mov dword [rbx], 0x1ff; or dword [rbx], 0x10000
    run.touch(&[0xc7, 0x03, 0xff, 1, 0, 0], LOCAL_APIC + 0xf0);
    run.touch(&[0x81, 0x0b, 0x40, 0, 4, 0], LOCAL_APIC + 0x320);
    run.touch(&[0x8b, 0x03], LOCAL_APIC + 0x320);
    assert_eq!(run.state.gpr[gpr::RAX], 0x5_0040);
    assert_eq!(run.state.rip, CODE + 2);
    // An IPI to the other one.
    run.touch(&[0xc7, 0x03, 0, 0, 0, 1], LOCAL_APIC + 0x310);
    let outcome = run.touch(&[0xc7, 0x03, 0x70, 0, 0, 0], LOCAL_APIC + 0x300);
    assert_eq!(outcome.kicks, VcpuSet::of(1));
}

#[test]
fn strings_move_one_element_an_exit() {
    let mut run = runner();
    run.machine.memory().write(0x1_0000, b"abcdefgh").expect("memory");
    // rep outsb to the serial port
    run.machine.memory().write(CODE, &[0xf3, 0x6e]).expect("memory");
    (run.state.gpr[gpr::RSI], run.state.gpr[gpr::RCX]) = (0x1_0000, 3);
    for left in [2, 1, 0] {
        assert_eq!(run.state.rip, CODE);
        run.exit(Exit::StringPort { port: COM1 });
        assert_eq!(run.state.gpr[gpr::RCX], left);
    }
    assert_eq!(run.state.rip, CODE + 2);
    let mut text = [0; 8];
    assert_eq!(run.machine.with_board(|board, _| board.take_output(&mut text)), 3);
    assert_eq!(&text[..3], b"abc");
    // movsd from a device to memory, across a page: nothing is there, so all ones.
    (run.state.gpr[gpr::RSI], run.state.gpr[gpr::RDI]) = (0x1_0000, 0x1_1ffe);
    let entry = 0xd000_0000_u64 | 0x63;
    run.machine
        .memory()
        .write(0x4000 + 8 * 0x10, &entry.to_le_bytes())
        .expect("memory");
    run.touch(&[0xa5], 0xd000_0000);
    assert_eq!(run.machine.memory().u32(0x1_1ffe), u32::MAX);
    assert_eq!((run.state.gpr[gpr::RSI], run.state.gpr[gpr::RDI]), (0x1_0004, 0x1_2002));
    // A target that can't be written faults before anything is read.
    run.state.gpr[gpr::RDI] = 0x20_0000;
    run.touch(&[0xa5], 0xd000_0000);
    assert_eq!(
        run.injection(),
        Some(Injection::Exception(Exception::page_fault(0x20_0000, 2)))
    );
}

fn any_exit() -> impl Strategy<Value = Exit> {
    let rip = any::<u64>();
    prop_oneof![
        rip.prop_map(|next_rip| Exit::Cpuid { next_rip }),
        rip.prop_map(|next_rip| Exit::ReadMsr { next_rip }),
        rip.prop_map(|next_rip| Exit::WriteMsr { next_rip }),
        (any::<u16>(), 0_usize..3, any::<bool>(), rip).prop_map(|(port, size, out, next_rip)| Exit::Port {
            port,
            bytes: [1, 2, 4][size],
            direction: if out { Direction::Out } else { Direction::In },
            next_rip
        }),
        any::<u16>().prop_map(|port| Exit::StringPort { port }),
        (any::<u64>(), any::<[u8; 9]>()).prop_map(|(address, code)| Exit::Memory {
            address,
            code: Code::new(&code)
        }),
        (0_u64..0x1000).prop_map(|offset| Exit::Memory {
            address: LOCAL_APIC + offset,
            code: Code::UNKNOWN
        }),
        (0_u64..0x1000).prop_map(|offset| Exit::Memory {
            address: IO_APIC + offset,
            code: Code::UNKNOWN
        }),
        rip.prop_map(|next_rip| Exit::Hypercall { next_rip }),
        rip.prop_map(|next_rip| Exit::Halt { next_rip }),
        (any::<bool>(), any::<usize>(), rip).prop_map(|(known, register, next_rip)| Exit::WriteCr8 {
            from: known.then_some(Cr8Write { register, next_rip })
        }),
        rip.prop_map(|next_rip| Exit::SetExtendedState { next_rip }),
        Just(Exit::Nothing),
    ]
}

/// Numbers that mean something in some register.
fn interesting() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0_u64..0x100,
        0x800_u64..0x900,
        0x4b56_4d00_u64..0x4b56_4d08,
        Just(0x6e0),
        Just(0x1_0001)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a guest does, its machine goes on.
    #[test]
    fn a_machine_survives_anything(steps in prop::collection::vec((any_exit(), prop::array::uniform4(interesting()), any::<[u8; 6]>(), any::<u32>()), 1..40)) {
        let mut run = runner();
        for (exit, values, code, time) in steps {
            run.tsc = run.tsc.saturating_add(time.into());
            for (register, value) in [gpr::RAX, gpr::RCX, gpr::RDX, gpr::RSI].into_iter().zip(values) {
                run.state.set_gpr(register, value);
            }
            run.state.rip = CODE;
            run.state.rflags = u64::from(time) | 2;
            run.machine.memory().write(CODE, &code).expect("memory");
            run.exit(exit);
            run.prepare();
        }
    }
}
