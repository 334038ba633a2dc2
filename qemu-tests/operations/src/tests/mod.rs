//! The tests, by subject. Each leaves nothing behind: [`ecusson_test_kit::Kit::reset`] reclaims what it made.

pub(crate) mod cores;
pub(crate) mod fpu;
pub(crate) mod ipc;
pub(crate) mod objects;
pub(crate) mod phases;
pub(crate) mod processor;
pub(crate) mod revocation;
pub(crate) mod time;
