//! One match from the exit to its handler, and the short handlers.

use super::{Activity, BoardLock, Direction, Exit, Machine, Next, Outcome, Vcpu};
use crate::cpu::{CpuState, Exception, gpr};
use crate::decode::{self, Cr8Write};
use crate::kvm::HypercallArguments;
use crate::memory::GuestMemory;
use crate::time::Now;

/// Components of extended state that can only be switched on together: AVX, and the three parts of AVX-512.
const AVX: u64 = 4;
const AVX512: u64 = 0xe0;
const SSE: u64 = 2;
const X87: u64 = 1;

impl<M: GuestMemory, B: BoardLock> Machine<M, B> {
    /// Deals with an exit: changes `state` as the instruction would have, and says how to go on.
    pub fn exit(&self, vcpu: &mut Vcpu, exit: &Exit, state: &mut impl CpuState, now: Now) -> Outcome {
        let mut outcome = Outcome::new();
        self.take_back(vcpu, &mut outcome.kicks);
        let done = match *exit {
            Exit::Cpuid { next_rip } => self.cpuid(vcpu, state, next_rip),
            Exit::ReadMsr { next_rip } => self.read_msr(vcpu, state, next_rip, now),
            Exit::WriteMsr { next_rip } => self.write_msr(vcpu, state, next_rip, now, &mut outcome),
            Exit::Port {
                port,
                bytes,
                direction,
                next_rip,
            } => {
                self.port((port, bytes), direction, state, now, &mut outcome);
                state.set_rip(next_rip);
                Ok(())
            }
            Exit::StringPort { port } => self.string_port(port, state, now, &mut outcome),
            Exit::Memory { address, code } => self.emulate(vcpu, (address, &code), state, now, &mut outcome),
            Exit::Hypercall { next_rip } => {
                self.hypercall(vcpu, state, &mut outcome);
                state.set_rip(next_rip);
                Ok(())
            }
            Exit::Halt { next_rip } => {
                vcpu.activity = Activity::Halted;
                state.set_rip(next_rip);
                Ok(())
            }
            Exit::ReadCr8 { register, next_rip } => {
                state.set_gpr(register, vcpu.apic.cr8().into());
                state.set_rip(next_rip);
                Ok(())
            }
            Exit::WriteCr8 { from } => self.write_cr8(vcpu, state, from),
            Exit::SetExtendedState { next_rip } => self.set_extended_state(state, next_rip, &mut outcome),
            Exit::Pause { next_rip } => {
                outcome.next = Next::Yield;
                state.set_rip(next_rip);
                Ok(())
            }
            Exit::Caches { next_rip } => {
                state.set_rip(next_rip);
                Ok(())
            }
            Exit::NotOffered => Err(Exception::INVALID_OPCODE),
            Exit::Nothing => Ok(()),
            Exit::TripleFault => {
                outcome.next = Next::TripleFault;
                Ok(())
            }
        };
        if let Err(exception) = done {
            vcpu.exception = Some(exception);
        }
        outcome.kicks = outcome.kicks.without(vcpu.index);
        outcome
    }

    fn cpuid(&self, vcpu: &Vcpu, state: &mut impl CpuState, next_rip: u64) -> Result<(), Exception> {
        let (leaf, subleaf) = (state.gpr(gpr::RAX) as u32, state.gpr(gpr::RCX) as u32);
        let value = self
            .cpuid
            .query(vcpu.index as u32, leaf, subleaf, state.cr4(), state.xcr0());
        let registers = [gpr::RAX, gpr::RBX, gpr::RCX, gpr::RDX];
        for (register, value) in registers.into_iter().zip(value) {
            state.set_gpr(register, value.into());
        }
        state.set_rip(next_rip);
        Ok(())
    }

    fn port(&self, to: (u16, u8), direction: Direction, state: &mut impl CpuState, now: Now, outcome: &mut Outcome) {
        let (port, bytes) = to;
        let rax = state.gpr(gpr::RAX);
        let effect = match direction {
            Direction::Out => self
                .board
                .with(|board| board.write_port(port, bytes, rax as u32, &self.fabric, now)),
            Direction::In => {
                let (value, effect) = self.board.with(|board| board.read_port(port, bytes, &self.fabric, now));
                let merged = match bytes {
                    1 => rax & !0xff | u64::from(value as u8),
                    2 => rax & !0xffff | u64::from(value as u16),
                    _ => value.into(),
                };
                state.set_gpr(gpr::RAX, merged);
                effect
            }
        };
        outcome.absorb(effect);
    }

    fn hypercall(&self, vcpu: &Vcpu, state: &mut impl CpuState, outcome: &mut Outcome) {
        let arguments = HypercallArguments {
            number: state.gpr(gpr::RAX),
            words: [gpr::RBX, gpr::RCX, gpr::RDX, gpr::RSI].map(|register| state.gpr(register)),
            privilege: state.privilege(),
        };
        let done = arguments.carry_out(&self.fabric);
        state.set_gpr(gpr::RAX, done.result);
        outcome.kicks = outcome.kicks.and(done.kicks.without(vcpu.index));
        if done.yields {
            outcome.next = Next::Yield;
        }
    }

    /// XSETBV: Intel SDM vol. 1, 13.3, which combinations there are.
    fn set_extended_state(
        &self,
        state: &mut impl CpuState,
        next_rip: u64,
        outcome: &mut Outcome,
    ) -> Result<(), Exception> {
        let value = state.gpr(gpr::RDX) << 32 | state.gpr(gpr::RAX) & 0xffff_ffff;
        let is = |bits: u64| value & bits == bits;
        let valid = state.gpr(gpr::RCX) as u32 == 0
            && state.privilege() == 0
            && value & !self.cpuid.extended_state() == 0
            && is(X87)
            && (value & AVX == 0 || is(SSE))
            && (value & AVX512 == 0 || is(AVX512 | AVX));
        if !valid {
            return Err(Exception::GENERAL_PROTECTION);
        }
        outcome.next = Next::SetExtendedState(value);
        state.set_rip(next_rip);
        Ok(())
    }

    fn write_cr8(&self, vcpu: &mut Vcpu, state: &mut impl CpuState, from: Option<Cr8Write>) -> Result<(), Exception> {
        let from = match from {
            Some(from) => from,
            None => decode::fetch_cr8_write(&self.memory, &state.system(), state.rip())?,
        };
        let value = state.gpr(from.register);
        if value > 15 {
            return Err(Exception::GENERAL_PROTECTION);
        }
        vcpu.apic.set_cr8(value as u8);
        state.set_rip(from.next_rip);
        Ok(())
    }
}
