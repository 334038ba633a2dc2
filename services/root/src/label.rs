//! Labels of root's own portals: who calls, and about what.
//!
//! Key type: [`Caller`]. The labels of supervisor portals are the manifest's (index plus one); those of fault portals carry a
//! bit that no index has.

/// Set in the labels of fault portals.
const FAULT: u64 = 1 << 63;

/// Who calls root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A process, with a request.
    Request {
        /// Its index.
        process: usize,
    },
    /// The kernel, for a thread that faulted.
    Fault {
        /// Index of the process.
        process: usize,
        /// Index of the thread in it.
        thread: usize,
    },
}

impl Caller {
    /// The label of a portal.
    #[must_use]
    pub const fn label(self) -> u64 {
        match self {
            Self::Request { process } => process as u64 + 1,
            Self::Fault { process, thread } => FAULT | (thread as u64 & 0xFFFF) << 32 | (process as u64 + 1),
        }
    }

    /// Who calls with a label; `None` for one that root never made.
    #[must_use]
    pub fn of(label: u64) -> Option<Self> {
        let process = usize::try_from((label & 0xFFFF_FFFF).checked_sub(1)?).ok()?;
        let thread = usize::try_from(label >> 32 & 0xFFFF).ok()?;
        match label & FAULT {
            0 if label >> 32 == 0 => Some(Self::Request { process }),
            0 => None,
            _ => Some(Self::Fault { process, thread }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_name_their_callers() {
        for caller in [Caller::Request { process: 0 }, Caller::Request { process: 65_535 }] {
            assert_eq!(Caller::of(caller.label()), Some(caller));
        }
        let fault = Caller::Fault { process: 3, thread: 63 };
        assert_eq!(Caller::of(fault.label()), Some(fault));
        assert_eq!((Caller::of(0), Caller::of(1 << 40 | 1)), (None, None));
    }
}
