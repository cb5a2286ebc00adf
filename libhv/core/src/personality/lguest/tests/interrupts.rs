//! Virtual interrupts, HALT and the clock.

use super::fixture::{
    DATA, INTERRUPT_GATE, Machine, NOIRQ_IRET, STACK, TRAP_GATE, TRAP_STACK, handler, killed,
};
use super::generations::all;
use super::numbers::{data, hypercall};
use crate::clock::{Nanos, WallTime};
use crate::personality::{BadIrq, Next};
use crate::registers::eflags;
use hv_abi::lguest::{Generation, generations};

const MILLISECOND: u64 = 1_000_000;

/// All 32 handlers, interrupts enabled.
fn machine() -> Machine {
    machine_of(&generations::LINUX_4_0)
}

/// The same of another generation.
fn machine_of(generation: &'static Generation) -> Machine {
    let mut machine = Machine::initialised_of(generation);
    for irq in 0..32 {
        machine.load_gate(32 + irq, INTERRUPT_GATE);
    }
    machine.set_field(data::IRQ_ENABLED, 0x200);
    machine
}

/// LG-133, LG-119.
#[test]
fn lg133_every_irq_is_at_vector_32_plus_n() {
    for irq in 0..32 {
        let mut machine = machine();
        machine.guest.raise(irq).unwrap();
        assert_eq!(machine.enter(), Ok(Next::Enter));
        assert_eq!(machine.regs.eip, handler(32 + irq as u8));
        assert_eq!(machine.words(STACK - 12), [0x2000, 0x61, 0x202]);
        assert_eq!(machine.field(data::IRQ_ENABLED), 0);
        assert_eq!(machine.guest.counters().interrupts, 1);
    }
}

/// LG-134, LG-145: lowest first, one an entry, raised twice is raised once.
#[test]
fn lg134_lg145_every_generation_the_lowest_comes_first_and_each_comes_once() {
    for generation in all() {
        let mut machine = machine_of(generation);
        for irq in [9, 3, 31, 3] {
            machine.guest.raise(irq).unwrap();
        }
        for irq in [3, 9, 31] {
            machine.enter().unwrap();
            assert_eq!(machine.regs.eip, handler(32 + irq), "{generation}");
            machine.set_field(data::IRQ_ENABLED, 0x200);
        }
        let before = machine.regs.clone();
        machine.enter().unwrap();
        assert_eq!(machine.regs, before, "{generation}");
    }
}

#[test]
fn lg135_a_blocked_irq_waits() {
    let mut machine = machine();
    machine.set_field(data::BLOCKED_INTERRUPTS, 1 << 5);
    machine.guest.raise(5).unwrap();
    machine.enter().unwrap();
    assert_eq!(machine.regs.eip, 0x2000);
    assert_eq!(machine.field(data::IRQ_PENDING), 0);
    machine.set_field(data::BLOCKED_INTERRUPTS, 0);
    machine.enter().unwrap();
    assert_eq!(machine.regs.eip, handler(37));
}

/// LG-136, LG-137, LG-138, 4.2: any word without bit 9 is off; the wish is taken back in the end.
#[test]
fn lg136_lg137_held_back_interrupts_are_announced_and_then_not() {
    for off in [0, 0x46, 0xffff_fdff] {
        let mut machine = machine();
        machine.set_field(data::IRQ_ENABLED, off);
        machine.guest.raise(1).unwrap();
        machine.enter().unwrap();
        assert_eq!(machine.regs.eip, 0x2000);
        assert_eq!(machine.field(data::IRQ_PENDING), 0x200);
        machine.set_field(data::IRQ_ENABLED, 0x200);
        machine.call(hypercall::SEND_INTERRUPTS, [0; 3]).unwrap();
        machine.enter().unwrap();
        assert_eq!(machine.regs.eip, handler(33));
        assert_eq!(machine.field(data::IRQ_PENDING), 0);
    }
}

#[test]
fn lg137_the_announcement_stays_while_another_waits() {
    let mut machine = machine();
    machine.guest.raise(1).unwrap();
    machine.guest.raise(2).unwrap();
    machine.enter().unwrap();
    assert_eq!(machine.field(data::IRQ_PENDING), 0x200);
    machine.set_field(data::BLOCKED_INTERRUPTS, 1 << 2);
    machine.enter().unwrap();
    assert_eq!(machine.field(data::IRQ_PENDING), 0, "blocked meanwhile");
}

#[test]
fn an_interrupt_from_ring_3_arrives_on_the_kernel_stack() {
    let mut machine = machine();
    machine.enter_ring_3();
    machine.guest.raise(0).unwrap();
    machine.enter().unwrap();
    assert_eq!(machine.regs.esp, TRAP_STACK - 20);
}

#[test]
fn a_trap_gate_leaves_interrupts_on() {
    let mut machine = machine();
    machine.load_gate(32, TRAP_GATE);
    machine.guest.raise(0).unwrap();
    machine.enter().unwrap();
    assert_eq!(machine.field(data::IRQ_ENABLED), 0x200);
}

/// LG-140, LG-127, LG-128, A-03: no frame, the frame's own flags, made safe.
#[test]
fn lg140_a03_an_interrupt_at_the_final_iret_folds_it() {
    let mut machine = machine();
    machine.regs.eip = NOIRQ_IRET;
    let frame = [0x1111, 0x61, 0xffff_ffff];
    for (index, word) in frame.into_iter().enumerate() {
        machine.put_word(STACK + 4 * index as u32, word);
    }
    machine.guest.raise(0).unwrap();
    let below: [u32; 8] = machine.words(STACK - 32);
    machine.enter().unwrap();
    assert_eq!((machine.regs.ss, machine.regs.esp), (0x69, STACK));
    assert_eq!(machine.words(STACK), frame);
    assert_eq!(machine.words(STACK - 32), below);
    assert_eq!((machine.regs.cs, machine.regs.eip), (0x61, handler(32)));
    assert_eq!(machine.regs.eflags, (0x0024_0cd5 | 0x202) & !eflags::TF);
    assert_eq!(machine.field(data::IRQ_ENABLED), 0);
}

#[test]
fn lg140_the_folded_flags_may_cross_a_page() {
    for offset in 1..4 {
        let mut machine = machine();
        machine.mmu().moved.insert(0xa000, 0x1_c000);
        machine.regs.eip = NOIRQ_IRET;
        machine.regs.esp = 0xa000 - 8 - offset;
        let split = offset as usize;
        let flags = 0x0000_0cd7_u32.to_le_bytes();
        machine.put(0xa000 - offset, &flags[..split]);
        machine.put(0x1_c000, &flags[split..]);
        machine.guest.raise(0).unwrap();
        machine.enter().unwrap();
        assert_eq!(machine.regs.eflags, 0xcd7 | 0x200);
    }
}

#[test]
fn a_fold_of_an_unmapped_frame_kills() {
    let mut machine = machine();
    machine.mmu().unmapped.insert(STACK);
    machine.regs.eip = NOIRQ_IRET;
    machine.guest.raise(0).unwrap();
    assert_eq!(killed(machine.enter()), "Bad address 0x9008");
}

/// The address means nothing in ring 3.
#[test]
fn ring_3_at_the_address_of_the_iret_is_interrupted_as_anywhere() {
    let mut machine = machine();
    machine.enter_ring_3();
    machine.regs.eip = NOIRQ_IRET;
    machine.guest.raise(0).unwrap();
    machine.enter().unwrap();
    assert_eq!(machine.word(TRAP_STACK - 20), NOIRQ_IRET);
}

/// LG-141, LG-143.
#[test]
fn lg141_lg143_waking_turns_interrupts_on_before_the_frame_is_built() {
    let mut machine = machine();
    machine.set_field(data::IRQ_ENABLED, 0);
    machine.set_field(data::BLOCKED_INTERRUPTS, 1 << 4);
    machine.call(hypercall::HALT, [0; 3]).unwrap();
    machine.guest.raise(4).unwrap();
    assert_eq!(machine.enter(), Ok(Next::Halt), "blocked");
    machine.guest.raise(6).unwrap();
    assert_eq!(machine.enter(), Ok(Next::Enter));
    assert_eq!(machine.regs.eip, handler(38));
    assert_eq!(machine.word(STACK - 4) & 0x200, 0x200);
    assert_eq!(machine.field(data::IRQ_ENABLED), 0);
}

#[test]
fn lg142_halt_with_something_pending_does_not_sleep() {
    let mut machine = machine();
    machine.set_field(data::IRQ_ENABLED, 0);
    machine.guest.raise(0).unwrap();
    machine.enter().unwrap();
    machine.call(hypercall::HALT, [0; 3]).unwrap();
    assert_eq!(machine.enter(), Ok(Next::Enter));
    assert_eq!(machine.regs.eip, handler(32));
}

#[test]
fn lg144_an_irq_without_a_handler_stays_pending_but_ends_halt() {
    let mut machine = machine();
    machine.call(hypercall::LOAD_IDT_ENTRY, [35, 0, 0]).unwrap();
    machine.call(hypercall::HALT, [0; 3]).unwrap();
    machine.guest.raise(3).unwrap();
    assert_eq!(machine.enter(), Ok(Next::Enter));
    assert_eq!(machine.regs.eip, 0x2000);
    assert_eq!(machine.field(data::IRQ_ENABLED), 0x200);
    machine.load_gate(35, INTERRUPT_GATE);
    machine.enter().unwrap();
    assert_eq!(machine.regs.eip, handler(35));
}

/// LG-146 to LG-148, A26.
#[test]
fn lg146_lg147_lg148_the_clock_event_is_one_shot_and_never_early() {
    let mut machine = machine();
    machine
        .call(hypercall::SET_CLOCKEVENT, [1000, 0, 0])
        .unwrap();
    assert_eq!(machine.guest.deadline(Nanos(5_000)), Some(Nanos(6_000)));
    machine.clock.now = 5_999;
    machine.enter().unwrap();
    assert_eq!(machine.regs.eip, 0x2000);
    machine.clock.now = 6_000;
    machine.enter().unwrap();
    assert_eq!(machine.regs.eip, handler(32));
    assert_eq!(machine.guest.deadline(Nanos(6_000)), None);

    machine.call(hypercall::SET_CLOCKEVENT, [10, 0, 0]).unwrap();
    machine
        .call(hypercall::SET_CLOCKEVENT, [u32::MAX, 0, 0])
        .unwrap();
    assert_eq!(
        machine.guest.deadline(Nanos(0)),
        Some(Nanos(6_000 + 0xffff_ffff))
    );
    machine.call(hypercall::SET_CLOCKEVENT, [0; 3]).unwrap();
    assert_eq!(machine.guest.deadline(Nanos(0)), None);
    machine.clock.now = u64::MAX;
    machine.set_field(data::IRQ_ENABLED, 0x200);
    machine.enter().unwrap();
    assert_eq!(machine.guest.counters().interrupts, 1);
}

/// LG-149, A28.
#[test]
fn lg149_time_is_written_with_each_delivery() {
    let mut machine = machine();
    machine.clock.wall = WallTime {
        seconds: 2_000_000,
        nanoseconds: 9,
    };
    machine.enter().unwrap();
    assert_eq!(machine.field(data::TIME), 1_000_000, "not without one");
    machine.guest.raise(0).unwrap();
    machine.enter().unwrap();
    assert_eq!(
        [machine.field(data::TIME), machine.field(data::TIME + 4)],
        [2_000_000, 9]
    );
}

#[test]
fn lg151_there_are_32_interrupts() {
    let mut machine = machine();
    assert_eq!(machine.guest.raise(31), Ok(()));
    for irq in [32, u32::MAX] {
        assert_eq!(machine.guest.raise(irq), Err(BadIrq(irq)));
    }
    assert_eq!(BadIrq(32).to_string(), "no such interrupt 32");
}

/// A24: guests enable and unmask without telling.
#[test]
fn what_cannot_be_delivered_is_tried_again_within_a_millisecond() {
    let mut machine = machine();
    machine.set_field(data::BLOCKED_INTERRUPTS, 1 << 7);
    machine.guest.raise(7).unwrap();
    machine.enter().unwrap();
    assert_eq!(
        machine.guest.deadline(Nanos(50)),
        Some(Nanos(50 + MILLISECOND))
    );
    machine
        .call(hypercall::SET_CLOCKEVENT, [100, 0, 0])
        .unwrap();
    assert_eq!(
        machine.guest.deadline(Nanos(50)),
        Some(Nanos(5_100)),
        "the earlier of both"
    );
    machine.call(hypercall::SET_CLOCKEVENT, [0; 3]).unwrap();
    machine.call(hypercall::HALT, [0; 3]).unwrap();
    machine.enter().unwrap();
    assert_eq!(
        machine.guest.deadline(Nanos(50)),
        None,
        "asleep, nothing changes"
    );
}

#[test]
fn devices_are_polled_and_cannot_raise_the_timer_s_interrupt() {
    let mut machine = machine();
    machine.guest.devices_mut().interrupts = 1 << 0 | 1 << 2;
    machine.enter().unwrap();
    assert_eq!(machine.regs.eip, handler(34));
    machine.set_field(data::IRQ_ENABLED, 0x200);
    machine.enter().unwrap();
    assert_eq!(machine.regs.eip, handler(34));
    assert_eq!(machine.guest.devices_mut().polls, 2);
}

/// asleep for ever with everything masked; a kick still gets in.
#[test]
fn a30_a_guest_that_blocked_everything_sleeps_until_it_can_be_woken() {
    let mut machine = machine();
    machine.set_field(data::BLOCKED_INTERRUPTS, u32::MAX);
    machine.call(hypercall::HALT, [0; 3]).unwrap();
    for irq in 0..32 {
        machine.guest.raise(irq).unwrap();
        assert_eq!(machine.enter(), Ok(Next::Halt));
    }
    assert_eq!(machine.guest.deadline(Nanos(0)), None);
    machine.put_word(DATA + data::BLOCKED_INTERRUPTS, !1);
    assert_eq!(machine.enter(), Ok(Next::Enter));
}

/// each call replaces the last; nothing piles up.
#[test]
fn a30_a_loop_of_shortest_deadlines_raises_one_interrupt() {
    let mut machine = machine();
    machine.set_field(data::IRQ_ENABLED, 0);
    for _ in 0..1000 {
        machine.call(hypercall::SET_CLOCKEVENT, [1, 0, 0]).unwrap();
        machine.clock.now += 10;
        machine.enter().unwrap();
    }
    machine.set_field(data::IRQ_ENABLED, 0x200);
    machine.enter().unwrap();
    machine.set_field(data::IRQ_ENABLED, 0x200);
    machine.enter().unwrap();
    assert_eq!(machine.guest.counters().interrupts, 1);
}
