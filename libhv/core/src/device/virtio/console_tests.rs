//! The console as its driver sees it.

use super::registers::{register, status};
use super::scripted_driver::{
    Driver, INDIRECT, NEXT, RAM, RECEIVE, SIZE, TRANSMIT, TestBuffer, WRITE, parts,
};
use super::{Violation, VirtioDevice};
use crate::device::backend::Full;
use crate::device::{Devices, Width};
use proptest::prelude::*;

const EMERGENCY: u32 = register::DEVICE_CONFIG + super::console::EMERGENCY;

#[test]
fn lg161_a_notified_chain_is_printed_and_given_back() {
    let mut driver = Driver::ready();
    driver.memory.put(0x8000, b"hello, ");
    driver.memory.put(0x9000, b"world");
    driver.post(TRANSMIT, 3, &[(0x8000, 7, 0), (0x9000, 5, 0)]);
    driver.notify(TRANSMIT);
    assert_eq!(driver.output(), b"hello, world");
    assert_eq!(driver.used(TRANSMIT), [(3, 0)]);
    assert_eq!(driver.bus.take_interrupts(), 1 << 1);
    assert_eq!(driver.bus.take_interrupts(), 0);
    assert_eq!(driver.isr(), 1);
}

#[test]
fn output_without_a_notification_waits_for_one() {
    let mut driver = Driver::ready();
    driver.poll();
    driver.post(TRANSMIT, 0, &[(0x8000, 1, 0)]);
    driver.poll();
    assert_eq!(driver.output(), b"");
    driver.notify(TRANSMIT);
    assert_eq!(driver.output().len(), 1);
}

#[test]
fn buffers_posted_before_the_driver_is_ready_are_served_after() {
    let mut driver = Driver::new();
    driver.negotiate();
    for queue in [RECEIVE, TRANSMIT] {
        driver.set_up(queue, parts(queue));
        driver.write(register::QUEUE_ENABLE, Width::Word, 1);
    }
    driver.memory.put(0x8000, b"early");
    driver.post(TRANSMIT, 0, &[(0x8000, 5, 0)]);
    driver.notify(TRANSMIT);
    driver.poll();
    assert_eq!(
        driver.output(),
        b"",
        "no buffer may be touched before DRIVER_OK"
    );
    driver.set_status(0xf);
    driver.poll();
    assert_eq!(driver.output(), b"early");
}

#[test]
fn a_full_far_end_loses_no_byte() {
    let mut driver = Driver::ready();
    let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
    driver.memory.put(0x8000, &text);
    driver.set_room(0);
    driver.post(TRANSMIT, 0, &[(0x8000, 700, 0), (0x8000 + 700, 300, 0)]);
    driver.notify(TRANSMIT);
    assert_eq!(driver.used(TRANSMIT), []);
    while driver.used(TRANSMIT).is_empty() {
        driver.set_room(37);
        driver.poll();
    }
    assert_eq!(driver.output(), text);
    assert_eq!(driver.used(TRANSMIT), [(0, 0)]);
}

#[test]
fn input_waits_at_the_far_end_until_there_are_buffers() {
    let mut driver = Driver::ready();
    driver.type_in(b"ls\n");
    driver.poll();
    assert_eq!(driver.waiting_input(), 3);
    driver.post(RECEIVE, 2, &[(0xa000, 2, WRITE)]);
    driver.notify(RECEIVE);
    assert_eq!(driver.waiting_input(), 1);
    assert_eq!(driver.used(RECEIVE), [(2, 2)]);
    driver.post(RECEIVE, 4, &[(0xb000, 64, WRITE)]);
    driver.notify(RECEIVE);
    assert_eq!(driver.used(RECEIVE), [(2, 2), (4, 1)]);
    assert_eq!(driver.memory.bytes_at(0xa000, 2), b"ls");
    assert_eq!(driver.memory.bytes_at(0xb000, 2), b"\n\0");
}

#[test]
fn input_fills_a_waiting_buffer_at_the_next_poll_and_interrupts() {
    let mut driver = Driver::ready();
    driver.post(RECEIVE, 0, &[(0xa000, 64, WRITE)]);
    driver.notify(RECEIVE);
    driver.poll();
    assert_eq!(driver.bus.take_interrupts(), 0);
    driver.type_in(b"x");
    driver.poll();
    assert_eq!(driver.used(RECEIVE), [(0, 1)]);
    assert_eq!(driver.bus.take_interrupts(), 1 << 1);
}

#[test]
fn a_long_input_spreads_over_buffers() {
    let mut driver = Driver::ready();
    let text: Vec<u8> = (0..200).collect();
    for first in [0, 3, 6] {
        let at = 0xa000 + u64::from(first) * 0x100;
        driver.post(
            RECEIVE,
            first,
            &[(at, 50, WRITE), (at + 50, 0, WRITE), (at + 50, 30, WRITE)],
        );
    }
    driver.type_in(&text);
    driver.notify(RECEIVE);
    assert_eq!(driver.used(RECEIVE), [(0, 80), (3, 80), (6, 40)]);
    let got = [0xa000, 0xa300, 0xa600]
        .map(|at| driver.memory.bytes_at(at, 80))
        .concat();
    assert_eq!(got[..200], text);
}

/// The idle poll happens before every entry of the guest.
#[test]
fn an_idle_poll_does_not_touch_guest_memory() {
    let mut driver = Driver::ready();
    driver.post(RECEIVE, 0, &[(0xa000, 64, WRITE)]);
    driver.notify(RECEIVE);
    driver.notify(TRANSMIT);
    driver.memory.take_accesses();
    driver.poll();
    assert_eq!(driver.memory.take_accesses(), 0);
}

#[test]
fn lg163_an_emergency_write_prints_before_any_driver_is_set_up() {
    let mut driver = Driver::new();
    for byte in b"panic" {
        driver.write(EMERGENCY, Width::Dword, u32::from(*byte) | 0xabcd_ef00);
    }
    assert_eq!(driver.output(), b"panic");
    assert_eq!(driver.status(), 0);
}

#[test]
fn emergency_bytes_wait_for_a_full_far_end_and_stay_in_order() {
    let mut driver = Driver::ready();
    driver.set_room(0);
    for byte in b"abc" {
        driver.write(EMERGENCY, Width::Dword, (*byte).into());
    }
    driver.memory.put(0x8000, b"later");
    driver.post(TRANSMIT, 0, &[(0x8000, 5, 0)]);
    driver.notify(TRANSMIT);
    driver.set_room(2);
    driver.poll();
    assert_eq!(driver.output(), b"ab");
    driver.set_room(100);
    driver.write(EMERGENCY, Width::Dword, u32::from(b'd'));
    driver.poll();
    assert_eq!(driver.output(), b"abcdlater");
}

/// Between these the guest does not run, so that a far end which stops for a while loses nothing.
#[test]
fn emergency_bytes_are_flushed_one_after_the_other() {
    let mut driver = Driver::new();
    assert_eq!(
        driver.bus.console().map(VirtioDevice::flush_console),
        Some(Ok(()))
    );
    for number in 0..5000_u32 {
        driver.set_room(0);
        driver.write(EMERGENCY, Width::Dword, number & 0xff);
        assert_eq!(
            driver.bus.console().map(VirtioDevice::flush_console),
            Some(Err(Full))
        );
        driver.set_room(1);
        assert_eq!(
            driver.bus.console().map(VirtioDevice::flush_console),
            Some(Ok(()))
        );
    }
    let all: Vec<u8> = (0..5000_u32).map(|number| number as u8).collect();
    assert_eq!(driver.output(), all);
}

#[test]
fn a_flood_of_emergency_bytes_is_bounded() {
    let mut driver = Driver::new();
    driver.set_room(0);
    for _ in 0..5000 {
        driver.write(EMERGENCY, Width::Dword, u32::from(b'x'));
    }
    driver.set_room(usize::MAX);
    driver.poll();
    assert_eq!(driver.output().len(), 1024);
}

/// the device of a driver that breaks the rules stops, tells the driver, and works again
/// after a reset.
#[test]
fn a32_a_broken_queue_needs_a_reset_and_nothing_else() {
    let cases: [(u16, &[TestBuffer], Violation); 5] = [
        (TRANSMIT, &[(RAM as u64, 1, 0)], Violation::BufferOutsideRam),
        (TRANSMIT, &[(0x8000, 1, WRITE)], Violation::WrongDirection),
        (RECEIVE, &[(0x8000, 1, 0)], Violation::WrongDirection),
        (
            TRANSMIT,
            &[(0x8000, 16, INDIRECT)],
            Violation::IndirectNotNegotiated,
        ),
        (
            TRANSMIT,
            &[(0x8000, 1, NEXT); 17],
            Violation::BadDescriptorIndex(SIZE),
        ),
    ];
    for (queue, chain, violation) in cases {
        let mut driver = Driver::ready();
        driver.post(queue, 0, &chain[..chain.len().min(SIZE.into())]);
        driver.notify(queue);
        assert_eq!(driver.status(), 0xf | status::NEEDS_RESET);
        assert_eq!(driver.bus.take_violation(), Some((1, violation)));
        assert_eq!(driver.bus.take_interrupts(), 1 << 1);
        assert_eq!(driver.isr() & 2, 2, "the driver is told");

        driver.memory.put(0x8000, b"deaf");
        driver.notify(queue);
        driver.poll();
        assert_eq!(driver.status(), 0xf | status::NEEDS_RESET);

        for queue in [RECEIVE, TRANSMIT] {
            driver.memory.put(parts(queue).0, &[0; 0x1000]);
        }
        driver.start();
        driver.post(TRANSMIT, 0, &[(0x8000, 4, 0)]);
        driver.notify(TRANSMIT);
        assert!(driver.output().ends_with(b"deaf"));
    }
}

///
#[test]
fn a33_a_reset_in_the_middle_of_requests_forgets_them() {
    let mut driver = Driver::ready();
    driver.memory.put(0x8000, b"half of this is lost");
    driver.post(TRANSMIT, 0, &[(0x8000, 20, 0)]);
    driver.post(RECEIVE, 0, &[(0xa000, 64, WRITE)]);
    driver.set_room(4);
    driver.notify(TRANSMIT);
    driver.notify(RECEIVE);
    driver.set_status(0);
    driver.set_room(100);
    driver.type_in(b"typed");
    driver.poll();
    assert_eq!(driver.output(), b"half");
    assert_eq!(driver.waiting_input(), 5);
    assert_eq!(driver.memory.bytes_at(0xa000, 5), [0; 5]);
    assert_eq!(driver.bus.take_interrupts(), 0);
}

/// one exit does a bounded amount of work, whatever is queued.
#[test]
fn a32_a39_a_poll_moves_a_bounded_amount() {
    let mut driver = Driver::ready();
    driver.post(TRANSMIT, 0, &[(0, RAM as u32, 0)]);
    driver.memory.take_accesses();
    driver.notify(TRANSMIT);
    assert_eq!(driver.output().len(), 1024);
    for first in 1..SIZE {
        driver.post(TRANSMIT, first, &[(0, RAM as u32, 0)]);
    }
    driver.poll();
    assert_eq!(driver.output().len(), 2048);
    assert!(driver.memory.take_accesses() < 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Bytes arrive whole and in order however the chains are cut and however the far end stalls.
    #[test]
    fn output_is_the_concatenation_of_all_buffers(
        lengths in prop::collection::vec(prop::collection::vec(0..200_u32, 1..5), 1..20),
        rooms in prop::collection::vec(1..300_usize, 1..8),
    ) {
        let mut driver = Driver::ready();
        let source: Vec<u8> = (0..0x4000_u32).map(|index| (index * 7 + index / 256) as u8).collect();
        driver.memory.put(0x8000, &source);
        let mut at = 0;
        let mut rooms = rooms.iter().cycle();
        for (turn, chain) in lengths.iter().enumerate() {
            let buffers: Vec<_> = chain
                .iter()
                .map(|length| {
                    let buffer = (0x8000 + at as u64, *length, 0);
                    at += *length as usize;
                    buffer
                })
                .collect();
            driver.post(TRANSMIT, 0, &buffers);
            driver.set_room(*rooms.next().unwrap());
            driver.notify(TRANSMIT);
            let mut polls = 0;
            while driver.memory.u16_at(parts(TRANSMIT).2 + 2) != turn as u16 + 1 {
                polls += 1;
                prop_assert!(polls < 2000, "no progress");
                driver.set_room(*rooms.next().unwrap());
                driver.poll();
            }
        }
        prop_assert_eq!(driver.output(), &source[..at]);
    }
}
