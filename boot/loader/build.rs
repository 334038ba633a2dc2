//! Hands the linker script to the linker when the loader is built for the machine.

fn main() {
    println!("cargo::rerun-if-changed=loader.ld");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    if os == "none" {
        println!("cargo::rustc-link-arg-bins=-T{folder}/loader.ld");
        println!("cargo::rustc-link-arg-bins=-zmax-page-size=4096");
    }
}
