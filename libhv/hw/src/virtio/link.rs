//! A network link behind virtio-net (virtio 1.0, 5.1).

use super::Trouble;
use super::device::{Device, Interrupts, Place, Queue};
use super::dma::{self, Memory};
use crate::host_paging::PageTables;
use core::fmt;
use core::ptr::NonNull;
use hv_core::device::backend::{Full, Link as Backend};
use hv_core::frames::FrameAllocator;

/// VIRTIO_NET_F_MAC: the configuration has the address. No offload is negotiated: frames are whole.
const MAC: u64 = 1 << 5;

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
/// Frames under way in each direction.
const QUEUE_SIZE: usize = 128;
/// Bytes for a frame and its header: 1526 are the least without offloads (virtio 1.0, 5.1.6.3.1).
const BUFFER: usize = 2048;
/// Bytes of the header before each frame (virtio 1.0, 5.1.6): all zero without offloads.
const HEADER: usize = 12;

/// A virtio network device, seen as the link to whatever is behind it.
pub struct Link {
    device: Device,
    mac: [u8; 6],
    receive: Queue<QUEUE_SIZE>,
    received: Memory,
    /// The buffer that a token of the receive queue stands for.
    receive_owners: [usize; QUEUE_SIZE],
    transmit: Queue<QUEUE_SIZE>,
    sent: Memory,
    /// The buffer that a token of the transmit queue stands for, and its length.
    transmit_owners: [(usize, usize); QUEUE_SIZE],
    /// Buffers for sending that are not with the device.
    free: heapless::Vec<usize, QUEUE_SIZE>,
}

impl Link {
    pub(super) fn open(
        place: Place<'_>,
        frames: &mut FrameAllocator,
        tables: &mut PageTables,
    ) -> Result<Self, Trouble> {
        let mut device = Device::open(place, MAC, frames, tables)?;
        if !device.offers(MAC) {
            return Err(Trouble::NoAddress);
        }
        let [a, b, c, d] = device.configuration(0)?.to_le_bytes();
        let [e, f, ..] = device.configuration(4)?.to_le_bytes();
        let receive = device.queue(RECEIVE, frames)?;
        let mut transmit: Queue<QUEUE_SIZE> = device.queue(TRANSMIT, frames)?;
        transmit.set_interrupts(Interrupts::Off);
        let received = dma::take(frames, QUEUE_SIZE * BUFFER)?;
        let sent = dma::take(frames, QUEUE_SIZE * BUFFER)?;
        device.start();
        let mut link = Self {
            device,
            mac: [a, b, c, d, e, f],
            receive,
            received,
            receive_owners: [0; QUEUE_SIZE],
            transmit,
            sent,
            transmit_owners: [(0, 0); QUEUE_SIZE],
            free: (0..QUEUE_SIZE).collect(),
        };
        (0..QUEUE_SIZE).for_each(|buffer| link.offer(buffer));
        link.device.kick(&link.receive);
        Ok(link)
    }

    fn receive_buffer(&self, buffer: usize) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.received.at(buffer * BUFFER, BUFFER), BUFFER)
    }

    fn transmit_buffer(&self, buffer: usize, length: usize) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.sent.at(buffer * BUFFER, length), length)
    }

    /// Gives the device a buffer to receive into.
    fn offer(&mut self, buffer: usize) {
        let mut bytes = self.receive_buffer(buffer);
        // SAFETY: a buffer of ours that the device does not have; nobody touches it before `receive`
        // pops it.
        let token = unsafe { self.receive.add(&[], &mut [bytes.as_mut()]) };
        // The queue has a descriptor for each buffer.
        if let Some(token) = token {
            self.receive_owners[usize::from(token)] = buffer;
        }
    }

    /// Takes back buffers that have been sent.
    fn reclaim(&mut self) {
        while let Some(token) = self.transmit.used() {
            let (buffer, length) = self.transmit_owners[usize::from(token)];
            let bytes = self.transmit_buffer(buffer, length);
            // SAFETY: what `send` added; the device is done with it.
            if unsafe { self.transmit.pop(token, &[bytes.as_ref()], &mut []) }.is_none() {
                break;
            }
            // One more than there are buffers cannot come back.
            let _ = self.free.push(buffer);
        }
    }

    fn free_buffer(&mut self) -> Option<usize> {
        if self.free.is_empty() {
            self.reclaim();
        }
        if self.free.is_empty() {
            // Now the device has to say when there is room; it may have made some meanwhile.
            self.transmit.set_interrupts(Interrupts::On);
            self.reclaim();
            if self.free.is_empty() {
                return None;
            }
        }
        self.transmit.set_interrupts(Interrupts::Off);
        self.free.pop()
    }
}

impl Backend for Link {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), Full> {
        let length = HEADER + frame.len();
        if length > BUFFER {
            return Ok(());
        }
        let buffer = self.free_buffer().ok_or(Full)?;
        let mut bytes = self.transmit_buffer(buffer, length);
        // SAFETY: a buffer of ours that the device does not have, initialised.
        let (header, body) = unsafe { bytes.as_mut() }.split_at_mut(HEADER);
        header.fill(0);
        body.copy_from_slice(frame);
        // SAFETY: as above; `reclaim` is the next to touch it.
        match unsafe { self.transmit.add(&[bytes.as_ref()], &mut []) } {
            Some(token) => {
                self.transmit_owners[usize::from(token)] = (buffer, length);
                self.device.kick(&self.transmit);
                Ok(())
            }
            None => {
                let _ = self.free.push(buffer);
                Err(Full)
            }
        }
    }

    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        loop {
            let token = self.receive.used()?;
            let buffer = self.receive_owners[usize::from(token)];
            let mut bytes = self.receive_buffer(buffer);
            // SAFETY: what `offer` added; the device is done with it.
            let written = unsafe { self.receive.pop(token, &[], &mut [bytes.as_mut()]) }?;
            // SAFETY: ours again until it is offered once more.
            let frame = unsafe { bytes.as_ref() }.get(HEADER..written as usize);
            let copied = frame.and_then(|frame| {
                into.get_mut(..frame.len())?.copy_from_slice(frame);
                Some(frame.len())
            });
            self.offer(buffer);
            self.device.kick(&self.receive);
            if copied.is_some() {
                return copied;
            }
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("mac", &self.mac)
            .finish_non_exhaustive()
    }
}
