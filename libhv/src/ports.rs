//! Ports that the application serves itself.

use crate::exit::{Exit, PortRead, PortWrite};
use core::ops::RangeInclusive;
use hv_abi::lguest::DeviceBus;
use hv_core::address::Gpa;
use hv_core::device::dma_bus::{Buffer, Sections};
use hv_core::device::{Devices, NoDevice, Width, Work};
use hv_core::memory::GuestMemory;

/// Devices, and before them a range of ports whose accesses become exits.
#[derive(Debug)]
pub struct ClaimedPorts<D> {
    devices: D,
    claimed: Option<RangeInclusive<u16>>,
    access: Option<Access>,
}

/// An access to a claimed port.
#[derive(Debug)]
enum Access {
    Read(PortRead),
    Write(PortWrite),
}

impl<D> ClaimedPorts<D> {
    /// `devices`, behind the ports in `claimed`.
    pub fn new(devices: D, claimed: Option<RangeInclusive<u16>>) -> Self {
        Self {
            devices,
            claimed,
            access: None,
        }
    }

    /// The exit that the last instruction of the guest caused.
    pub fn take_exit(&mut self) -> Option<Exit> {
        // Nearly always there is none, and an `Exit` is large.
        self.access.as_ref()?;
        self.access.take().map(|access| match access {
            Access::Read(read) => Exit::PortRead(read),
            Access::Write(write) => Exit::PortWrite(write),
        })
    }

    fn claims(&self, port: u16) -> bool {
        self.claimed
            .as_ref()
            .is_some_and(|ports| ports.contains(&port))
    }
}

impl<D: Devices> Devices for ClaimedPorts<D> {
    fn port_read(&mut self, memory: &impl GuestMemory, port: u16, width: Width) -> u32 {
        if !self.claims(port) {
            return self.devices.port_read(memory, port, width);
        }
        self.access = Some(Access::Read(PortRead { port, width }));
        width.ones()
    }

    fn port_write(
        &mut self,
        memory: &impl GuestMemory,
        port: u16,
        width: Width,
        value: u32,
    ) -> Work {
        if !self.claims(port) {
            return self.devices.port_write(memory, port, width, value);
        }
        self.access = Some(Access::Write(PortWrite { port, width, value }));
        Work::Done
    }

    fn memory_read(&mut self, at: Gpa, width: Width) -> Result<u32, NoDevice> {
        self.devices.memory_read(at, width)
    }

    fn memory_write(
        &mut self,
        memory: &impl GuestMemory,
        at: Gpa,
        width: Width,
        value: u32,
    ) -> Result<Work, NoDevice> {
        self.devices.memory_write(memory, at, width, value)
    }

    fn poll(&mut self, memory: &impl GuestMemory) -> Work {
        self.devices.poll(memory)
    }

    fn take_interrupts(&mut self) -> u32 {
        self.devices.take_interrupts()
    }

    fn choose_bus(&mut self, memory: &impl GuestMemory, bus: DeviceBus) {
        self.devices.choose_bus(memory, bus);
    }

    fn notify(&mut self, memory: &impl GuestMemory, at: Gpa) -> Option<Work> {
        self.devices.notify(memory, at)
    }

    fn dma_send(
        &mut self,
        memory: &impl GuestMemory,
        key: u32,
        sections: &Sections,
        reply: Option<Buffer>,
    ) -> u32 {
        self.devices.dma_send(memory, key, sections, reply)
    }

    fn dma_wants(&self, key: u32) -> bool {
        self.devices.dma_wants(key)
    }

    fn dma_receive(&mut self, memory: &impl GuestMemory, key: u32, buffer: Buffer) {
        self.devices.dma_receive(memory, key, buffer);
    }

    fn console_write(&mut self, bytes: &[u8]) {
        self.devices.console_write(bytes);
    }

    fn console_read(&mut self) -> Option<u8> {
        self.devices.console_read()
    }
}
