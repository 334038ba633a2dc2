//! Little-endian integers in byte slices, read and written without an index that could be out of bounds.
//!
//! Reading beyond the end gives zeroes, writing beyond it writes what fits: callers check lengths where it matters.

/// The `N` bytes at `at`, with zeroes for what is not there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    let rest = bytes.get(at..).unwrap_or_default();
    for (to, from) in out.iter_mut().zip(rest) {
        *to = *from;
    }
    out
}

pub(crate) fn get_u8(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or_default()
}

pub(crate) fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

pub(crate) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

pub(crate) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// Writes `value` at `at`, as far as `bytes` reaches.
pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    let rest = bytes.get_mut(at..).unwrap_or_default();
    for (to, from) in rest.iter_mut().zip(value) {
        *to = *from;
    }
}
