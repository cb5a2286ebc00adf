//! A guest with a console, a disk and a network device, on whatever bus its generation has.

use crate::address::Gpa;
use crate::device::backend::{Full, Link, SERIAL, Writing};
use crate::device::bus::{Bus, SHARED_FRAMES};
use crate::device::fake_memory::FakeMemory;
use crate::device::pci::PciBus;
use crate::device::ram_disk::RamDisk;
use crate::device::virtio::block::Block;
use crate::device::virtio::console::Console;
use crate::device::virtio::net::Net;
use crate::device::virtio::queue::Queue;
use crate::device::virtio::scripted_driver::{
    Line, NEXT, SharedLine, TestBuffer, WRITE, descriptor,
};
use crate::device::virtio::{Identity, Violation, VirtioDevice};
use crate::device::{Devices, Work};
use crate::memory::GuestMemory;
use hv_abi::lguest::{DeviceBus, Generation};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;

pub(super) const RAM: u64 = 0x2_0000;
pub(super) const SHARED: u64 = SHARED_FRAMES << 12;
/// Nothing but the buffers of tests.
pub(super) const HEADER: u64 = 0x1000;
pub(super) const ANSWER: u64 = 0x1800;
pub(super) const DATA: u64 = 0x2000;

#[derive(Default)]
pub(super) struct Frames {
    pub(super) sent: Vec<Vec<u8>>,
    pub(super) coming: VecDeque<Vec<u8>>,
}

#[derive(Clone, Default)]
pub(super) struct Wire(pub(super) Rc<RefCell<Frames>>);

impl Link for Wire {
    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 7]
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), Full> {
        self.0.borrow_mut().sent.push(frame.to_vec());
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        let frame = self.0.borrow_mut().coming.pop_front()?;
        into[..frame.len()].copy_from_slice(&frame);
        Some(frame.len())
    }
}

pub(super) enum Model {
    Console(Box<Console<SharedLine>>),
    Disk(Box<Block<RamDisk<Vec<u8>>>>),
    Net(Box<Net<Wire>>),
}

macro_rules! each {
    ($one:expr, $model:ident => $what:expr) => {
        match $one {
            Model::Console($model) => $what,
            Model::Disk($model) => $what,
            Model::Net($model) => $what,
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

/// A queue, as the guest found it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) size: u16,
    pub(super) irq: u16,
    pub(super) at: u64,
}

/// A device, as the guest found it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) kind: u8,
    pub(super) at: u64,
    pub(super) status: u64,
    pub(super) queues: Vec<Found>,
    pub(super) features: u32,
    pub(super) accepted: u64,
    pub(super) config: Vec<u8>,
}

pub(super) struct Guest {
    pub(super) memory: FakeMemory,
    pub(super) bus: Bus<Model>,
    pub(super) line: SharedLine,
    pub(super) wire: Wire,
}

impl Guest {
    /// A guest of `generation` that has just been started.
    pub(super) fn of(generation: &Generation) -> Self {
        Self::with(
            FakeMemory::with_shared(RAM as usize, SHARED as usize),
            generation.devices,
        )
    }

    pub(super) fn with(memory: FakeMemory, chosen: DeviceBus) -> Self {
        let line = SharedLine(Rc::new(RefCell::new(Line {
            output: Vec::new(),
            input: VecDeque::new(),
            room: usize::MAX,
        })));
        let wire = Wire::default();
        let sectors = (0..64 * 512_usize).map(|byte| (byte / 512) as u8);
        let disk = RamDisk::new(sectors.collect(), vec![0; 4096], [7; SERIAL]);
        let mut pci = PciBus::new(Gpa::new(RAM));
        for model in [
            Model::Console(Box::new(Console::new(line.clone()))),
            Model::Disk(Box::new(Block::new(disk, Writing::Allowed))),
            Model::Net(Box::new(Net::new(wire.clone()))),
        ] {
            assert!(pci.plug(model).is_ok());
        }
        let mut bus = Bus::new(pci);
        bus.choose_bus(&memory, chosen);
        Self {
            memory,
            bus,
            line,
            wire,
        }
    }

    pub(super) fn byte(&self, at: u64) -> u8 {
        self.memory.bytes_at(at, 1)[0]
    }

    pub(super) fn queue_at(&self, at: u64) -> Found {
        Found {
            size: self.memory.u16_at(at),
            irq: self.memory.u16_at(at + 2),
            at: u64::from(self.memory.u32_at(at + 4)) << 12,
        }
    }

    /// The page read as a guest from Linux 2.6.25 on reads it.
    pub(super) fn packed_records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut at = RAM;
        while self.byte(at) != 0 {
            let [kind, queues, features, config, _] = self.memory.bytes_at(at, 5)[..] else {
                unreachable!();
            };
            assert_eq!(features, 4);
            let after = at + 5 + 8 * u64::from(queues);
            records.push(Record {
                kind,
                at,
                status: at + 4,
                queues: (0..u64::from(queues))
                    .map(|i| self.queue_at(at + 5 + 8 * i))
                    .collect(),
                features: self.memory.u32_at(after),
                accepted: after + 4,
                config: self.memory.bytes_at(after + 8, config.into()),
            });
            at = after + 8 + u64::from(config);
        }
        records
    }

    pub(super) fn notify(&mut self, at: u64) {
        let claimed = self.bus.notify(&self.memory, Gpa::new(at));
        assert!(claimed.is_some(), "{at:#x}");
    }

    pub(super) fn set_status(&mut self, record: &Record, value: u8) {
        self.memory.put(record.status, &[value]);
        self.notify(record.at);
    }

    /// Puts a chain at descriptor 0 on and makes it available.
    pub(super) fn post(&self, queue: Found, chain: &[TestBuffer]) {
        for (index, (address, length, flags)) in (0..).zip(chain) {
            let last = usize::from(index) + 1 == chain.len();
            let flags = if last { *flags } else { flags | NEXT };
            let bytes = descriptor(*address, *length, flags, index + 1);
            self.memory.put(queue.at + u64::from(index) * 16, &bytes);
        }
        let available = queue.at + 16 * u64::from(queue.size);
        let index = self.memory.u16_at(available + 2);
        let slot = available + 4 + u64::from(index % queue.size) * 2;
        self.memory.put(slot, &[0, 0]);
        self.memory
            .put(available + 2, &index.wrapping_add(1).to_le_bytes());
    }

    /// Where the used ring is, counted as the specification does (virtio 0.9.5, 2.3).
    pub(super) fn used(&self, queue: Found) -> u64 {
        let size = u64::from(queue.size);
        (queue.at + 16 * size + 2 * (3 + size)).next_multiple_of(4096)
    }

    pub(super) fn used_index(&self, queue: Found) -> u16 {
        self.memory.u16_at(self.used(queue) + 2)
    }

    /// Reads `sector` into [`DATA`]; the answer.
    pub(super) fn read_sector(&mut self, queue: Found, sector: u64) -> u8 {
        self.request(queue, 0, sector)
    }

    pub(super) fn request(&mut self, queue: Found, kind: u32, sector: u64) -> u8 {
        self.memory.put(HEADER, &kind.to_le_bytes());
        self.memory.put(HEADER + 8, &sector.to_le_bytes());
        self.memory.put(ANSWER, &[0xee]);
        let direction = if kind == 1 { 0 } else { WRITE };
        self.post(
            queue,
            &[(HEADER, 16, 0), (DATA, 512, direction), (ANSWER, 1, WRITE)],
        );
        self.notify(queue.at);
        while self.bus.poll(&self.memory) == Work::More {}
        self.byte(ANSWER)
    }

    pub(super) fn output(&self) -> Vec<u8> {
        self.line.0.borrow().output.clone()
    }
}
