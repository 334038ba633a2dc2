//! From instruction bytes to what is to be done at the memory operand.
//!
//! Key types: [`Decoded`], [`Operation`]. The address of the operand is not computed: the exit brings the guest-physical one.

use iced_x86::{Decoder, DecoderOptions, Instruction, MemorySize, Mnemonic, OpKind, Register};

use super::flags::{Arithmetic, mask};
use crate::cpu::{CpuState, gpr};

/// Part of a general register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterPart {
    /// Number of the register.
    pub number: usize,
    /// Bytes of the part.
    pub bytes: u8,
    /// It is the second byte: AH, CH, DH, BH.
    pub high: bool,
}

impl RegisterPart {
    /// Registers follow each other in the enumeration by size: AL to BL, AH to BH, SPL to R15L, then AX, EAX and RAX, 16 each.
    fn of(register: Register) -> Option<Self> {
        let part = |number, bytes, high| Some(Self { number, bytes, high });
        let index = register as usize;
        if register < Register::AL || register > Register::R15 {
            None
        } else if register < Register::AX {
            match index - Register::AL as usize {
                low @ 0..4 => part(low, 1, false),
                high @ 4..8 => part(high - 4, 1, true),
                other => part(other - 4, 1, false),
            }
        } else if register < Register::EAX {
            part(index - Register::AX as usize, 2, false)
        } else if register < Register::RAX {
            part(index - Register::EAX as usize, 4, false)
        } else {
            part(index - Register::RAX as usize, 8, false)
        }
    }

    /// Its value.
    #[must_use]
    pub fn get(self, state: &impl CpuState) -> u64 {
        let shift = if self.high { 8 } else { 0 };
        state.gpr(self.number) >> shift & mask(self.bytes)
    }

    /// Sets it. Four bytes clear the upper half, fewer leave the rest alone.
    pub fn set(self, state: &mut impl CpuState, value: u64) {
        let whole = state.gpr(self.number);
        let value = value & mask(self.bytes);
        let whole = match self.bytes {
            1 | 2 => {
                let shift = if self.high { 8 } else { 0 };
                whole & !(mask(self.bytes) << shift) | value << shift
            }
            _ => value,
        };
        state.set_gpr(self.number, whole);
    }
}

/// The operand that is not the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Of a register.
    Register(RegisterPart),
    /// In the instruction, extended to 64 bits.
    Immediate(u64),
}

impl Operand {
    /// Its value.
    #[must_use]
    pub fn get(self, state: &impl CpuState) -> u64 {
        match self {
            Self::Register(part) => part.get(state),
            Self::Immediate(value) => value,
        }
    }
}

/// How a value fills a longer register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// With zeroes.
    Zero,
    /// With its top bit.
    Sign,
}

impl Extension {
    /// Extends a value of so many bytes to 64 bits.
    #[must_use]
    pub fn apply(self, value: u64, bytes: u8) -> u64 {
        let mask = mask(bytes);
        let value = value & mask;
        let top = mask ^ mask >> 1;
        if self == Self::Sign && value & top != 0 {
            value | !mask
        } else {
            value
        }
    }
}

/// How a string instruction steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringOperand {
    /// It repeats while RCX is not zero.
    pub repeats: bool,
    /// Bytes of RSI, RDI and RCX that count: 2, 4 or 8.
    pub address_bytes: u8,
    /// Number of the segment of the source.
    pub source_segment: usize,
}

/// What is done at the memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Memory to register.
    Load(RegisterPart, Extension),
    /// Operand to memory.
    Store(Operand),
    /// Memory becomes memory with operand; the flags are set.
    Modify(Arithmetic, Operand),
    /// The register becomes itself with memory; the flags are set.
    Combine(Arithmetic, RegisterPart),
    /// The flags become what memory with operand gives; nothing is written.
    Compare(Arithmetic, Operand),
    /// The flags become what operand with memory gives; nothing is written.
    CompareReversed(Arithmetic, RegisterPart),
    /// Memory and register change places.
    Exchange(RegisterPart),
    /// RAX to ES:RDI.
    StoreString(StringOperand),
    /// Segment:RSI to ES:RDI.
    MoveString(StringOperand),
    /// From port DX to ES:RDI.
    InputString(StringOperand),
    /// Segment:RSI to port DX.
    OutputString(StringOperand),
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What it does.
    pub operation: Operation,
    /// Bytes of its memory operand: 1, 2, 4 or 8.
    pub bytes: u8,
    /// RIP of the next instruction.
    pub next_rip: u64,
}

/// A move to control register 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cr8Write {
    /// Number of the general register.
    pub register: usize,
    /// RIP of the next instruction.
    pub next_rip: u64,
}

pub(super) fn cr8_write(bytes: &[u8], bits: u32, rip: u64) -> Option<Cr8Write> {
    let mut decoder = Decoder::try_with_ip(bits, bytes, rip, DecoderOptions::NONE).ok()?;
    let instruction = decoder.decode();
    let is_write = instruction.mnemonic() == Mnemonic::Mov && instruction.op0_register() == Register::CR8;
    let register = RegisterPart::of(instruction.op1_register())
        .filter(|_| is_write)?
        .number;
    Some(Cr8Write {
        register,
        next_rip: instruction.next_ip(),
    })
}

/// Decodes an instruction for code of 16, 32 or 64 bits. `None` for one that is not emulated, or not all there.
#[must_use]
pub fn decode(bytes: &[u8], bits: u32, rip: u64) -> Option<Decoded> {
    let mut decoder = Decoder::try_with_ip(bits, bytes, rip, DecoderOptions::NONE).ok()?;
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return None;
    }
    let operation = operation(&instruction)?;
    let size = memory_bytes(&instruction)?;
    Some(Decoded {
        operation,
        bytes: size,
        next_rip: instruction.next_ip(),
    })
}

fn memory_bytes(instruction: &Instruction) -> Option<u8> {
    use MemorySize::{Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    match instruction.memory_size() {
        UInt8 | Int8 => Some(1),
        UInt16 | Int16 => Some(2),
        UInt32 | Int32 => Some(4),
        UInt64 | Int64 => Some(8),
        _ => None,
    }
}

fn operation(instruction: &Instruction) -> Option<Operation> {
    use Mnemonic::{
        Add, And, Cmp, Insb, Insd, Insw, Mov, Movnti, Movsb, Movsd, Movsq, Movsw, Movsx, Movsxd, Movzx, Or, Outsb,
        Outsd, Outsw, Stosb, Stosd, Stosq, Stosw, Sub, Test, Xchg, Xor,
    };
    let string = || string_operand(instruction);
    match instruction.mnemonic() {
        Mov | Movnti => load_or_store(instruction),
        Movzx => Some(Operation::Load(register(instruction, 0)?, Extension::Zero)),
        Movsx | Movsxd => Some(Operation::Load(register(instruction, 0)?, Extension::Sign)),
        Add => arithmetic(instruction, Arithmetic::Add),
        Sub => arithmetic(instruction, Arithmetic::Subtract),
        And => arithmetic(instruction, Arithmetic::And),
        Or => arithmetic(instruction, Arithmetic::Or),
        Xor => arithmetic(instruction, Arithmetic::Xor),
        Cmp if is_memory(instruction, 0) => Some(Operation::Compare(Arithmetic::Subtract, operand(instruction, 1)?)),
        Cmp => Some(Operation::CompareReversed(
            Arithmetic::Subtract,
            register(instruction, 0)?,
        )),
        Test => Some(Operation::Compare(Arithmetic::And, operand(instruction, 1)?)),
        Xchg => {
            let other = if is_memory(instruction, 0) { 1 } else { 0 };
            Some(Operation::Exchange(register(instruction, other)?))
        }
        Stosb | Stosw | Stosd | Stosq => Some(Operation::StoreString(string()?)),
        // Movsd is also the name of an SSE instruction, whose operands are not strings.
        Movsb | Movsw | Movsd | Movsq => Some(Operation::MoveString(string()?)),
        Insb | Insw | Insd => Some(Operation::InputString(string()?)),
        Outsb | Outsw | Outsd => Some(Operation::OutputString(string()?)),
        _ => None,
    }
}

fn is_memory(instruction: &Instruction, index: u32) -> bool {
    index < instruction.op_count() && instruction.op_kind(index) == OpKind::Memory
}

fn register(instruction: &Instruction, index: u32) -> Option<RegisterPart> {
    let is_register = index < instruction.op_count() && instruction.op_kind(index) == OpKind::Register;
    is_register.then(|| RegisterPart::of(instruction.op_register(index)))?
}

fn operand(instruction: &Instruction, index: u32) -> Option<Operand> {
    if let Some(part) = register(instruction, index) {
        return Some(Operand::Register(part));
    }
    if index >= instruction.op_count() {
        return None;
    }
    instruction.try_immediate(index).ok().map(Operand::Immediate)
}

fn load_or_store(instruction: &Instruction) -> Option<Operation> {
    if is_memory(instruction, 0) {
        Some(Operation::Store(operand(instruction, 1)?))
    } else if is_memory(instruction, 1) {
        Some(Operation::Load(register(instruction, 0)?, Extension::Zero))
    } else {
        None
    }
}

fn arithmetic(instruction: &Instruction, kind: Arithmetic) -> Option<Operation> {
    if is_memory(instruction, 0) {
        Some(Operation::Modify(kind, operand(instruction, 1)?))
    } else if is_memory(instruction, 1) {
        Some(Operation::Combine(kind, register(instruction, 0)?))
    } else {
        None
    }
}

fn string_operand(instruction: &Instruction) -> Option<StringOperand> {
    let address_bytes = (0..instruction.op_count()).find_map(|index| match instruction.op_kind(index) {
        OpKind::MemoryESDI | OpKind::MemorySegSI => Some(2),
        OpKind::MemoryESEDI | OpKind::MemorySegESI => Some(4),
        OpKind::MemoryESRDI | OpKind::MemorySegRSI => Some(8),
        _ => None,
    })?;
    let source_segment = match instruction.memory_segment() {
        Register::ES => 0,
        Register::CS => 1,
        Register::SS => 2,
        Register::FS => 4,
        Register::GS => 5,
        _ => 3,
    };
    Some(StringOperand {
        repeats: instruction.has_rep_prefix() || instruction.has_repne_prefix(),
        address_bytes,
        source_segment,
    })
}

impl StringOperand {
    fn part(self, number: usize) -> RegisterPart {
        RegisterPart {
            number,
            bytes: self.address_bytes,
            high: false,
        }
    }

    /// Offset of the source.
    #[must_use]
    pub fn source(self, state: &impl CpuState) -> u64 {
        self.part(gpr::RSI).get(state)
    }

    /// Offset of the target, in ES.
    #[must_use]
    pub fn target(self, state: &impl CpuState) -> u64 {
        self.part(gpr::RDI).get(state)
    }

    /// Whether there is nothing left to do.
    #[must_use]
    pub fn is_done(self, state: &impl CpuState) -> bool {
        self.repeats && self.part(gpr::RCX).get(state) == 0
    }

    /// Steps over one element: the registers named, and the count. Whether that was the last.
    pub fn step(self, state: &mut impl CpuState, registers: &[usize], bytes: u8) -> bool {
        const DIRECTION: u64 = 1 << 10;
        for &number in registers {
            let part = self.part(number);
            let at = part.get(state);
            let next = if state.rflags() & DIRECTION == 0 {
                at.wrapping_add(bytes.into())
            } else {
                at.wrapping_sub(bytes.into())
            };
            part.set(state, next);
        }
        if self.repeats {
            let count = self.part(gpr::RCX);
            let left = count.get(state).wrapping_sub(1);
            count.set(state, left);
        }
        !self.repeats || self.is_done(state)
    }
}
