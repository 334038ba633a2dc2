//! SRAT: which processors and which memory are near to each other (ACPI 6.5, 5.2.16).
//!
//! Called by [`super::read`] after the MADT, because it completes the processors found there.

use ecusson_abi::boot::{BootInfo, BootMemoryNode, PhysRange};

use super::Entries;
use crate::bytes::{u8_at, u32_at, u64_at};
use crate::list::push;
use crate::report::Report;

const FIRST_ENTRY: usize = 48;
/// Bit 0 of the flags of every entry: it counts.
const ENABLED: u32 = 1;

/// Fills the nodes of the processors and the list of memory ranges.
pub fn read<R: Report>(table: &[u8], info: &mut BootInfo, report: &mut R) {
    for entry in Entries::new(table, FIRST_ENTRY, Entries::byte_length) {
        if take(entry, info).is_none() {
            let kind = entry.first().copied().unwrap_or(0);
            report.line(format_args!(
                "SRAT entry of type {kind} is damaged or one too many; ignored"
            ));
        }
    }
}

fn take(entry: &[u8], info: &mut BootInfo) -> Option<()> {
    match u8_at(entry, 0)? {
        0 if u32_at(entry, 4)? & ENABLED != 0 => {
            // The node's low byte stands apart from its three high bytes.
            let node = u32::from(u8_at(entry, 2)?) | (u32_at(entry, 8)? & !0xFF);
            set_node(info, u32::from(u8_at(entry, 3)?), node);
        }
        1 if u32_at(entry, 28)? & ENABLED != 0 => {
            let range = PhysRange {
                base: u64_at(entry, 8)?,
                bytes: u64_at(entry, 16)?,
            };
            range.base.checked_add(range.bytes)?;
            let node = BootMemoryNode {
                range,
                node: u32_at(entry, 2)?,
                flags: u32_at(entry, 28)?,
            };
            let room = range.bytes == 0 || push(&mut info.memory_nodes, &mut info.memory_node_count, node);
            return room.then_some(());
        }
        2 if u32_at(entry, 12)? & ENABLED != 0 => set_node(info, u32_at(entry, 8)?, u32_at(entry, 4)?),
        _ => {}
    }
    Some(())
}

fn set_node(info: &mut BootInfo, apic_id: u32, node: u32) {
    let count = info.cpu_count as usize;
    let cpus = info.cpus.get_mut(..count).unwrap_or(&mut []);
    if let Some(cpu) = cpus.iter_mut().find(|cpu| cpu.apic_id == apic_id) {
        cpu.node = node;
    }
}
