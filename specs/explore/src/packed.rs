//! States while they wait to be explored: only the words that are not zero, in few bytes.

/// A state's words, packed.
#[derive(Clone, Debug)]
pub struct Packed {
    bytes: Box<[u8]>,
    words: u32,
}

impl Packed {
    /// Packs words: for each that is not zero, how many are skipped and its value, seven bits a byte.
    #[must_use]
    pub fn new(words: &[u64]) -> Self {
        let mut bytes = Vec::with_capacity(words.len());
        let mut skipped = 0;
        for &word in words {
            if word == 0 {
                skipped += 1;
                continue;
            }
            push(&mut bytes, skipped);
            push(&mut bytes, word);
            skipped = 0;
        }
        Self {
            bytes: bytes.into_boxed_slice(),
            words: words.len() as u32,
        }
    }

    /// The words again.
    pub fn unpack(&self, words: &mut Vec<u64>) {
        words.clear();
        let mut bytes = self.bytes.iter();
        while let Some(skipped) = pull(&mut bytes) {
            words.resize(words.len() + skipped as usize, 0);
            words.extend(pull(&mut bytes));
        }
        words.resize(self.words as usize, 0);
    }
}

fn push(bytes: &mut Vec<u8>, mut word: u64) {
    while word >= 0x80 {
        bytes.push(word as u8 | 0x80);
        word >>= 7;
    }
    bytes.push(word as u8);
}

fn pull(bytes: &mut core::slice::Iter<'_, u8>) -> Option<u64> {
    let mut word = 0;
    for place in 0..10 {
        let byte = *bytes.next()?;
        word |= u64::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(word)
}

#[cfg(test)]
mod tests {
    use super::Packed;

    #[test]
    fn words_come_back() {
        for words in [vec![], vec![0], vec![0, 5, 0, u64::MAX, 0, 0], vec![1 << 63, 127, 128]] {
            let mut again = Vec::new();
            Packed::new(&words).unpack(&mut again);
            assert_eq!(again, words);
        }
    }
}
