//! A local APIC: xAPIC by memory, x2APIC by MSRs, timer, priorities.
//!
//! Key types: [`LocalApic`], [`ApicEffect`]. It belongs to its vCPU's thread. What its registers ask of others is returned as an
//! effect; what others sent comes in by [`LocalApic::accept`]. Intel SDM vol. 3, chapter 11.

use super::fabric::{Posted, Routing};
use super::message::{Delivery, Destination, Message, Shorthand, Trigger};
use super::timer::Timer;
use super::vectors::Vectors;
use crate::layout::LOCAL_APIC;
use crate::time::Timebase;

/// Registers by number: offset in the page by 16, or MSR less 0x800.
mod register {
    pub(super) const ID: u32 = 0x02;
    pub(super) const VERSION: u32 = 0x03;
    pub(super) const TASK_PRIORITY: u32 = 0x08;
    pub(super) const PROCESSOR_PRIORITY: u32 = 0x0a;
    pub(super) const EOI: u32 = 0x0b;
    pub(super) const LOGICAL_DESTINATION: u32 = 0x0d;
    pub(super) const DESTINATION_FORMAT: u32 = 0x0e;
    pub(super) const SPURIOUS: u32 = 0x0f;
    pub(super) const IN_SERVICE: u32 = 0x10;
    pub(super) const TRIGGER_MODE: u32 = 0x18;
    pub(super) const REQUESTS: u32 = 0x20;
    pub(super) const ERROR_STATUS: u32 = 0x28;
    pub(super) const COMMAND: u32 = 0x30;
    pub(super) const COMMAND_HIGH: u32 = 0x31;
    pub(super) const LVT_TIMER: u32 = 0x32;
    pub(super) const LVT_ERROR: u32 = 0x37;
    pub(super) const INITIAL_COUNT: u32 = 0x38;
    pub(super) const CURRENT_COUNT: u32 = 0x39;
    pub(super) const DIVIDE: u32 = 0x3e;
    pub(super) const SELF_IPI: u32 = 0x3f;
}

/// What a local vector table entry takes: timer, thermal, performance, LINT0, LINT1, error.
const LVT_WRITABLE: [u32; 6] = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];
const LVT_MASKED: u32 = 1 << 16;
const SOFTWARE_ENABLED: u32 = 1 << 8;
const SPURIOUS_WRITABLE: u32 = 0x3ff;
/// An integrated APIC with six entries in its local vector table.
const VERSION: u32 = 0x0005_0014;
/// Error status: a vector below 16 was sent.
const SENT_ILLEGAL_VECTOR: u32 = 1 << 5;
/// Vectors below this are exceptions.
const FIRST_VECTOR: u8 = 16;

/// The base MSR.
mod base {
    pub(super) const BOOTSTRAP: u64 = 1 << 8;
    pub(super) const X2APIC: u64 = 1 << 10;
    pub(super) const ENABLED: u64 = 1 << 11;
}

/// How the registers are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApicMode {
    /// Not at all.
    Disabled,
    /// By a page of memory.
    XApic,
    /// By MSRs.
    X2Apic,
}

/// An access that the processor answers with a general protection fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAccess;

/// What a write asks of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApicEffect {
    /// Nothing.
    None,
    /// An inter-processor interrupt.
    Send(Shorthand, Message),
    /// The I/O APIC is to hear that the interrupt with this vector ended.
    EndOfInterrupt(u8),
}

/// A local APIC.
#[derive(Clone, Debug)]
pub struct LocalApic {
    /// Number of the APIC and of its vCPU.
    id: u32,
    mode: ApicMode,
    task_priority: u8,
    logical_destination: u32,
    destination_format: u32,
    spurious: u32,
    error_status: u32,
    errors: u32,
    command: u64,
    lvt: [u32; 6],
    requests: Vectors,
    in_service: Vectors,
    level_triggered: Vectors,
    timer: Timer,
}

impl LocalApic {
    /// The APIC of vCPU `id`, as after power-on: on, in xAPIC mode, disabled by software.
    #[must_use]
    pub fn new(id: u32, timebase: Timebase) -> Self {
        Self {
            id,
            mode: ApicMode::XApic,
            task_priority: 0,
            logical_destination: 0,
            destination_format: u32::MAX,
            spurious: 0xff,
            error_status: 0,
            errors: 0,
            command: 0,
            lvt: [LVT_MASKED; 6],
            requests: Vectors::default(),
            in_service: Vectors::default(),
            level_triggered: Vectors::default(),
            timer: Timer::new(timebase),
        }
    }

    /// What an INIT does: everything but number and mode is as after power-on.
    pub fn init(&mut self, timebase: Timebase) {
        let mode = self.mode;
        *self = Self::new(self.id, timebase);
        self.mode = mode;
    }

    /// How its registers are reached.
    #[must_use]
    pub fn mode(&self) -> ApicMode {
        self.mode
    }

    /// How it is addressed.
    #[must_use]
    pub fn routing(&self) -> Routing {
        let logical = (self.logical_destination >> 24) as u8;
        match self.mode {
            ApicMode::Disabled => Routing::Off,
            ApicMode::X2Apic => Routing::X2Apic,
            ApicMode::XApic if self.destination_format >> 28 == 0xf => Routing::Flat { logical },
            ApicMode::XApic => Routing::Cluster { logical },
        }
    }

    /// The base MSR, 0x1b.
    #[must_use]
    pub fn base(&self) -> u64 {
        let mode = match self.mode {
            ApicMode::Disabled => 0,
            ApicMode::XApic => base::ENABLED,
            ApicMode::X2Apic => base::ENABLED | base::X2APIC,
        };
        LOCAL_APIC | mode | if self.id == 0 { base::BOOTSTRAP } else { 0 }
    }

    /// Writes the base MSR. The page stays where it is.
    ///
    /// # Errors
    /// [`BadAccess`] for a change of mode that the processor does not allow, another address, or a reserved bit.
    pub fn set_base(&mut self, value: u64, timebase: Timebase) -> Result<(), BadAccess> {
        let modes = base::ENABLED | base::X2APIC;
        if (value ^ self.base()) & !(modes | base::BOOTSTRAP) != 0 {
            return Err(BadAccess);
        }
        let mode = match (value & base::ENABLED != 0, value & base::X2APIC != 0) {
            (false, false) => ApicMode::Disabled,
            (true, false) => ApicMode::XApic,
            (true, true) => ApicMode::X2Apic,
            (false, true) => return Err(BadAccess),
        };
        match (self.mode, mode) {
            (ApicMode::X2Apic, ApicMode::XApic) | (ApicMode::Disabled, ApicMode::X2Apic) => return Err(BadAccess),
            (before, ApicMode::Disabled) if before != ApicMode::Disabled => *self = Self::new(self.id, timebase),
            _ => {}
        }
        self.mode = mode;
        Ok(())
    }

    /// The task priority as control register 8 shows it.
    #[must_use]
    pub fn cr8(&self) -> u8 {
        self.task_priority >> 4
    }

    /// Writes the task priority by control register 8.
    pub fn set_cr8(&mut self, value: u8) {
        self.task_priority = (value & 15) << 4;
    }

    /// Takes interrupts that others posted.
    pub fn accept(&mut self, posted: &Posted) {
        if !self.enabled() {
            return;
        }
        for word in 0..4 {
            let (Some(edge), Some(level)) = (posted.edge.0.get(word), posted.level.0.get(word)) else {
                continue;
            };
            // Exceptions can't be sent.
            let legal = if word == 0 { !0xffff } else { u64::MAX };
            if let (Some(requests), Some(trigger)) =
                (self.requests.0.get_mut(word), self.level_triggered.0.get_mut(word))
            {
                *requests |= (edge | level) & legal;
                *trigger = *trigger & !edge | level & legal;
            }
        }
    }

    /// Accounts for time: the timer's interrupt, if it fired by `now`.
    pub fn expire(&mut self, now: u64) {
        let entry = self.lvt[0];
        if self.timer.expire(now) && entry & LVT_MASKED == 0 && self.enabled() {
            self.request(entry as u8);
        }
    }

    /// When the timer next fires, in guest TSC; `None` if it does not run or nobody would notice.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let audible = self.lvt[0] & LVT_MASKED == 0 && self.enabled();
        self.timer.deadline().filter(|_| audible)
    }

    /// The interrupt that the processor should take next, if its priority allows one.
    #[must_use]
    pub fn pending(&self) -> Option<u8> {
        if !self.enabled() {
            return None;
        }
        let vector = self.requests.highest()?;
        (vector >> 4 > self.processor_priority() >> 4).then_some(vector)
    }

    /// The processor takes the interrupt that [`LocalApic::pending`] gave.
    pub fn begin(&mut self, vector: u8) {
        self.requests.remove(vector);
        self.in_service.insert(vector);
    }

    /// The end of the most urgent interrupt in service.
    pub fn end(&mut self) -> ApicEffect {
        let Some(vector) = self.in_service.highest() else {
            return ApicEffect::None;
        };
        self.in_service.remove(vector);
        if self.level_triggered.contains(vector) {
            ApicEffect::EndOfInterrupt(vector)
        } else {
            ApicEffect::None
        }
    }

    /// Whether the end of the interrupt in service needs nobody's attention: nothing waits behind it and no I/O APIC asks.
    #[must_use]
    pub fn end_is_silent(&self) -> bool {
        let edge = |vector| !self.level_triggered.contains(vector);
        self.requests.highest().is_none() && self.in_service.highest().is_some_and(edge)
    }

    /// Reads a register of the page.
    #[must_use]
    pub fn read_page(&self, offset: u64, now: u64) -> u32 {
        if self.mode != ApicMode::XApic {
            return u32::MAX;
        }
        let number = (offset >> 4) as u32;
        match number {
            register::ID => self.id << 24,
            register::COMMAND_HIGH => (self.command >> 32) as u32,
            register::LOGICAL_DESTINATION => self.logical_destination,
            register::DESTINATION_FORMAT => self.destination_format,
            _ => self.read(number, now).unwrap_or_default(),
        }
    }

    /// Writes a register of the page; what can't be written is ignored.
    pub fn write_page(&mut self, offset: u64, value: u32, now: u64) -> ApicEffect {
        if self.mode != ApicMode::XApic {
            return ApicEffect::None;
        }
        let number = (offset >> 4) as u32;
        match number {
            register::COMMAND => {
                self.command = self.command & !0xffff_ffff | u64::from(value & !(1 << 12));
                self.send_command()
            }
            register::COMMAND_HIGH => {
                self.command = u64::from(value) << 32 | self.command & 0xffff_ffff;
                ApicEffect::None
            }
            register::LOGICAL_DESTINATION => {
                self.logical_destination = value & 0xff00_0000;
                ApicEffect::None
            }
            register::DESTINATION_FORMAT => {
                self.destination_format = value | 0x0fff_ffff;
                ApicEffect::None
            }
            register::EOI => self.end(),
            register::ERROR_STATUS => {
                self.latch_errors();
                ApicEffect::None
            }
            // In this mode the number is the firmware's to give, and this one does not change it.
            _ => self.write(number, value, now).unwrap_or(ApicEffect::None),
        }
    }

    /// Reads an MSR, 0x800 to 0x8ff.
    ///
    /// # Errors
    /// [`BadAccess`] if the APIC is not in x2APIC mode, or there is no such register, or it is for writing only.
    pub fn read_msr(&self, msr: u32, now: u64) -> Result<u64, BadAccess> {
        if self.mode != ApicMode::X2Apic {
            return Err(BadAccess);
        }
        match msr.wrapping_sub(0x800) {
            register::ID => Ok(self.id.into()),
            register::COMMAND => Ok(self.command),
            register::LOGICAL_DESTINATION => Ok((self.id >> 4 << 16 | 1 << (self.id & 15)).into()),
            register::EOI | register::SELF_IPI => Err(BadAccess),
            number => self.read(number, now).map(u64::from).ok_or(BadAccess),
        }
    }

    /// Writes an MSR, 0x800 to 0x8ff.
    ///
    /// # Errors
    /// [`BadAccess`] if the APIC is not in x2APIC mode, there is no such register or it can't be written, or a bit is reserved.
    pub fn write_msr(&mut self, msr: u32, value: u64, now: u64) -> Result<ApicEffect, BadAccess> {
        if self.mode != ApicMode::X2Apic {
            return Err(BadAccess);
        }
        let number = msr.wrapping_sub(0x800);
        if number == register::COMMAND {
            self.command = value & !(1 << 12);
            return Ok(self.send_command());
        }
        let value = u32::try_from(value).map_err(|_| BadAccess)?;
        match number {
            register::EOI | register::ERROR_STATUS if value != 0 => Err(BadAccess),
            register::EOI => Ok(self.end()),
            register::ERROR_STATUS => {
                self.latch_errors();
                Ok(ApicEffect::None)
            }
            register::SELF_IPI => Ok(self.send_to_itself(value as u8)),
            _ => self.write(number, value, now).ok_or(BadAccess),
        }
    }

    /// The deadline MSR, 0x6e0.
    #[must_use]
    pub fn deadline_msr(&self) -> u64 {
        self.timer.deadline_register()
    }

    /// Writes the deadline MSR, 0x6e0: guest TSC.
    pub fn set_deadline_msr(&mut self, tsc: u64) {
        self.timer.set_deadline(tsc);
    }

    fn enabled(&self) -> bool {
        self.mode != ApicMode::Disabled && self.spurious & SOFTWARE_ENABLED != 0
    }

    /// Asks for an edge-triggered interrupt of this vCPU.
    fn request(&mut self, vector: u8) {
        if vector >= FIRST_VECTOR {
            self.requests.insert(vector);
            self.level_triggered.remove(vector);
        }
    }

    fn processor_priority(&self) -> u8 {
        let in_service = self.in_service.highest().unwrap_or_default();
        if self.task_priority >> 4 >= in_service >> 4 {
            self.task_priority
        } else {
            in_service & 0xf0
        }
    }

    /// Registers that both modes have with the same contents.
    fn read(&self, number: u32, now: u64) -> Option<u32> {
        let of = |vectors: &Vectors, first: u32| vectors.register((number - first) as usize);
        Some(match number {
            register::VERSION => VERSION,
            register::TASK_PRIORITY => self.task_priority.into(),
            register::PROCESSOR_PRIORITY => self.processor_priority().into(),
            register::SPURIOUS => self.spurious,
            register::IN_SERVICE..register::TRIGGER_MODE => of(&self.in_service, register::IN_SERVICE),
            register::TRIGGER_MODE..register::REQUESTS => of(&self.level_triggered, register::TRIGGER_MODE),
            register::REQUESTS..register::ERROR_STATUS => of(&self.requests, register::REQUESTS),
            register::ERROR_STATUS => self.error_status,
            register::COMMAND => self.command as u32,
            register::LVT_TIMER..=register::LVT_ERROR => *self.lvt.get((number - register::LVT_TIMER) as usize)?,
            register::INITIAL_COUNT => self.timer.initial(),
            register::CURRENT_COUNT => self.timer.current(now),
            register::DIVIDE => self.timer.divide(),
            _ => return None,
        })
    }

    /// Registers that both modes have; `None` for what can't be written.
    fn write(&mut self, number: u32, value: u32, now: u64) -> Option<ApicEffect> {
        match number {
            register::TASK_PRIORITY => self.task_priority = value as u8,
            register::SPURIOUS => self.set_spurious(value),
            register::LVT_TIMER..=register::LVT_ERROR => self.set_lvt((number - register::LVT_TIMER) as usize, value),
            register::INITIAL_COUNT => self.timer.set_initial(value, now),
            register::DIVIDE => self.timer.set_divide(value, now),
            _ => return None,
        }
        Some(ApicEffect::None)
    }

    fn set_spurious(&mut self, value: u32) {
        self.spurious = value & SPURIOUS_WRITABLE;
        if !self.enabled() {
            for entry in &mut self.lvt {
                *entry |= LVT_MASKED;
            }
        }
    }

    fn set_lvt(&mut self, index: usize, value: u32) {
        let forced = if self.enabled() { 0 } else { LVT_MASKED };
        if let (Some(entry), Some(writable)) = (self.lvt.get_mut(index), LVT_WRITABLE.get(index)) {
            *entry = value & writable | forced;
        }
        if index == 0 {
            self.timer.set_mode(value);
        }
    }

    fn latch_errors(&mut self) {
        self.error_status = core::mem::take(&mut self.errors);
    }

    fn send_to_itself(&mut self, vector: u8) -> ApicEffect {
        if vector < FIRST_VECTOR {
            self.errors |= SENT_ILLEGAL_VECTOR;
        } else if self.enabled() {
            self.request(vector);
        }
        ApicEffect::None
    }

    /// Carries out what the command register says.
    fn send_command(&mut self) -> ApicEffect {
        let low = self.command as u32;
        let delivery = Delivery::of_bits(low >> 8);
        let vector = low as u8;
        if matches!(delivery, Delivery::Fixed | Delivery::LowestPriority) && vector < FIRST_VECTOR {
            self.errors |= SENT_ILLEGAL_VECTOR;
            return ApicEffect::None;
        }
        // The second half of an old-style INIT, which takes it back: nothing to do.
        if delivery == Delivery::Init && low & 0xc000 == 0x8000 {
            return ApicEffect::None;
        }
        let shorthand = match low >> 18 & 3 {
            0 => Shorthand::None,
            1 => Shorthand::Itself,
            2 => Shorthand::All,
            _ => Shorthand::Others,
        };
        let message = Message {
            destination: self.command_destination(low),
            delivery,
            vector,
            trigger: Trigger::Edge,
        };
        if shorthand == Shorthand::Itself && delivery == Delivery::Fixed {
            return self.send_to_itself(vector);
        }
        ApicEffect::Send(shorthand, message)
    }

    fn command_destination(&self, low: u32) -> Destination {
        let high = (self.command >> 32) as u32;
        let to = match self.mode {
            ApicMode::X2Apic => high,
            ApicMode::XApic | ApicMode::Disabled if high >> 24 == 0xff && low & 1 << 11 == 0 => u32::MAX,
            ApicMode::XApic | ApicMode::Disabled => high >> 24,
        };
        if low & 1 << 11 == 0 || to == u32::MAX {
            Destination::Physical(to)
        } else {
            Destination::Logical(to)
        }
    }
}
