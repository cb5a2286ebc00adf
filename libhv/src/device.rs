//! The devices that a guest can have.

use hv_core::device::Work;
use hv_core::device::backend::Full;
use hv_core::device::backend::{Disk, Entropy, Link, Writing};
use hv_core::device::virtio::block::Block;
use hv_core::device::virtio::console::{Console as ConsoleModel, ConsoleBackend};
use hv_core::device::virtio::net::Net;
use hv_core::device::virtio::queue::Queue;
use hv_core::device::virtio::rng::Rng;
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
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "a guest has few devices, and there is no heap"
)]
pub enum Device {
    /// A console.
    Console(Console),
    /// A disk.
    Block(Block<&'static mut dyn Disk>),
    /// A network link.
    Net(Net<&'static mut dyn Link>),
    /// A source of randomness.
    Rng(Rng<&'static mut dyn Entropy>),
}

impl Device {
    /// A disk that the guest may write, if its far end can be written.
    pub fn block(disk: &'static mut dyn Disk) -> Self {
        Device::Block(Block::new(disk, Writing::Allowed))
    }

    /// A disk that the guest may only read.
    pub fn read_only_block(disk: &'static mut dyn Disk) -> Self {
        Device::Block(Block::new(disk, Writing::Refused))
    }

    /// A network device with the link's address.
    pub fn net(link: &'static mut dyn Link) -> Self {
        Device::Net(Net::new(link))
    }

    /// A source of randomness.
    pub fn rng(source: &'static mut dyn Entropy) -> Self {
        Device::Rng(Rng::new(source))
    }
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

/// Does the same with whichever model a device has.
macro_rules! with_model {
    ($device:expr, $model:ident => $what:expr) => {
        match $device {
            Device::Console(Console($model)) => $what,
            Device::Block($model) => $what,
            Device::Net($model) => $what,
            Device::Rng($model) => $what,
        }
    };
}

impl VirtioDevice for Device {
    fn identity(&self) -> Identity {
        with_model!(self, model => model.identity())
    }

    fn read_config(&self, offset: u32) -> u8 {
        with_model!(self, model => model.read_config(offset))
    }

    fn write_config(&mut self, offset: u32, value: u32) {
        with_model!(self, model => model.write_config(offset, value));
    }

    fn reset(&mut self) {
        with_model!(self, model => model.reset());
    }

    fn notify(&mut self, queue: u16) {
        with_model!(self, model => model.notify(queue));
    }

    fn poll(&mut self, memory: &impl GuestMemory, queues: &mut [Queue]) -> Result<Work, Violation> {
        with_model!(self, model => model.poll(memory, queues))
    }
}
