//! Descriptors and rings in the pages above RAM.

use super::fixture::{DATA, Guest, RAM, SHARED};
use crate::address::Gpa;
use crate::device::Devices;
use crate::device::backend::FRAME;
use crate::device::virtio::Violation;
use crate::device::virtio::console::SETTLED;
use crate::device::virtio::scripted_driver::WRITE;
use hv_abi::lguest::{Generation, generations};
use proptest::prelude::*;
use std::vec::Vec;

/// Generations with records that count their parts.
pub(super) fn packed() -> [&'static Generation; 5] {
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
