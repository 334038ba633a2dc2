//! Rights of a capability. They only ever shrink on their way from one table to another.

/// A set of rights, eight bits. What a bit means depends on the kind; bits a kind does not use are kept
/// but mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Rights(pub u8);

impl Rights {
    /// No right: the capability can only be named and dropped.
    pub const NONE: Self = Self(0);
    /// Region: map readable. Memory, SchedContext, Thread: read figures and registers.
    pub const READ: Self = Self(1 << 0);
    /// Region: map writable. Thread: write registers.
    pub const WRITE: Self = Self(1 << 1);
    /// Region: map executable.
    pub const EXECUTE: Self = Self(1 << 2);
    /// Portal: call it.
    pub const CALL: Self = Self(1 << 3);
    /// Notification: signal it.
    pub const SIGNAL: Self = Self(1 << 4);
    /// Notification: bind it to a thread, an interrupt or a port intercept.
    pub const BIND: Self = Self(1 << 5);
    /// Change and destroy the object; make things from it or inside it.
    pub const MANAGE: Self = Self(1 << 6);
    /// Copy the capability to another table, by grant or in a message.
    pub const GRANT: Self = Self(1 << 7);

    /// Platform: create Interrupt objects.
    pub const IRQ: Self = Self(1 << 0);
    /// Platform: create Ports objects.
    pub const PORTS: Self = Self(1 << 1);
    /// Platform: create device Regions.
    pub const MMIO: Self = Self(1 << 2);
    /// Platform: give processor time to scheduling contexts.
    pub const CPU_TIME: Self = Self(1 << 3);
    /// Platform: reset or switch off the machine.
    pub const POWER: Self = Self(1 << 4);

    /// Every right.
    pub const ALL: Self = Self(0xFF);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets have.
    #[must_use]
    pub const fn and(self, mask: Self) -> Self {
        Self(self.0 & mask.0)
    }

    /// Whether every right of `other` is here.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
