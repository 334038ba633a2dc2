//! The developer's commands behind `./x`.
#![forbid(unsafe_code)]

fn main() {}
