//! Instructions that reach device memory (LG-160).

use super::fixture::{CODE, DEVICE, INTERRUPT_GATE, Machine, RAM, USER_DS, handler};
use super::numbers::{data, hypercall};
use crate::address::Gpa;
use crate::device::Width;
use crate::registers::{Registers, eflags};
use proptest::prelude::*;

/// Where the guest sees the device's page in most tests.
const WINDOW: u32 = 0xd000_0000;
/// What the device's memory holds at first, from every multiple of four on.
const PATTERN: u32 = 0x8182_8384;

/// Error code of a write; a read has none.
const WRITE: u32 = 2;

fn machine() -> Machine {
    let mut machine = Machine::initialised();
    machine.load_gate(14, INTERRUPT_GATE);
    machine.guest.devices_mut().memory = PATTERN.to_le_bytes().repeat(1024);
    show(&mut machine, WINDOW);
    machine
}

/// Lets the guest see the device's page at `gva`.
fn show(machine: &mut Machine, gva: u32) {
    let page = gva & !0xfff;
    machine.mmu().device.insert(page, Gpa::new(DEVICE));
}

/// Runs `code` at CODE, which faults at `gva` by writing, or by reading and writing.
fn run(machine: &mut Machine, code: &[u8], gva: u32) {
    fault(machine, code, gva, WRITE);
}

fn fault(machine: &mut Machine, code: &[u8], gva: u32, error: u32) {
    machine.regs.eip = CODE;
    machine.put(CODE, code);
    machine.page_fault(gva.into(), error).unwrap();
}

fn device_word(machine: &mut Machine, offset: usize) -> u32 {
    let bytes = &machine.guest.devices_mut().memory[offset..][..4];
    u32::from_le_bytes(bytes.try_into().unwrap())
}

fn accesses(machine: &mut Machine) -> Vec<(u64, Width)> {
    std::mem::take(&mut machine.guest.devices_mut().memory_accesses)
}

/// The general registers in the order of their numbers.
fn general(regs: &mut Registers) -> [&mut u32; 8] {
    let Registers {
        eax,
        ebx,
        ecx,
        edx,
        esi,
        edi,
        ebp,
        esp,
        ..
    } = regs;
    [eax, ecx, edx, ebx, esp, ebp, esi, edi]
}

/// Registers that tell all forms apart; multiples of four, so that no sum straddles pages.
fn distinct() -> [u32; 8] {
    std::array::from_fn(|number| 0x0101_0104_u32.wrapping_mul(number as u32 * 3 + 1) & !3)
}

/// The forms of a memory operand (Intel SDM volume 2, tables 2-2 and 2-3): the bytes from ModRM on and
/// the address, by the tables themselves.
fn forms(values: [u32; 8]) -> Vec<(Vec<u8>, u32)> {
    let mut forms = Vec::new();
    for mode in 0..3_u8 {
        for rm in 0..8_u8 {
            let sibs = if rm == 4 { 0..=255_u8 } else { 0..=0 };
            for sib in sibs {
                let mut bytes = vec![mode << 6 | rm];
                let mut address = 0_u32;
                let mut has_base = true;
                if rm == 4 {
                    bytes.push(sib);
                    let (scale, index, base) = (sib >> 6, sib >> 3 & 7, sib & 7);
                    if index != 4 {
                        address = values[usize::from(index)] << scale;
                    }
                    if base == 5 && mode == 0 {
                        has_base = false;
                    } else {
                        address = address.wrapping_add(values[usize::from(base)]);
                    }
                } else if rm == 5 && mode == 0 {
                    has_base = false;
                } else {
                    address = values[usize::from(rm)];
                }
                if mode == 1 {
                    bytes.push(0x84);
                    address = address.wrapping_add(0xffff_ff84);
                } else if mode == 2 || !has_base {
                    bytes.extend(0x1234_5678_u32.to_le_bytes());
                    address = address.wrapping_add(0x1234_5678);
                }
                forms.push((bytes, address));
            }
        }
    }
    forms
}

/// LG-160, A-36: 8, 16 and 32 bits, in both directions, in every form.
#[test]
fn lg160_a36_moves_of_every_form_reach_the_device() {
    let values = distinct();
    for (operand, address) in forms(values) {
        for register in 0..8_u8 {
            for (prefix, opcode, width) in [
                (None, 0x88, Width::Byte),
                (Some(0x66), 0x89, Width::Word),
                (None, 0x89, Width::Dword),
            ] {
                let mut code: Vec<u8> = prefix.into_iter().chain([opcode]).collect();
                code.extend(&operand);
                let modrm = code.len() - operand.len();
                code[modrm] |= register << 3;

                let mut machine = machine();
                show(&mut machine, address);
                for (register, value) in general(&mut machine.regs).into_iter().zip(values) {
                    *register = value;
                }
                let mut expected = machine.regs.clone();
                expected.eip = CODE + code.len() as u32;
                // AH, CH, DH and BH are the second bytes of the first four.
                let (number, shift) = match (width, register) {
                    (Width::Byte, 4..) => (usize::from(register & 3), 8),
                    _ => (usize::from(register), 0),
                };
                let at = (address & 0xfff) as usize;

                run(&mut machine, &code, address);
                let stored = device_word(&mut machine, at);
                let given = values[number] >> shift & width.ones();
                assert_eq!(stored, PATTERN & !width.ones() | given, "{code:x?}");
                assert_eq!(machine.regs, expected, "{code:x?}");

                code[modrm - 1] |= 2;
                run(&mut machine, &code, address);
                assert_eq!(machine.regs, expected, "{code:x?} reads back what is there");
                machine.guest.devices_mut().memory[at..][..4].copy_from_slice(&[0x11; 4]);
                run(&mut machine, &code, address);
                let got = general(&mut expected).into_iter().nth(number).unwrap();
                let mask = width.ones() << shift;
                *got = *got & !mask | 0x1111_1111 & mask;
                assert_eq!(machine.regs, expected, "{code:x?}");
                let access = (DEVICE + at as u64, width);
                assert_eq!(accesses(&mut machine), [access; 3]);
            }
        }
    }
}

#[test]
fn immediates_and_absolute_addresses_are_operands_too() {
    let at = 0xd000_0010_u32.to_le_bytes();
    let with_address = |start: &[u8], end: &[u8]| [start, &at, end].concat();
    let cases: [(Vec<u8>, u32); 6] = [
        (with_address(&[0xc6, 0x05], &[0xab]), 0x8182_83ab),
        (with_address(&[0xc7, 0x05], &[1, 2, 3, 4]), 0x0403_0201),
        (with_address(&[0x66, 0xc7, 0x05], &[1, 2]), 0x8182_0201),
        (with_address(&[0xa2], &[]), 0x8182_8378),
        (with_address(&[0xa3], &[]), 0x1234_5678),
        (with_address(&[0x66, 0xa3], &[]), 0x8182_5678),
    ];
    for (code, stored) in cases {
        let mut machine = machine();
        machine.regs.eax = 0x1234_5678;
        run(&mut machine, &code, 0xd000_0010);
        assert_eq!(device_word(&mut machine, 0x10), stored, "{code:x?}");
        assert_eq!(machine.regs.eip, CODE + code.len() as u32);
    }
    for (start, eax) in [
        (vec![0xa0], 0x1234_5684),
        (vec![0xa1], PATTERN),
        (vec![0x66, 0xa1], 0x1234_8384),
        (vec![0x0f, 0xb6, 0x05], 0x84),
        (vec![0x0f, 0xb7, 0x05], 0x8384),
        (vec![0x0f, 0xbe, 0x05], 0xffff_ff84),
        (vec![0x0f, 0xbf, 0x05], 0xffff_8384),
        (vec![0x66, 0x0f, 0xbe, 0x05], 0x1234_ff84),
    ] {
        let mut machine = machine();
        machine.regs.eax = 0x1234_5678;
        let code = with_address(&start, &[]);
        run(&mut machine, &code, 0xd000_0010);
        assert_eq!(machine.regs.eax, eax, "{code:x?}");
        assert_eq!(machine.regs.eip, CODE + code.len() as u32);
    }
}

#[test]
fn addresses_of_16_bits_wrap_at_64_kib() {
    let mut machine = machine();
    show(&mut machine, 0x0);
    machine.regs.ebx = 0xaaaa_fff0;
    machine.regs.esi = 0xbbbb_0020;
    // mov (%bx,%si), %ecx, with a displacement of -4.
    run(&mut machine, &[0x67, 0x8b, 0x48, 0xfc], 0xc);
    assert_eq!(machine.regs.ecx, PATTERN);
    assert_eq!(accesses(&mut machine), [(DEVICE + 0xc, Width::Dword)]);
}

#[test]
fn a_segment_s_base_counts() {
    let mut machine = machine();
    // Entry 6: data at 0xd000_0100.
    let words = [6, 0x0100_ffff, 0xd0cf_f200];
    machine.call(hypercall::LOAD_GDT_ENTRY, words).unwrap();
    machine.regs.gs = 0x33;
    machine.regs.ecx = 0x20;
    run(&mut machine, &[0x65, 0x88, 0x21], 0xd000_0120);
    assert_eq!(accesses(&mut machine), [(DEVICE + 0x120, Width::Byte)]);
    // Without the override the operand is not what faulted.
    run(&mut machine, &[0x88, 0x21], 0xd000_0120);
    assert_eq!(machine.regs.eip, handler(14));
    assert_eq!(accesses(&mut machine), []);
}

const CF: u32 = 1;
const ZF: u32 = 0x40;
const SF: u32 = 0x80;
const OF: u32 = 0x800;

#[test]
fn read_modify_write_leaves_value_and_flags() {
    let start = 0x8182_8384_u32;
    let cases: [(&[u8], u32, u32); 14] = [
        (
            &[0x01, 0x07],
            0x8182_8384_u32.wrapping_add(0x8000_0000),
            CF | OF,
        ),
        (&[0x11, 0x07], 0x0182_8385, CF | OF),
        (&[0x29, 0x07], 0x0182_8384, 0),
        (&[0x19, 0x07], 0x0182_8383, 0),
        (&[0x21, 0x07], 0x8000_0000, SF),
        (&[0x09, 0x07], 0x8182_8384, SF),
        (&[0x31, 0x07], 0x0182_8384, 0),
        (&[0x39, 0x07], start, 0),
        (&[0x85, 0x07], start, SF),
        (&[0x83, 0x27, 0x00], 0, ZF),
        (&[0xff, 0x07], 0x8182_8385, CF | SF),
        (&[0xff, 0x0f], 0x8182_8383, CF | SF),
        (&[0xf7, 0x17], 0x7e7d_7c7b, CF),
        (&[0xf7, 0x1f], 0x7e7d_7c7c, CF),
    ];
    for (code, value, flags) in cases {
        let mut machine = machine();
        machine.regs.edi = WINDOW;
        machine.regs.eax = 0x8000_0000;
        machine.regs.eflags |= CF;
        run(&mut machine, code, WINDOW);
        assert_eq!(device_word(&mut machine, 0), value, "{code:x?}");
        let got = machine.regs.eflags & (CF | ZF | SF | OF);
        assert_eq!(got, flags, "{code:x?}");
        assert_eq!(machine.regs.eax, 0x8000_0000);
    }
}

#[test]
fn an_exchange_goes_both_ways() {
    let mut machine = machine();
    machine.regs.edi = WINDOW;
    machine.regs.ecx = 0x1234_5678;
    run(&mut machine, &[0x87, 0x0f], WINDOW);
    assert_eq!(machine.regs.ecx, PATTERN);
    assert_eq!(device_word(&mut machine, 0), 0x1234_5678);
    run(&mut machine, &[0x86, 0x2f], WINDOW);
    assert_eq!(machine.regs.ecx, 0x8182_7884, "CH is the second byte");
}

/// A repeated string is carried out element by element: each is an exit, and so bounded.
#[test]
fn strings_go_one_element_an_exit() {
    let mut machine = machine();
    let copy_in = [0xf3, 0xa5];
    machine.put(0x1_8000, &[1, 2, 3, 4, 5, 6, 7, 8]);
    machine.regs.esi = 0x1_8000;
    machine.regs.edi = WINDOW;
    machine.regs.ecx = 2;
    run(&mut machine, &copy_in, WINDOW);
    assert_eq!(machine.regs.eip, CODE, "there is one left");
    assert_eq!((machine.regs.ecx, machine.regs.edi), (1, WINDOW + 4));
    run(&mut machine, &copy_in, WINDOW + 4);
    assert_eq!(machine.regs.eip, CODE + 2);
    assert_eq!(machine.regs.ecx, 0);
    assert_eq!(device_word(&mut machine, 0), 0x0403_0201);
    assert_eq!(device_word(&mut machine, 4), 0x0807_0605);

    // Downwards, out of the device.
    machine.regs.eflags |= 1 << 10;
    machine.regs.esi = WINDOW + 4;
    machine.regs.edi = 0x1_8010;
    run(&mut machine, &[0xa5], WINDOW + 4);
    assert_eq!(machine.word(0x1_8010), 0x0807_0605);
    assert_eq!((machine.regs.esi, machine.regs.edi), (WINDOW, 0x1_800c));

    machine.regs.eflags &= !(1 << 10);
    machine.regs.eax = 0x77;
    machine.regs.edi = WINDOW + 9;
    run(&mut machine, &[0xaa], WINDOW + 9);
    assert_eq!(device_word(&mut machine, 8), 0x8182_7784);
    machine.regs.esi = WINDOW + 8;
    run(&mut machine, &[0xad], WINDOW + 8);
    assert_eq!(machine.regs.eax, 0x8182_7784);
}

/// The host copies with the kernel's rights.
#[test]
fn ring_3_cannot_copy_between_a_device_and_memory_through_the_host() {
    let mut machine = machine();
    machine.regs.esi = 0x1_8000;
    machine.regs.edi = WINDOW;
    machine.enter_ring_3();
    machine.regs.ds = USER_DS;
    machine.regs.es = USER_DS;
    let code = machine.regs.eip;
    machine.put(code, &[0xa5]);
    machine.page_fault(WINDOW.into(), 6).unwrap();
    assert_eq!(machine.regs.eip, handler(14));
    assert_eq!(accesses(&mut machine), []);
}

#[test]
fn ring_3_reaches_a_device_that_its_kernel_mapped_for_it() {
    let mut machine = machine();
    machine.regs.edi = WINDOW;
    machine.regs.eax = 0x55;
    machine.enter_ring_3();
    machine.regs.ds = USER_DS;
    let code = machine.regs.eip;
    machine.put(code, &[0x88, 0x07]);
    machine.page_fault(WINDOW.into(), 6).unwrap();
    assert_eq!(machine.regs.eip, code + 2);
    assert_eq!(device_word(&mut machine, 0), 0x8182_8355);
}

/// What cannot be carried out is a page fault, as if nothing were mapped there.
#[test]
fn other_accesses_fault_in_the_guest() {
    let cases: [(&[u8], u32); 7] = [
        // fld, movaps, lock cmpxchg, shl, push: no meaning here.
        (&[0xd9, 0x07], WINDOW),
        (&[0x0f, 0x28, 0x07], WINDOW),
        (&[0xf0, 0x0f, 0xb1, 0x0f], WINDOW),
        (&[0xd1, 0x27], WINDOW),
        (&[0xff, 0x37], WINDOW),
        // An operand that is not what faulted.
        (&[0x8b, 0x07], WINDOW + 4),
        // Not an instruction.
        (&[0xff, 0xff], WINDOW),
    ];
    for (code, gva) in cases {
        let mut machine = machine();
        machine.regs.edi = WINDOW;
        let before = machine.regs.clone();
        machine.regs.eip = CODE;
        machine.put(CODE, code);
        machine.page_fault(gva.into(), 3).unwrap();
        assert_eq!(machine.regs.eip, handler(14), "{code:x?}");
        assert_eq!(machine.word(machine.regs.esp), 2, "a write, to nothing");
        assert_eq!(machine.field(data::CR2), gva);
        assert_eq!(machine.regs.edi, before.edi);
        assert_eq!(accesses(&mut machine), []);
    }
}

/// 13.4: between RAM and the first device there is nothing.
#[test]
fn device_memory_without_a_device_faults_in_the_guest() {
    let mut machine = machine();
    machine.guest.devices_mut().memory.truncate(0x10);
    machine.regs.edi = WINDOW + 0xe;
    run(&mut machine, &[0x8b, 0x07], WINDOW + 0xe);
    assert_eq!(machine.regs.eip, handler(14));
    machine.regs.edi = WINDOW + 0xffe;
    run(&mut machine, &[0x89, 0x07], WINDOW + 0xffe);
    assert_eq!(machine.regs.eip, handler(14));
    assert_eq!(accesses(&mut machine), []);
}

#[test]
fn an_instruction_may_straddle_pages() {
    let mut machine = machine();
    machine.mmu().moved.insert(0x3000, 0x1_a000);
    machine.put(0x2ffe, &[0xc7, 0x05]);
    machine.put(0x1_a000, &[0x40, 0, 0, 0xd0, 1, 0, 0, 0]);
    machine.regs.eip = 0x2ffe;
    machine.page_fault(0xd000_0040, 2).unwrap();
    assert_eq!(machine.regs.eip, 0x3008);
    assert_eq!(device_word(&mut machine, 0x40), 1);
}

/// a single step of an instruction that the host carries out is the guest's.
#[test]
fn a04_a_single_step_is_reported_after_the_instruction() {
    let mut machine = machine();
    machine.load_gate(1, INTERRUPT_GATE);
    machine.regs.edi = WINDOW;
    machine.regs.eflags |= eflags::TF;
    run(&mut machine, &[0x8b, 0x07], WINDOW);
    assert_eq!(machine.regs.eip, CODE + 2);
    machine.enter().unwrap();
    assert_eq!(machine.regs.eip, handler(1));
    assert_eq!(machine.word(machine.regs.esp), CODE + 2);
}

/// some instructions fault by reading, although they write to the same place.
#[test]
fn a40_an_instruction_that_faulted_by_reading_writes_only_where_it_may() {
    const MOVSD: [u8; 1] = [0xa5];
    const ADD: [u8; 2] = [0x01, 0x06];
    for code in [MOVSD.as_slice(), &ADD] {
        let mut machine = machine();
        machine.regs.esi = WINDOW;
        machine.regs.edi = WINDOW;
        fault(&mut machine, code, WINDOW, 0);
        assert_eq!(machine.regs.eip, CODE + code.len() as u32, "it may");

        machine.regs.esi = WINDOW;
        machine.regs.edi = WINDOW;
        machine.mmu().read_only.insert(WINDOW);
        accesses(&mut machine);
        fault(&mut machine, code, WINDOW, 0);
        assert_eq!(machine.regs.eip, handler(14));
        assert_eq!(accesses(&mut machine), []);
        let error = machine.word(machine.regs.esp);
        assert_eq!(error, 3, "a write to a present page");
    }
}

proptest! {
    /// whatever the instruction and wherever it faults, the guest goes on or hears of it, and
    /// only the device's own bytes are reached.
    #[test]
    fn a36_random_code_is_carried_out_or_faults(
        code in prop::collection::vec(any::<u8>(), 1..16),
        registers in prop::array::uniform8(prop_oneof![
            any::<u32>(),
            (0..0x1000_u32).prop_map(|offset| WINDOW + offset),
            0..RAM as u32,
        ]),
        offset in 0..0x1000_u32,
        error in 0..8_u32,
    ) {
        let mut machine = machine();
        machine.load_gate(1, INTERRUPT_GATE);
        for (register, value) in general(&mut machine.regs).into_iter().zip(registers) {
            *register = value;
        }
        machine.regs.esp = 0x9000;
        machine.put(CODE, &code);
        machine.regs.eip = CODE;
        let gva = WINDOW + offset;
        machine.page_fault(gva.into(), error).unwrap();
        let ended = machine.regs.eip.wrapping_sub(CODE) <= 15;
        prop_assert!(ended || machine.regs.eip == handler(14));
        for (at, width) in accesses(&mut machine) {
            prop_assert_eq!(at, DEVICE + u64::from(offset));
            prop_assert!(offset + width.bytes() <= 0x1000);
        }
    }
}
