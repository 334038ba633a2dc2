//! What a manifest calls the things that it gives to a VMM.

/// Notification that signals the toolstack: the guest is at its end.
pub(super) const ENDED: &str = "ended";
/// Region with the ring of what the guest writes to its serial port.
pub(super) const CONSOLE_OUT: &str = "console-out";
/// Region with the ring of what is typed.
pub(super) const CONSOLE_IN: &str = "console-in";
/// Notification of the console: there is output.
pub(super) const CONSOLE: &str = "console";

/// Notification of the thread that runs a vCPU.
pub(super) fn of_vcpu(vcpu: usize) -> alloc::string::String {
    alloc::format!("vcpu{vcpu}")
}

/// Bit of a vCPU's notification: look around, something changed. The console signals bit 1 of the first when something was
/// typed; which bit it was makes no difference.
pub(super) const LOOK: u8 = 0;
