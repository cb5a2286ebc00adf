//! The bus of G2 to G4 guests: a page of descriptors above RAM, and behind it the rings of virtqueues (lguest-abi 9.5).
//!
//! The page and the rings are memory that the guest may write as it likes. Where things are in them is decided
//! when the bus is set up and kept here: nothing is read back but a driver's status and the features that it accepts.
//! A guest makes itself heard by NOTIFY, with the address of a queue or of a descriptor.

mod device;
mod record;

use super::virtio::queue::{self, Layout};
use super::virtio::{MAX_QUEUES, Violation, VirtioDevice};
use super::{MAX_DEVICES, Work};
use crate::address::{Gfn, Gpa, PAGE_SIZE};
use crate::memory::GuestMemory;
use device::{Device, Kind};
use heapless::Vec;
use hv_abi::lguest::Records;
use hv_abi::lguest::virtio_page::RING_ALIGNMENT;

/// Frames above RAM that a bus with all the devices that there can be takes.
pub const PAGES: u64 = 1 + (MAX_DEVICES * MAX_QUEUES) as u64 * Ring::new(queue::MAX_SIZE).frames();

/// Where the parts of a ring lie, from its first byte on (virtio 0.9.5, 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ring {
    available: u32,
    used: u32,
    end: u32,
}

impl Ring {
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "sizes have 16 bits; and it runs at compile time too"
    )]
    const fn new(size: u16) -> Self {
        let size = size as u32;
        let available = 16 * size;
        // Flags, index and the event index, which is there whether it is used or not.
        let used = (available + 2 * (3 + size)).next_multiple_of(RING_ALIGNMENT);
        Self {
            available,
            used,
            end: used + 2 * 3 + 8 * size,
        }
    }

    const fn frames(self) -> u64 {
        self.end.div_ceil(PAGE_SIZE) as u64
    }

    fn layout(self, at: Gpa) -> Layout {
        Layout {
            descriptors: at.raw(),
            available: at.wrapping_add(self.available.into()).raw(),
            used: at.wrapping_add(self.used.into()).raw(),
        }
    }
}

/// What of the guest's memory and interrupts the next device gets.
#[derive(Debug)]
struct Free {
    record: Gpa,
    frame: Gfn,
    irq: u32,
}

/// The bus, with its devices in the order in which they were given.
#[derive(Debug)]
pub struct LguestBus<M> {
    devices: Vec<Device<M>, MAX_DEVICES>,
}

impl<M: VirtioDevice> LguestBus<M> {
    /// Puts the models on a bus, in their reset state, and describes them to the guest. In memory with less than [`PAGES`]
    /// above RAM, there may be devices without room; the guest does not see these.
    pub fn new(memory: &impl GuestMemory, models: Vec<M, MAX_DEVICES>, records: Records) -> Self {
        let page = memory.ram_frames();
        // What an end of the records looks like wherever nothing else is written.
        let _ = memory.write(page.start(), &[0; PAGE_SIZE as usize]);
        let mut free = Free {
            record: page.start(),
            frame: page.wrapping_add(1),
            irq: 1,
        };
        let mut devices: Vec<_, MAX_DEVICES> = models.into_iter().map(Device::new).collect();
        // Guests are used to a console behind all others.
        for kind in [Kind::Other, Kind::Console] {
            for device in devices.iter_mut().filter(|device| device.kind() == kind) {
                device.place(memory, records, &mut free);
            }
        }
        Self { devices }
    }

    /// The devices, in the order in which they were given.
    pub fn into_models(self) -> Vec<M, MAX_DEVICES> {
        self.devices.into_iter().map(Device::into_model).collect()
    }

    /// NOTIFY with the address `at`: of a queue or of a record, or else `None`.
    pub fn notify(&mut self, memory: &impl GuestMemory, at: Gpa) -> Option<Work> {
        let mut devices = self.devices.iter_mut();
        devices.find_map(|device| device.notify(memory, at))
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

    /// A rule of virtio that a driver broke since the last call, and the number of its device, from 1 on.
    pub fn take_violation(&mut self) -> Option<(u8, Violation)> {
        (1..)
            .zip(&mut self.devices)
            .find_map(|(number, device)| Some((number, device.take_violation()?)))
    }

    /// The console's model.
    pub fn console(&mut self) -> Option<&mut M> {
        let mut devices = self.devices.iter_mut();
        (devices.find(|device| device.kind() == Kind::Console)).map(Device::model_mut)
    }
}
