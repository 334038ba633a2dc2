//! What each core has of its own: the current thread, ready queues, timers, and what the machine layer must
//! do before it returns to user mode.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::PRIORITIES;

use crate::heap::Heap;
use crate::interrupt::Interrupt;
use crate::list::List;
use crate::name::Ref;
use crate::thread::Thread;
use crate::vcpu::Vcpu;

/// Threads a core can have. Each takes at most one place in the timer heap and one in the fair heap.
pub const CORE_THREADS: u32 = 256;
/// Scheduling contexts a core can have. Each takes at most one place in the timer heap.
pub const CORE_CONTEXTS: u32 = 256;
const TIMERS: usize = (CORE_THREADS + CORE_CONTEXTS) as usize;

/// First interrupt vector for user mode's interrupts.
pub const FIRST_VECTOR: u8 = 0x30;
/// Vectors for user mode's interrupts.
pub const VECTORS: usize = 0xC0;

/// Ticks that a thread of the fair band runs before the next one's turn comes, in microseconds.
pub const FAIR_SLICE_US: u64 = 3_000;

/// A request to the machine that comes out of an operation, carried out under the lock before the next
/// kernel entry of this core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Effect {
    /// None. The first variant, so that it is all zero and the kernel's state starts as zeroes.
    #[default]
    Nothing,
    /// Route a line to a vector on a core and unmask it.
    RouteLine {
        /// Global system interrupt.
        line: u32,
        /// Vector it raises.
        vector: u8,
        /// Core it goes to.
        core: u8,
        /// [`ecusson_abi::platform::LEVEL`] and `ACTIVE_LOW`.
        flags: u64,
    },
    /// Mask a line and forget its vector and core.
    ReleaseLine {
        /// Global system interrupt.
        line: u32,
    },
    /// Mask a line.
    MaskLine {
        /// Global system interrupt.
        line: u32,
    },
    /// Unmask a line, if it is routed.
    UnmaskLine {
        /// Global system interrupt.
        line: u32,
    },
    /// Reset the machine.
    Reset,
    /// Switch the machine off.
    PowerOff,
    /// A thread faulted and nobody handles it, or its handler gave it up.
    Unhandled(Ref<Thread>),
    /// Debug log: bytes of the words, and how many.
    Log([u64; 5], u8),
    /// The ports that a protection domain may use changed; reload them if it is current.
    PortsChanged,
}

/// A generation of flushes that two cores look at.
#[derive(Debug)]
#[repr(transparent)]
pub struct Generation(AtomicU64);

impl Generation {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl core::ops::Deref for Generation {
    type Target = AtomicU64;
    #[inline(always)]
    fn deref(&self) -> &AtomicU64 {
        &self.0
    }
}

impl Clone for Generation {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.load(Ordering::Relaxed)))
    }
}

/// State of one core, under the kernel lock except for the two flush counters.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Core {
    /// Who runs; none while idle.
    pub current: Cell<Option<Ref<Thread>>>,
    /// Run word of a running thread of this core without flags.
    pub running_word: Cell<u32>,
    /// Priorities with a ready thread.
    pub ready_bitmap: Cell<u32>,
    /// This core's index.
    pub index: Cell<u8>,
    /// Whether the scheduler must choose anew.
    pub reschedule: Cell<bool>,
    /// Whether the current thread goes behind its equals.
    pub turn_over: Cell<bool>,
    /// Whether the timer may have to fire earlier than it was told.
    pub rearm: Cell<bool>,
    /// Ready threads by priority (the fair band has its heap).
    pub ready: [List<Thread>; PRIORITIES as usize],
    /// Ready threads of the fair band by virtual time.
    pub fair: Heap<{ CORE_THREADS as usize }>,
    /// No thread of the band that wakes up is put behind this virtual time.
    pub fair_floor: Cell<u64>,
    /// Deadlines of threads (bit 0 of the name clear) and replenishments (bit 0 set).
    pub timers: Heap<TIMERS>,
    /// Time of the last charge.
    pub charged_since: Cell<u64>,
    /// When the current thread of the fair band was given the core.
    pub slice_began: Cell<u64>,
    /// Physical address of the root table that CR3 has. The machine layer sets it where it writes CR3, under the lock.
    pub loaded_root: Cell<u64>,
    /// The vCPU whose state is in this core's registers and control block. Set by the machine layer, under the lock.
    pub guest: Cell<Option<Ref<Vcpu>>>,
    /// Cores to send a reschedule IPI to.
    pub ipi_mask: Cell<u64>,
    /// Machine work.
    pub effect: Cell<Effect>,
    /// Whether this core's operation asked for a TLB shootdown, which the machine waits for.
    pub flush_requested: Cell<bool>,
    /// Threads and contexts that are counted here.
    pub threads: Cell<u32>,
    /// Scheduling contexts that are counted here.
    pub contexts: Cell<u32>,
    /// Local APIC identifier.
    pub apic_id: Cell<u32>,
    /// Owners of the user vectors.
    pub vectors: [Cell<Option<Ref<Interrupt>>>; VECTORS],
    /// Generation of the last flush that this core must do. Written under the lock, read without.
    pub flush_wanted: Generation,
    /// Generation of the last flush that this core did. Written without the lock.
    pub flush_done: Generation,
}

impl Core {
    /// A core that has nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            current: Cell::new(None),
            running_word: Cell::new(0),
            ready_bitmap: Cell::new(0),
            index: Cell::new(0),
            reschedule: Cell::new(false),
            turn_over: Cell::new(false),
            rearm: Cell::new(false),
            ready: [const { List::new() }; PRIORITIES as usize],
            fair: Heap::new(),
            fair_floor: Cell::new(0),
            timers: Heap::new(),
            charged_since: Cell::new(0),
            slice_began: Cell::new(0),
            loaded_root: Cell::new(0),
            guest: Cell::new(None),
            ipi_mask: Cell::new(0),
            effect: Cell::new(Effect::Nothing),
            flush_requested: Cell::new(false),
            threads: Cell::new(0),
            contexts: Cell::new(0),
            apic_id: Cell::new(0),
            vectors: [const { Cell::new(None) }; VECTORS],
            flush_wanted: Generation::new(),
            flush_done: Generation::new(),
        }
    }

    /// Whether a flush is wanted.
    #[must_use]
    #[inline(always)]
    pub fn needs_flush(&self) -> bool {
        self.flush_wanted.load(Ordering::Acquire) > self.flush_done.load(Ordering::Relaxed)
    }

    /// Whether this core has done every flush up to a generation that was asked of it.
    #[must_use]
    pub fn has_flushed(&self, generation: u64) -> bool {
        let wanted = self.flush_wanted.load(Ordering::Acquire).min(generation);
        self.flush_done.load(Ordering::Acquire) >= wanted
    }
}

impl Default for Core {
    fn default() -> Self {
        Self::new()
    }
}
