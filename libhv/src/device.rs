//! The devices that a guest can have.

use hv_core::device::Work;
use hv_core::device::backend::Full;
use hv_core::device::virtio::console::{Console as ConsoleModel, ConsoleBackend};
use hv_core::device::virtio::queue::Queue;
use hv_core::device::virtio::{Identity, Violation, VirtioDevice};
use hv_core::memory::GuestMemory;
use hv_hw::uart::Uart;

/// The first serial port as a console's far end.
#[derive(Clone, Copy, Debug)]
pub struct Com1;

/// A virtio console.
#[derive(Debug)]
pub struct Console(ConsoleModel<SerialPort>);

impl Console {
    /// A console whose output goes to the port and whose input comes from there.
    pub fn new(Com1: Com1) -> Self {
        Self(ConsoleModel::new(SerialPort(Uart::com1())))
    }
}

/// A device of a guest's; see [`Builder::device`](crate::Builder::device).
#[derive(Debug)]
#[non_exhaustive]
pub enum Device {
    /// A console.
    Console(Console),
}

impl From<Console> for Device {
    fn from(console: Console) -> Self {
        Device::Console(console)
    }
}

#[derive(Debug)]
struct SerialPort(Uart);

impl ConsoleBackend for SerialPort {
    fn write(&mut self, byte: u8) -> Result<(), Full> {
        if self.0.try_send(byte) {
            Ok(())
        } else {
            Err(Full)
        }
    }

    fn read(&mut self) -> Option<u8> {
        self.0.receive()
    }
}

impl VirtioDevice for Device {
    fn identity(&self) -> Identity {
        match self {
            Device::Console(Console(model)) => model.identity(),
        }
    }

    fn read_config(&self, offset: u32) -> u8 {
        match self {
            Device::Console(Console(model)) => model.read_config(offset),
        }
    }

    fn write_config(&mut self, offset: u32, value: u32) {
        match self {
            Device::Console(Console(model)) => model.write_config(offset, value),
        }
    }

    fn reset(&mut self) {
        match self {
            Device::Console(Console(model)) => model.reset(),
        }
    }

    fn notify(&mut self, queue: u16) {
        match self {
            Device::Console(Console(model)) => model.notify(queue),
        }
    }

    fn poll(&mut self, memory: &impl GuestMemory, queues: &mut [Queue]) -> Result<Work, Violation> {
        match self {
            Device::Console(Console(model)) => model.poll(memory, queues),
        }
    }
}
