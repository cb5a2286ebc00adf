//! A guest's driver in miniature, for tests: a bus with one device, RAM, and the far end.

use super::VirtioDevice;
use super::console::{Console, ConsoleBackend, SETTLED};
use super::registers::{register, status};
use crate::address::Gpa;
use crate::device::backend::Full;
use crate::device::fake_memory::FakeMemory;
use crate::device::pci::PciBus;
use crate::device::{Devices, Width};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

pub(crate) const RAM: usize = 0x1_0000;
pub(crate) const BAR: u64 = RAM as u64 + (1 << 20);
/// Descriptors in each queue.
pub(crate) const SIZE: u16 = 16;
pub(crate) const RECEIVE: u16 = 0;
pub(crate) const TRANSMIT: u16 = 1;
pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// Address, length and flags of a descriptor.
pub(crate) type TestBuffer = (u64, u32, u16);

/// The far end: what it was given, what it will give, and how much it still takes.
pub(crate) struct Line {
    pub(crate) output: Vec<u8>,
    pub(crate) input: VecDeque<u8>,
    pub(crate) room: usize,
}

#[derive(Clone)]
pub(crate) struct SharedLine(pub(crate) Rc<RefCell<Line>>);

impl ConsoleBackend for SharedLine {
    fn write(&mut self, byte: u8) -> Result<(), Full> {
        let mut line = self.0.borrow_mut();
        line.room = line.room.checked_sub(1).ok_or(Full)?;
        line.output.push(byte);
        Ok(())
    }

    fn read(&mut self) -> Option<u8> {
        self.0.borrow_mut().input.pop_front()
    }
}

/// Where a test queue's parts are: descriptors, available ring, used ring.
pub(crate) fn parts(queue: u16) -> (u64, u64, u64) {
    let base = 0x1000 * (u64::from(queue) + 1);
    (base, base + 0x800, base + 0xc00)
}

pub(crate) fn descriptor(address: u64, length: u32, flags: u16, next: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.to_le_bytes());
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    bytes[12..14].copy_from_slice(&flags.to_le_bytes());
    bytes[14..].copy_from_slice(&next.to_le_bytes());
    bytes
}

/// The driver of one device, whose model is `M`; a console if nothing else is said. `F` is what the test
/// knows of the far end.
pub(crate) struct Driver<M = Console<SharedLine>, F = SharedLine> {
    pub(crate) memory: FakeMemory,
    pub(crate) bus: PciBus<M>,
    pub(crate) far: F,
    /// Features that it accepts, of the lower word.
    features: u32,
    queues: u16,
}

impl Driver {
    /// A machine that has just been switched on.
    pub(crate) fn new() -> Self {
        let line = Line {
            output: Vec::new(),
            input: VecDeque::new(),
            room: usize::MAX,
        };
        let line = SharedLine(Rc::new(RefCell::new(line)));
        Self::with(Console::new(line.clone()), line, 4)
    }

    /// The same after the driver's start-up: both queues enabled, DRIVER_OK set.
    pub(crate) fn ready() -> Self {
        let mut driver = Self::new();
        driver.start();
        driver.settle();
        driver
    }

    /// As after the first moments of a driver's life, in which it gets no input.
    pub(crate) fn settle(&mut self) {
        for _ in 0..SETTLED {
            self.poll();
        }
    }

    pub(crate) fn output(&self) -> Vec<u8> {
        self.far.0.borrow().output.clone()
    }

    pub(crate) fn type_in(&mut self, bytes: &[u8]) {
        self.far.0.borrow_mut().input.extend(bytes);
    }

    pub(crate) fn waiting_input(&self) -> usize {
        self.far.0.borrow().input.len()
    }

    /// How many more bytes the far end takes.
    pub(crate) fn set_room(&mut self, bytes: usize) {
        self.far.0.borrow_mut().room = bytes;
    }
}

impl<M: VirtioDevice, F> Driver<M, F> {
    /// A machine with `model` that has just been switched on.
    pub(crate) fn with(model: M, far: F, features: u32) -> Self {
        let queues = model.identity().queues;
        let mut bus = PciBus::new(Gpa::new(RAM as u64));
        bus.plug(model).unwrap();
        Self {
            memory: FakeMemory::with_bytes(RAM),
            bus,
            far,
            features,
            queues,
        }
    }

    /// Status, features and queues in the order of Linux 4.4.
    pub(crate) fn start(&mut self) {
        self.negotiate();
        for queue in 0..self.queues {
            self.set_up(queue, parts(queue));
            self.write(register::QUEUE_ENABLE, Width::Word, 1);
        }
        self.set_status(0xf);
        assert_eq!(self.status(), 0xf);
    }

    /// Up to FEATURES_OK.
    pub(crate) fn negotiate(&mut self) {
        for value in [0, status::ACKNOWLEDGE, status::ACKNOWLEDGE | status::DRIVER] {
            self.set_status(value);
        }
        for (word, features) in [(0, self.features), (1, 1)] {
            self.write(register::DRIVER_FEATURE_SELECT, Width::Dword, word);
            self.write(register::DRIVER_FEATURE, Width::Dword, features);
        }
        self.set_status(0xb);
        assert_eq!(self.status(), 0xb);
    }

    pub(crate) fn set_up(&mut self, queue: u16, (descriptors, available, used): (u64, u64, u64)) {
        self.write(register::QUEUE_SELECT, Width::Word, queue.into());
        self.write(register::QUEUE_SIZE, Width::Word, SIZE.into());
        for (offset, address) in [
            (register::QUEUE_DESC, descriptors),
            (register::QUEUE_AVAIL, available),
            (register::QUEUE_USED, used),
        ] {
            self.write(offset, Width::Dword, address as u32);
            self.write(offset + 4, Width::Dword, (address >> 32) as u32);
        }
    }

    pub(crate) fn read(&mut self, offset: u32, width: Width) -> u32 {
        self.bus
            .memory_read(Gpa::new(BAR + u64::from(offset)), width)
            .unwrap()
    }

    pub(crate) fn write(&mut self, offset: u32, width: Width, value: u32) {
        let at = Gpa::new(BAR + u64::from(offset));
        self.bus
            .memory_write(&self.memory, at, width, value)
            .unwrap();
    }

    pub(crate) fn status(&mut self) -> u8 {
        self.read(register::STATUS, Width::Byte) as u8
    }

    pub(crate) fn set_status(&mut self, value: u8) {
        self.write(register::STATUS, Width::Byte, value.into());
    }

    pub(crate) fn isr(&mut self) -> u32 {
        self.read(register::ISR, Width::Byte)
    }

    /// Puts a chain at descriptor `first` on and makes it available.
    pub(crate) fn post(&mut self, queue: u16, first: u16, chain: &[TestBuffer]) {
        let (descriptors, available, _) = parts(queue);
        for (index, (address, length, flags)) in (first..).zip(chain) {
            let last = usize::from(index - first) + 1 == chain.len();
            let flags = if last { *flags } else { flags | NEXT };
            let bytes = descriptor(*address, *length, flags, index + 1);
            self.memory.put(descriptors + u64::from(index) * 16, &bytes);
        }
        let index = self.memory.u16_at(available + 2);
        let slot = available + 4 + u64::from(index % SIZE) * 2;
        self.memory.put(slot, &first.to_le_bytes());
        self.memory
            .put(available + 2, &index.wrapping_add(1).to_le_bytes());
    }

    pub(crate) fn notify(&mut self, queue: u16) {
        self.write(register::NOTIFY, Width::Word, queue.into());
    }

    pub(crate) fn poll(&mut self) {
        self.bus.poll(&self.memory);
    }

    /// Chains given back on `queue`: head and length of each.
    pub(crate) fn used(&self, queue: u16) -> Vec<(u32, u32)> {
        let (_, _, used) = parts(queue);
        (0..self.memory.u16_at(used + 2))
            .map(|index| used + 4 + u64::from(index % SIZE) * 8)
            .map(|at| (self.memory.u32_at(at), self.memory.u32_at(at + 4)))
            .collect()
    }
}
