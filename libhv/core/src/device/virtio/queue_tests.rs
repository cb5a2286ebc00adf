//! what a driver may put into a queue, and what becomes of it.

use super::Violation;
use super::chain::{Buffer, Direction, Indirect};
use super::queue::{Layout, Queue};
use super::scripted_driver::{INDIRECT, NEXT, WRITE, descriptor};
use crate::address::Gpa;
use crate::device::fake_memory::FakeMemory;
use proptest::prelude::*;

const RAM: usize = 0x8000;
const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const TABLE: u64 = 0x4000;
const SIZE: u16 = 8;

fn queue(memory: &FakeMemory, size: u16, indirect: Indirect) -> Queue {
    let mut queue = Queue::default();
    queue.set_size(size).unwrap();
    let layout = Layout {
        descriptors: DESCRIPTORS,
        available: AVAILABLE,
        used: USED,
    };
    queue.set_layout(layout).unwrap();
    queue.enable(memory, indirect).unwrap();
    queue.run();
    queue
}

fn make_available(memory: &FakeMemory, head: u16) {
    memory.put(AVAILABLE + 4, &head.to_le_bytes());
    memory.put(AVAILABLE + 2, &1_u16.to_le_bytes());
}

/// The buffers of the chain that starts at descriptor 0, for a table of these descriptors.
fn walk(
    memory: &FakeMemory,
    indirect: Indirect,
    table: &[[u8; 16]],
) -> Result<Vec<Buffer>, Violation> {
    memory.put(DESCRIPTORS, &table.concat());
    make_available(memory, 0);
    collect(memory, &mut queue(memory, SIZE, indirect))
}

fn collect(memory: &FakeMemory, queue: &mut Queue) -> Result<Vec<Buffer>, Violation> {
    let mut buffers = Vec::new();
    if let Some(mut chain) = queue.pop(memory)? {
        while let Some(buffer) = chain.next_buffer(memory)? {
            buffers.push(buffer);
        }
    }
    Ok(buffers)
}

fn readable(at: u64, length: u32) -> Buffer {
    Buffer {
        at: Gpa::new(at),
        length,
        direction: Direction::Readable,
    }
}

fn writable(at: u64, length: u32) -> Buffer {
    Buffer {
        at: Gpa::new(at),
        length,
        direction: Direction::Writable,
    }
}

#[test]
fn a_chain_gives_its_buffers_in_order() {
    let memory = FakeMemory::with_bytes(RAM);
    let table = [
        descriptor(0x5000, 16, NEXT, 3),
        [0; 16],
        [0; 16],
        descriptor(0x6000, 1, WRITE, 0),
    ];
    let buffers = walk(&memory, Indirect::Refused, &table);
    assert_eq!(buffers, Ok(vec![readable(0x5000, 16), writable(0x6000, 1)]));
}

#[test]
fn an_indirect_table_stands_for_its_descriptors() {
    let memory = FakeMemory::with_bytes(RAM);
    let inner = [
        descriptor(0x5000, 16, NEXT, 1),
        descriptor(0x6000, 512, WRITE, 0),
    ];
    memory.put(TABLE, &inner.concat());
    let buffers = walk(
        &memory,
        Indirect::Allowed,
        &[descriptor(TABLE, 32, INDIRECT, 0)],
    );
    assert_eq!(
        buffers,
        Ok(vec![readable(0x5000, 16), writable(0x6000, 512)])
    );
}

#[test]
fn every_malformed_chain_is_named() {
    let end = RAM as u64;
    let cases: &[(&[[u8; 16]], Violation)] = &[
        // A loop.
        (&[descriptor(0, 1, NEXT, 0)], Violation::ChainTooLong),
        (
            &[descriptor(0, 1, NEXT, 1), descriptor(0, 1, NEXT, 0)],
            Violation::ChainTooLong,
        ),
        (
            &[descriptor(0, 1, NEXT, SIZE)],
            Violation::BadDescriptorIndex(SIZE),
        ),
        (
            &[descriptor(0, 1, NEXT, 0xffff)],
            Violation::BadDescriptorIndex(0xffff),
        ),
        (&[descriptor(end, 1, 0, 0)], Violation::BufferOutsideRam),
        (&[descriptor(end - 1, 2, 0, 0)], Violation::BufferOutsideRam),
        (
            &[descriptor(0, u32::MAX, 0, 0)],
            Violation::BufferOutsideRam,
        ),
        (
            &[descriptor(u64::MAX, 2, WRITE, 0)],
            Violation::BufferOutsideRam,
        ),
        (&[descriptor(1 << 32, 1, 0, 0)], Violation::BufferOutsideRam),
        (
            &[descriptor(0, 1, WRITE | NEXT, 1), descriptor(0, 1, 0, 0)],
            Violation::ReadableAfterWritable,
        ),
        (
            &[descriptor(TABLE, 0, INDIRECT, 0)],
            Violation::BadIndirectLength(0),
        ),
        (
            &[descriptor(TABLE, 17, INDIRECT, 0)],
            Violation::BadIndirectLength(17),
        ),
        (
            &[descriptor(TABLE, 16, INDIRECT | NEXT, 1)],
            Violation::IndirectWithNext,
        ),
        (
            &[descriptor(end - 16, 32, INDIRECT, 0)],
            Violation::BufferOutsideRam,
        ),
        (
            &[descriptor(u64::MAX - 15, 16, INDIRECT, 0)],
            Violation::BufferOutsideRam,
        ),
    ];
    for (table, violation) in cases {
        let memory = FakeMemory::with_bytes(RAM);
        assert_eq!(walk(&memory, Indirect::Allowed, table), Err(*violation));
        assert_eq!(memory.refused(), 0, "{violation}");
    }
}

#[test]
fn indirect_tables_do_not_nest_or_loop() {
    for inner in [
        vec![descriptor(TABLE, 16, INDIRECT, 0)],
        vec![
            descriptor(0, 1, NEXT, 1),
            descriptor(TABLE, 32, INDIRECT, 0),
        ],
    ] {
        let memory = FakeMemory::with_bytes(RAM);
        memory.put(TABLE, &inner.concat());
        let outer = [descriptor(TABLE, 16 * inner.len() as u32, INDIRECT, 0)];
        assert_eq!(
            walk(&memory, Indirect::Allowed, &outer),
            Err(Violation::IndirectNested)
        );
    }
    let memory = FakeMemory::with_bytes(RAM);
    memory.put(TABLE, &descriptor(0, 1, NEXT, 0));
    let outer = [descriptor(TABLE, 16, INDIRECT, 0)];
    assert_eq!(
        walk(&memory, Indirect::Allowed, &outer),
        Err(Violation::ChainTooLong)
    );
}

#[test]
fn indirect_descriptors_need_the_feature() {
    let memory = FakeMemory::with_bytes(RAM);
    let outer = [descriptor(TABLE, 16, INDIRECT, 0)];
    assert_eq!(
        walk(&memory, Indirect::Refused, &outer),
        Err(Violation::IndirectNotNegotiated)
    );
}

#[test]
fn a_head_outside_the_table_is_refused() {
    let memory = FakeMemory::with_bytes(RAM);
    make_available(&memory, SIZE);
    let mut queue = queue(&memory, SIZE, Indirect::Refused);
    assert_eq!(
        queue.pop(&memory).err(),
        Some(Violation::BadDescriptorIndex(SIZE))
    );
}

#[test]
fn an_index_that_jumps_past_the_ring_is_refused() {
    for to in [SIZE + 1, 0x8000, 0xffff] {
        let memory = FakeMemory::with_bytes(RAM);
        memory.put(AVAILABLE + 2, &to.to_le_bytes());
        let mut queue = queue(&memory, SIZE, Indirect::Refused);
        assert_eq!(
            queue.pop(&memory).err(),
            Some(Violation::IndexJump { from: 0, to })
        );
    }
}

#[test]
fn indices_wrap_at_65536() {
    let memory = FakeMemory::with_bytes(RAM);
    let mut queue = queue(&memory, SIZE, Indirect::Refused);
    memory.put(DESCRIPTORS, &descriptor(0, 1, 0, 0));
    for turn in 1..=70_000_u32 {
        memory.put(AVAILABLE + 2, &(turn as u16).to_le_bytes());
        let chain = queue.pop(&memory).unwrap().unwrap();
        queue.push(&memory, chain, turn).unwrap();
        assert!(queue.pop(&memory).unwrap().is_none());
    }
    assert_eq!(memory.u16_at(USED + 2), 70_000_u32 as u16);
    let last = USED + 4 + (70_000 - 1) % u64::from(SIZE) * 8;
    assert_eq!(memory.u32_at(last + 4), 70_000);
}

#[test]
fn a_queue_must_be_aligned_and_inside_ram() {
    let good = Layout {
        descriptors: DESCRIPTORS,
        available: AVAILABLE,
        used: USED,
    };
    let end = RAM as u64;
    let size = u64::from(SIZE);
    let cases = [
        (
            Layout {
                descriptors: DESCRIPTORS + 8,
                ..good
            },
            Violation::QueueMisaligned,
        ),
        (
            Layout {
                available: AVAILABLE + 1,
                ..good
            },
            Violation::QueueMisaligned,
        ),
        (
            Layout {
                used: USED + 2,
                ..good
            },
            Violation::QueueMisaligned,
        ),
        (
            Layout {
                descriptors: end - size * 16 + 16,
                ..good
            },
            Violation::QueueOutsideRam,
        ),
        (
            Layout {
                available: end - size * 2 - 2,
                ..good
            },
            Violation::QueueOutsideRam,
        ),
        (
            Layout {
                used: end - size * 8,
                ..good
            },
            Violation::QueueOutsideRam,
        ),
        (
            Layout {
                used: u64::MAX - 3,
                ..good
            },
            Violation::QueueOutsideRam,
        ),
        // High halves count.
        (
            Layout {
                descriptors: DESCRIPTORS | 1 << 32,
                ..good
            },
            Violation::QueueOutsideRam,
        ),
    ];
    for (layout, violation) in cases {
        let memory = FakeMemory::with_bytes(RAM);
        let mut queue = Queue::default();
        queue.set_size(SIZE).unwrap();
        queue.set_layout(layout).unwrap();
        assert_eq!(queue.enable(&memory, Indirect::Refused), Err(violation));
        assert!(!queue.is_enabled());
    }
}

#[test]
fn a_queue_may_end_at_the_last_byte_of_ram() {
    let memory = FakeMemory::with_bytes(RAM);
    let end = RAM as u64;
    for layout in [
        Layout {
            descriptors: end - 128,
            available: AVAILABLE,
            used: USED,
        },
        Layout {
            descriptors: DESCRIPTORS,
            available: end - 20,
            used: USED,
        },
        Layout {
            descriptors: DESCRIPTORS,
            available: AVAILABLE,
            used: end - 68,
        },
    ] {
        let mut queue = Queue::default();
        queue.set_size(SIZE).unwrap();
        queue.set_layout(layout).unwrap();
        assert_eq!(queue.enable(&memory, Indirect::Refused), Ok(()));
    }
}

#[test]
fn sizes_are_powers_of_two_up_to_256() {
    for size in 0..=u16::MAX {
        let allowed = size != 0 && size <= 256 && size & (size - 1) == 0;
        assert_eq!(Queue::default().set_size(size).is_ok(), allowed, "{size}");
    }
}

#[test]
fn the_interrupt_flag_of_the_available_ring_is_honoured() {
    for (flags, signalled) in [(0_u16, true), (1, false)] {
        let memory = FakeMemory::with_bytes(RAM);
        memory.put(AVAILABLE, &flags.to_le_bytes());
        make_available(&memory, 0);
        let mut queue = queue(&memory, SIZE, Indirect::Refused);
        let chain = queue.pop(&memory).unwrap().unwrap();
        queue.push(&memory, chain, 0).unwrap();
        assert_eq!(queue.take_signal(), signalled);
        assert!(!queue.take_signal());
    }
}

/// Mostly plausible descriptors, so that chains get somewhere before they break.
fn any_descriptor() -> impl Strategy<Value = [u8; 16]> {
    let address = prop_oneof![0..RAM as u64, Just(TABLE), Just(DESCRIPTORS), any::<u64>()];
    let length = prop_oneof![0..64_u32, Just(16), Just(64), any::<u32>()];
    let next = prop_oneof![0..SIZE, any::<u16>()];
    (address, length, 0..8_u16, next).prop_map(|(a, l, f, n)| descriptor(a, l, f, n))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// LG-173, A-32: whatever a queue holds, every buffer that comes out of it is RAM, a chain ends,
    /// and RAM's end is never passed.
    #[test]
    fn lg173_a32_random_queues_give_bounded_chains_inside_ram(
        table in prop::collection::vec(any_descriptor(), SIZE as usize),
        inner in prop::collection::vec(any_descriptor(), 4),
        heads in prop::collection::vec(0..SIZE + 1, SIZE as usize),
        index in prop_oneof![0..SIZE + 2, any::<u16>()],
        allowed in any::<bool>(),
    ) {
        let memory = FakeMemory::with_bytes(RAM);
        memory.put(TABLE, &inner.concat());
        memory.put(DESCRIPTORS, &table.concat());
        for (slot, head) in heads.iter().enumerate() {
            memory.put(AVAILABLE + 4 + slot as u64 * 2, &head.to_le_bytes());
        }
        memory.put(AVAILABLE + 2, &index.to_le_bytes());
        let indirect = if allowed { Indirect::Allowed } else { Indirect::Refused };
        let mut queue = queue(&memory, SIZE, indirect);
        let mut chains = 0;
        while let Ok(Some(mut chain)) = queue.pop(&memory) {
            chains += 1;
            prop_assert!(chains <= SIZE);
            let mut buffers = 0;
            while let Ok(Some(buffer)) = chain.next_buffer(&memory) {
                buffers += 1;
                prop_assert!(buffers <= SIZE);
                prop_assert!(buffer.at.raw() + u64::from(buffer.length) <= RAM as u64);
            }
            if queue.push(&memory, chain, 0).is_err() {
                break;
            }
        }
        prop_assert_eq!(memory.refused(), 0);
    }
}
