//! Descriptor chains (virtio 1.0, section 2.4.5): the buffers of one request.
//!
//! Each descriptor is read once, into a copy that is checked. A chain has at most as many buffers as
//! its queue has descriptors, so a loop ends as a chain that is too long.

use super::Violation;
use crate::address::Gpa;
use crate::memory::GuestMemory;

pub(super) const DESCRIPTOR_SIZE: u32 = 16;
/// Flags of a descriptor.
mod flag {
    pub const NEXT: u16 = 1;
    pub const WRITE: u16 = 2;
    pub const INDIRECT: u16 = 4;
}

/// Whether the driver accepted VIRTIO_F_INDIRECT_DESC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Indirect {
    /// It may use indirect tables.
    Allowed,
    /// It may not.
    Refused,
}

/// Which way a buffer's bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The device reads them.
    Readable,
    /// The device writes them.
    Writable,
}

/// A piece of guest RAM; it has been checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// First byte.
    pub at: Gpa,
    /// Bytes; may be 0.
    pub length: u32,
    /// Which way they go.
    pub direction: Direction,
}

impl Buffer {
    /// Drops `bytes` from its start.
    pub fn advance(&mut self, bytes: u32) {
        self.at = self.at.wrapping_add(bytes.into());
        self.length = self.length.saturating_sub(bytes);
    }
}

/// A table of descriptors; it lies inside RAM.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) at: Gpa,
    pub(super) entries: u32,
}

/// Whose table a chain has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Inside {
    Queue,
    IndirectTable,
}

/// A copy of one descriptor.
struct Descriptor {
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

impl Table {
    fn descriptor(&self, memory: &impl GuestMemory, index: u16) -> Result<Descriptor, Violation> {
        if u32::from(index) >= self.entries {
            return Err(Violation::BadDescriptorIndex(index));
        }
        let offset = u64::from(index).wrapping_mul(DESCRIPTOR_SIZE.into());
        let mut bytes = [0; DESCRIPTOR_SIZE as usize];
        memory.read(self.at.wrapping_add(offset), &mut bytes)?;
        // Address, length, flags, next: 64, 32, 16 and 16 bits.
        let raw = u128::from_le_bytes(bytes);
        Ok(Descriptor {
            address: raw as u64,
            length: (raw >> 64) as u32,
            flags: (raw >> 96) as u16,
            next: (raw >> 112) as u16,
        })
    }
}

/// A request: a walk over a chain of descriptors, which ends by itself.
#[derive(Debug)]
pub struct Chain {
    head: u16,
    table: Table,
    next: Option<u16>,
    indirect: Indirect,
    inside: Inside,
    /// Buffers that may still come.
    left: u16,
    /// Length of all buffers so far.
    bytes: u32,
    /// Readable buffers come first; this is the kind of the last one.
    direction: Direction,
}

impl Chain {
    /// The chain that starts at descriptor `head` of `table`, with `longest` buffers at most.
    pub(super) fn new(head: u16, table: Table, longest: u16, indirect: Indirect) -> Self {
        Self {
            head,
            table,
            next: Some(head),
            indirect,
            inside: Inside::Queue,
            left: longest,
            bytes: 0,
            direction: Direction::Readable,
        }
    }

    /// The descriptor by which the driver knows it.
    pub(super) fn head(&self) -> u16 {
        self.head
    }

    /// The next buffer, or `None` at the end of the chain.
    pub fn next_buffer(&mut self, memory: &impl GuestMemory) -> Result<Option<Buffer>, Violation> {
        let Some(index) = self.next else {
            return Ok(None);
        };
        let mut descriptor = self.table.descriptor(memory, index)?;
        if descriptor.flags & flag::INDIRECT != 0 {
            self.enter_indirect_table(memory, &descriptor)?;
            descriptor = self.table.descriptor(memory, 0)?;
            if descriptor.flags & flag::INDIRECT != 0 {
                return Err(Violation::IndirectNested);
            }
        }
        self.left = self.left.checked_sub(1).ok_or(Violation::ChainTooLong)?;
        self.next = (descriptor.flags & flag::NEXT != 0).then_some(descriptor.next);
        self.buffer(memory, &descriptor).map(Some)
    }

    fn enter_indirect_table(
        &mut self,
        memory: &impl GuestMemory,
        descriptor: &Descriptor,
    ) -> Result<(), Violation> {
        let length = descriptor.length;
        if self.inside == Inside::IndirectTable {
            return Err(Violation::IndirectNested);
        }
        if self.indirect == Indirect::Refused {
            return Err(Violation::IndirectNotNegotiated);
        }
        if descriptor.flags & flag::NEXT != 0 {
            return Err(Violation::IndirectWithNext);
        }
        if length == 0 || !length.is_multiple_of(DESCRIPTOR_SIZE) {
            return Err(Violation::BadIndirectLength(length));
        }
        let at = Gpa::new(descriptor.address);
        if !memory.contains(at, length.into()) {
            return Err(Violation::BufferOutsideRam);
        }
        self.inside = Inside::IndirectTable;
        self.table = Table {
            at,
            entries: length.wrapping_div(DESCRIPTOR_SIZE),
        };
        Ok(())
    }

    fn buffer(
        &mut self,
        memory: &impl GuestMemory,
        descriptor: &Descriptor,
    ) -> Result<Buffer, Violation> {
        let at = Gpa::new(descriptor.address);
        let length = descriptor.length;
        let direction = if descriptor.flags & flag::WRITE != 0 {
            Direction::Writable
        } else {
            Direction::Readable
        };
        if direction == Direction::Readable && self.direction == Direction::Writable {
            return Err(Violation::ReadableAfterWritable);
        }
        if !memory.contains(at, length.into()) {
            return Err(Violation::BufferOutsideRam);
        }
        self.bytes = self
            .bytes
            .checked_add(length)
            .ok_or(Violation::BuffersTooLarge)?;
        self.direction = direction;
        Ok(Buffer {
            at,
            length,
            direction,
        })
    }
}
