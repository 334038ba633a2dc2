//! Domains as the administrator knows them: their configuration in the syntax of `xl.cfg`, their life cycle, the commands and
//! what they print.
//!
//! Key types: [`config::DomainConfig`], [`life::Domains`], [`command::Commands`]. Pure logic: no system calls, no clock, no
//! device. The toolstack's process feeds it with events and commands and carries its actions out.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod command;
pub mod config;
pub mod life;
pub mod show;
