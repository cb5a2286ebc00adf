//! Devices as PCI functions.

use super::rings::{Buffers, Ring, check_step, fill, move_far_ends};
use crate::far_ends::{DEVICES, Model, QUEUES, Shared, plug};
use crate::input::Input;
use crate::memory::Memory;
use hv_core::address::Gpa;
use hv_core::device::pci::PciBus;
use hv_core::device::virtio::registers::register;
use hv_core::device::{Devices, Width};

const STEPS: usize = 48;
const RAM: u64 = 0x1_0000;
/// Registers of the first device, and bytes from one to the next.
const BAR: u64 = RAM + (1 << 20);
const BAR_STEP: u64 = 0x80;
const BUFFERS: Buffers = Buffers {
    start: 0x8000,
    bytes: 0x8000,
};
const WIDTHS: [Width; 3] = [Width::Byte, Width::Word, Width::Dword];
/// Ports that mean something, and their neighbours.
const PORTS: [u16; 8] = [0xcf8, 0xcfc, 0xcfd, 0xcfe, 0xcff, 0xcf9, 0x64, 0xd00];
/// Descriptors of a queue when the guest starts.
const SIZE: u16 = 16;

struct Machine {
    memory: Memory,
    bus: PciBus<Model>,
    far: Shared,
}

/// A driver that has started its devices or not, and then does anything to their registers, configuration
/// space and queues: each access is bounded and answers within its width, nothing reaches outside RAM, and in
/// the end every device can be reset and started.
pub fn devices_pci(data: &[u8]) {
    let mut input = Input::new(data);
    let far = Shared::default();
    let mut bus = PciBus::new(Gpa::new(RAM));
    plug(&mut bus, &far);
    let memory = Memory::new(RAM >> 12, 0);
    let mut machine = Machine { memory, bus, far };
    let started = input.byte();
    for device in (0..DEVICES).filter(|device| started >> device & 1 == 0) {
        machine.start(device);
    }
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        machine.step(&mut input);
        let interrupts = machine.bus.take_interrupts();
        check_step(&machine.memory, interrupts);
        machine.bus.take_violation();
    }
    assert_eq!(machine.memory.refused(), 0);
    (0..DEVICES).for_each(|device| machine.start(device));
}

/// The queue of a device, where a driver puts it.
fn ring(device: usize, queue: u16) -> Ring {
    let number = QUEUES[..device].iter().sum::<u16>() + queue;
    let descriptors = 0x1000 * (u64::from(number) + 1);
    Ring {
        size: SIZE,
        descriptors,
        available: descriptors + 0x800,
    }
}

impl Machine {
    /// Makes a device ready, as a driver does.
    fn start(&mut self, device: usize) {
        let status = register::STATUS;
        for value in [0, 1, 3] {
            self.write(device, status, Width::Byte, value);
        }
        // All features that there are.
        for word in 0..2 {
            self.write(device, register::DEVICE_FEATURE_SELECT, Width::Dword, word);
            let offered = self.read(device, register::DEVICE_FEATURE);
            self.write(device, register::DRIVER_FEATURE_SELECT, Width::Dword, word);
            self.write(device, register::DRIVER_FEATURE, Width::Dword, offered);
        }
        self.write(device, status, Width::Byte, 0xb);
        for queue in 0..QUEUES[device] {
            let ring = ring(device, queue);
            self.memory.put(ring.available, &[0; 4]);
            self.write(device, register::QUEUE_SELECT, Width::Word, queue.into());
            self.write(device, register::QUEUE_SIZE, Width::Word, SIZE.into());
            let used = ring.descriptors + 0xc00;
            for (offset, address) in [
                (register::QUEUE_DESC, ring.descriptors),
                (register::QUEUE_AVAIL, ring.available),
                (register::QUEUE_USED, used),
            ] {
                self.write(device, offset, Width::Dword, address as u32);
                self.write(device, offset + 4, Width::Dword, 0);
            }
            self.write(device, register::QUEUE_ENABLE, Width::Word, 1);
        }
        self.write(device, status, Width::Byte, 0xf);
        assert_eq!(self.read(device, status) & 0xff, 0xf, "device {device}");
    }

    fn register(device: usize, offset: u32) -> Gpa {
        Gpa::new(BAR + BAR_STEP * device as u64 + u64::from(offset))
    }

    fn write(&mut self, device: usize, offset: u32, width: Width, value: u32) {
        let at = Self::register(device, offset);
        let written = self.bus.memory_write(&self.memory, at, width, value);
        assert!(written.is_ok());
    }

    fn read(&mut self, device: usize, offset: u32) -> u32 {
        let read = self
            .bus
            .memory_read(Self::register(device, offset), Width::Dword);
        read.unwrap_or(0)
    }

    fn step(&mut self, input: &mut Input) {
        let by = input.byte();
        let device = usize::from(by) % DEVICES;
        let queue = u16::from(by >> 7) % QUEUES[device];
        let (memory, far) = (&self.memory, &self.far);
        match input.byte() {
            0..80 => {
                ring(device, queue).post(memory, &BUFFERS, input);
                self.write(device, register::NOTIFY, Width::Word, queue.into());
            }
            80..112 => ring(device, queue).spoil(memory, &BUFFERS, input),
            112..144 => fill(memory, &BUFFERS, input),
            144..176 => move_far_ends(far, input),
            176..192 => {
                self.bus.poll(&self.memory);
            }
            192..216 => {
                let at = Self::register(device, u32::from(input.byte()) % 0x84);
                let value = match input.byte() {
                    0..192 => u32::from(input.half()),
                    _ => input.word(),
                };
                let width = input.choose(&WIDTHS);
                let _ = self.bus.memory_write(&self.memory, at, width, value);
            }
            216..232 => {
                let at = Self::register(device, u32::from(input.byte()) % 0x84);
                let width = input.choose(&WIDTHS);
                let read = self.bus.memory_read(at, width);
                assert!(read.is_err() || read.is_ok_and(|value| value & !width.ones() == 0));
            }
            232..244 => {
                let port = input.choose(&PORTS);
                let value = match input.byte() {
                    // Address latch: a register of one of the first slots.
                    0..192 => 1 << 31 | u32::from(input.half() & 0x3fff),
                    _ => input.word(),
                };
                self.bus
                    .port_write(&self.memory, port, input.choose(&WIDTHS), value);
            }
            _ => {
                let (port, width) = (input.choose(&PORTS), input.choose(&WIDTHS));
                let value = self.bus.port_read(&self.memory, port, width);
                assert_eq!(value & !width.ones(), 0);
            }
        }
    }
}
