//! The block backend of every domain, as logic: from a guest's queue to operations on a disk, and back.
//!
//! Key types: [`Attachment`] (one guest's disk), [`Volume`] (what part of which disk it is), [`Backend`] (a disk: a driver's, or
//! [`Image`], which lies in memory), [`gpt::Reader`] (finds partitions). The process around it moves kicks, interrupts and time.
//!
//! What is promised to a guest: a request that was answered with OK before a flush began is on the medium when the flush is
//! answered with OK. Requests in flight together have no order (virtio 1.2, 5.2.6); after a restart of this service those in
//! flight are repeated one by one in the order they were taken, before anything new begins.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod attachment;
mod backend;
mod config;
mod crc32;
pub mod gpt;
mod image;
mod request;
mod volume;

pub use attachment::{Attachment, Cache, Setup, Turn};
pub use backend::{Backend, Busy, Data, Geometry, Operation, Outcome, SECTOR_BYTES, Token, Unmap};
pub use config::{Config, Features};
pub use image::Image;
pub use request::{RANGES_MAX, Status};
pub use volume::{Selector, Volume, VolumeAccess, VolumeError};
