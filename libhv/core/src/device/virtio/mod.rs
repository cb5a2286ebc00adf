//! Virtio 1.0 devices (the OASIS specification "Virtual I/O Device (VIRTIO) Version 1.0").
//!
//! A device is a *model*, which knows what its requests mean, inside a [`transport`], which knows
//! registers, features and status; guests of before virtio 1.0 reach it by the
//! [`lguest_bus`](super::lguest_bus) instead. A model meets the guest only through its [`queue`]s. A driver
//! that breaks the rules stops its own device (status DEVICE_NEEDS_RESET) and nothing else.

pub mod block;
#[cfg(test)]
mod block_tests;
pub mod chain;
pub mod console;
#[cfg(test)]
mod console_tests;
pub mod net;
#[cfg(test)]
mod net_tests;
pub mod queue;
#[cfg(test)]
mod queue_tests;
pub mod registers;
pub mod rng;
#[cfg(test)]
mod rng_tests;
#[cfg(test)]
pub(crate) mod scripted_driver;
pub mod transport;
#[cfg(test)]
mod transport_tests;
mod violation;

pub use violation::Violation;

use crate::device::Work;
use crate::device::backend::Full;
use crate::memory::GuestMemory;
use queue::Queue;

/// Queues that a device may have.
pub const MAX_QUEUES: usize = 2;

/// What a device is; fixed for its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Virtio device number (section 5): 1 network, 2 block, 3 console, 4 entropy.
    pub device: u16,
    /// PCI class in the high byte, subclass in the low one.
    pub class: u16,
    /// Features offered besides VIRTIO_F_VERSION_1, which the transport adds.
    pub features: u64,
    /// Queues, [`MAX_QUEUES`] at most.
    pub queues: u16,
    /// Bytes of device configuration.
    pub config_size: u32,
    /// What a driver of before virtio 1.0 is offered.
    pub legacy: Legacy,
}

impl Identity {
    /// Whether it is a console.
    pub fn is_console(&self) -> bool {
        self.device == console::DEVICE
    }
}

/// The part of a device that was there before virtio 1.0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Legacy {
    /// Those of its features.
    pub features: u32,
    /// Its first bytes of configuration.
    pub config_size: u8,
}

/// What a device does, apart from how the guest reaches it.
///
/// No method has a default: an enum of devices that forgot to pass one on would compile, and its devices would
/// never hear of what their drivers accepted.
pub trait VirtioDevice {
    /// What it is.
    fn identity(&self) -> Identity;

    /// The byte at `offset` of the device configuration; asked for `offset < config_size` only.
    fn read_config(&self, offset: u32) -> u8;

    /// A write into the device configuration, whatever the device's status. Offsets that the guest
    /// may not write are ignored.
    fn write_config(&mut self, offset: u32, value: u32);

    /// Forgets every request in progress: the guest has reset the device, or broken it.
    fn reset(&mut self);

    /// The driver is about to use the queues, having accepted `features`.
    fn driver_ready(&mut self, features: u64);

    /// The guest has put buffers into `queue`. Called again for every queue when the driver
    /// is ready.
    fn notify(&mut self, queue: u16);

    /// Moves what can be moved, within a fixed amount of work. Queues that the driver has not
    /// made ready give out nothing.
    fn poll(&mut self, memory: &impl GuestMemory, queues: &mut [Queue]) -> Result<Work, Violation>;

    /// Hands on what the guest printed by a register or a hypercall. Neither can push back: a guest that ran on
    /// meanwhile would lose what it prints next. Only a console has any.
    ///
    /// # Errors
    /// While the far end does not take all of it. It causes an interrupt of the host's when it may take more.
    fn flush_console(&mut self) -> Result<(), Full> {
        Ok(())
    }

    /// A byte that was typed, for a guest that reaches its console by hypercalls. Only a console has any.
    fn console_read(&mut self) -> Option<u8>;
}
