//! Interrupt messages: what travels from a device, an I/O APIC or a local APIC to local APICs.
//!
//! Key type: [`Message`]. Intel SDM vol. 3, 11.11 (message signalled interrupts), 11.6 (inter-processor interrupts).

/// What a message does where it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Interrupt with the vector.
    Fixed,
    /// The same, to one of the processors that it is for.
    LowestPriority,
    /// Non-maskable interrupt.
    Nmi,
    /// Reset to wait for a start-up message.
    Init,
    /// Start in real mode at the vector's page.
    Startup,
    /// System management, external interrupt, reserved: nothing happens.
    Ignored,
}

impl Delivery {
    /// Of the three bits that the formats share.
    #[must_use]
    pub fn of_bits(bits: u32) -> Self {
        match bits & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::Startup,
            _ => Self::Ignored,
        }
    }
}

/// Edge or level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Done with when delivered.
    Edge,
    /// The I/O APIC wants to hear of its end.
    Level,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The APIC with this number, or all for all ones (8 or 32 of them, by the sender's mode).
    Physical(u32),
    /// The APICs that have this as their logical address.
    Logical(u32),
}

/// Short forms of a destination in an inter-processor interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shorthand {
    /// As the message says.
    None,
    /// The sender alone.
    Itself,
    /// Everybody.
    All,
    /// Everybody but the sender.
    Others,
}

/// An interrupt under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// For whom.
    pub destination: Destination,
    /// What it does.
    pub delivery: Delivery,
    /// Interrupt vector, or page number of a start-up.
    pub vector: u8,
    /// Edge or level.
    pub trigger: Trigger,
}

/// The part of an MSI's address that says that it is one.
const MSI_ADDRESS: u64 = 0xfee0_0000;
const MSI_MASK: u64 = 0xffff_ffff_fff0_0000;

impl Message {
    /// Of the address and data that a device was programmed with. `None` if it is an ordinary address.
    ///
    /// Bits 5 to 11 of the address are bits 8 to 14 of the destination, as KVM's "extended destination" has them.
    #[must_use]
    pub fn of_msi(address: u64, data: u32) -> Option<Self> {
        if address & MSI_MASK != MSI_ADDRESS {
            return None;
        }
        let low = address as u32;
        let id = low >> 12 & 0xff | (low >> 5 & 0x7f) << 8;
        let destination = match (id, low & 4) {
            (0xff, 0) => Destination::Physical(u32::MAX),
            (id, 0) => Destination::Physical(id),
            (id, _) => Destination::Logical(id),
        };
        Some(Self {
            destination,
            delivery: Delivery::of_bits(data >> 8),
            vector: data as u8,
            trigger: if data & 1 << 15 == 0 {
                Trigger::Edge
            } else {
                Trigger::Level
            },
        })
    }
}
