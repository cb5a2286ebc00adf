//! The guest's devices.
//!
//! A device is a model, of which there is one kind for all guests. How a guest reaches it depends on its
//! generation: the [`bus`] is [`pci`], the [`lguest_bus`] or the [`dma_bus`].

pub mod backend;
pub mod bus;
#[cfg(test)]
mod bus_tests;
pub mod dma_bus;
#[cfg(test)]
pub(crate) mod fake_memory;
pub mod lguest_bus;
pub mod pci;
pub mod ram_disk;
pub mod virtio;

use crate::address::Gpa;
use crate::memory::GuestMemory;
use dma_bus::{Buffer, Sections};
use hv_abi::lguest::DeviceBus;

/// Devices that a guest can have. Each has one interrupt or more, and a guest has 32.
pub const MAX_DEVICES: usize = 8;

/// Width of an access to a port or to device memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Dword,
}

impl Width {
    /// Bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Width::Byte => 1,
            Width::Word => 2,
            Width::Dword => 4,
        }
    }

    /// All ones of this width: what an absent device reads as.
    pub const fn ones(self) -> u32 {
        match self {
            Width::Byte => 0xff,
            Width::Word => 0xffff,
            Width::Dword => 0xffff_ffff,
        }
    }
}

/// Whether devices have something left to move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Nothing, until the guest or a far end does something.
    Done,
    /// There is more than fits into one poll, or a far end is busy.
    More,
}

impl Work {
    /// More, if either is.
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Work::Done, Work::Done) => Work::Done,
            _ => Work::More,
        }
    }
}

/// An access to device memory where no device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoDevice;

/// Everything behind a guest's ports and its device memory.
pub trait Devices {
    /// `in`: the value, in the low `width` bits.
    fn port_read(&mut self, memory: &impl GuestMemory, port: u16, width: Width) -> u32;
    /// `out`. Says whether a device may have work now.
    fn port_write(
        &mut self,
        memory: &impl GuestMemory,
        port: u16,
        width: Width,
        value: u32,
    ) -> Work;
    /// Reads `width` bytes of device memory.
    ///
    /// # Errors
    /// When no device has all of them; nothing happened.
    fn memory_read(&mut self, at: Gpa, width: Width) -> Result<u32, NoDevice>;
    /// Writes `width` bytes of device memory. Says whether a device may have work now.
    ///
    /// # Errors
    /// When no device has all of them; nothing happened.
    fn memory_write(
        &mut self,
        memory: &impl GuestMemory,
        at: Gpa,
        width: Width,
        value: u32,
    ) -> Result<Work, NoDevice>;
    /// Moves what is waiting between the far ends and the guest's queues, within a fixed amount of
    /// work. Due after the guest has used a port, after an interrupt of the host's, and for as long as
    /// there is more.
    fn poll(&mut self, memory: &impl GuestMemory) -> Work;
    /// The interrupts that devices raised since the last call, one bit each; bit 0 is the timer's
    /// and never set.
    fn take_interrupts(&mut self) -> u32;
    /// The guest's generation looks for its devices there: those of another bus must not answer.
    /// Called before the guest's first access, and again if its generation turns out to be another;
    /// `memory` has been told before.
    fn choose_bus(&mut self, _memory: &impl GuestMemory, _bus: DeviceBus) {}
    /// NOTIFY with the address `at`. Says whether a device may have work now, or `None` when the address is no device's.
    fn notify(&mut self, _memory: &impl GuestMemory, _at: Gpa) -> Option<Work> {
        None
    }
    /// SEND_DMA: the guest sends `sections` to the device with this key, and has bound `reply` to it for an answer. Returns the
    /// bytes that were taken.
    fn dma_send(
        &mut self,
        _memory: &impl GuestMemory,
        _key: u32,
        _sections: &Sections,
        _reply: Option<Buffer>,
    ) -> u32 {
        0
    }
    /// Whether a device would fill a buffer that is bound to `key`.
    fn dma_wants(&self, _key: u32) -> bool {
        false
    }
    /// A buffer that the guest has bound to `key`, for the device that wants one.
    fn dma_receive(&mut self, _memory: &impl GuestMemory, _key: u32, _buffer: Buffer) {}
    /// Output for the console by a hypercall, before or beside any driver. Lost where there is none.
    fn console_write(&mut self, _bytes: &[u8]) {}
    /// Input that waits at the console of a guest without a driver for it.
    fn console_read(&mut self) -> Option<u8> {
        None
    }
}
