//! The devices that a guest can have.

use hv_core::device::Work;
use hv_core::device::backend::{Disk, Entropy, Full, Link, Writing};
use hv_core::device::virtio::block::Block;
use hv_core::device::virtio::console::{Console as ConsoleModel, ConsoleBackend};
use hv_core::device::virtio::net::Net;
use hv_core::device::virtio::queue::Queue;
use hv_core::device::virtio::rng::Rng;
use hv_core::device::virtio::{Identity, Violation, VirtioDevice};
use hv_core::frames::{FrameAllocator, OutOfFrames};
use hv_core::memory::GuestMemory;
use hv_hw::storage;
use hv_hw::uart::Uart;

/// The first serial port as a console's far end.
#[derive(Clone, Copy, Debug)]
pub struct Com1;

/// A virtio console.
#[derive(Debug)]
pub struct Console(Com1);

impl Console {
    /// A console whose output goes to the port and whose input comes from there.
    pub fn new(port: Com1) -> Self {
        Self(port)
    }
}

/// A device of a guest's; see [`Builder::device`](crate::Builder::device).
#[non_exhaustive]
pub enum Device {
    /// A console.
    Console(Console),
    /// A disk.
    Block(&'static mut dyn Disk, Writing),
    /// A network device with the link's address.
    Net(&'static mut dyn Link),
    /// A source of randomness.
    Rng(&'static mut dyn Entropy),
}

impl Device {
    /// A disk that the guest may write, if its far end can be written.
    pub fn block(disk: &'static mut dyn Disk) -> Self {
        Device::Block(disk, Writing::Allowed)
    }

    /// A disk that the guest may only read.
    pub fn read_only_block(disk: &'static mut dyn Disk) -> Self {
        Device::Block(disk, Writing::Refused)
    }

    /// A network device.
    pub fn net(link: &'static mut dyn Link) -> Self {
        Device::Net(link)
    }

    /// A source of randomness.
    pub fn rng(source: &'static mut dyn Entropy) -> Self {
        Device::Rng(source)
    }

    /// Its model, in frames of its own where it is large: the host's stack is not.
    pub(crate) fn into_model(self, frames: &mut FrameAllocator) -> Result<Model, OutOfFrames> {
        Ok(match self {
            Device::Console(Console(Com1)) => {
                let port = SerialPort(Uart::com1());
                Model::Console(place(frames, ConsoleModel::new(port))?)
            }
            Device::Block(disk, writing) => Model::Block(place(frames, Block::new(disk, writing))?),
            Device::Net(link) => Model::Net(place(frames, Net::new(link))?),
            Device::Rng(source) => Model::Rng(Rng::new(source)),
        })
    }
}

/// Puts a value into frames of its own, for good.
pub(crate) fn place<T>(
    frames: &mut FrameAllocator,
    value: T,
) -> Result<&'static mut T, OutOfFrames> {
    let run = frames.take(storage::frames_for::<T>(1), 1)?;
    Ok(storage::place(run.into_state(), value))
}

/// What is on the bus for a device.
pub enum Model {
    Console(&'static mut ConsoleModel<SerialPort>),
    Block(&'static mut Block<&'static mut dyn Disk>),
    Net(&'static mut Net<&'static mut dyn Link>),
    Rng(Rng<&'static mut dyn Entropy>),
}

impl From<Console> for Device {
    fn from(console: Console) -> Self {
        Device::Console(console)
    }
}

/// COM1 as a console's far end.
#[derive(Debug)]
pub struct SerialPort(Uart);

impl ConsoleBackend for SerialPort {
    fn write(&mut self, byte: u8) -> Result<(), Full> {
        if self.0.try_send(byte) {
            return Ok(());
        }
        self.0.await_room();
        Err(Full)
    }

    fn read(&mut self) -> Option<u8> {
        self.0.receive()
    }
}

/// Does the same with whichever model it is.
macro_rules! with_model {
    ($one:expr, $model:ident => $what:expr) => {
        match $one {
            Model::Console($model) => $what,
            Model::Block($model) => $what,
            Model::Net($model) => $what,
            Model::Rng($model) => $what,
        }
    };
}

impl VirtioDevice for Model {
    fn identity(&self) -> Identity {
        with_model!(self, model => model.identity())
    }

    fn read_config(&self, offset: u32) -> u8 {
        with_model!(self, model => model.read_config(offset))
    }

    fn write_config(&mut self, offset: u32, value: u32) {
        with_model!(self, model => model.write_config(offset, value));
    }

    fn flush_console(&mut self) -> Result<(), Full> {
        with_model!(self, model => model.flush_console())
    }

    fn console_read(&mut self) -> Option<u8> {
        with_model!(self, model => model.console_read())
    }

    fn reset(&mut self) {
        with_model!(self, model => model.reset());
    }

    fn driver_ready(&mut self, features: u64) {
        with_model!(self, model => model.driver_ready(features));
    }

    fn notify(&mut self, queue: u16) {
        with_model!(self, model => model.notify(queue));
    }

    fn poll(&mut self, memory: &impl GuestMemory, queues: &mut [Queue]) -> Result<Work, Violation> {
        with_model!(self, model => model.poll(memory, queues))
    }
}
