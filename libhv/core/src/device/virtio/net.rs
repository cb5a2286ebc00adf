//! The network device (virtio 1.0, section 5.1): a queue in each direction, one frame a chain.
//!
//! No offloads are offered, so the header that goes with each frame has nothing to say: frames are
//! complete, with their checksums.

use super::chain::{Buffer, Chain, Direction};
use super::queue::Queue;
use super::registers::feature;
use super::{Identity, Legacy, Violation, VirtioDevice};
use crate::device::Work;
use crate::device::backend::{FRAME, Full, Link};
use crate::memory::GuestMemory;

/// Virtio's number for network devices.
pub const DEVICE: u16 = 1;

/// VIRTIO_NET_F_MAC (5.1.3).
const MAC: u64 = 1 << 5;
/// With indirect descriptors, header and frame take one descriptor of the queue.
const FEATURES: u64 = MAC | feature::INDIRECT_DESC;

/// MAC address, status and number of queue pairs (5.1.4); the last two are without their features.
const CONFIG_SIZE: u32 = 10;
const MAC_SIZE: u8 = 6;
/// `struct virtio_net_hdr` with `num_buffers` (5.1.6).
pub const HEADER: usize = 12;
/// Before virtio 1.0 the header had no `num_buffers` unless buffers were merged (5.1.6.1).
const LEGACY_HEADER: usize = 10;
/// A received frame lies in one chain, as VIRTIO_NET_F_MRG_RXBUF is not offered (5.1.6.4).
const ONE_BUFFER: u8 = 1;
const NUM_BUFFERS: usize = 10;
/// Shortest frame that has a header: two addresses and a type.
const SHORTEST: usize = 14;

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

/// Frames of one poll in each direction: the measure of a long exit.
const FRAMES_A_POLL: u32 = 32;

/// A header and a frame.
type Packet = [u8; HEADER + FRAME];

/// A frame on its way, with its header before it.
#[derive(Debug)]
struct Waiting {
    packet: Packet,
    /// Bytes with the header; 0 when none waits.
    length: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            packet: [0; HEADER + FRAME],
            length: 0,
        }
    }
}

impl Waiting {
    fn frame(&self) -> &[u8] {
        self.packet.get(HEADER..self.length).unwrap_or_default()
    }
}

/// The network device's model.
#[derive(Debug)]
pub struct Net<L> {
    link: L,
    /// A frame of the guest's that the link had no room for; its chain.
    sending: Waiting,
    sent: Option<Chain>,
    /// A frame of the link's that the guest had no buffer for.
    received: Waiting,
    stocked: [bool; 2],
    /// Bytes of the header that the driver knows: the last ones before the frame.
    header: usize,
}

impl<L: Link> Net<L> {
    /// A device at the end of `link`.
    pub fn new(link: L) -> Self {
        Self {
            link,
            sending: Waiting::default(),
            sent: None,
            received: Waiting::default(),
            stocked: [false; 2],
            header: HEADER,
        }
    }

    fn transmit(
        &mut self,
        memory: &impl GuestMemory,
        queue: &mut Queue,
    ) -> Result<Work, Violation> {
        for _frame in 0..FRAMES_A_POLL {
            if self.sent.is_none() {
                let stocked = self.stocked.get_mut(usize::from(TRANSMIT));
                let Some(stocked) = stocked.filter(|stocked| **stocked) else {
                    return Ok(Work::Done);
                };
                let Some(mut chain) = queue.pop(memory)? else {
                    *stocked = false;
                    return Ok(Work::Done);
                };
                let skipped = HEADER.saturating_sub(self.header);
                let into = self.sending.packet.get_mut(skipped..).unwrap_or_default();
                let length = gather(memory, &mut chain, into)?;
                self.sending.length = skipped.saturating_add(length);
                self.sent = Some(chain);
            }
            let frame = self.sending.frame();
            // What is no frame is dropped, as a wire would.
            if frame.len() >= SHORTEST && self.link.send(frame) == Err(Full) {
                // The link says when it has room again.
                return Ok(Work::Done);
            }
            if let Some(chain) = self.sent.take() {
                queue.push(memory, chain, 0)?;
            }
        }
        Ok(Work::More)
    }

    fn receive(&mut self, memory: &impl GuestMemory, queue: &mut Queue) -> Result<Work, Violation> {
        for _frame in 0..FRAMES_A_POLL {
            let stocked = self.stocked.get_mut(usize::from(RECEIVE));
            let Some(stocked) = stocked.filter(|stocked| **stocked) else {
                return Ok(Work::Done);
            };
            if self.received.length == 0 {
                let room = self.received.packet.get_mut(HEADER..).unwrap_or_default();
                let Some(length) = self.link.receive(room) else {
                    return Ok(Work::Done);
                };
                self.received.length = HEADER.saturating_add(length.min(FRAME));
            }
            let Some(mut chain) = queue.pop(memory)? else {
                *stocked = false;
                return Ok(Work::Done);
            };
            if let Some(count) = self.received.packet.get_mut(NUM_BUFFERS) {
                *count = if self.header == HEADER { ONE_BUFFER } else { 0 };
            }
            let skipped = HEADER.saturating_sub(self.header);
            let length = core::mem::take(&mut self.received.length);
            let packet = (self.received.packet.get(skipped..length)).unwrap_or_default();
            scatter(memory, &mut chain, packet)?;
            queue.push(memory, chain, packet.len() as u32)?;
        }
        Ok(Work::More)
    }
}

/// Copies a chain's bytes out of guest memory; returns their number, or 0 when they are too many for a
/// frame.
fn gather(
    memory: &impl GuestMemory,
    chain: &mut Chain,
    into: &mut [u8],
) -> Result<usize, Violation> {
    let mut length = 0_usize;
    // Every turn takes a buffer of the chain, of which there are no more than descriptors.
    while let Some(Buffer {
        at,
        length: bytes,
        direction,
    }) = chain.next_buffer(memory)?
    {
        if direction != Direction::Readable {
            return Err(Violation::WrongDirection);
        }
        let end = length.saturating_add(bytes as usize);
        if let Some(room) = into.get_mut(length..end) {
            memory.read(at, room)?;
        }
        length = end;
    }
    Ok(if length <= into.len() { length } else { 0 })
}

/// Copies a packet into a chain.
fn scatter(
    memory: &impl GuestMemory,
    chain: &mut Chain,
    mut packet: &[u8],
) -> Result<(), Violation> {
    while let Some(buffer) = chain.next_buffer(memory)? {
        if buffer.direction != Direction::Writable {
            return Err(Violation::WrongDirection);
        }
        let length = packet.len().min(buffer.length as usize);
        let (now, later) = packet.split_at_checked(length).unwrap_or((packet, &[]));
        memory.write(buffer.at, now)?;
        packet = later;
    }
    // Without merged buffers every buffer has to hold the largest frame (5.1.6.3.1).
    if packet.is_empty() {
        Ok(())
    } else {
        Err(Violation::RequestTooShort)
    }
}

impl<L: Link> VirtioDevice for Net<L> {
    fn identity(&self) -> Identity {
        Identity {
            device: DEVICE,
            class: 0x0200,
            features: FEATURES,
            queues: 2,
            config_size: CONFIG_SIZE,
            legacy: Legacy {
                features: FEATURES as u32,
                config_size: MAC_SIZE,
            },
        }
    }

    fn read_config(&self, offset: u32) -> u8 {
        let mac = self.link.mac();
        mac.get(offset as usize).copied().unwrap_or_default()
    }

    fn write_config(&mut self, _offset: u32, _value: u32) {}

    fn reset(&mut self) {
        self.sent = None;
        self.stocked = [false; 2];
    }

    fn driver_ready(&mut self, features: u64) {
        self.header = if features & feature::VERSION_1 != 0 {
            HEADER
        } else {
            LEGACY_HEADER
        };
    }

    fn notify(&mut self, queue: u16) {
        if let Some(stocked) = self.stocked.get_mut(usize::from(queue)) {
            *stocked = true;
        }
    }

    fn poll(&mut self, memory: &impl GuestMemory, queues: &mut [Queue]) -> Result<Work, Violation> {
        let [receive, transmit, ..] = queues else {
            return Ok(Work::Done);
        };
        let sent = self.transmit(memory, transmit)?;
        Ok(sent.and(self.receive(memory, receive)?))
    }

    fn console_read(&mut self) -> Option<u8> {
        None
    }
}
