//! Gives every capability of a process its slot: fixed ones as the manifest says, the others the lowest free slots in the
//! manifest's order. The same manifest always gives the same slots.
//!
//! Key functions: [`assign`] for a manifest, [`place`] for one table. Called by `check`.

use std::collections::BTreeMap;

use ecusson_manifest::layout::slots::FIRST_ASSIGNED;

use crate::diagnostic::{At, Diagnostic, Span};
use crate::manifest::{Manifest, Process};

/// Slots of one process, in the order of the manifest's lists.
#[derive(Clone, Debug, Default)]
pub struct ProcessSlots {
    /// For each call.
    pub calls: Vec<u16>,
    /// For each notification.
    pub notifications: Vec<u16>,
    /// For each signal edge.
    pub signals: Vec<u16>,
    /// For each mapped region.
    pub maps: Vec<u16>,
    /// For each data file.
    pub files: Vec<u16>,
    /// For each interrupt.
    pub interrupts: Vec<u16>,
    /// For each port range.
    pub ports: Vec<u16>,
    /// For each piece of device memory.
    pub mmio: Vec<u16>,
    /// Platform.
    pub platform: Option<u16>,
    /// Dma space.
    pub dma: Option<u16>,
    /// First of the slots for received capabilities.
    pub receive_first: u16,
}

/// Something that needs a slot.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to call it in messages.
    pub name: String,
    /// The slot the manifest fixes.
    pub fixed: Option<At<u16>>,
}

/// Why slots could not be assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotError {
    /// The request with this index wants the slot of an earlier one.
    Taken {
        /// Who wants it.
        request: usize,
        /// Who has it.
        by: usize,
    },
    /// The request with this index wants a slot outside the assignable ones.
    Outside {
        /// Who wants it.
        request: usize,
    },
    /// More requests than slots.
    Full {
        /// Slots that are missing.
        missing: usize,
    },
}

/// Places requests into slots `first..limit`: fixed ones first, the others into the lowest free slots in order. Behind
/// them come `receive` contiguous free slots; their first is returned with the slots.
///
/// # Errors
/// Every request that cannot have its slot, or that the table is too small.
pub fn place(
    requests: &[Option<u16>],
    first: u16,
    limit: u32,
    receive: u16,
) -> Result<(Vec<u16>, u16), Vec<SlotError>> {
    let mut taken: BTreeMap<u16, usize> = BTreeMap::new();
    let mut errors = Vec::new();
    for (request, slot) in requests.iter().enumerate() {
        let Some(slot) = *slot else { continue };
        if slot < first || u32::from(slot) >= limit {
            errors.push(SlotError::Outside { request });
        } else if let Some(by) = taken.get(&slot) {
            errors.push(SlotError::Taken { request, by: *by });
        } else {
            taken.insert(slot, request);
        }
    }
    let end = u16::try_from(limit).unwrap_or(u16::MAX);
    let mut free = (first..end).filter(|slot| !taken.contains_key(slot));
    let mut missing = 0;
    let mut slots = Vec::with_capacity(requests.len());
    for request in requests {
        let slot = request.or_else(|| free.next());
        missing += usize::from(slot.is_none());
        slots.push(slot.unwrap_or(0));
    }
    let receive_first = slots
        .iter()
        .copied()
        .max()
        .unwrap_or(first - 1)
        .saturating_add(1)
        .max(first);
    let behind = u32::from(receive_first) + u32::from(receive);
    missing += usize::try_from(behind.saturating_sub(limit)).unwrap_or(usize::MAX);
    // With a fixed slot that cannot be had, what is missing says nothing.
    if missing > 0 && errors.is_empty() {
        errors.push(SlotError::Full { missing });
    }
    if errors.is_empty() {
        Ok((slots, receive_first))
    } else {
        Err(errors)
    }
}

/// Assigns the slots of every process.
pub(crate) fn assign(manifest: &Manifest, problems: &mut Vec<Diagnostic>) -> Vec<ProcessSlots> {
    manifest
        .processes
        .iter()
        .map(|process| assign_process(process, problems))
        .collect()
}

fn assign_process(process: &Process, problems: &mut Vec<Diagnostic>) -> ProcessSlots {
    let requests = requests(process);
    let fixed: Vec<Option<u16>> = requests
        .iter()
        .map(|request| request.fixed.as_ref().map(|at| at.value))
        .collect();
    let limit = process.capability_slots.value;
    match place(&fixed, FIRST_ASSIGNED, limit, process.receive_slots.value) {
        Ok((slots, receive_first)) => distribute(process, &slots, receive_first),
        Err(errors) => {
            problems.extend(errors.iter().map(|error| explain(process, &requests, error)));
            ProcessSlots::default()
        }
    }
}

/// Everything of a process that needs a slot, in the order that [`distribute`] expects.
fn requests(process: &Process) -> Vec<Request> {
    let named = |what: &str, name: &At<String>, slot: &Option<At<u16>>| Request {
        name: format!("{what} `{name}`"),
        fixed: slot.clone(),
    };
    let mut requests: Vec<Request> = Vec::new();
    requests.extend(process.calls.iter().map(|call| named("call", &call.portal, &call.slot)));
    requests.extend(
        process
            .notifications
            .iter()
            .map(|own| named("notification", &own.name, &own.slot)),
    );
    requests.extend(
        process
            .signals
            .iter()
            .map(|signal| named("signal", &signal.notification, &signal.slot)),
    );
    requests.extend(process.maps.iter().map(|map| named("region", &map.region, &map.slot)));
    let files = process.files.iter();
    requests.extend(files.map(|used| named("file", &used.file, &used.slot)));
    requests.extend(
        process
            .interrupts
            .iter()
            .map(|own| named("interrupt", &own.name, &own.slot)),
    );
    requests.extend(process.ports.iter().map(|own| named("ports", &own.name, &own.slot)));
    requests.extend(
        process
            .mmio
            .iter()
            .map(|own| named("device memory", &own.name, &own.slot)),
    );
    let platform = process.platform.iter();
    requests.extend(platform.map(|own| Request {
        name: "platform".to_owned(),
        fixed: own.slot.clone(),
    }));
    if process.dma.value {
        requests.push(Request {
            name: "dma space".to_owned(),
            fixed: None,
        });
    }
    requests
}

fn distribute(process: &Process, slots: &[u16], receive_first: u16) -> ProcessSlots {
    let mut rest = slots.iter().copied();
    let mut take = |count: usize| -> Vec<u16> { rest.by_ref().take(count).collect() };
    ProcessSlots {
        calls: take(process.calls.len()),
        notifications: take(process.notifications.len()),
        signals: take(process.signals.len()),
        maps: take(process.maps.len()),
        files: take(process.files.len()),
        interrupts: take(process.interrupts.len()),
        ports: take(process.ports.len()),
        mmio: take(process.mmio.len()),
        platform: take(usize::from(process.platform.is_some())).first().copied(),
        dma: take(usize::from(process.dma.value)).first().copied(),
        receive_first,
    }
}

fn explain(process: &Process, requests: &[Request], error: &SlotError) -> Diagnostic {
    let place = |request: usize| -> Span {
        requests[request]
            .fixed
            .as_ref()
            .map_or_else(|| process.name.span.clone(), |at| at.span.clone())
    };
    let slot = |request: usize| requests[request].fixed.as_ref().map_or(0, |at| at.value);
    match *error {
        SlotError::Taken { request, by } => Diagnostic::error(
            "slot-taken",
            place(request),
            format!("slot {} of `{}` is used twice", slot(request), process.name),
            "use another slot, or leave `slot` out and let one be assigned",
        )
        .label(format!("for {}", requests[request].name))
        .context(place(by), format!("for {}", requests[by].name)),
        SlotError::Outside { request } => Diagnostic::error(
            "slot-range",
            place(request),
            format!("slot {} of `{}` cannot be assigned", slot(request), process.name),
            format!(
                "slots are {FIRST_ASSIGNED} to {}; lower ones have fixed meanings, more come with `capability_slots`",
                process.capability_slots.value.saturating_sub(1)
            ),
        ),
        SlotError::Full { missing } => Diagnostic::error(
            "slots-full",
            process.capability_slots.span.clone(),
            format!(
                "the capability table of `{}` is {missing} slots too small",
                process.name
            ),
            "raise `capability_slots` to the next multiple of 256, or lower `receive_slots`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is asked for: no slot twice, all in range, fixed ones kept, received ones behind and apart; and if it
        /// is refused, then there was a reason.
        #[test]
        fn placing_is_sound(
            requests in prop::collection::vec(prop::option::weighted(0.3, 0u16..300), 0..80),
            limit in 17u32..280,
            receive in 0u16..40,
        ) {
            match place(&requests, FIRST_ASSIGNED, limit, receive) {
                Ok((slots, receive_first)) => {
                    let distinct: BTreeSet<u16> = slots.iter().copied().collect();
                    prop_assert_eq!(distinct.len(), requests.len());
                    for (request, slot) in requests.iter().zip(&slots) {
                        prop_assert!(*slot >= FIRST_ASSIGNED && u32::from(*slot) < limit);
                        prop_assert!(request.is_none_or(|fixed| fixed == *slot));
                        prop_assert!(*slot < receive_first);
                    }
                    prop_assert!(u32::from(receive_first) + u32::from(receive) <= limit);
                }
                Err(errors) => {
                    let fixed: Vec<u16> = requests.iter().flatten().copied().collect();
                    let distinct: BTreeSet<u16> = fixed.iter().copied().collect();
                    let outside = fixed.iter().any(|slot| *slot < FIRST_ASSIGNED || u32::from(*slot) >= limit);
                    let highest = fixed.iter().copied().max().map_or(0, u32::from) + 1;
                    let packed = u32::from(FIRST_ASSIGNED) + requests.len() as u32;
                    let full = highest.max(packed) + u32::from(receive) > limit;
                    prop_assert!(distinct.len() < fixed.len() || outside || full, "{errors:?}");
                }
            }
        }

        /// Appending a request does not move the slots of those before it.
        #[test]
        fn appending_moves_nobody(count in 0usize..50) {
            let requests = vec![None; count + 1];
            let (before, _) = place(&requests[..count], FIRST_ASSIGNED, 256, 0).unwrap();
            let (after, _) = place(&requests, FIRST_ASSIGNED, 256, 0).unwrap();
            prop_assert_eq!(&after[..count], &before[..]);
        }
    }

    #[test]
    fn automatic_slots_go_around_fixed_ones() {
        let (slots, receive) = place(&[None, Some(17), None, None], 16, 256, 4).unwrap();
        assert_eq!(slots, [16, 17, 18, 19]);
        assert_eq!(receive, 20);
    }

    #[test]
    fn a_full_table_says_how_much_is_missing() {
        assert_eq!(place(&[None; 4], 16, 18, 0), Err(vec![SlotError::Full { missing: 2 }]));
        assert_eq!(place(&[None], 16, 18, 3), Err(vec![SlotError::Full { missing: 2 }]));
    }
}
