//! The whole system in QEMU: starts an image, waits for its end, judges what it said.
//!
//! * [`machine`]: the command line of QEMU, for tests, `./x run` and `./x bench` alike.
//! * [`description`]: `qemu-tests/NAME/test.toml`, and the cases it stands for.
//! * [`case`](mod@case): one case: run, time out, judge.
//! * [`schedule`]: many cases side by side, as the cores of this machine allow.
//!
//! Called by `boot/xtask` only. Knows nothing of how images are made: it is handed files.
#![forbid(unsafe_code)]

pub mod case;
pub mod description;
pub mod machine;
pub mod schedule;
