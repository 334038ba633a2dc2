//! The machine code of an image's programs: which instruction lies at an address, and what it does to memory.
//!
//! Key types: [`Code`], [`Effects`]. Called by [`super::instruction_trace`]; reads the ELF files that cargo built.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register};
use object::{Object as _, ObjectSegment as _, ObjectSymbol, SegmentFlags, elf};

/// The longest an instruction can be (Intel SDM vol. 2, 2.3.11).
const LONGEST_INSTRUCTION: usize = 15;

/// What executing an instruction once means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// Memory operands read, of whatever width.
    pub(super) loads: u64,
    /// Memory operands written.
    pub(super) stores: u64,
    /// 1 if later instructions wait for it: see [`is_serialising`].
    pub(super) serialising: u64,
}

/// An executable segment as the linker wrote it.
struct Segment {
    address: u64,
    bytes: Vec<u8>,
}

/// Programs whose addresses do not overlap.
pub(super) struct Code {
    segments: Vec<Segment>,
    symbols: HashMap<String, u64>,
    known: HashMap<u64, Effects>,
    factory: InstructionInfoFactory,
}

impl Code {
    /// Reads the programs.
    pub(super) fn load(programs: &[&Path]) -> anyhow::Result<Self> {
        let mut code = Self {
            segments: Vec::new(),
            symbols: HashMap::new(),
            known: HashMap::new(),
            factory: InstructionInfoFactory::new(),
        };
        for program in programs {
            let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
            code.add(&bytes).with_context(|| format!("{}", program.display()))?;
        }
        Ok(code)
    }

    fn add(&mut self, file: &[u8]) -> anyhow::Result<()> {
        let file = object::File::parse(file)?;
        for segment in file.segments() {
            if matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags.0 & elf::PF_X.0 != 0) {
                self.segments.push(Segment {
                    address: segment.address(),
                    bytes: segment.data()?.to_vec(),
                });
            }
        }
        for symbol in file.symbols().filter(ObjectSymbol::is_definition) {
            self.symbols.insert(symbol.name()?.to_owned(), symbol.address());
        }
        Ok(())
    }

    /// Executable ranges: first address, number of bytes.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        self.segments
            .iter()
            .map(|segment| (segment.address, segment.bytes.len()))
    }

    /// The address of the function of this crate and name, as the compiler mangles it (`_ZN5crate4name17h...E`).
    pub(super) fn function(&self, krate: &str, name: &str) -> anyhow::Result<u64> {
        let mangled = format!("_ZN{}{krate}{}{name}17h", krate.len(), name.len());
        let mut found = self.symbols.iter().filter(|(symbol, _)| symbol.starts_with(&mangled));
        match (found.next(), found.next()) {
            (Some((_, &address)), None) => Ok(address),
            _ => anyhow::bail!("there is not one function {krate}::{name}"),
        }
    }

    /// What the instruction at an address does.
    pub(super) fn effects(&mut self, address: u64) -> anyhow::Result<Effects> {
        if let Some(&effects) = self.known.get(&address) {
            return Ok(effects);
        }
        let bytes = self
            .bytes(address)
            .with_context(|| format!("no program has code at {address:#x}"))?;
        let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
        anyhow::ensure!(!instruction.is_invalid(), "no instruction at {address:#x}");
        let effects = effects(&mut self.factory, &instruction);
        self.known.insert(address, effects);
        Ok(effects)
    }

    fn bytes(&self, address: u64) -> Option<&[u8]> {
        self.segments.iter().find_map(|segment| {
            let offset = usize::try_from(address.checked_sub(segment.address)?).ok()?;
            let rest = segment.bytes.get(offset..)?;
            rest.get(..LONGEST_INSTRUCTION.min(rest.len()))
        })
    }
}

fn effects(factory: &mut InstructionInfoFactory, instruction: &Instruction) -> Effects {
    let mut effects = Effects {
        serialising: is_serialising(instruction).into(),
        ..Effects::default()
    };
    for operand in factory.info(instruction).used_memory() {
        match operand.access() {
            OpAccess::Read | OpAccess::CondRead => effects.loads += 1,
            OpAccess::Write | OpAccess::CondWrite => effects.stores += 1,
            OpAccess::ReadWrite | OpAccess::ReadCondWrite => {
                effects.loads += 1;
                effects.stores += 1;
            }
            _ => {}
        }
    }
    effects
}

/// Whether the processor finishes all that came before it first: the serialising instructions of the Intel SDM (vol. 3, 9.3)
/// that a kernel or its programs execute, and `LFENCE`, `SYSRET` and `SWAPGS`, which wait or are waited for in practice.
fn is_serialising(instruction: &Instruction) -> bool {
    let writes_control = instruction.mnemonic() == Mnemonic::Mov
        && (instruction.op0_register().is_cr() || instruction.op0_register().is_dr())
        && instruction.op0_register() != Register::CR8;
    writes_control
        || matches!(
            instruction.mnemonic(),
            Mnemonic::Wrmsr
                | Mnemonic::Invlpg
                | Mnemonic::Invpcid
                | Mnemonic::Wbinvd
                | Mnemonic::Cpuid
                | Mnemonic::Serialize
                | Mnemonic::Lgdt
                | Mnemonic::Lidt
                | Mnemonic::Lldt
                | Mnemonic::Ltr
                | Mnemonic::Iretq
                | Mnemonic::Sysretq
                | Mnemonic::Swapgs
                | Mnemonic::Lfence
                | Mnemonic::Xsetbv
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> (u64, u64, u64) {
        let instruction = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).decode();
        let found = effects(&mut InstructionInfoFactory::new(), &instruction);
        (found.loads, found.stores, found.serialising)
    }

    #[test]
    fn memory_operands_are_counted_also_those_nobody_wrote_down() {
        assert_eq!(of(&[0x48, 0x8B, 0x07]), (1, 0, 0), "mov rax, [rdi]");
        assert_eq!(of(&[0x48, 0x89, 0x07]), (0, 1, 0), "mov [rdi], rax");
        assert_eq!(of(&[0xF0, 0x48, 0x01, 0x07]), (1, 1, 0), "lock add [rdi], rax");
        assert_eq!(of(&[0x48, 0x8D, 0x07]), (0, 0, 0), "lea rax, [rdi]");
        assert_eq!(of(&[0x50]), (0, 1, 0), "push rax");
        assert_eq!(of(&[0xFF, 0x17]), (1, 1, 0), "call [rdi]");
        assert_eq!(of(&[0xC3]), (1, 0, 0), "ret");
    }

    #[test]
    fn what_the_processor_waits_for_is_serialising() {
        assert_eq!(of(&[0x0F, 0x22, 0xD8]).2, 1, "mov cr3, rax");
        assert_eq!(of(&[0x0F, 0x20, 0xD8]).2, 0, "mov rax, cr3");
        assert_eq!(of(&[0x48, 0x0F, 0x07]).2, 1, "sysretq");
        assert_eq!(of(&[0x0F, 0x30]).2, 1, "wrmsr");
        assert_eq!(of(&[0x0F, 0x05]).2, 0, "syscall");
    }
}
