//! Domains as the administrator knows them: their configuration in the syntax of `xl.cfg`, and their life cycle.
//!
//! Key types: [`config::DomainConfig`], [`life::Domains`]. Pure logic: no system calls, no clock, no device. The toolstack's
//! process feeds it with events and carries its actions out.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod config;
pub mod life;
