//! All of a guest's devices, on the bus on which its generation looks for them.

use super::dma_bus::{Buffer, DmaBus, Sections};
use super::lguest_bus::{self, LguestBus};
use super::pci::PciBus;
use super::virtio::console::EMERGENCY;
use super::virtio::{Violation, VirtioDevice};
use super::{Devices, NoDevice, Width, Work, dma_bus};
use crate::address::Gpa;
use crate::memory::GuestMemory;
use heapless::Vec;
use hv_abi::lguest::DeviceBus;

/// Frames above RAM that a guest shares with its devices, whatever its bus.
pub const SHARED_FRAMES: u64 = if lguest_bus::PAGES > dma_bus::PAGES {
    lguest_bus::PAGES
} else {
    dma_bus::PAGES
};

/// The devices. `M` is their kind; an enumeration where there are several.
#[derive(Debug)]
pub struct Bus<M>(Kind<M>);

#[derive(Debug)]
enum Kind<M> {
    Pci(PciBus<M>),
    Lguest(LguestBus<M>),
    Dma(DmaBus<M>),
    /// They are on their way from one bus to another.
    None,
}

impl<M: VirtioDevice> Bus<M> {
    /// The devices of `pci`, which need not stay there.
    pub fn new(pci: PciBus<M>) -> Self {
        Self(Kind::Pci(pci))
    }

    /// A rule of virtio that a driver broke since the last call, and the number of its device, from 1 on.
    pub fn take_violation(&mut self) -> Option<(u8, Violation)> {
        match &mut self.0 {
            Kind::Pci(bus) => bus.take_violation(),
            Kind::Lguest(bus) => bus.take_violation(),
            Kind::Dma(bus) => bus.take_violation(),
            Kind::None => None,
        }
    }

    fn console(&mut self) -> Option<&mut M> {
        match &mut self.0 {
            Kind::Pci(bus) => bus.console(),
            Kind::Lguest(bus) => bus.console(),
            Kind::Dma(bus) => bus.console(),
            Kind::None => None,
        }
    }
}

impl<M: VirtioDevice> Devices for Bus<M> {
    fn port_read(&mut self, memory: &impl GuestMemory, port: u16, width: Width) -> u32 {
        match &mut self.0 {
            Kind::Pci(bus) => bus.port_read(memory, port, width),
            _ => width.ones(),
        }
    }

    fn port_write(
        &mut self,
        memory: &impl GuestMemory,
        port: u16,
        width: Width,
        value: u32,
    ) -> Work {
        match &mut self.0 {
            Kind::Pci(bus) => bus.port_write(memory, port, width, value),
            _ => Work::Done,
        }
    }

    fn memory_read(&mut self, at: Gpa, width: Width) -> Result<u32, NoDevice> {
        match &mut self.0 {
            Kind::Pci(bus) => bus.memory_read(at, width),
            _ => Err(NoDevice),
        }
    }

    fn memory_write(
        &mut self,
        memory: &impl GuestMemory,
        at: Gpa,
        width: Width,
        value: u32,
    ) -> Result<Work, NoDevice> {
        match &mut self.0 {
            Kind::Pci(bus) => bus.memory_write(memory, at, width, value),
            _ => Err(NoDevice),
        }
    }

    fn poll(&mut self, memory: &impl GuestMemory) -> Work {
        match &mut self.0 {
            Kind::Pci(bus) => bus.poll(memory),
            Kind::Lguest(bus) => bus.poll(memory),
            Kind::Dma(bus) => bus.poll(memory),
            Kind::None => Work::Done,
        }
    }

    fn take_interrupts(&mut self) -> u32 {
        match &mut self.0 {
            Kind::Pci(bus) => bus.take_interrupts(),
            Kind::Lguest(bus) => bus.take_interrupts(),
            Kind::Dma(bus) => bus.take_interrupts(),
            Kind::None => 0,
        }
    }

    fn notify(&mut self, memory: &impl GuestMemory, at: Gpa) -> Option<Work> {
        match &mut self.0 {
            Kind::Lguest(bus) => bus.notify(memory, at),
            _ => None,
        }
    }

    fn dma_send(
        &mut self,
        memory: &impl GuestMemory,
        key: u32,
        sections: &Sections,
        reply: Option<Buffer>,
    ) -> u32 {
        match &mut self.0 {
            Kind::Dma(bus) => bus.send(memory, key, sections, reply),
            _ => 0,
        }
    }

    fn dma_wants(&self, key: u32) -> bool {
        match &self.0 {
            Kind::Dma(bus) => bus.wants(key),
            _ => false,
        }
    }

    fn dma_receive(&mut self, memory: &impl GuestMemory, key: u32, buffer: Buffer) {
        if let Kind::Dma(bus) = &mut self.0 {
            bus.receive(memory, key, buffer);
        }
    }

    fn choose_bus(&mut self, memory: &impl GuestMemory, bus: DeviceBus) {
        let models = match core::mem::replace(&mut self.0, Kind::None) {
            Kind::Pci(bus) => bus.into_models(),
            Kind::Lguest(bus) => bus.into_models(),
            Kind::Dma(bus) => bus.into_models(),
            Kind::None => Vec::new(),
        };
        self.0 = match bus {
            DeviceBus::Pci => Kind::Pci(PciBus::with(memory.ram_frames().start(), models)),
            DeviceBus::Lguest(records) => Kind::Lguest(LguestBus::new(memory, models, records)),
            DeviceBus::Dma => Kind::Dma(DmaBus::new(memory, models)),
        };
    }

    fn console_write(&mut self, bytes: &[u8]) {
        if let Some(console) = self.console() {
            for &byte in bytes {
                console.write_config(EMERGENCY, u32::from(byte));
            }
        }
    }

    fn console_read(&mut self) -> Option<u8> {
        self.console()?.console_read()
    }
}
