//! Reflected frames: where they go and what is in them.

use super::fixture::{
    DATA, INTERRUPT_GATE, Machine, OPEN, STACK, TRAP_GATE, TRAP_STACK, USER_CS, USER_DS, handler,
    killed,
};
use super::numbers::{data, hypercall};
use crate::registers::eflags;

#[test]
fn lg119_a_trap_from_ring_1_pushes_three_words_on_its_own_stack() {
    let mut machine = Machine::initialised();
    machine.load_gate(6, INTERRUPT_GATE);
    machine.regs.eflags = 0x8d7 | eflags::IF;
    machine.trap(6, 0).unwrap();
    assert_eq!(machine.words(STACK - 12), [0x2000, 0x61, 0x8d7]);
    assert_eq!((machine.regs.ss, machine.regs.esp), (0x69, STACK - 12));
    assert_eq!((machine.regs.cs, machine.regs.eip), (0x61, handler(6)));
    assert_eq!(machine.guest.counters().reflected, 1);
}

/// LG-120, LG-075.
#[test]
fn lg120_lg075_a_trap_from_ring_3_arrives_on_the_latest_kernel_stack() {
    let mut machine = Machine::initialised();
    machine.load_gate(13, INTERRUPT_GATE);
    machine
        .call(hypercall::SET_STACK, [0x69, TRAP_STACK - 0x100, 1])
        .unwrap();
    machine.enter_ring_3();
    machine.trap(13, 0x38).unwrap();
    assert_eq!(
        machine.words(TRAP_STACK - 0x100 - 24),
        [0x38, 0x1_2345, USER_CS, 0x002, 0x1_6000, USER_DS]
    );
    assert_eq!(
        (machine.regs.ss, machine.regs.esp),
        (0x69, TRAP_STACK - 0x100 - 24)
    );
}

#[test]
fn lg121_only_these_vectors_push_an_error_code() {
    for vector in (0..=32).filter(|vector| ![1, 2, 7, 8, 13, 14, 15, 18, 31, 32].contains(vector)) {
        let mut machine = Machine::initialised();
        machine.load_gate(vector, INTERRUPT_GATE);
        machine.trap(vector, 0x1234).unwrap();
        let with_error = [10, 11, 12, 17].contains(&vector);
        let pushed = if with_error { 16 } else { 12 };
        assert_eq!(machine.regs.esp, STACK - pushed, "vector {vector}");
        assert_eq!(
            machine.word(STACK - 16),
            if with_error { 0x1234 } else { 0 }
        );
    }
}

/// LG-122, 4.2: bit 9 and nothing else.
#[test]
fn lg122_the_pushed_interrupt_flag_is_the_virtual_one() {
    for (word, expected) in [
        (0, 0),
        (0x200, 0x200),
        (0x46, 0),
        (0xffff_fdff, 0),
        (0x246, 0x200),
    ] {
        let mut machine = Machine::initialised();
        machine.load_gate(6, TRAP_GATE);
        machine.set_field(data::IRQ_ENABLED, word);
        machine.trap(6, 0).unwrap();
        assert_eq!(
            machine.word(STACK - 4) & 0x200,
            expected,
            "irq_enabled {word:#x}"
        );
    }
}

/// LG-123, LG-124.
#[test]
fn lg123_lg124_the_gate_s_type_decides_about_irq_enabled() {
    for (kind, after) in [(INTERRUPT_GATE, 0), (TRAP_GATE, 0x246)] {
        let mut machine = Machine::initialised();
        machine.load_gate(6, kind);
        machine.set_field(data::IRQ_ENABLED, 0x246);
        machine.trap(6, 0).unwrap();
        assert_eq!(machine.field(data::IRQ_ENABLED), after);
    }
}

/// LG-127: gone in the handler, kept in the frame where the guest could have had them.
#[test]
fn lg127_handlers_start_without_tf_rf_and_nt() {
    let mut machine = Machine::initialised();
    machine.load_gate(6, TRAP_GATE);
    machine.regs.eflags = 0x202 | eflags::TF | eflags::RF | eflags::NT | eflags::IOPL;
    machine.trap(6, 0).unwrap();
    assert_eq!(
        machine.regs.eflags & (eflags::TF | eflags::RF | eflags::NT | eflags::VM),
        0
    );
    assert_eq!(
        machine.word(STACK - 4),
        0x002 | eflags::TF | eflags::RF | eflags::NT
    );
}

/// LG-128, A-03: whatever the exit left.
#[test]
fn lg128_a03_every_entry_has_harmless_flags() {
    for bit in 0..32 {
        let mut machine = Machine::initialised();
        machine.regs.eflags = 1 << bit;
        machine.regs.eflags_high = 0xffff_ffff;
        machine.enter().unwrap();
        let allowed = 1 << bit & (0x0024_0cd5 | eflags::TF);
        assert_eq!(machine.regs.eflags, allowed | 0x202, "bit {bit}");
        assert_eq!(machine.regs.eflags_high, 0);
    }
}

/// LG-130, A-08: every place of a frame relative to a page boundary, to the byte.
#[test]
fn lg130_a08_a_frame_over_two_pages_goes_to_both() {
    for below in 1..16 {
        let mut machine = Machine::initialised();
        machine.load_gate(11, INTERRUPT_GATE);
        machine.mmu().moved.insert(0x8000, 0x1_e000);
        machine.mmu().moved.insert(0x9000, 0x1_c000);
        machine.regs.esp = 0x9000 + below;
        let before = machine.ram();
        machine.trap(11, 0xaabb_ccdd).unwrap();
        let mut expected = before;
        let frame = [0xaabb_ccdd_u32, 0x2000, 0x61, 0x002];
        for (index, byte) in frame.iter().flat_map(|word| word.to_le_bytes()).enumerate() {
            let gva = 0x9000 + below as usize - 16 + index;
            let gpa = if gva < 0x9000 { 0x1_e000 } else { 0x1_c000 } + (gva & 0xfff);
            expected[gpa] = byte;
        }
        // The gate's effect on irq_enabled, which was 0 already.
        assert!(machine.ram() == expected, "ESP {below} bytes into the page");
    }
}

#[test]
fn the_page_of_a_page_aligned_stack_pointer_is_not_needed() {
    let mut machine = Machine::initialised();
    machine.load_gate(6, INTERRUPT_GATE);
    machine.mmu().unmapped.insert(STACK);
    assert_eq!(machine.trap(6, 0), Ok(()));
}

/// nothing is written when any of it cannot be.
#[test]
fn a08_a_stack_that_cannot_be_written_kills() {
    for (esp, reason) in [
        (0, "Bad address 0xfffffff4"),
        (u32::MAX, "Bad address 0xfffffff3"),
        (0x9004, "bad stack page 0x8ff8"),
        (0xa004, "Bad address 0xa000"),
        (0xc000, "Bad address 0xbff4"),
    ] {
        let mut machine = Machine::initialised();
        machine.load_gate(6, INTERRUPT_GATE);
        machine.mmu().read_only.insert(0x8000);
        machine.mmu().unmapped.extend([0xa000, 0xb000]);
        machine.regs.esp = esp;
        let before = machine.ram();
        assert_eq!(killed(machine.trap(6, 0)), reason, "ESP {esp:#x}");
        assert!(machine.ram() == before);
    }
}

/// ESP wraps at 4 GiB, and so does the linear address.
#[test]
fn a25_a_frame_wraps_at_the_end_of_the_address_space() {
    let mut machine = Machine::initialised();
    machine.load_gate(6, INTERRUPT_GATE);
    machine.mmu().moved.insert(0xffff_f000, 0x1_f000);
    machine.regs.esp = 4;
    machine.trap(6, 0).unwrap();
    assert_eq!(machine.regs.esp, 0xffff_fff8);
    assert_eq!(machine.words(0x1_fff8), [0x2000, 0x61]);
    assert_eq!(machine.word(0), 0x002);
}

#[test]
fn the_stack_segment_s_base_counts() {
    let mut machine = Machine::initialised();
    machine.load_gate(6, INTERRUPT_GATE);
    // Entry 18: ring-1 data at base 0x1_0000.
    machine
        .call(hypercall::LOAD_GDT_ENTRY, [18, 0xffff, 0x00cf_b201])
        .unwrap();
    machine.regs.ss = 18 * 8 + 1;
    machine.trap(6, 0).unwrap();
    assert_eq!(machine.words(0x1_0000 + STACK - 12), [0x2000, 0x61]);
    assert_eq!(
        (machine.regs.ss, machine.regs.esp),
        (18 * 8 + 1, STACK - 12)
    );
}

/// what the entry would refuse, for the entry's reason.
#[test]
fn a02_a_stack_segment_that_cannot_be_loaded_kills_as_an_entry_would() {
    for high in [
        0,
        0x00cf_7200,
        0x00cf_f200,
        0x00cf_b000,
        0x00cf_ba00,
        0x008f_b200,
    ] {
        let mut machine = Machine::initialised();
        machine.load_gate(6, INTERRUPT_GATE);
        machine
            .call(hypercall::LOAD_GDT_ENTRY, [13, 0xffff, high])
            .unwrap();
        assert_eq!(
            killed(machine.trap(6, 0)),
            "unhandled trap 256 at 0x2000 (0x69)",
            "{high:#x}"
        );
    }
}

/// LG-131, A25: both types of system call gate, and no error code.
#[test]
fn lg131_a_system_call_reaches_the_handler_with_the_user_frame() {
    for (kind, irq_enabled) in [(TRAP_GATE, 0x200), (INTERRUPT_GATE, 0)] {
        let mut machine = Machine::initialised();
        machine.load_gate(0x80, kind | OPEN);
        machine.set_field(data::IRQ_ENABLED, 0x200);
        machine.enter_ring_3();
        machine.trap(0x80, 0).unwrap();
        let frame = [0x1_2345, USER_CS, 0x202, 0x1_6000, USER_DS];
        assert_eq!(machine.words(TRAP_STACK - 20), frame);
        assert_eq!(machine.field(data::IRQ_ENABLED), irq_enabled);
    }
}

/// LG-125, LG-126: a frame is not built for a handler that does not exist.
#[test]
fn lg125_lg126_a_trap_without_handler_kills_and_says_where() {
    let mut machine = Machine::initialised();
    let before = machine.ram();
    assert_eq!(
        killed(machine.trap(13, 0x338)),
        "unhandled trap 13 at 0x2000 (0x338)"
    );
    assert!(machine.ram() == before);
    let mut machine = Machine::initialised();
    assert_eq!(
        killed(machine.page_fault(0x5000_0004, 2)),
        "unhandled trap 14 at 0x2000 (0x50000004)"
    );
    assert_eq!(machine.word(DATA + data::CR2), 0x5000_0004);
}
