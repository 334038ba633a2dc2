//! A process with QEMU's `edu` device (QEMU, docs/specs/edu.rst), which interrupts when a register is written: by its line,
//! which is level-triggered, until it is told that it was served; or by a message.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod device;

use ecusson_manifest::{BootTable, Entry};
use ecusson_rt::cap::kind::{Interrupt, Notification};
use ecusson_rt::time::Clock;
use ecusson_rt::{Cap, environment, println, sys};

use device::Edu;

/// Port that ends QEMU, and the value for a test that held.
const DEBUG_EXIT: u16 = 0xF4;
const SUCCESS: u8 = 0x10;
/// Signals of the two interrupts.
const LINE: u64 = 1 << 0;
const MESSAGE: u64 = 1 << 1;
/// For one interrupt, and far more than it needs.
const PATIENCE_US: u64 = 5_000_000;
/// So long nothing may come: many times what an interrupt takes.
const SILENCE_US: u64 = 20_000;
/// Interrupts of each kind in a row.
const ROUNDS: u32 = 200;

ecusson_rt::entry!(main);

fn main(_: u16) -> ! {
    ecusson_rt::heap!(64 << 10);
    let Some(table) = environment() else { sys::fault() };
    let Some(clock) = Clock::of_process() else {
        panic!("no time page")
    };
    let mut edu = Edu::find(&table);
    let line = interrupt(&table, "line");
    let (bound, _) = bind(&table, "line");
    assert_eq!(bound, 0, "a line needs no message");
    level(&edu, &line, &clock);
    let (data, address) = bind(&table, "message");
    edu.use_message(address, data as u32);
    messages(&edu, &clock);
    sys::out_byte(DEBUG_EXIT, SUCCESS);
    ecusson_rt::exit(0)
}

fn entry(table: &BootTable<'_>, wanted: &str) -> (u16, u16, u8) {
    let found = table.entries().find_map(|entry| match entry {
        Entry::Interrupt {
            name,
            slot,
            notification_slot,
            bit,
        } if name == wanted => Some((slot, notification_slot, bit)),
        _ => None,
    });
    match found {
        Some(found) => found,
        None => panic!("the manifest gives no interrupt {wanted}"),
    }
}

fn interrupt(table: &BootTable<'_>, name: &str) -> Cap<Interrupt> {
    Cap::at(u64::from(entry(table, name).0))
}

/// Data and address of the message, if it is one.
fn bind(table: &BootTable<'_>, name: &str) -> (u64, u64) {
    let (slot, notification, bit) = entry(table, name);
    let notification = Cap::<Notification>::at(u64::from(notification));
    match Cap::<Interrupt>::at(u64::from(slot)).bind(&notification, bit) {
        Ok(bound) => bound,
        Err(failure) => panic!("binding {name}: {failure}"),
    }
}

fn acknowledge(line: &Cap<Interrupt>) {
    if let Err(failure) = line.acknowledge() {
        panic!("acknowledging: {failure}");
    }
}

/// Panics unless exactly these signals come.
fn expect(clock: &Clock, signals: u64) {
    let deadline = clock.deadline_in_us(PATIENCE_US);
    assert_eq!(ecusson_rt::cap::wait(deadline), Some(signals));
}

/// Panics if any signal comes.
fn expect_silence(clock: &Clock) {
    let deadline = clock.deadline_in_us(SILENCE_US);
    assert_eq!(ecusson_rt::cap::wait(deadline), None, "nothing should come");
}

/// The line is masked from the interrupt to the acknowledgement; whatever the device wants by then is heard.
fn level(edu: &Edu, line: &Cap<Interrupt>, clock: &Clock) {
    expect_silence(clock);
    edu.raise(1);
    expect(clock, LINE);
    // The device still holds its line, and the processor still runs this thread.
    expect_silence(clock);
    acknowledge(line);
    expect(clock, LINE);
    expect_silence(clock);
    edu.serve(1);
    acknowledge(line);
    expect_silence(clock);
    println!("edu: the line stays silent until it is acknowledged, and comes back while the device wants service");
    for round in 0..ROUNDS {
        edu.raise(1 << (round % 32));
        expect(clock, LINE);
        edu.serve(1 << (round % 32));
        acknowledge(line);
    }
    expect_silence(clock);
    println!("edu: {ROUNDS} interrupts by the line, one each");
    edu.raise(1);
    expect(clock, LINE);
    edu.serve(1);
    edu.raise(2);
    expect_silence(clock);
    acknowledge(line);
    expect(clock, LINE);
    edu.serve(2);
    acknowledge(line);
    expect_silence(clock);
    println!("edu: what came while the line was masked comes with the acknowledgement");
}

/// A message comes each time, and nobody acknowledges it but the device's own register.
fn messages(edu: &Edu, clock: &Clock) {
    for round in 0..ROUNDS {
        edu.raise(1 << (round % 32));
        expect(clock, MESSAGE);
        edu.serve(1 << (round % 32));
    }
    expect_silence(clock);
    println!("edu: {ROUNDS} interrupts by message, one each, none by the line");
}
