//! `vmcall`, and who may use it.

use super::fixture::{CODE, DATA, INTERRUPT_GATE, Machine, handler, killed};
use super::generations::all;
use super::numbers::hypercall;
use crate::generation::Choice;
use hv_abi::lguest::{Family, KernelVersion, generations};

const VMCALL: [u8; 3] = [0x0f, 0x01, 0xc1];

/// LG-026: at ring 1, also across a page boundary, and as the first call.
#[test]
fn lg026_vmcall_becomes_the_hypercall() {
    for generation in all().filter(|generation| {
        (KernelVersion(2, 6, 30)..KernelVersion(3, 1, 0)).contains(&generation.since)
    }) {
        for at in [CODE, CODE + 0xffe] {
            let mut machine = Machine::of(generation);
            // The pages next to each other are not where the guest sees them.
            machine.mmu().moved.insert(CODE + 0x1000, 0x8000);
            let second = |index: u32| {
                if at + index < CODE + 0x1000 {
                    at + index
                } else {
                    0x8000 + at + index - CODE - 0x1000
                }
            };
            for (index, byte) in (0..).zip(VMCALL) {
                machine.put(second(index), &[byte]);
            }
            machine.regs.eip = at;
            let before = machine.regs.clone();
            machine.trap(6, 0).unwrap();
            assert_eq!(machine.regs, before, "executed again");
            let patched = [0, 1, 2].map(|index| machine.word(second(index)) as u8);
            assert_eq!(patched, [0xcd, 0x1f, 0x90], "{generation} {at:#x}");
        }
    }
}

/// LG-026: 3.1 and later have none, nor had G1 and G2.
#[test]
fn lg026_no_other_generation_has_it() {
    for generation in all().filter(|generation| {
        !(KernelVersion(2, 6, 30)..KernelVersion(3, 1, 0)).contains(&generation.since)
    }) {
        let mut machine = Machine::initialised_of(generation);
        machine.load_gate(6, INTERRUPT_GATE);
        machine.put(CODE, &VMCALL);
        machine.trap(6, 0).unwrap();
        assert_eq!(machine.regs.eip, handler(6), "{generation}");
        assert_eq!(machine.word(CODE) & 0xff_ffff, 0x00c1_010f);
        let mut machine = Machine::of(generation);
        machine.put(CODE, &VMCALL);
        let line = killed(machine.trap(6, 0));
        assert!(
            line.ends_with("(vmcall); this looks like a G3 guest: generation=g3"),
            "{line}"
        );
    }
}

/// LG-027.
#[test]
fn lg027_vmcall_at_ring_3_is_an_invalid_opcode() {
    let mut machine = Machine::initialised_of(&generations::LINUX_2_6_31);
    machine.load_gate(6, INTERRUPT_GATE);
    machine.enter_ring_3();
    machine.put(machine.regs.eip, &VMCALL);
    let at = machine.regs.eip;
    machine.trap(6, 0).unwrap();
    assert_eq!(machine.regs.eip, handler(6));
    assert_eq!(machine.word(at) & 0xff_ffff, 0x00c1_010f);
}

#[test]
fn a_vmcall_before_any_other_call_is_a_sign_of_g3() {
    let mut machine = Machine::taken_for(&generations::LINUX_4_0, Choice::Detect);
    let spoken = &generations::LINUX_2_6_30;
    machine.prepare_data(spoken);
    machine.put(CODE, &VMCALL);
    machine.load_call(spoken, hypercall::LGUEST_INIT, [DATA, 0, 0]);
    machine.trap(6, 0).unwrap();
    assert_eq!(machine.guest.generation().family, Family::G3);
    machine.trap(31, 0).unwrap();
    assert_eq!(machine.guest.generation(), spoken);
}
