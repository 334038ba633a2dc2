//! Domain configurations: the syntax of `xl.cfg`, and the one border at which a text becomes a [`DomainConfig`].
//!
//! Key functions: [`parse`] (text to checked configuration), [`DomainConfig::print`] (back to text, which parses to the
//! same). What is unknown is warned about and ignored, what is wrong is refused; both say where and what to do.
//! Called by `create`, `config-update` and the autostart; the text form is also what the volume keeps.

mod cpus;
mod diagnostic;
mod disk;
mod domain;
mod identity;
mod keys;
mod lexer;
mod print;
mod reader;
mod syntax;
mod vif;
mod vlan;

pub use cpus::{Affinity, CpuSet, CpuSetError, MAX_CPUS};
pub use diagnostic::{Diagnostic, Place, Severity};
pub use disk::{Access, Backend, Discard, Disk, DiskFormat, Medium, Specification, Trust, VirtualDevice};
pub use domain::{
    ClockBase, DomainConfig, DomainType, MAX_VCPUS, MAX_WEIGHT, MIN_MEMORY_MIB, Migration, OnEvent, Policies, parse,
};
pub use identity::{DomainName, NameError, Uuid};
pub use lexer::MAX_TEXT_BYTES;
pub use syntax::{Document, Setting, Value, ValueKind};
pub use vif::{MacAddress, Rate, RateError, RateUnit, Vif, VifKind};
pub use vlan::{Vlan, VlanEntry, VlanIds};
