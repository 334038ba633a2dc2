//! Messages of the services, one module each: what a client sends and what a server answers. No system calls here.
//!
//! Simple messages are six words, encoded and decoded by functions beside their type; word 0 is the operation. Larger records lie in
//! Regions that travel with a message.
#![no_std]
#![forbid(unsafe_code)]

pub mod console;
pub mod supervisor;
pub mod text;
pub mod vmm;
