//! Split virtqueues (virtio 1.0, section 2.4), as the device sees them.
//!
//! Everything in a queue is the guest's and may change at any moment: indices are read once, into
//! copies that are checked. The three parts themselves are checked when the queue is enabled and
//! cannot move afterwards.

use super::Violation;
use super::chain::{Chain, DESCRIPTOR_SIZE, Indirect, Table};
use crate::address::Gpa;
use crate::memory::{BadAddress, GuestMemory};

/// Largest and initial size of every queue, in descriptors.
pub const MAX_SIZE: u16 = 256;

/// Of the available ring's flags (2.4.6): the driver wants no interrupts.
const NO_INTERRUPT: u16 = 1;
/// Index and first element follow the flags in both rings (2.4.6, 2.4.8).
const RING_INDEX: u64 = 2;
const RING_ELEMENTS: u64 = 4;
const AVAILABLE_ELEMENT: u64 = 2;
const USED_ELEMENT: u64 = 8;

/// How far a driver has come with a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Its addresses may be anything.
    SetUp,
    /// Its three parts lie inside RAM.
    Enabled,
    /// Likewise, and the driver is ready.
    Running,
}

/// Where the three parts of a queue lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// Descriptor table.
    pub descriptors: u64,
    /// Available ring.
    pub available: u64,
    /// Used ring.
    pub used: u64,
}

/// One queue of a device.
#[derive(Clone, Debug)]
pub struct Queue {
    size: u16,
    layout: Layout,
    state: State,
    indirect: Indirect,
    next_available: u16,
    next_used: u16,
    signalled: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            size: MAX_SIZE,
            layout: Layout::default(),
            state: State::SetUp,
            indirect: Indirect::Refused,
            next_available: 0,
            next_used: 0,
            signalled: false,
        }
    }
}

impl Queue {
    /// Descriptors.
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Where its parts are.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether the driver has enabled it.
    pub fn is_enabled(&self) -> bool {
        self.state != State::SetUp
    }

    /// Sets the number of descriptors, a power of two up to [`MAX_SIZE`].
    pub fn set_size(&mut self, size: u16) -> Result<(), Violation> {
        if self.is_enabled() {
            return Err(Violation::QueueSetUpAtWrongTime);
        }
        if !size.is_power_of_two() || size > MAX_SIZE {
            return Err(Violation::BadQueueSize(size));
        }
        self.size = size;
        Ok(())
    }

    /// Moves the parts. They are looked at when the queue is enabled.
    pub fn set_layout(&mut self, layout: Layout) -> Result<(), Violation> {
        if self.is_enabled() {
            return Err(Violation::QueueSetUpAtWrongTime);
        }
        self.layout = layout;
        Ok(())
    }

    /// Checks alignment (2.4) and that all parts are RAM; from then on they stay where they are.
    pub fn enable(
        &mut self,
        memory: &impl GuestMemory,
        indirect: Indirect,
    ) -> Result<(), Violation> {
        let size = u64::from(self.size);
        let ring = |element: u64| size.saturating_mul(element).saturating_add(RING_ELEMENTS);
        let parts = [
            (
                self.layout.descriptors,
                16,
                size.saturating_mul(DESCRIPTOR_SIZE.into()),
            ),
            (self.layout.available, 2, ring(AVAILABLE_ELEMENT)),
            (self.layout.used, 4, ring(USED_ELEMENT)),
        ];
        for (at, alignment, length) in parts {
            if !at.is_multiple_of(alignment) {
                return Err(Violation::QueueMisaligned);
            }
            if !memory.contains(Gpa::new(at), length) {
                return Err(Violation::QueueOutsideRam);
            }
        }
        self.indirect = indirect;
        self.state = State::Enabled;
        Ok(())
    }

    /// The driver is ready: an enabled queue gives out buffers from now on.
    pub fn run(&mut self) {
        if self.is_enabled() {
            self.state = State::Running;
        }
    }

    /// Takes the next chain that the driver made available, if there is one. Never inlined: loops that mostly end before they get
    /// here would compute its addresses first.
    #[inline(never)]
    pub fn pop(&mut self, memory: &impl GuestMemory) -> Result<Option<Chain>, Violation> {
        if self.state != State::Running {
            return Ok(None);
        }
        let available = Gpa::new(self.layout.available);
        let index = read_u16(memory, available.wrapping_add(RING_INDEX))?;
        let waiting = index.wrapping_sub(self.next_available);
        if waiting > self.size {
            return Err(Violation::IndexJump {
                from: self.next_available,
                to: index,
            });
        }
        if waiting == 0 {
            return Ok(None);
        }
        let head = read_u16(
            memory,
            self.element(available, self.next_available, AVAILABLE_ELEMENT),
        )?;
        if head >= self.size {
            return Err(Violation::BadDescriptorIndex(head));
        }
        self.next_available = self.next_available.wrapping_add(1);
        let table = Table {
            at: Gpa::new(self.layout.descriptors),
            entries: self.size.into(),
        };
        Ok(Some(Chain::new(head, table, self.size, self.indirect)))
    }

    /// Gives `chain` back with `written` bytes in its writable buffers. Never inlined, as [`Queue::pop`].
    #[inline(never)]
    pub fn push(
        &mut self,
        memory: &impl GuestMemory,
        chain: Chain,
        written: u32,
    ) -> Result<(), Violation> {
        let used = Gpa::new(self.layout.used);
        let element = self.element(used, self.next_used, USED_ELEMENT);
        memory.write_u32(element, chain.head().into())?;
        memory.write_u32(element.wrapping_add(4), written)?;
        // The index last: the guest may look at any moment.
        self.next_used = self.next_used.wrapping_add(1);
        memory.write(used.wrapping_add(RING_INDEX), &self.next_used.to_le_bytes())?;
        let flags = read_u16(memory, Gpa::new(self.layout.available))?;
        if flags & NO_INTERRUPT == 0 {
            self.signalled = true;
        }
        Ok(())
    }

    /// Chains given back since the queue was set up, modulo 2^16.
    pub fn given_back(&self) -> u16 {
        self.next_used
    }

    /// Whether a chain was given back since the last call to a driver that wants to know.
    pub fn take_signal(&mut self) -> bool {
        core::mem::take(&mut self.signalled)
    }

    /// Address of a ring's element; the size is a power of two, so the mask is the modulus.
    fn element(&self, ring: Gpa, index: u16, bytes: u64) -> Gpa {
        let slot = u64::from(index & self.size.wrapping_sub(1));
        ring.wrapping_add(RING_ELEMENTS)
            .wrapping_add(slot.wrapping_mul(bytes))
    }
}

fn read_u16(memory: &impl GuestMemory, at: Gpa) -> Result<u16, BadAddress> {
    let mut bytes = [0; 2];
    memory.read(at, &mut bytes)?;
    Ok(u16::from_le_bytes(bytes))
}
