//! ELF files in and out.
//!
//! `flatten` turns a linked program into page-aligned segments; `write` puts the payload into the loader's file. Called by
//! `compose`.

pub mod flatten;
pub mod write;
