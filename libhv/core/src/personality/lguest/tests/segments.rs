//! Descriptors and gates, as calls load them.

use super::fixture::{INTERRUPT_GATE, Machine, OPEN, TRAP_GATE, handler, killed};
use super::numbers::hypercall;
use crate::personality::lguest::Changes;

const USER_DATA_HIGH: u32 = 0x00cf_f200;

/// LG-055, LG-056.
#[test]
fn lg055_lg056_loaded_entries_are_fixed_up() {
    let mut machine = Machine::initialised();
    machine
        .call(hypercall::LOAD_GDT_ENTRY, [18, 0xffff, 0x00cf_9200])
        .unwrap();
    assert_eq!(machine.guest.gdt()[18], 0x00cf_b300_0000_ffff);
    assert_eq!(machine.guest.take_changes(), Changes::GDT);
}

#[test]
fn lg058_an_index_past_the_table_kills() {
    for index in [32, u32::MAX] {
        let mut machine = Machine::initialised();
        let reason = killed(machine.call(hypercall::LOAD_GDT_ENTRY, [index, 0, 0]));
        assert_eq!(reason, format!("too many gdt entries {index}"));
    }
}

/// LG-060, LG-061, A-13.
#[test]
fn lg060_lg061_a13_load_tls_reads_three_descriptors() {
    let mut machine = Machine::initialised();
    let before = *machine.guest.gdt();
    for entry in 0..4 {
        machine.put_word(0x5000 + 8 * entry, 0xffff);
        machine.put_word(0x5004 + 8 * entry, USER_DATA_HIGH);
    }
    machine
        .call(hypercall::LOAD_TLS, [0x5000, 0xffff_ffff, 0])
        .unwrap();
    for (index, (old, new)) in before.iter().zip(machine.guest.gdt()).enumerate() {
        assert_eq!(old != new, matches!(index, 6..=8), "entry {index}");
    }
    assert_eq!(machine.guest.take_changes(), Changes::GDT);

    let reason = killed(machine.call(hypercall::LOAD_TLS, [0x3_fff0, 0, 0]));
    assert_eq!(reason, "bad read address 0x3fff0 length 24");
}

/// LG-064, LG-065, A-13.
#[test]
fn lg064_lg065_a13_reserved_vectors_are_ignored_and_missing_ones_kill() {
    let mut machine = Machine::initialised();
    for vector in [2, 8, 15, 31] {
        // Not even their type is looked at.
        machine.load_gate(vector, 0x8500);
        machine.load_gate(vector, INTERRUPT_GATE | OPEN);
    }
    assert_eq!(
        killed(machine.trap(8, 0)),
        "unhandled trap 8 at 0x2000 (0x0)"
    );
    assert_eq!(machine.guest.gate_privilege(31), 1);
    for vector in [256, u32::MAX] {
        let mut machine = Machine::initialised();
        let reason = killed(machine.call(hypercall::LOAD_IDT_ENTRY, [vector, 0, 0]));
        assert_eq!(reason, format!("Setting idt entry {vector}"));
    }
}

#[test]
fn lg066_other_types_kill_unless_not_present() {
    for kind in (0..16).filter(|kind| !matches!(kind, 0xe | 0xf)) {
        let mut machine = Machine::initialised();
        machine
            .call(hypercall::LOAD_IDT_ENTRY, [3, 0, kind << 8])
            .unwrap();
        let reason = killed(machine.call(hypercall::LOAD_IDT_ENTRY, [3, 0, 0x8000 | kind << 8]));
        assert_eq!(reason, format!("bad IDT type {kind}"));
    }
}

#[test]
fn lg067_a_not_present_load_removes_the_handler() {
    let mut machine = Machine::initialised();
    machine.load_gate(6, INTERRUPT_GATE);
    machine.trap(6, 0).unwrap();
    machine
        .call(hypercall::LOAD_IDT_ENTRY, [6, 0x1234, 0])
        .unwrap();
    machine.regs.eip = 0x2002;
    assert_eq!(
        killed(machine.trap(6, 0)),
        "unhandled trap 6 at 0x2002 (0x0)"
    );
}

/// LG-068: the fixture's gates name selector 8.
#[test]
fn lg068_handlers_run_with_the_kernel_s_code_segment() {
    let mut machine = Machine::initialised();
    machine.load_gate(0, TRAP_GATE);
    machine.trap(0, 0).unwrap();
    assert_eq!((machine.regs.cs, machine.regs.eip), (0x61, handler(0)));
}

/// Only these vectors take the guest's DPL; opening any other would let a guest raise the host's
/// interrupts.
#[test]
fn gate_privileges_are_the_guest_s_for_software_vectors_only() {
    let mut machine = Machine::initialised();
    for vector in 0..=255 {
        assert_eq!(machine.guest.gate_privilege(vector), u8::from(vector == 31));
        machine.load_gate(vector, INTERRUPT_GATE | OPEN);
        let expected = match vector {
            3 | 4 | 0x80 => 3,
            31 => 1,
            _ => 0,
        };
        assert_eq!(
            machine.guest.gate_privilege(vector),
            expected,
            "vector {vector}"
        );
        let told = machine.guest.take_changes().contains(Changes::GATES);
        assert_eq!(told, matches!(vector, 3 | 4 | 0x80), "vector {vector}");
    }
    machine
        .call(hypercall::LOAD_IDT_ENTRY, [0x80, 0, 0])
        .unwrap();
    assert_eq!(machine.guest.gate_privilege(0x80), 0);
    assert_eq!(machine.guest.take_changes(), Changes::GATES);
}

/// LG-062, A-02.
#[test]
fn lg062_a02_a_state_that_cannot_be_entered_is_trap_256() {
    let mut machine = Machine::initialised();
    machine.regs.error = 0x68;
    let end = machine.guest.on_entry_fault(&machine.regs);
    let reason = killed(Err::<(), _>(end));
    assert_eq!(reason, "unhandled trap 256 at 0x2000 (0x68)");
}
