//! Small processes for tests. One program, so that an image has it once: the process's name in the manifest says which part
//! it plays.
//!
//! | name | part |
//! |---|---|
//! | `hello` | prints a line and ends the test |
//! | `echo-server` | answers each call with its words, the first increased by one |
//! | `echo-client` | calls it, checks the answers, ends the test |
//! | `crasher` | crashes at null twice, then serves as `echo-server` |
//! | `panicker` | panics |
//! | `overflower` | calls itself until its stack ends |
//! | `file-reader` | checks data files, dies once and checks them again |
//! | `file-holder` | holds the same file meanwhile, then ends the test |
//! | `keeper` | starts, stops and restarts the workers, then ends the test |
//! | `worker.N` | says that it runs; then 0 exits, 1 crashes, 2 waits |
//! | `survivor` | calls `crasher` until that was restarted twice, then ends the test |
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod files;
mod instances;
mod parts;

use ecusson_rt::environment;

ecusson_rt::entry!(main);

fn main(thread: u16) -> ! {
    let Some(table) = environment() else {
        ecusson_rt::sys::fault()
    };
    parts::play(table.header().process, thread, &table)
}
