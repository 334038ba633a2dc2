//! What the verbs print, column by column as scripts expect it of `xl` and `xentop`.
//!
//! Key types: [`Row`] (a domain as it is listed), [`HostFacts`], and one function for each table. Pure text: each function
//! returns whole lines. Called by [`crate::command`].

mod devices;
mod domains;
mod host;
mod json;
mod top;

pub use devices::{DeviceState, DiskStatus, NicStatus, block_list, network_list};
pub use domains::{
    ListOptions, Row, VcpuRow, list, sched_credit2, sched_credit2_row, uptime, uptime_short, vcpu_list, vm_list,
};
pub use host::HostFacts;
pub use json::{domain_json, list_json};
pub use top::{Counters, Summary, TopRow, top_batch, top_screen};

use alloc::format;
use alloc::string::String;

/// Seconds with one digit behind the point, out of milliseconds.
fn seconds(ms: u64) -> String {
    let tenths = ms.saturating_add(50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `12 days,  3:04:05`.
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    let time = format!("{hours:2}:{minutes:02}:{:02}", seconds % 60);
    match days {
        0 => time,
        1 => format!("1 day, {time}"),
        _ => format!("{days} days, {time}"),
    }
}
