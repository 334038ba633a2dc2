//! The message a fault handler gets: a call, made by the kernel in the name of the thread that faulted.
//!
//! Word 0 is [`FAULT`] plus the processor's vector, word 1 its error code, word 2 the faulting linear
//! address (page faults), word 3 the instruction pointer, word 4 the stack pointer, word 5 is 0.
//! A reply with word 0 = [`RESUME`] repeats the instruction (after `poke`, with other registers); any other
//! reply stops the thread.

/// Word 0 of a fault message, less the vector.
pub const FAULT: u64 = 0xFA00;

/// Reply, word 0: go on.
pub const RESUME: u64 = 0;

/// Reply, word 0: stop the thread.
pub const STOP: u64 = 1;
