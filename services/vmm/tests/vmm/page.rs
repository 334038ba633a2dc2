//! The state page of `VcpuRun`: what is put there, and what is read from it.

use ecusson_abi::vcpu::{State, event, exit as reason, group, run};
use ecusson_vmm::cpu::{CpuState, Exception, Segment, TableRegister, gpr};
use ecusson_vmm::decode::{Code, Cr8Write};
use ecusson_vmm::kvm::TlbFlush;
use ecusson_vmm::loader::{EntryState, Mode};
use ecusson_vmm::machine::{Direction, Entry, EntryFailed, Exit, Injection, Page};
use proptest::prelude::*;

const RIP: u64 = 0x1000;

/// A page as after an exit.
fn exited(cause: u64, qualification: [u64; 2], next_rip: u64) -> State {
    let state = State::default();
    state.reason.set(cause);
    for (word, value) in state.qualification.iter().zip(qualification) {
        word.set(value);
    }
    state.next_rip.set(next_rip);
    state.rip.set(RIP);
    state
}

fn exit(cause: u64, qualification: [u64; 2], next_rip: u64) -> Exit {
    Page::new(&exited(cause, qualification, next_rip))
        .exit(cause)
        .expect("an exit")
}

#[test]
fn every_exit_has_its_meaning() {
    let next = RIP + 2;
    assert_eq!(exit(reason::CPUID, [0; 2], 0), Exit::Cpuid { next_rip: next });
    assert_eq!(exit(reason::CPUID, [0; 2], 0x77), Exit::Cpuid { next_rip: 0x77 });
    assert_eq!(exit(reason::MSR, [0; 2], 0), Exit::ReadMsr { next_rip: next });
    assert_eq!(exit(reason::MSR, [1, 0], 0), Exit::WriteMsr { next_rip: next });
    assert_eq!(
        exit(reason::HYPERCALL, [0; 2], 0),
        Exit::Hypercall { next_rip: RIP + 3 }
    );
    assert_eq!(
        exit(reason::HALT, [0; 2], 0),
        Exit::Halt { next_rip: RIP },
        "done by the kernel"
    );
    assert_eq!(exit(reason::SHUTDOWN, [0; 2], 0), Exit::TripleFault);
    assert_eq!(
        exit(reason::XSETBV, [0; 2], 0),
        Exit::SetExtendedState { next_rip: RIP + 3 }
    );
    assert!(matches!(exit(reason::CACHES, [0; 2], 0), Exit::Caches { .. }));
    assert_eq!(exit(reason::INSTRUCTION, [7, 0], 0), Exit::NotOffered);
    for quiet in [reason::WINDOW, reason::KICK, 99] {
        assert_eq!(exit(quiet, [0; 2], 0), Exit::Nothing);
    }
    let input = Exit::Port {
        port: 0x3f8,
        bytes: 1,
        direction: Direction::In,
        next_rip: 0x1001,
    };
    assert_eq!(exit(reason::IO, [0x3f8_0011, 0x1001], 0), input);
    let output = Exit::Port {
        port: 0xcf8,
        bytes: 4,
        direction: Direction::Out,
        next_rip: 0x1001,
    };
    assert_eq!(exit(reason::IO, [0xcf8_0040, 0x1001], 0), output);
    assert_eq!(
        exit(reason::IO, [0x3f8_001c, 0x1001], 0),
        Exit::StringPort { port: 0x3f8 }
    );
    let from = Some(Cr8Write {
        register: 9,
        next_rip: 0x1004,
    });
    assert_eq!(exit(reason::CR8, [1 << 63 | 9, 0], 0x1004), Exit::WriteCr8 { from });
    assert_eq!(exit(reason::CR8, [0, 0], 0), Exit::WriteCr8 { from: None });
    let state = exited(reason::ENTRY_FAILED, [0; 2], 0);
    assert_eq!(Page::new(&state).exit(state.reason.get()), Err(EntryFailed));
}

#[test]
fn an_instruction_that_was_kept_is_used() {
    let state = exited(reason::MEMORY, [4, 0xfec0_0000], 0);
    let unknown = Exit::Memory {
        address: 0xfec0_0000,
        code: Code::UNKNOWN,
    };
    assert_eq!(Page::new(&state).exit(state.reason.get()), Ok(unknown));
    state.instruction[0].set(u64::from_le_bytes([9, 1, 2, 3, 4, 5, 6, 7]));
    state.instruction[1].set(u64::from_le_bytes([8, 9, 10, 11, 12, 13, 14, 15]));
    let known = Exit::Memory {
        address: 0xfec0_0000,
        code: Code::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9]),
    };
    assert_eq!(Page::new(&state).exit(state.reason.get()), Ok(known));
}

#[test]
fn what_is_changed_is_loaded() {
    let state = State::default();
    let mut page = Page::new(&state);
    assert_eq!(state.save.get(), group::SEGMENTS);
    page.set_gpr(gpr::RDX, 5);
    page.set_gpr(99, 6);
    assert_eq!(
        (page.gpr(gpr::RDX), page.gpr(99), state.load.get()),
        (5, 0, group::GENERAL)
    );
    state.shadow.set(1);
    page.set_rip(0x2000);
    assert!(!page.interruptibility().shadowed, "the instruction is over");
    page.set_efer(0x500);
    page.set_extended_state(7);
    assert_eq!((state.load.get(), page.xcr0()), (group::GENERAL | group::CONTROL, 7));
    assert_eq!(page.take_halt(), None);
    state.halted.set(1);
    assert_eq!(page.take_halt(), Some(Exit::Halt { next_rip: 0x2000 }));
    assert_eq!(page.take_halt(), None);
}

#[test]
fn entries_have_their_flags() {
    let entry = |interrupt_window, nmi_window| Entry::Run {
        injection: None,
        interrupt_window,
        nmi_window,
        deadline: None,
        flush: TlbFlush::No,
    };
    assert_eq!(Page::flags(&entry(false, false)), 0);
    assert_eq!(Page::flags(&entry(true, false)), run::WINDOW);
    assert_eq!(Page::flags(&entry(false, true)), run::WINDOW);
    assert_eq!(Page::flags(&Entry::Wait { deadline: None }), run::HALTED);
    assert_eq!(Page::flags(&Entry::WaitForStart), run::HALTED);
}

#[test]
fn events_are_coded_as_the_kernel_takes_them() {
    let state = State::default();
    let mut page = Page::new(&state);
    let machine = crate::machine::machine(1);
    let vcpu = machine.vcpu(0);
    let mut code = |injection| {
        page.fill(&vcpu, injection);
        state.event.get()
    };
    assert_eq!(code(None), 0);
    assert_eq!(code(Some(Injection::Interrupt(0x41))), event::VALID | 0x41);
    assert_eq!(code(Some(Injection::Nmi)), event::VALID | event::NMI | 2);
    let fault = Exception::page_fault(0xdead_0000, 6);
    let expected = event::VALID | event::EXCEPTION | event::HAS_CODE | 6 << 32 | 14;
    assert_eq!(code(Some(Injection::Exception(fault))), expected);
    assert_eq!(state.cr2.get(), 0xdead_0000);
    let expected = event::VALID | event::EXCEPTION | 6;
    assert_eq!(code(Some(Injection::Exception(Exception::INVALID_OPCODE))), expected);
    assert!(Page::new(&state).interruptibility().event_pending);
}

#[test]
fn a_kernel_and_another_processor_are_started() {
    let state = State::default();
    let mut page = Page::new(&state);
    let segment = |attributes| Segment {
        selector: 0x10,
        attributes,
        limit: u32::MAX,
        base: 0,
    };
    page.enter_kernel(&EntryState {
        mode: Mode::Long,
        rip: 0x100_0200,
        rsi: 0x7000,
        rbx: 0,
        rflags: 2,
        cr0: 0x8000_0011,
        cr3: 0x9000,
        cr4: 0x20,
        efer: 0x500,
        cs: segment(0xa9b),
        data: segment(0xc93),
        tr: segment(0x8b),
        gdt: TableRegister { base: 0x500, limit: 39 },
    });
    assert_eq!(
        (page.rip(), page.gpr(gpr::RSI), state.load.get()),
        (0x100_0200, 0x7000, group::ALL)
    );
    assert_eq!(state.segments[1][0].get(), 0xffff_ffff_0a9b_0010);
    assert_eq!(
        (state.segments[6][0].get() >> 32, state.segments[6][1].get()),
        (39, 0x500)
    );
    let system = page.system();
    assert_eq!(
        (system.privilege, system.segments[1], system.cr3),
        (0, segment(0xa9b), 0x9000)
    );
    page.start(0x9a);
    assert_eq!((page.rip(), state.cr0.get(), page.efer()), (0, 0x10, 0));
    let cs = page.system().segments[1];
    assert_eq!((cs.selector, cs.base, cs.limit), (0x9a00, 0x9_a000, 0xffff));
}

proptest! {
    /// Whatever the words are, they are an exit or a refusal.
    #[test]
    fn any_page_is_read(words in any::<[u64; 8]>(), cause in 0_u64..16) {
        let state = exited(cause, [words[0], words[1]], words[2]);
        state.instruction[0].set(words[3]);
        state.instruction[1].set(words[4]);
        state.event.set(words[5]);
        let page = Page::new(&state);
        prop_assert_eq!(page.exit(cause).is_err(), cause == reason::ENTRY_FAILED);
        let _ = page.interruptibility();
        page.system();
    }
}
