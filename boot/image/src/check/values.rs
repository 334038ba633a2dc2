//! Numbers within what kernel, machine and address-space layout can do.
//!
//! Called by `check`.

use ecusson_abi::{FAIR_PRIORITY, MAX_CORES, PRIORITIES, SLOTS_PER_PAGE};
use ecusson_manifest::layout::{PAGE_BYTES, STACK_PAGES_MAX, THREADS_MAX};

use crate::diagnostic::{At, Diagnostic, Span};
use crate::manifest::{Machine, Manifest, Process, Thread};

/// Most pages of a capability table.
const TABLE_PAGES_MAX: u64 = 255;
/// Physical addresses have at most 52 bits (AMD APM vol. 2, 5.3; Intel SDM vol. 3, 4.1.4).
const PHYSICAL_LIMIT: u64 = 1 << 52;

pub(super) fn check(manifest: &Manifest, problems: &mut Vec<Diagnostic>) {
    machine(&manifest.machine, problems);
    priority(&manifest.root.priority, problems);
    for region in &manifest.regions {
        positive(&region.pages, "pages", problems);
    }
    dma(manifest, problems);
    for process in &manifest.processes {
        table(process, problems);
        devices(manifest, process, problems);
        if process.threads.len() > THREADS_MAX {
            problems.push(Diagnostic::error(
                "threads",
                process.name.span.clone(),
                format!("`{}` has {} threads", process.name, process.threads.len()),
                format!("a process has at most {THREADS_MAX} threads from the manifest"),
            ));
        }
        for own in &process.threads {
            thread(manifest, process, own, problems);
        }
    }
}

fn out_of_range(place: Span, message: String, remedy: impl Into<String>) -> Diagnostic {
    Diagnostic::error("out-of-range", place, message, remedy)
}

fn positive(number: &At<u32>, key: &str, problems: &mut Vec<Diagnostic>) {
    if number.value == 0 {
        problems.push(out_of_range(
            number.span.clone(),
            format!("`{key}` is 0"),
            "it must be at least 1",
        ));
    }
}

fn machine(machine: &Machine, problems: &mut Vec<Diagnostic>) {
    if machine.cores.value == 0 || usize::from(machine.cores.value) > MAX_CORES {
        problems.push(out_of_range(
            machine.cores.span.clone(),
            format!("`cores = {}`", machine.cores),
            format!("the kernel runs 1 to {MAX_CORES} cores"),
        ));
    }
}

/// 1 to 31: level 0 is the kernel's idle level.
fn priority(priority: &At<u8>, problems: &mut Vec<Diagnostic>) {
    let highest = PRIORITIES - 1;
    if priority.value == 0 || priority.value > highest {
        problems.push(out_of_range(
            priority.span.clone(),
            format!("there is no priority {priority}"),
            format!("priorities are 1 (the fair band) to {highest} (runs first)"),
        ));
    }
}

fn thread(manifest: &Manifest, process: &Process, thread: &Thread, problems: &mut Vec<Diagnostic>) {
    priority(&thread.priority, problems);
    let cores = manifest.machine.cores.value;
    if thread.core.value >= cores {
        problems.push(
            out_of_range(
                thread.core.span.clone(),
                format!(
                    "thread `{}` of `{}` wants core {}",
                    thread.name, process.name, thread.core
                ),
                format!(
                    "cores are 0 to {}; raise `machine.cores` or move the thread",
                    cores.saturating_sub(1)
                ),
            )
            .context(manifest.machine.cores.span.clone(), format!("the machine has {cores}")),
        );
    }
    stack(process, thread, problems);
    time(process, thread, problems);
}

fn stack(process: &Process, thread: &Thread, problems: &mut Vec<Diagnostic>) {
    let pages = u64::from(thread.stack_pages.value);
    if pages == 0 || pages > STACK_PAGES_MAX {
        problems.push(Diagnostic::error(
            "stack",
            thread.stack_pages.span.clone(),
            format!(
                "a stack of {pages} pages for thread `{}` of `{}` does not fit its window",
                thread.name, process.name
            ),
            format!("stacks have 1 to {STACK_PAGES_MAX} pages; the window's last page guards the next stack"),
        ));
    }
}

fn time(process: &Process, thread: &Thread, problems: &mut Vec<Diagnostic>) {
    let (budget, period) = (&thread.budget_us, &thread.period_us);
    positive(period, "period_us", problems);
    positive(budget, "budget_us", problems);
    if budget.value > period.value {
        problems.push(
            Diagnostic::error(
                "budget",
                budget.span.clone(),
                format!(
                    "thread `{}` of `{}` has a budget of {budget} us in a period of {period} us",
                    thread.name, process.name
                ),
                "a budget is at most its period; equal means no limit",
            )
            .context(period.span.clone(), "the period"),
        );
    }
    let Some(weight) = &thread.weight else { return };
    if weight.value == 0 || weight.value > 65_535 {
        let message = format!("`weight = {weight}`");
        problems.push(out_of_range(
            weight.span.clone(),
            message,
            "weights are 1 to 65535; 256 is usual",
        ));
    }
    if thread.priority.value != FAIR_PRIORITY {
        problems.push(
            Diagnostic::error(
                "weight",
                weight.span.clone(),
                format!("a weight means nothing at priority {}", thread.priority),
                format!("leave `weight` out, or use `priority = {FAIR_PRIORITY}`: the fair band"),
            )
            .context(thread.priority.span.clone(), "the priority"),
        );
    }
}

fn table(process: &Process, problems: &mut Vec<Diagnostic>) {
    let slots = u64::from(process.capability_slots.value);
    let most = TABLE_PAGES_MAX * SLOTS_PER_PAGE;
    if slots == 0 || !slots.is_multiple_of(SLOTS_PER_PAGE) || slots > most {
        problems.push(out_of_range(
            process.capability_slots.span.clone(),
            format!("a capability table of {slots} slots"),
            format!("tables have whole pages: a multiple of {SLOTS_PER_PAGE}, at most {most}"),
        ));
    }
}

fn devices(manifest: &Manifest, process: &Process, problems: &mut Vec<Diagnostic>) {
    for ports in &process.ports {
        let count = ports.count.value;
        if count == 0 || count > 0xffff || u32::from(ports.first.value) + count > 0x1_0000 {
            problems.push(out_of_range(
                ports.count.span.clone(),
                format!("{count} ports from {:#x}", ports.first.value),
                "I/O ports are 0 to 0xffff, at most 65535 in one range",
            ));
        }
    }
    for mmio in &process.mmio {
        positive(&mmio.pages, "pages", problems);
        let bytes = u64::from(mmio.pages.value) * PAGE_BYTES;
        if !mmio.address.value.is_multiple_of(PAGE_BYTES) || mmio.address.value.saturating_add(bytes) > PHYSICAL_LIMIT {
            problems.push(out_of_range(
                mmio.address.span.clone(),
                format!("device memory at {:#x}", mmio.address.value),
                "the address is page aligned (a multiple of 0x1000) and below 2^52",
            ));
        }
    }
    for interrupt in &process.interrupts {
        bit(&interrupt.bit, problems);
    }
    for signal in &process.signals {
        bit(&signal.bit, problems);
    }
    for control in &process.controls {
        let mut instances = manifest.processes.iter();
        let count = instances
            .by_ref()
            .filter(|other| other.section.value == control.process.value)
            .count();
        let last = control.bit.value.saturating_add(count.saturating_sub(1) as u64);
        bit(&At::new(last, control.bit.span.clone()), problems);
    }
}

fn bit(bit: &At<u64>, problems: &mut Vec<Diagnostic>) {
    if bit.value > 63 {
        let message = format!("a notification has no bit {bit}");
        problems.push(out_of_range(bit.span.clone(), message, "bits are 0 to 63"));
    }
}

/// DMA needs a statement: whoever reads the manifest must see what devices can reach.
fn dma(manifest: &Manifest, problems: &mut Vec<Diagnostic>) {
    if manifest.machine.dma.is_some() {
        return;
    }
    let regions = manifest.regions.iter().filter(|region| region.dma.value);
    let regions = regions.map(|region| (region.dma.span.clone(), format!("region `{}`", region.name)));
    let processes = manifest.processes.iter().filter(|process| process.dma.value);
    let processes = processes.map(|process| (process.dma.span.clone(), format!("process `{}`", process.name)));
    for (place, who) in regions.chain(processes) {
        problems.push(
            Diagnostic::error(
                "dma-statement",
                place,
                format!("{who} is for DMA, but the manifest does not say what confines devices"),
                "add `dma = \"unconfined\"` (devices reach all memory) or `dma = \"iommu\"` to [machine]",
            )
            .context(manifest.machine.span.clone(), "no `dma` here"),
        );
    }
}
