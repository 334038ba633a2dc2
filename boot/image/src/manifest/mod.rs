//! The manifest as written: names, not yet resolved, every value with its place.
//!
//! Key types: [`Manifest`], [`Process`], [`Thread`]. Filled by [`Manifest::parse`] (module `parse`, on the table reader of
//! module `reader`), read by `check` and `compose`. Fields mean what `specs/manifest.md` says of the key of the same name.

mod files;
mod instances;
mod parse;
mod reader;

pub use parse::FORMAT;
pub(crate) use reader::nearest as reader_nearest;

use ecusson_manifest::composition::{Dma, InterruptLine, PortalMode, Restart, Start};

use crate::diagnostic::{At, Span};

/// A whole manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// `[machine]`
    pub machine: Machine,
    /// `[root]`
    pub root: Root,
    /// `[[region]]`
    pub regions: Vec<Region>,
    /// `[file.NAME]`
    pub files: Vec<File>,
    /// `[[process]]`
    pub processes: Vec<Process>,
}

/// `[machine]`
#[derive(Clone, Debug)]
pub struct Machine {
    /// Where the table is.
    pub span: Span,
    /// RAM the image must fit into, in MiB.
    pub memory_mib: At<u32>,
    /// Part of it for loader, kernel, page tables and root, in MiB.
    pub reserve_mib: At<u32>,
    /// Cores that threads are placed on.
    pub cores: At<u16>,
    /// The statement about DMA, if one is made.
    pub dma: Option<At<Dma>>,
}

/// `[root]`
#[derive(Clone, Debug)]
pub struct Root {
    /// Cargo package of the root process.
    pub binary: At<String>,
    /// Its priority, against which calls to the supervisor portal are checked.
    pub priority: At<u8>,
}

/// `[[region]]`
#[derive(Clone, Debug)]
pub struct Region {
    /// Name.
    pub name: At<String>,
    /// Length in pages.
    pub pages: At<u32>,
    /// Whether devices reach it.
    pub dma: At<bool>,
}

/// `[file.NAME]`
#[derive(Clone, Debug)]
pub struct File {
    /// Name.
    pub name: At<String>,
    /// Where it is, from the manifest's folder.
    pub path: At<String>,
    /// Its length, found by [`Manifest::measure_files`].
    pub bytes: u64,
}

impl File {
    /// Pages it takes in the image: at least one.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.bytes.div_ceil(ecusson_manifest::layout::PAGE_BYTES).max(1)
    }
}

/// `[[process]]`
#[derive(Clone, Debug)]
pub struct Process {
    /// Where the table is.
    pub span: Span,
    /// Name; `section.N` for an instance.
    pub name: At<String>,
    /// The name of its section, which several instances share.
    pub section: At<String>,
    /// Instances that its section asks for, if it says so.
    pub instances: Option<At<u16>>,
    /// Who starts it.
    pub start: At<Start>,
    /// Cargo package.
    pub binary: At<String>,
    /// Memory quota in pages.
    pub memory_pages: At<u32>,
    /// Size of the capability table.
    pub capability_slots: At<u32>,
    /// Slots kept free for received capabilities.
    pub receive_slots: At<u16>,
    /// Whether it stands for a guest: its processor time may be capped from outside at any moment.
    pub guest: At<bool>,
    /// Whether it gets a Dma space.
    pub dma: At<bool>,
    /// Whether it gets its own ProtectionDomain.
    pub manage_self: At<bool>,
    /// What happens when it ends.
    pub restart: Restart,
    /// Threads; at least one.
    pub threads: Vec<Thread>,
    /// Portals offered.
    pub portals: Vec<Portal>,
    /// Notifications owned.
    pub notifications: Vec<Notification>,
    /// Call edges.
    pub calls: Vec<Call>,
    /// Signal edges.
    pub signals: Vec<Signal>,
    /// Shared regions mapped.
    pub maps: Vec<Map>,
    /// Processes that it starts and stops.
    pub controls: Vec<Control>,
    /// Data files held.
    pub files: Vec<FileUse>,
    /// Interrupts owned.
    pub interrupts: Vec<Interrupt>,
    /// I/O ports owned.
    pub ports: Vec<Ports>,
    /// Device memory owned.
    pub mmio: Vec<Mmio>,
    /// Rights on the platform, if any.
    pub platform: Option<Platform>,
}

/// `[[process.thread]]`, or the process's own keys when there is none.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Name.
    pub name: At<String>,
    /// Core.
    pub core: At<u16>,
    /// Priority.
    pub priority: At<u8>,
    /// Weight in the fair band.
    pub weight: Option<At<u32>>,
    /// Budget in microseconds.
    pub budget_us: At<u32>,
    /// Period in microseconds.
    pub period_us: At<u32>,
    /// Stack in pages.
    pub stack_pages: At<u32>,
    /// Whether it uses the FPU.
    pub fpu: At<bool>,
}

/// `[[process.portal]]`
#[derive(Clone, Debug)]
pub struct Portal {
    /// Name.
    pub name: At<String>,
    /// On whose time.
    pub mode: At<PortalMode>,
    /// Serving thread; the first if absent.
    pub thread: Option<At<String>>,
    /// Whether guests' processes get it at run time.
    pub guests: At<bool>,
}

/// `[[process.notification]]`
#[derive(Clone, Debug)]
pub struct Notification {
    /// Name.
    pub name: At<String>,
    /// The thread it is bound to; the first if absent.
    pub thread: Option<At<String>>,
    /// Fixed slot.
    pub slot: Option<At<u16>>,
}

/// One entry of `calls`.
#[derive(Clone, Debug)]
pub struct Call {
    /// `server.portal`
    pub portal: At<String>,
    /// Local name, when not `server.portal`.
    pub alias: Option<At<String>>,
    /// The only thread that uses it; any if absent.
    pub thread: Option<At<String>>,
    /// Fixed slot.
    pub slot: Option<At<u16>>,
}

/// One entry of `signals`.
#[derive(Clone, Debug)]
pub struct Signal {
    /// `owner.notification`
    pub notification: At<String>,
    /// The bit.
    pub bit: At<u64>,
    /// Local name, when not `owner.notification`.
    pub alias: Option<At<String>>,
    /// Fixed slot.
    pub slot: Option<At<u16>>,
}

/// One entry of `maps`.
#[derive(Clone, Debug)]
pub struct Map {
    /// Name of the region.
    pub region: At<String>,
    /// Whether it may write; nobody may execute.
    pub access: At<Access>,
    /// Fixed slot.
    pub slot: Option<At<u16>>,
}

/// One entry of `controls`: a section whose process, or each of whose instances, is started and stopped.
#[derive(Clone, Debug)]
pub struct Control {
    /// Name of the section.
    pub process: At<String>,
    /// The own notification that says that one ended.
    pub notification: At<String>,
    /// The bit for it; instance N has the N-th behind it.
    pub bit: At<u64>,
}

/// One entry of `files`.
#[derive(Clone, Debug)]
pub struct FileUse {
    /// Name of the file.
    pub file: At<String>,
    /// Local name, when not the file's.
    pub alias: Option<At<String>>,
    /// Fixed slot.
    pub slot: Option<At<u16>>,
}

impl FileUse {
    /// What the process calls it.
    #[must_use]
    pub fn local_name(&self) -> &At<String> {
        self.alias.as_ref().unwrap_or(&self.file)
    }
}

/// How a region is mapped. Nothing shared is ever executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// `[[process.interrupt]]`
#[derive(Clone, Debug)]
pub struct Interrupt {
    /// Name.
    pub name: At<String>,
    /// Line or message.
    pub line: At<InterruptLine>,
    /// The own notification it signals.
    pub notification: At<String>,
    /// The bit it signals.
    pub bit: At<u64>,
    /// Fixed slot.
    pub slot: Option<At<u16>>,
}

/// `[[process.ports]]`
#[derive(Clone, Debug)]
pub struct Ports {
    /// Name.
    pub name: At<String>,
    /// First port.
    pub first: At<u16>,
    /// How many.
    pub count: At<u32>,
    /// Fixed slot.
    pub slot: Option<At<u16>>,
}

/// `[[process.mmio]]`
#[derive(Clone, Debug)]
pub struct Mmio {
    /// Name.
    pub name: At<String>,
    /// Physical address.
    pub address: At<u64>,
    /// Length in pages.
    pub pages: At<u32>,
    /// Fixed slot.
    pub slot: Option<At<u16>>,
}

/// `[process.platform]`
#[derive(Clone, Debug)]
pub struct Platform {
    /// Rights, as the ABI numbers them.
    pub rights: At<u8>,
    /// Fixed slot.
    pub slot: Option<At<u16>>,
}
