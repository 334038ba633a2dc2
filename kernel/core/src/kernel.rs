//! The kernel's state, and the vocabulary of its operations: what came of one, and why one failed.

use core::cell::Cell;

use ecusson_abi::boot::OVERRIDE_MAX;
use ecusson_abi::{Error, Kind, Rights, Words};

use crate::percpu::Core;
use crate::store::Store;

/// The kernel: objects behind a [`Store`], and the cores.
///
/// On the machine there is one, behind the kernel lock.
#[derive(Clone, Debug)]
pub struct Kernel<S> {
    /// Where objects are.
    pub store: S,
    /// Cores; the first [`Kernel::core_count`] are in use.
    pub cores: [Core; CORES],
    pub(crate) core_count: Cell<usize>,
    /// Last epoch given, without the kind bits.
    pub(crate) epoch: Cell<u64>,
    /// Last generation of TLB flushes.
    pub(crate) flush_generation: Cell<u64>,
    /// TSC at the current kernel entry.
    pub now: Cell<u64>,
    /// TSC ticks in a microsecond.
    pub ticks_per_us: Cell<u64>,
    /// Pages nobody may map as a device: from, to.
    pub(crate) reserved: [Cell<(u64, u64)>; crate::boot::MAX_RESERVED],
    /// Lines whose trigger flags the firmware knows better than their drivers.
    pub(crate) overrides: [Cell<Option<(u32, u8)>>; OVERRIDE_MAX],
    /// Whether the command line says that this is a test, which may ask for unbounded checks.
    pub is_test: Cell<bool>,
    /// Level of the largest pages of guest spaces (1: 2 MiB, 2: 1 GiB); 0 where there can be no guests.
    pub guest_pages: Cell<u8>,
    /// Core that executes the current kernel entry.
    pub(crate) here: Cell<u8>,
}

/// Cores there is room for: all on the machine, two on the host, where states are copied by the million.
#[cfg(not(feature = "host"))]
pub const CORES: usize = ecusson_abi::MAX_CORES;
/// Cores there is room for: all on the machine, two on the host, where states are copied by the million.
#[cfg(feature = "host")]
pub const CORES: usize = 2;

/// What came of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Done; the second result word.
    Done(u64),
    /// A bounded part is done; the second result word says what remains.
    Progress(u64),
    /// Done, with message words.
    Words(u64, Words),
    /// Done, and the actor no longer waits for a result (it was restarted or ended).
    Gone,
}

/// Why an operation failed, and which argument (or how many pages) it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// The error.
    pub error: Error,
    /// Index of the word at fault, or a quantity.
    pub argument: u64,
}

/// What an operation answers.
pub type Answer = Result<Outcome, Failure>;

impl Failure {
    /// The operation number means nothing for this kind.
    pub const BAD_OPERATION: Self = Self {
        error: Error::BadArg,
        argument: 0,
    };

    /// A failure because of a word.
    #[must_use]
    pub const fn at(error: Error, argument: u64) -> Self {
        Self { error, argument }
    }

    /// That rights suffice.
    ///
    /// # Errors
    /// `NoRight`, argument 0.
    pub fn require(held: Rights, needed: Rights) -> Result<(), Self> {
        if held.has(needed) {
            Ok(())
        } else {
            Err(Self::at(Error::NoRight, 0))
        }
    }
}

impl<S: Store> Kernel<S> {
    /// A kernel without cores or objects; [`Kernel::boot`] makes the first ones.
    #[must_use]
    pub const fn new(store: S) -> Self {
        Self {
            store,
            cores: [const { Core::new() }; CORES],
            core_count: Cell::new(0),
            epoch: Cell::new(0),
            flush_generation: Cell::new(0),
            now: Cell::new(0),
            ticks_per_us: Cell::new(0),
            reserved: [const { Cell::new((0, 0)) }; crate::boot::MAX_RESERVED],
            overrides: [const { Cell::new(None) }; OVERRIDE_MAX],
            is_test: Cell::new(false),
            guest_pages: Cell::new(0),
            here: Cell::new(0),
        }
    }

    /// Cores in use.
    #[must_use]
    pub fn core_count(&self) -> usize {
        self.core_count.get()
    }

    /// A core by an index that was checked when it was stored.
    #[must_use]
    #[inline(always)]
    pub fn core(&self, index: u8) -> &Core {
        &self.cores[usize::from(index) % CORES]
    }

    /// A new epoch for an object of this kind.
    pub(crate) fn next_epoch(&self, kind: Kind) -> u64 {
        self.epoch.set(self.epoch.get() + 1);
        self.epoch.get() << 4 | kind as u64
    }
}
