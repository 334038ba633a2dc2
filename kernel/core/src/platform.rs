//! The Platform object: root authority over interrupts, ports, device memory, processor time and power.

use core::cell::Cell;

use ecusson_abi::{Error, Rights, Words, platform};

use crate::interrupt::Interrupt;
use crate::kernel::{Answer, Failure, Kernel, Outcome};
use crate::name::{Header, Ref, object};
use crate::percpu::Effect;
use crate::ports::Ports;
use crate::region::{MAX_REGION_PAGES, Region};
use crate::store::Store;
use crate::thread::Thread;

/// Lines a machine can have: 16 I/O APICs of 240.
const MAX_LINES: u64 = 4096;

/// Destination of a message to every core.
const ALL_CORES: u32 = 0xFF;

/// Physical pages end here (52-bit addresses).
const PHYSICAL_PAGES: u64 = 1 << 40;

/// Root authority. Its state is the machine's.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Platform {
    /// Epoch.
    pub header: Header,
    /// Keeps the layout of small objects.
    pub reserved: Cell<u64>,
}

object!(Platform, Small, platform);

impl<S: Store> Kernel<S> {
    /// Operations of Platform.
    pub(crate) fn platform_operation(&self, actor: Ref<Thread>, rights: Rights, words: &Words) -> Answer {
        let needed = match words[0] {
            platform::IRQ => Rights::IRQ,
            platform::PORTS => Rights::PORTS,
            platform::MMIO => Rights::MMIO,
            platform::POWER | platform::CHECK => Rights::POWER,
            platform::INFO => Rights::NONE,
            _ => return Err(Failure::BAD_OPERATION),
        };
        Failure::require(rights, needed)?;
        let thread = self.store.thread(actor);
        match words[0] {
            platform::IRQ => self.make_interrupt(thread, words),
            platform::PORTS => self.make_ports(thread, words),
            platform::MMIO => self.make_device_region(thread, words),
            platform::POWER => self.power(words),
            #[cfg(feature = "check")]
            platform::CHECK if self.is_test.get() => self.check_all(),
            platform::CHECK => Err(Failure::at(Error::Unsupported, 0)),
            _ => {
                let second = self.ticks_per_us.get() * 1_000_000;
                Ok(Outcome::Words(self.core_count() as u64, [0, second, 0, 0, 0, 0]))
            }
        }
    }

    fn make_interrupt(&self, thread: &Thread, words: &Words) -> Answer {
        let line = words[1];
        if line != platform::MSI && line >= MAX_LINES {
            return Err(Failure::at(Error::BadArg, 1));
        }
        if line != platform::MSI && self.is_line_owned(line) {
            return Err(Failure::at(Error::Occupied, 1));
        }
        let core = u8::try_from(words[2])
            .ok()
            .filter(|&core| usize::from(core) < self.core_count());
        let core = core.ok_or(Failure::at(Error::BadArg, 2))?;
        if words[3] > (platform::LEVEL | platform::ACTIVE_LOW) {
            return Err(Failure::at(Error::BadArg, 3));
        }
        // Interrupt messages name their core in 8 bits, of which all ones mean every core.
        if self.core(core).apic_id.get() >= ALL_CORES {
            return Err(Failure::at(Error::Unsupported, 2));
        }
        let flags = self.line_flags(line, words[3]);
        let vector = self.free_vector(core).ok_or(Failure::at(Error::Busy, 2))?;
        let place = self.place(thread, (4, words[4]), (5, words[5]))?;
        // Nothing may fail from here on.
        if let Some(name) = self.make_small::<Interrupt>(&place, Rights::ALL) {
            let interrupt = self.store.interrupt(name);
            interrupt.line.set(line);
            interrupt.flags.set(flags);
            interrupt.core.set(core);
            interrupt.vector.set(vector);
            let index = usize::from(vector - crate::percpu::FIRST_VECTOR);
            if let Some(owner) = self.core(core).vectors.get(index) {
                owner.set(Some(name));
            }
        }
        Ok(Outcome::Done(flags))
    }

    fn make_ports(&self, thread: &Thread, words: &Words) -> Answer {
        let first = u16::try_from(words[1]).map_err(|_| Failure::at(Error::BadArg, 1))?;
        let last = words[2].checked_sub(1).and_then(|more| words[1].checked_add(more));
        let last = last
            .and_then(|last| u16::try_from(last).ok())
            .ok_or(Failure::at(Error::BadArg, 2))?;
        let place = self.place(thread, (3, words[3]), (4, words[4]))?;
        // Nothing may fail from here on.
        if let Some(name) = self.make_small::<Ports>(&place, Rights::ALL) {
            let ports = self.store.ports(name);
            ports.first.set(first);
            ports.last.set(last);
        }
        Ok(Outcome::Done(0))
    }

    fn make_device_region(&self, thread: &Thread, words: &Words) -> Answer {
        let (first, pages) = (words[1], words[2]);
        if pages == 0 || pages > MAX_REGION_PAGES {
            return Err(Failure::at(Error::BadArg, 2));
        }
        let end = first.checked_add(pages).filter(|&end| end <= PHYSICAL_PAGES);
        let end = end.ok_or(Failure::at(Error::BadArg, 1))?;
        if self.is_reserved(first, end) {
            return Err(Failure::at(Error::NoRight, 1));
        }
        let place = self.place(thread, (3, words[3]), (4, words[4]))?;
        // Nothing may fail from here on.
        if let Some(name) = self.make_small::<Region>(&place, Rights::ALL) {
            let region = self.store.region(name);
            region.set_run(first, pages, Rights::ALL);
            region.scrubbed.set(pages);
            region.is_device.set(true);
        }
        Ok(Outcome::Done(0))
    }

    /// Whether pages hold RAM or a device that the kernel keeps for itself.
    fn is_reserved(&self, first: u64, end: u64) -> bool {
        self.reserved
            .iter()
            .any(|range| range.get().0 < end && first < range.get().1)
    }

    fn power(&self, words: &Words) -> Answer {
        self.effect(match words[1] {
            platform::RESET => Effect::Reset,
            platform::OFF => Effect::PowerOff,
            _ => return Err(Failure::at(Error::BadArg, 1)),
        });
        Ok(Outcome::Done(0))
    }
}
