//! Tables of a domain's devices.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use crate::config::{MacAddress, VirtualDevice};
use crate::life::DomId;

/// How far guest and backend have come with each other, by the numbers that Xen's bus gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// The guest's driver has not begun.
    InitWait,
    /// Data flows.
    Connected,
    /// The guest's driver has gone.
    Closed,
}

impl DeviceState {
    fn number(self) -> u8 {
        match self {
            Self::InitWait => 2,
            Self::Connected => 4,
            Self::Closed => 6,
        }
    }
}

/// A network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicStatus {
    /// Its number.
    pub devid: u32,
    /// Its address.
    pub mac: MacAddress,
    /// See [`DeviceState`].
    pub state: DeviceState,
    /// Number of its doorbell; -1 without one.
    pub doorbell: i32,
    /// Numbers of its queues; -1 without one.
    pub transmit_queue: i32,
    /// See `transmit_queue`.
    pub receive_queue: i32,
}

/// A disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskStatus {
    /// Its name.
    pub vdev: VirtualDevice,
    /// See [`DeviceState`].
    pub state: DeviceState,
    /// Number of its doorbell; -1 without one.
    pub doorbell: i32,
    /// Number of its queue; -1 without one.
    pub queue: i32,
}

/// `network-list`, for one domain.
#[must_use]
pub fn network_list(id: DomId, nics: &[NicStatus]) -> String {
    let mut text = format!(
        "{:<3} {:<2} {:<17} {:<6} {:<5} {:<6} {:>5}/{:<5} {:<30}\n",
        "Idx", "BE", "Mac Addr.", "handle", "state", "evt-ch", "tx-", "rx-ring-ref", "BE-path"
    );
    for nic in nics {
        let NicStatus {
            devid,
            mac,
            doorbell,
            transmit_queue,
            receive_queue,
            ..
        } = nic;
        let path = format!("/local/domain/0/backend/vif/{id}/{devid}");
        let state = nic.state.number();
        let _ = writeln!(
            text,
            "{devid:<3} {:<2} {mac}{devid:6} {state:5} {doorbell:6} {transmit_queue:5}/{receive_queue:<11} {path:<30}",
            0
        );
    }
    text
}

/// `block-list`, for one domain.
#[must_use]
pub fn block_list(id: DomId, disks: &[DiskStatus]) -> String {
    let mut text = format!(
        "{:<5} {:<3} {:<6} {:<5} {:<6} {:<8} {:<30}\n",
        "Vdev", "BE", "handle", "state", "evt-ch", "ring-ref", "BE-path"
    );
    for disk in disks {
        let (vdev, state) = (disk.vdev.number(), disk.state.number());
        let path = format!("/local/domain/0/backend/vbd/{id}/{vdev}");
        let DiskStatus { doorbell, queue, .. } = disk;
        let _ = writeln!(
            text,
            "{vdev:<5} {:<3} {id:<6} {state:<5} {doorbell:<6} {queue:<8} {path:<30}",
            0
        );
    }
    text
}
