//! Domains as the administrator knows them: configuration in the syntax of `xl.cfg`.
//!
//! Key types: [`config::DomainConfig`]. Pure logic: no system calls, no clock, no device. The toolstack's process calls it.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod config;
