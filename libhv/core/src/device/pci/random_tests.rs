//! Accesses as an attacker would choose them.

use super::tests::{read, write};
use super::*;
use crate::device::virtio::registers::register;
use crate::device::virtio::scripted_driver::{BAR, Driver, TRANSMIT};
use proptest::prelude::*;
use std::vec::Vec;

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![Just(Width::Byte), Just(Width::Word), Just(Width::Dword)]
}

/// One of them.
#[derive(Clone, Debug)]
enum Step {
    Read(u16, Width),
    Write(u16, Width, u32),
    Register(u32, Width, u32),
    Peek(u32, Width),
    Scribble(u16, Vec<u8>),
    Poll,
}

fn step() -> impl Strategy<Value = Step> {
    let port = || prop_oneof![Just(0x64_u16), 0xcf0..0xd08_u16, Just(DATA), any::<u16>()];
    let latch = (0..3_u32, 0..0x100_u32).prop_map(|(slot, offset)| 1 << 31 | slot << 11 | offset);
    let value = || {
        prop_oneof![
            0..0x90_u32,
            Just(u32::MAX),
            Just(0x1000),
            Just(0x2000),
            Just(0x1800),
            any::<u32>()
        ]
    };
    prop_oneof![
        (port(), width()).prop_map(|(p, w)| Step::Read(p, w)),
        (port(), width(), value()).prop_map(|(p, w, v)| Step::Write(p, w, v)),
        latch.prop_map(|v| Step::Write(ADDRESS, Width::Dword, v)),
        (0..0x84_u32, width(), value()).prop_map(|(o, w, v)| Step::Register(o, w, v)),
        (0..0x84_u32, width()).prop_map(|(o, w)| Step::Peek(o, w)),
        Just(Step::Register(register::NOTIFY, Width::Word, 0)),
        Just(Step::Register(register::NOTIFY, Width::Word, 1)),
        (
            0x1000..0x3000_u16,
            prop::collection::vec(any::<u8>(), 1..64)
        )
            .prop_map(|(at, bytes)| Step::Scribble(at, bytes)),
        Just(Step::Poll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// no sequence of accesses panics, leaves RAM, or makes one access take more
    /// than a bounded number of touches of guest memory; the console still works after a reset.
    #[test]
    fn a32_a33_a36_random_accesses_are_contained(
        ready in any::<bool>(),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut driver = if ready { Driver::ready() } else { Driver::new() };
        driver.type_in(&[b'i'; 4096]);
        for step in steps {
            driver.memory.take_accesses();
            match step {
                Step::Read(port, width) => {
                    let value = read(&mut driver, port, width);
                    prop_assert_eq!(value & !width.ones(), 0);
                }
                Step::Write(port, width, value) => write(&mut driver, port, width, value),
                Step::Register(offset, width, value) => {
                    let at = Gpa::new(BAR + u64::from(offset));
                    let _ = driver.bus.memory_write(&driver.memory, at, width, value);
                }
                Step::Peek(offset, width) => {
                    let at = Gpa::new(BAR + u64::from(offset));
                    if let Ok(value) = driver.bus.memory_read(at, width) {
                        prop_assert_eq!(value & !width.ones(), 0);
                    }
                }
                Step::Scribble(at, bytes) => driver.memory.put(at.into(), &bytes),
                Step::Poll => driver.poll(),
            }
            prop_assert!(driver.memory.take_accesses() < 1000);
            prop_assert_eq!(driver.bus.take_interrupts() & !2, 0);
        }
        prop_assert_eq!(driver.memory.refused(), 0);

        driver.memory.put(0x1000, &[0; 0x2000]);
        driver.start();
        driver.memory.put(0x8000, b"alive");
        driver.post(TRANSMIT, 0, &[(0x8000, 5, 0)]);
        driver.notify(TRANSMIT);
        prop_assert!(driver.output().ends_with(b"alive"));
    }
}
