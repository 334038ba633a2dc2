//! The loader's binary: from the entry code to the kernel, in the order of [`boot`].
//!
//! `entry.rs` calls [`loader_main`]. All decisions are in the library; here is what touches the machine. On anything
//! missing there is one line on COM1, `ecusson loader: <what>; <remedy>`, and a halt.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod serial;
#[cfg(target_os = "none")]
mod start;

/// On the host there is nothing to boot; the binary exists so that the workspace builds as a whole.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("ecusson-loader runs on a bare machine: build it with --target x86_64-unknown-none");
}
