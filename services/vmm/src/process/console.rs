//! The guest's serial port and the console service: a ring of bytes each way.
//!
//! Key type: [`Console`]. A VMM whose manifest gives it no console loses its guest's output and types nothing.

use ecusson_ring::{Consumer, Producer, bytes};
use ecusson_rt::cap::kind::Notification;
use ecusson_rt::{Cap, environment};
use ecusson_vmm::apic::{Fabric, VcpuSet};
use ecusson_vmm::machine::Board;

use super::names;

/// Both ways.
#[derive(Debug)]
pub(super) struct Console {
    output: Option<Producer<'static>>,
    /// The console service's notification and bit.
    listener: Option<(Cap<Notification>, u8)>,
    input: Option<Consumer<'static>>,
    /// Taken from the ring; the serial port had no room for it.
    typed: ([u8; bytes::BYTES_MAX], usize),
    /// Taken from the board; the ring had no room for it.
    written: ([u8; bytes::BYTES_MAX], usize),
}

impl Console {
    /// What the manifest gives.
    pub(super) fn of_process() -> Self {
        let ring = |name| ecusson_rt::environment::shared_words(name);
        let listener = environment().and_then(|table| table.signal(names::CONSOLE));
        Self {
            output: ring(names::CONSOLE_OUT).and_then(Producer::new),
            listener: listener.map(|(slot, bit)| (Cap::at(slot.into()), bit)),
            input: ring(names::CONSOLE_IN).and_then(Consumer::new),
            typed: Default::default(),
            written: Default::default(),
        }
    }

    /// Moves what the guest wrote to the ring, as much as there is room for; the rest stays on the board.
    pub(super) fn put_out(&mut self, board: &mut Board) {
        let mut wake = false;
        loop {
            let (held, length) = &mut self.written;
            if *length == 0 {
                *length = board.take_output(held);
            }
            let (descriptor, count) = bytes::pack(held.get(..*length).unwrap_or_default());
            if count == 0 {
                break;
            }
            // Without a console, or with one that broke its ring, output is lost.
            let Some(output) = &mut self.output else {
                *length = 0;
                continue;
            };
            match output.push(descriptor) {
                Ok(was_empty) => wake |= was_empty,
                Err(ecusson_ring::PushError::Full) => break,
                Err(ecusson_ring::PushError::Broken) => self.output = None,
            }
            *length = 0;
        }
        if let Some((listener, bit)) = self.listener.as_ref().filter(|_| wake) {
            // A console that is being restarted looks at all rings when it begins.
            let _ = listener.signal(1 << bit);
        }
    }

    /// Types what came, as much as the serial port has room for; gives whom to kick.
    pub(super) fn type_in(&mut self, board: &mut Board, fabric: &Fabric) -> VcpuSet {
        let mut kicks = VcpuSet::NONE;
        while let Some(input) = &mut self.input {
            if self.typed.1 == 0 {
                match input.pop() {
                    Ok(Some(descriptor)) => self.typed = bytes::unpack(&descriptor),
                    Ok(None) => break,
                    Err(ecusson_ring::Broken) => self.input = None,
                }
                continue;
            }
            let (held, length) = &mut self.typed;
            let (taken, kicked) = board.serial_input(held.get(..*length).unwrap_or_default(), fabric);
            kicks = kicks.and(kicked);
            if taken == 0 {
                break;
            }
            let taken = taken.min(*length);
            held.rotate_left(taken);
            *length = length.saturating_sub(taken);
        }
        kicks
    }
}
