//! Devices that are used by DMA.

use super::fixture::{DATA, Guest, RAM, SHARED};
use crate::address::Gpa;
use crate::device::backend::FRAME;
use crate::device::dma_bus::{Buffer, Section, Sections};
use crate::device::virtio::Violation;
use crate::device::{Devices, Work};
use hv_abi::lguest::generations;
use std::vec::Vec;

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
