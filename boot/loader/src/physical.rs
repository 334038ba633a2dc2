//! Physical memory as the loader sees it: readable and writable pieces that may not be there.
//!
//! Key trait: [`Physical`]. Implemented over the identity mapping by the binary and over arrays by the tests.

/// Physical memory. Every access is checked by the implementation; what can't be reached is `None`.
pub trait Physical {
    /// The `bytes` bytes at `base`, or `None` when they are not all reachable.
    fn read(&self, base: u64, bytes: u64) -> Option<&[u8]>;

    /// The same to write.
    fn write(&mut self, base: u64, bytes: u64) -> Option<&mut [u8]>;

    /// Copies `bytes` bytes; the two places must not overlap.
    fn copy(&mut self, from: u64, to: u64, bytes: u64) -> Option<()>;
}

/// The 64-bit word at `base`, little-endian.
pub fn word<P: Physical + ?Sized>(memory: &P, base: u64) -> Option<u64> {
    let bytes = memory.read(base, 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Sets the 64-bit word at `base`.
pub fn set_word<P: Physical + ?Sized>(memory: &mut P, base: u64, value: u64) -> Option<()> {
    memory.write(base, 8)?.copy_from_slice(&value.to_le_bytes());
    Some(())
}
