//! A virtqueue that owns the buffers which the device has.
//!
//! Key types: [`BufferQueue`], [`Buffers`]. The queue of `virtio-drivers` trusts its caller to leave buffers alone; this one takes
//! them and gives them back when the device is done, so that its callers need no unsafe code.

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;
use virtio_drivers::{Error, Result};

use crate::dma::DmaBuffer;
use crate::hal::MachineHal;

/// What goes to the device at once; either may be missing, but not both.
#[derive(Debug)]
pub struct Buffers {
    /// For the device to read.
    pub readable: Option<DmaBuffer>,
    /// For the device to write.
    pub writable: Option<DmaBuffer>,
}

/// Does a step with the slices as the queue wants them.
macro_rules! with_slices {
    ($buffers:expr, $step:expr) => {
        match (&$buffers.readable, &mut $buffers.writable) {
            (Some(readable), Some(writable)) => $step(&[&**readable], &mut [&mut **writable]),
            (Some(readable), None) => $step(&[&**readable], &mut []),
            (None, Some(writable)) => $step(&[], &mut [&mut **writable]),
            (None, None) => Err(Error::InvalidParam),
        }
    };
}

/// A queue of `SIZE` descriptors.
#[derive(Debug)]
pub struct BufferQueue<const SIZE: usize> {
    queue: VirtQueue<MachineHal, SIZE>,
    number: u16,
    held: [Option<Buffers>; SIZE],
}

impl<const SIZE: usize> BufferQueue<SIZE> {
    /// Sets a queue up. Without indirect descriptors, which `virtio-drivers` takes from the heap, where the device does not reach; and
    /// without event indexes, because it compares them without regard to their wrapping around.
    ///
    /// # Errors
    /// Those of the device, and of the pool.
    pub fn new(transport: &mut impl Transport, number: u16) -> Result<Self> {
        Ok(Self {
            queue: VirtQueue::new(transport, number, false, false)?,
            number,
            held: [const { None }; SIZE],
        })
    }

    /// Hands buffers to the device and tells it if it wants that. They are found again by the token.
    ///
    /// # Errors
    /// `QueueFull`, `InvalidParam` for nothing; the buffers are dropped.
    pub fn submit(&mut self, transport: &mut impl Transport, mut buffers: Buffers) -> Result<u16> {
        let queue = &mut self.queue;
        // SAFETY: the buffers are kept in `held` until `completed` takes them out of the queue again; their bytes do not move with
        // the handle.
        let token = with_slices!(buffers, |readable, writable| unsafe { queue.add(readable, writable) })?;
        let place = self.held.get_mut(usize::from(token)).ok_or(Error::WrongToken)?;
        debug_assert!(place.is_none());
        *place = Some(buffers);
        if self.queue.should_notify() {
            transport.notify(self.number);
        }
        Ok(token)
    }

    /// The next buffers that the device is done with, their token, and how many bytes it says it wrote.
    ///
    /// # Errors
    /// `WrongToken` when the device names buffers that it has not: it is not to be trusted any more.
    pub fn completed(&mut self) -> Result<Option<(u16, Buffers, u32)>> {
        let Some(token) = self.queue.peek_used() else {
            return Ok(None);
        };
        let place = self.held.get_mut(usize::from(token));
        let mut buffers = place.and_then(Option::take).ok_or(Error::WrongToken)?;
        let queue = &mut self.queue;
        // SAFETY: the same buffers that `submit` added under this token.
        let written = with_slices!(buffers, |readable, writable| unsafe {
            queue.pop_used(token, readable, writable)
        })?;
        Ok(Some((token, buffers, written)))
    }
}

impl<const SIZE: usize> Drop for BufferQueue<SIZE> {
    /// The device may still have the buffers: they are lost to the pool rather than used for something else.
    fn drop(&mut self) {
        for buffers in self.held.iter_mut().filter_map(Option::take) {
            core::mem::forget(buffers);
        }
    }
}
