//! Tables with a line a domain, or a line a virtual processor.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Write as _;

use super::{duration, seconds};
use crate::config::{CpuSet, Uuid};
use crate::life::{Activity, DomId, EndReason};

/// A domain, as lists show it. The host's services together are domain 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name.
    pub name: String,
    /// Number.
    pub id: DomId,
    /// Its UUID; of domain 0 all zeros.
    pub uuid: Uuid,
    /// Memory that it has.
    pub memory_kib: u64,
    /// Processors that it has.
    pub vcpus: u32,
    /// Six letters.
    pub state: String,
    /// Processor time since it was made.
    pub cpu_time_ms: u64,
    /// Time since it was made.
    pub uptime_ms: u64,
    /// How it ended, if it did.
    pub ended: Option<EndReason>,
    /// Weight.
    pub weight: u16,
    /// Cap in percent.
    pub cap_percent: u32,
}

/// Columns that `list` has on request. The order of the flags does not matter, the columns have theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ListOptions {
    /// `-v`: UUID, reason, label.
    pub verbose: bool,
    /// `-Z`: label.
    pub context: bool,
    /// `-c`: pool.
    pub cpupool: bool,
    /// `-n`: nodes.
    pub numa: bool,
}

/// `list`.
#[must_use]
pub fn list(rows: &[Row], options: ListOptions) -> String {
    let mut text = String::from("Name                                        ID   Mem VCPUs\tState\tTime(s)");
    if options.verbose {
        text.push_str("   UUID                            Reason-Code\tSecurity Label");
    } else if options.context {
        text.push_str("   Security Label");
    }
    if options.cpupool {
        text.push_str("         Cpupool");
    }
    if options.numa {
        text.push_str(" NODE Affinity");
    }
    text.push('\n');
    for row in rows {
        let Row {
            name, id, vcpus, state, ..
        } = row;
        let (memory_mib, time) = (row.memory_kib / 1024, seconds(row.cpu_time_ms));
        // Writing into a string cannot fail, here and below.
        let _ = write!(
            text,
            "{name:<40} {id:5} {memory_mib:5} {vcpus:5}     {state}  {time:>8}"
        );
        if options.verbose {
            let reason = row.ended.map_or("-".to_string(), |ended| format!("{:x}", ended.code()));
            let _ = write!(text, " {} {reason:>8}", row.uuid);
        }
        if options.verbose || options.context {
            let _ = write!(text, " {:>16}", "-");
        }
        if options.cpupool {
            let _ = write!(text, "{:>16}", "Pool-0");
        }
        if options.numa {
            text.push_str(" all");
        }
        text.push('\n');
    }
    text
}

/// `vm-list`.
#[must_use]
pub fn vm_list(rows: &[Row]) -> String {
    let mut text = String::from("UUID                                  ID    name\n");
    for Row { uuid, id, name, .. } in rows {
        let _ = writeln!(text, "{uuid}  {id}    {name:<30}");
    }
    text
}

/// A virtual processor, as `vcpu-list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VcpuRow {
    /// Name of its domain.
    pub name: String,
    /// Its domain.
    pub id: DomId,
    /// Its number.
    pub vcpu: u32,
    /// The core it is on and what it does; `None` for one that is not there now.
    pub online: Option<(u32, Activity)>,
    /// Processor time.
    pub cpu_time_ms: u64,
    /// Where it must run.
    pub hard: CpuSet,
    /// Where it should run.
    pub soft: CpuSet,
}

/// `vcpu-list`, for a host with so many processors.
#[must_use]
pub fn vcpu_list(rows: &[VcpuRow], host_cpus: u32) -> String {
    let mut text =
        String::from("Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n");
    for VcpuRow {
        name,
        id,
        vcpu,
        online,
        cpu_time_ms,
        hard,
        soft,
    } in rows
    {
        let place = match online {
            Some((cpu, Activity::Running)) => format!("{cpu:5}   r-- "),
            Some((cpu, Activity::Blocked)) => format!("{cpu:5}   -b- "),
            None => format!("{:>5}   --p ", "-"),
        };
        let (time, hard, soft) = (seconds(*cpu_time_ms), hard.show(host_cpus), soft.show(host_cpus));
        let _ = writeln!(text, "{name:<32} {id:5} {vcpu:5} {place}{time:>9}  {hard} / {soft}");
    }
    text
}

/// `uptime`.
#[must_use]
pub fn uptime(rows: &[Row]) -> String {
    let mut text = String::from("Name                                ID Uptime\n");
    for Row {
        name, id, uptime_ms, ..
    } in rows
    {
        let _ = writeln!(text, "{name:<33} {id:4} {}", duration(uptime_ms / 1000));
    }
    text
}

/// `uptime -s`, at a time of day.
#[must_use]
pub fn uptime_short(rows: &[Row], wall_s: u64) -> String {
    let mut text = String::new();
    let (hours, minutes, now_seconds) = (wall_s / 3600 % 24, wall_s / 60 % 60, wall_s % 60);
    for Row {
        name, id, uptime_ms, ..
    } in rows
    {
        let long = duration(uptime_ms / 1000);
        // Without the seconds.
        let short = long.rsplit_once(':').map_or(long.as_str(), |(short, _)| short);
        let _ = writeln!(
            text,
            " {hours:02}:{minutes:02}:{now_seconds:02} up {short}, {name} ({id})"
        );
    }
    text
}

/// `sched-credit2` without a domain.
#[must_use]
pub fn sched_credit2(rows: &[Row]) -> String {
    let mut text = String::from("Cpupool Pool-0: ratelimit=1000us\n");
    text.push_str(SCHED_HEADER);
    text.extend(rows.iter().map(sched_line));
    text
}

/// `sched-credit2 -d`.
#[must_use]
pub fn sched_credit2_row(row: &Row) -> String {
    format!("{SCHED_HEADER}{}", sched_line(row))
}

const SCHED_HEADER: &str = "Name                                ID Weight  Cap\n";

fn sched_line(row: &Row) -> String {
    let Row {
        name,
        id,
        weight,
        cap_percent,
        ..
    } = row;
    format!("{name:<33} {id:4} {weight:6} {cap_percent:4}\n")
}
