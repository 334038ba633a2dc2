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
}

impl<M: GuestMemory, B: BoardLock> Machine<M, B> {
    pub(super) fn read_msr(
        &self,
        vcpu: &Vcpu,
        state: &mut impl CpuState,
        next_rip: u64,
        now: Now,
    ) -> Result<(), Exception> {
        let value = read(vcpu, state.gpr(gpr::RCX) as u32, now).map_err(|BadAccess| Exception::GENERAL_PROTECTION)?;
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
        let effect = self
            .write(vcpu, msr, value, now)
            .map_err(|BadAccess| Exception::GENERAL_PROTECTION)?;
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
