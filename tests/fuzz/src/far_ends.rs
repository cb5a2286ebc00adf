//! Devices, and far ends that are as slow, full or broken as the input says.

use hv_core::device::Work;
use hv_core::device::backend::{
    Completion, Disk, Entropy, Full, Link, MediumError, Operation, SECTOR, SERIAL, Writing,
};
use hv_core::device::pci::PciBus;
use hv_core::device::virtio::block::Block;
use hv_core::device::virtio::console::{Console, ConsoleBackend};
use hv_core::device::virtio::net::Net;
use hv_core::device::virtio::queue::Queue;
use hv_core::device::virtio::rng::Rng;
use hv_core::device::virtio::{Identity, Violation, VirtioDevice};
use hv_core::memory::GuestMemory;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Sectors of the disk.
pub const SECTORS: u64 = 16;
/// Buffers of the disk, and bytes of each.
const BUFFERS: usize = 2;
const BUFFER: usize = 4096;
/// Devices: console, disk, network, entropy.
pub const DEVICES: usize = 4;
/// Their queues.
pub const QUEUES: [u16; DEVICES] = [2, 1, 2, 1];

/// What all far ends are like now.
#[derive(Default)]
pub struct FarEnds {
    /// Bytes that are typed at the console, still to come.
    pub typed: u32,
    /// Bytes that the console takes, frames that the link takes, and operations that the disk takes.
    pub room: u32,
    /// Transfers that end before the next poll.
    pub completions: u32,
    /// Whether they end badly.
    pub broken: bool,
    /// Frames on their way to the guest.
    pub frames: VecDeque<Vec<u8>>,
    /// Random bytes in stock.
    pub random: usize,
}

/// One hold on them for each device.
#[derive(Clone, Default)]
pub struct Shared(pub Rc<RefCell<FarEnds>>);

impl Shared {
    fn take_room(&self) -> Result<(), Full> {
        let mut far = self.0.borrow_mut();
        far.room = far.room.checked_sub(1).ok_or(Full)?;
        Ok(())
    }
}

impl ConsoleBackend for Shared {
    fn write(&mut self, _: u8) -> Result<(), Full> {
        self.take_room()
    }

    fn read(&mut self) -> Option<u8> {
        let mut far = self.0.borrow_mut();
        far.typed = far.typed.checked_sub(1)?;
        Some(far.typed as u8)
    }
}

impl Link for Shared {
    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 7]
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), Full> {
        assert!((14..=hv_core::device::backend::FRAME).contains(&frame.len()));
        self.take_room()
    }

    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        let frame = self.0.borrow_mut().frames.pop_front()?;
        into[..frame.len()].copy_from_slice(&frame);
        Some(frame.len())
    }
}

impl Entropy for Shared {
    fn fill(&mut self, bytes: &mut [u8]) -> usize {
        let mut far = self.0.borrow_mut();
        let length = bytes.len().min(far.random);
        far.random -= length;
        bytes[..length].fill(0x5a);
        length
    }
}

/// A disk whose transfers end when they are told to.
pub struct SlowDisk {
    far: Shared,
    buffers: [Vec<u8>; BUFFERS],
    under_way: VecDeque<usize>,
}

impl SlowDisk {
    fn new(far: Shared) -> Self {
        Self {
            far,
            buffers: std::array::from_fn(|_| vec![0; BUFFER]),
            under_way: VecDeque::new(),
        }
    }
}

impl Disk for SlowDisk {
    fn sectors(&self) -> u64 {
        SECTORS
    }

    fn writing(&self) -> Writing {
        Writing::Allowed
    }

    fn serial(&self) -> [u8; SERIAL] {
        [b's'; SERIAL]
    }

    fn buffers(&self) -> usize {
        BUFFERS
    }

    fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        assert!(!self.under_way.contains(&buffer), "a buffer in use");
        self.buffers
            .get_mut(buffer)
            .map_or(&mut [], Vec::as_mut_slice)
    }

    fn start(&mut self, buffer: usize, operation: Operation) -> Result<(), Full> {
        assert!(buffer < BUFFERS && !self.under_way.contains(&buffer));
        if let Operation::Read { sector, bytes } | Operation::Write { sector, bytes } = operation {
            assert!(bytes != 0 && bytes.is_multiple_of(SECTOR) && bytes as usize <= BUFFER);
            assert!(
                sector + u64::from(bytes / SECTOR) <= SECTORS,
                "past the end"
            );
        }
        self.far.take_room()?;
        self.under_way.push_back(buffer);
        Ok(())
    }

    fn completed(&mut self) -> Option<Completion> {
        let mut far = self.far.0.borrow_mut();
        let left = far.completions.checked_sub(1)?;
        let buffer = self.under_way.pop_front()?;
        far.completions = left;
        let result = if far.broken { Err(MediumError) } else { Ok(()) };
        Some(Completion { buffer, result })
    }
}

/// One of the four.
pub enum Model {
    /// Device 0.
    Console(Box<Console<Shared>>),
    /// Device 1.
    Disk(Box<Block<SlowDisk>>),
    /// Device 2.
    Net(Box<Net<Shared>>),
    /// Device 3.
    Rng(Rng<Shared>),
}

/// All four, on a bus that has them in this order.
pub fn plug(bus: &mut PciBus<Model>, far: &Shared) {
    let disk = Block::new(SlowDisk::new(far.clone()), Writing::Allowed);
    for model in [
        Model::Console(Box::new(Console::new(far.clone()))),
        Model::Disk(Box::new(disk)),
        Model::Net(Box::new(Net::new(far.clone()))),
        Model::Rng(Rng::new(far.clone())),
    ] {
        bus.plug(model).expect("a slot for each");
    }
}

macro_rules! each {
    ($one:expr, $model:ident => $what:expr) => {
        match $one {
            Model::Console($model) => $what,
            Model::Disk($model) => $what,
            Model::Net($model) => $what,
            Model::Rng($model) => $what,
        }
    };
}

impl VirtioDevice for Model {
    fn identity(&self) -> Identity {
        each!(self, model => model.identity())
    }

    fn read_config(&self, offset: u32) -> u8 {
        each!(self, model => model.read_config(offset))
    }

    fn write_config(&mut self, offset: u32, value: u32) {
        each!(self, model => model.write_config(offset, value));
    }

    fn reset(&mut self) {
        each!(self, model => model.reset());
    }

    fn driver_ready(&mut self, features: u64) {
        each!(self, model => model.driver_ready(features));
    }

    fn notify(&mut self, queue: u16) {
        each!(self, model => model.notify(queue));
    }

    fn poll(&mut self, memory: &impl GuestMemory, queues: &mut [Queue]) -> Result<Work, Violation> {
        each!(self, model => model.poll(memory, queues))
    }

    fn console_read(&mut self) -> Option<u8> {
        each!(self, model => model.console_read())
    }
}
