//! Operations of Platform, Interrupt and Ports.

use ecusson_abi::{ops, platform};

use super::kind::{Interrupt, Memory, Notification, Platform, Ports, ProtectionDomain, Region};
use super::{Cap, Failure};

impl Cap<Platform> {
    /// Makes the object of an interrupt line or, with `platform::MSI`, of a message. `flags` are of
    /// `ecusson_abi::platform`.
    ///
    /// # Errors
    /// `Occupied` for a line that has an owner, `Busy` when the core has no vector left, `NoMemory`, `NoRight`.
    pub fn create_interrupt(
        &self,
        line: u64,
        core: u64,
        flags: u64,
        memory: &Cap<Memory>,
        slot: u64,
    ) -> Result<Cap<Interrupt>, Failure> {
        self.operate([platform::IRQ, line, core, flags, memory.slot(), slot])?;
        Ok(Cap::at(slot))
    }

    /// Makes the object of a range of I/O ports.
    ///
    /// # Errors
    /// `BadArg`, `NoMemory`, `NoRight`.
    pub fn create_ports(&self, first: u16, count: u16, memory: &Cap<Memory>, slot: u64) -> Result<Cap<Ports>, Failure> {
        self.operate([
            platform::PORTS,
            u64::from(first),
            u64::from(count),
            memory.slot(),
            slot,
            0,
        ])?;
        Ok(Cap::at(slot))
    }

    /// Makes a Region of device memory.
    ///
    /// # Errors
    /// `NoRight`, argument 1, for RAM and the kernel's devices; `BadArg`, `NoMemory`.
    pub fn create_device_region(
        &self,
        first_page: u64,
        pages: u64,
        memory: &Cap<Memory>,
        slot: u64,
    ) -> Result<Cap<Region>, Failure> {
        self.operate([platform::MMIO, first_page, pages, memory.slot(), slot, 0])?;
        Ok(Cap::at(slot))
    }

    /// Cores, and ticks in a second.
    ///
    /// # Errors
    /// `BadCap` or `BadType` for a slot that holds something else.
    pub fn info(&self) -> Result<(u64, u64), Failure> {
        let answer = self.operate([platform::INFO, 0, 0, 0, 0, 0])?;
        Ok((answer.second, answer.words[1]))
    }

    /// Resets the machine or switches it off: `platform::RESET` or `OFF`.
    ///
    /// # Errors
    /// `NoRight` without POWER.
    pub fn power(&self, what: u64) -> Result<(), Failure> {
        self.operate([platform::POWER, what, 0, 0, 0, 0]).map(|_| ())
    }
}

impl Cap<Interrupt> {
    /// Has it signal a bit of a notification. For messages: data and address to program the device with.
    ///
    /// # Errors
    /// `Occupied` when it is bound already, `NoRight` for a notification without BIND.
    pub fn bind(&self, notification: &Cap<Notification>, bit: u8) -> Result<(u64, u64), Failure> {
        let answer = self.operate([ops::interrupt::BIND, notification.slot(), u64::from(bit), 0, 0, 0])?;
        Ok((answer.second, answer.words[1]))
    }

    /// The device is served; a level-triggered line may interrupt again.
    ///
    /// # Errors
    /// `NoRight` without MANAGE.
    pub fn acknowledge(&self) -> Result<(), Failure> {
        self.operate([ops::interrupt::ACK, 0, 0, 0, 0, 0]).map(|_| ())
    }
}

impl Cap<Ports> {
    /// Lets the threads of a domain use the ports.
    ///
    /// # Errors
    /// `Occupied` when another domain has them, or this one has as many ranges as it can.
    pub fn attach(&self, domain: &Cap<ProtectionDomain>) -> Result<(), Failure> {
        self.operate([ops::ports::ATTACH, domain.slot(), 0, 0, 0, 0])
            .map(|_| ())
    }
}
