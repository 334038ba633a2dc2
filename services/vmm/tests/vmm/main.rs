//! Tests of the VMM's library through its public interface; one program, because linking takes longer than running.

mod loader;
mod support;
