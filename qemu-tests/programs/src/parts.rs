//! The parts. Each ends the test by the debug exit, or serves for ever.

use core::sync::atomic::Ordering;

use ecusson_abi::{Error, Words};
use ecusson_manifest::BootTable;
use ecusson_rt::cap::kind::Portal;
use ecusson_rt::time::Clock;
use ecusson_rt::{Cap, Failure, Server, environment, println, serve, sys};

use crate::{files, instances};

/// Port that ends QEMU: status `value << 1 | 1`.
const DEBUG_EXIT: u16 = 0xF4;
/// Value for a test that held.
const SUCCESS: u8 = 0x10;
/// Value for a test that did not.
const FAILURE: u8 = 0x11;
/// Calls of the echo client.
const CALLS: u64 = 1000;
/// Incarnations of the crasher that crash.
const CRASHES: u64 = 2;
/// Pause between two calls to a server that may be dead.
const RETRY_US: u64 = 2_000;

/// Plays the part of this name.
pub(crate) fn play(name: &str, thread: u16, table: &BootTable<'_>) -> ! {
    println!("{name}: thread {thread} runs");
    match name {
        "hello" => end(SUCCESS),
        "echo-server" => serve(&mut Echo),
        "echo-client" => call_echo(table),
        "crasher" => crash_twice(),
        "overflower" => panic!("a stack without end: {}", deepen(0)),
        "panicker" => panic!("as the test wants"),
        "file-reader" => files::read(),
        "file-holder" => files::hold(),
        "keeper" => instances::keep(),
        "worker.0" | "worker.1" | "worker.2" => instances::work(name, table),
        "survivor" => call_crasher(table),
        other => panic!("no part is called {other}"),
    }
}

/// Ends the test; the manifest gives the port.
fn end(value: u8) -> ! {
    sys::out_byte(DEBUG_EXIT, value);
    ecusson_rt::exit(u64::from(value))
}

/// Ends the test as one that held.
pub(crate) fn succeed() -> ! {
    end(SUCCESS)
}

/// Answers with what it was sent, the first word increased by one.
struct Echo;

impl Server for Echo {
    fn call(&mut self, label: u64, mut words: Words) -> Words {
        words[0] = words[0].wrapping_add(1);
        words[5] = label;
        words
    }
}

/// Calls itself for ever with something left to do afterwards, so that each call takes more of the stack.
#[expect(unconditional_recursion, reason = "the end of the stack is what is looked for")]
fn deepen(depth: u64) -> u64 {
    let depth = core::hint::black_box(depth);
    deepen(depth + 1) ^ core::hint::black_box(depth)
}

pub(crate) fn portal(table: &BootTable<'_>, name: &str) -> Cap<Portal> {
    match table.portal(name) {
        Some(slot) => Cap::at(u64::from(slot)),
        None => panic!("the manifest draws no edge {name}"),
    }
}

fn call_echo(table: &BootTable<'_>) -> ! {
    let echo = portal(table, "echo-server.echo");
    let holds = (0..CALLS).all(|number| {
        let reply = echo.call([number, 1, 2, 3, 4, 5]);
        reply.is_ok_and(|words| words[..5] == [number + 1, 1, 2, 3, 4] && words[5] != 5)
    });
    println!("echo-client: {CALLS} calls, all answered: {holds}");
    end(if holds { SUCCESS } else { FAILURE })
}

/// Counts its lives in a shared region, which outlives it, and dies in the first two.
fn crash_twice() -> ! {
    let Some(lives) = environment::shared_words("lives").and_then(|words| words.first()) else {
        panic!("the manifest maps no lives")
    };
    let life = lives.fetch_add(1, Ordering::Relaxed);
    println!("crasher: life {life}");
    if life < CRASHES {
        sys::touch(0);
    }
    serve(&mut Echo)
}

/// Calls the crasher until it answers. Before, there must have been at least one call to a dead server.
fn call_crasher(table: &BootTable<'_>) -> ! {
    let crasher = portal(table, "crasher.echo");
    let Some(clock) = Clock::of_process() else {
        panic!("no time page")
    };
    let mut dead = 0_u64;
    loop {
        match crasher.call_one(7) {
            Ok(8) => break,
            Ok(other) => panic!("the crasher answered {other}"),
            Err(Failure {
                error: Error::Dead | Error::BadCap,
                ..
            }) => dead += 1,
            Err(failure) => panic!("call: {failure}"),
        }
        let _ = sys::wait(clock.deadline_in_us(RETRY_US));
    }
    println!("survivor: the crasher answers again after {dead} calls to a dead server");
    end(if dead > 0 { SUCCESS } else { FAILURE })
}
