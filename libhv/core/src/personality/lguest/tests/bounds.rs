//! What a hostile guest may try: bounded, and the end has a name.

use super::fixture::{INTERRUPT_GATE, Machine, STACK, TRAP_GATE, handler, killed};
use super::numbers::data;

/// the page fault handler's own page is gone, so it can never start.
#[test]
fn a31_a_handler_that_cannot_start_is_a_fault_loop() {
    let mut machine = Machine::initialised();
    machine.load_gate(14, INTERRUPT_GATE);
    machine.mmu().unmapped.insert(handler(14) & !0xfff);
    machine.page_fault(0x7000, 0).unwrap();
    for count in 1.. {
        let cr2 = u64::from(machine.regs.eip);
        if let Err(end) = machine.page_fault(cr2, 0) {
            let reason = killed(Err::<(), _>(end));
            assert_eq!(reason, format!("fault loop: trap 14 at {:#x}", handler(14)));
            assert_eq!(count, 32);
            return;
        }
        machine.enter().unwrap();
    }
}

/// two handlers that cannot start, each the other's undoing.
#[test]
fn a31_handlers_that_fault_into_each_other_are_a_fault_loop() {
    let mut machine = Machine::initialised();
    machine.load_gate(6, TRAP_GATE);
    machine.load_gate(13, TRAP_GATE);
    let end = (0..100).find_map(|turn| {
        machine
            .trap([6, 13][turn % 2], 8)
            .and_then(|()| machine.enter())
            .err()
    });
    assert!(killed(Err::<(), _>(end.unwrap())).starts_with("fault loop: trap "));
}

/// A handler that gets to run may fault as often as it likes; the loop is the guest's own.
#[test]
fn a31_faults_with_progress_between_them_go_on() {
    let mut machine = Machine::initialised();
    machine.load_gate(6, INTERRUPT_GATE);
    for _ in 0..1000 {
        machine.trap(6, 0).unwrap();
        machine.enter().unwrap();
        // One instruction of the handler ran.
        machine.regs.eip += 1;
        machine.regs.esp = STACK;
    }
    assert_eq!(machine.guest.counters().reflected, 1000);
}

/// A fault at a handler's start that is repaired for it, again and again, is no loop.
#[test]
fn a31_a_handler_whose_page_is_brought_in_is_no_loop() {
    let mut machine = Machine::initialised();
    machine.load_gate(6, INTERRUPT_GATE);
    machine.load_gate(14, INTERRUPT_GATE);
    for _ in 0..1000 {
        machine.regs.eip = 0x2000;
        machine.regs.esp = STACK;
        machine.trap(6, 0).unwrap();
        machine.page_fault(u64::from(handler(6)), 0).unwrap();
        assert_eq!(machine.regs.eip, handler(14));
    }
}

/// a stack that runs down ends where it is no longer mapped.
#[test]
fn a31_recursion_ends_with_the_stack() {
    let mut machine = Machine::initialised();
    machine.load_gate(6, INTERRUPT_GATE);
    machine.mmu().unmapped.insert(0x7000);
    let end = (0..10_000).find_map(|_| {
        machine.regs.eip = 0x2000;
        machine.trap(6, 0).err()
    });
    assert_eq!(killed(Err::<(), _>(end.unwrap())), "Bad address 0x7ff8");
}

/// all interrupts raised at every entry are at most one delivery an entry.
#[test]
fn a31_an_interrupt_storm_is_one_delivery_an_entry() {
    let mut machine = Machine::initialised();
    for irq in 0..32 {
        machine.load_gate(32 + irq, INTERRUPT_GATE);
    }
    for entry in 1..=500 {
        machine.guest.devices_mut().interrupts = u32::MAX;
        machine.set_field(data::IRQ_ENABLED, 0x200);
        machine.regs.esp = STACK;
        machine.accesses();
        machine.enter().unwrap();
        assert!(machine.accesses() < 16);
        assert_eq!(machine.guest.counters().interrupts, entry);
    }
}

/// The stack may be the shared structure itself: the guest hurts itself only.
#[test]
fn a_stack_inside_lguest_data_is_the_guest_s_own_affair() {
    let mut machine = Machine::initialised();
    machine.load_gate(6, INTERRUPT_GATE);
    for esp in (0x4000..0x4600).step_by(3) {
        machine.regs.eip = 0x2000;
        machine.regs.esp = esp;
        machine.trap(6, 0).unwrap();
        machine.enter().unwrap();
    }
}
