//! The bus of G1 guests: a page of descriptors above RAM, and devices that move bytes by DMA (lguest-abi 9.4).
//!
//! A guest sends to a key, and binds buffers to keys for what comes to it; the personality keeps the bindings and
//! hands buffers in here. The models know virtqueues only, so a device here writes the virtqueue of its own: in a frame behind the
//! descriptors, like everything that it shares with the guest. The guest can spoil that queue, as it can any other.

mod channel;
mod device;

use super::virtio::{Violation, VirtioDevice};
use super::{MAX_DEVICES, Work};
use crate::address::{Gpa, PAGE_SIZE};
use crate::memory::GuestMemory;
use device::Device;
use heapless::Vec;
use hv_abi::lguest::{dma, dma_page};

/// Frames above RAM that a bus with all the devices that there can be takes.
pub const PAGES: u64 = 1 + MAX_DEVICES as u64 * device::FRAMES;

/// A piece of a buffer; it lies in one page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// First byte, not checked against RAM.
    pub at: Gpa,
    /// Bytes, not 0.
    pub length: u32,
}

/// The pieces of a `lguest_dma`.
pub type Sections = Vec<Section, { dma::SECTIONS as usize }>;

/// A buffer that a guest has bound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// Where to write the number of bytes that it got.
    pub used_len: Gpa,
    /// The interrupt that says so.
    pub irq: u32,
    /// Its pieces.
    pub sections: Sections,
}

/// The bus, with its devices in the order in which they were given.
#[derive(Debug)]
pub struct DmaBus<M> {
    devices: Vec<Device<M>, MAX_DEVICES>,
}

impl<M: VirtioDevice> DmaBus<M> {
    /// Puts the models on a bus, in their reset state, and describes them to the guest. The guest does not see those for which
    /// the ABI has no type, or its memory no room.
    pub fn new(memory: &impl GuestMemory, models: Vec<M, MAX_DEVICES>) -> Self {
        let page = memory.ram_frames();
        // What an absent device looks like wherever nothing else is written.
        let _ = memory.write(page.start(), &[0; PAGE_SIZE as usize]);
        let mut devices = Vec::new();
        let mut frame = page.wrapping_add(1);
        for (index, model) in models.into_iter().enumerate() {
            let irq = (index as u32).wrapping_add(1);
            let device = Device::new(memory, model, irq, frame);
            let offset = index.wrapping_mul(dma_page::DESCRIPTOR_SIZE) as u64;
            let _ = memory.write(page.start().wrapping_add(offset), &device.descriptor());
            frame = frame.wrapping_add(device::FRAMES);
            // There are no more devices than there is room for.
            let _ = devices.push(device);
        }
        Self { devices }
    }

    /// The devices, in the order in which they were given.
    pub fn into_models(self) -> Vec<M, MAX_DEVICES> {
        self.devices.into_iter().map(Device::into_model).collect()
    }

    /// SEND_DMA: the guest sends `sections` to `key`, and waits for an answer in `reply` if it has bound a buffer there. Returns the bytes that
    /// were taken.
    pub fn send(
        &mut self,
        memory: &impl GuestMemory,
        key: u32,
        sections: &Sections,
        reply: Option<Buffer>,
    ) -> u32 {
        let mut devices = self.devices.iter_mut();
        match devices.find(|device| device.takes(key)) {
            Some(device) => device.send(memory, sections, reply),
            None => 0,
        }
    }

    /// Whether a device would fill a buffer that is bound to `key`.
    pub fn wants(&self, key: u32) -> bool {
        self.devices.iter().any(|device| device.wants(key))
    }

    /// A buffer for the device that wants one with `key`.
    pub fn receive(&mut self, memory: &impl GuestMemory, key: u32, buffer: Buffer) {
        let mut devices = self.devices.iter_mut();
        if let Some(device) = devices.find(|device| device.wants(key)) {
            device.receive(memory, buffer);
        }
    }

    /// Lets every device move what is waiting.
    pub fn poll(&mut self, memory: &impl GuestMemory) -> Work {
        let devices = self.devices.iter_mut();
        devices.fold(Work::Done, |work, device| work.and(device.poll(memory)))
    }

    /// The interrupts that were raised since the last call.
    pub fn take_interrupts(&mut self) -> u32 {
        let devices = self.devices.iter_mut();
        devices.fold(0, |lines, device| lines | device.take_interrupts())
    }

    /// A rule of virtio that was broken since the last call, and the number of the device, from 1 on.
    pub fn take_violation(&mut self) -> Option<(u8, Violation)> {
        (1..)
            .zip(&mut self.devices)
            .find_map(|(number, device)| Some((number, device.take_violation()?)))
    }

    /// The console's model.
    pub fn console(&mut self) -> Option<&mut M> {
        let mut models = self.devices.iter_mut().map(Device::model_mut);
        models.find(|model| model.identity().is_console())
    }
}
