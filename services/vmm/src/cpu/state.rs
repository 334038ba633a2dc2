//! A vCPU's registers as this library reads and writes them.
//!
//! Key types: [`CpuState`], which the process implements over the page that `VcpuRun` fills; [`System`], the part that decides what an
//! address means, asked for only where an instruction is decoded; [`PlainState`], both in a struct.

/// A segment register with what the processor keeps of its descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Bits 0 to 7: type, S, DPL, P; bits 8 to 11: AVL, L, D/B, G (the form that the VMCB has).
    pub attributes: u16,
    /// Limit in bytes, inclusive.
    pub limit: u32,
    /// Linear address of its first byte.
    pub base: u64,
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableRegister {
    /// Linear address.
    pub base: u64,
    /// Length in bytes less one.
    pub limit: u16,
}

/// What decides how the vCPU reads instructions and addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Control register 0.
    pub cr0: u64,
    /// Control register 3.
    pub cr3: u64,
    /// Control register 4.
    pub cr4: u64,
    /// Extended features.
    pub efer: u64,
    /// Current privilege level.
    pub privilege: u8,
    /// ES, CS, SS, DS, FS, GS: the order in which instructions number them.
    pub segments: [Segment; 6],
}

/// Number of a general register, as instructions have it: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
pub mod gpr {
    /// RAX.
    pub const RAX: usize = 0;
    /// RCX.
    pub const RCX: usize = 1;
    /// RDX.
    pub const RDX: usize = 2;
    /// RBX.
    pub const RBX: usize = 3;
    /// RSI.
    pub const RSI: usize = 6;
    /// RDI.
    pub const RDI: usize = 7;
}

/// The registers of a vCPU that has left its guest. Calls are meant to be loads and stores.
pub trait CpuState {
    /// A general register, 0 to 15; see [`gpr`]. Others are zero.
    fn gpr(&self, number: usize) -> u64;
    /// Sets a general register; others are ignored.
    fn set_gpr(&mut self, number: usize, value: u64);
    /// The instruction pointer.
    fn rip(&self) -> u64;
    /// Sets the instruction pointer.
    fn set_rip(&mut self, value: u64);
    /// The flags.
    fn rflags(&self) -> u64;
    /// Sets the flags.
    fn set_rflags(&mut self, value: u64);
    /// Current privilege level.
    fn privilege(&self) -> u8;
    /// Control register 4.
    fn cr4(&self) -> u64;
    /// The components of extended state that are switched on.
    fn xcr0(&self) -> u64;
    /// The extended features.
    fn efer(&self) -> u64;
    /// Sets the extended features, as a write to their register that is allowed.
    fn set_efer(&mut self, value: u64);
    /// Everything that decoding needs.
    fn system(&self) -> System;
}

/// Registers in a struct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlainState {
    /// General registers.
    pub gpr: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Components of extended state that are switched on.
    pub xcr0: u64,
    /// The rest.
    pub system: System,
}

impl CpuState for PlainState {
    fn gpr(&self, number: usize) -> u64 {
        self.gpr.get(number).copied().unwrap_or_default()
    }

    fn set_gpr(&mut self, number: usize, value: u64) {
        if let Some(register) = self.gpr.get_mut(number) {
            *register = value;
        }
    }

    fn rip(&self) -> u64 {
        self.rip
    }

    fn set_rip(&mut self, value: u64) {
        self.rip = value;
    }

    fn rflags(&self) -> u64 {
        self.rflags
    }

    fn set_rflags(&mut self, value: u64) {
        self.rflags = value;
    }

    fn privilege(&self) -> u8 {
        self.system.privilege
    }

    fn cr4(&self) -> u64 {
        self.system.cr4
    }

    fn xcr0(&self) -> u64 {
        self.xcr0
    }

    fn efer(&self) -> u64 {
        self.system.efer
    }

    fn set_efer(&mut self, value: u64) {
        self.system.efer = value;
    }

    fn system(&self) -> System {
        self.system
    }
}
