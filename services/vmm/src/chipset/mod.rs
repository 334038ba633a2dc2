//! The few legacy devices that Linux asks a PC for: serial port, clock, power registers.
//!
//! A guest sees neither PIC nor PIT, PM timer nor keyboard controller: its ACPI is hardware-reduced, its time comes from
//! KVM's clock and the local APIC. Key types: [`Uart`], [`Rtc`], [`Power`]. Called by the board's port router.

mod power;
mod rtc;
mod uart;

pub(crate) use power::{EVENT_BUTTON, RESET_VALUE, SLEEP_TYPE_OFF};
pub use power::{Power, PowerEvent};
pub use rtc::Rtc;
pub use uart::Uart;
