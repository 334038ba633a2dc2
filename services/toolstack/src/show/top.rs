//! `top`: the columns of `xentop`.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Write as _;

use super::domains::Row;

/// What a domain's devices have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Network cards.
    pub nics: u32,
    /// Bytes that the guest sent.
    pub sent_bytes: u64,
    /// Bytes that it received.
    pub received_bytes: u64,
    /// Disks.
    pub disks: u32,
    /// Times that a disk's queue was full.
    pub out_of_requests: u64,
    /// Read requests.
    pub reads: u64,
    /// Write requests.
    pub writes: u64,
    /// Sectors read.
    pub read_sectors: u64,
    /// Sectors written.
    pub written_sectors: u64,
}

/// A domain and what it has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopRow {
    /// The domain.
    pub row: Row,
    /// Percent of one processor since the last look, times ten.
    pub cpu_permille: u32,
    /// Memory that it may have; `None` for no limit.
    pub max_memory_kib: Option<u64>,
    /// Its devices.
    pub counters: Counters,
}

/// The first lines of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary<'a> {
    /// Seconds since 1970.
    pub wall_s: u64,
    /// Version of this system.
    pub release: &'a str,
    /// All memory.
    pub total_kib: u64,
    /// Free memory.
    pub free_kib: u64,
    /// Processors.
    pub cpus: u32,
    /// Their clock.
    pub cpu_mhz: u64,
}

const HEADER: &str = "      NAME  STATE   CPU(sec) CPU(%)     MEM(k) MEM(%)  MAXMEM(k) MAXMEM(%) VCPUS NETS NETTX(k) NETRX(k) VBDS   \
                      VBD_OO   VBD_RD   VBD_WR  VBD_RSECT  VBD_WSECT SSID\n";

/// `top -b`: header and rows. `total_kib` is the host's memory.
#[must_use]
pub fn top_batch(rows: &[TopRow], total_kib: u64) -> String {
    let mut text = HEADER.to_string();
    for row in rows {
        line(&mut text, row, total_kib);
    }
    text
}

/// One screen of `top`.
#[must_use]
pub fn top_screen(rows: &[TopRow], summary: &Summary<'_>) -> String {
    let Summary {
        wall_s,
        release,
        total_kib,
        free_kib,
        cpus,
        cpu_mhz,
    } = *summary;
    let count = |place: usize, letter: char| {
        rows.iter()
            .filter(|row| row.row.state.chars().nth(place) == Some(letter))
            .count()
    };
    let (hours, minutes, seconds) = (wall_s / 3600 % 24, wall_s / 60 % 60, wall_s % 60);
    let mut text = format!("xentop - {hours:02}:{minutes:02}:{seconds:02}   Ecusson {release}\n");
    let _ = writeln!(
        text,
        "{} domains: {} running, {} blocked, {} paused, {} crashed, {} dying, {} shutdown ",
        rows.len(),
        count(0, 'r'),
        count(1, 'b'),
        count(2, 'p'),
        count(4, 'c'),
        count(5, 'd'),
        count(3, 's')
    );
    let used_kib = total_kib.saturating_sub(free_kib);
    let _ = writeln!(
        text,
        "Mem: {total_kib}k total, {used_kib}k used, {free_kib}k free    CPUs: {cpus} @ {cpu_mhz}MHz"
    );
    text.push_str(&top_batch(rows, total_kib));
    text
}

fn line(text: &mut String, top: &TopRow, total_kib: u64) {
    let TopRow { row, counters, .. } = top;
    let name: String = row.name.chars().take(10).collect();
    let tenths = |tenths: u64| format!("{}.{}", tenths / 10, tenths % 10);
    let share = |kib: u64| {
        let rounded = kib.saturating_mul(1000).saturating_add(total_kib / 2);
        tenths(rounded.checked_div(total_kib).unwrap_or(0))
    };
    let (most, most_share) = match top.max_memory_kib {
        Some(kib) => (kib.to_string(), share(kib)),
        None => ("no limit".to_string(), "n/a".to_string()),
    };
    let (state, cpu) = (state(&row.state), tenths(u64::from(top.cpu_permille)));
    let (seconds, memory, memory_share) = (row.cpu_time_ms / 1000, row.memory_kib, share(row.memory_kib));
    let _ = write!(
        text,
        "{name:>10} {state:>6} {seconds:10} {cpu:>6} {memory:10} {memory_share:>6} "
    );
    let _ = write!(text, "{most:>10} {most_share:>9} {:5} ", row.vcpus);
    let Counters {
        nics,
        sent_bytes,
        received_bytes,
        disks,
        ..
    } = counters;
    let _ = write!(
        text,
        "{nics:4} {:8} {:8} {disks:4} ",
        sent_bytes / 1024,
        received_bytes / 1024
    );
    let Counters {
        out_of_requests,
        reads,
        writes,
        read_sectors,
        written_sectors,
        ..
    } = counters;
    let _ = writeln!(
        text,
        "{out_of_requests:8} {reads:8} {writes:8} {read_sectors:10} {written_sectors:10} {:4}",
        0
    );
}

/// The letters of `list` in the order of `xentop`: d s b c p r.
fn state(letters: &str) -> String {
    let letter = |place: usize| letters.chars().nth(place).unwrap_or('-');
    let crashed = if letter(4) == 'c' { 'c' } else { '-' };
    [letter(5), letter(3), letter(1), crashed, letter(2), letter(0)]
        .iter()
        .collect()
}
