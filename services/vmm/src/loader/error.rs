//! What can be wrong with a kernel, an initrd or a command line.

use core::fmt;

use crate::memory::MemoryFault;

/// Why a guest could not be loaded. The text names the file at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Neither ELF nor a Linux kernel with a setup header.
    NotAKernel,
    /// The file ends before something that its header says is in it.
    Truncated {
        /// What is missing.
        what: &'static str,
    },
    /// A boot protocol older than 2.12, which has no 64-bit entry.
    OldProtocol {
        /// As in the header: major number in the high byte.
        version: u16,
    },
    /// The kernel has no 64-bit entry.
    Not64Bit,
    /// The kernel is a "zImage", loaded low.
    NotLoadedHigh,
    /// A field of the setup header makes no sense.
    BadHeader {
        /// Its name in the boot protocol.
        field: &'static str,
    },
    /// The ELF file is for something else, or damaged.
    BadElf {
        /// What was looked at.
        what: &'static str,
    },
    /// An ELF file without a PVH note: no way is known to start it.
    NoPvhNote,
    /// The kernel does not fit into the guest's memory.
    KernelDoesNotFit {
        /// First guest-physical address that it wants.
        start: u64,
        /// Address behind its last.
        end: u64,
        /// Where memory ends.
        memory_end: u64,
    },
    /// The initrd does not fit between the kernel and the end of the memory that the kernel can reach.
    InitrdDoesNotFit {
        /// Its length.
        bytes: u64,
        /// Address behind the kernel.
        kernel_end: u64,
        /// Where it must end.
        end: u64,
    },
    /// The command line is longer than the kernel takes.
    CommandLineTooLong {
        /// Its length.
        bytes: u64,
        /// What the kernel takes.
        limit: u64,
    },
    /// The command line has a zero byte in it.
    CommandLineZero,
    /// The guest's memory refused an access that should fit: the caller's map is not the layout.
    Memory(MemoryFault),
}

impl From<MemoryFault> for LoadError {
    fn from(fault: MemoryFault) -> Self {
        Self::Memory(fault)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAKernel => write!(to, "kernel: neither a Linux bzImage nor an ELF file"),
            Self::Truncated { what } => write!(to, "kernel: the file ends before its {what}"),
            Self::OldProtocol { version } => write!(
                to,
                "kernel: boot protocol {}.{}, at least 2.12 is needed",
                version >> 8,
                version & 0xff
            ),
            Self::Not64Bit => write!(to, "kernel: no 64-bit entry (XLF_KERNEL_64 is not set)"),
            Self::NotLoadedHigh => write!(to, "kernel: a zImage, only bzImage is loaded"),
            Self::BadHeader { field } => write!(to, "kernel: the setup header's {field} makes no sense"),
            Self::BadElf { what } => write!(to, "kernel: the ELF file's {what} makes no sense for an x86-64 kernel"),
            Self::NoPvhNote => write!(to, "kernel: an ELF file without a PVH note (build with CONFIG_PVH)"),
            Self::KernelDoesNotFit { start, end, memory_end } => write!(
                to,
                "kernel: wants memory from {start:#x} to {end:#x}, the guest's ends at {memory_end:#x}"
            ),
            Self::InitrdDoesNotFit { bytes, kernel_end, end } => write!(
                to,
                "initrd: {bytes} bytes do not fit between the kernel's end at {kernel_end:#x} and {end:#x}"
            ),
            Self::CommandLineTooLong { bytes, limit } => {
                write!(to, "command line: {bytes} bytes, the kernel takes {limit}")
            }
            Self::CommandLineZero => write!(to, "command line: has a zero byte"),
            Self::Memory(fault) => write!(to, "guest memory: {fault}"),
        }
    }
}

impl core::error::Error for LoadError {}
