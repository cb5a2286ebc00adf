//! When the switcher may deliver system calls by itself.

use super::fixture::{DATA, INTERRUPT_GATE, KERNEL_ADDRESS, Machine, OPEN, TRAP_GATE, handler};
use super::numbers::{data, hypercall};
use crate::address::Hpa;
use crate::personality::lguest::{DirectSyscall, GateKind};

const VECTOR: u8 = 0x80;
const STACK: u32 = 0xb000;

/// A guest as Linux leaves it.
fn ready() -> Machine {
    let mut machine = Machine::initialised();
    machine.load_gate(VECTOR, TRAP_GATE | OPEN);
    call(&mut machine, hypercall::SET_STACK, [0x69, STACK, 1]);
    machine.guest.take_changes();
    machine
}

fn call(machine: &mut Machine, number: u32, arguments: [u32; 3]) {
    machine.call(number, arguments).unwrap();
}

#[test]
fn a_working_kernel_s_system_calls_need_no_host() {
    let mut machine = ready();
    let mut expected = DirectSyscall {
        handler: handler(VECTOR),
        kind: GateKind::Trap,
        stack_selector: 0x69,
        stack_pointer: STACK,
        irq_enabled: Hpa::new(u64::from(DATA)),
    };
    assert_eq!(machine.guest.direct_syscall(), Some(expected));
    machine.load_gate(VECTOR, INTERRUPT_GATE | OPEN);
    expected.kind = GateKind::Interrupt;
    assert_eq!(machine.guest.direct_syscall(), Some(expected));
}

/// Whatever the switcher could not load, or would have to think about, is the host's.
#[test]
fn what_is_not_plain_goes_through_the_host() {
    assert_eq!(Machine::new().guest.direct_syscall(), None);
    assert_eq!(Machine::initialised().guest.direct_syscall(), None);
    let deviations: [(&str, u32, [u32; 3]); 8] = [
        (
            "a gate closed to ring 3",
            hypercall::LOAD_IDT_ENTRY,
            [0x80, 0x61_3000, 0x8f00],
        ),
        ("no gate", hypercall::LOAD_IDT_ENTRY, [0x80, 0, 0]),
        ("no stack segment", hypercall::SET_STACK, [0x71, STACK, 1]),
        (
            "a stack with a base",
            hypercall::LOAD_GDT_ENTRY,
            [13, 0x1000_ffff, 0x00cf_9200],
        ),
        (
            "a 16-bit stack",
            hypercall::LOAD_GDT_ENTRY,
            [13, 0xffff, 0x008f_9200],
        ),
        (
            "a stack of ring 3",
            hypercall::LOAD_GDT_ENTRY,
            [13, 0xffff, 0x00cf_f200],
        ),
        (
            "code with a limit",
            hypercall::LOAD_GDT_ENTRY,
            [12, 0xffff, 0x0040_9a00],
        ),
        ("no code", hypercall::LOAD_GDT_ENTRY, [12, 0, 0]),
    ];
    for (what, number, arguments) in deviations {
        let mut machine = ready();
        call(&mut machine, number, arguments);
        assert_eq!(machine.guest.direct_syscall(), None, "{what}");
        assert!(machine.guest.take_changes().concern_syscalls(), "{what}");
    }
}

/// A guest whose `lguest_data` begins there, as [`ready`] otherwise.
fn ready_at(base: u32) -> Machine {
    let mut machine = Machine::new();
    machine.put(base, &[0; 0x400]);
    machine.put(base + data::HCALL_STATUS, &[0xff; 64]);
    machine.put_word(base + data::KERNEL_ADDRESS, KERNEL_ADDRESS);
    machine.put_word(base + data::SYSCALL_VEC, VECTOR.into());
    call(&mut machine, hypercall::LGUEST_INIT, [base, 0, 0]);
    machine.load_gate(VECTOR, TRAP_GATE | OPEN);
    call(&mut machine, hypercall::SET_STACK, [0x69, STACK, 1]);
    machine
}

/// The switcher sees one page of the guest's: an `irq_enabled` that lies in two is the host's.
#[test]
fn a_word_across_two_pages_goes_through_the_host() {
    for (base, is_direct) in [
        (DATA + 0xff8, true),
        (DATA + 0xffb, true),
        (DATA + 0xffc, true),
        (DATA + 0xffd, false),
        (DATA + 0xffe, false),
        (DATA + 0xfff, false),
        (DATA + 0x1000, true),
    ] {
        let machine = ready_at(base);
        let offered = machine.guest.direct_syscall();
        let irq_enabled = offered.map(|call| call.irq_enabled);
        let expected = is_direct.then(|| Hpa::new(base.into()));
        assert_eq!(irq_enabled, expected, "{base:#x}");
    }
}

#[test]
fn a_change_of_stack_is_told() {
    let mut machine = ready();
    assert!(!machine.guest.take_changes().concern_syscalls());
    call(&mut machine, hypercall::SET_STACK, [0x69, 0xc000, 1]);
    assert!(machine.guest.take_changes().concern_syscalls());
    let pointer = machine
        .guest
        .direct_syscall()
        .map(|call| call.stack_pointer);
    assert_eq!(pointer, Some(0xc000));
}
