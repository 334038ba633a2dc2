//! From a manifest to a bootable image: read the manifest, check that it makes sense, flatten the programs, write one ELF
//! that holds loader, kernel and everything the manifest names.
//!
//! Key functions: [`Manifest::parse`], [`check()`], [`compose()`]; [`graph::dot`] and [`graph::svg`] draw who may talk to whom.
//! Called by `boot/xtask` (`./x run`, `./x image`); calls nobody at run time, its output is read by `boot/loader` and
//! `services/root`. What a manifest may say is documented in `specs/manifest.md`.
#![forbid(unsafe_code)]

pub mod artifacts;
pub mod check;
pub mod compose;
pub mod diagnostic;
pub mod elf;
pub mod graph;
pub mod manifest;
pub mod slots;

pub use artifacts::Artifacts;
pub use check::check;
pub use compose::{Image, compose};
pub use diagnostic::{Diagnostic, Source};
pub use manifest::Manifest;
