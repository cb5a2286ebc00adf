//! LGUEST_INIT and the state before it.

use super::fixture::{DATA, KERNEL_ADDRESS, Machine, NOIRQ_IRET, RAM, Told, killed};
use super::generations::all;
use super::numbers::{data, hypercall};
use crate::personality::lguest::Changes;
use crate::personality::{Next, Ts};

#[test]
fn lg001_to_lg004_registers_at_the_first_entry() {
    let regs = Machine::new().regs;
    assert_eq!(regs.eip, 0x2000);
    assert_eq!(
        (regs.cs, regs.ds, regs.es, regs.ss),
        (0x61, 0x69, 0x69, 0x69)
    );
    assert_eq!(regs.eflags, 0x202);
    let general = [
        regs.eax, regs.ebx, regs.ecx, regs.edx, regs.esi, regs.edi, regs.ebp,
    ];
    assert_eq!(general, [0; 7]);
    assert_eq!((regs.fs, regs.gs), (0, 0));
}

#[test]
fn a_new_guest_has_everything_to_tell_the_hardware() {
    let mut machine = Machine::new();
    assert_eq!(machine.guest.take_changes(), Changes::ALL);
    assert!(machine.guest.take_changes().is_empty());
    assert_eq!(machine.guest.task_switched(), Ts::Clear);
}

/// LG-034 to LG-036, LG-042: what the host writes, and where.
#[test]
fn lg034_lg035_lg036_lg042_the_host_s_fields_are_written() {
    let mut machine = Machine::new();
    let before = machine.ram();
    machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
    assert_eq!(machine.field(data::TSC_KHZ), 2_000_000);
    assert_eq!(machine.field(data::RESERVE_MEM), 0x40_0000);
    assert_eq!([machine.field(0x00c), machine.field(0x010)], [1_000_000, 7]);
    let host_owned = [0x00c..0x014, 0x558..0x560];
    for (at, (old, new)) in before.iter().zip(machine.ram()).enumerate() {
        let ours = host_owned
            .iter()
            .any(|range| range.contains(&at.wrapping_sub(DATA as usize)));
        assert!(ours || *old == new, "byte {at:#x}");
    }
    assert_eq!(
        machine.told(),
        [Told::KernelAddress(KERNEL_ADDRESS), Told::FlushAll]
    );
}

#[test]
fn lg034_an_unknown_rate_is_written_as_zero() {
    let mut machine = Machine::new();
    machine.set_field(data::TSC_KHZ, 77);
    machine.clock.tsc_khz = 0;
    machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
    assert_eq!(machine.field(data::TSC_KHZ), 0);
}

/// LG-033, A-27.
#[test]
fn lg033_a27_a_structure_not_wholly_in_ram_kills() {
    for base in [RAM as u32 - data::SIZE + 1, RAM as u32, u32::MAX] {
        let mut machine = Machine::new();
        let reason = killed(machine.call(hypercall::LGUEST_INIT, [base, 0, 0]));
        assert_eq!(reason, format!("bad guest page {base:#x}"));
    }
    let mut machine = Machine::new();
    let last = RAM as u32 - data::SIZE;
    machine.put_word(last + data::SYSCALL_VEC, 0x80);
    assert_eq!(machine.call(hypercall::LGUEST_INIT, [last, 0, 0]), Ok(()));
}

#[test]
fn lg037_a_foreign_system_call_vector_kills_before_anything_is_written() {
    for vector in [0, 0x40, 0x81, 0x180] {
        let mut machine = Machine::new();
        machine.set_field(data::SYSCALL_VEC, vector);
        let before = machine.ram();
        let reason = killed(machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]));
        assert_eq!(reason, format!("bad syscall vector {vector:#x}"));
        assert_eq!(machine.ram(), before);
        assert_eq!(machine.told(), []);
    }
}

#[test]
fn lg038_a_kernel_address_in_the_reserved_window_kills() {
    for (address, refused) in [(0xffbf_ffff, false), (0xffc0_0000, true), (u32::MAX, true)] {
        let mut machine = Machine::new();
        machine.set_field(data::KERNEL_ADDRESS, address);
        let result = machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]);
        if refused {
            assert_eq!(killed(result), format!("bad kernel address {address:#x}"));
        } else {
            assert_eq!(result, Ok(()));
        }
    }
}

/// LG-039, LG-040.
#[test]
fn lg039_lg040_sampled_fields_count_once() {
    let mut machine = Machine::initialised();
    machine.set_field(data::NOIRQ_IRET, 0x7777);
    machine.set_field(data::KERNEL_ADDRESS, 0x1000);
    machine.load_gate(32, super::fixture::INTERRUPT_GATE);
    machine.set_field(data::IRQ_ENABLED, 0x200);
    machine.guest.raise(0).unwrap();
    machine.regs.eip = NOIRQ_IRET;
    let esp = machine.regs.esp;
    machine.enter().unwrap();
    assert_eq!(machine.regs.esp, esp, "the old address still folds");
    assert!(!machine.told().contains(&Told::KernelAddress(0x1000)));
}

/// LG-028, A-27: known and unknown numbers alike.
#[test]
fn lg028_a27_any_other_call_first_kills_and_names_the_number() {
    for number in (0..40)
        .chain([u32::MAX])
        .filter(|&number| number != hypercall::LGUEST_INIT)
    {
        let mut machine = Machine::new();
        let reason = killed(machine.call(number, [DATA, 0, 0]));
        assert_eq!(reason, format!("hypercall {number} before INIT"));
    }
}

#[test]
fn lg029_a_second_init_kills() {
    let mut machine = Machine::initialised();
    let reason = killed(machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]));
    assert_eq!(reason, "already have lguest_data");
}

/// LG-150, and LG-125 before any handler can exist.
#[test]
fn lg150_every_generation_nothing_is_delivered_before_init_and_every_trap_kills() {
    for generation in all() {
        let mut machine = Machine::of(generation);
        machine.guest.raise(0).unwrap();
        let before = machine.regs.clone();
        assert_eq!(machine.enter(), Ok(Next::Enter));
        assert_eq!(machine.regs, before, "{generation}");
        assert_eq!(machine.guest.deadline(crate::clock::Nanos(0)), None);
        assert_eq!(
            killed(machine.trap(6, 0)),
            "unhandled trap 6 at 0x2000 (0x0)"
        );
    }
}
