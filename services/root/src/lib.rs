//! Root: makes every process of the composition, draws the edges between them, starts them, and starts again what dies.
//!
//! Key function: [`start`]; key type: [`Supervisor`]. The path: `start` reads the composition; [`machine`] holds root's
//! authority and slots; [`make`] builds a process of objects; [`edges`] fills capability tables; [`supervise`] serves faults
//! and requests, `control` those about processes that are started on demand. What needs no kernel ([`backoff`], [`budget`], [`label`], [`report`], [`slots`]) is tested on the host.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod backoff;
pub mod budget;
mod control;
pub mod edges;
pub mod label;
pub mod machine;
pub mod make;
pub mod report;
pub mod slots;
pub mod supervise;
mod trouble;

use alloc::boxed::Box;

use ecusson_manifest::Composition;
use ecusson_rt::println;

pub use supervise::Supervisor;
pub use trouble::Trouble;

/// Where root maps its composition, first virtual page.
const COMPOSITION_PAGE: u64 = 0x20_0000_0000 >> 12;

/// Reads the composition, makes all processes, draws all edges, starts all threads.
///
/// # Errors
/// [`Trouble`] with the step that failed, when not even root's own part can be done. A process that can't be made is
/// reported and treated as one that died.
pub fn start() -> Result<Supervisor, Trouble> {
    let bytes = ecusson_rt::window::composition(COMPOSITION_PAGE)
        .map_err(|failure| Trouble::new("mapping the composition", failure))?;
    let composition = Composition::decode(bytes).map_err(Trouble::Composition)?;
    let composition: &'static Composition = Box::leak(Box::new(composition));
    let machine = machine::Machine::new(composition)?;
    println!(
        "root: {} processes on {} cores, served at priority {}",
        composition.processes.len(),
        machine.cores(),
        composition.root_priority
    );
    let mut supervisor = Supervisor::new(composition, machine);
    supervisor.start_all();
    Ok(supervisor)
}
