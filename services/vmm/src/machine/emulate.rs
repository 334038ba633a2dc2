//! Instructions that touched device memory, carried out one memory access at a time.
//!
//! A repeated string instruction does one element an exit and is met again for the next: no loop depends on the guest.

use super::{BoardLock, Machine, Outcome, Vcpu};
use crate::bytes::{get_u64, put};
use crate::cpu::{CpuState, Exception, System, gpr};
use crate::decode::{self, Access, Code, Decoded, Operation, StringOperand, linear, translate};
use crate::memory::GuestMemory;
use crate::time::Now;

/// The number of ES among the segments.
const ES: usize = 0;

/// An access to device memory: where, and how many bytes.
type Place = (u64, u8);

impl<M: GuestMemory, B: BoardLock> Machine<M, B> {
    /// Carries out the instruction at RIP, whose memory operand is at a guest-physical address.
    pub(super) fn emulate(
        &self,
        vcpu: &mut Vcpu,
        at: (u64, &Code),
        state: &mut impl CpuState,
        now: Now,
        outcome: &mut Outcome,
    ) -> Result<(), Exception> {
        let (address, code) = at;
        let system = state.system();
        let decoded = decode::fetch(&self.memory, &system, state.rip(), code)?;
        let place = (address, decoded.bytes);
        match decoded.operation {
            Operation::Store(operand) => {
                let value = operand.get(state);
                self.write_device(vcpu, place, value, now, outcome);
            }
            Operation::Modify(arithmetic, operand) => {
                let old = self.read_device(vcpu, address, decoded.bytes, now, outcome);
                let (new, flags) = arithmetic.apply(old, operand.get(state), decoded.bytes, state.rflags());
                self.write_device(vcpu, place, new, now, outcome);
                state.set_rflags(flags);
            }
            Operation::Exchange(part) => {
                let old = self.read_device(vcpu, address, decoded.bytes, now, outcome);
                self.write_device(vcpu, place, part.get(state), now, outcome);
                part.set(state, old);
            }
            Operation::StoreString(string) => {
                let value = state.gpr(gpr::RAX);
                if !string.is_done(state) {
                    self.write_device(vcpu, place, value, now, outcome);
                }
                step(state, &decoded, string, &[gpr::RDI]);
                return Ok(());
            }
            Operation::MoveString(string) => {
                if !string.is_done(state) {
                    self.move_string(vcpu, &system, (state, string), decoded.bytes, now, outcome)?;
                }
                step(state, &decoded, string, &[gpr::RSI, gpr::RDI]);
                return Ok(());
            }
            Operation::InputString(_) | Operation::OutputString(_) => return Err(Exception::INVALID_OPCODE),
            Operation::Load(..) | Operation::Combine(..) | Operation::Compare(..) | Operation::CompareReversed(..) => {
                let value = self.read_device(vcpu, address, decoded.bytes, now, outcome);
                take(state, &decoded, value);
            }
        }
        state.set_rip(decoded.next_rip);
        Ok(())
    }

    /// INS and OUTS: one element.
    pub(super) fn string_port(
        &self,
        port: u16,
        state: &mut impl CpuState,
        now: Now,
        outcome: &mut Outcome,
    ) -> Result<(), Exception> {
        let system = state.system();
        let decoded = decode::fetch(&self.memory, &system, state.rip(), &Code::UNKNOWN)?;
        let bytes = decoded.bytes.min(4);
        match decoded.operation {
            Operation::InputString(string) => {
                if !string.is_done(state) {
                    let to = linear(&system, ES, string.target(state));
                    // The target is looked at first: a fault must leave the device alone.
                    let places = self.places(&system, to, bytes, Access::Write)?;
                    let (value, effect) = self.board.with(|board| board.read_port(port, bytes, &self.fabric, now));
                    outcome.absorb(effect);
                    self.write_pieces(places, &value.to_le_bytes());
                }
                step(state, &decoded, string, &[gpr::RDI]);
            }
            Operation::OutputString(string) => {
                if !string.is_done(state) {
                    let from = linear(&system, string.source_segment, string.source(state));
                    let places = self.places(&system, from, bytes, Access::Read)?;
                    let value = self.read_pieces(places) as u32;
                    let effect = self
                        .board
                        .with(|board| board.write_port(port, bytes, value, &self.fabric, now));
                    outcome.absorb(effect);
                }
                step(state, &decoded, string, &[gpr::RSI]);
            }
            _ => return Err(Exception::INVALID_OPCODE),
        }
        Ok(())
    }

    /// One element of MOVS, of which either end may be memory or a device.
    fn move_string(
        &self,
        vcpu: &mut Vcpu,
        system: &System,
        string: (&impl CpuState, StringOperand),
        bytes: u8,
        now: Now,
        outcome: &mut Outcome,
    ) -> Result<(), Exception> {
        let (state, string) = string;
        let source = linear(system, string.source_segment, string.source(state));
        let target = linear(system, ES, string.target(state));
        let from = self.places(system, source, bytes, Access::Read)?;
        let to = self.places(system, target, bytes, Access::Write)?;
        let mut value = [0; 8];
        let value = value.get_mut(..usize::from(bytes)).unwrap_or_default();
        // An element that crosses pages lies in memory: no device register does.
        let is_memory = from.1.is_some() || self.memory.read(from.0.0, value).is_ok();
        let value = if from.1.is_some() {
            self.read_pieces(from)
        } else if is_memory {
            get_u64(value, 0)
        } else {
            self.read_device(vcpu, from.0.0, bytes, now, outcome)
        };
        let out = value.to_le_bytes();
        let out = out.get(..usize::from(bytes)).unwrap_or_default();
        if to.1.is_some() {
            self.write_pieces(to, out);
        } else if self.memory.write(to.0.0, out).is_err() {
            self.write_device(vcpu, to.0, value, now, outcome);
        }
        Ok(())
    }

    /// The guest-physical places of up to 8 bytes at a linear address: one, or two where they cross pages.
    fn places(&self, system: &System, at: u64, bytes: u8, access: Access) -> Result<(Place, Option<Place>), Exception> {
        let first = translate(&self.memory, system, at, access)?;
        let in_page = (4096 - (at & 4095)).min(bytes.into()) as u8;
        if in_page == bytes {
            return Ok(((first, bytes), None));
        }
        let second = translate(&self.memory, system, at.wrapping_add(in_page.into()), access)?;
        Ok(((first, in_page), Some((second, bytes - in_page))))
    }

    /// Reads memory; what is none gives all ones.
    fn read_pieces(&self, places: (Place, Option<Place>)) -> u64 {
        let mut value = [u8::MAX; 8];
        let mut done = 0;
        for (address, bytes) in [Some(places.0), places.1].into_iter().flatten() {
            let mut piece = [u8::MAX; 8];
            let piece = piece.get_mut(..usize::from(bytes)).unwrap_or_default();
            let _ = self.memory.read(address, piece);
            put(&mut value, done, piece);
            done += usize::from(bytes);
        }
        if let Some(rest) = value.get_mut(done..) {
            rest.fill(0);
        }
        u64::from_le_bytes(value)
    }

    /// Writes memory; what is none swallows it.
    fn write_pieces(&self, places: (Place, Option<Place>), value: &[u8]) {
        let mut rest = value;
        for (address, bytes) in [Some(places.0), places.1].into_iter().flatten() {
            let (piece, behind) = rest.split_at(usize::from(bytes).min(rest.len()));
            let _ = self.memory.write(address, piece);
            rest = behind;
        }
    }
}

/// Does with a value that was read what the instruction does.
fn take(state: &mut impl CpuState, decoded: &Decoded, value: u64) {
    let bytes = decoded.bytes;
    let flags = state.rflags();
    match decoded.operation {
        Operation::Load(part, extension) => part.set(state, extension.apply(value, bytes)),
        Operation::Combine(arithmetic, part) => {
            let (new, flags) = arithmetic.apply(part.get(state), value, bytes, flags);
            part.set(state, new);
            state.set_rflags(flags);
        }
        Operation::Compare(arithmetic, operand) => {
            let (_, flags) = arithmetic.apply(value, operand.get(state), bytes, flags);
            state.set_rflags(flags);
        }
        Operation::CompareReversed(arithmetic, part) => {
            let (_, flags) = arithmetic.apply(part.get(state), value, bytes, flags);
            state.set_rflags(flags);
        }
        _ => {}
    }
}

/// Steps a string instruction over an element; RIP moves on with the last.
fn step(state: &mut impl CpuState, decoded: &Decoded, string: StringOperand, registers: &[usize]) {
    if string.is_done(state) || string.step(state, registers, decoded.bytes) {
        state.set_rip(decoded.next_rip);
    }
}
