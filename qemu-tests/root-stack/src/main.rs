//! A root process that calls itself until its stack ends: below it nothing is mapped, so that the end is a page fault there.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use ecusson_abi::{PAGE_BYTES, Words, fault, ops, root_slots};
use ecusson_rt::root_stack::FIRST_PAGE;
use ecusson_rt::{Server, println, serve};
use ecusson_test_kit::{Kit, Share, exit_machine};

/// Bytes of the stack.
const STACK: u64 = 65_536;
/// Vector of page faults.
const PAGE_FAULT: u64 = 14;
/// Values for the end of a test.
const SUCCESS: u8 = 0x10;
const FAILURE: u8 = 0x11;

ecusson_rt::guarded_root_entry!(main, stack: STACK);

/// Hears of root's fault and ends the test.
struct Handler;

impl Server for Handler {
    fn call(&mut self, _label: u64, words: Words) -> Words {
        let [operation, code, address, ..] = words;
        let below = FIRST_PAGE * PAGE_BYTES - PAGE_BYTES..FIRST_PAGE * PAGE_BYTES;
        let holds = operation == fault::FAULT + PAGE_FAULT && below.contains(&address);
        println!("root-stack: fault at {address:#x}, code {code:#x}, in the page below the stack: {holds}");
        exit_machine(if holds { SUCCESS } else { FAILURE })
    }
}

extern "C" fn handle(_: u64) -> ! {
    serve(&mut Handler)
}

/// Calls itself for ever with something left to do afterwards, so that each call takes more of the stack.
#[expect(unconditional_recursion, reason = "the end of the stack is what is looked for")]
fn deepen(depth: u64) -> u64 {
    let depth = core::hint::black_box(depth);
    deepen(depth + 1) ^ core::hint::black_box(depth)
}

fn main() -> ! {
    let kit = Kit::new();
    let handler = kit.spawn(Share::unlimited(0, 20), handle, 0);
    let portal = kit.portal(handler, 1, ops::portal::ACTIVE);
    kit.must(root_slots::THREAD, [ops::thread::SET_FAULT_HANDLER, portal, 0, 0, 0, 0]);
    println!(
        "root-stack: at {:#x}",
        core::ptr::from_ref(&kit).addr() as u64 / STACK * STACK
    );
    println!("root-stack: a stack without end: {}", deepen(0));
    exit_machine(FAILURE)
}
