//! The buses of all generations, with a console, a disk and a network device, as a guest sees them.

use super::backend::{FRAME, Full, Link, SERIAL, Writing};
use super::bus::{Bus, SHARED_FRAMES};
use super::dma_bus::{Buffer, Section, Sections};
use super::fake_memory::FakeMemory;
use super::pci::PciBus;
use super::ram_disk::RamDisk;
use super::virtio::block::Block;
use super::virtio::console::{Console, SETTLED};
use super::virtio::net::Net;
use super::virtio::queue::Queue;
use super::virtio::scripted_driver::{Line, NEXT, SharedLine, TestBuffer, WRITE, descriptor};
use super::virtio::{Identity, Violation, VirtioDevice};
use super::{Devices, NoDevice, Width, Work};
use crate::address::Gpa;
use crate::memory::GuestMemory;
use hv_abi::lguest::{DeviceBus, Generation, generations};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;

const RAM: u64 = 0x2_0000;
const SHARED: u64 = SHARED_FRAMES << 12;
/// Nothing but the buffers of tests.
const HEADER: u64 = 0x1000;
const ANSWER: u64 = 0x1800;
const DATA: u64 = 0x2000;

#[derive(Default)]
struct Frames {
    sent: Vec<Vec<u8>>,
    coming: VecDeque<Vec<u8>>,
}

#[derive(Clone, Default)]
struct Wire(Rc<RefCell<Frames>>);

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

enum Model {
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
struct Found {
    size: u16,
    irq: u16,
    at: u64,
}

/// A device, as the guest found it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Record {
    kind: u8,
    at: u64,
    status: u64,
    queues: Vec<Found>,
    features: u32,
    accepted: u64,
    config: Vec<u8>,
}

struct Guest {
    memory: FakeMemory,
    bus: Bus<Model>,
    line: SharedLine,
    wire: Wire,
}

impl Guest {
    /// A guest of `generation` that has just been started.
    fn of(generation: &Generation) -> Self {
        Self::with(
            FakeMemory::with_shared(RAM as usize, SHARED as usize),
            generation.devices,
        )
    }

    fn with(memory: FakeMemory, chosen: DeviceBus) -> Self {
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

    fn byte(&self, at: u64) -> u8 {
        self.memory.bytes_at(at, 1)[0]
    }

    fn queue_at(&self, at: u64) -> Found {
        Found {
            size: self.memory.u16_at(at),
            irq: self.memory.u16_at(at + 2),
            at: u64::from(self.memory.u32_at(at + 4)) << 12,
        }
    }

    /// The page read as a guest from Linux 2.6.25 on reads it.
    fn packed_records(&self) -> Vec<Record> {
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

    fn notify(&mut self, at: u64) {
        let claimed = self.bus.notify(&self.memory, Gpa::new(at));
        assert!(claimed.is_some(), "{at:#x}");
    }

    fn set_status(&mut self, record: &Record, value: u8) {
        self.memory.put(record.status, &[value]);
        self.notify(record.at);
    }

    /// Puts a chain at descriptor 0 on and makes it available.
    fn post(&self, queue: Found, chain: &[TestBuffer]) {
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
    fn used(&self, queue: Found) -> u64 {
        let size = u64::from(queue.size);
        (queue.at + 16 * size + 2 * (3 + size)).next_multiple_of(4096)
    }

    fn used_index(&self, queue: Found) -> u16 {
        self.memory.u16_at(self.used(queue) + 2)
    }

    /// Reads `sector` into [`DATA`]; the answer.
    fn read_sector(&mut self, queue: Found, sector: u64) -> u8 {
        self.request(queue, 0, sector)
    }

    fn request(&mut self, queue: Found, kind: u32, sector: u64) -> u8 {
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

    fn output(&self) -> Vec<u8> {
        self.line.0.borrow().output.clone()
    }
}

/// Generations with records that count their parts.
fn packed() -> [&'static Generation; 5] {
    use generations::*;
    [
        &LINUX_2_6_25,
        &LINUX_2_6_29,
        &LINUX_2_6_31,
        &LINUX_2_6_34,
        &LINUX_3_1,
    ]
}

#[test]
fn lg164_the_page_right_above_ram_describes_devices_and_ends_with_type_0() {
    for generation in packed() {
        let guest = Guest::of(generation);
        let records = guest.packed_records();
        let kinds: Vec<u8> = records.iter().map(|record| record.kind).collect();
        // The console comes last.
        assert_eq!(kinds, [2, 1, 3], "{generation}");
        let [disk, net, console] = &records[..] else {
            unreachable!();
        };
        assert_eq!(disk.features, 1 << 2 | 1 << 9 | 1 << 28);
        assert_eq!(disk.config[..8], 64_u64.to_le_bytes());
        assert_eq!(disk.config[12..], 126_u32.to_le_bytes());
        assert_eq!(net.features, 1 << 5 | 1 << 28);
        assert_eq!(net.config, [2, 0, 0, 0, 0, 7]);
        assert_eq!((console.features, console.config.len()), (0, 0));
        // An interrupt for each queue, counted from 1, and rings behind the page that do not overlap.
        let queues = records.iter().flat_map(|record| &record.queues);
        let mut free = RAM + 4096;
        for (queue, irq) in queues.zip(1..) {
            assert_eq!(queue.irq, irq);
            assert_eq!(queue.at, free);
            free = (guest.used(*queue) + 6 + 8 * u64::from(queue.size)).next_multiple_of(4096);
        }
        assert!(free <= RAM + SHARED);
    }
}

/// 9.5: fields with tags, which a guest looks for.
#[test]
fn lg164_a_guest_of_2_6_24_finds_fields_by_their_tags() {
    let guest = Guest::of(&generations::LINUX_2_6_24);
    let mut at = RAM;
    let mut found = Vec::new();
    while guest.byte(at) != 0 {
        let (kind, size) = (guest.byte(at), u64::from(guest.byte(at + 1)));
        assert_eq!(guest.byte(at + 2), 0);
        let mut field = at + 3;
        while field < at + 3 + size {
            let (tag, length) = (guest.byte(field), guest.byte(field + 1));
            found.push((kind, tag, guest.memory.bytes_at(field + 2, length.into())));
            field += 2 + u64::from(length);
        }
        assert_eq!(field, at + 3 + size);
        at = field;
    }
    let queue = |number: u64, irq: u64| {
        let frame = (RAM >> 12) + 1 + 2 * number;
        (128 | irq << 16 | frame << 32).to_le_bytes().to_vec()
    };
    assert_eq!(
        found,
        [
            (2, 2, queue(0, 1)),
            (2, 0x41, 64_u64.to_le_bytes().to_vec()),
            (2, 0x43, 126_u32.to_le_bytes().to_vec()),
            (1, 2, queue(1, 2)),
            (1, 2, queue(2, 3)),
            (1, 0x41, vec![2, 0, 0, 0, 0, 7]),
            (3, 2, queue(3, 4)),
            (3, 2, queue(4, 5)),
        ]
    );
}

#[test]
fn lg165_lg169_a_queue_is_served_when_its_first_page_is_notified() {
    for generation in packed() {
        let mut guest = Guest::of(generation);
        let queue = guest.packed_records()[0].queues[0];
        assert_eq!(guest.read_sector(queue, 9), 0, "{generation}");
        assert_eq!(guest.memory.bytes_at(DATA, 512), [9; 512]);
        assert_eq!(guest.used_index(queue), 1);
        let used = guest.used(queue);
        assert_eq!(guest.memory.u32_at(used + 4), 0);
        assert_eq!(guest.memory.u32_at(used + 8), 513);
    }
}

/// [24] drivers see the same devices.
#[test]
fn lg165_lg169_a_ring_of_128_descriptors_has_its_used_ring_in_the_second_page() {
    let mut guest = Guest::of(&generations::LINUX_2_6_24);
    let queue = guest.queue_at(RAM + 5);
    assert_eq!(guest.used(queue), queue.at + 4096);
    assert_eq!(guest.read_sector(queue, 3), 0);
    assert_eq!(guest.memory.bytes_at(DATA, 512), [3; 512]);
}

#[test]
fn lg168_a_used_buffer_raises_its_queue_s_interrupt_unless_the_guest_forbids_it() {
    let mut guest = Guest::of(&generations::LINUX_3_1);
    let records = guest.packed_records();
    let (disk, transmit) = (records[0].queues[0], records[1].queues[1]);
    assert_eq!(guest.bus.take_interrupts(), 0);
    guest.read_sector(disk, 0);
    assert_eq!(guest.bus.take_interrupts(), 1 << disk.irq);
    assert_eq!(guest.bus.take_interrupts(), 0);
    guest.post(transmit, &[(DATA, 10 + 60, 0)]);
    guest.notify(transmit.at);
    assert_eq!(guest.bus.take_interrupts(), 1 << transmit.irq);

    let available_flags = disk.at + 16 * u64::from(disk.size);
    guest.memory.put(available_flags, &[1, 0]);
    guest.read_sector(disk, 0);
    assert_eq!(guest.bus.take_interrupts(), 0);
    guest.memory.put(available_flags, &[0, 0]);
    guest.read_sector(disk, 0);
    assert_eq!(guest.bus.take_interrupts(), 1 << disk.irq);
    assert_eq!(guest.used_index(disk), 3);
}

#[test]
fn lg166_status_0_takes_back_features_and_rings() {
    for generation in packed() {
        let mut guest = Guest::of(generation);
        let record = &guest.packed_records()[0];
        let queue = record.queues[0];
        guest.set_status(record, 3);
        guest
            .memory
            .put(record.accepted, &(1_u32 << 2).to_le_bytes());
        guest.set_status(record, 7);
        for round in 1..=2 {
            assert_eq!(guest.read_sector(queue, 1), 0);
            assert_eq!(guest.used_index(queue), 1);
            guest.set_status(record, 0);
            assert_eq!(guest.memory.u32_at(record.accepted), 0, "{round}");
            let ring = guest.used(queue) + 6 + 8 * u64::from(queue.size) - queue.at;
            assert!(
                guest
                    .memory
                    .bytes_at(queue.at, ring as usize)
                    .iter()
                    .all(|byte| *byte == 0)
            );
        }
        // What the guest offers again is the same.
        assert_eq!(&guest.packed_records()[0], record);
    }
}

/// A40 and 9.5: some drivers say that they are ready, some only ever use their queues, and some accept
/// features after that.
#[test]
fn a_driver_may_begin_with_a_queue_or_with_its_status() {
    let mut guest = Guest::of(&generations::LINUX_3_1);
    let record = &guest.packed_records()[2];
    let receive = record.queues[0];
    guest.post(receive, &[(DATA, 8, WRITE)]);
    guest.set_status(record, 3);
    for _ in 0..=SETTLED {
        guest.bus.poll(&guest.memory);
    }
    guest.line.0.borrow_mut().input.extend(b"hi");
    guest.bus.poll(&guest.memory);
    assert_eq!(guest.used_index(receive), 0, "nothing has begun");
    guest.set_status(record, 7);
    for _ in 0..=SETTLED {
        guest.bus.poll(&guest.memory);
    }
    assert_eq!(guest.used_index(receive), 1);
    assert_eq!(guest.memory.bytes_at(DATA, 2), b"hi");
    assert_eq!(guest.bus.take_interrupts(), 1 << receive.irq);

    guest.set_status(record, 0x80);
    guest.post(receive, &[(DATA, 8, WRITE)]);
    guest.notify(receive.at);
    guest.line.0.borrow_mut().input.extend(b"!");
    for _ in 0..=SETTLED {
        guest.bus.poll(&guest.memory);
    }
    assert_eq!(
        guest.used_index(receive),
        1,
        "a driver that has failed gets nothing"
    );
}

#[test]
fn the_console_prints_what_its_transmit_queue_brings() {
    let mut guest = Guest::of(&generations::LINUX_2_6_29);
    let transmit = guest.packed_records()[2].queues[1];
    guest.memory.put(DATA, b"hello, ");
    guest.memory.put(DATA + 0x100, b"world");
    guest.post(transmit, &[(DATA, 7, 0), (DATA + 0x100, 5, 0)]);
    guest.notify(transmit.at);
    guest.bus.console_write(b"!");
    assert_eq!(guest.output(), b"hello, world!");
}

/// 9.5: the header of a frame has 10 bytes on this bus.
#[test]
fn frames_have_the_short_header() {
    let mut guest = Guest::of(&generations::LINUX_3_1);
    let record = &guest.packed_records()[1];
    let (receive, transmit) = (record.queues[0], record.queues[1]);
    let frame: Vec<u8> = (0..FRAME).map(|byte| byte as u8).collect();
    guest.memory.put(DATA, &[0; 10]);
    guest.memory.put(DATA + 10, &frame);
    guest.post(transmit, &[(DATA, 10 + FRAME as u32, 0)]);
    guest.notify(transmit.at);
    assert_eq!(guest.wire.0.borrow().sent, std::slice::from_ref(&frame));

    guest.wire.0.borrow_mut().coming.push_back(frame.clone());
    guest.memory.put(DATA, &[0xff; 0x800]);
    guest.post(receive, &[(DATA, 10, WRITE), (DATA + 10, 0x700, WRITE)]);
    guest.notify(receive.at);
    assert_eq!(guest.memory.bytes_at(DATA, 10), [0; 10]);
    assert_eq!(guest.memory.bytes_at(DATA + 10, FRAME), frame);
    let used = guest.used(receive);
    assert_eq!(guest.memory.u32_at(used + 8), 10 + FRAME as u32);
}

/// The driver of a broken device is told, by a bit that its status has for that since virtio 1.0.
#[test]
fn lg173_a_broken_rule_stops_the_device_until_its_driver_resets_it() {
    let mut guest = Guest::of(&generations::LINUX_3_1);
    let record = &guest.packed_records()[0];
    let queue = record.queues[0];
    guest.set_status(record, 7);
    guest.post(queue, &[(RAM + SHARED - 8, 16, 0)]);
    guest.notify(queue.at);
    assert_eq!(guest.byte(record.status), 7 | 0x40);
    assert_eq!(
        guest.bus.take_violation(),
        Some((2, Violation::BufferOutsideRam))
    );
    assert_eq!(guest.bus.take_violation(), None);
    assert_eq!(guest.read_sector(queue, 0), 0xee);
    assert_eq!(guest.used_index(queue), 0);
    guest.set_status(record, 0);
    assert_eq!(guest.read_sector(queue, 5), 0);
    assert_eq!(guest.memory.bytes_at(DATA, 512), [5; 512]);
}

/// What the guest writes over its descriptors changes nothing of where its queues are.
#[test]
fn lg173_the_host_does_not_read_back_what_it_told_the_guest() {
    let mut guest = Guest::of(&generations::LINUX_3_1);
    let queue = guest.packed_records()[0].queues[0];
    guest.memory.put(RAM, &[0xff; 4096]);
    assert_eq!(guest.read_sector(queue, 4), 0);
    assert_eq!(guest.memory.bytes_at(DATA, 512), [4; 512]);
    assert_eq!(guest.memory.refused(), 0);
}

/// A buffer of one section, as the personality hands it in.
fn dma_buffer(used_len: u64, at: u64, length: u32) -> Buffer {
    Buffer {
        used_len: Gpa::new(used_len),
        irq: 9,
        sections: sections(&[(at, length)]),
    }
}

fn sections(of: &[(u64, u32)]) -> Sections {
    let sections = of.iter().map(|(at, length)| Section {
        at: Gpa::new(*at),
        length: *length,
    });
    sections.collect()
}

/// Type, features and page of each descriptor of G1.
fn dma_descriptors(guest: &Guest) -> Vec<(u16, u16, u64)> {
    (0..16)
        .map(|index| RAM + 12 * index)
        .map(|at| {
            let page = u64::from(guest.memory.u32_at(at + 8)) << 12;
            (guest.memory.u16_at(at), guest.memory.u16_at(at + 2), page)
        })
        .collect()
}

const DISK_IRQ: u32 = 1 << 2;
const REPLY_IRQ: u32 = 1 << 9;

/// 9.4
#[test]
fn g1_finds_a_descriptor_for_each_device() {
    let guest = Guest::of(&generations::LINUX_2_6_23);
    let found = dma_descriptors(&guest);
    let [console, disk, net] = found[..3] else {
        unreachable!();
    };
    assert_eq!(console, (1, 0, 0));
    assert_eq!((disk.0, disk.1), (3, 0));
    // The guest's own slot on the network.
    assert_eq!((net.0, net.1), (2, 1));
    assert!(found[3..].iter().all(|rest| *rest == (0, 0, 0)));
    assert_eq!(guest.memory.u32_at(disk.2 + 16), 64);
    assert_eq!(
        guest.memory.bytes_at(net.2, 12),
        [3, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn g1_reads_and_writes_a_disk() {
    let mut guest = Guest::of(&generations::LINUX_2_6_23);
    let page = dma_descriptors(&guest)[1].2;
    let key = page as u32;
    let request = |guest: &Guest, kind: u32, sector: u32, bytes: u32| {
        for (index, word) in (0..).zip([kind, sector, bytes, 0]) {
            guest.memory.put(page + 4 * index, &word.to_le_bytes());
        }
    };
    // Read: two sections, of which the last is not filled.
    request(&guest, 0, 5, 1024);
    let mut reply = dma_buffer(0x500, DATA, 512);
    reply.sections = sections(&[(DATA, 700), (DATA + 0x1000, 324)]);
    let nothing = Sections::new();
    (guest.bus).dma_send(&guest.memory, key, &nothing, Some(reply));
    while guest.bus.poll(&guest.memory) == Work::More {}
    assert_eq!(guest.memory.u32_at(page + 12), 1);
    assert_eq!(guest.memory.u32_at(0x500), 1024);
    assert_eq!(
        guest.memory.bytes_at(DATA, 700)[..],
        [[5; 512].as_slice(), &[6; 188]].concat()
    );
    assert_eq!(guest.memory.bytes_at(DATA + 0x1000, 324), [6; 324]);
    assert_eq!(guest.bus.take_interrupts(), REPLY_IRQ);

    // Write, without a buffer for an answer: the device's own interrupt.
    guest.memory.put(DATA, &[0xaa; 512]);
    request(&guest, 1, 5, 512);
    let sent = guest
        .bus
        .dma_send(&guest.memory, key, &sections(&[(DATA, 512)]), None);
    while guest.bus.poll(&guest.memory) == Work::More {}
    assert_eq!(sent, 512);
    assert_eq!(guest.memory.u32_at(page + 12), 1);
    assert_eq!(guest.bus.take_interrupts(), DISK_IRQ);

    // What must fail: past the end, a length that is not that of the buffers, buffers that are not RAM.
    for (sector, bytes, at) in [(64, 512, DATA), (0, 1024, DATA), (0, 512, RAM + SHARED)] {
        request(&guest, 0, sector, bytes);
        let reply = dma_buffer(0x500, at, 512);
        (guest.bus).dma_send(&guest.memory, key, &nothing, Some(reply));
        while guest.bus.poll(&guest.memory) == Work::More {}
        assert_eq!(
            guest.memory.u32_at(page + 12),
            2,
            "{sector} {bytes} {at:#x}"
        );
        assert_eq!(guest.bus.take_interrupts(), REPLY_IRQ);
    }
    request(&guest, 0, 5, 512);
    (guest.bus).dma_send(
        &guest.memory,
        key,
        &nothing,
        Some(dma_buffer(0x500, DATA, 512)),
    );
    while guest.bus.poll(&guest.memory) == Work::More {}
    assert_eq!(guest.memory.bytes_at(DATA, 512), [0xaa; 512]);
}

#[test]
fn g1_sends_and_receives_frames_without_a_header() {
    let mut guest = Guest::of(&generations::LINUX_2_6_23);
    let key = dma_descriptors(&guest)[2].2 as u32;
    let frame: Vec<u8> = (0..FRAME).map(|byte| byte as u8).collect();
    guest.memory.put(DATA, &frame);
    let parts = sections(&[(DATA, 14), (DATA + 14, FRAME as u32 - 14)]);
    assert_eq!(
        guest.bus.dma_send(&guest.memory, key, &parts, None),
        FRAME as u32
    );
    assert_eq!(guest.wire.0.borrow().sent, std::slice::from_ref(&frame));
    assert_eq!(guest.bus.take_interrupts(), 0);

    let own = key + 4;
    assert!(!guest.bus.dma_wants(key));
    guest.memory.put(DATA, &[0; 0x800]);
    for round in 1..=3 {
        assert!(guest.bus.dma_wants(own), "{round}");
        let buffer = dma_buffer(0x500, DATA, 0x700);
        guest.bus.dma_receive(&guest.memory, own, buffer);
        assert!(!guest.bus.dma_wants(own), "{round}");
        guest.wire.0.borrow_mut().coming.push_back(frame.clone());
        assert_eq!(guest.bus.poll(&guest.memory), Work::More);
        assert_eq!(guest.memory.u32_at(0x500), FRAME as u32);
        assert_eq!(guest.memory.bytes_at(DATA, FRAME), frame);
        assert_eq!(guest.bus.take_interrupts(), REPLY_IRQ);
    }
    // A buffer that is too short loses the frame, not the device.
    (guest.bus).dma_receive(&guest.memory, own, dma_buffer(0x500, DATA, 100));
    guest.wire.0.borrow_mut().coming.push_back(frame.clone());
    guest.bus.poll(&guest.memory);
    assert_eq!(
        guest.bus.take_violation(),
        Some((3, Violation::RequestTooShort))
    );
    assert!(guest.bus.dma_wants(own));
}

/// LG-173: the guest may write over all that the host keeps for such devices.
#[test]
fn lg173_g1_can_spoil_only_its_own_requests() {
    let mut guest = Guest::of(&generations::LINUX_2_6_23);
    let key = dma_descriptors(&guest)[1].2 as u32;
    for seed in 0..=255_u8 {
        let noise: Vec<u8> = (0..SHARED)
            .map(|at| (at as u8).wrapping_mul(seed | 1) ^ seed)
            .collect();
        guest.memory.put(RAM, &noise);
        let parts = sections(&[(DATA, 512); 16]);
        (guest.bus).dma_send(
            &guest.memory,
            key,
            &parts,
            Some(dma_buffer(0x500, DATA, 512)),
        );
        (guest.bus).dma_receive(&guest.memory, key + 0x2004, dma_buffer(0x500, DATA, 512));
        guest.memory.take_accesses();
        guest.memory.put(RAM, &noise);
        guest.bus.poll(&guest.memory);
        assert!(guest.memory.take_accesses() < 20_000);
    }
}

/// 5.8: guests before G5 see no PCI, but the console takes what hypercalls bring.
#[test]
fn a_guest_of_an_older_generation_finds_nothing_at_any_port() {
    for generation in [&generations::LINUX_2_6_23, &generations::LINUX_3_1] {
        let mut guest = Guest::of(generation);
        for port in 0..=u16::MAX {
            (guest.bus).port_write(&guest.memory, port, Width::Dword, 1 << 31);
            let value = guest.bus.port_read(&guest.memory, port, Width::Dword);
            assert_eq!(value, u32::MAX);
        }
        let bar = Gpa::new(RAM + (1 << 20));
        assert_eq!(guest.bus.memory_read(bar, Width::Dword), Err(NoDevice));
        guest.bus.console_write(b"early");
        assert_eq!(guest.output(), b"early");
        guest.line.0.borrow_mut().input.push_back(b'k');
        assert_eq!(guest.bus.console_read(), Some(b'k'));
        assert_eq!(guest.bus.console_read(), None);
    }
}

/// A guest whose generation turns out to be another finds all its devices on the other bus.
#[test]
fn devices_move_from_bus_to_bus() {
    let mut guest = Guest::of(&generations::LINUX_4_0);
    for generation in generations::ALL
        .into_iter()
        .chain([&generations::LINUX_4_0])
    {
        guest.bus.choose_bus(&guest.memory, generation.devices);
        if matches!(generation.devices, DeviceBus::Lguest(_)) && packed().contains(&generation) {
            let queue = guest.packed_records()[0].queues[0];
            assert_eq!(guest.read_sector(queue, 2), 0, "{generation}");
        }
    }
    for (slot, device) in [(1, 3), (2, 2), (3, 1)] {
        (guest.bus).port_write(&guest.memory, 0xcf8, Width::Dword, 1 << 31 | slot << 11);
        let id = guest.bus.port_read(&guest.memory, 0xcfc, Width::Dword);
        assert_eq!(id, 0x1040_1af4 + (device << 16));
    }
}

#[test]
fn memory_without_pages_for_devices_has_none() {
    let memory = FakeMemory::with_bytes(RAM as usize);
    let mut guest = Guest::with(memory, generations::LINUX_3_1.devices);
    for frame in 0..(RAM >> 12) + SHARED_FRAMES {
        let at = Gpa::new(frame << 12);
        assert_eq!(guest.bus.notify(&guest.memory, at), None);
    }
    guest.bus.console_write(b"x");
    assert_eq!(guest.output(), b"x");
}

/// Something that a guest can do on this bus.
#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Notify(u64),
    Poll,
}

fn step() -> impl Strategy<Value = Step> {
    let page = 0..(SHARED >> 12);
    prop_oneof![
        4 => (page.clone(), 0..4096_u64, prop::collection::vec(any::<u8>(), 1..24))
            .prop_map(|(page, at, bytes)| Step::Write(RAM + (page << 12) + at, bytes)),
        // Indices and statuses are where it matters.
        4 => (page.clone(), prop::sample::select(vec![0, 2, 4, 4096, 4098]), any::<u16>())
            .prop_map(|(page, at, value)| Step::Write(RAM + (page << 12) + at, value.to_le_bytes().into())),
        4 => page.prop_map(|page| Step::Notify(RAM + (page << 12))),
        2 => (0..64_u64).prop_map(|at| Step::Notify(RAM + at)),
        1 => Just(Step::Poll),
    ]
}

proptest! {
    ///
    #[test]
    fn lg173_a_hostile_guest_hurts_itself_only(steps in prop::collection::vec(step(), 1..60)) {
        for generation in [&generations::LINUX_2_6_24, &generations::LINUX_3_1] {
            let mut guest = Guest::of(generation);
            for step in &steps {
                match step {
                    Step::Write(at, bytes) => {
                        let room = (RAM + SHARED).saturating_sub(*at).min(bytes.len() as u64);
                        let at = (*at).min(RAM + SHARED);
                        guest.memory.put(at, &bytes[..room as usize]);
                    }
                    Step::Notify(at) => {
                        guest.memory.take_accesses();
                        guest.bus.notify(&guest.memory, Gpa::new(*at));
                    }
                    Step::Poll => {
                        guest.memory.take_accesses();
                        guest.bus.poll(&guest.memory);
                    }
                }
                prop_assert!(guest.memory.take_accesses() < 20_000);
            }
            prop_assert_eq!(guest.memory.refused(), 0);
        }
    }
}
