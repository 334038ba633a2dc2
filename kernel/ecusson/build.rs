//! Hands the linker the kernel's layout and the script of the trace format, for the machine's target only.

fn main() {
    println!("cargo:rerun-if-changed=kernel.ld");
    // What the trace has unless somebody wants more or less; without a word `defmt` leaves everything but errors out.
    println!("cargo:rerun-if-env-changed=DEFMT_LOG");
    if std::env::var_os("DEFMT_LOG").is_none() {
        println!("cargo:rustc-env=DEFMT_LOG=info");
    }
    let bare = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none");
    if bare {
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-T{here}/kernel.ld");
        println!("cargo:rustc-link-arg-bins=-Tdefmt.x");
    }
}
