//! What an instruction that touched device memory, or moved strings through a port, wanted: read from the guest's own bytes.
//!
//! Needed where the processor does not say so itself. Key types: [`Code`], [`Decoded`], [`Operation`]. Called by the machine's
//! exits; calls the page walk ([`translate`]) and crate `iced-x86`.

mod flags;
mod instruction;
mod walk;

pub use flags::Arithmetic;
pub use instruction::{Cr8Write, Decoded, Extension, Operand, Operation, RegisterPart, StringOperand, decode};
pub use walk::{Access, translate};

use crate::cpu::{Exception, System};
use crate::memory::GuestMemory;

/// Longest instruction in bytes.
const INSTRUCTION_MAX: usize = 15;

/// The bytes of an instruction, where the processor has kept them for the exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Code {
    bytes: [u8; INSTRUCTION_MAX],
    length: u8,
}

impl Code {
    /// None: they are to be read from the guest's memory.
    pub const UNKNOWN: Self = Self {
        bytes: [0; INSTRUCTION_MAX],
        length: 0,
    };

    /// Up to 15 bytes; what the processor kept need not end with the instruction.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut code = Self::UNKNOWN;
        for (to, from) in code.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        code.length = bytes.len().min(INSTRUCTION_MAX) as u8;
        code
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length.into()).unwrap_or_default()
    }
}

/// The number of CS among the segments.
const CS: usize = 1;

/// Bits of code: 16, 32 or 64.
#[must_use]
pub fn code_bits(system: &System) -> u32 {
    const LONG_MODE_ACTIVE: u64 = 1 << 10;
    const LONG: u16 = 0x200;
    const DEFAULT_32: u16 = 0x400;
    let attributes = system.segments[CS].attributes;
    if system.efer & LONG_MODE_ACTIVE != 0 && attributes & LONG != 0 {
        64
    } else if attributes & DEFAULT_32 != 0 {
        32
    } else {
        16
    }
}

/// Linear address of an offset in a segment.
#[must_use]
pub fn linear(system: &System, segment: usize, offset: u64) -> u64 {
    const FS: usize = 4;
    let base = system.segments.get(segment).map_or(0, |segment| segment.base);
    if code_bits(system) == 64 {
        // Only FS and GS have a base.
        return if segment >= FS {
            base.wrapping_add(offset)
        } else {
            offset
        };
    }
    base.wrapping_add(offset) & 0xffff_ffff
}

/// Decodes the instruction at `rip`: of `code`, or read from the guest's memory where that is unknown.
///
/// # Errors
/// The exception that the processor would raise for the fetch, or [`Exception::INVALID_OPCODE`] for an instruction that is
/// not emulated.
pub fn fetch(memory: &impl GuestMemory, system: &System, rip: u64, code: &Code) -> Result<Decoded, Exception> {
    let bits = code_bits(system);
    // What the processor kept may end within the instruction: then it is read like one that was not kept.
    if let Some(decoded) = decode(code.as_slice(), bits, rip) {
        return Ok(decoded);
    }
    let code = read(memory, system, rip)?;
    decode(code.as_slice(), bits, rip).ok_or(Exception::INVALID_OPCODE)
}

/// Decodes a move to control register 8, which some processors do not say the source of.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_cr8_write(memory: &impl GuestMemory, system: &System, rip: u64) -> Result<Cr8Write, Exception> {
    let code = read(memory, system, rip)?;
    instruction::cr8_write(code.as_slice(), code_bits(system), rip).ok_or(Exception::INVALID_OPCODE)
}

fn read(memory: &impl GuestMemory, system: &System, rip: u64) -> Result<Code, Exception> {
    let mut bytes = [0; INSTRUCTION_MAX];
    let start = linear(system, CS, rip);
    let in_page = (4096 - (start & 4095)).min(INSTRUCTION_MAX as u64) as usize;
    let (first, rest) = bytes.split_at_mut(in_page);
    read_code(memory, system, start, first)?;
    let mut length = in_page;
    // The next page is looked at only if the instruction may go on there, and need not be mapped.
    if !rest.is_empty() && read_code(memory, system, start.wrapping_add(in_page as u64), rest).is_ok() {
        length = INSTRUCTION_MAX;
    }
    Ok(Code::new(bytes.get(..length).unwrap_or_default()))
}

fn read_code(memory: &impl GuestMemory, system: &System, at: u64, into: &mut [u8]) -> Result<(), Exception> {
    let address = translate(memory, system, at, Access::Fetch)?;
    memory.read(address, into).map_err(|_| Exception::INVALID_OPCODE)
}
