//! Privileged instructions of ring 1.

use super::fixture::{CODE, INTERRUPT_GATE, Machine, STACK, TRAP_STACK, Told, handler, killed};
use super::numbers::{data, hypercall};
use crate::device::Width;
use crate::personality::{Next, Ts};
use crate::registers::Registers;

/// LG-152, LG-156: only the bits of the access change, for every form.
#[test]
fn lg152_in_changes_the_bits_of_its_width_only() {
    let cases: [(&[u8], u16, Width, u32); 8] = [
        (&[0xe4, 0x71], 0x71, Width::Byte, 0x1234_56dd),
        (&[0xe5, 0x71], 0x71, Width::Dword, 0xaabb_ccdd),
        (&[0x66, 0xe5, 0x71], 0x71, Width::Word, 0x1234_ccdd),
        (&[0xec], 0x3f8, Width::Byte, 0x1234_56dd),
        (&[0xed], 0x3f8, Width::Dword, 0xaabb_ccdd),
        (&[0x66, 0xed], 0x3f8, Width::Word, 0x1234_ccdd),
        (&[0x66, 0xec], 0x3f8, Width::Byte, 0x1234_56dd),
        (
            &[0xf3, 0x67, 0x2e, 0x66, 0xed],
            0x3f8,
            Width::Word,
            0x1234_ccdd,
        ),
    ];
    for (code, port, width, eax) in cases {
        let mut machine = Machine::new();
        machine.guest.devices_mut().value = 0xaabb_ccdd;
        machine.regs.eax = 0x1234_5678;
        machine.regs.edx = 0xffff_03f8;
        let expected = Registers {
            eax,
            eip: CODE + code.len() as u32,
            ..machine.regs.clone()
        };
        machine.privileged(code).unwrap();
        assert_eq!(machine.regs, expected, "{code:x?}");
        assert_eq!(machine.guest.devices_mut().reads, [(port, width)]);
    }
}

#[test]
fn lg153_out_writes_its_width_and_advances_by_its_length() {
    let cases: [(&[u8], u16, Width, u32); 6] = [
        (&[0xe6, 0x80], 0x80, Width::Byte, 0x78),
        (&[0xe7, 0x80], 0x80, Width::Dword, 0x1234_5678),
        (&[0x66, 0xe7, 0x80], 0x80, Width::Word, 0x5678),
        (&[0xee], 0xcf8, Width::Byte, 0x78),
        (&[0xef], 0xcf8, Width::Dword, 0x1234_5678),
        (&[0x66, 0xef], 0xcf8, Width::Word, 0x5678),
    ];
    for (code, port, width, value) in cases {
        let mut machine = Machine::new();
        machine.regs.eax = 0x1234_5678;
        machine.regs.edx = 0xcf8;
        let expected = Registers {
            eip: CODE + code.len() as u32,
            ..machine.regs.clone()
        };
        machine.privileged(code).unwrap();
        assert_eq!(machine.regs, expected, "{code:x?}");
        assert_eq!(machine.guest.devices_mut().writes, [(port, width, value)]);
    }
}

/// LG-154, A-11: nothing privileged is emulated for ring 3.
#[test]
fn lg154_a11_ring_3_gets_its_fault() {
    for code in [
        &[0xe4, 0x80][..],
        &[0xee],
        &[0xfa],
        &[0xf4],
        &[0x0f, 0x20, 0xe0],
        &[0x0f, 0x32],
    ] {
        let mut machine = Machine::initialised();
        machine.load_gate(13, INTERRUPT_GATE);
        machine.enter_ring_3();
        machine.put(machine.regs.eip, code);
        machine.trap(13, 0).unwrap();
        assert_eq!(machine.words(TRAP_STACK - 24), [0, 0x1_2345], "{code:x?}");
        assert_eq!(machine.guest.devices_mut().reads, []);
    }
}

/// the tables are at 0 with the largest limit, the selectors null, for every ring; CR0 is the one
/// that the guest reads. To memory a selector or CR0 is a word.
#[test]
fn a15_system_registers_are_stored_as_after_reset() {
    const TABLE: [u8; 8] = [0xff, 0xff, 0, 0, 0, 0, 0xaa, 0xaa];
    const SELECTOR: [u8; 8] = [0, 0, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa];
    const STATUS: [u8; 8] = [0x33, 0, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa];
    let cases: [(&[u8], [u8; 8]); 6] = [
        (&[0x0f, 0x01, 0x01], TABLE),          // sgdt (%ecx)
        (&[0x66, 0x0f, 0x01, 0x09], TABLE),    // sidt (%ecx)
        (&[0x0f, 0x00, 0x01], SELECTOR),       // sldt (%ecx)
        (&[0x0f, 0x00, 0x49, 0x00], SELECTOR), // str 0(%ecx)
        (&[0x0f, 0x01, 0x21], STATUS),         // smsw (%ecx)
        (&[0x66, 0x0f, 0x01, 0x21], STATUS),
    ];
    for from_user in [false, true] {
        for (code, stored) in cases {
            for at in [0x9000_u32, 0x8fff, 0x8ffd] {
                let mut machine = Machine::initialised();
                if from_user {
                    machine.enter_ring_3();
                }
                machine.put(at, &[0xaa; 8]);
                machine.mmu().demand.extend([0x8000, 0x9000]);
                machine.regs.ecx = at;
                machine.put(machine.regs.eip, code);
                let expected = Registers {
                    eip: machine.regs.eip + code.len() as u32,
                    ..machine.regs.clone()
                };
                machine.trap(13, 0).unwrap();
                assert_eq!(machine.regs, expected, "{code:x?}");
                let words: [u32; 2] = machine.words(at);
                let bytes: Vec<u8> = [words[0], words[1]]
                    .iter()
                    .flat_map(|word: &u32| word.to_le_bytes())
                    .collect();
                assert_eq!(bytes, stored, "{code:x?} at {at:#x}");
            }
        }
    }
}

/// To a register it is as wide as the operand.
#[test]
fn a15_system_registers_fill_a_register_as_wide_as_the_operand() {
    let cases: [(&[u8], u32); 4] = [
        (&[0x0f, 0x00, 0xc1], 0),                 // sldt %ecx
        (&[0x66, 0x0f, 0x00, 0xc9], 0x1234_0000), // str %cx
        (&[0x0f, 0x01, 0xe1], 0x8001_0033),       // smsw %ecx
        (&[0x66, 0x0f, 0x01, 0xe1], 0x1234_0033),
    ];
    for (code, ecx) in cases {
        let mut machine = Machine::new();
        machine.regs.ecx = 0x1234_5678;
        machine.privileged(code).unwrap();
        assert_eq!(machine.regs.ecx, ecx, "{code:x?}");
    }
}

/// where the guest may not write, it gets the page fault that it would have had, at the first
/// byte that cannot be written, and nothing is written.
#[test]
fn a15_storing_a_system_register_keeps_to_the_guest_s_rights() {
    for (from_user, error) in [(false, 2), (true, 6)] {
        let mut machine = Machine::initialised();
        machine.load_gate(14, INTERRUPT_GATE);
        let mut stack = STACK;
        if from_user {
            machine.enter_ring_3();
            stack = TRAP_STACK - 8;
        }
        machine.put(0x1_8ffc, &[0xaa; 4]);
        machine.mmu().demand.insert(0x1_8000);
        machine.mmu().unmapped.insert(0x1_9000);
        machine.regs.ecx = 0x1_8ffc;
        let eip = machine.regs.eip;
        machine.put(eip, &[0x0f, 0x01, 0x01]);
        machine.trap(13, 0).unwrap();
        assert_eq!(machine.regs.eip, handler(14));
        assert_eq!(machine.words(stack - 16), [error, eip]);
        assert_eq!(machine.field(data::CR2), 0x1_9000);
        assert_eq!(machine.words(0x1_8ffc), [0xaaaa_aaaa]);
    }
}

/// LG-155, A-11, A-07: what has no virtual meaning, with a handler there.
#[test]
fn lg155_a07_a11_other_privileged_instructions_are_reflected() {
    let codes: [&[u8]; 22] = [
        &[0x0f, 0x01, 0x10],       // lgdt
        &[0x0f, 0x01, 0x18],       // lidt
        &[0x0f, 0x01, 0xf0],       // lmsw
        &[0x0f, 0x01, 0xf8],       // swapgs: invlpg's number, but no memory operand
        &[0x0f, 0x01, 0xc1],       // vmcall
        &[0x0f, 0x00, 0xd0],       // lldt
        &[0x0f, 0x00, 0xd8],       // ltr
        &[0x0f, 0x33],             // rdpmc
        &[0x0f, 0x35],             // sysexit
        &[0x0f, 0x07],             // sysret
        &[0x0f, 0x20, 0xc8],       // mov eax, cr1
        &[0x0f, 0x22, 0xe8],       // mov cr5, eax
        &[0x0f, 0x32],             // rdmsr of MSR 0
        &[0x0f, 0x30],             // wrmsr
        &[0x6c],                   // insb
        &[0x6f],                   // outsd
        &[0xf3, 0x6e],             // rep outsb
        &[0xf0, 0xfa],             // lock cli
        &[0x67, 0x0f, 0x01, 0x3f], // invlpg with 16-bit addressing
        &[0x90],                   // nop: the guest changed its code meanwhile
        &[0x66; 15],               // nothing but prefixes
        &[0x0f, 0x01, 0x3d, 0, 0], // invlpg, cut off by the page below
    ];
    for code in codes {
        let mut machine = Machine::initialised();
        machine.load_gate(13, INTERRUPT_GATE);
        machine.mmu().unmapped.insert(CODE + 0x1000);
        machine.regs.eip = CODE + 0x1000 - code.len() as u32;
        machine.put(machine.regs.eip, code);
        let eip = machine.regs.eip;
        machine.trap(13, 0).unwrap();
        assert_eq!(machine.words(STACK - 16), [0, eip, 0x61], "{code:x?}");
        assert_eq!(machine.regs.eip, handler(13));
    }
}

#[test]
fn an_instruction_over_two_pages_is_read_from_both() {
    let mut machine = Machine::new();
    machine.guest.devices_mut().value = 0x55;
    machine.mmu().moved.insert(0x2000, 0x1_4000);
    machine.mmu().moved.insert(0x3000, 0x1_2000);
    machine.put(0x1_4fff, &[0xe4]);
    machine.put(0x1_2000, &[0x71]);
    machine.regs.eip = 0x2fff;
    machine.trap(13, 0).unwrap();
    assert_eq!(machine.regs.eip, 0x3001);
    assert_eq!(machine.guest.devices_mut().reads, [(0x71, Width::Byte)]);
}

#[test]
fn a25_eip_wraps_at_4_gib() {
    let mut machine = Machine::new();
    machine.mmu().moved.insert(0xffff_f000, 0x1_4000);
    machine.put(0x1_4fff, &[0xe4]);
    machine.put(0, &[0x71]);
    machine.regs.eip = u32::MAX;
    machine.trap(13, 0).unwrap();
    assert_eq!(machine.regs.eip, 1);
    assert_eq!(machine.guest.devices_mut().reads, [(0x71, Width::Byte)]);
}

#[test]
fn the_code_segment_s_base_counts() {
    let mut machine = Machine::initialised();
    machine
        .call(hypercall::LOAD_GDT_ENTRY, [18, 0xffff, 0x00cf_ba01])
        .unwrap();
    machine.regs.cs = 18 * 8 + 1;
    machine.put(0x1_0000 + CODE, &[0xe4, 0x71]);
    machine.trap(13, 0).unwrap();
    assert_eq!(machine.regs.eip, CODE + 2);
}

#[test]
fn sixteen_bit_code_is_not_decoded() {
    let mut machine = Machine::initialised();
    machine.load_gate(13, INTERRUPT_GATE);
    machine
        .call(hypercall::LOAD_GDT_ENTRY, [18, 0xffff, 0x000f_ba00])
        .unwrap();
    machine.regs.cs = 18 * 8 + 1;
    machine.put(CODE, &[0xe4, 0x71]);
    machine.trap(13, 0).unwrap();
    assert_eq!(machine.regs.eip, handler(13));
}

/// LG-129, A12: without effect on anything but EIP.
#[test]
fn lg129_flag_and_cache_instructions_are_skipped() {
    for code in [
        &[0xfa][..],
        &[0xfb],
        &[0x0f, 0x08],
        &[0x0f, 0x09],
        &[0x0f, 0x22, 0xe0],
    ] {
        let mut machine = Machine::initialised();
        machine.set_field(data::IRQ_ENABLED, 0x200);
        let expected = Registers {
            eip: CODE + code.len() as u32,
            ..machine.regs.clone()
        };
        machine.privileged(code).unwrap();
        assert_eq!(machine.regs, expected, "{code:x?}");
        assert_eq!(machine.field(data::IRQ_ENABLED), 0x200);
        assert_eq!(machine.told(), []);
    }
}

/// A17.
#[test]
fn hlt_sleeps_if_an_interrupt_can_end_it() {
    let mut machine = Machine::initialised();
    machine.load_gate(32, INTERRUPT_GATE);
    machine.set_field(data::IRQ_ENABLED, 0x200);
    machine.privileged(&[0xf4]).unwrap();
    assert_eq!(machine.enter(), Ok(Next::Halt));
    assert_eq!(machine.regs.eip, CODE + 1);
    machine.guest.raise(0).unwrap();
    assert_eq!(machine.enter(), Ok(Next::Enter));
    assert_eq!(machine.word(STACK - 12), CODE + 1);
}

#[test]
fn hlt_with_interrupts_off_is_the_end() {
    let mut machine = Machine::initialised();
    machine.set_field(data::IRQ_ENABLED, 0x46);
    let reason = killed(machine.privileged(&[0xf4]));
    assert_eq!(reason, "halted with interrupts off at 0x2000");
    let reason = killed(Machine::new().privileged(&[0xf4]));
    assert_eq!(reason, "halted with interrupts off at 0x2000");
}

/// A12, A13: into every register, before there is any handler.
#[test]
fn control_registers_read_as_the_guest_s() {
    let mut machine = Machine::new();
    machine.privileged(&[0x0f, 0x20, 0xe0]).unwrap();
    assert_eq!((machine.regs.eax, machine.regs.eip), (0, CODE + 3));

    let mut machine = Machine::initialised();
    machine.load_gate(14, INTERRUPT_GATE);
    machine
        .call(hypercall::NEW_PGTABLE, [0x1_5000, 0, 0])
        .unwrap();
    machine.page_fault(0xdead_b000, 0).unwrap();
    machine.privileged(&[0x0f, 0x20, 0xd1]).unwrap();
    assert_eq!(machine.regs.ecx, 0xdead_b000, "CR2");
    machine.privileged(&[0x0f, 0x20, 0xdf]).unwrap();
    assert_eq!(machine.regs.edi, 0x1_5000, "CR3");
    machine.privileged(&[0x0f, 0x20, 0xc6]).unwrap();
    assert_eq!(
        machine.regs.esi & 0x8001_0009,
        0x8001_0001,
        "CR0: PG, WP, PE, no TS"
    );
    machine.call(hypercall::TS, [1, 0, 0]).unwrap();
    machine.privileged(&[0x0f, 0x20, 0xc6]).unwrap();
    assert_eq!(machine.regs.esi & 8, 8, "CR0.TS");
    let registers = |regs: &Registers| {
        [
            regs.eax, regs.ecx, regs.edx, regs.ebx, regs.esp, regs.ebp, regs.esi, regs.edi,
        ]
    };
    for number in 0..8 {
        machine.privileged(&[0x0f, 0x20, 0xd8 | number]).unwrap();
        assert_eq!(registers(&machine.regs)[usize::from(number)], 0x1_5000);
    }
}

#[test]
fn clts_clears_ts() {
    let mut machine = Machine::initialised();
    machine.call(hypercall::TS, [8, 0, 0]).unwrap();
    machine.privileged(&[0x0f, 0x06]).unwrap();
    assert_eq!(machine.guest.task_switched(), Ts::Clear);
    assert_eq!(machine.regs.eip, CODE + 2);
}

/// A12, A14: before there is a handler; A15: after.
#[test]
fn msrs_read_zero_until_the_guest_can_handle_the_fault() {
    let mut machine = Machine::initialised();
    for msr in [0x17, 0x8b, 0xc000_0080] {
        machine.regs.ecx = msr;
        machine.regs.eax = u32::MAX;
        machine.regs.edx = u32::MAX;
        machine.privileged(&[0x0f, 0x32]).unwrap();
        assert_eq!((machine.regs.eax, machine.regs.edx), (0, 0));
        machine.privileged(&[0x0f, 0x30]).unwrap();
        assert_eq!(machine.regs.eip, CODE + 2);
    }
    machine.load_gate(13, INTERRUPT_GATE);
    for msr in [0x48, 0x49, 0xc001_011f, 0xc000_0082] {
        machine.regs.ecx = msr;
        machine.privileged(&[0x0f, 0x32]).unwrap();
        assert_eq!(machine.regs.eip, CODE + 2, "{msr:#x}");
    }
    machine.regs.ecx = 0x8b;
    machine.privileged(&[0x0f, 0x32]).unwrap();
    assert_eq!(machine.regs.eip, handler(13));
}

/// A18.
#[test]
fn debug_registers_read_zero_except_for_a_reported_step() {
    let mut machine = Machine::initialised();
    machine.load_gate(1, INTERRUPT_GATE);
    machine.regs.ebx = 7;
    machine.privileged(&[0x0f, 0x21, 0xfb]).unwrap();
    assert_eq!(machine.regs.ebx, 0, "DR7");
    machine.trap(1, 0).unwrap();
    machine.privileged(&[0x0f, 0x21, 0xf3]).unwrap();
    assert_eq!(machine.regs.ebx, 0, "DR6: not a step");
    machine.regs.eflags |= 1 << 8;
    machine.trap(1, 0).unwrap();
    machine.privileged(&[0x0f, 0x21, 0xf3]).unwrap();
    assert_eq!(machine.regs.ebx, 0x4000, "DR6: BS");
    machine.privileged(&[0x0f, 0x23, 0xf3]).unwrap();
    machine.privileged(&[0x0f, 0x21, 0xf3]).unwrap();
    assert_eq!(machine.regs.ebx, 0, "DR6: written");
}

/// `invlpg`: every ModRM and SIB byte, against an oracle written from the manual's tables.
#[test]
fn invlpg_forgets_the_page_that_its_operand_names() {
    let values = [
        0x100_u32,
        0x2000,
        0x3_0000,
        0x40_0000,
        0x500_0000,
        0x6000_0000,
        0x7000,
        0x8_0000,
    ];
    let displacement = [0x84_u8, 0x73, 0x62, 0x91];
    for mode in 0..3_u8 {
        for rm in 0..8_u8 {
            for sib in 0..=255_u8 {
                let mut code = vec![0x0f, 0x01, mode << 6 | 7 << 3 | rm];
                let mut sum = 0_u32;
                let mut base = Some(rm);
                if rm == 4 {
                    code.push(sib);
                    let index = sib >> 3 & 7;
                    if index != 4 {
                        sum += values[usize::from(index)] << (sib >> 6);
                    }
                    base = Some(sib & 7);
                }
                if mode == 0 && base == Some(5) {
                    base = None;
                }
                let displaced = match (mode, base) {
                    (0, Some(_)) => 0,
                    (1, _) => {
                        code.push(displacement[0]);
                        0xffff_ff84
                    }
                    _ => {
                        code.extend(displacement);
                        0x9162_7384
                    }
                };
                sum = sum.wrapping_add(displaced);
                if let Some(base) = base {
                    sum = sum.wrapping_add(values[usize::from(base)]);
                }
                let mut machine = Machine::initialised();
                machine
                    .call(hypercall::NEW_PGTABLE, [0x1_5000, 0, 0])
                    .unwrap();
                machine.told();
                let regs = &mut machine.regs;
                [regs.eax, regs.ecx, regs.edx, regs.ebx] =
                    [values[0], values[1], values[2], values[3]];
                [regs.esp, regs.ebp, regs.esi, regs.edi] =
                    [values[4], values[5], values[6], values[7]];
                machine.privileged(&code).unwrap();
                assert_eq!(
                    machine.told(),
                    [Told::SetPte(0x1_5000, sum, 0)],
                    "{code:x?}"
                );
                assert_eq!(machine.regs.eip, CODE + code.len() as u32, "{code:x?}");
                if rm != 4 {
                    break;
                }
            }
        }
    }
}

#[test]
fn invlpg_adds_its_segment_s_base() {
    let mut machine = Machine::initialised();
    machine.load_gate(13, INTERRUPT_GATE);
    machine
        .call(hypercall::LOAD_GDT_ENTRY, [27, 0xffff, 0x108f_9200])
        .unwrap();
    machine.told();
    machine.regs.fs = 27 * 8 + 1;
    machine.regs.eax = 0x1234;
    machine.privileged(&[0x64, 0x0f, 0x01, 0x38]).unwrap();
    assert_eq!(machine.told(), [Told::SetPte(0, 0x1000_1234, 0)]);
    // GS is null: the fault was the segment's, and stays.
    machine.privileged(&[0x65, 0x0f, 0x01, 0x38]).unwrap();
    assert_eq!(machine.regs.eip, handler(13));
}

/// whatever 15 bytes lie there, the guest goes on, is told, or ends with a reason.
#[test]
fn a11_every_two_byte_start_is_survived() {
    for first in 0..=255_u8 {
        for second in 0..=255_u8 {
            let mut code = [0; 15];
            code[..2].copy_from_slice(&[first, second]);
            let mut machine = Machine::initialised();
            machine.load_gate(13, INTERRUPT_GATE);
            machine.load_gate(14, INTERRUPT_GATE);
            machine.set_field(data::IRQ_ENABLED, 0x200);
            machine.privileged(&code).unwrap();
            machine.enter().unwrap();
            let reflected = [handler(13), handler(14)].contains(&machine.regs.eip);
            assert!(reflected || (CODE + 1..=CODE + 15).contains(&machine.regs.eip));
            assert_eq!(machine.regs.cs, 0x61);
        }
    }
}
