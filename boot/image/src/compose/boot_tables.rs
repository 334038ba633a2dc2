//! The boot table of each process: what it got, by name.
//!
//! Key function: [`encode`]. Called by `check`, which has the names and the slots at hand.

use ecusson_manifest::boot_table::{Entry, Header, TooManyEntries, encode as encode_table, label};
use ecusson_manifest::composition::{Composition, Process, Target};

use crate::check::resolve::Resolved;
use crate::manifest::{self, Access, Manifest};
use crate::slots::ProcessSlots;

/// Everything that is known of the process whose table is made.
struct Subject<'m> {
    manifest: &'m Manifest,
    resolved: &'m Resolved,
    /// Its index.
    index: usize,
    written: &'m manifest::Process,
    outlined: &'m Process,
    slots: &'m ProcessSlots,
}

/// Encodes the boot table of the process with this index.
pub(crate) fn encode(
    manifest: &Manifest,
    resolved: &Resolved,
    slots: &[ProcessSlots],
    composition: &Composition,
    index: usize,
) -> Result<Vec<u8>, TooManyEntries> {
    let subject = Subject {
        manifest,
        resolved,
        index,
        written: &manifest.processes[index],
        outlined: &composition.processes[index],
        slots: &slots[index],
    };
    let process = subject.outlined;
    let header = Header {
        process: &process.name,
        threads: u16::try_from(process.threads.len()).unwrap_or(u16::MAX),
        memory_pages: process.memory_pages,
        receive_first: process.receive_first,
        receive_count: process.receive_count,
        entries: 0,
    };
    let mut entries = Vec::new();
    subject.edges(&mut entries);
    subject.mapped(&mut entries);
    subject.files(&mut entries);
    subject.devices(&mut entries);
    subject.controlled(composition, &mut entries);
    subject.clients(&mut entries);
    subject.signalled(&mut entries);
    encode_table(&header, &entries)
}

impl<'m> Subject<'m> {
    fn edges(&self, entries: &mut Vec<Entry<'m>>) {
        for (call, slot) in self.written.calls.iter().zip(&self.slots.calls) {
            entries.push(Entry::Call {
                name: call.alias.as_ref().unwrap_or(&call.portal),
                slot: *slot,
            });
        }
        for (own, slot) in self.written.notifications.iter().zip(&self.slots.notifications) {
            entries.push(Entry::Notification {
                name: &own.name,
                slot: *slot,
            });
        }
        for (signal, slot) in self.written.signals.iter().zip(&self.slots.signals) {
            let name = signal.alias.as_ref().unwrap_or(&signal.notification);
            entries.push(Entry::Signal {
                name,
                slot: *slot,
                bit: bit(signal.bit.value),
            });
        }
    }

    /// Where `outline` put what is behind this slot.
    fn address(&self, wanted: u16) -> u64 {
        let capability = self
            .outlined
            .capabilities
            .iter()
            .find(|capability| capability.slot == wanted);
        match capability.map(|capability| capability.target) {
            Some(
                Target::SharedRegion { address, .. } | Target::Mmio { address, .. } | Target::File { address, .. },
            ) => address,
            _ => 0,
        }
    }

    fn mapped(&self, entries: &mut Vec<Entry<'m>>) {
        let regions = &self.resolved.processes[self.index].maps;
        for ((map, region), slot) in self.written.maps.iter().zip(regions).zip(&self.slots.maps) {
            let Some(region) = region.and_then(|region| self.manifest.regions.get(region)) else {
                continue;
            };
            entries.push(Entry::Region {
                name: &map.region,
                slot: *slot,
                address: self.address(*slot),
                pages: region.pages.value,
                writable: map.access.value == Access::ReadWrite,
            });
        }
        for (mmio, slot) in self.written.mmio.iter().zip(&self.slots.mmio) {
            let address = self.address(*slot);
            entries.push(Entry::Mmio {
                name: &mmio.name,
                slot: *slot,
                address,
                pages: mmio.pages.value,
            });
        }
    }

    fn files(&self, entries: &mut Vec<Entry<'m>>) {
        let files = &self.resolved.processes[self.index].files;
        for ((used, file), slot) in self.written.files.iter().zip(files).zip(&self.slots.files) {
            let Some(file) = file.and_then(|file| self.manifest.files.get(file)) else {
                continue;
            };
            entries.push(Entry::File {
                name: used.local_name(),
                slot: *slot,
                address: self.address(*slot),
                bytes: file.bytes,
            });
        }
    }

    fn devices(&self, entries: &mut Vec<Entry<'m>>) {
        let notifications = &self.resolved.processes[self.index].interrupts;
        for ((own, target), slot) in self
            .written
            .interrupts
            .iter()
            .zip(notifications)
            .zip(&self.slots.interrupts)
        {
            let Some(notification_slot) = target.and_then(|target| self.slots.notifications.get(target)) else {
                continue;
            };
            entries.push(Entry::Interrupt {
                name: &own.name,
                slot: *slot,
                notification_slot: *notification_slot,
                bit: bit(own.bit.value),
            });
        }
        for (own, slot) in self.written.ports.iter().zip(&self.slots.ports) {
            let count = u16::try_from(own.count.value).unwrap_or(u16::MAX);
            entries.push(Entry::Ports {
                name: &own.name,
                slot: *slot,
                first: own.first.value,
                count,
            });
        }
        if let (Some(own), Some(slot)) = (&self.written.platform, self.slots.platform) {
            entries.push(Entry::Platform {
                slot,
                rights: own.rights.value,
            });
        }
        entries.extend(self.slots.dma.map(|slot| Entry::Dma { slot }));
    }

    /// Whom it starts and stops.
    fn controlled(&self, composition: &'m Composition, entries: &mut Vec<Entry<'m>>) {
        for (number, control) in (0..).zip(&self.outlined.controls) {
            let process = composition.processes.get(usize::from(control.process));
            let slot = self.slots.notifications.get(usize::from(control.notification));
            let (Some(process), Some(slot)) = (process, slot) else {
                continue;
            };
            entries.push(Entry::Controlled {
                name: &process.name,
                number,
                notification_slot: *slot,
                bit: control.bit,
            });
        }
    }

    /// Who calls this process, with which label.
    fn clients(&self, entries: &mut Vec<Entry<'m>>) {
        let numbers = self.resolved.client_numbers();
        for (portal_index, portal) in self.written.portals.iter().enumerate() {
            for (client, process) in self.resolved.processes.iter().enumerate() {
                for (target, number) in process.calls.iter().zip(&numbers[client]) {
                    if *target != Some((self.index, portal_index)) {
                        continue;
                    }
                    entries.push(Entry::Client {
                        portal: &portal.name,
                        client: &self.manifest.processes[client].name,
                        label: label(u16::try_from(portal_index).unwrap_or(u16::MAX), *number),
                    });
                }
            }
        }
    }

    /// Who signals this process's notifications, by which bits.
    fn signalled(&self, entries: &mut Vec<Entry<'m>>) {
        for (process, names) in self.manifest.processes.iter().zip(&self.resolved.processes) {
            for (signal, target) in process.signals.iter().zip(&names.signals) {
                let Some((owner, notification)) = *target else { continue };
                if owner != self.index {
                    continue;
                }
                entries.push(Entry::Signalled {
                    notification: &self.written.notifications[notification].name,
                    by: &process.name,
                    bit: bit(signal.bit.value),
                });
            }
        }
    }
}

/// A bit that passed the checks.
fn bit(bit: u64) -> u8 {
    u8::try_from(bit).unwrap_or(u8::MAX)
}
