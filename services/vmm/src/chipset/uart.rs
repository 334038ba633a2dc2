//! A 16550A serial port (National PC16550D data sheet).
//!
//! Key type: [`Uart`]. Transmission takes no time: a byte written is a byte sent. Received bytes wait in a queue longer than the
//! chip's, so that what an administrator pastes is not lost.

use alloc::collections::VecDeque;

mod register {
    pub(super) const DATA: u8 = 0;
    pub(super) const INTERRUPT_ENABLE: u8 = 1;
    /// Read: interrupt identification; written: FIFO control.
    pub(super) const IDENTIFICATION: u8 = 2;
    pub(super) const LINE_CONTROL: u8 = 3;
    pub(super) const MODEM_CONTROL: u8 = 4;
    pub(super) const LINE_STATUS: u8 = 5;
    pub(super) const MODEM_STATUS: u8 = 6;
    pub(super) const SCRATCH: u8 = 7;
}

/// Interrupt enable.
mod enable {
    pub(super) const RECEIVED: u8 = 1;
    pub(super) const TRANSMITTER_EMPTY: u8 = 2;
    pub(super) const LINE_STATUS: u8 = 4;
    pub(super) const MODEM_STATUS: u8 = 8;
}

/// Interrupt identification, without the bits that say that there are FIFOs.
mod cause {
    pub(super) const NONE: u8 = 1;
    pub(super) const MODEM_STATUS: u8 = 0;
    pub(super) const TRANSMITTER_EMPTY: u8 = 2;
    pub(super) const RECEIVED: u8 = 4;
    pub(super) const LINE_STATUS: u8 = 6;
    /// Fewer bytes than the trigger level have waited for a while.
    pub(super) const TIME_OUT: u8 = 12;
}

/// Modem control.
mod modem {
    pub(super) const DTR: u8 = 1;
    pub(super) const RTS: u8 = 2;
    pub(super) const OUT1: u8 = 4;
    /// Connects the interrupt to the line, on a PC.
    pub(super) const OUT2: u8 = 8;
    pub(super) const LOOPBACK: u8 = 16;
}

const DIVISOR_ACCESS: u8 = 0x80;
const FIFO_ENABLE: u8 = 1;
const FIFO_CLEAR_RECEIVER: u8 = 2;
/// Both bits of the identification register.
const FIFOS: u8 = 0xc0;
const DATA_READY: u8 = 1;
const OVERRUN: u8 = 2;
/// Holding register and shift register are empty, always.
const TRANSMITTER_EMPTY: u8 = 0x60;
/// Clear to send, data set ready, carrier: somebody listens.
const MODEM_CONNECTED: u8 = 0xb0;
/// What the chip holds of received bytes.
const FIFO_BYTES: usize = 16;
/// Bytes for each value of the trigger field.
const TRIGGERS: [usize; 4] = [1, 4, 8, 14];

/// A serial port.
#[derive(Clone, Debug)]
pub struct Uart {
    divisor: u16,
    interrupt_enable: u8,
    fifo_control: u8,
    line_control: u8,
    modem_control: u8,
    scratch: u8,
    /// The transmitter became empty and nobody has heard of it yet.
    transmitter_event: bool,
    overrun: bool,
    /// Modem status when it was last read, upper half.
    modem_seen: u8,
    received: VecDeque<u8>,
}

impl Default for Uart {
    fn default() -> Self {
        Self {
            divisor: 1,
            interrupt_enable: 0,
            fifo_control: 0,
            line_control: 0,
            modem_control: 0,
            scratch: 0,
            transmitter_event: false,
            overrun: false,
            modem_seen: MODEM_CONNECTED,
            received: VecDeque::new(),
        }
    }
}

impl Uart {
    /// Bytes of input that wait at most.
    pub const INPUT_MAX: usize = 4096;

    /// Takes input from outside; gives how many of the bytes there was room for. The rest is the caller's to keep.
    pub fn receive(&mut self, input: &[u8]) -> usize {
        // In loopback the receiver hears nothing from outside.
        if self.loopback() {
            return 0;
        }
        let room = Self::INPUT_MAX.saturating_sub(self.received.len());
        let taken = input.len().min(room);
        self.received.extend(input.iter().take(taken));
        taken
    }

    /// Bytes that [`Uart::receive`] has room for.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.loopback() {
            return 0;
        }
        Self::INPUT_MAX.saturating_sub(self.received.len())
    }

    /// Whether the interrupt line is asserted.
    #[must_use]
    pub fn line(&self) -> bool {
        let connected = self.modem_control & modem::OUT2 != 0 && !self.loopback();
        connected && self.cause() != cause::NONE
    }

    /// Reads a register, 0 to 7; others give all ones.
    pub fn read(&mut self, register: u8) -> u8 {
        let divisor = self.line_control & DIVISOR_ACCESS != 0;
        match register {
            register::DATA if divisor => self.divisor.to_le_bytes()[0],
            register::INTERRUPT_ENABLE if divisor => self.divisor.to_le_bytes()[1],
            register::DATA => self.received.pop_front().unwrap_or_default(),
            register::INTERRUPT_ENABLE => self.interrupt_enable,
            register::IDENTIFICATION => self.identify(),
            register::LINE_CONTROL => self.line_control,
            register::MODEM_CONTROL => self.modem_control,
            register::LINE_STATUS => self.line_status(),
            register::MODEM_STATUS => self.modem_status(),
            register::SCRATCH => self.scratch,
            _ => u8::MAX,
        }
    }

    /// Writes a register, 0 to 7; gives the byte that left the port, if one did.
    pub fn write(&mut self, register: u8, value: u8) -> Option<u8> {
        let divisor = self.line_control & DIVISOR_ACCESS != 0;
        match register {
            register::DATA if divisor => self.divisor = self.divisor & 0xff00 | u16::from(value),
            register::INTERRUPT_ENABLE if divisor => self.divisor = self.divisor & 0xff | u16::from(value) << 8,
            register::DATA => return self.transmit(value),
            register::INTERRUPT_ENABLE => {
                let newly = value & !self.interrupt_enable;
                self.interrupt_enable = value & 0x0f;
                // Switched on with an empty transmitter, this interrupt comes at once.
                self.transmitter_event |= newly & enable::TRANSMITTER_EMPTY != 0;
            }
            register::IDENTIFICATION => self.control_fifos(value),
            register::LINE_CONTROL => self.line_control = value,
            register::MODEM_CONTROL => self.modem_control = value & 0x1f,
            register::SCRATCH => self.scratch = value,
            // The status registers are for reading.
            _ => {}
        }
        None
    }

    fn loopback(&self) -> bool {
        self.modem_control & modem::LOOPBACK != 0
    }

    fn transmit(&mut self, byte: u8) -> Option<u8> {
        self.transmitter_event = true;
        if !self.loopback() {
            return Some(byte);
        }
        let room = if self.fifos() { FIFO_BYTES } else { 1 };
        if self.received.len() < room {
            self.received.push_back(byte);
        } else {
            self.overrun = true;
        }
        None
    }

    fn fifos(&self) -> bool {
        self.fifo_control & FIFO_ENABLE != 0
    }

    fn control_fifos(&mut self, value: u8) {
        let switched = (value ^ self.fifo_control) & FIFO_ENABLE != 0;
        if switched || value & FIFO_CLEAR_RECEIVER != 0 {
            self.received.clear();
        }
        // The other bits are not kept while FIFOs are off.
        self.fifo_control = if value & FIFO_ENABLE == 0 { 0 } else { value & 0xc9 };
    }

    /// The most urgent cause of an interrupt.
    fn cause(&self) -> u8 {
        let enabled = |bit: u8| self.interrupt_enable & bit != 0;
        let trigger = TRIGGERS[usize::from(self.fifo_control >> 6)];
        if enabled(enable::LINE_STATUS) && self.overrun {
            cause::LINE_STATUS
        } else if enabled(enable::RECEIVED) && !self.received.is_empty() {
            if self.fifos() && self.received.len() < trigger {
                cause::TIME_OUT
            } else {
                cause::RECEIVED
            }
        } else if enabled(enable::TRANSMITTER_EMPTY) && self.transmitter_event {
            cause::TRANSMITTER_EMPTY
        } else if enabled(enable::MODEM_STATUS) && self.modem_lines() != self.modem_seen {
            cause::MODEM_STATUS
        } else {
            cause::NONE
        }
    }

    fn identify(&mut self) -> u8 {
        let cause = self.cause();
        if cause == cause::TRANSMITTER_EMPTY {
            self.transmitter_event = false;
        }
        cause | if self.fifos() { FIFOS } else { 0 }
    }

    fn line_status(&mut self) -> u8 {
        let ready = if self.received.is_empty() { 0 } else { DATA_READY };
        let overrun = if core::mem::take(&mut self.overrun) { OVERRUN } else { 0 };
        TRANSMITTER_EMPTY | ready | overrun
    }

    /// Upper half of the modem status.
    fn modem_lines(&self) -> u8 {
        if !self.loopback() {
            return MODEM_CONNECTED;
        }
        let wired = [
            (modem::RTS, 0x10),
            (modem::DTR, 0x20),
            (modem::OUT1, 0x40),
            (modem::OUT2, 0x80),
        ];
        wired
            .iter()
            .filter(|(control, _)| self.modem_control & control != 0)
            .fold(0, |lines, (_, status)| lines | status)
    }

    fn modem_status(&mut self) -> u8 {
        let lines = self.modem_lines();
        let changed = (lines ^ self.modem_seen) >> 4;
        // The ring indicator reports its trailing edge only.
        let ring_ended = (self.modem_seen & !lines) >> 4 & 4;
        self.modem_seen = lines;
        lines | changed & 0x0b | ring_ended
    }
}
