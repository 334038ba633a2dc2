//! The first process. The kernel starts it with authority over the whole machine; it carries out the composition that
//! `boot/image` wrote, then serves faults and requests for ever. All of it is in the library.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use ecusson_rt::{println, serve, sys};

ecusson_rt::guarded_root_entry!(run, stack: 64 * 1024);

fn run() -> ! {
    // The composition of a large image takes some 100 bytes a capability.
    ecusson_rt::heap!(512 * 1024);
    match ecusson_root::start() {
        Ok(mut supervisor) => serve(&mut supervisor),
        Err(trouble) => {
            println!("root: cannot start: {trouble}");
            sys::fault()
        }
    }
}

/// On the host the program is only checked.
#[cfg(not(target_os = "none"))]
fn main() {
    let _ = run as fn() -> !;
}
