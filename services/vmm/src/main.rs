//! A domain's virtual machine monitor. The main thread serves the toolstack; each other thread runs one vCPU.
//!
//! What a guest sees is decided by the library; here is what needs the kernel: objects, memory, `VcpuRun`, signals.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod process;

ecusson_rt::entry!(thread);

fn thread(index: u16) -> ! {
    match index.checked_sub(1) {
        None => process::serve(),
        Some(vcpu) => process::run_vcpu(vcpu.into()),
    }
}

/// On the host the program is only checked.
#[cfg(not(target_os = "none"))]
fn main() {
    let _ = thread as fn(u16) -> !;
}
