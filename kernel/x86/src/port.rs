//! I/O ports of the kernel's own devices.
//!
//! Called by the modules that drive one: [`crate::serial`], [`crate::pic`], [`crate::clock`], [`crate::power`].

/// Reads a byte.
///
/// # Safety
/// The port belongs to a device the kernel drives, and reading it in the device's present state is what its driver means.
#[inline]
#[must_use]
pub(crate) unsafe fn read_u8(port: u16) -> u8 {
    // SAFETY: ring 0; by this function's contract.
    unsafe { x86::io::inb(port) }
}

/// Writes a byte.
///
/// # Safety
/// As [`read_u8`], and what the write makes the device do touches no memory that is in use.
#[inline]
pub(crate) unsafe fn write_u8(port: u16, value: u8) {
    // SAFETY: ring 0; by this function's contract.
    unsafe { x86::io::outb(port, value) }
}

/// Reads 16 bits.
///
/// # Safety
/// As [`read_u8`].
#[inline]
#[must_use]
pub(crate) unsafe fn read_u16(port: u16) -> u16 {
    // SAFETY: ring 0; by this function's contract.
    unsafe { x86::io::inw(port) }
}

/// Writes 16 bits.
///
/// # Safety
/// As [`write_u8`].
#[inline]
pub(crate) unsafe fn write_u16(port: u16, value: u16) {
    // SAFETY: ring 0; by this function's contract.
    unsafe { x86::io::outw(port, value) }
}

/// Reads 32 bits.
///
/// # Safety
/// As [`read_u8`].
#[inline]
#[must_use]
pub(crate) unsafe fn read_u32(port: u16) -> u32 {
    // SAFETY: ring 0; by this function's contract.
    unsafe { x86::io::inl(port) }
}

/// Writes 32 bits.
///
/// # Safety
/// As [`write_u8`].
#[inline]
pub(crate) unsafe fn write_u32(port: u16, value: u32) {
    // SAFETY: ring 0; by this function's contract.
    unsafe { x86::io::outl(port, value) }
}
