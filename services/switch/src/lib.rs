//! The virtual Ethernet switch, as logic: frames from one port to others.
//!
//! Key types: [`Switch`] (ports, learning, filters, counters), [`Link`] (what a port is connected to), [`GuestLink`] (a guest's
//! virtio-net queues), [`Frame`] (bytes where they lie, with what is still to be done to them). The process around it moves kicks,
//! interrupts and time.
//!
//! A frame travels from guest to guest by one copy, with its checksum and segmentation left undone where both sides can; where the
//! receiver can't, `offload.rs` does them on the way. What a guest sends is checked before anything is made of it: it can lose its
//! own frames, and nothing else.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod frame;
mod guest;
mod header;
mod link;
mod mac;
mod offload;
mod port;
mod stations;
mod switch;

pub use frame::{Body, Frame, Lost, VlanId};
pub use guest::{GuestLink, Signals};
pub use header::{Checksum, Features, HEADER_BYTES, Header, IpVersion, Offloads, Segmentation};
pub use link::{Link, LinkError, Received};
pub use mac::Mac;
pub use port::{Counters, Filter, PortId, PortSettings, Traffic};
pub use switch::{Settings, Switch, SwitchError, Turn};
