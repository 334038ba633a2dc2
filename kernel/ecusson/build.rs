//! Hands the linker the kernel's layout and the script of the trace format, for the machine's target only.

fn main() {
    println!("cargo:rerun-if-changed=kernel.ld");
    let bare = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none");
    if bare {
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-T{here}/kernel.ld");
        println!("cargo:rustc-link-arg-bins=-Tdefmt.x");
    }
}
