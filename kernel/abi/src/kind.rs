//! The twelve kinds of kernel object.

/// Kind of a kernel object. Zero is kept free: it marks an empty slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Physical pages that may become objects.
    Memory = 1,
    /// Pages that may be mapped.
    Region = 2,
    /// An address space: host, guest or DMA.
    Space = 3,
    /// A capability table and a host space: what a process is.
    ProtectionDomain = 4,
    /// A flow of control.
    Thread = 5,
    /// The right to processor time.
    SchedContext = 6,
    /// An entry point into one server thread.
    Portal = 7,
    /// 64 one-bit signals.
    Notification = 8,
    /// State of a guest's processor.
    Vcpu = 9,
    /// One interrupt line or message.
    Interrupt = 10,
    /// A range of I/O ports.
    Ports = 11,
    /// Root authority over the machine.
    Platform = 12,
}

impl Kind {
    /// All kinds, in numeric order.
    pub const ALL: [Self; 12] = [
        Self::Memory,
        Self::Region,
        Self::Space,
        Self::ProtectionDomain,
        Self::Thread,
        Self::SchedContext,
        Self::Portal,
        Self::Notification,
        Self::Vcpu,
        Self::Interrupt,
        Self::Ports,
        Self::Platform,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        let index = usize::try_from(code).ok()?.checked_sub(1)?;
        Self::ALL.get(index).copied()
    }
}
