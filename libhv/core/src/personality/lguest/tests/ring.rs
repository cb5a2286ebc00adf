//! The asynchronous ring.

use super::fixture::{Machine, Told, killed};
use super::numbers::hypercall;

fn set_pte(machine: &Machine, slot: u32, mark: u32) {
    machine.queue(slot, [hypercall::SET_PTE, 0x5000, mark, 0, 0]);
}

fn marks(machine: &mut Machine) -> Vec<u32> {
    machine
        .told()
        .into_iter()
        .map(|told| match told {
            Told::SetPte(_, mark, _) => mark,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// LG-043 to LG-046, LG-050.
#[test]
fn lg043_lg050_queued_calls_run_in_order_before_the_direct_one() {
    let mut machine = Machine::initialised();
    for slot in [0, 1, 2, 4] {
        set_pte(&machine, slot, slot);
    }
    machine.call(hypercall::SET_PTE, [0x5000, 99, 0]).unwrap();
    assert_eq!(marks(&mut machine), [0, 1, 2, 99]);
    assert_eq!(
        [0, 1, 2, 3, 4].map(|slot| machine.slot_status(slot)),
        [0xff, 0xff, 0xff, 0xff, 0]
    );
}

/// LG-047 to LG-049.
#[test]
fn lg047_lg048_one_round_at_most_and_the_cursor_wraps() {
    let mut machine = Machine::initialised();
    set_pte(&machine, 0, 1000);
    machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
    machine.told();
    for slot in 0..64 {
        set_pte(&machine, slot, slot);
    }
    machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
    let expected: Vec<u32> = (1..64).chain([0]).collect();
    assert_eq!(marks(&mut machine), expected);
    machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
    assert_eq!(marks(&mut machine), []);
}

#[test]
fn a28_a_slot_that_fills_up_meanwhile_waits_for_the_next_call() {
    let mut machine = Machine::initialised();
    set_pte(&machine, 0, 0);
    set_pte(&machine, 1, 1);
    machine.put_word(super::fixture::DATA + 0x58 + 2 * 20, hypercall::SET_PTE);
    machine.put_word(super::fixture::DATA + 0x58 + 2 * 20 + 8, 2);
    machine.mmu().fills = Some(2);
    machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
    assert_eq!(marks(&mut machine), [0, 1]);
    machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
    assert_eq!(marks(&mut machine), [2]);
}

#[test]
fn a28_all_slots_ready_for_ever_is_one_round_a_call() {
    let mut machine = Machine::initialised();
    for _ in 0..3 {
        for slot in 0..64 {
            set_pte(&machine, slot, slot);
        }
        machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
        assert_eq!(marks(&mut machine).len(), 64);
    }
}

#[test]
fn any_status_but_empty_is_ready() {
    for status in [0, 1, 0x7f, 0xfe] {
        let mut machine = Machine::initialised();
        set_pte(&machine, 0, 5);
        machine.put(super::fixture::DATA + 0x18, &[status]);
        machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
        assert_eq!(marks(&mut machine), [5]);
    }
}

#[test]
fn lg054_a_slot_kills_with_the_reason_of_a_direct_call_and_at_once() {
    let mut machine = Machine::initialised();
    set_pte(&machine, 0, 1);
    machine.queue(1, [99, 0, 0, 0, 0]);
    set_pte(&machine, 2, 2);
    assert_eq!(
        killed(machine.call(hypercall::FLUSH_ASYNC, [0; 3])),
        "Bad hypercall 99"
    );
    assert_eq!(marks(&mut machine), [1]);
}

#[test]
fn a_second_init_from_the_ring_kills() {
    let mut machine = Machine::initialised();
    machine.queue(0, [hypercall::LGUEST_INIT, 0x4000, 0, 0, 0]);
    let reason = killed(machine.call(hypercall::FLUSH_ASYNC, [0; 3]));
    assert_eq!(reason, "already have lguest_data");
}

/// The null call is the measure of all exits: with an empty ring it reads one byte.
#[test]
fn an_empty_ring_costs_one_access() {
    let mut machine = Machine::initialised();
    machine.accesses();
    machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
    machine.enter().unwrap();
    assert_eq!(machine.accesses(), 1);
}

/// a round that takes long goes on in the next exit, which is the same instruction again.
#[test]
fn a39_a_long_round_is_split_and_the_call_is_made_once() {
    let mut machine = Machine::initialised();
    for slot in 0..10 {
        set_pte(&machine, slot, slot);
    }
    machine.mmu().tires_after = Some(4);
    let eip = machine.regs.eip;
    let mut exits = 0;
    loop {
        exits += 1;
        machine.call(hypercall::SET_PTE, [0x5000, 99, 0]).unwrap();
        if machine.regs.eip == eip {
            break;
        }
        // The processor executes `int` again.
        assert_eq!(machine.regs.eip, eip - 2);
        machine.regs.eip = eip;
        assert!(exits < 10);
    }
    assert_eq!(exits, 3, "four, four, two and the call");
    let expected: Vec<u32> = (0..10).chain([99]).collect();
    assert_eq!(marks(&mut machine), expected);
}

/// a slot that is not finished stays due, and nothing behind it runs before it.
#[test]
fn a39_a_slot_that_is_not_finished_is_run_again() {
    let mut machine = Machine::initialised();
    machine.queue(0, [hypercall::FLUSH_TLB, 0, 0, 0, 0]);
    machine.queue(1, [hypercall::FLUSH_TLB, 1, 0, 0, 0]);
    machine.mmu().flush_parts = 2;
    let eip = machine.regs.eip;
    for statuses in [[0, 0], [0, 0]] {
        machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
        assert_eq!(machine.regs.eip, eip - 2);
        machine.regs.eip = eip;
        assert_eq!([0, 1].map(|slot| machine.slot_status(slot)), statuses);
    }
    machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
    assert_eq!(machine.regs.eip, eip);
    let told = machine.told();
    let flushes = [
        Told::FlushUser,
        Told::FlushUser,
        Told::FlushUser,
        Told::FlushAll,
    ];
    assert_eq!(told, flushes);
}
