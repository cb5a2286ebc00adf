//! Hypercalls, one by one.

use super::fixture::{Machine, RAM, Told, killed};
use super::numbers::hypercall;
use crate::clock::Nanos;
use crate::personality::lguest::Changes;
use crate::personality::{End, Next, Ts};

/// LG-020, LG-024, LG-025: for every call that comes back.
#[test]
fn lg020_lg024_a_call_changes_no_register() {
    let calls = [
        (hypercall::FLUSH_ASYNC, [1, 2, 3]),
        (hypercall::NEW_PGTABLE, [0x5000, 2, 3]),
        (hypercall::FLUSH_TLB, [0, 2, 3]),
        (hypercall::LOAD_IDT_ENTRY, [3, 2, 0x8e00]),
        (hypercall::SET_STACK, [0x69, 0x8000, 2]),
        (hypercall::TS, [8, 2, 3]),
        (hypercall::SET_CLOCKEVENT, [0, 2, 3]),
        (hypercall::HALT, [1, 2, 3]),
        (hypercall::SET_PTE, [0x5000, 2, 3]),
        (hypercall::SET_PGD, [0x5000, 2, 3]),
        (hypercall::LOAD_TLS, [0x5000, 2, 3]),
        (hypercall::LOAD_GDT_ENTRY, [14, 2, 3]),
        (hypercall::SEND_INTERRUPTS, [1, 2, 3]),
    ];
    for (number, arguments) in calls {
        let mut machine = Machine::initialised();
        machine.regs.edi = 0xdddd;
        machine.regs.ebp = 0xbbbb;
        let mut expected = machine.regs.clone();
        [expected.ebx, expected.ecx, expected.edx] = arguments;
        expected.eax = number;
        assert_eq!(machine.call(number, arguments), Ok(()), "call {number}");
        machine.enter().unwrap();
        assert_eq!(machine.regs, expected, "call {number}");
    }
}

/// LG-030 to LG-032.
#[test]
fn lg030_unknown_numbers_kill() {
    for number in [3, 11, 12, 13, 17, 20, 0x1_0000, 0x8000_0001, u32::MAX] {
        let mut machine = Machine::initialised();
        assert_eq!(
            killed(machine.call(number, [0; 3])),
            format!("Bad hypercall {number}")
        );
    }
}

#[test]
fn page_table_calls_reach_the_translation_as_they_are() {
    let mut machine = Machine::initialised();
    machine
        .call(hypercall::NEW_PGTABLE, [0x5000, 0, 0])
        .unwrap();
    machine
        .call(hypercall::SET_PTE, [0x5000, 0xc000_1234, 0xfff0_0067])
        .unwrap();
    machine.call(hypercall::SET_PGD, [0x6000, 1023, 0]).unwrap();
    machine.call(hypercall::FLUSH_TLB, [0, 0, 0]).unwrap();
    machine.call(hypercall::FLUSH_TLB, [1, 0, 0]).unwrap();
    machine
        .call(hypercall::FLUSH_TLB, [0x8000_0000, 0, 0])
        .unwrap();
    assert_eq!(
        machine.told(),
        [
            Told::NewPgtable(0x5000),
            Told::SetPte(0x5000, 0xc000_1234, 0xfff0_0067),
            Told::SetPgd(0x6000, 1023),
            Told::FlushUser,
            Told::FlushAll,
            Told::FlushAll,
        ]
    );
}

/// LG-032: SET_PMD and the high word of an entry mean something to guests with three levels.
#[test]
fn lg032_calls_for_three_levels_reach_the_translation() {
    let mut machine = Machine::initialised();
    machine.mmu().has_middle_tables = true;
    machine.regs.esi = 0x8000_0000;
    machine
        .call(hypercall::SET_PTE, [0x5020, 0x1234, 0x67])
        .unwrap();
    machine.call(hypercall::SET_PMD, [0x6000, 3, 0]).unwrap();
    assert_eq!(
        machine.told(),
        [
            Told::SetPte(0x5020, 0x1234, 0x8000_0000_0000_0067),
            Told::SetPmd(0x6000),
        ]
    );
}

#[test]
fn what_the_translation_refuses_kills_with_its_reason() {
    use crate::kill::Kill;
    for number in [
        hypercall::NEW_PGTABLE,
        hypercall::SET_PTE,
        hypercall::SET_PGD,
        hypercall::FLUSH_TLB,
    ] {
        let mut machine = Machine::initialised();
        machine.mmu().refuse = Some(Kill::BadPageTableEntry(0x87));
        assert_eq!(
            killed(machine.call(number, [0x5000; 3])),
            "bad page table entry 0x87"
        );
    }
}

/// LG-071, LG-072: in this order.
#[test]
fn lg071_lg072_set_stack_checks_the_selector_then_the_pages() {
    for selector in [0x68, 0x6a, 0x7b, 0] {
        let mut machine = Machine::initialised();
        let reason = killed(machine.call(hypercall::SET_STACK, [selector, 0x8000, 9]));
        assert_eq!(reason, format!("bad stack segment {selector:#x}"));
        assert_eq!(machine.told(), []);
    }
    for pages in [3, u32::MAX] {
        let mut machine = Machine::initialised();
        let reason = killed(machine.call(hypercall::SET_STACK, [0x69, 0x8000, pages]));
        assert_eq!(reason, format!("bad stack pages {pages}"));
        assert_eq!(machine.told(), []);
    }
}

/// LG-073, LG-074.
#[test]
fn lg073_lg074_the_translation_pins_what_set_stack_names() {
    use crate::address::Gva;
    use crate::kill::Kill;
    let mut machine = Machine::initialised();
    machine
        .call(hypercall::SET_STACK, [0x69, 0x8000, 0])
        .unwrap();
    machine
        .call(hypercall::SET_STACK, [0x69, 0x7000, 2])
        .unwrap();
    assert_eq!(
        machine.told(),
        [Told::SetStack(0x8000, 0), Told::SetStack(0x7000, 2)]
    );
    machine.mmu().refuse = Some(Kill::BadStackPage(Gva::new(0x5fff)));
    let reason = killed(machine.call(hypercall::SET_STACK, [0x69, 0x6000, 1]));
    assert_eq!(reason, "bad stack page 0x5fff");
}

/// LG-076, LG-077: any non-zero value sets it.
#[test]
fn lg076_ts_is_told_to_the_hardware_when_it_changes() {
    let mut machine = Machine::initialised();
    for (value, ts, changed) in [
        (0, Ts::Clear, false),
        (8, Ts::Set, true),
        (1, Ts::Set, false),
        (0x8000_0000, Ts::Set, false),
        (0, Ts::Clear, true),
    ] {
        machine.call(hypercall::TS, [value, 0, 0]).unwrap();
        assert_eq!(machine.guest.task_switched(), ts);
        assert_eq!(
            machine.guest.take_changes().contains(Changes::TS),
            changed,
            "TS({value})"
        );
    }
}

#[test]
fn lg178_flag_2_is_a_restart_whatever_the_text() {
    let mut machine = Machine::initialised();
    machine.put(0x5000, b"Restarting system\0");
    match machine.call(hypercall::SHUTDOWN, [0x5000, 2, 0]) {
        Err(End::Restart(text)) => assert_eq!(text, "Restarting system"),
        other => panic!("{other:?}"),
    }
}

/// What Linux sends for `reboot` without words is the physical address of a null pointer.
#[test]
fn lg178_a_restart_needs_no_message() {
    let mut machine = Machine::initialised();
    match machine.call(hypercall::SHUTDOWN, [0x4000_0000, 2, 0]) {
        Err(End::Restart(text)) => assert_eq!(text, ""),
        other => panic!("{other:?}"),
    }
    let mut machine = Machine::initialised();
    let end = machine.call(hypercall::SHUTDOWN, [0x4000_0000, 1, 0]);
    assert!(matches!(end, Err(End::Killed(_))), "{end:?}");
}

#[test]
fn the_power_off_message_is_no_crash() {
    for how in [0, 1, 3] {
        let mut machine = Machine::initialised();
        machine.put(0x5000, b"Power down\0");
        match machine.call(hypercall::SHUTDOWN, [0x5000, how, 0]) {
            Err(End::PowerOff(text)) => assert_eq!(text, "Power down"),
            other => panic!("{other:?}"),
        }
    }
}

/// LG-177, A-29: exactly 128 bytes are read, 127 are shown.
#[test]
fn lg177_a29_any_other_text_is_a_crash_cut_at_127_bytes() {
    let mut machine = Machine::initialised();
    let at = RAM as u32 - 128;
    machine.put(at, &[b'x'; 128]);
    let reason = killed(machine.call(hypercall::SHUTDOWN, [at, 1, 0]));
    assert_eq!(reason, format!("CRASH: {}", "x".repeat(127)));
    let mut machine = Machine::initialised();
    let reason = killed(machine.call(hypercall::SHUTDOWN, [at + 1, 1, 0]));
    assert_eq!(reason, format!("bad read address {:#x} length 128", at + 1));
}

#[test]
fn a29_a_message_becomes_one_line_of_printable_text() {
    let mut machine = Machine::initialised();
    machine.put(0x5000, b"a\nlibhv: stop: \x1b[2J\r\x7f\xff\x80\tz\0secret");
    let reason = killed(machine.call(hypercall::SHUTDOWN, [0x5000, 1, 0]));
    assert_eq!(reason, "CRASH: a?libhv: stop: ?[2J?????z");
}

#[test]
fn halt_sleeps_until_something_comes() {
    let mut machine = Machine::initialised();
    machine.call(hypercall::HALT, [0; 3]).unwrap();
    assert_eq!(machine.enter(), Ok(Next::Halt));
    assert_eq!(machine.enter(), Ok(Next::Halt));
    assert_eq!(machine.guest.deadline(Nanos(0)), None);
}

#[test]
fn calls_are_counted_by_number() {
    let mut machine = Machine::initialised();
    machine.queue(0, [hypercall::TS, 8, 0, 0, 0]);
    machine.call(hypercall::SEND_INTERRUPTS, [0; 3]).unwrap();
    let counters = machine.guest.counters();
    assert_eq!(counters.calls[19], 1);
    assert_eq!(counters.queued_calls[8], 1);
    assert_eq!(counters.calls[8], 0);
    assert_eq!(counters.exits[31], counters.calls.iter().sum::<u64>());
}

/// every number with every extreme argument ends in a typed reason or goes on, and touches
/// memory a bounded number of times.
#[test]
fn a26_every_number_with_extreme_arguments_is_survived() {
    let numbers = (0..64).chain([0xff, 0x100, 0xffff, 0x1_0000, 0x7fff_ffff, u32::MAX]);
    let values = [
        0,
        1,
        0xfff,
        0x1000,
        RAM as u32 - 1,
        RAM as u32,
        0x8000_0000,
        u32::MAX,
    ];
    for number in numbers {
        for first in values {
            for second in values {
                for third in values {
                    let mut machine = Machine::initialised();
                    machine.accesses();
                    let result = machine.call(number, [first, second, third]);
                    if let Err(End::Killed(kill)) = &result {
                        assert!(!kill.to_string().is_empty());
                    } else {
                        machine.enter().unwrap();
                        assert!(machine.accesses() < 16);
                    }
                }
            }
        }
    }
}
