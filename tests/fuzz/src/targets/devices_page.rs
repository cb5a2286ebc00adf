//! Devices in the page of descriptors above RAM.

use super::rings::{Buffers, Ring, check_step, fill, move_far_ends};
use crate::far_ends::{Model, QUEUES, Shared, plug};
use crate::input::Input;
use crate::memory::Memory;
use hv_abi::lguest::{DeviceBus, Generation, RecordForm, Records, generations};
use hv_core::address::Gpa;
use hv_core::device::Devices;
use hv_core::device::bus::{Bus, SHARED_FRAMES};
use hv_core::device::pci::PciBus;
use hv_core::memory::GuestMemory;

const STEPS: usize = 48;
const RAM: u64 = 0x8000;
const BUFFERS: Buffers = Buffers {
    start: 0x1000,
    bytes: 0x7000,
};
/// One of each form and each size of queue.
const GENERATIONS: [&Generation; 3] = [
    &generations::LINUX_3_1,
    &generations::LINUX_2_6_25,
    &generations::LINUX_2_6_24,
];
/// The statuses of a driver that starts.
const STARTING: [u8; 4] = [0, 1, 3, 7];

/// A driver that starts its devices or not, and then does anything to their records and queues: each notice
/// is bounded, and nothing reaches outside what the guest has.
pub fn devices_page(data: &[u8]) {
    let mut input = Input::new(data);
    let generation = input.choose(&GENERATIONS);
    let DeviceBus::Lguest(records) = generation.devices else {
        unreachable!("they all have such a bus");
    };
    let far = Shared::default();
    let mut memory = Memory::new(RAM >> 12, SHARED_FRAMES);
    let mut pci = PciBus::new(Gpa::new(RAM));
    plug(&mut pci, &far);
    let mut bus = Bus::new(pci);
    memory.choose_bus(generation.devices);
    bus.choose_bus(&memory, generation.devices);
    let places = records_of(&memory, records.form);
    let rings = rings(records);
    if input.byte() < 224 {
        for (record, status) in places {
            for value in STARTING {
                memory.put(status, &[value]);
                bus.notify(&memory, Gpa::new(record));
            }
        }
    }
    memory.take_accesses();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut bus, &memory, (&places, &rings, &far), &mut input);
        let interrupts = bus.take_interrupts();
        check_step(&memory, interrupts);
        bus.take_violation();
    }
    assert_eq!(memory.refused(), 0);
}

fn step(
    bus: &mut Bus<Model>,
    memory: &Memory,
    (records, rings, far): (&[(u64, u64); 4], &[Ring; 6], &Shared),
    input: &mut Input,
) {
    let by = usize::from(input.byte());
    let (ring, (record, status)) = (rings[by % rings.len()], records[by % records.len()]);
    match input.byte() {
        0..80 => {
            ring.post(memory, &BUFFERS, input);
            bus.notify(memory, Gpa::new(ring.descriptors));
        }
        80..120 => ring.spoil(memory, &BUFFERS, input),
        120..152 => fill(memory, &BUFFERS, input),
        152..184 => move_far_ends(far, input),
        184..208 => {
            bus.poll(memory);
        }
        208..232 => {
            let value = match input.byte() {
                by @ 0..224 => STARTING[usize::from(by) % STARTING.len()],
                by => by,
            };
            memory.put(status, &[value]);
            bus.notify(memory, Gpa::new(record));
        }
        232..244 => {
            let at = RAM + u64::from(input.half() & 0x1ff);
            memory.put(at, input.bytes(4));
        }
        _ => {
            bus.notify(memory, Gpa::new(RAM + u64::from(input.half())));
        }
    }
}

/// Where each record and its status are.
fn records_of(memory: &Memory, form: RecordForm) -> [(u64, u64); 4] {
    let mut at = RAM;
    [(); 4].map(|()| {
        let mut header = [0; 4];
        memory.read(Gpa::new(at), &mut header).expect("a record");
        let [kind, second, third, fourth] = header.map(u64::from);
        assert_ne!(kind, 0);
        let record = at;
        let status = match form {
            // Type, bytes of fields, status.
            RecordForm::Tagged => {
                at += 3 + second;
                2
            }
            // Type, queues, bytes of features, bytes of configuration, status.
            RecordForm::Packed => {
                at += 5 + 8 * second + 2 * third + fourth;
                4
            }
        };
        (record, record + status)
    })
}

/// The queues of all devices, one behind the other.
fn rings(records: Records) -> [Ring; 6] {
    let size = u64::from(records.queue_size);
    let used = (16 * size + 2 * (3 + size)).next_multiple_of(4096);
    let step = (used + 6 + 8 * size).next_multiple_of(4096);
    assert_eq!(QUEUES.iter().sum::<u16>(), 6);
    std::array::from_fn(|number| {
        let descriptors = RAM + 4096 + step * number as u64;
        Ring {
            size: records.queue_size,
            descriptors,
            available: descriptors + 16 * size,
        }
    })
}
