//! Negotiation and queue set-up (virtio 1.0, section 3.1).

use super::Violation;
use super::registers::{register, status};
use super::scripted_driver::{Driver, RECEIVE, SIZE, TRANSMIT, parts};
use crate::device::{Devices, Width};

const DRIVER: u8 = status::ACKNOWLEDGE | status::DRIVER;

/// Asserts that `break_rule` stops the device for this reason, and that a reset cures it.
fn assert_violation(violation: Violation, break_rule: impl FnOnce(&mut Driver)) {
    let mut driver = Driver::new();
    break_rule(&mut driver);
    assert_eq!(driver.bus.take_violation(), Some((1, violation)));
    assert_eq!(driver.status() & status::NEEDS_RESET, status::NEEDS_RESET);
    driver.set_status(0);
    assert_eq!(driver.status(), 0);
    driver.start();
}

/// A33, A34
#[test]
fn reset_state_is_zero_but_for_queue_numbers_and_sizes() {
    for mut driver in [Driver::new(), {
        let mut driver = Driver::ready();
        driver.set_status(0);
        driver
    }] {
        for offset in (0..register::COMMON_END).step_by(2) {
            let expected = match offset {
                register::DEVICE_FEATURE => 1 << 2,
                register::NUM_QUEUES => 2,
                register::QUEUE_SIZE => 256,
                // No MSI-X: both vectors are "none".
                register::MSIX_CONFIG | register::QUEUE_MSIX_VECTOR => 0xffff,
                _ => 0,
            };
            assert_eq!(driver.read(offset, Width::Word), expected, "{offset:#x}");
        }
        assert_eq!(driver.isr(), 0);
    }
}

#[test]
fn version_1_and_emergency_write_are_offered() {
    let mut driver = Driver::new();
    for (word, features) in [(0, 1 << 2), (1, 1), (2, 0), (u32::MAX, 0)] {
        driver.write(register::DEVICE_FEATURE_SELECT, Width::Dword, word);
        assert_eq!(
            driver.read(register::DEVICE_FEATURE, Width::Dword),
            features
        );
    }
}

#[test]
fn selecting_a_queue_shows_its_registers() {
    let mut driver = Driver::ready();
    for queue in [RECEIVE, TRANSMIT] {
        driver.write(register::QUEUE_SELECT, Width::Word, queue.into());
        let (descriptors, available, used) = parts(queue);
        assert_eq!(driver.read(register::QUEUE_SIZE, Width::Word), SIZE.into());
        assert_eq!(driver.read(register::QUEUE_ENABLE, Width::Word), 1);
        assert_eq!(
            driver.read(register::QUEUE_DESC, Width::Dword),
            descriptors as u32
        );
        assert_eq!(
            driver.read(register::QUEUE_AVAIL, Width::Dword),
            available as u32
        );
        assert_eq!(driver.read(register::QUEUE_USED, Width::Dword), used as u32);
    }
    for absent in [2, 4, 0xffff] {
        driver.write(register::QUEUE_SELECT, Width::Word, absent);
        assert_eq!(driver.read(register::QUEUE_SIZE, Width::Word), 0);
    }
}

#[test]
fn features_that_were_not_offered_are_not_agreed_on() {
    // Without VERSION_1; with a bit of word 0 that is not offered; with one of word 1.
    for (low, high) in [(4, 0), (4 | 1, 1), (1 << 28, 1), (4, 3)] {
        let mut driver = Driver::new();
        driver.set_status(DRIVER);
        for (word, features) in [(0, low), (1, high)] {
            driver.write(register::DRIVER_FEATURE_SELECT, Width::Dword, word);
            driver.write(register::DRIVER_FEATURE, Width::Dword, features);
        }
        driver.set_status(DRIVER | status::FEATURES_OK);
        assert_eq!(driver.status(), DRIVER, "{low:#x} {high:#x}");
    }
}

#[test]
fn rules_of_the_status_register() {
    let ready = DRIVER | status::DRIVER_OK;
    assert_violation(Violation::DriverReadyTooEarly, |driver| {
        driver.set_status(ready)
    });
    let cleared = Violation::StatusBitsCleared { from: 0xf, to: 1 };
    assert_violation(cleared, |driver| {
        driver.start();
        driver.set_status(1);
    });
    let width = Violation::BadRegisterWidth {
        offset: register::STATUS,
    };
    assert_violation(width, |driver| {
        driver.write(register::STATUS, Width::Dword, 1)
    });
}

#[test]
fn rules_of_features() {
    let wrong_time = Violation::FeaturesAtWrongTime;
    assert_violation(wrong_time, |driver| {
        driver.write(register::DRIVER_FEATURE, Width::Dword, 4)
    });
    assert_violation(wrong_time, |driver| {
        driver.negotiate();
        driver.write(register::DRIVER_FEATURE, Width::Dword, 1);
    });
    assert_violation(Violation::UnknownFeatureWord(2), |driver| {
        driver.set_status(DRIVER);
        driver.write(register::DRIVER_FEATURE_SELECT, Width::Dword, 2);
        driver.write(register::DRIVER_FEATURE, Width::Dword, 1);
    });
}

/// a queue cannot move while the device uses it.
#[test]
fn a33_rules_of_queue_set_up() {
    let wrong_time = Violation::QueueSetUpAtWrongTime;
    let registers = [
        (register::QUEUE_SIZE, Width::Word, 8),
        (register::QUEUE_ENABLE, Width::Word, 1),
        (register::QUEUE_DESC, Width::Dword, 0x5000),
        (register::QUEUE_AVAIL + 4, Width::Dword, 1),
        (register::QUEUE_USED, Width::Dword, 0x5000),
    ];
    for (offset, width, value) in registers {
        assert_violation(wrong_time, |driver| driver.write(offset, width, value));
        assert_violation(wrong_time, |driver| {
            driver.start();
            driver.write(offset, width, value);
        });
    }
    assert_violation(Violation::BadQueueEnable(2), |driver| {
        driver.negotiate();
        driver.set_up(0, parts(0));
        driver.write(register::QUEUE_ENABLE, Width::Word, 2);
    });
    assert_violation(Violation::QueueOutsideRam, |driver| {
        driver.negotiate();
        driver.set_up(0, (0x1000, 0x1_0000, 0x2000));
        driver.write(register::QUEUE_ENABLE, Width::Word, 1);
    });
    assert_violation(Violation::NoSuchQueue(2), |driver| {
        driver.negotiate();
        driver.write(register::QUEUE_SELECT, Width::Word, 2);
        driver.write(register::QUEUE_ENABLE, Width::Word, 1);
    });
    assert_violation(Violation::NoSuchQueue(9), |driver| driver.notify(9));
    assert_violation(Violation::QueueNotEnabled(1), |driver| driver.notify(1));
}

#[test]
fn a_driver_that_gives_up_stops_its_device() {
    let mut driver = Driver::ready();
    driver.post(TRANSMIT, 0, &[(0x8000, 1, 0)]);
    driver.set_status(0xf | status::FAILED);
    driver.notify(TRANSMIT);
    driver.poll();
    assert_eq!(driver.output(), b"");
    assert_eq!(driver.status(), 0xf | status::FAILED);
    assert_eq!(driver.bus.take_violation(), None);
}

#[test]
fn lg162_reading_the_interrupt_status_clears_it() {
    let mut driver = Driver::ready();
    driver.post(TRANSMIT, 0, &[(0x8000, 1, 0)]);
    driver.notify(TRANSMIT);
    // Reading past it does not.
    assert_eq!(driver.read(register::NOTIFY, Width::Dword), 0);
    assert_eq!(driver.isr(), 1);
    assert_eq!(driver.isr(), 0);
}

#[test]
fn read_only_registers_and_holes_ignore_writes() {
    let mut driver = Driver::ready();
    let offsets = [
        (register::DEVICE_FEATURE, Width::Dword),
        (register::MSIX_CONFIG, Width::Word),
        (register::NUM_QUEUES, Width::Word),
        (register::GENERATION, Width::Byte),
        (register::QUEUE_MSIX_VECTOR, Width::Word),
        (register::QUEUE_NOTIFY_OFF, Width::Word),
        (register::ISR, Width::Byte),
        (register::DEVICE_CONFIG, Width::Dword),
        (0x48, Width::Dword),
        (0x7c, Width::Dword),
    ];
    for (offset, width) in offsets {
        driver.write(offset, width, 0x5555_5555);
    }
    assert_eq!(driver.status(), 0xf);
    assert_eq!(driver.read(0x48, Width::Dword), u32::MAX);
    assert_eq!(driver.bus.take_interrupts(), 0);
}
