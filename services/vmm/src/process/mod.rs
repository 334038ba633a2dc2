//! The process around the library.
//!
//! | module | what |
//! |---|---|
//! | `control` | main thread: takes the domain's parts from the toolstack, answers it |
//! | `build` | puts the parts together: space, memory, vCPUs, kernel |
//! | `guest` | what all threads share once the guest is there |
//! | `vcpu` | a vCPU's thread: `VcpuRun` again and again |
//! | `console` | bytes of the guest's serial port, out and in |
//! | `memory` | the guest's memory, as the library wants it |
//! | `names` | what the manifest must call things |

mod build;
mod console;
mod control;
mod guest;
mod memory;
mod names;
mod vcpu;

pub(crate) use control::serve;
pub(crate) use vcpu::run as run_vcpu;
