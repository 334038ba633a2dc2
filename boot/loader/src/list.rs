//! Appending to the `[T; N]` plus `count` pairs of `BootInfo`.
//!
//! Used by the parsers; what no longer fits is left out, and the caller says so.

/// Appends `item` unless the list is full; says whether it did.
pub fn push<T>(items: &mut [T], count: &mut u32, item: T) -> bool {
    let Some(room) = items.get_mut(*count as usize) else {
        return false;
    };
    *room = item;
    *count += 1;
    true
}
