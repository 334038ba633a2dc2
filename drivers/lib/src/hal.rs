//! What `virtio-drivers` asks of the machine.
//!
//! Key type: [`MachineHal`]. Calls `dma.rs`.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};

use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::dma::{POOL, Pages};
use crate::process::Process;

/// The process whose device memory the transport maps.
static PROCESS: AtomicPtr<Process> = AtomicPtr::new(core::ptr::null_mut());

/// The machine, by way of the process's means.
#[derive(Debug)]
pub struct MachineHal;

impl MachineHal {
    /// Says whose means are to be used.
    pub(crate) fn use_process(process: &'static Process) {
        PROCESS.store(core::ptr::from_ref(process).cast_mut(), Ordering::Release);
    }
}

// SAFETY: memory comes from the pool, page aligned, zeroed and taken by nobody else until it is given back; device memory is
// mapped where nothing else is; buffers are shared as they lie, because all of them are the pool's.
unsafe impl Hal for MachineHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        match POOL.take(pages) {
            Some(Pages { start, bus }) => (bus, start),
            // 0 is how this trait says "none".
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_: PhysAddr, start: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: by the caller's contract, `dma_alloc` gave them.
        unsafe { POOL.give_back(start, pages) };
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, bytes: usize) -> NonNull<u8> {
        // SAFETY: null, or a `&'static Process` (`use_process`).
        let process = unsafe { PROCESS.load(Ordering::Acquire).as_ref() };
        let Some(process) = process else {
            panic!("device memory before the process was set up")
        };
        match process.map(address, bytes as u64) {
            Ok(registers) => match registers.start() {
                Some(start) => start,
                None => panic!("device memory at 0"),
            },
            Err(error) => panic!("{error} at {address:#x}"),
        }
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        match POOL.bus_address(buffer.addr().get(), buffer.len()) {
            Some(bus) => bus,
            None => panic!("a buffer that the device does not reach"),
        }
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
