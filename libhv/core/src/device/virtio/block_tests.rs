//! The block device as its driver sees it.

use super::block::{Block, REQUESTS, SEGMENTS};
use super::registers::{register, status};
use super::scripted_driver::{Driver, TestBuffer, WRITE, descriptor};
use super::{Violation, VirtioDevice};
use crate::device::backend::{
    Completion, Disk, Full, MediumError, Operation, SECTOR, SERIAL, Writing,
};
use crate::device::ram_disk::RamDisk;
use crate::device::{Devices, Width};
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;

const SECTORS: usize = 64;
const BUFFER: usize = 4096;
const HEADER: u64 = 0x3000;
const ANSWER: u64 = 0x3100;
const DATA: u64 = 0x4000;
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
/// What a request's answer is before the device gives one.
const NO_ANSWER: u8 = 0xee;

/// A disk that does nothing until it is told to.
struct SlowDisk {
    bytes: Vec<u8>,
    buffers: Vec<Vec<u8>>,
    started: Vec<(usize, Operation)>,
    done: Vec<Completion>,
    /// Transfers that it takes at a time.
    depth: usize,
    writing: Writing,
    log: Vec<Operation>,
}

#[derive(Clone)]
struct SharedDisk(Rc<RefCell<SlowDisk>>);

/// Buffers have to be reached through a reference, so they are kept beside the shared state.
struct TestDisk {
    disk: SharedDisk,
    buffers: Vec<Vec<u8>>,
}

impl SharedDisk {
    fn new(buffers: usize) -> Self {
        Self(Rc::new(RefCell::new(SlowDisk {
            bytes: (0..SECTORS * SECTOR as usize).map(pattern).collect(),
            buffers: vec![vec![0; BUFFER]; buffers],
            started: Vec::new(),
            done: Vec::new(),
            depth: usize::MAX,
            writing: Writing::Allowed,
            log: Vec::new(),
        })))
    }

    /// Ends the transfer that was started `index` before the others that are under way.
    fn end(&self, index: usize, result: Result<(), MediumError>) {
        let mut disk = self.0.borrow_mut();
        let (buffer, operation) = disk.started.remove(index);
        if result.is_ok() {
            match operation {
                Operation::Read { sector, bytes } => {
                    let from = sector as usize * SECTOR as usize;
                    let bytes = disk.bytes[from..][..bytes as usize].to_vec();
                    disk.buffers[buffer][..bytes.len()].copy_from_slice(&bytes);
                }
                Operation::Write { sector, bytes } => {
                    let to = sector as usize * SECTOR as usize;
                    let bytes = disk.buffers[buffer][..bytes as usize].to_vec();
                    disk.bytes[to..][..bytes.len()].copy_from_slice(&bytes);
                }
                Operation::Flush => {}
            }
        }
        disk.done.push(Completion { buffer, result });
    }

    fn under_way(&self) -> usize {
        self.0.borrow().started.len()
    }
}

impl Disk for TestDisk {
    fn sectors(&self) -> u64 {
        SECTORS as u64
    }

    fn writing(&self) -> Writing {
        self.disk.0.borrow().writing
    }

    fn serial(&self) -> [u8; SERIAL] {
        *b"serial number of 20!"
    }

    fn buffers(&self) -> usize {
        self.buffers.len()
    }

    fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        &mut self.buffers[buffer]
    }

    fn start(&mut self, buffer: usize, operation: Operation) -> Result<(), Full> {
        let mut disk = self.disk.0.borrow_mut();
        if disk.started.len() >= disk.depth {
            return Err(Full);
        }
        assert!(
            disk.started.iter().all(|(other, _)| *other != buffer),
            "a buffer was used twice"
        );
        if let Operation::Read { sector, bytes } | Operation::Write { sector, bytes } = operation {
            assert!(bytes != 0 && bytes % SECTOR == 0 && bytes as usize <= BUFFER);
            assert!(sector + u64::from(bytes / SECTOR) <= SECTORS as u64);
        }
        disk.buffers[buffer].copy_from_slice(&self.buffers[buffer]);
        disk.started.push((buffer, operation));
        disk.log.push(operation);
        Ok(())
    }

    fn completed(&mut self) -> Option<Completion> {
        let mut disk = self.disk.0.borrow_mut();
        let done = disk.done.pop()?;
        self.buffers[done.buffer].copy_from_slice(&disk.buffers[done.buffer]);
        Some(done)
    }
}

fn pattern(index: usize) -> u8 {
    (index as u32).wrapping_mul(0x9e37_79b9).to_be_bytes()[0]
}

/// What drivers accept, if nothing else is said: indirect tables and flushes.
const ACCEPTED: u32 = 1 << 28 | 1 << 9;

fn slow(buffers: usize) -> Driver<Block<TestDisk>, SharedDisk> {
    slow_with(buffers, ACCEPTED)
}

fn slow_with(buffers: usize, features: u32) -> Driver<Block<TestDisk>, SharedDisk> {
    let disk = SharedDisk::new(buffers);
    let model = TestDisk {
        disk: disk.clone(),
        buffers: vec![vec![0; BUFFER]; buffers],
    };
    let mut driver = Driver::with(Block::new(model, Writing::Allowed), disk, features);
    driver.start();
    driver
}

type RamDriver = Driver<Block<RamDisk<Vec<u8>>>, ()>;

fn ram_disk() -> RamDisk<Vec<u8>> {
    let bytes = (0..SECTORS * SECTOR as usize).map(pattern).collect();
    RamDisk::new(bytes, vec![0; BUFFER], [7; SERIAL])
}

fn ram(writing: Writing) -> RamDriver {
    let mut driver = Driver::with(Block::new(ram_disk(), writing), (), ACCEPTED);
    driver.start();
    driver
}

impl<M: VirtioDevice, F> Driver<M, F> {
    fn put_header(&mut self, at: u64, kind: u32, sector: u64) {
        self.memory.put(at, &kind.to_le_bytes());
        self.memory.put(at + 8, &sector.to_le_bytes());
    }

    /// A request of header, `data` and answer at descriptor `first`; the answer lies apart for each.
    fn request(&mut self, first: u16, kind: u32, sector: u64, data: &[TestBuffer]) {
        let header = HEADER + u64::from(first) * 0x10;
        let answer = ANSWER + u64::from(first);
        self.put_header(header, kind, sector);
        self.memory.put(answer, &[NO_ANSWER]);
        let chain: Vec<_> = std::iter::once((header, 16, 0))
            .chain(data.iter().copied())
            .chain([(answer, 1, WRITE)])
            .collect();
        self.post(0, first, &chain);
        self.notify(0);
    }

    fn answer(&self, first: u16) -> u8 {
        self.memory.bytes_at(ANSWER + u64::from(first), 1)[0]
    }
}

fn on_disk(sector: usize, bytes: usize) -> Vec<u8> {
    (sector * SECTOR as usize..)
        .take(bytes)
        .map(pattern)
        .collect()
}

#[test]
fn a_read_fills_segments_of_any_lengths() {
    let mut driver = ram(Writing::Allowed);
    let data = [(DATA, 1000, WRITE), (0x6000, 0, WRITE), (0x7001, 24, WRITE)];
    driver.request(0, IN, 5, &data);
    assert_eq!(driver.used(0), [(0, 1025)]);
    assert_eq!(driver.answer(0), 0);
    let got = [
        driver.memory.bytes_at(DATA, 1000),
        driver.memory.bytes_at(0x7001, 24),
    ];
    assert_eq!(got.concat(), on_disk(5, 1024));
    assert_eq!(driver.bus.take_interrupts(), 2);
}

#[test]
fn what_was_written_is_read_back() {
    let mut driver = ram(Writing::Allowed);
    let bytes: Vec<u8> = (0..20 * SECTOR as usize)
        .map(|index| pattern(index + 99))
        .collect();
    driver.memory.put(DATA, &bytes);
    driver.request(0, OUT, 44, &[(DATA, 20 * SECTOR, 0)]);
    assert_eq!((driver.answer(0), driver.used(0)), (0, vec![(0, 1)]));
    driver.request(3, FLUSH, 0, &[]);
    assert_eq!(driver.answer(3), 0);
    driver.memory.put(DATA, &vec![0; bytes.len()]);
    driver.request(6, IN, 44, &[(DATA, 20 * SECTOR, WRITE)]);
    while driver.answer(6) == NO_ANSWER {
        driver.poll();
    }
    assert_eq!(driver.memory.bytes_at(DATA, bytes.len()), bytes);
}

/// 2.4.4: the framing of a request is the driver's business.
#[test]
fn header_data_and_answer_may_share_descriptors() {
    let mut driver = ram(Writing::Allowed);
    driver.put_header(HEADER, OUT, 9);
    driver.memory.put(HEADER + 16, &[0x5a; 512]);
    driver.post(
        0,
        0,
        &[(HEADER, 5, 0), (HEADER + 5, 523, 0), (ANSWER, 1, WRITE)],
    );
    driver.notify(0);
    driver.put_header(HEADER, IN, 9);
    driver.post(0, 4, &[(HEADER, 16, 0), (DATA, 513, WRITE)]);
    driver.notify(0);
    assert_eq!(
        driver.memory.bytes_at(DATA, 513),
        [&[0x5a; 512][..], &[0]].concat()
    );
    assert_eq!(driver.used(0), [(0, 1), (4, 513)]);
}

#[test]
fn the_serial_number_can_be_asked_for() {
    let mut driver = ram(Writing::Allowed);
    driver.request(0, GET_ID, 0, &[(DATA, 12, WRITE), (0x5000, 100, WRITE)]);
    assert_eq!(driver.used(0), [(0, 21)]);
    assert_eq!(
        driver.memory.bytes_at(DATA, 13),
        [&[7; 12][..], &[0]].concat()
    );
    assert_eq!(
        driver.memory.bytes_at(0x5000, 9),
        [&[7; 8][..], &[0]].concat()
    );
}

#[test]
fn the_configuration_has_capacity_and_segments() {
    let mut driver = ram(Writing::Refused);
    let mut word = |offset| driver.read(register::DEVICE_CONFIG + offset, Width::Dword);
    assert_eq!([word(0), word(4)], [SECTORS as u32, 0]);
    assert_eq!(word(12), SEGMENTS as u32);
    assert_eq!(word(32), 0);
    let features = |writing| Block::new(ram_disk(), writing).identity().features;
    assert_eq!(features(Writing::Refused) & 1 << 5, 1 << 5, "read-only");
    assert_eq!(features(Writing::Allowed) & 1 << 5, 0);
}

/// the guest gets an error, and nothing happens to the disk.
#[test]
fn a34_bad_requests_fail_and_do_nothing() {
    let sectors = SECTORS as u64;
    let cases = [
        (IN, sectors, 512, 1),
        (IN, sectors - 1, 1024, 1),
        (OUT, sectors - 1, 1024, 1),
        (IN, u64::MAX, 512, 1),
        (OUT, u64::MAX - 1, 1024, 1),
        (IN, 0, 511, 1),
        (OUT, 0, 513, 1),
        (2, 0, 512, 2),
        (5, 0, 512, 2),
        (u32::MAX, 0, 512, 2),
        // Nothing to do is done.
        (IN, sectors, 0, 0),
        (OUT, 0, 0, 0),
    ];
    for (kind, sector, length, status) in cases {
        let mut driver = slow(2);
        let flags = if kind == OUT { 0 } else { WRITE };
        driver.request(0, kind, sector, &[(DATA, length, flags)]);
        assert_eq!(driver.answer(0), status, "{kind} {sector} {length}");
        assert_eq!(driver.used(0), [(0, 1)]);
        assert!(driver.far.0.borrow().log.is_empty());
        assert_eq!(driver.status(), 0xf);
    }
}

#[test]
fn a_write_to_a_read_only_disk_is_an_error() {
    let mut driver = ram(Writing::Refused);
    driver.request(0, OUT, 0, &[(DATA, 512, 0)]);
    assert_eq!(driver.answer(0), 1);
    driver.request(3, IN, 0, &[(DATA, 512, WRITE)]);
    assert_eq!(driver.memory.bytes_at(DATA, 512), on_disk(0, 512));
}

/// the device stops, and works again after a reset.
#[test]
fn a32_malformed_requests_need_a_reset() {
    let cases: [(&[TestBuffer], Violation); 4] = [
        (
            &[(HEADER, 15, 0), (ANSWER, 1, WRITE)],
            Violation::RequestTooShort,
        ),
        (&[(HEADER, 16, 0)], Violation::RequestTooShort),
        (
            &[(HEADER, 16, 0), (ANSWER, 0, WRITE)],
            Violation::RequestTooShort,
        ),
        (
            &[(ANSWER, 1, WRITE), (HEADER, 16, 0)],
            Violation::ReadableAfterWritable,
        ),
    ];
    for (chain, violation) in cases {
        let mut driver = ram(Writing::Allowed);
        driver.put_header(HEADER, IN, 0);
        driver.post(0, 0, chain);
        driver.notify(0);
        assert_eq!(driver.bus.take_violation(), Some((1, violation)));
        assert_eq!(driver.status(), 0xf | status::NEEDS_RESET);
        driver.memory.put(0x1000, &[0; 0x1000]);
        driver.start();
        driver.request(0, IN, 0, &[(DATA, 512, WRITE)]);
        assert_eq!(driver.answer(0), 0);
    }
}

/// Only a queue that is longer than the limit can hold such a request.
#[test]
fn more_segments_than_the_device_allows_need_a_reset() {
    const DESCRIPTORS: u64 = 0x5000;
    const AVAILABLE: u64 = 0x6000;
    for (segments, expected) in [
        (SEGMENTS, None),
        (SEGMENTS + 1, Some((1, Violation::TooManySegments))),
    ] {
        let mut driver = Driver::with(Block::new(ram_disk(), Writing::Allowed), (), 1 << 28);
        driver.negotiate();
        driver.set_up(0, (DESCRIPTORS, AVAILABLE, 0x7000));
        driver.write(register::QUEUE_SIZE, Width::Word, 256);
        driver.write(register::QUEUE_ENABLE, Width::Word, 1);
        driver.set_status(0xf);
        driver.put_header(HEADER, GET_ID, 0);
        let mut chain = vec![descriptor(HEADER, 16, 1, 1)];
        for next in 2..segments as u16 + 2 {
            chain.push(descriptor(DATA, 4, WRITE | 1, next));
        }
        chain.push(descriptor(ANSWER, 1, WRITE, 0));
        driver.memory.put(DESCRIPTORS, &chain.concat());
        driver.memory.put(AVAILABLE + 2, &[1, 0]);
        driver.notify(0);
        assert_eq!(driver.bus.take_violation(), expected);
    }
}

#[test]
fn requests_are_under_way_together_and_end_in_any_order() {
    let mut driver = slow(4);
    for index in 0..4_u16 {
        let at = DATA + u64::from(index) * 0x400;
        driver.request(index * 3, IN, u64::from(index), &[(at, 512, WRITE)]);
    }
    assert_eq!(driver.far.under_way(), 4);
    assert_eq!(driver.used(0), []);
    for (index, head) in [(2, 6), (0, 0), (1, 9), (0, 3)] {
        driver.far.end(index, Ok(()));
        driver.poll();
        assert_eq!(driver.used(0).last(), Some(&(head, 513)));
    }
    for index in 0..4 {
        let got = driver.memory.bytes_at(DATA + index * 0x400, 512);
        assert_eq!(got, on_disk(index as usize, 512));
    }
}

#[test]
fn a_long_request_goes_in_pieces_of_a_buffer() {
    let mut driver = slow(1);
    driver.request(0, IN, 1, &[(DATA, 10 * 1024, WRITE)]);
    let mut pieces = 0;
    while driver.used(0).is_empty() {
        driver.far.end(0, Ok(()));
        driver.poll();
        pieces += 1;
    }
    assert_eq!(pieces, 3);
    assert_eq!(
        driver.memory.bytes_at(DATA, 10 * 1024),
        on_disk(1, 10 * 1024)
    );
}

#[test]
fn a_medium_error_ends_its_request_alone() {
    let mut driver = slow(2);
    driver.request(0, IN, 1, &[(DATA, 512, WRITE)]);
    driver.request(3, IN, 2, &[(DATA + 0x400, 512, WRITE)]);
    driver.far.end(0, Err(MediumError));
    driver.far.end(0, Ok(()));
    driver.poll();
    assert_eq!([driver.answer(0), driver.answer(3)], [1, 0]);
    assert_eq!(driver.memory.bytes_at(DATA, 512), [0; 512]);
}

#[test]
fn a_full_disk_is_asked_again_after_a_completion() {
    let mut driver = slow(2);
    driver.far.0.borrow_mut().depth = 1;
    driver.memory.put(DATA, &[1; 512]);
    driver.request(0, OUT, 1, &[(DATA, 512, 0)]);
    driver.request(3, OUT, 2, &[(DATA, 512, 0)]);
    assert_eq!(driver.far.under_way(), 1);
    for _ in 0..2 {
        driver.far.end(0, Ok(()));
        driver.poll();
    }
    assert_eq!([driver.answer(0), driver.answer(3)], [0, 0]);
    assert_eq!(driver.far.0.borrow().bytes[512..1536], [1; 1024]);
}

/// Virtio 1.0, 5.2.6.2: a driver that knows of no flushes must not lose what it was told is written.
#[test]
fn without_flushes_a_write_is_flushed_before_its_answer() {
    let mut driver = slow_with(2, 0);
    driver.memory.put(DATA, &[1; 512]);
    driver.request(0, OUT, 1, &[(DATA, 512, 0)]);
    driver.request(3, IN, 2, &[(DATA + 0x400, 512, WRITE)]);
    driver.far.end(0, Ok(()));
    driver.poll();
    assert_eq!(driver.answer(0), NO_ANSWER);
    driver.far.end(0, Ok(()));
    driver.poll();
    assert_eq!([driver.answer(0), driver.answer(3)], [NO_ANSWER, 0]);
    assert_eq!(driver.far.0.borrow().log.last(), Some(&Operation::Flush));
    driver.far.end(0, Err(MediumError));
    driver.poll();
    assert_eq!(
        driver.answer(0),
        1,
        "a flush that fails is the write's failure"
    );
    assert_eq!(driver.used(0), [(3, 513), (0, 1)]);
}

/// the buffer stays the disk's until the disk has ended the transfer, and no byte of it reaches a
/// driver that never asked.
#[test]
fn a33_a_reset_abandons_what_is_under_way() {
    let mut driver = slow(1);
    driver.request(0, IN, 1, &[(DATA, 512, WRITE)]);
    driver.set_status(0);
    driver.memory.put(0x1000, &[0; 0x1000]);
    driver.start();
    driver.request(0, IN, 2, &[(DATA + 0x400, 512, WRITE)]);
    assert_eq!(driver.far.under_way(), 1, "the buffer is still in use");
    driver.far.end(0, Ok(()));
    driver.poll();
    assert_eq!(driver.memory.bytes_at(DATA, 512), [0; 512]);
    assert_eq!(driver.answer(0), NO_ANSWER);
    driver.far.end(0, Ok(()));
    driver.poll();
    assert_eq!(driver.answer(0), 0);
    assert_eq!(driver.memory.bytes_at(DATA + 0x400, 512), on_disk(2, 512));
}

#[test]
fn a_disk_with_many_buffers_gets_no_more_requests_than_there_are_slots() {
    let mut driver = slow(REQUESTS + 4);
    let header = HEADER;
    driver.put_header(header, IN, 0);
    for round in 0..8_u64 {
        for first in [0_u16, 8] {
            let chain = [
                (header, 16, 0),
                (DATA + round, 512, WRITE),
                (ANSWER, 1, WRITE),
            ];
            driver.post(0, first, &chain);
        }
        driver.notify(0);
    }
    driver.poll();
    assert_eq!(driver.far.under_way(), REQUESTS);
}

#[derive(Clone, Debug)]
enum Step {
    Request(u16, u32, u64, Vec<(u64, u32, u16)>),
    Raw(Vec<(u64, u32, u16)>),
    End(usize, bool),
    Poll,
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    let buffer = (
        0..0x1_1000_u64,
        prop_oneof![0..2048_u32, any::<u32>()],
        0..8_u16,
    );
    let buffers = || prop::collection::vec(buffer.clone(), 0..4);
    prop_oneof![
        4 => (0..8_u16, 0..10_u32, 0..70_u64, buffers())
            .prop_map(|(first, kind, sector, data)| Step::Request(first, kind, sector, data)),
        1 => buffers().prop_map(Step::Raw),
        4 => (0..8_usize, any::<bool>()).prop_map(|(index, ok)| Step::End(index, ok)),
        2 => Just(Step::Poll),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    /// LG-173: whatever the driver queues, nothing outside RAM is touched, every exit does a
    /// bounded amount of work, and after a reset the device works. `TestDisk` checks what reaches it.
    #[test]
    fn lg173_a32_to_a34_a_hostile_driver_hurts_itself_only(steps in prop::collection::vec(step(), 1..40)) {
        let mut driver = slow(3);
        for step in steps {
            match step {
                Step::Request(first, kind, sector, data) => {
                    driver.request(first, kind, sector, &data);
                }
                Step::Raw(data) => {
                    if !data.is_empty() {
                        driver.post(0, 0, &data);
                        driver.notify(0);
                    }
                }
                Step::End(index, ok) => {
                    if index < driver.far.under_way() {
                        driver.far.end(index, if ok { Ok(()) } else { Err(MediumError) });
                    }
                }
                Step::Poll => {}
                Step::Reset => {
                    driver.set_status(0);
                    driver.memory.put(0x1000, &[0; 0x1000]);
                    driver.start();
                }
            }
            driver.memory.take_accesses();
            driver.poll();
            prop_assert!(driver.memory.take_accesses() < 4096);
            prop_assert_eq!(driver.memory.refused(), 0);
        }
        driver.set_status(0);
        driver.memory.put(0x1000, &[0; 0x1000]);
        driver.start();
        while driver.far.under_way() != 0 {
            driver.far.end(0, Ok(()));
            driver.poll();
        }
        driver.request(0, IN, 0, &[(DATA, 512, WRITE)]);
        driver.far.end(0, Ok(()));
        driver.poll();
        prop_assert_eq!(driver.answer(0), 0);
    }
}
