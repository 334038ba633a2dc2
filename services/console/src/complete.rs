//! What a tab may complete.
//!
//! Key type: [`Complete`].

use alloc::string::String;
use alloc::vec::Vec;

/// Who knows words: verbs at the beginning of a line, names of domains after it.
pub trait Complete {
    /// Words that begin with `word`, behind the words `before` it.
    fn candidates(&self, before: &[&str], word: &str) -> Vec<String>;
}

/// Knows none.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Complete for Nothing {
    fn candidates(&self, _: &[&str], _: &str) -> Vec<String> {
        Vec::new()
    }
}

/// The longest beginning of all.
pub(crate) fn common_beginning(words: &[String]) -> &str {
    let Some((first, rest)) = words.split_first() else {
        return "";
    };
    let mut common = first.as_str();
    for word in rest {
        let same = common
            .char_indices()
            .zip(word.chars())
            .find(|((_, one), other)| one != other);
        let length = same.map_or(common.len().min(word.len()), |((place, _), _)| place);
        common = common.get(..length).unwrap_or_default();
    }
    common
}
