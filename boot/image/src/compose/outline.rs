//! From a checked manifest to the composition: every capability of every process with slot, rights and target. Programs and boot
//! tables are filled in by `bundle`.
//!
//! Key function: [`outline`]. Called by `check`.

use ecusson_abi::Rights;
use ecusson_manifest::boot_table::label;
use ecusson_manifest::composition::{
    Capability, Composition, Control, DataFile, Dma, Extent, Machine, Notification, Portal, Process, Program,
    SharedRegion, Target, Thread,
};
use ecusson_manifest::layout::{self, PAGE_BYTES, slots as fixed};

use crate::check::resolve::{Resolved, ResolvedProcess};
use crate::manifest::{self, Access, Manifest};
use crate::slots::ProcessSlots;

/// Rights of a table's capabilities. None of them can be granted on: edges are the manifest's to draw.
mod rights {
    use super::Rights;
    pub(super) const OWN: u8 = Rights::MANAGE.with(Rights::READ).0;
    pub(super) const CALL: u8 = Rights::CALL.0;
    pub(super) const SIGNAL: u8 = Rights::SIGNAL.0;
    pub(super) const NOTIFICATION: u8 = Rights::SIGNAL.with(Rights::BIND).0;
    pub(super) const MANAGE: u8 = Rights::MANAGE.0;
    pub(super) const READ: u8 = Rights::READ.0;
    pub(super) const READ_WRITE: u8 = Rights::READ.with(Rights::WRITE).0;
    /// The owner may share slices of it, with clients it got capabilities from.
    pub(super) const QUOTA: u8 = Rights::MANAGE.with(Rights::READ).with(Rights::GRANT).0;
}

/// Weight of a thread of the fair band that does not say otherwise.
const DEFAULT_WEIGHT: u32 = 256;

/// The composition without programs. The manifest has passed all checks: names are resolved, slots assigned.
pub(crate) fn outline(manifest: &Manifest, resolved: &Resolved, slots: &[ProcessSlots]) -> Composition {
    let clients = resolved.client_numbers();
    let machine = Machine {
        memory_mib: manifest.machine.memory_mib.value,
        cores: manifest.machine.cores.value,
        dma: manifest.machine.dma.as_ref().map_or(Dma::None, |dma| dma.value),
    };
    let region = |region: &manifest::Region| SharedRegion {
        name: region.name.value.clone(),
        pages: region.pages.value,
        dma: region.dma.value,
    };
    let file = |file: &manifest::File| DataFile {
        name: file.name.value.clone(),
        content: Extent {
            offset: 0,
            bytes: file.bytes,
        },
    };
    let processes = manifest.processes.iter().zip(slots).enumerate();
    let processes = processes.map(|(index, (process, slots))| {
        let capabilities = capabilities(manifest, resolved, &clients, index, slots);
        outline_process(process, resolved, index, slots, capabilities)
    });
    Composition {
        machine,
        root_priority: manifest.root.priority.value,
        regions: manifest.regions.iter().map(region).collect(),
        files: manifest.files.iter().map(file).collect(),
        processes: processes.collect(),
    }
}

fn outline_process(
    process: &manifest::Process,
    resolved: &Resolved,
    index: usize,
    slots: &ProcessSlots,
    capabilities: Vec<Capability>,
) -> Process {
    let names = &resolved.processes[index];
    let threads = process.threads.iter().enumerate().map(|(number, thread)| Thread {
        name: thread.name.value.clone(),
        stack_pages: thread.stack_pages.value,
        core: thread.core.value,
        priority: thread.priority.value,
        weight: thread.weight.as_ref().map_or(DEFAULT_WEIGHT, |weight| weight.value),
        budget_us: thread.budget_us.value,
        period_us: thread.period_us.value,
        fpu: thread.fpu.value,
        notification: names
            .notification_threads
            .iter()
            .position(|bound| *bound == number)
            .map(narrow),
    });
    let portals = process
        .portals
        .iter()
        .zip(&names.portal_threads)
        .map(|(portal, thread)| Portal {
            name: portal.name.value.clone(),
            mode: portal.mode.value,
            thread: narrow(*thread),
        });
    let notifications = process.notifications.iter().map(|own| Notification {
        name: own.name.value.clone(),
    });
    Process {
        name: process.name.value.clone(),
        program: Program {
            binary: process.binary.value.clone(),
            entry: 0,
            segments: Vec::new(),
        },
        boot_table: Extent { offset: 0, bytes: 0 },
        table_pages: u8::try_from(u64::from(process.capability_slots.value) / ecusson_abi::SLOTS_PER_PAGE)
            .unwrap_or(u8::MAX),
        threads: threads.collect(),
        portals: portals.collect(),
        notifications: notifications.collect(),
        memory_pages: process.memory_pages.value,
        start: process.start.value,
        restart: process.restart,
        controls: controls(process, names),
        capabilities,
        receive_first: slots.receive_first,
        receive_count: process.receive_slots.value,
    }
}

/// Everyone that a process controls, in the order of its entries; requests count them so.
fn controls(process: &manifest::Process, names: &ResolvedProcess) -> Vec<Control> {
    let written = process
        .controls
        .iter()
        .zip(&names.controls)
        .zip(&names.control_notifications);
    let each = written.flat_map(|((control, controlled), notification)| {
        let bits = u8::try_from(control.bit.value).unwrap_or(u8::MAX)..=u8::MAX;
        controlled.iter().zip(bits).map(move |(process, bit)| Control {
            process: narrow(*process),
            notification: notification.map_or(u16::MAX, narrow),
            bit,
        })
    });
    each.collect()
}

/// An index within a list that came through `u16` slots or that the checks kept small.
fn narrow(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

fn capabilities(
    manifest: &Manifest,
    resolved: &Resolved,
    clients: &[Vec<u16>],
    index: usize,
    slots: &ProcessSlots,
) -> Vec<Capability> {
    let process = &manifest.processes[index];
    let names = &resolved.processes[index];
    let mut all = fixed_capabilities(process, index);
    all.extend(edges(process, names, &clients[index], slots));
    all.extend(devices(process, names, slots));
    all.extend(mapped(manifest, process, names, slots));
    all.sort_by_key(|capability| capability.slot);
    all
}

fn edges(
    process: &manifest::Process,
    names: &ResolvedProcess,
    clients: &[u16],
    slots: &ProcessSlots,
) -> Vec<Capability> {
    let mut all = Vec::new();
    for ((target, client), slot) in names.calls.iter().zip(clients).zip(&slots.calls) {
        let Some((server, portal)) = *target else { continue };
        let (process, portal) = (narrow(server), narrow(portal));
        let label = label(portal, *client);
        let target = Target::Portal { process, portal, label };
        all.push(Capability {
            slot: *slot,
            rights: rights::CALL,
            target,
        });
    }
    for (number, slot) in slots.notifications.iter().enumerate() {
        let target = Target::Notification {
            notification: narrow(number),
        };
        all.push(Capability {
            slot: *slot,
            rights: rights::NOTIFICATION,
            target,
        });
    }
    for ((signal, target), slot) in process.signals.iter().zip(&names.signals).zip(&slots.signals) {
        let Some((owner, notification)) = *target else { continue };
        let bit = u8::try_from(signal.bit.value).unwrap_or(u8::MAX);
        let target = Target::Signal {
            process: narrow(owner),
            notification: narrow(notification),
            bit,
        };
        all.push(Capability {
            slot: *slot,
            rights: rights::SIGNAL,
            target,
        });
    }
    all
}

fn devices(process: &manifest::Process, names: &ResolvedProcess, slots: &ProcessSlots) -> Vec<Capability> {
    let mut all = Vec::new();
    for ((interrupt, notification), slot) in process.interrupts.iter().zip(&names.interrupts).zip(&slots.interrupts) {
        // To the core of the thread that waits for it.
        let thread = notification.and_then(|notification| names.notification_threads.get(notification));
        let core = thread
            .and_then(|thread| process.threads.get(*thread))
            .map_or(0, |thread| thread.core.value);
        let target = Target::Interrupt {
            line: interrupt.line.value,
            core,
        };
        all.push(Capability {
            slot: *slot,
            rights: rights::MANAGE,
            target,
        });
    }
    for (ports, slot) in process.ports.iter().zip(&slots.ports) {
        let count = u16::try_from(ports.count.value).unwrap_or(u16::MAX);
        let target = Target::Ports {
            first: ports.first.value,
            count,
        };
        all.push(Capability {
            slot: *slot,
            rights: Rights::NONE.0,
            target,
        });
    }
    if let (Some(platform), Some(slot)) = (&process.platform, slots.platform) {
        all.push(Capability {
            slot,
            rights: platform.rights.value,
            target: Target::Platform,
        });
    }
    all.extend(slots.dma.map(|slot| Capability {
        slot,
        rights: rights::MANAGE,
        target: Target::DmaSpace,
    }));
    all
}

fn fixed_capabilities(process: &manifest::Process, index: usize) -> Vec<Capability> {
    let label = index as u64 + 1;
    let mut all = vec![
        Capability {
            slot: fixed::SPACE,
            rights: rights::OWN,
            target: Target::OwnSpace,
        },
        Capability {
            slot: fixed::SUPERVISOR,
            rights: rights::CALL,
            target: Target::Supervisor { label },
        },
    ];
    if process.memory_pages.value > 0 {
        all.push(Capability {
            slot: fixed::MEMORY,
            rights: rights::QUOTA,
            target: Target::OwnMemory,
        });
    }
    if process.manage_self.value {
        let target = Target::OwnProtectionDomain;
        all.push(Capability {
            slot: fixed::PROTECTION_DOMAIN,
            rights: rights::OWN,
            target,
        });
    }
    all
}

/// Shared regions, then device memory, then places for data files, one after the other from [`layout::REGIONS_BASE`].
fn mapped(
    manifest: &Manifest,
    process: &manifest::Process,
    names: &ResolvedProcess,
    slots: &ProcessSlots,
) -> Vec<Capability> {
    let mut next = layout::REGIONS_BASE;
    let mut place = |pages: u64| {
        let address = next;
        // One page at least stays unmapped behind each.
        let bytes = (pages + 1) * PAGE_BYTES;
        next = next.saturating_add(bytes.next_multiple_of(layout::REGION_ALIGN_BYTES));
        address
    };
    let mut all = Vec::new();
    for ((map, region), slot) in process.maps.iter().zip(&names.maps).zip(&slots.maps) {
        let Some(region) = *region else { continue };
        let rights = match map.access.value {
            Access::ReadOnly => rights::READ,
            Access::ReadWrite => rights::READ_WRITE,
        };
        let address = place(u64::from(manifest.regions[region].pages.value));
        all.push(Capability {
            slot: *slot,
            rights,
            target: Target::SharedRegion {
                region: narrow(region),
                address,
            },
        });
    }
    for (mmio, slot) in process.mmio.iter().zip(&slots.mmio) {
        let pages = mmio.pages.value;
        let first_page = mmio.address.value / PAGE_BYTES;
        let target = Target::Mmio {
            first_page,
            pages,
            address: place(u64::from(pages)),
        };
        all.push(Capability {
            slot: *slot,
            rights: rights::READ_WRITE,
            target,
        });
    }
    for (file, slot) in names.files.iter().zip(&slots.files) {
        let Some(file) = *file else { continue };
        let address = place(manifest.files[file].pages());
        all.push(Capability {
            slot: *slot,
            rights: rights::READ,
            target: Target::File {
                file: narrow(file),
                address,
            },
        });
    }
    all
}
