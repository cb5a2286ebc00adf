//! What a driver does to its virtqueues, and what devices may do to it.

use crate::far_ends::Shared;
use crate::input::Input;
use crate::memory::Memory;

/// Accesses to guest memory that one access of the guest's, or one poll, may make.
const ACCESSES: usize = 1 << 16;

/// Where a queue is.
#[derive(Clone, Copy)]
pub struct Ring {
    pub size: u16,
    pub descriptors: u64,
    pub available: u64,
}

/// A driver's memory, apart from its queues.
pub struct Buffers {
    pub start: u32,
    pub bytes: u32,
}

impl Buffers {
    /// An address, mostly of a buffer.
    pub fn address(&self, input: &mut Input) -> u64 {
        match input.byte() {
            0..240 => u64::from(self.start + u32::from(input.half()) % self.bytes),
            240..248 => u64::from(input.word()),
            _ => input.long(),
        }
    }

    /// A length, mostly of something that there is.
    pub fn length(input: &mut Input) -> u32 {
        match input.byte() {
            0..64 => input.choose(&[1, 10, 12, 14, 16, 512, 4096, 0]),
            64..240 => u32::from(input.half() & 0x7ff),
            _ => input.word(),
        }
    }
}

impl Ring {
    fn descriptor(&self, memory: &Memory, index: u16, bytes: [u8; 16]) {
        let index = u64::from(index % self.size);
        memory.put(self.descriptors + 16 * index, &bytes);
    }

    fn make_available(&self, memory: &Memory, head: u16) {
        let index = memory.half_at(self.available + 2);
        let slot = self.available + 4 + 2 * u64::from(index % self.size);
        memory.put(slot, &head.to_le_bytes());
        memory.put(self.available + 2, &index.wrapping_add(1).to_le_bytes());
    }

    /// A chain that a driver might make: pieces of any kind, linked in a row.
    pub fn post(&self, memory: &Memory, buffers: &Buffers, input: &mut Input) {
        let head = u16::from(input.byte()) % self.size;
        let pieces = u16::from(input.byte() & 7);
        for piece in 0..=pieces {
            let by = input.byte();
            let next = if piece == pieces { 0 } else { NEXT };
            // Read-only first, as all devices want it, unless the input wants otherwise.
            let write = if by & 0x80 != 0 { WRITE } else { 0 };
            let indirect = if by & 0x70 == 0x70 { INDIRECT } else { 0 };
            let flags = next | write | indirect;
            let link = head.wrapping_add(piece).wrapping_add(1) % self.size;
            let (address, length) = (buffers.address(input), Buffers::length(input));
            let bytes = descriptor(address, length, flags, link);
            self.descriptor(memory, head.wrapping_add(piece), bytes);
        }
        self.make_available(memory, head);
    }

    /// A change to the queue that no driver would make.
    pub fn spoil(&self, memory: &Memory, buffers: &Buffers, input: &mut Input) {
        match input.byte() {
            0..64 => {
                let (address, length) = (buffers.address(input), Buffers::length(input));
                let (index, flags, link) = (input.byte(), input.half() & 7, input.half());
                let bytes = descriptor(address, length, flags, link);
                self.descriptor(memory, index.into(), bytes);
            }
            64..128 => self.make_available(memory, input.half()),
            128..192 => memory.put(self.available + 2, &input.half().to_le_bytes()),
            // Flags: no interrupts.
            _ => memory.put(self.available, &[input.byte() & 1]),
        }
    }
}

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

fn descriptor(address: u64, length: u32, flags: u16, next: u16) -> [u8; 16] {
    let bits = u128::from(address)
        | u128::from(length) << 64
        | u128::from(flags) << 96
        | u128::from(next) << 112;
    bits.to_le_bytes()
}

/// What may lie in a buffer: the header of a request, a table of descriptors, or anything.
pub fn fill(memory: &Memory, buffers: &Buffers, input: &mut Input) {
    let at = buffers.address(input);
    match input.byte() {
        0..128 => {
            let kind = u64::from(input.choose(&[0_u32, 1, 4, 8, 2, 255]));
            let sector = match input.byte() {
                sector @ 0..224 => u64::from(sector % 20),
                _ => input.long(),
            };
            memory.put(at, &[kind.to_le_bytes(), sector.to_le_bytes()].concat());
        }
        128..224 => {
            let flags = input.half() & 7;
            let (address, length) = (buffers.address(input), Buffers::length(input));
            memory.put(at, &descriptor(address, length, flags, input.half() & 0xf));
        }
        _ => memory.put(at, input.bytes(16)),
    }
}

/// Something happens at the other side of the devices.
pub fn move_far_ends(far: &Shared, input: &mut Input) {
    let mut far = far.0.borrow_mut();
    match input.byte() {
        0..64 => far.room = input.half().into(),
        64..112 => far.typed = input.half().into(),
        112..160 => {
            far.completions = input.byte().into();
            far.broken = input.byte() & 1 != 0;
        }
        160..224 => {
            let length = usize::from(input.half() % 1519);
            if far.frames.len() < 64 {
                far.frames.push_back(vec![b'f'; length]);
            }
        }
        _ => far.random = input.byte().into(),
    }
}

/// Every step of a guest costs a bounded number of accesses, and no device raises the timer's interrupt.
pub fn check_step(memory: &Memory, interrupts: u32) {
    let accesses = memory.take_accesses();
    assert!(accesses < ACCESSES, "{accesses} accesses");
    assert_eq!(interrupts & 1, 0);
}
