//! Memory that devices reach: frames of the host's, at the addresses that the bus has for them.

use crate::direct_map;
use core::ptr::NonNull;
use hermit_sync::SpinMutex;
use hv_core::address::{Hpa, PAGE_SIZE};
use hv_core::frames::{FrameAllocator, Host, OutOfFrames, Run};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// Takes cleared frames that a device will use for as long as the machine runs.
pub fn take(frames: &mut FrameAllocator, bytes: usize) -> Result<Memory, OutOfFrames> {
    let count = (bytes as u64).div_ceil(u64::from(PAGE_SIZE));
    let run = frames.take(count, 1)?.into_state();
    let memory = Memory::new(&run);
    // SAFETY: the run is ours, and the direct map covers it writable.
    unsafe { memory.start.write_bytes(0, bytes) };
    Ok(memory)
}

/// Frames that belong to a driver and its device for good, as bytes.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    bytes: usize,
}

impl Memory {
    fn new(run: &Run<Host>) -> Self {
        Self {
            start: direct_map::pointer(run.start()),
            bytes: (run.count() * u64::from(PAGE_SIZE)) as usize,
        }
    }

    /// A pointer to `length` bytes at `offset`.
    ///
    /// # Panics
    /// When they are not all inside.
    pub fn at(&self, offset: usize, length: usize) -> NonNull<u8> {
        let inside = offset
            .checked_add(length)
            .is_some_and(|end| end <= self.bytes);
        assert!(inside, "a driver left its memory");
        // SAFETY: just checked.
        unsafe { self.start.add(offset) }
    }
}

/// Frames for the queue that is being made: the crate asks for them in a function without context.
static STOCK: SpinMutex<Option<Run<Host>>> = SpinMutex::new(None);

/// Runs `make`, which makes one virtqueue, with `pages` frames to take. The queue keeps them for good.
///
/// # Errors
/// When there are not so many.
pub fn with_stock<T>(
    frames: &mut FrameAllocator,
    pages: usize,
    make: impl FnOnce() -> T,
) -> Result<T, OutOfFrames> {
    *STOCK.lock() = Some(frames.take(pages as u64, 1)?.into_state());
    let made = make();
    *STOCK.lock() = None;
    Ok(made)
}

/// The host, as the crate sees it: bus addresses are physical addresses.
#[derive(Debug)]
pub struct HostMemory;

// SAFETY: frames from `dma_alloc` come from an owned run and never go back to the allocator, so they
// alias nothing; the direct map has them, and everything that is shared, at a fixed offset.
unsafe impl Hal for HostMemory {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let none = (0, NonNull::dangling());
        let mut stock = STOCK.lock();
        let Some(run) = stock.as_mut().filter(|run| run.count() >= pages as u64) else {
            return none;
        };
        let start = run.start();
        // Frames of a run follow each other.
        for _ in 0..pages {
            run.take_first();
        }
        let pointer = direct_map::pointer(start);
        // SAFETY: the frames just taken, which the direct map covers writable.
        unsafe { pointer.write_bytes(0, pages * PAGE_SIZE as usize) };
        (start.raw(), pointer)
    }

    unsafe fn dma_dealloc(_start: PhysAddr, _pointer: NonNull<u8>, _pages: usize) -> i32 {
        // A driver that gave up: its frames stay out of use, in case its device has not.
        0
    }

    unsafe fn mmio_phys_to_virt(start: PhysAddr, _bytes: usize) -> NonNull<u8> {
        // `device::map_bars` has mapped it there.
        direct_map::pointer(Hpa::new(start))
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        let linear = buffer.cast::<u8>().addr().get() as u64;
        let physical = linear.wrapping_sub(direct_map::BASE);
        assert!(
            physical < direct_map::SIZE,
            "a buffer for a device is not in the direct map"
        );
        physical
    }

    unsafe fn unshare(_start: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}
