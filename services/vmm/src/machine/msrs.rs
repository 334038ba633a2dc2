//! Which part of the machine a model-specific register belongs to.

use super::{BoardLock, Machine, Outcome, Vcpu};
use crate::apic::{ApicEffect, BadAccess};
use crate::cpu::{CpuState, Exception, gpr};
use crate::kvm::Paravirtual;
use crate::memory::GuestMemory;
use crate::time::Now;

mod number {
    pub(super) const TSC: u32 = 0x10;
    pub(super) const APIC_BASE: u32 = 0x1b;
    pub(super) const APIC_DEADLINE: u32 = 0x6e0;
    pub(super) const X2APIC: u32 = 0x800;
    pub(super) const X2APIC_LAST: u32 = 0x8ff;
    pub(super) const EXTENDED_FEATURES: u32 = 0xc000_0080;
}

/// Extended features: SYSCALL, long mode, no-execute, fast FXSAVE. Virtualization is the host's own.
mod efer {
    pub(super) const LONG_MODE: u64 = 1 << 8;
    pub(super) const ACTIVE: u64 = 1 << 10;
    pub(super) const ALLOWED: u64 = 1 | LONG_MODE | ACTIVE | 1 << 11 | 1 << 14;
}

/// Control register 0: paging is on.
const PAGING: u64 = 1 << 31;

impl<M: GuestMemory, B: BoardLock> Machine<M, B> {
    pub(super) fn read_msr(
        &self,
        vcpu: &Vcpu,
        state: &mut impl CpuState,
        next_rip: u64,
        now: Now,
    ) -> Result<(), Exception> {
        let msr = state.gpr(gpr::RCX) as u32;
        let value = if msr == number::EXTENDED_FEATURES {
            Ok(state.efer())
        } else {
            read(vcpu, msr, now)
        };
        let value = value.map_err(|BadAccess| Exception::GENERAL_PROTECTION)?;
        state.set_gpr(gpr::RAX, value & 0xffff_ffff);
        state.set_gpr(gpr::RDX, value >> 32);
        state.set_rip(next_rip);
        Ok(())
    }

    pub(super) fn write_msr(
        &self,
        vcpu: &mut Vcpu,
        state: &mut impl CpuState,
        next_rip: u64,
        now: Now,
        outcome: &mut Outcome,
    ) -> Result<(), Exception> {
        let msr = state.gpr(gpr::RCX) as u32;
        let value = state.gpr(gpr::RDX) << 32 | state.gpr(gpr::RAX) & 0xffff_ffff;
        let effect = if msr == number::EXTENDED_FEATURES {
            set_efer(state, value)
        } else {
            self.write(vcpu, msr, value, now)
        };
        let effect = effect.map_err(|BadAccess| Exception::GENERAL_PROTECTION)?;
        self.carry_out(vcpu, effect, outcome);
        state.set_rip(next_rip);
        Ok(())
    }

    fn write(&self, vcpu: &mut Vcpu, msr: u32, value: u64, now: Now) -> Result<ApicEffect, BadAccess> {
        match msr {
            number::X2APIC..=number::X2APIC_LAST => return vcpu.apic.write_msr(msr, value, now.tsc),
            number::APIC_DEADLINE => vcpu.apic.set_deadline_msr(value),
            number::APIC_BASE => {
                vcpu.apic.set_base(value, self.timebase)?;
                self.fabric.route(vcpu.index, vcpu.apic.routing());
            }
            // The TSC is not the guest's to set: its clock and its timers follow the one it was given.
            number::TSC => {}
            _ if Paravirtual::has_msr(msr) => vcpu.paravirtual.write_msr(msr, value, &self.memory, now)?,
            _ => vcpu.msrs.write(msr, value)?,
        }
        Ok(ApicEffect::None)
    }
}

/// Intel SDM vol. 3, 2.2.1: long mode is switched only while paging is off, and whether it is active is the processor's to say.
fn set_efer(state: &mut impl CpuState, value: u64) -> Result<ApicEffect, BadAccess> {
    let old = state.efer();
    let switches = (old ^ value) & efer::LONG_MODE != 0;
    if value & !efer::ALLOWED != 0 || switches && state.system().cr0 & PAGING != 0 {
        return Err(BadAccess);
    }
    state.set_efer(value & !efer::ACTIVE | old & efer::ACTIVE);
    Ok(ApicEffect::None)
}

fn read(vcpu: &Vcpu, msr: u32, now: Now) -> Result<u64, BadAccess> {
    match msr {
        number::X2APIC..=number::X2APIC_LAST => vcpu.apic.read_msr(msr, now.tsc),
        number::APIC_DEADLINE => Ok(vcpu.apic.deadline_msr()),
        number::APIC_BASE => Ok(vcpu.apic.base()),
        number::TSC => Ok(now.tsc),
        _ if Paravirtual::has_msr(msr) => vcpu.paravirtual.read_msr(msr),
        _ => vcpu.msrs.read(msr),
    }
}
