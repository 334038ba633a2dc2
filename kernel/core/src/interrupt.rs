//! Interrupts of devices, delivered as signals.

use core::cell::Cell;

use ecusson_abi::{Error, Rights, Words, ops, platform};

use crate::cap::CapabilityCell;
use crate::kernel::{Answer, Failure, Kernel, Outcome};
use crate::name::{Header, Ref, object};
use crate::notification::Notification;
use crate::percpu::{Effect, FIRST_VECTOR, VECTORS};
use crate::store::Store;
use crate::thread::Thread;

/// One interrupt line or message.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Interrupt {
    /// Epoch.
    pub header: Header,
    /// Global system interrupt, or [`platform::MSI`].
    pub line: Cell<u64>,
    /// [`platform::LEVEL`], [`platform::ACTIVE_LOW`]: those in force.
    pub flags: Cell<u64>,
    /// What it signals.
    pub notification: CapabilityCell,
    /// The signal.
    pub bits: Cell<u64>,
    /// Core it arrives at.
    pub core: Cell<u8>,
    /// Its vector there.
    pub vector: Cell<u8>,
}

object!(Interrupt, Small, interrupt);

impl Interrupt {
    fn is_message(&self) -> bool {
        self.line.get() == platform::MSI
    }
    /// Whether it is a level-triggered line, which stays masked from its arrival to `ack`.
    pub(crate) fn needs_masking(&self) -> bool {
        !self.is_message() && self.flags.get() & platform::LEVEL != 0
    }
}

impl<S: Store> Kernel<S> {
    /// `Interrupt.bind` and `ack`.
    pub(crate) fn interrupt_operation(
        &self,
        actor: Ref<Thread>,
        name: Ref<Interrupt>,
        rights: Rights,
        words: &Words,
    ) -> Answer {
        Failure::require(rights, Rights::MANAGE)?;
        match words[0] {
            ops::interrupt::BIND => self.bind_interrupt(actor, name, words),
            ops::interrupt::ACK => {
                let interrupt = self.store.interrupt(name);
                if !self.is_bound(interrupt) {
                    // Its line is routed nowhere yet.
                    return Err(Failure::at(Error::BadState, 0));
                }
                if interrupt.needs_masking() {
                    self.effect(Effect::UnmaskLine {
                        line: interrupt.line.get() as u32,
                    });
                }
                Ok(Outcome::Done(0))
            }
            _ => Err(Failure::BAD_OPERATION),
        }
    }

    /// Whether it signals a notification that lives.
    fn is_bound(&self, interrupt: &Interrupt) -> bool {
        self.live::<Notification>(interrupt.notification.get()).is_some()
    }

    fn bind_interrupt(&self, actor: Ref<Thread>, name: Ref<Interrupt>, words: &Words) -> Answer {
        let caller = self.store.thread(actor);
        self.argument::<Notification>(caller, words, 1, Rights::BIND)?;
        let capability = self.capability(caller, words[1]).ok_or(Failure::at(Error::BadCap, 1))?;
        if words[2] > 63 {
            return Err(Failure::at(Error::BadArg, 2));
        }
        let interrupt = self.store.interrupt(name);
        if self.is_bound(interrupt) {
            return Err(Failure::at(Error::Occupied, 0));
        }
        // Nothing may fail from here on.
        interrupt.notification.set(capability);
        interrupt.bits.set(1 << words[2]);
        let (core, vector) = (interrupt.core.get(), interrupt.vector.get());
        if interrupt.is_message() {
            // Intel SDM vol. 3, 11.11: fixed delivery, physical destination, edge.
            let address = 0xFEE0_0000 | u64::from(self.core(core).apic_id.get()) << 12;
            return Ok(Outcome::Words(u64::from(vector), [0, address, 0, 0, 0, 0]));
        }
        self.effect(Effect::RouteLine {
            line: interrupt.line.get() as u32,
            vector,
            core,
            flags: interrupt.flags.get(),
        });
        Ok(Outcome::Words(0, [0; 6]))
    }

    /// A device's interrupt arrived at the core of this entry. A level-triggered line stays masked until `ack`, a line
    /// whose notification has died until it is bound anew.
    /// Vectors that nobody owns are spurious and ignored.
    /// So are those that were on their way when their owner changed: the new owner gets a signal without a cause.
    pub fn interrupt(&self, vector: u8) {
        let core = self.core(self.here.get());
        let index = usize::from(vector.wrapping_sub(FIRST_VECTOR));
        if let Some(name) = core.vectors.get(index).and_then(Cell::get) {
            let interrupt = self.store.interrupt(name);
            let notification = self.live::<Notification>(interrupt.notification.get());
            if interrupt.needs_masking() || !interrupt.is_message() && notification.is_none() {
                self.effect(Effect::MaskLine {
                    line: interrupt.line.get() as u32,
                });
            }
            if let Some(notification) = notification {
                self.signal(notification, interrupt.bits.get());
            }
        }
        self.schedule();
    }

    /// A free vector of a core.
    pub(crate) fn free_vector(&self, core: u8) -> Option<u8> {
        let index = self
            .core(core)
            .vectors
            .iter()
            .take(VECTORS)
            .position(|owner| owner.get().is_none())?;
        u8::try_from(index + usize::from(FIRST_VECTOR)).ok()
    }

    /// Whether somebody owns a line.
    pub(crate) fn is_line_owned(&self, line: u64) -> bool {
        let cores = self.cores.iter().take(self.core_count());
        let mut owners = cores.flat_map(|core| core.vectors.iter().filter_map(Cell::get));
        owners.any(|owner| self.store.interrupt(owner).line.get() == line)
    }

    /// The firmware says how a line is triggered ([`platform::LEVEL`], [`platform::ACTIVE_LOW`]), whatever its driver
    /// believes. Called before the first thread runs.
    pub fn override_line(&self, line: u32, flags: u8) {
        if let Some(place) = self.overrides.iter().find(|place| place.get().is_none()) {
            place.set(Some((line, flags)));
        }
    }

    /// The flags in force for a line: the firmware's where it has an opinion, else the driver's.
    pub(crate) fn line_flags(&self, line: u64, wanted: u64) -> u64 {
        let mut known = self.overrides.iter().filter_map(Cell::get);
        let told = known.find(|&(number, _)| u64::from(number) == line);
        told.map_or(wanted, |(_, flags)| u64::from(flags))
    }

    /// Masks a line and frees its vector.
    pub(crate) fn unlink_interrupt(&self, name: Ref<Interrupt>) {
        let interrupt = self.store.interrupt(name);
        if !interrupt.is_message() {
            self.effect(Effect::ReleaseLine {
                line: interrupt.line.get() as u32,
            });
        }
        let index = usize::from(interrupt.vector.get().wrapping_sub(FIRST_VECTOR));
        if let Some(owner) = self.core(interrupt.core.get()).vectors.get(index) {
            owner.set(None);
        }
    }
}
