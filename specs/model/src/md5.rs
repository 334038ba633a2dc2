//! MD5 (RFC 1321), which the oracle's language has built in: a check sum of texts, not a protection.

const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The sum of some bytes, in hexadecimal.
pub(crate) fn sum(bytes: &[u8]) -> String {
    let mut state = [0x6745_2301_u32, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64), 0);
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(bytes.len() as u64 * 8).to_le_bytes());
    padded.chunks_exact(64).for_each(|block| mix(&mut state, block));
    state
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn constants() -> [u32; 64] {
    std::array::from_fn(|index| ((index as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32)
}

fn mix(state: &mut [u32; 4], block: &[u8]) {
    static CONSTANTS: std::sync::LazyLock<[u32; 64]> = std::sync::LazyLock::new(constants);
    let word = |index: usize| u32::from_le_bytes(std::array::from_fn(|byte| block[index * 4 + byte]));
    let [mut a, mut b, mut c, mut d] = *state;
    for (step, constant) in CONSTANTS.iter().enumerate() {
        let (f, index) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        let turned = a.wrapping_add(f).wrapping_add(*constant).wrapping_add(word(index % 16));
        (a, d, c, b) = (d, c, b, b.wrapping_add(turned.rotate_left(SHIFTS[step / 16][step % 4])));
    }
    for (old, new) in state.iter_mut().zip([a, b, c, d]) {
        *old = old.wrapping_add(new);
    }
}

#[cfg(test)]
mod tests {
    use super::sum;

    /// Catches: sums that are not the RFC's, at lengths around a block's end too.
    #[test]
    fn sums_are_the_rfcs() {
        assert_eq!(sum(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(sum(b"message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        let long = b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        assert_eq!(sum(long), "57edf4a22be3c955ac49da2e2107b67a");
    }
}
