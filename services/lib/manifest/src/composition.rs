//! The composition: the whole manifest after all checks, as root carries it out. Indices instead of names, addresses and
//! slots assigned.
//!
//! Key types: [`Composition`], [`Process`], [`Capability`], [`Target`]. Written by `boot/image`, read by `services/root`.
//! Every index is valid and every rule of `specs/manifest.md` holds when the bytes come from `boot/image`; root still
//! looks indices up with `get`, because it trusts the file no further than it has to.
//!
//! The bytes: magic `ECMP`, version (u16, little-endian), then [`Composition`] in postcard.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{DecodeError, VERSION, strip_header};

/// First bytes of a composition.
pub const MAGIC: &[u8; 4] = b"ECMP";

/// Everything root makes at boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Composition {
    /// What the machine must have.
    pub machine: Machine,
    /// Priority at which root serves faults and requests: 1 to 31.
    pub root_priority: u8,
    /// Regions shared between processes.
    pub regions: Vec<SharedRegion>,
    /// Data files in the bundle.
    pub files: Vec<DataFile>,
    /// The processes, in the order of the manifest; they are started in this order.
    pub processes: Vec<Process>,
}

/// What the machine must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// RAM that the image was checked against, in MiB; with less, root says so and goes on at its own risk.
    pub memory_mib: u32,
    /// Cores that threads are placed on: 0 to `cores` - 1.
    pub cores: u16,
    /// What the manifest says about devices that write to memory.
    pub dma: Dma,
}

/// The manifest's statement about DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dma {
    /// No process does DMA.
    None,
    /// Devices may reach all memory; root prints this at boot.
    Unconfined,
    /// An IOMMU confines each device to its Dma space.
    Iommu,
}

/// A region shared between processes. Root makes one Region, scrubs it and attaches slices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedRegion {
    /// Its name.
    pub name: String,
    /// Its length.
    pub pages: u32,
    /// Whether devices read or write it.
    pub dma: bool,
}

/// A file that the image carries as it is. Nobody can write its pages; each holder gets a slice of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Its name.
    pub name: String,
    /// Where its bytes are, in the bundle: `offset` page aligned, the rest of the last page zero. An empty file has a page
    /// of zeros all the same.
    pub content: Extent,
}

impl DataFile {
    /// Pages of its slices: at least one.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.content.bytes.div_ceil(crate::layout::PAGE_BYTES).max(1)
    }
}

/// A process and all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// What to load.
    pub program: Program,
    /// Its encoded boot table, in the bundle: `offset` page aligned, the rest of the last page zero.
    pub boot_table: Extent,
    /// Pages of its capability table (256 slots each).
    pub table_pages: u8,
    /// Its threads; the first is the main thread.
    pub threads: Vec<Thread>,
    /// Portals it offers; portal objects are made for each edge, with the edge's label.
    pub portals: Vec<Portal>,
    /// Notifications it owns.
    pub notifications: Vec<Notification>,
    /// Pages of the Memory capability in [`crate::layout::slots::MEMORY`]; 0: none.
    pub memory_pages: u32,
    /// Who starts it.
    pub start: Start,
    /// What happens when it ends; for a process that is started on demand: nothing but that its controller is told.
    pub restart: Restart,
    /// The processes that it starts and stops; requests count them from 0.
    pub controls: Vec<Control>,
    /// Its capability table when it starts, in ascending order of slots, fixed slots included.
    pub capabilities: Vec<Capability>,
    /// First of the slots kept free for received capabilities.
    pub receive_first: u16,
    /// How many they are.
    pub receive_count: u16,
}

/// A piece of the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Bytes from the bundle's first byte.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// A program without its ELF. Processes with the same binary share its bytes in the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Name of the binary (cargo package), for messages.
    pub binary: String,
    /// Where every thread starts, with its index in rdi.
    pub entry: u64,
    /// Ascending, page aligned, not overlapping.
    pub segments: Vec<Segment>,
}

/// A page-aligned piece of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Bytes from the bundle's first byte, page aligned.
    pub offset: u64,
    /// Virtual address, page aligned.
    pub address: u64,
    /// Bytes in the bundle, a multiple of the page size (zero padded). A segment that is not writable has all its pages
    /// there, so that root can map the bundle's own pages.
    pub file_bytes: u64,
    /// Bytes in memory, a positive multiple of the page size; what the file does not have is zero.
    pub memory_bytes: u64,
    /// READ and at most one of WRITE and EXECUTE, as [`ecusson_abi::Rights`].
    pub rights: u8,
}

/// A thread, its stack and its processor time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Its name.
    pub name: String,
    /// Mapped pages below [`crate::layout::stack_top`] of its index.
    pub stack_pages: u32,
    /// Core it runs on.
    pub core: u16,
    /// 1 to 31; a higher number runs first.
    pub priority: u8,
    /// Share within the fair band; counts at priority 1 only.
    pub weight: u32,
    /// Processor time it may use per period, in microseconds.
    pub budget_us: u32,
    /// The period; budget = period is no limit.
    pub period_us: u32,
    /// Whether it may use x87, SSE and AVX.
    pub fpu: bool,
    /// Which of the process's notifications is bound to it.
    pub notification: Option<u16>,
}

/// A portal that a process offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portal {
    /// Its name.
    pub name: String,
    /// On whose time it runs.
    pub mode: PortalMode,
    /// Index of the serving thread in [`Process::threads`].
    pub thread: u16,
}

/// On whose scheduling context a portal's server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortalMode {
    /// On the caller's.
    Passive,
    /// On its own.
    Active,
}

/// A notification that a process owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Its name.
    pub name: String,
}

/// Who starts a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// Root, at boot.
    Boot,
    /// Its controller, when it wants. Until then there is nothing of it, not even memory.
    Demand,
}

/// A process that is started and stopped by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Which.
    pub process: u16,
    /// Which of the controller's notifications root signals when it ended.
    pub notification: u16,
    /// By which bit.
    pub bit: u8,
}

/// When root starts a process again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// After which ends.
    pub policy: RestartPolicy,
    /// Pause before the first restart, in milliseconds; doubled with each further one.
    pub backoff_ms: u32,
    /// Longest pause; a process that ran this long counts as healthy and its pause starts over.
    pub backoff_max_ms: u32,
    /// Restarts in a row after which root gives up; 0: never.
    pub give_up_after: u32,
}

/// After which ends a process is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// After every end.
    Always,
    /// After a fault or a panic, not after a clean exit.
    OnFailure,
    /// Never.
    Never,
}

/// A capability to put into a process's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Where.
    pub slot: u16,
    /// With which rights, as [`ecusson_abi::Rights`].
    pub rights: u8,
    /// To what.
    pub target: Target,
}

/// What a capability names. Indices count within [`Composition::processes`] and the lists of the process meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The process's own Space.
    OwnSpace,
    /// A Memory of [`Process::memory_pages`].
    OwnMemory,
    /// A portal of root's with this label.
    Supervisor {
        /// Index of the process plus one.
        label: u64,
    },
    /// The process's own ProtectionDomain.
    OwnProtectionDomain,
    /// A portal object of its own for this edge.
    Portal {
        /// The server.
        process: u16,
        /// Which of its portals.
        portal: u16,
        /// The label to create it with.
        label: u64,
    },
    /// One of the process's own notifications.
    Notification {
        /// Which.
        notification: u16,
    },
    /// Another process's notification, to signal one bit.
    Signal {
        /// The owner.
        process: u16,
        /// Which of its notifications.
        notification: u16,
        /// The bit that is this edge's.
        bit: u8,
    },
    /// A slice of a shared region, to be attached at `address` with the capability's rights.
    SharedRegion {
        /// Index in [`Composition::regions`].
        region: u16,
        /// Virtual address, page aligned.
        address: u64,
    },
    /// Device memory, to be attached at `address` with the capability's rights.
    Mmio {
        /// First physical page.
        first_page: u64,
        /// Length.
        pages: u32,
        /// Virtual address, page aligned.
        address: u64,
    },
    /// An interrupt; the process binds it itself.
    Interrupt {
        /// Which.
        line: InterruptLine,
        /// Core it is delivered to: that of the thread which waits for it.
        core: u16,
    },
    /// I/O ports, to be attached to the process.
    Ports {
        /// The first.
        first: u16,
        /// How many.
        count: u16,
    },
    /// The Platform object.
    Platform,
    /// A Dma space.
    DmaSpace,
    /// A slice of a data file; the process attaches it itself.
    File {
        /// Index in [`Composition::files`].
        file: u16,
        /// Place in the process's space that is kept for it, aligned to 2 MiB.
        address: u64,
    },
}

/// How an interrupt reaches the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InterruptLine {
    /// A global system interrupt.
    Gsi {
        /// Its number.
        gsi: u32,
        /// `ecusson_abi::platform` trigger flags.
        trigger: u8,
    },
    /// A message-signalled interrupt.
    Msi,
}

impl Composition {
    /// The bytes to put into the image.
    ///
    /// # Errors
    /// postcard's, which a vector that grows never gives.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let mut bytes = Vec::from(*MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        postcard::to_extend(self, bytes)
    }

    /// Reads a composition. Bytes behind it (the rest of the page) are ignored.
    ///
    /// # Errors
    /// [`DecodeError`] when these are not the bytes that `boot/image` wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = strip_header(bytes, MAGIC)?;
        let (composition, _rest) = postcard::take_from_bytes(body).map_err(|_| DecodeError::Malformed)?;
        Ok(composition)
    }
}
