//! Between the state page of `VcpuRun` and this library's terms (`ecusson_abi::vcpu`, `specs/vcpu.md`).
//!
//! Key type: [`Page`]. Used by the thread of a vCPU, around the system call.

use ecusson_abi::vcpu::{State, Word, event, exit as reason, group, run};

use super::{Direction, Entry, Exit, Injection, Interruptibility, Vcpu, length};
use crate::cpu::{CpuState, Exception, Segment, System};
use crate::decode::{Code, Cr8Write};
use crate::loader::EntryState;

/// The kernel refused the state: the page is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryFailed;

/// Segments of the page behind the six that instructions number.
const GDTR: usize = 6;
const LDTR: usize = 7;
const IDTR: usize = 8;
const TR: usize = 9;
const CS: usize = 1;
const SS: usize = 2;

/// Values after INIT (Intel SDM vol. 3, table 10-1); caches are on, as firmware leaves them.
mod reset {
    pub(super) const RFLAGS: u64 = 2;
    pub(super) const CR0: u64 = 0x10;
    pub(super) const DR6: u64 = 0xffff_0ff0;
    pub(super) const DR7: u64 = 0x400;
    pub(super) const XCR0: u64 = 1;
    pub(super) const PAGE_ATTRIBUTES: u64 = 0x0007_0406_0007_0406;
    pub(super) const LIMIT: u32 = 0xffff;
    pub(super) const CODE: u16 = 0x9b;
    pub(super) const DATA: u16 = 0x93;
    pub(super) const LOCAL_TABLE: u16 = 0x82;
    pub(super) const TASK: u16 = 0x8b;
}

/// A vCPU's state page, with what this library asks of it.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    state: &'a State,
}

fn load(state: &State, groups: u64) {
    state.load.set(state.load.get() | groups);
}

fn put_segment(words: &[Word; 2], segment: &Segment) {
    let first =
        u64::from(segment.selector) | u64::from(segment.attributes & 0xfff) << 16 | u64::from(segment.limit) << 32;
    words[0].set(first);
    words[1].set(segment.base);
}

fn get_segment(words: &[Word; 2]) -> Segment {
    let first = words[0].get();
    Segment {
        selector: first as u16,
        attributes: (first >> 16) as u16 & 0xfff,
        limit: (first >> 32) as u32,
        base: words[1].get(),
    }
}

impl<'a> Page<'a> {
    /// Takes a page on: from now on the kernel also saves segments there, which decoding needs.
    #[must_use]
    pub fn new(state: &'a State) -> Self {
        state.save.set(state.save.get() | group::SEGMENTS);
        Self { state }
    }

    /// Registers of the first vCPU at its kernel's first instruction.
    pub fn enter_kernel(&mut self, entry: &EntryState) {
        self.reset();
        let state = self.state;
        state.general[crate::cpu::gpr::RSI].set(entry.rsi);
        state.general[crate::cpu::gpr::RBX].set(entry.rbx);
        state.rip.set(entry.rip);
        state.rflags.set(entry.rflags);
        for (word, value) in [
            (&state.cr0, entry.cr0),
            (&state.cr3, entry.cr3),
            (&state.cr4, entry.cr4),
            (&state.efer, entry.efer),
        ] {
            word.set(value);
        }
        for segment in state.segments.iter().take(GDTR) {
            put_segment(segment, &entry.data);
        }
        put_segment(&state.segments[CS], &entry.cs);
        put_segment(&state.segments[TR], &entry.tr);
        let table = Segment {
            limit: entry.gdt.limit.into(),
            base: entry.gdt.base,
            ..Segment::default()
        };
        put_segment(&state.segments[GDTR], &table);
    }

    /// Registers of another vCPU after its start-up message.
    pub fn start(&mut self, page: u8) {
        self.reset();
        put_segment(
            &self.state.segments[CS],
            &Segment {
                selector: u16::from(page) << 8,
                attributes: reset::CODE,
                limit: reset::LIMIT,
                base: u64::from(page) << 12,
            },
        );
    }

    /// Everything as after INIT. The offset of the time stamp counter stays.
    fn reset(&mut self) {
        let state = self.state;
        for word in state.general.iter().chain(&state.system) {
            word.set(0);
        }
        for (word, value) in [
            (&state.rip, 0),
            (&state.rflags, reset::RFLAGS),
            (&state.cr0, reset::CR0),
            (&state.cr2, 0),
            (&state.cr3, 0),
            (&state.cr4, 0),
            (&state.cr8, 0),
            (&state.efer, 0),
            (&state.xcr0, reset::XCR0),
            (&state.dr6, reset::DR6),
            (&state.dr7, reset::DR7),
            (&state.pat, reset::PAGE_ATTRIBUTES),
            (&state.event, 0),
            (&state.shadow, 0),
            (&state.halted, 0),
            (&state.nmi, 0),
        ] {
            word.set(value);
        }
        let segment = |attributes| Segment {
            selector: 0,
            attributes,
            limit: reset::LIMIT,
            base: 0,
        };
        for words in &state.segments {
            put_segment(words, &segment(reset::DATA));
        }
        for (index, attributes) in [(GDTR, 0), (IDTR, 0), (LDTR, reset::LOCAL_TABLE), (TR, reset::TASK)] {
            put_segment(&state.segments[index], &segment(attributes));
        }
        load(state, group::ALL);
    }

    /// What [`Machine::prepare`](super::Machine::prepare) needs to know. The kernel holds non-maskable interrupts back by itself.
    #[must_use]
    pub fn interruptibility(&self) -> Interruptibility {
        Interruptibility {
            event_pending: self.state.event.get() & event::VALID != 0,
            shadowed: self.state.shadow.get() != 0,
            nmi_blocked: false,
        }
    }

    /// Word 0 of `VcpuRun` for an entry; a vCPU that waits, for its start or for anything else, is run as a halted one.
    #[must_use]
    pub fn flags(entry: &Entry) -> u64 {
        match entry {
            Entry::Run {
                interrupt_window,
                nmi_window,
                ..
            } if *interrupt_window || *nmi_window => run::WINDOW,
            Entry::Run { .. } | Entry::Start { .. } => 0,
            Entry::Wait { .. } | Entry::WaitForStart => run::HALTED,
        }
    }

    /// Puts an event where the kernel injects it from, and the task priority where the guest reads it.
    pub fn fill(&mut self, vcpu: &Vcpu, injection: Option<Injection>) {
        let priority = vcpu.apic().cr8().into();
        if self.state.cr8.get() != priority {
            self.state.cr8.set(priority);
            load(self.state, group::CONTROL);
        }
        let word = match injection {
            None => return,
            Some(Injection::Nmi) => event::NMI | 2,
            Some(Injection::Interrupt(vector)) => event::INTERRUPT | u64::from(vector),
            Some(Injection::Exception(exception)) => self.exception(&exception),
        };
        self.state.event.set(word | event::VALID);
    }

    fn exception(&mut self, exception: &Exception) -> u64 {
        if let Some(address) = exception.address {
            self.state.cr2.set(address);
            load(self.state, group::CONTROL);
        }
        let code = exception.code.map_or(0, |code| event::HAS_CODE | u64::from(code) << 32);
        event::EXCEPTION | u64::from(exception.vector) | code
    }

    /// Whether the guest has halted, in whatever way `VcpuRun` returned; it is then to be told to the machine as an
    /// [`Exit::Halt`] that goes on where it is. The page forgets it.
    #[must_use]
    pub fn take_halt(&mut self) -> Option<Exit> {
        if self.state.halted.get() == 0 {
            return None;
        }
        self.state.halted.set(0);
        Some(Exit::Halt {
            next_rip: self.state.rip.get(),
        })
    }

    /// Switches components of extended state on and off.
    pub fn set_extended_state(&mut self, xcr0: u64) {
        self.state.xcr0.set(xcr0);
        load(self.state, group::CONTROL);
    }

    /// What an exit is about; `reason` is what `VcpuRun` answered. The page's own is that of the last time the guest ran.
    ///
    /// # Errors
    /// [`EntryFailed`].
    pub fn exit(&self, reason: u64) -> Result<Exit, EntryFailed> {
        let state = self.state;
        let [first, second] = [state.qualification[0].get(), state.qualification[1].get()];
        let next = |length: u64| match state.next_rip.get() {
            0 => state.rip.get().wrapping_add(length),
            known => known,
        };
        Ok(match reason {
            reason::IO => port(first, second),
            reason::MSR if first == 1 => Exit::WriteMsr {
                next_rip: next(length::MSR),
            },
            reason::MSR => Exit::ReadMsr {
                next_rip: next(length::MSR),
            },
            reason::CPUID => Exit::Cpuid {
                next_rip: next(length::CPUID),
            },
            reason::MEMORY => Exit::Memory {
                address: second,
                code: self.code(),
            },
            reason::HALT => Exit::Halt {
                next_rip: state.rip.get(),
            },
            reason::SHUTDOWN => Exit::TripleFault,
            reason::HYPERCALL => Exit::Hypercall {
                next_rip: next(length::HYPERCALL),
            },
            reason::CR8 => Exit::WriteCr8 {
                from: (first >> 63 != 0 && state.next_rip.get() != 0).then(|| Cr8Write {
                    register: (first & 15) as usize,
                    next_rip: state.next_rip.get(),
                }),
            },
            reason::XSETBV => Exit::SetExtendedState {
                next_rip: next(length::SET_EXTENDED_STATE),
            },
            reason::CACHES => Exit::Caches {
                next_rip: next(length::CACHES),
            },
            reason::INSTRUCTION => Exit::NotOffered,
            reason::ENTRY_FAILED => return Err(EntryFailed),
            // A window, a kick, or what a later kernel has.
            _ => Exit::Nothing,
        })
    }

    fn code(&self) -> Code {
        let mut bytes = [0; 16];
        let words = self.state.instruction.iter();
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.get().to_le_bytes());
        }
        let [count, rest @ ..] = bytes;
        Code::new(rest.get(..usize::from(count).min(rest.len())).unwrap_or_default())
    }
}

/// The words of an I/O exit.
fn port(first: u64, next_rip: u64) -> Exit {
    const INPUT: u64 = 1;
    const STRING: u64 = 1 << 2;
    let port = (first >> 16) as u16;
    if first & STRING != 0 {
        return Exit::StringPort { port };
    }
    let bytes = match first >> 4 & 7 {
        1 => 1,
        2 => 2,
        _ => 4,
    };
    let direction = if first & INPUT != 0 {
        Direction::In
    } else {
        Direction::Out
    };
    Exit::Port {
        port,
        bytes,
        direction,
        next_rip,
    }
}

impl CpuState for Page<'_> {
    fn gpr(&self, number: usize) -> u64 {
        self.state.general.get(number).map_or(0, Word::get)
    }

    fn set_gpr(&mut self, number: usize, value: u64) {
        if let Some(word) = self.state.general.get(number) {
            word.set(value);
            load(self.state, group::GENERAL);
        }
    }

    fn rip(&self) -> u64 {
        self.state.rip.get()
    }

    fn set_rip(&mut self, value: u64) {
        self.state.rip.set(value);
        // The instruction after one that was emulated is not held back any longer.
        self.state.shadow.set(0);
        load(self.state, group::GENERAL);
    }

    fn rflags(&self) -> u64 {
        self.state.rflags.get()
    }

    fn set_rflags(&mut self, value: u64) {
        self.state.rflags.set(value);
        load(self.state, group::GENERAL);
    }

    fn privilege(&self) -> u8 {
        (get_segment(&self.state.segments[SS]).attributes >> 5) as u8 & 3
    }

    fn cr4(&self) -> u64 {
        self.state.cr4.get()
    }

    fn xcr0(&self) -> u64 {
        self.state.xcr0.get()
    }

    fn efer(&self) -> u64 {
        self.state.efer.get()
    }

    fn set_efer(&mut self, value: u64) {
        self.state.efer.set(value);
        load(self.state, group::CONTROL);
    }

    fn system(&self) -> System {
        let mut segments = [Segment::default(); 6];
        for (to, words) in segments.iter_mut().zip(&self.state.segments) {
            *to = get_segment(words);
        }
        System {
            cr0: self.state.cr0.get(),
            cr3: self.state.cr3.get(),
            cr4: self.state.cr4.get(),
            efer: self.state.efer.get(),
            privilege: self.privilege(),
            segments,
        }
    }
}
