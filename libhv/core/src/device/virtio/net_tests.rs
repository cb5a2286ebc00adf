//! The network device as its driver sees it.

use super::Violation;
use super::net::{HEADER, Net};
use super::registers::{register, status};
use super::scripted_driver::{Driver, RECEIVE, TRANSMIT, TestBuffer, WRITE};
use crate::device::backend::{FRAME, Full, Link};
use crate::device::{Devices, Width};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

#[derive(Default)]
struct Wire {
    sent: Vec<Vec<u8>>,
    coming: VecDeque<Vec<u8>>,
    room: usize,
}

#[derive(Clone, Default)]
struct SharedWire(Rc<RefCell<Wire>>);

impl Link for SharedWire {
    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 9]
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), Full> {
        assert!((14..=FRAME).contains(&frame.len()));
        let mut wire = self.0.borrow_mut();
        wire.room = wire.room.checked_sub(1).ok_or(Full)?;
        wire.sent.push(frame.to_vec());
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        let frame = self.0.borrow_mut().coming.pop_front()?;
        into[..frame.len()].copy_from_slice(&frame);
        Some(frame.len())
    }
}

type NetDriver = Driver<Net<SharedWire>, SharedWire>;

fn driver() -> NetDriver {
    let wire = SharedWire::default();
    wire.0.borrow_mut().room = usize::MAX;
    let mut driver = Driver::with(Net::new(wire.clone()), wire, 1 << 5);
    driver.start();
    driver
}

fn frame(length: usize) -> Vec<u8> {
    (0..length).map(|index| index as u8 ^ 0x5a).collect()
}

fn sent(driver: &NetDriver) -> Vec<Vec<u8>> {
    driver.far.0.borrow().sent.clone()
}

fn arrives(driver: &NetDriver, frame: Vec<u8>) {
    driver.far.0.borrow_mut().coming.push_back(frame);
}

#[test]
fn the_mac_address_is_the_link_s() {
    let mut driver = driver();
    let mut read = |offset, width| driver.read(register::DEVICE_CONFIG + offset, width);
    assert_eq!(read(0, Width::Dword), 0x0000_0002);
    assert_eq!(read(4, Width::Word), 0x0900);
}

#[test]
fn a_frame_is_sent_without_its_header() {
    let mut driver = driver();
    driver.memory.put(0x8000, &[0xff; HEADER]);
    driver.memory.put(0x9000, &frame(100));
    driver.post(
        TRANSMIT,
        0,
        &[(0x8000, 12, 0), (0x9000, 60, 0), (0x903c, 40, 0)],
    );
    driver.notify(TRANSMIT);
    assert_eq!(sent(&driver), [frame(100)]);
    assert_eq!(driver.used(TRANSMIT), [(0, 0)]);
}

/// what cannot be a frame goes nowhere, and its buffers come back.
#[test]
fn a35_frames_too_short_or_too_long_are_dropped() {
    for (length, count) in [
        (0, 0),
        (5, 0),
        (12, 0),
        (25, 0),
        (26, 1),
        (1530, 1),
        (1531, 0),
        (0xffff, 0),
    ] {
        let mut driver = driver();
        driver.post(TRANSMIT, 0, &[(0, length, 0)]);
        driver.notify(TRANSMIT);
        assert_eq!(sent(&driver).len(), count, "{length}");
        assert_eq!(driver.used(TRANSMIT), [(0, 0)]);
        assert_eq!(driver.status(), 0xf);
    }
}

#[test]
fn a_full_link_loses_no_frame() {
    let mut driver = driver();
    driver.far.0.borrow_mut().room = 1;
    for first in 0..4_u16 {
        driver
            .memory
            .put(0x8000 + u64::from(first) * 0x100, &[first as u8; 80]);
        driver.post(
            TRANSMIT,
            first,
            &[(0x8000 + u64::from(first) * 0x100, 80, 0)],
        );
    }
    driver.notify(TRANSMIT);
    assert_eq!(driver.used(TRANSMIT).len(), 1);
    for _ in 0..3 {
        driver.far.0.borrow_mut().room = 1;
        driver.poll();
    }
    let firsts: Vec<u8> = sent(&driver).iter().map(|frame| frame[0]).collect();
    assert_eq!(firsts, [0, 1, 2, 3]);
    assert_eq!(driver.used(TRANSMIT).len(), 4);
}

#[test]
fn an_arriving_frame_gets_a_header_and_spreads_over_buffers() {
    let mut driver = driver();
    arrives(&driver, frame(200));
    driver.poll();
    driver.post(
        RECEIVE,
        0,
        &[
            (0x8000, 12, WRITE),
            (0x9000, 150, WRITE),
            (0xa000, 1400, WRITE),
        ],
    );
    driver.notify(RECEIVE);
    assert_eq!(driver.used(RECEIVE), [(0, 212)]);
    // One buffer, no offloads.
    assert_eq!(
        driver.memory.bytes_at(0x8000, 12),
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    );
    let got = [
        driver.memory.bytes_at(0x9000, 150),
        driver.memory.bytes_at(0xa000, 50),
    ];
    assert_eq!(got.concat(), frame(200));
    assert_eq!(driver.bus.take_interrupts(), 2);
}

#[test]
fn frames_wait_at_the_link_until_there_are_buffers() {
    let mut driver = driver();
    for _ in 0..3 {
        arrives(&driver, frame(60));
    }
    driver.poll();
    driver.post(RECEIVE, 0, &[(0x8000, 1530, WRITE)]);
    driver.notify(RECEIVE);
    assert_eq!(driver.used(RECEIVE).len(), 1);
    driver.post(RECEIVE, 1, &[(0x8800, 1530, WRITE)]);
    driver.post(RECEIVE, 2, &[(0x9000, 1530, WRITE)]);
    driver.notify(RECEIVE);
    assert_eq!(driver.used(RECEIVE).len(), 3);
}

///
#[test]
fn a32_a35_broken_buffers_need_a_reset() {
    let cases: [(u16, &[TestBuffer], Violation); 3] = [
        (TRANSMIT, &[(0x8000, 100, WRITE)], Violation::WrongDirection),
        (RECEIVE, &[(0x8000, 1530, 0)], Violation::WrongDirection),
        (RECEIVE, &[(0x8000, 71, WRITE)], Violation::RequestTooShort),
    ];
    for (queue, chain, violation) in cases {
        let mut driver = driver();
        arrives(&driver, frame(60));
        driver.post(queue, 0, chain);
        driver.notify(queue);
        assert_eq!(driver.status(), 0xf | status::NEEDS_RESET);
        assert_eq!(driver.bus.take_violation(), Some((1, violation)));
    }
}

/// a flood is served in turns.
#[test]
fn a35_a39_a_poll_moves_a_bounded_number_of_frames() {
    let mut driver = driver();
    for _ in 0..5 {
        for first in 0..16 {
            driver.post(TRANSMIT, first, &[(0x8000, 100, 0)]);
        }
        driver.memory.take_accesses();
        driver.notify(TRANSMIT);
        assert!(driver.memory.take_accesses() < 1000);
    }
}

proptest! {
    /// LG-173, A-35: nothing outside RAM is touched, whatever is queued and whatever arrives.
    #[test]
    fn lg173_a35_a_hostile_driver_hurts_itself_only(
        chains in prop::collection::vec(
            (0..2_u16, prop::collection::vec(
                (0..0x1_1000_u64, prop_oneof![0..4096_u32, any::<u32>()], 0..8_u16), 1..5)),
            1..20),
        arriving in prop::collection::vec(14..=FRAME, 0..20),
    ) {
        let mut driver = driver();
        for length in arriving {
            arrives(&driver, frame(length));
        }
        for (queue, chain) in chains {
            driver.post(queue, 0, &chain);
            driver.notify(queue);
            driver.memory.take_accesses();
            driver.poll();
            prop_assert!(driver.memory.take_accesses() < 2000);
            prop_assert_eq!(driver.memory.refused(), 0);
        }
        driver.set_status(0);
        for queue in 0..2 {
            driver.memory.put(0x1000 * (queue + 1), &[0; 0x1000]);
        }
        driver.start();
        let before = sent(&driver).len();
        driver.post(TRANSMIT, 0, &[(0x8000, 100, 0)]);
        driver.notify(TRANSMIT);
        prop_assert_eq!(sent(&driver).len(), before + 1);
    }
}
