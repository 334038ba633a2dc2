//! Operations of `Invoke`: word 0 is the operation, words 1 to 5 its arguments (`w1` to `w5` below).
//!
//! Slots are indices into the caller's own capability table unless said otherwise. `-> x` is the result in
//! rdx. *Progress* marks operations that do bounded work and may answer [`crate::Event::Progress`].

/// For every kind: `-> kind | rights << 8`. Needs no right.
pub const IDENTIFY: u64 = 0xFE;
/// For every kind but Memory and Platform (MANAGE): end the object. Kills every copy of its capability at
/// once, then unlinks it. *Progress*; done when it answers `Done`, or `Dead` to a late second caller.
pub const DESTROY: u64 = 0xFF;

/// Operations of Memory.
pub mod memory {
    /// (MANAGE) w1 = pages, w2 = destination slot. Carves a new Memory from the upper end.
    pub const SPLIT: u64 = 1;
    /// (MANAGE) w1 = [`crate::Kind`], w2 = destination slot, w3 to w5 by kind:
    ///
    /// | kind | w3 | w4 | w5 |
    /// |---|---|---|---|
    /// | Region | pages | log2 of the alignment in pages | - |
    /// | Space | [`super::space::HOST`].. | - | - |
    /// | ProtectionDomain | table pages, 1 to 255 | Space slot (MANAGE) | - |
    /// | Thread | ProtectionDomain slot (MANAGE) | core | flags, [`super::thread::USES_FPU`] |
    /// | SchedContext | - | - | - |
    /// | Portal | Thread slot (MANAGE) | label | [`super::portal::PASSIVE`] or `ACTIVE` |
    /// | Notification | - | - | - |
    /// | Vcpu | Space slot (MANAGE) | state page Region slot | - |
    pub const CREATE: u64 = 2;
    /// (MANAGE) Destroys everything that was made from these pages. *Progress*.
    pub const RECLAIM: u64 = 3;
    /// (READ) `-> free pages`; word 1 = all pages, word 2 = first physical page.
    pub const INFO: u64 = 4;
}

/// Operations of Region.
pub mod region {
    /// (MANAGE) w1 = first page, w2 = pages, w3 = rights of the child, w4 = Memory slot that pays for the
    /// object, w5 = destination slot. The child is a Region of its own, destroyed with its parent.
    pub const SLICE: u64 = 1;
    /// (rights as asked) w1 = Space slot (MANAGE), w2 = first virtual page, w3 = rights. *Progress*.
    /// For Dma spaces in identity mode `-> bus address`.
    pub const ATTACH: u64 = 2;
    /// (MANAGE) Unmaps and waits until no processor holds a translation. *Progress*.
    pub const DETACH: u64 = 3;
    /// (MANAGE) Zeroes a bounded number of pages. *Progress*. A new Region must be scrubbed before use.
    pub const SCRUB: u64 = 4;
    /// (READ) `-> pages`; word 1 = pages attached, word 2 = first virtual page.
    pub const INFO: u64 = 5;
    /// Reserved for dirty logging of guest memory.
    pub const DIRTY: u64 = 6;
    /// Reserved: writers by DMA or for the guest mark pages.
    pub const MARK_DIRTY: u64 = 7;
}

/// Operations of Space.
pub mod space {
    /// Kind of space: user addresses of a process.
    pub const HOST: u64 = 0;
    /// Kind of space: physical addresses of a guest.
    pub const GUEST: u64 = 1;
    /// Kind of space: bus addresses of a device.
    pub const DMA: u64 = 2;

    /// (MANAGE) w1 = Memory slot, w2 = pages (1 to 64). Donates page-table pages. A space takes them from
    /// one Memory only.
    pub const FUND: u64 = 1;
    /// (MANAGE) w1 = port, w2 = Notification slot (SIGNAL), w3 = bit. From now on a guest's write to the port signals the bit
    /// and does not end `VcpuRun`, as long as the notification lives.
    pub const INTERCEPT: u64 = 2;
    /// Reserved: assign a device to a Dma space.
    pub const BIND_DEVICE: u64 = 3;
    /// (READ) `-> unused funded pages`.
    pub const INFO: u64 = 4;
}

/// Operations of ProtectionDomain.
pub mod protection_domain {
    /// (MANAGE) w1 = source slot in the caller's table (GRANT), w2 = destination slot in this domain's
    /// table, w3 = rights mask.
    pub const GRANT: u64 = 1;
    /// (MANAGE) w1 = slot in this domain's table. Empties it.
    pub const DROP: u64 = 2;
}

/// Operations of Thread.
pub mod thread {
    /// Create flag: the thread may use x87, SSE and AVX; others fault.
    pub const USES_FPU: u64 = 1;

    /// (MANAGE) w1 = instruction pointer, w2 = stack pointer, w3 = argument (rdi). Aborts what the thread
    /// waited for and starts it there.
    pub const START: u64 = 1;
    /// (MANAGE) Keeps the thread from running until `RESUME` or `START`; calls it takes part in stay.
    pub const STOP: u64 = 2;
    /// (MANAGE) Undoes `STOP`.
    pub const RESUME: u64 = 3;
    /// (MANAGE) w1 = Portal slot (CALL).
    pub const SET_FAULT_HANDLER: u64 = 4;
    /// (READ) w1 = group 0, 1 or 2 of six registers; words 0 to 5 = registers. The thread must be stopped
    /// or waiting for its fault handler.
    pub const PEEK: u64 = 5;
    /// (WRITE) w1 = group << 8 | index in group, w2 = value. As `PEEK`.
    pub const POKE: u64 = 6;
    /// (MANAGE) w1 = Notification slot (BIND). One notification a thread, one thread a notification.
    pub const BIND: u64 = 7;
    /// (READ) `-> state` ([`super::thread_state`]); word 1 = core.
    pub const INFO: u64 = 8;
}

/// States that `thread::INFO` reports.
pub mod thread_state {
    /// Never started, or ended by its fault handler.
    pub const INACTIVE: u64 = 0;
    /// Runs, or would if a processor were free.
    pub const RUNNABLE: u64 = 1;
    /// Waits for a call, a signal or a deadline.
    pub const WAITING: u64 = 2;
    /// Waits for a server, or for its fault handler.
    pub const CALLING: u64 = 3;
    /// Stopped (added to one of the above).
    pub const STOPPED: u64 = 0x100;
}

/// Operations of SchedContext.
pub mod sched_context {
    /// (MANAGE) w1 = Platform slot (CPU_TIME), w2 = core | priority << 8 | weight << 32 (weight counts at
    /// priority 1 only), w3 = budget in ticks, w4 = period in ticks; budget = period is no limit.
    pub const CONFIGURE: u64 = 1;
    /// (MANAGE) w1 = Thread slot (MANAGE). One context a thread. Their cores must agree.
    pub const BIND: u64 = 2;
    /// (READ) `-> ticks used since creation`.
    pub const USED: u64 = 3;
}

/// Operations of Portal.
pub mod portal {
    /// Mode: the server runs on the caller's scheduling context.
    pub const PASSIVE: u64 = 0;
    /// Mode: the server runs on its own scheduling context.
    pub const ACTIVE: u64 = 1;

    /// (MANAGE) w1 = new label. `-> old label`.
    pub const LABEL: u64 = 1;
}

/// Operations of Interrupt.
pub mod interrupt {
    /// (MANAGE) w1 = Notification slot (BIND), w2 = bit. `-> MSI data`, word 1 = MSI address; both 0 for lines.
    pub const BIND: u64 = 1;
    /// (MANAGE) The handler is done; a level-triggered line is unmasked.
    pub const ACK: u64 = 2;
}

/// Operations of Ports.
pub mod ports {
    /// (MANAGE) w1 = ProtectionDomain slot (MANAGE). One domain at a time.
    pub const ATTACH: u64 = 1;
}

/// Operations of Vcpu. None can be created where the processor has no virtualization.
pub mod vcpu {
    /// (MANAGE) w1 = Thread slot (MANAGE). One vCPU a thread, one thread a vCPU.
    pub const BIND: u64 = 1;
    /// (SIGNAL) Has the thread's `VcpuRun`, or its next one, return [`crate::vcpu::exit::KICK`].
    pub const KICK: u64 = 2;
}
