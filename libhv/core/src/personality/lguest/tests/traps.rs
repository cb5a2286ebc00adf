//! Which traps are the host's, and which the guest's.

use super::fixture::{
    CODE, INTERRUPT_GATE, Machine, OPEN, STACK, TRAP_GATE, TRAP_STACK, handler, killed,
};
use super::numbers::{data, hypercall};
use crate::personality::Next;
use crate::registers::eflags;

/// LG-079, LG-087.
#[test]
fn lg087_a_repaired_fault_is_silent() {
    let mut machine = Machine::initialised();
    machine.load_gate(14, INTERRUPT_GATE);
    machine.mmu().demand.insert(0x7000);
    let before = machine.regs.clone();
    machine.page_fault(0x7abc, 2).unwrap();
    assert_eq!(machine.regs, before);
    assert_eq!(machine.field(data::CR2), 0);
}

/// LG-083 to LG-086: the guest's own error code, and CR2 before the handler runs.
#[test]
fn lg083_lg086_a_refused_access_is_the_guest_s() {
    let mut machine = Machine::initialised();
    machine.load_gate(14, INTERRUPT_GATE);
    machine.enter_ring_3();
    machine.page_fault(0x7abc, 6).unwrap();
    assert_eq!(machine.field(data::CR2), 0x7abc);
    assert_eq!(
        machine.word(TRAP_STACK - 24),
        7,
        "present, whatever the shadow said"
    );
    assert_eq!(machine.regs.eip, handler(14));
}

/// A42: the root that the guest is already working on may still be queued, alone or in a full ring.
#[test]
fn a_queued_root_is_loaded_before_a_kernel_fault_is_reflected() {
    for queued in [1, 64] {
        let mut machine = Machine::initialised();
        machine.load_gate(14, INTERRUPT_GATE);
        machine.mmu().repaired_by = Some(0x7000);
        for slot in 0..queued {
            machine.queue(slot, [hypercall::NEW_PGTABLE, 0x7000, 0, 0, 0]);
        }
        let before = machine.regs.clone();
        machine.page_fault(0xc800_0000, 0).unwrap();
        assert_eq!(machine.regs, before);
        assert_eq!(machine.slot_status(0), 0xff);
    }
}

#[test]
fn a_user_fault_leaves_the_ring_alone() {
    let mut machine = Machine::initialised();
    machine.load_gate(14, INTERRUPT_GATE);
    machine.queue(0, [hypercall::NEW_PGTABLE, 0x7000, 0, 0, 0]);
    machine.enter_ring_3();
    machine.page_fault(0x7abc, 4).unwrap();
    assert_eq!(machine.slot_status(0), 0);
}

/// an access across 4 GiB on a processor that does not wrap it.
#[test]
fn a25_a_fault_above_4_gib_is_a_limit_violation() {
    let mut machine = Machine::initialised();
    machine.load_gate(13, INTERRUPT_GATE);
    machine.mmu().demand.insert(0);
    machine.page_fault(0x1_0000_0000, 0).unwrap();
    assert_eq!(machine.regs.eip, handler(13));
    assert_eq!(machine.word(STACK - 16), 0);
    assert_eq!(machine.field(data::CR2), 0);
}

/// LG-076, LG-077.
#[test]
fn lg076_lg077_device_not_available_is_the_guest_s_when_it_asked_for_it() {
    let mut machine = Machine::initialised();
    machine.load_gate(7, INTERRUPT_GATE);
    let before = machine.regs.clone();
    machine.trap(7, 0).unwrap();
    assert_eq!(machine.regs, before);
    machine.call(hypercall::TS, [8, 0, 0]).unwrap();
    machine.trap(7, 0).unwrap();
    assert_eq!(machine.regs.eip, handler(7));
}

/// 5.3: 32 and up are hardware interrupts; 2 and 18 are the host's own.
#[test]
fn the_host_s_own_vectors_resume_the_guest() {
    let mut machine = Machine::initialised();
    for vector in [2, 18]
        .into_iter()
        .chain(32..=255)
        .filter(|&vector| vector != 0x80)
    {
        machine.load_gate(vector, INTERRUPT_GATE | OPEN);
        let before = machine.regs.clone();
        machine.trap(vector, 0).unwrap();
        assert_eq!(machine.regs, before, "vector {vector}");
    }
}

/// LG-021: what the processor says of `int $0x1f` from ring 3 is passed on.
#[test]
fn lg021_a_hypercall_from_ring_3_is_a_general_protection_fault() {
    for reported in [31 * 8 + 2, 31 * 16 + 2] {
        let mut machine = Machine::initialised();
        machine.load_gate(13, INTERRUPT_GATE);
        machine.enter_ring_3();
        machine.put(machine.regs.eip, &[0xcd, 0x1f]);
        machine.trap(13, reported).unwrap();
        assert_eq!(machine.words(TRAP_STACK - 24), [0xfa, 0x1_2345]);
    }
}

/// LG-069: every vector, as hardware and as TCG report it, in all three encodings.
#[test]
fn lg069_a_refused_software_interrupt_has_the_vector_times_8_plus_2() {
    for vector in 0..=255_u8 {
        for scale in [8, 16] {
            let mut machine = Machine::initialised();
            machine.load_gate(13, INTERRUPT_GATE);
            machine.enter_ring_3();
            machine.put(machine.regs.eip, &[0x66, 0xcd, vector]);
            machine.trap(13, u32::from(vector) * scale + 2).unwrap();
            assert_eq!(machine.word(TRAP_STACK - 24), u32::from(vector) * 8 + 2);
        }
    }
    for (code, vector) in [(0xcc, 3), (0xce, 4)] {
        let mut machine = Machine::initialised();
        machine.load_gate(13, INTERRUPT_GATE);
        machine.put(CODE, &[code]);
        machine.trap(13, vector * 16 + 2).unwrap();
        assert_eq!(machine.word(STACK - 16), vector * 8 + 2);
    }
}

#[test]
fn an_error_code_of_the_vector_kind_stays_when_no_int_is_to_be_seen() {
    let mut machine = Machine::initialised();
    machine.load_gate(13, INTERRUPT_GATE);
    machine.put(CODE, &[0x90]);
    machine.trap(13, 0x102).unwrap();
    assert_eq!(machine.word(STACK - 16), 0x102);
    machine.mmu().unmapped.insert(CODE);
    machine.regs.eip = CODE + 1;
    machine.trap(13, 0x102).unwrap();
    assert_eq!(machine.word(STACK - 32), 0x102);
}

#[test]
fn selector_errors_are_passed_on() {
    let mut machine = Machine::initialised();
    machine.load_gate(13, INTERRUPT_GATE);
    machine.put(CODE, &[0xfa]);
    machine.trap(13, 0x70).unwrap();
    assert_eq!(machine.word(STACK - 16), 0x70);
    assert_eq!(machine.regs.eip, handler(13));
}

/// LG-070.
#[test]
fn lg070_breakpoints_from_ring_3_reach_their_handler() {
    for vector in [3, 4] {
        let mut machine = Machine::initialised();
        machine.load_gate(vector, TRAP_GATE | OPEN);
        machine.enter_ring_3();
        machine.trap(vector, 0).unwrap();
        assert_eq!(machine.regs.esp, TRAP_STACK - 20);
        assert_eq!(machine.word(TRAP_STACK - 20), 0x1_2345);
    }
}

#[test]
fn virtual_8086_mode_kills_on_any_exit() {
    for vector in [6, 13, 14, 31, 32, 128] {
        let mut machine = Machine::initialised();
        machine.regs.eflags |= eflags::VM;
        machine.regs.cs = 1;
        assert_eq!(
            killed(machine.trap(vector, 0)),
            "virtual-8086 mode at 0x2000"
        );
    }
}

/// behind the instruction, although the processor itself saw none.
#[test]
fn a04_a_stepped_hypercall_traps_behind_itself() {
    let mut machine = Machine::initialised();
    machine.load_gate(1, INTERRUPT_GATE);
    machine.regs.eflags |= eflags::TF;
    machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
    assert_eq!(machine.enter(), Ok(Next::Enter));
    assert_eq!(machine.regs.eip, handler(1));
    assert_eq!(
        machine.words(STACK - 12),
        [0x2000, 0x61, 0x002 | eflags::TF]
    );
    assert_eq!(machine.regs.eflags & eflags::TF, 0);
    machine.enter().unwrap();
    assert_eq!(machine.regs.esp, STACK - 12, "once");
}

#[test]
fn a04_a_stepped_emulated_instruction_traps_behind_itself() {
    let mut machine = Machine::initialised();
    machine.load_gate(1, INTERRUPT_GATE);
    machine.regs.eflags |= eflags::TF;
    machine.privileged(&[0xe4, 0x80]).unwrap();
    machine.enter().unwrap();
    assert_eq!(machine.regs.eip, handler(1));
    assert_eq!(machine.word(STACK - 12), CODE + 2);
}

#[test]
fn a04_without_a_handler_a_step_kills_as_any_trap_does() {
    let mut machine = Machine::initialised();
    machine.regs.eflags |= eflags::TF;
    machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
    assert_eq!(killed(machine.enter()), "unhandled trap 1 at 0x2000 (0x0)");
}

/// a repaired fault leaves the step to the processor.
#[test]
fn a04_a_demand_fault_is_no_step() {
    let mut machine = Machine::initialised();
    machine.mmu().demand.insert(0x7000);
    machine.regs.eflags |= eflags::TF;
    machine.page_fault(0x7000, 0).unwrap();
    machine.enter().unwrap();
    assert_eq!(machine.regs.eip, 0x2000);
    assert_ne!(machine.regs.eflags & eflags::TF, 0);
}
