//! The power registers of hardware-reduced ACPI, and the generic event device behind the power button.
//!
//! Key types: [`Power`], [`PowerEvent`]. ACPI 6.5, 4.8.3.7 (sleep control and status), 4.8.3.6 (reset register), 5.6.9 (generic
//! event device). The tables in [`crate::acpi`] say where they are and what to write.

/// Registers, as offsets from the first port.
mod register {
    pub(super) const SLEEP_CONTROL: u16 = 0;
    pub(super) const SLEEP_STATUS: u16 = 1;
    pub(super) const RESET: u16 = 2;
    pub(super) const EVENTS: u16 = 3;
}

/// What is written to the reset register.
pub(crate) const RESET_VALUE: u8 = 1;
/// The sleep type of soft-off, as `\_S5` gives it.
pub(crate) const SLEEP_TYPE_OFF: u8 = 5;
/// Bit of the event register: the power button was pressed.
pub(crate) const EVENT_BUTTON: u8 = 1;

const SLEEP_ENABLE: u8 = 0x20;

/// What a guest asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerEvent {
    /// Soft-off.
    Off,
    /// Reset the machine.
    Reset,
}

/// The power registers.
#[derive(Clone, Debug, Default)]
pub struct Power {
    /// Events that the guest has not fetched yet.
    events: u8,
}

impl Power {
    /// Presses the power button: the guest's init is asked to shut down.
    pub fn press_button(&mut self) {
        self.events |= EVENT_BUTTON;
    }

    /// Whether the interrupt line of the event device is asserted.
    #[must_use]
    pub fn line(&self) -> bool {
        self.events != 0
    }

    /// Reads a register. The event register is empty afterwards.
    pub fn read(&mut self, register: u16) -> u8 {
        match register {
            register::EVENTS => core::mem::take(&mut self.events),
            _ => 0,
        }
    }

    /// Writes a register.
    #[must_use]
    pub fn write(&mut self, register: u16, value: u8) -> Option<PowerEvent> {
        match register {
            register::SLEEP_CONTROL => {
                let off = value & SLEEP_ENABLE != 0 && value >> 2 & 7 == SLEEP_TYPE_OFF;
                off.then_some(PowerEvent::Off)
            }
            register::RESET => (value == RESET_VALUE).then_some(PowerEvent::Reset),
            // Sleep status: nobody ever woke up.
            register::SLEEP_STATUS => None,
            _ => None,
        }
    }
}
