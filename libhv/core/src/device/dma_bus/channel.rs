//! A virtqueue that the host drives itself, with one chain under way at a time.

use super::Section;
use crate::address::Gpa;
use crate::device::virtio::Violation;
use crate::device::virtio::chain::{Direction, Indirect};
use crate::device::virtio::queue::{Layout, Queue};
use crate::memory::{BadAddress, GuestMemory};

/// Descriptors: sections of a `lguest_dma`, a header and an answer.
const SIZE: u16 = 32;
/// Where its parts lie in its half of a page.
const AVAILABLE: u64 = 0x200;
const USED: u64 = 0x280;
/// Bytes that it takes.
pub(super) const BYTES: u64 = 0x400;

/// Flags of a descriptor (virtio 1.0, 2.4.5).
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// A virtqueue, seen from the side of the driver.
#[derive(Debug)]
pub(super) struct Channel {
    at: Gpa,
    /// Chains made available, and chains given back, as 16-bit counters.
    sent: u16,
    returned: u16,
}

impl Channel {
    /// A queue in the [`BYTES`] at `at`, of which the device is told by `queue`.
    pub(super) fn open(
        memory: &impl GuestMemory,
        at: Gpa,
        queue: &mut Queue,
    ) -> Result<Self, Violation> {
        memory.write(at, &[0; BYTES as usize])?;
        *queue = Queue::default();
        queue.set_size(SIZE)?;
        queue.set_layout(Layout {
            descriptors: at.raw(),
            available: at.wrapping_add(AVAILABLE).raw(),
            used: at.wrapping_add(USED).raw(),
        })?;
        queue.enable(memory, Indirect::Refused)?;
        queue.run();
        Ok(Self {
            at,
            sent: 0,
            returned: 0,
        })
    }

    /// Whether a chain is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.sent != self.returned
    }

    /// Makes a chain of these pieces available, of which there are no more than [`SIZE`].
    pub(super) fn send(
        &mut self,
        memory: &impl GuestMemory,
        pieces: impl Iterator<Item = (Section, Direction)>,
    ) -> Result<(), BadAddress> {
        let mut pieces = pieces.take(SIZE.into()).peekable();
        let mut index = 0_u16;
        while let Some((section, direction)) = pieces.next() {
            let more = if pieces.peek().is_some() { NEXT } else { 0 };
            let write = if direction == Direction::Writable {
                WRITE
            } else {
                0
            };
            let next = index.wrapping_add(1);
            // Address, length, flags, next: 64, 32, 16 and 16 bits.
            let bits = u128::from(section.at.raw())
                | u128::from(section.length) << 64
                | u128::from(more | write) << 96
                | u128::from(next) << 112;
            let at = self.at.wrapping_add(u64::from(index).wrapping_mul(16));
            memory.write(at, &bits.to_le_bytes())?;
            index = next;
        }
        // One chain at a time: it always starts at descriptor 0.
        let slot = u64::from(self.sent % SIZE).wrapping_mul(2).wrapping_add(4);
        let available = self.at.wrapping_add(AVAILABLE);
        memory.write(available.wrapping_add(slot), &[0, 0])?;
        self.sent = self.sent.wrapping_add(1);
        memory.write(available.wrapping_add(2), &self.sent.to_le_bytes())
    }

    /// The bytes that the device wrote into a chain that has come back since the last call.
    pub(super) fn take_returned(
        &mut self,
        memory: &impl GuestMemory,
        queue: &Queue,
    ) -> Result<Option<u32>, BadAddress> {
        // What the queue itself counts, not what is in memory, where the guest could write as well.
        if queue.given_back() == self.returned {
            return Ok(None);
        }
        let element = u64::from(self.returned % SIZE).wrapping_mul(8);
        let length = self
            .at
            .wrapping_add(USED)
            .wrapping_add(element)
            .wrapping_add(8);
        self.returned = self.returned.wrapping_add(1);
        memory.read_u32(length).map(Some)
    }
}
