//! Operations of the Platform object and the words they take.

/// (IRQ) w1 = line (global system interrupt) or [`MSI`], w2 = core, w3 = trigger flags, w4 = Memory slot that pays for
/// the object, w5 = destination slot. `-> trigger flags in force`: the firmware's where it knows the line, else w3.
pub const IRQ: u64 = 1;
/// (PORTS) w1 = first port, w2 = ports, w3 = Memory slot, w4 = destination slot.
pub const PORTS: u64 = 2;
/// (MMIO) w1 = first physical page, w2 = pages, w3 = Memory slot, w4 = destination slot. The pages must
/// hold neither RAM nor a device of the kernel's.
pub const MMIO: u64 = 3;
/// (POWER) w1 = [`RESET`] or [`OFF`].
pub const POWER: u64 = 4;
/// (none) `-> cores`; word 1 = ticks per second.
pub const INFO: u64 = 5;

/// (POWER) Checks every invariant of the kernel's state; `BadState` with the physical address of the object found at fault.
/// Unbounded, and answered `Unsupported` unless the kernel's command line says `test`.
pub const CHECK: u64 = 6;

/// Instead of a line: a message-signalled interrupt.
pub const MSI: u64 = u64::MAX;
/// Trigger flag: level-triggered (else edge).
pub const LEVEL: u64 = 1;
/// Trigger flag: active low (else high).
pub const ACTIVE_LOW: u64 = 2;

/// Power: reset the machine.
pub const RESET: u64 = 0;
/// Power: switch it off.
pub const OFF: u64 = 1;
