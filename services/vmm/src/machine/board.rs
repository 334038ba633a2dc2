//! The devices that all vCPUs share, and the map from ports and addresses to them.
//!
//! Key types: [`Board`], [`BoardEffect`]. Called by the machine's exits under the process's lock, and by the process for what
//! comes from outside.

use alloc::collections::VecDeque;

use crate::apic::{Fabric, IoApic, Message, VcpuSet};
use crate::chipset::{Power, PowerEvent, Rtc, Uart};
use crate::layout;
use crate::pci::{Bus, BusEffect, SlotError};
use crate::time::Now;
use crate::virtio::{Change, Description, MEMORY_BYTES, VirtioFunction};

/// The reset control register of PCI chipsets, and the bit that resets.
const RESET_CONTROL: u16 = 0xcf9;
const RESET_CPU: u8 = 4;
/// Where a PC has its keyboard controller: it is not there, but its reset command works.
const KEYBOARD_COMMAND: u16 = 0x64;
const KEYBOARD_RESET: u8 = 0xfe;

/// I/O ports that a PCI slot's device gets at first.
const PORTS_A_SLOT: usize = 256;

/// What an access led to beside its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoardEffect {
    /// vCPUs that must look at their interrupts.
    pub kicks: VcpuSet,
    /// The guest wants to be off, or reset.
    pub power: Option<PowerEvent>,
}

/// The devices of a guest.
#[derive(Debug, Default)]
pub struct Board {
    uart: Uart,
    rtc: Rtc,
    power: Power,
    io_apic: IoApic,
    pci: Bus,
    output: VecDeque<u8>,
    output_lost: u64,
}

impl Board {
    /// Bytes of serial output that wait at most; what comes on top is lost and counted.
    pub const OUTPUT_MAX: usize = 64 * 1024;

    /// A board as after power-on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a virtio device into a PCI slot, 1 to 31, before the guest starts. Its windows have addresses by its slot.
    ///
    /// # Errors
    /// [`SlotError`].
    pub fn insert(&mut self, slot: usize, description: &Description) -> Result<(), SlotError> {
        let memory = layout::PCI_WINDOW_32.saturating_add((slot as u64).saturating_mul(MEMORY_BYTES));
        let ports = usize::from(layout::PCI_PORTS).saturating_add(slot.saturating_mul(PORTS_A_SLOT));
        let function = u16::try_from(ports)
            .ok()
            .and_then(|ports| VirtioFunction::new(description, memory, ports))
            .ok_or(SlotError::NoSuchSlot(slot))?;
        self.pci.insert(slot, function)
    }

    /// The next thing that a guest did to a virtio device and that others must hear of, with the device's slot. Fetch until there
    /// is none.
    pub fn next_change(&mut self) -> Option<(usize, Change)> {
        self.pci.next_change()
    }

    /// The virtio device in a slot, to look at.
    #[must_use]
    pub fn device(&self, slot: usize) -> Option<&VirtioFunction> {
        self.pci.function(slot)
    }

    /// Nobody serves a device's queues any longer: completes its driver's reset.
    pub fn reset_done(&mut self, slot: usize) {
        if let Some(function) = self.pci.function_mut(slot) {
            function.reset_done();
        }
    }

    /// A queue's interrupt; gives whom to kick.
    pub fn queue_interrupt(&mut self, slot: usize, queue: usize, fabric: &Fabric) -> VcpuSet {
        let function = self.pci.function_mut(slot);
        send(function.and_then(|function| function.signal_queue(queue)), fabric)
    }

    /// Changes a device's own configuration and tells its driver; gives whom to kick.
    pub fn set_device_config(&mut self, slot: usize, at: usize, bytes: &[u8], fabric: &Fabric) -> VcpuSet {
        let function = self.pci.function_mut(slot);
        send(function.and_then(|function| function.set_config(at, bytes)), fabric)
    }

    /// A device can't go on until its driver resets it; gives whom to kick.
    pub fn fail(&mut self, slot: usize, fabric: &Fabric) -> VcpuSet {
        let function = self.pci.function_mut(slot);
        send(function.and_then(VirtioFunction::fail), fabric)
    }

    /// Takes serial output, as much as `into` holds; gives how many bytes.
    pub fn take_output(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.output.len());
        for (to, from) in into.iter_mut().zip(self.output.drain(..count)) {
            *to = from;
        }
        count
    }

    /// Bytes of serial output that were lost because nobody took them.
    #[must_use]
    pub fn output_lost(&self) -> u64 {
        self.output_lost
    }

    /// Types into the serial port; gives how many bytes there was room for, and whom to kick.
    pub fn serial_input(&mut self, input: &[u8], fabric: &Fabric) -> (usize, VcpuSet) {
        let taken = self.uart.receive(input);
        (taken, self.update_lines(fabric))
    }

    /// Presses the power button; gives whom to kick.
    pub fn press_power_button(&mut self, fabric: &Fabric) -> VcpuSet {
        self.power.press_button();
        self.update_lines(fabric)
    }

    /// A local APIC says that a level-triggered interrupt ended; gives whom to kick.
    pub fn end_of_interrupt(&mut self, vector: u8, fabric: &Fabric) -> VcpuSet {
        self.io_apic
            .end_of_interrupt(vector)
            .fold(VcpuSet::NONE, |kicks, message| kicks.and(fabric.send(&message)))
    }

    /// Reads `bytes` ports from `port` on; what is not there gives all ones.
    pub fn read_port(&mut self, port: u16, bytes: u8, fabric: &Fabric, now: Now) -> (u32, BoardEffect) {
        if Bus::is_config_port(port, bytes) {
            return (self.pci.read_config_port(port, bytes), BoardEffect::default());
        }
        if port >= layout::PCI_PORTS {
            let value = self.pci.read_port(port, bytes).unwrap_or(u32::MAX);
            return (value, BoardEffect::default());
        }
        let mut value = [0; 4];
        for (index, byte) in (0..u16::from(bytes)).zip(&mut value) {
            *byte = self.read_port_byte(port.wrapping_add(index), now);
        }
        (u32::from_le_bytes(value), self.effect(fabric, None))
    }

    /// Writes `bytes` ports from `port` on.
    pub fn write_port(&mut self, port: u16, bytes: u8, value: u32, fabric: &Fabric, now: Now) -> BoardEffect {
        if Bus::is_config_port(port, bytes) {
            return bus_effect(self.pci.write_config_port(port, bytes, value), fabric);
        }
        if port >= layout::PCI_PORTS {
            return bus_effect(self.pci.write_port(port, bytes, value), fabric);
        }
        let mut power = None;
        for (index, byte) in (0..u16::from(bytes)).zip(value.to_le_bytes()) {
            power = self.write_port_byte(port.wrapping_add(index), byte, now).or(power);
        }
        self.effect(fabric, power)
    }

    /// Reads 1, 2, 4 or 8 bytes of device memory; what is not there gives all ones.
    pub fn read_memory(&mut self, address: u64, bytes: u8) -> u64 {
        match io_apic_offset(address) {
            Some(offset) => self.io_apic.read(offset).into(),
            None => self.pci.read_memory(address, bytes).unwrap_or(u64::MAX),
        }
    }

    /// Writes 1, 2, 4 or 8 bytes of device memory; gives whom to kick.
    pub fn write_memory(&mut self, address: u64, bytes: u8, value: u64, fabric: &Fabric) -> VcpuSet {
        match io_apic_offset(address) {
            Some(offset) => send(self.io_apic.write(offset, value as u32), fabric),
            None => bus_effect(self.pci.write_memory(address, bytes, value), fabric).kicks,
        }
    }

    fn effect(&mut self, fabric: &Fabric, power: Option<PowerEvent>) -> BoardEffect {
        BoardEffect {
            kicks: self.update_lines(fabric),
            power,
        }
    }

    /// Tells the I/O APIC how the devices have their lines now.
    fn update_lines(&mut self, fabric: &Fabric) -> VcpuSet {
        let uart = self.io_apic.set_line(layout::COM1_LINE.into(), self.uart.line());
        let power = self.io_apic.set_line(layout::EVENT_LINE.into(), self.power.line());
        send(uart, fabric).and(send(power, fabric))
    }

    fn read_port_byte(&mut self, port: u16, now: Now) -> u8 {
        if let Some(register) = within(port, layout::COM1, layout::COM1_PORTS) {
            self.uart.read(register as u8)
        } else if let Some(register) = within(port, layout::POWER, layout::POWER_PORTS) {
            self.power.read(register)
        } else if port == layout::RTC + 1 {
            self.rtc.read(now.wall)
        } else {
            u8::MAX
        }
    }

    fn write_port_byte(&mut self, port: u16, value: u8, now: Now) -> Option<PowerEvent> {
        if let Some(register) = within(port, layout::COM1, layout::COM1_PORTS) {
            let byte = self.uart.write(register as u8, value);
            self.put_output(byte);
            return None;
        }
        if let Some(register) = within(port, layout::POWER, layout::POWER_PORTS) {
            return self.power.write(register, value);
        }
        match port {
            layout::RTC => self.rtc.select(value),
            RTC_DATA => self.rtc.write(value, now.wall),
            RESET_CONTROL if value & RESET_CPU != 0 => return Some(PowerEvent::Reset),
            KEYBOARD_COMMAND if value == KEYBOARD_RESET => return Some(PowerEvent::Reset),
            _ => {}
        }
        None
    }

    fn put_output(&mut self, byte: Option<u8>) {
        let Some(byte) = byte else { return };
        if self.output.len() < Self::OUTPUT_MAX {
            self.output.push_back(byte);
        } else {
            self.output_lost = self.output_lost.saturating_add(1);
        }
    }
}

const RTC_DATA: u16 = layout::RTC + 1;

fn send(message: Option<Message>, fabric: &Fabric) -> VcpuSet {
    message.map_or(VcpuSet::NONE, |message| fabric.send(&message))
}

fn bus_effect(effect: BusEffect, fabric: &Fabric) -> BoardEffect {
    let messages = effect.messages.into_iter();
    BoardEffect {
        kicks: messages.fold(VcpuSet::NONE, |kicks, message| kicks.and(fabric.send(&message))),
        power: None,
    }
}

/// The offset of `port` in a range of ports.
fn within(port: u16, first: u16, count: u16) -> Option<u16> {
    port.checked_sub(first).filter(|&offset| offset < count)
}

fn io_apic_offset(address: u64) -> Option<u64> {
    let offset = address.checked_sub(layout::IO_APIC)?;
    (offset < layout::PAGE).then_some(offset)
}
