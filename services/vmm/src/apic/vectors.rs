//! A set of the 256 interrupt vectors.

/// Vectors, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vectors(pub(super) [u64; 4]);

impl Vectors {
    fn place(vector: u8) -> (usize, u64) {
        (usize::from(vector / 64), 1 << (vector % 64))
    }

    /// Puts a vector in.
    pub fn insert(&mut self, vector: u8) {
        let (word, bit) = Self::place(vector);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    /// Takes a vector out.
    pub fn remove(&mut self, vector: u8) {
        let (word, bit) = Self::place(vector);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Whether a vector is in.
    #[must_use]
    pub fn contains(&self, vector: u8) -> bool {
        let (word, bit) = Self::place(vector);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The highest vector, which is the most urgent.
    #[must_use]
    pub fn highest(&self) -> Option<u8> {
        (0..4_u8).rev().find_map(|index| {
            let word = self.0.get(usize::from(index)).copied().unwrap_or_default();
            word.checked_ilog2().map(|bit| index * 64 + bit as u8)
        })
    }

    /// 32 of them as the APIC's registers show them; 0 to 7.
    #[must_use]
    pub fn register(&self, index: usize) -> u32 {
        let word = self.0.get(index / 2).copied().unwrap_or_default();
        if index.is_multiple_of(2) {
            word as u32
        } else {
            (word >> 32) as u32
        }
    }
}
