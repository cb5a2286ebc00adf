//! Random bytes from virtio-rng (virtio 1.0, 5.4).

use super::Trouble;
use super::device::{Device, Place, Queue};
use super::dma::{self, Memory};
use crate::host_paging::PageTables;
use core::fmt;
use core::ptr::NonNull;
use hv_core::device::backend::Entropy;
use hv_core::frames::FrameAllocator;

const QUEUE: u16 = 0;
/// One request is under way at a time.
const QUEUE_SIZE: usize = 8;
/// Bytes asked for at a time.
const BUFFER: usize = 1024;

#[derive(Clone, Copy, Debug)]
enum State {
    /// The device has the buffer.
    Requested,
    /// These bytes of the buffer have not been handed out.
    Filled { from: usize, to: usize },
}

/// A virtio source of randomness.
pub struct RandomDevice {
    device: Device,
    queue: Queue<QUEUE_SIZE>,
    buffer: Memory,
    state: State,
}

impl RandomDevice {
    pub(super) fn open(
        place: Place<'_>,
        frames: &mut FrameAllocator,
        tables: &mut PageTables,
    ) -> Result<Self, Trouble> {
        let mut device = Device::open(place, 0, frames, tables)?;
        let queue = device.queue(QUEUE, frames)?;
        let buffer = dma::take(frames, BUFFER)?;
        device.start();
        let mut source = Self {
            device,
            queue,
            buffer,
            state: State::Filled { from: 0, to: 0 },
        };
        source.request();
        Ok(source)
    }

    fn bytes(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.buffer.at(0, BUFFER), BUFFER)
    }

    fn request(&mut self) {
        let mut bytes = self.bytes();
        // SAFETY: our buffer, which the device does not have; `answer` is the next to touch it.
        let token = unsafe { self.queue.add(&[], &mut [bytes.as_mut()]) };
        // The queue is empty: there is room.
        if token.is_some() {
            self.state = State::Requested;
            self.device.kick(&self.queue);
        }
    }

    /// Takes the buffer back if the device has filled it.
    fn answer(&mut self) -> Option<()> {
        let token = self.queue.used()?;
        let mut bytes = self.bytes();
        // SAFETY: what `request` added; the device is done with it.
        let written = unsafe { self.queue.pop(token, &[], &mut [bytes.as_mut()]) }?;
        self.state = State::Filled {
            from: 0,
            to: BUFFER.min(written as usize),
        };
        Some(())
    }
}

impl Entropy for RandomDevice {
    fn fill(&mut self, into: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < into.len() {
            match self.state {
                State::Requested => {
                    if self.answer().is_none() {
                        break;
                    }
                }
                State::Filled { from, to } => {
                    let count = (to - from).min(into.len() - filled);
                    // SAFETY: the device does not have the buffer, and we hold `self`.
                    let bytes = unsafe { self.bytes().as_mut() };
                    into[filled..filled + count].copy_from_slice(&bytes[from..from + count]);
                    // Handed out once, whatever happens to the host later.
                    bytes[from..from + count].fill(0);
                    filled += count;
                    self.state = State::Filled {
                        from: from + count,
                        to,
                    };
                    if from + count == to {
                        self.request();
                        if !matches!(self.state, State::Requested) {
                            break;
                        }
                    }
                }
            }
        }
        filled
    }
}

impl fmt::Debug for RandomDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RandomDevice")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
