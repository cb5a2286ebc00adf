//! The entropy device as its driver sees it.

use super::Violation;
use super::registers::status;
use super::rng::Rng;
use super::scripted_driver::{Driver, WRITE};
use crate::device::Devices;
use crate::device::backend::Entropy;

/// Counts up; gives `at_once` bytes a call at most.
struct Counter {
    next: u8,
    at_once: usize,
}

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) -> usize {
        let length = bytes.len().min(self.at_once);
        for byte in &mut bytes[..length] {
            self.next = self.next.wrapping_add(1);
            *byte = self.next;
        }
        length
    }
}

fn driver(at_once: usize) -> Driver<Rng<Counter>, ()> {
    let mut driver = Driver::with(Rng::new(Counter { next: 0, at_once }), (), 0);
    driver.start();
    driver
}

#[test]
fn buffers_are_filled_as_far_as_there_are_bytes() {
    let mut driver = driver(usize::MAX);
    driver.post(
        0,
        0,
        &[(0x8000, 3, WRITE), (0x9000, 0, WRITE), (0xa000, 5, WRITE)],
    );
    driver.post(0, 4, &[(0xb000, 4096, WRITE)]);
    driver.notify(0);
    assert_eq!(driver.used(0), [(0, 8), (4, 64)]);
    assert_eq!(driver.memory.bytes_at(0x8000, 4), [1, 2, 3, 0]);
    assert_eq!(driver.memory.bytes_at(0xa000, 6), [4, 5, 6, 7, 8, 0]);
    assert_eq!(driver.bus.take_interrupts(), 2);
}

#[test]
fn a_chain_waits_for_a_source_that_has_nothing() {
    let mut driver = driver(0);
    driver.post(0, 0, &[(0x8000, 16, WRITE)]);
    driver.notify(0);
    driver.poll();
    assert_eq!(driver.used(0), []);
    assert_eq!(driver.status(), 0xf);
}

///
#[test]
fn a32_a_readable_buffer_needs_a_reset() {
    let mut driver = driver(8);
    driver.post(0, 0, &[(0x8000, 16, 0)]);
    driver.notify(0);
    assert_eq!(driver.status(), 0xf | status::NEEDS_RESET);
    assert_eq!(
        driver.bus.take_violation(),
        Some((1, Violation::WrongDirection))
    );
}

#[test]
fn a_poll_serves_a_bounded_number_of_chains() {
    let mut driver = driver(8);
    for first in 0..16 {
        driver.post(0, first, &[(0x8000, 8, WRITE)]);
    }
    driver.notify(0);
    let served = driver.used(0).len();
    assert!(0 < served && served < 16);
    for _ in 0..4 {
        driver.poll();
    }
    assert_eq!(driver.used(0).len(), 16);
}
