//! Random guests: whatever a guest does, in whatever order.

use super::fixture::{DATA, INTERRUPT_GATE, Machine, RAM};
use super::numbers::data;
use crate::address::Gpa;
use crate::memory::GuestMemory;
use crate::personality::Trap;
use crate::registers::eflags;
use crate::segment::Descriptor;
use proptest::prelude::*;

/// One thing that a hostile guest does between two entries.
#[derive(Clone, Debug)]
enum Step {
    Call([u32; 4]),
    Queue(u32, [u32; 5]),
    Trap(Trap),
    Poke(u32, u32),
    Jump {
        eip: u32,
        esp: u32,
        selectors: [u32; 2],
        flags: u32,
    },
    Raise(u32),
}

fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..0x20_u32,
        (0..RAM as u32 + 0x1000),
        (DATA..DATA + data::SIZE),
        Just(u32::MAX),
        Just(0x8e00),
        Just(0xef00),
        any::<u32>(),
    ]
}

/// Calls that a guest may survive, mostly; and gates and descriptors that are worth loading.
fn call() -> impl Strategy<Value = [u32; 4]> {
    let known = prop::sample::select(vec![0_u32, 4, 5, 8, 9, 10, 14, 15, 16, 19]);
    prop_oneof![
        16 => (known, word(), word(), word()).prop_map(|(number, a, b, c)| [number, a, b, c]),
        8 => (0..32_u32, any::<u32>(), any::<u32>()).prop_map(|(index, low, high)| [18, index, low, high]),
        4 => (0..256_u32, word(), word()).prop_map(|(vector, low, high)| {
            [6, vector, low, high & 0xffff_60ff | 0x8e00]
        }),
        2 => (word(), 0..3_u32).prop_map(|(top, pages)| [7, 0x69, top, pages]),
        1 => (word(), word(), word(), word()).prop_map(|(number, a, b, c)| [number, a, b, c]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let code = prop_oneof![4 => Just(0x61), 2 => Just(0x73), 1 => word()];
    let stack = prop_oneof![4 => Just(0x69), 2 => Just(0x7b), 1 => word()];
    let trap = (any::<u8>(), word(), any::<u64>().prop_map(|cr2| cr2 >> 30));
    let place = (
        word(),
        0..RAM as u32,
        [code.boxed(), stack.boxed()],
        any::<u32>(),
    );
    prop_oneof![
        8 => call().prop_map(Step::Call),
        2 => (0..64_u32, call(), word())
            .prop_map(|(slot, [a, b, c, d], e)| Step::Queue(slot, [a, b, c, d, e])),
        6 => trap.prop_map(|(vector, error, cr2)| Step::Trap(Trap { vector, error, cr2 })),
        2 => (0..RAM as u32 - 3, word()).prop_map(|(at, word)| Step::Poke(at, word)),
        2 => place.prop_map(|(eip, esp, selectors, flags)| Step::Jump {
            eip,
            esp,
            selectors,
            flags: flags & !eflags::VM,
        }),
        1 => (0..40_u32).prop_map(Step::Raise),
    ]
}

proptest! {
    /// No panic, bounded work, and an entry whose flags, descriptors and gates are those that the
    /// host's safety rests on (LG-063, LG-128, A-26).
    #[test]
    fn a26_no_sequence_of_exits_makes_an_entry_unsafe(steps in prop::collection::vec(step(), 1..60)) {
        let mut machine = Machine::initialised();
        for vector in 0..=255 {
            machine.load_gate(vector, INTERRUPT_GATE);
        }
        for step in steps {
            machine.accesses();
            let result = match step {
                Step::Call([number, rest @ ..]) => machine.call(number, rest),
                Step::Trap(trap) => machine.exit(trap),
                Step::Queue(slot, words) => {
                    machine.queue(slot, words);
                    Ok(())
                }
                Step::Poke(at, word) => {
                    machine.guest.memory().write_u32(Gpa::from(at), word).unwrap();
                    Ok(())
                }
                Step::Jump { eip, esp, selectors: [cs, ss], flags } => {
                    machine.regs.eip = eip;
                    machine.regs.esp = esp;
                    machine.regs.cs = cs;
                    machine.regs.ss = ss;
                    machine.regs.eflags = flags;
                    Ok(())
                }
                Step::Raise(irq) => {
                    prop_assert_eq!(machine.guest.raise(irq).is_ok(), irq < 32);
                    Ok(())
                }
            };
            if result.and_then(|()| machine.enter()).is_err() {
                break;
            }
            // The fixture writes a queued slot with six accesses; a round of the ring has 64 slots.
            prop_assert!(machine.accesses() < 64 * 8);
            let flags = machine.regs.eflags;
            prop_assert_eq!(flags & !(eflags::GUEST | eflags::FORCED), 0);
            prop_assert_eq!(flags & eflags::FORCED, eflags::FORCED);
            for (index, &raw) in machine.guest.gdt().iter().enumerate() {
                let live = Descriptor::new(raw);
                prop_assert!(raw == 0 || live.for_guest() == Ok(live), "entry {}: {:#x}", index, raw);
                prop_assert!(raw == 0 || ![0, 10, 11, 16, 31].contains(&index));
            }
            for vector in 0..=255 {
                let open = matches!(vector, 3 | 4 | 31 | 0x80);
                prop_assert!(open || machine.guest.gate_privilege(vector) == 0);
            }
            prop_assert_eq!(machine.guest.gate_privilege(31), 1);
        }
    }
}
