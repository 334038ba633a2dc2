//! Every way into the kernel but the fast paths: one function from the entry to the core's handler, one way back.
//!
//! An entry takes the lock, tells the core time and place, has it handle what happened, carries out what the core asks of
//! the machine, makes the processor ready for who runs next, and releases the lock. What must happen without the lock comes
//! last: interrupts to other cores, and waiting for their answers.

use core::ops::Range;

use ecusson_core::percpu::{Effect, FIRST_VECTOR, VECTORS};
use ecusson_core::thread::{Fault, Thread};
use ecusson_core::{Ref, Store};
use ecusson_x86::io_apic::{self, Mask, Trigger};
use ecusson_x86::lock::{Guard, KERNEL};
use ecusson_x86::switch::Guarded;
use ecusson_x86::{apic, clock, power, serial, svm, switch, tlb};

use crate::log;

/// Vectors of exceptions lie below.
const FIRST_INTERRUPT: u8 = 32;
/// Vectors of devices.
const DEVICES: Range<u8> = FIRST_VECTOR..FIRST_VECTOR + VECTORS as u8;
const PAGE_FAULT: u64 = 14;

/// The slow path of a system call, whose registers are in the current thread's context.
pub(crate) fn system_call() {
    let kernel = KERNEL.lock();
    let core = kernel.user_core();
    match kernel.fast_saved(core, clock::now()) {
        Some(next) => switch::to_thread(&kernel, core, next),
        None => enter_with(kernel, |kernel| kernel.syscall()),
    }
}

/// An exception of user mode, or an interrupt of user mode or the idle loop.
pub(crate) fn trap(vector: u64, code: u64) {
    let vector = vector as u8;
    if DEVICES.contains(&vector) {
        // Ended at once: a level-triggered line is masked by the core until its driver acknowledges it.
        device_interrupt(vector);
        apic::end_of_interrupt();
        return;
    }
    match vector {
        _ if vector < FIRST_INTERRUPT => exception(vector.into(), code),
        apic::SPURIOUS_VECTOR => {}
        apic::FLUSH_VECTOR => {
            tlb::serve();
            apic::end_of_interrupt();
        }
        apic::TIMER_VECTOR => {
            apic::end_of_interrupt();
            let is_output_due = apic::timer_fired();
            enter_interrupted(|kernel| {
                kernel.timer();
                kernel.schedule();
            });
            if is_output_due {
                serial::send();
            }
        }
        apic::RESCHEDULE_VECTOR => {
            apic::end_of_interrupt();
            enter_interrupted(|kernel| {
                // Whoever lost ports on another core's order loses them here.
                switch::set_ports(kernel);
                kernel.schedule();
            });
        }
        apic::ERROR_VECTOR => {
            let errors = apic::take_errors();
            apic::end_of_interrupt();
            log::line(format_args!("local APIC error {errors:#x}"));
            serial::send();
        }
        // The old interrupt controllers' vectors, masked: whatever arrives there is spurious.
        _ => {}
    }
}

fn exception(vector: u64, code: u64) {
    let address = if vector == PAGE_FAULT {
        ecusson_x86::percpu::fault_address()
    } else {
        0
    };
    let fault = Fault { vector, code, address };
    let kernel = KERNEL.lock();
    match kernel.fast_fault(kernel.user_core(), fault) {
        Some(()) => {
            switch::registers_are_saved();
            switch::fast::<Guarded>(&kernel, kernel.this_core(), 0);
        }
        None => {
            switch::note_full_context(&kernel);
            enter_with(kernel, |kernel| kernel.fault(fault));
        }
    }
}

fn device_interrupt(vector: u8) {
    let kernel = KERNEL.lock();
    switch::note_full_context(&kernel);
    kernel.enter_on(kernel.this_core(), clock::now());
    match kernel.fast_interrupt(kernel.this_core(), vector) {
        Some(next) => switch::to_thread(&kernel, kernel.this_core(), next),
        None => decide(kernel, |kernel| kernel.interrupt(vector)),
    }
}

/// An entry by interrupt or exception: all registers of the current thread, if there is one, were saved.
#[inline(always)]
fn enter_interrupted(handle: impl FnOnce(&Guard<'_>)) {
    enter(|kernel| {
        switch::note_full_context(kernel);
        kernel.this_core().rearm.set(true);
        handle(kernel);
    });
}

/// A guest left the processor; what is not the host's own business goes to the core.
pub(crate) fn guest_exit() {
    if let Some(exit) = svm::left() {
        enter(|kernel| {
            if kernel.guest_exit(exit) {
                svm::skip();
            }
            kernel.schedule();
        });
    }
}

/// The first entry of a core: there is no thread yet whose registers were saved.
pub(crate) fn enter_first() {
    enter(|kernel| kernel.schedule());
}

/// One entry into the core, with all that belongs to it.
#[inline(always)]
fn enter(handle: impl FnOnce(&Guard<'_>)) {
    enter_with(KERNEL.lock(), handle);
}

/// As [`enter`], with the lock held already.
#[inline(always)]
fn enter_with(kernel: Guard<'_>, handle: impl FnOnce(&Guard<'_>)) {
    kernel.enter_on(kernel.this_core(), clock::now());
    decide(kernel, handle);
}

/// The rest of an entry that has begun.
#[inline(always)]
fn decide(kernel: Guard<'_>, handle: impl FnOnce(&Guard<'_>)) {
    handle(&kernel);
    let core = kernel.this_core();
    let is_output = match core.effect.take() {
        Effect::Nothing => false,
        effect => carry_out(&kernel, effect),
    };
    switch::to_current(&kernel);
    if let Some(deadline) = kernel.new_timer(core) {
        apic::arm(deadline);
    }
    let interrupts = core.ipi_mask.take();
    let flushes = if core.flush_requested.take() {
        tlb::pending(&kernel)
    } else {
        0
    };
    if interrupts | flushes != 0 {
        reach_others(kernel, interrupts, flushes);
    } else {
        drop(kernel);
    }
    if is_output {
        serial::send();
    }
}

/// Releases the lock and tells other cores.
#[cold]
fn reach_others(kernel: Guard<'_>, interrupts: u64, flushes: u64) {
    drop(kernel);
    tlb::interrupt(interrupts);
    if flushes != 0 {
        tlb::wait(flushes);
    }
}

/// What the core asks of the machine. Says whether that is output, which is sent when the lock is released.
#[cold]
fn carry_out(kernel: &Guard<'_>, effect: Effect) -> bool {
    let is_output = matches!(
        effect,
        Effect::RouteLine { .. } | Effect::PowerOff | Effect::Unhandled(_) | Effect::Log(..)
    );
    match effect {
        Effect::Nothing => {}
        Effect::RouteLine {
            line,
            vector,
            core,
            flags,
        } => {
            let trigger = Trigger::from_flags(flags);
            if !io_apic::route(line, vector, kernel.core(core).apic_id.get(), trigger) {
                log::line(format_args!("no I/O APIC has line {line}"));
            }
        }
        Effect::ReleaseLine { line } => io_apic::release(line),
        Effect::MaskLine { line } => io_apic::set_mask(line, Mask::Masked),
        Effect::UnmaskLine { line } => io_apic::set_mask(line, Mask::Open),
        Effect::Reset => power::reset(),
        Effect::PowerOff => {
            power::off();
            log::line(format_args!("this machine has no power-off by ACPI"));
        }
        Effect::Unhandled(name) => report_unhandled(kernel, name),
        Effect::Log(words, count) => user_log(words, count),
        Effect::PortsChanged => switch::ports_changed(kernel),
    }
    is_output
}

fn report_unhandled(kernel: &Guard<'_>, name: Ref<Thread>) {
    let thread = kernel.store.thread(name);
    let (fault, context) = (thread.fault.get(), &thread.context);
    log::line(format_args!(
        "thread {name:?} ended by exception {}: rip {:#x} rsp {:#x} code {:#x} address {:#x}",
        fault.vector,
        context.rip.get(),
        context.rsp.get(),
        fault.code,
        fault.address
    ));
    defmt::warn!(
        "thread {=u64:x} ended by exception {=u64}",
        name.address(),
        fault.vector
    );
}

fn user_log(words: [u64; 5], count: u8) {
    let mut bytes = [0; 40];
    for (to, from) in bytes.iter_mut().zip(words.into_iter().flat_map(u64::to_le_bytes)) {
        *to = from;
    }
    serial::user_text(bytes.get(..usize::from(count)).unwrap_or(&bytes));
}
