//! Devices that are used by DMA.

use super::rings::{Buffers, check_step, move_far_ends};
use crate::far_ends::{Model, Shared, plug};
use crate::input::Input;
use crate::memory::Memory;
use hv_abi::lguest::{DeviceBus, dma_page};
use hv_core::address::Gpa;
use hv_core::device::Devices;
use hv_core::device::bus::{Bus, SHARED_FRAMES};
use hv_core::device::dma_bus::{Buffer, Section, Sections};
use hv_core::device::pci::PciBus;
use hv_core::memory::GuestMemory;

const STEPS: usize = 48;
const RAM: u64 = 0x8000;
const BUFFERS: Buffers = Buffers {
    start: 0x1000,
    bytes: 0x7000,
};
/// Pages of the disk and the network: the devices' frames follow the descriptors, two for each.
const DISK: u64 = RAM + 4096 * 3;
const NET: u64 = RAM + 4096 * 5;
const KEYS: [u32; 6] = [
    DISK as u32,
    NET as u32,
    NET as u32 + dma_page::net::KEY_STEP,
    NET as u32 + 2 * dma_page::net::KEY_STEP,
    0,
    RAM as u32,
];

/// Sends, buffers for what comes, and writes over what guest and devices share: each is bounded, and what the
/// host says it took is no more than was sent.
pub fn devices_dma(data: &[u8]) {
    let mut input = Input::new(data);
    let far = Shared::default();
    let mut memory = Memory::new(RAM >> 12, SHARED_FRAMES);
    let mut pci = PciBus::new(Gpa::new(RAM));
    plug(&mut pci, &far);
    let mut bus = Bus::new(pci);
    memory.choose_bus(DeviceBus::Dma);
    bus.choose_bus(&memory, DeviceBus::Dma);
    memory.take_accesses();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut bus, &memory, &far, &mut input);
        let interrupts = bus.take_interrupts();
        check_step(&memory, interrupts & !1);
        bus.take_violation();
    }
}

fn step(bus: &mut Bus<Model>, memory: &Memory, far: &Shared, input: &mut Input) {
    match input.byte() {
        0..96 => {
            let key = key(input);
            let sections = sections(input);
            let length: u64 = sections
                .iter()
                .map(|section| u64::from(section.length))
                .sum();
            if input.byte() < 224 {
                put_request(memory, length as u32, input);
            }
            let reply = (input.byte() < 160).then(|| buffer(input));
            let taken = bus.dma_send(memory, key, &sections, reply);
            assert!(u64::from(taken) <= length);
        }
        96..144 => {
            let key = key(input);
            if bus.dma_wants(key) {
                bus.dma_receive(memory, key, buffer(input));
            }
        }
        144..184 => move_far_ends(far, input),
        184..216 => {
            bus.poll(memory);
        }
        216..240 => {
            // Descriptors, the devices' pages, and the queues behind these.
            let at = RAM + u64::from(input.half() % 0x7000);
            memory.put(at, input.bytes(8));
        }
        _ => {
            let page = RAM + 4096 * (1 + u64::from(input.byte() % 8));
            let at = page + u64::from(input.half() & 0x7ff);
            memory.put(at, input.bytes(16));
        }
    }
}

fn key(input: &mut Input) -> u32 {
    match input.byte() {
        by @ 0..240 => KEYS[usize::from(by) % KEYS.len()],
        _ => input.word(),
    }
}

/// A request in the disk's page, mostly of as many bytes as are sent.
fn put_request(memory: &Memory, length: u32, input: &mut Input) {
    let kind = u32::from(input.byte() & 3);
    let sector = match input.byte() {
        sector @ 0..240 => u32::from(sector % 20),
        _ => input.word(),
    };
    let bytes = match input.byte() {
        0..160 => length,
        160..240 => input.choose(&[512, 1024, 0, 4096]),
        _ => input.word(),
    };
    let words = [kind, sector, bytes].map(u32::to_le_bytes).concat();
    memory.put(DISK + dma_page::block::REQUEST, &words);
}

/// What the personality lets through: sections that are not empty and lie in one page.
fn sections(input: &mut Input) -> Sections {
    let count = usize::from(input.byte() & 7);
    let section = |at: u64, length: u32| {
        let room = 4096 - (at & 0xfff) as u32;
        Section {
            at: Gpa::new(at),
            length: (length % room).max(1),
        }
    };
    (0..count)
        .map(|_| section(BUFFERS.address(input) & 0xffff_ffff, Buffers::length(input)))
        .collect()
}

fn buffer(input: &mut Input) -> Buffer {
    Buffer {
        used_len: Gpa::new(BUFFERS.address(input) & 0xffff_ffff),
        irq: u32::from(input.byte() & 31),
        sections: sections(input),
    }
}
