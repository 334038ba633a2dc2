//! The kinds of object as types: the parameter of [`super::Cap`].

use super::Destroy;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        $($(#[$doc])* #[derive(Debug, PartialEq, Eq, Hash)] pub enum $name {})*
    };
}

kinds! {
    /// Physical pages that may become objects.
    Memory,
    /// Pages that may be mapped.
    Region,
    /// An address space.
    Space,
    /// A capability table and a host space.
    ProtectionDomain,
    /// A flow of control.
    Thread,
    /// The right to processor time.
    SchedContext,
    /// An entry point into one server thread.
    Portal,
    /// 64 one-bit signals.
    Notification,
    /// State of a guest's processor.
    Vcpu,
    /// One interrupt line or message.
    Interrupt,
    /// A range of I/O ports.
    Ports,
    /// Root authority over the machine.
    Platform,
}

impl Destroy for Region {}
impl Destroy for Space {}
impl Destroy for ProtectionDomain {}
impl Destroy for Thread {}
impl Destroy for SchedContext {}
impl Destroy for Portal {}
impl Destroy for Notification {}
impl Destroy for Vcpu {}
impl Destroy for Interrupt {}
impl Destroy for Ports {}
