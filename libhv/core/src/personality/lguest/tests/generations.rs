//! What differs between generations.

use super::fixture::{
    CODE, DATA, GDT, INTERRUPT_GATE, KERNEL_ADDRESS, Machine, NOIRQ_END, NOIRQ_IRET, RAM, Told,
    handler, killed,
};
use super::numbers::{data, hypercall};
use crate::address::Gpa;
use crate::clock::Processor;
use crate::generation::Choice;
use crate::memory::GuestMemory;
use crate::personality::{End, Next};
use hv_abi::lguest::{DeviceBus, Family, Generation, KernelVersion, Noirq, generations};

/// Generations whose guests do not say `until` after `since`: all from the oldest to the newest.
fn all() -> impl Iterator<Item = &'static Generation> {
    generations::ALL.into_iter().rev()
}

fn since(major: u32, minor: u32, patch: u32) -> impl Fn(&&Generation) -> bool {
    move |generation| generation.since >= KernelVersion(major, minor, patch)
}

fn before(major: u32, minor: u32, patch: u32) -> impl Fn(&&Generation) -> bool {
    move |generation| generation.since < KernelVersion(major, minor, patch)
}

/// LG-042: the offsets of 2.4, from the lists of fields and their sizes.
#[test]
fn lg042_offsets_follow_from_the_fields() {
    for generation in all() {
        let layout = &generation.data;
        let new = generation.since >= KernelVersion(2, 6, 31);
        let mut at = 0x14;
        let mut field = |size: u32| {
            let here = at;
            at += size;
            here
        };
        let irq_pending = new.then(|| field(4));
        let status = field(64);
        let slots = field(64 * generation.slot.size);
        let reserve_mem = field(4);
        let guestid = (generation.family == Family::G1).then(|| field(4));
        let tsc_khz = field(4);
        let pgdir = layout.pgdir.is_some().then(|| field(4));
        let noirq = match layout.noirq {
            Noirq::Iret(_) => Noirq::Iret(field(4)),
            Noirq::Range(..) => Noirq::Range(field(4), field(4)),
        };
        assert_eq!(layout.irq_pending, irq_pending);
        assert_eq!((layout.hcall_status, layout.hcalls), (status, slots));
        assert_eq!((layout.reserve_mem, layout.tsc_khz), (reserve_mem, tsc_khz));
        assert_eq!((layout.guestid, layout.pgdir), (guestid, pgdir));
        assert_eq!(layout.noirq, noirq);
        if let Some(kernel) = layout.kernel {
            assert_eq!(
                (kernel.address, kernel.syscall_vector),
                (field(4), field(4))
            );
        }
        assert_eq!(layout.size, field(0), "{generation}");
    }
}

/// LG-022, LG-023, LG-053: three arguments arrive from registers and from the ring.
#[test]
fn lg022_lg023_lg053_arguments_arrive_in_their_order() {
    for generation in all() {
        let mut machine = Machine::initialised_of(generation);
        machine
            .call(hypercall::SET_PTE, [0x5000, 0xc000_1000, 0x63])
            .unwrap();
        machine.queue(0, [hypercall::SET_PTE, 0x6000, 0xc000_2000, 0x67, 0]);
        machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
        assert_eq!(
            machine.told(),
            [
                Told::SetPte(0x5000, 0xc000_1000, 0x63),
                Told::SetPte(0x6000, 0xc000_2000, 0x67)
            ],
            "{generation}"
        );
        assert_eq!(machine.slot_status(0), 0xff);
    }
}

/// LG-022, LG-053: the words themselves, once by hand.
#[test]
fn lg053_word_order_of_slots_by_hand() {
    for (generation, words) in [
        (&generations::LINUX_2_6_23, [14, 1, 2, 3]), // EAX EDX EBX ECX
        (&generations::LINUX_2_6_24, [14, 2, 3, 1]), // EAX EBX ECX EDX, of which EDX is the first
        (&generations::LINUX_2_6_30, [14, 1, 2, 3]),
    ] {
        let mut machine = Machine::initialised_of(generation);
        for (word, at) in words.into_iter().zip((DATA + 0x54..).step_by(4)) {
            machine.put_word(at, word);
        }
        machine.put(DATA + 0x14, &[0]);
        machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
        assert_eq!(machine.told(), [Told::SetPte(1, 2, 3)], "{generation}");
    }
    let mut machine = Machine::initialised();
    for (word, at) in [14_u32, 1, 2, 3, 4]
        .into_iter()
        .zip((DATA + 0x58..).step_by(4))
    {
        machine.put_word(at, word);
    }
    machine.put(DATA + 0x18, &[0]);
    machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
    assert_eq!(machine.told(), [Told::SetPte(1, 2, 3)]);
}

/// LG-030 to LG-032: which numbers exist.
#[test]
fn lg030_lg031_lg032_numbers_are_those_of_the_generation() {
    let everywhere = (0..=2).chain(4..=10).chain(14..=16);
    for generation in all() {
        let from = generation.since;
        for number in 0..40 {
            let known = everywhere.clone().any(|known| known == number)
                || match number {
                    3 => from < KernelVersion(2, 6, 30),
                    12 | 13 => generation.family == Family::G1,
                    17 => from > KernelVersion(2, 6, 23) && from < KernelVersion(4, 0, 0),
                    18 => from >= KernelVersion(2, 6, 30),
                    19 => from >= KernelVersion(2, 6, 31),
                    _ => false,
                };
            let mut machine = Machine::initialised_of(generation);
            let bad = match machine.call(number, [0; 3]) {
                Err(End::Killed(kill)) => kill.to_string() == format!("Bad hypercall {number}"),
                _ => false,
            };
            assert_eq!(bad, !known, "{number} in {generation}");
        }
    }
}

/// LG-033 to LG-036: fields written at LGUEST_INIT, and no others.
#[test]
fn lg034_lg035_lg036_the_host_writes_its_fields_only() {
    for generation in all() {
        let mut machine = Machine::of(generation);
        let layout = &generation.data;
        let before = machine.ram();
        machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
        assert_eq!(machine.field(layout.tsc_khz), 2_000_000, "{generation}");
        assert_eq!(machine.field(layout.reserve_mem), 4 << 20);
        assert_eq!(machine.field(data::TIME), 1_000_000);
        let written = [
            layout.tsc_khz,
            layout.reserve_mem,
            data::TIME,
            data::TIME + 4,
            layout.pgdir.unwrap_or(data::TIME),
        ];
        let after = machine.ram();
        for at in DATA..DATA + layout.size {
            let mine = written
                .iter()
                .any(|field| (DATA + field..DATA + field + 4).contains(&at));
            assert!(
                mine || after[at as usize] == before[at as usize],
                "{generation} {at:#x}"
            );
        }
    }
}

/// LG-037: 0x40 is a system call vector for 2.6.24 only; LG-038: all but G1 say where they live.
#[test]
fn lg037_lg038_what_the_guest_says_about_itself_is_checked() {
    for generation in all() {
        let Some(fields) = generation.data.kernel else {
            // LG-013: G1 is told; nothing in lguest_data could be checked.
            let mut machine = Machine::of(generation);
            machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
            assert!(machine.told().contains(&Told::KernelAddress(0xc000_0000)));
            continue;
        };
        for vector in [0x80, 0x40, 0x81, 0, 0x180] {
            let mut machine = Machine::of(generation);
            machine.set_field(fields.syscall_vector, vector);
            let result = machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]);
            let plan_9 = vector == 0x40 && generation.since == KernelVersion(2, 6, 24);
            if vector == 0x80 || plan_9 {
                result.unwrap();
            } else {
                let reason = killed(result);
                assert!(
                    reason.starts_with(&format!("bad syscall vector {vector:#x}")),
                    "{reason}"
                );
            }
        }
        let mut machine = Machine::of(generation);
        machine.set_field(fields.address, 0xffc0_0000);
        assert_eq!(
            killed(machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0])),
            "bad kernel address 0xffc00000"
        );
        let mut machine = Machine::of(generation);
        machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
        assert!(
            machine
                .told()
                .contains(&Told::KernelAddress(KERNEL_ADDRESS))
        );
    }
}

/// LG-037: the other vector is then the one that is open to ring 3.
#[test]
fn lg037_plan_9_calls_by_vector_0x40() {
    let mut machine = Machine::of(&generations::LINUX_2_6_24);
    machine.set_field(0x46c, 0x40);
    machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
    for vector in [0x40, 0x80] {
        machine.load_gate(vector, INTERRUPT_GATE | 3 << 13);
    }
    assert_eq!(machine.guest.gate_privilege(0x40), 3);
    assert_eq!(machine.guest.gate_privilege(0x80), 0);
    machine.trap(0x40, 0).unwrap();
    assert_eq!(machine.regs.eip, handler(0x40));
}

/// A16: only the generation that would fall for it is not told.
#[test]
fn a16_the_clock_is_hidden_where_performance_counters_would_be_used() {
    for generation in all() {
        let mut machine = Machine::of(generation);
        machine.clock.processor = Processor::AmdConstantTsc;
        machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
        let hidden = generation.since == KernelVersion(2, 6, 31);
        let expected = if hidden { 0 } else { 2_000_000 };
        assert_eq!(
            machine.field(generation.data.tsc_khz),
            expected,
            "{generation}"
        );
    }
}

/// LG-059: whole tables.
#[test]
fn lg059_load_gdt_takes_32_entries_at_most() {
    for generation in all().filter(before(2, 6, 30)) {
        for count in [33, 0x1000, 0x2000_0000, u32::MAX] {
            let mut machine = Machine::initialised_of(generation);
            let reason = killed(machine.call(hypercall::LOAD_GDT, [GDT, count, 0]));
            assert_eq!(reason, format!("too many gdt entries {count}"));
        }
        let mut machine = Machine::initialised_of(generation);
        let user = machine.guest.gdt()[14];
        assert_ne!(user, 0);
        // Fewer entries leave the others alone; LG-055: DPL 0 becomes 1.
        machine.put(GDT, &[0; 256]);
        machine.put_word(GDT + 12 * 8 + 4, 0x00cf_9a00);
        machine.call(hypercall::LOAD_GDT, [GDT, 13, 0]).unwrap();
        assert_eq!(machine.guest.gdt()[14], user);
        assert_eq!(machine.guest.gdt()[12] >> 32, 0x00cf_bb00);
        // a table that runs past RAM.
        let at = RAM as u32 - 255;
        let reason = killed(machine.call(hypercall::LOAD_GDT, [at, 32, 0]));
        assert_eq!(reason, format!("bad read address {at:#x} length 256"));
    }
}

/// LG-058: one by one.
#[test]
fn lg058_load_gdt_entry_has_32_indices() {
    for generation in all().filter(since(2, 6, 30)) {
        let mut machine = Machine::initialised_of(generation);
        let reason = killed(machine.call(hypercall::LOAD_GDT_ENTRY, [32, 0, 0]));
        assert_eq!(reason, "too many gdt entries 32", "{generation}");
    }
}

/// LG-065: G1 has 64 gates and the system call's, and ignores the others.
#[test]
fn lg065_high_vectors() {
    let gate = |vector| [vector, 0, 0x8e00];
    for generation in all().filter(since(2, 6, 24)) {
        let mut machine = Machine::initialised_of(generation);
        let reason = killed(machine.call(hypercall::LOAD_IDT_ENTRY, gate(256)));
        assert_eq!(reason, "Setting idt entry 256", "{generation}");
    }
    let mut machine = Machine::initialised_of(&generations::LINUX_2_6_23);
    for vector in [64, 0x7f, 0x81, 255, 256, u32::MAX] {
        machine
            .call(hypercall::LOAD_IDT_ENTRY, gate(vector))
            .unwrap();
        let injected = machine.guest.inject(&mut machine.regs, vector as u8);
        assert!(matches!(injected, Ok(Err(_))), "{vector:#x}");
    }
    for vector in [63, 0x80] {
        machine.load_gate(vector, INTERRUPT_GATE);
        let injected = machine.guest.inject(&mut machine.regs, vector);
        assert_eq!(injected, Ok(Ok(())), "{vector:#x}");
    }
}

/// 7.3: indices past the top level.
#[test]
fn an_index_past_the_top_level_is_ignored_until_g5() {
    use crate::kill::Kill;
    for generation in all() {
        let mut machine = Machine::initialised_of(generation);
        machine.mmu().refuse = Some(Kill::BadPgdIndex(1024));
        let result = machine.call(hypercall::SET_PGD, [0x5000, 1024, 0]);
        if generation.family == Family::G5 {
            assert_eq!(killed(result), "Attempt to set pgd 1024/1024");
        } else {
            result.unwrap();
        }
        machine.mmu().refuse = Some(Kill::OutOfShadowMemory);
        assert!(machine.call(hypercall::SET_PGD, [0x5000, 5, 0]).is_err());
    }
}

/// R2: what old guests do not announce is forgotten when the root is loaded.
#[test]
fn r2_new_pgtable_drops_the_user_part_up_to_2_6_30() {
    for generation in all() {
        let mut machine = Machine::initialised_of(generation);
        machine
            .call(hypercall::NEW_PGTABLE, [0x5000, 0, 0])
            .unwrap();
        let mut expected = vec![Told::NewPgtable(0x5000)];
        if generation.since < KernelVersion(2, 6, 31) {
            expected.push(Told::FlushUser);
        }
        assert_eq!(machine.told(), expected, "{generation}");
    }
}

/// LG-090: PWT, until 2.6.24.
#[test]
fn lg090_write_through_leaves_are_refused_up_to_2_6_24() {
    for generation in all() {
        let mut machine = Machine::initialised_of(generation);
        let refused = generation.since <= KernelVersion(2, 6, 24);
        let expected = if refused { 1 << 3 } else { 0 };
        assert_eq!(machine.mmu().refused_leaf_flags, expected, "{generation}");
    }
}

/// LG-177, LG-178: CRASH has no second argument.
#[test]
fn lg177_lg178_a_guest_asks_for_a_restart_from_2_6_25_on() {
    for generation in all() {
        let mut machine = Machine::initialised_of(generation);
        machine.put(0x5000, b"going\0");
        let end = machine.call(hypercall::SHUTDOWN, [0x5000, 2, 0]);
        if generation.since < KernelVersion(2, 6, 25) {
            assert_eq!(killed(end), "CRASH: going", "{generation}");
        } else {
            assert!(matches!(end, Err(End::Restart(_))), "{generation}");
        }
        let mut machine = Machine::initialised_of(generation);
        machine.put(0x5000, b"Power down\0");
        let end = machine.call(hypercall::SHUTDOWN, [0x5000, 1, 0]);
        assert!(matches!(end, Err(End::PowerOff(_))), "{generation}");
    }
}

/// LG-136, LG-137: held back, and told where there is a field for it.
#[test]
fn lg136_lg137_irq_pending_where_there_is_one() {
    for generation in all() {
        let mut machine = Machine::initialised_of(generation);
        machine.load_gate(37, INTERRUPT_GATE);
        machine.guest.raise(5).unwrap();
        let before = machine.ram();
        machine.enter().unwrap();
        assert_eq!(machine.regs.eip, CODE, "{generation}");
        match generation.data.irq_pending {
            Some(field) => assert_eq!(machine.field(field), 0x200, "{generation}"),
            None => assert_eq!(machine.ram(), before, "{generation}"),
        }
        // A24: nobody says when that changes.
        assert!(machine.guest.needs_recheck());
        machine.set_field(data::IRQ_ENABLED, 0x200);
        machine.enter().unwrap();
        assert_eq!(machine.regs.eip, handler(37), "{generation}");
        if let Some(field) = generation.data.irq_pending {
            assert_eq!(machine.field(field), 0, "{generation}");
        }
    }
}

/// LG-138: from 2.6.31 on a guest asks.
#[test]
fn lg138_send_interrupts_lets_them_in() {
    for generation in all().filter(since(2, 6, 31)) {
        let mut machine = Machine::initialised_of(generation);
        machine.load_gate(32, INTERRUPT_GATE);
        machine.set_field(data::IRQ_ENABLED, 0x200);
        machine.guest.raise(0).unwrap();
        machine.call(hypercall::SEND_INTERRUPTS, [0; 3]).unwrap();
        machine.enter().unwrap();
        assert_eq!(machine.regs.eip, handler(32), "{generation}");
    }
}

/// LG-139: nothing happens in the half-open range, not even a mark.
#[test]
fn lg139_no_interrupt_in_the_range() {
    for generation in all().filter(before(4, 0, 0)) {
        for (eip, delivered) in [
            (NOIRQ_IRET - 1, true),
            (NOIRQ_IRET, false),
            (NOIRQ_END - 1, false),
            (NOIRQ_END, true),
        ] {
            for enabled in [0x200, 0] {
                let mut machine = Machine::initialised_of(generation);
                machine.load_gate(32, INTERRUPT_GATE);
                machine.set_field(data::IRQ_ENABLED, enabled);
                machine.guest.raise(0).unwrap();
                machine.regs.eip = eip;
                let before = machine.ram();
                assert_eq!(machine.enter(), Ok(Next::Enter));
                let arrived = machine.regs.eip == handler(32);
                assert_eq!(arrived, delivered && enabled != 0, "{generation} {eip:#x}");
                if !delivered {
                    assert_eq!(machine.ram(), before, "{generation} {eip:#x}");
                    assert!(machine.guest.needs_recheck());
                }
            }
        }
    }
}

/// LG-039, LG-139: the range counts that LGUEST_INIT saw.
#[test]
fn lg039_the_range_is_sampled_once() {
    for generation in all().filter(before(4, 0, 0)) {
        let mut machine = Machine::initialised_of(generation);
        let Noirq::Range(start, end) = generation.data.noirq else {
            panic!("{generation}");
        };
        machine.set_field(start, 0);
        machine.set_field(end, u32::MAX);
        machine.load_gate(32, INTERRUPT_GATE);
        machine.set_field(data::IRQ_ENABLED, 0x200);
        machine.guest.raise(0).unwrap();
        machine.enter().unwrap();
        assert_eq!(machine.regs.eip, handler(32), "{generation}");
    }
}

/// LG-140: only G5 folds; before, the address is one like any other.
#[test]
fn lg140_only_g5_folds() {
    let mut machine = Machine::initialised();
    machine.load_gate(32, INTERRUPT_GATE);
    machine.set_field(data::IRQ_ENABLED, 0x200);
    machine.guest.raise(0).unwrap();
    machine.regs.eip = NOIRQ_IRET;
    let esp = machine.regs.esp;
    machine.enter().unwrap();
    assert_eq!((machine.regs.eip, machine.regs.esp), (handler(32), esp));
}

/// LG-014, LG-015: a guest that turns out to expect tables gets them, and learns where.
#[test]
fn lg014_lg015_pgdir_names_the_boot_tables() {
    for generation in all() {
        let mut machine = Machine::of(generation);
        machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
        let root = RAM as u32 - 0x1000;
        let leaf = root - 0x1000;
        let Some(pgdir) = generation.data.pgdir else {
            continue;
        };
        assert_eq!(machine.field(pgdir), root, "{generation}");
        assert!(machine.told().contains(&Told::NewPgtable(root.into())));
        assert_eq!(machine.word(root), leaf | 7);
        assert_eq!(machine.word(leaf + 4), 0x1007);
        let high = generation.since >= KernelVersion(2, 6, 29);
        let expected = if high { leaf | 7 } else { 0 };
        assert_eq!(machine.word(root + 768 * 4), expected, "{generation}");
    }
}

/// The user said nothing, the image said nothing: the first call settles it.
#[test]
fn the_first_call_tells_what_can_be_told_apart() {
    for spoken in all().filter(since(2, 6, 24)) {
        let newest = &generations::LINUX_4_0;
        let mut machine = Machine::taken_for(newest, Choice::Detect);
        machine.prepare_data(spoken);
        if let Some(fields) = spoken.data.kernel {
            machine.put_word(DATA + fields.address, 0xc000_0000);
        }
        // C1: the register that does not count is a plausible address as well.
        [machine.regs.ebx, machine.regs.edx, machine.regs.ecx] = [0x6000; 3];
        machine.load_call(spoken, hypercall::LGUEST_INIT, [DATA, 0x6000, 0x6000]);
        machine.trap(31, 0).unwrap();
        let found = machine.guest.generation();
        assert_eq!(found.data, spoken.data, "{spoken}");
        assert_eq!(found.arguments, spoken.arguments, "{spoken}");
        assert_eq!(found.slot, spoken.slot, "{spoken}");
        assert_eq!(found.devices, spoken.devices, "{spoken}");
        let buses = &machine.guest.devices_mut().buses;
        assert_eq!(buses.first(), Some(&DeviceBus::Pci));
        assert_eq!(buses.last(), Some(&spoken.devices), "{spoken}");
    }
}

/// What an image says is not taken back by a call that leaves it open.
#[test]
fn what_fits_is_kept() {
    for spoken in all() {
        let mut machine = Machine::taken_for(spoken, Choice::Detect);
        machine.prepare_data(spoken);
        machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
        assert_eq!(machine.guest.generation(), spoken);
    }
}

/// A user who names the wrong generation hears of the right one.
#[test]
fn the_wrong_generation_is_named_in_the_reason() {
    for (told, spoken, reason) in [
        (
            &generations::LINUX_4_0,
            &generations::LINUX_2_6_29,
            "; this looks like a G2 guest: generation=g2",
        ),
        (
            &generations::LINUX_3_1,
            &generations::LINUX_4_0,
            "; this looks like a G5 guest: generation=g5",
        ),
        (
            &generations::LINUX_2_6_29,
            &generations::LINUX_2_6_30,
            "; this looks like a G3 guest: generation=g3",
        ),
        (
            &generations::LINUX_2_6_30,
            &generations::LINUX_2_6_31,
            "; this looks like a G3 guest: generation=g3",
        ),
    ] {
        let mut machine = Machine::taken_for(told, Choice::Exactly(told));
        machine.prepare_data(spoken);
        machine.load_call(spoken, hypercall::LGUEST_INIT, [DATA, 0, 0]);
        let line = killed(machine.trap(31, 0));
        assert!(line.ends_with(reason), "{line}");
        assert!(line.starts_with("bad "), "{line}");
    }
    // A guest that is wrong in every generation is only wrong.
    let mut machine = Machine::new();
    let line = killed(machine.call(hypercall::LGUEST_INIT, [u32::MAX, 0, 0]));
    assert_eq!(line, "bad guest page 0xffffffff");
}

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

/// LG-167: at most to the end of RAM; A-29 is the console's own business: it prints bytes.
#[test]
fn lg167_notify_prints_the_text_at_an_address_in_ram() {
    let notifying =
        |generation: &&Generation| !matches!(generation.family, Family::G1 | Family::G5);
    for generation in all().filter(notifying) {
        let mut machine = Machine::initialised_of(generation);
        machine.put(0x5000, b"Linux version 2.6\0 more");
        machine.call(hypercall::NOTIFY, [0x5000, 0, 0]).unwrap();
        machine.call(hypercall::NOTIFY, [0, 0, 0]).unwrap();
        machine.put(RAM as u32 - 3, b"end");
        machine
            .call(hypercall::NOTIFY, [RAM as u32 - 3, 0, 0])
            .unwrap();
        assert_eq!(machine.guest.devices_mut().console, b"Linux version 2.6end");
        let past = RAM as u32;
        let reason = killed(machine.call(hypercall::NOTIFY, [past, 0, 0]));
        assert_eq!(reason, format!("bad read address {past:#x} length 1"));
    }
}

#[test]
fn a_text_without_an_end_is_cut() {
    let mut machine = Machine::initialised_of(&generations::LINUX_3_1);
    machine.put(0x1_0000, &[b'x'; 0x8000]);
    machine.call(hypercall::NOTIFY, [0x1_0000, 0, 0]).unwrap();
    assert_eq!(machine.guest.devices_mut().console.len(), 4096);
}

fn g1() -> Machine {
    Machine::initialised_of(&generations::LINUX_2_6_23)
}

/// A `lguest_dma` at `at`.
fn put_dma(machine: &Machine, at: u32, sections: &[(u32, u16)]) {
    machine.put(at, &[0; 100]);
    for (index, (address, length)) in (0..).zip(sections) {
        machine.put_word(at + 4 + 4 * index, *address);
        machine.put(at + 68 + 2 * index, &length.to_le_bytes());
    }
}

/// LG-170.
#[test]
fn lg170_send_dma_with_key_0_prints_and_writes_used_len() {
    let mut machine = g1();
    machine.put(0x5000, b"hello, ");
    machine.put(0x6ffb, b"world");
    put_dma(
        &machine,
        0x7000,
        &[(0x5000, 7), (0x6ffb, 5), (0x5000, 0), (0x5000, 3)],
    );
    machine.call(hypercall::SEND_DMA, [0, 0x7000, 0]).unwrap();
    assert_eq!(machine.guest.devices_mut().console, b"hello, world");
    assert_eq!(machine.word(0x7000), 12);
}

/// LG-170: all sixteen sections; a key that no device has moves nothing.
#[test]
fn lg170_sixteen_sections_and_other_keys() {
    let mut machine = g1();
    machine.put(0x5000, b"z");
    put_dma(&machine, 0x7000, &[(0x5000, 1); 16]);
    machine
        .call(hypercall::SEND_DMA, [0x8000, 0x7000, 0])
        .unwrap();
    assert_eq!(machine.word(0x7000), 0);
    machine.call(hypercall::SEND_DMA, [0, 0x7000, 0]).unwrap();
    assert_eq!(machine.word(0x7000), 16);
    assert_eq!(machine.guest.devices_mut().console, [b'z'; 16]);
}

#[test]
fn one_call_prints_a_page_at_most_and_says_so() {
    let mut machine = g1();
    machine.put(0x1_0000, &[b'x'; 0x2000]);
    put_dma(&machine, 0x7000, &[(0x1_0000, 3000), (0x1_1000, 3000)]);
    machine.call(hypercall::SEND_DMA, [0, 0x7000, 0]).unwrap();
    assert_eq!(machine.word(0x7000), 4096);
    assert_eq!(machine.guest.devices_mut().console.len(), 4096);
}

/// LG-171, LG-025: the one call with a result, in EAX; none from the ring.
#[test]
fn lg171_32_bindings_at_most() {
    let mut machine = g1();
    let mut bind = |key: u32, rest: u32| {
        machine
            .call(hypercall::BIND_DMA, [key, 0x7000, rest])
            .unwrap();
        machine.regs.eax
    };
    for index in 0..32 {
        assert_eq!(bind(4 * index, 2 << 8 | 3), 1);
    }
    assert_eq!(bind(4 * 32, 2 << 8 | 3), 0);
    assert_eq!(bind(0, 2 << 8 | 32), 0);
    assert_eq!(bind(0, 2 << 8), 1, "irq 0 takes it back");
    assert_eq!(bind(0, 2 << 8), 0, "there is none left");
    assert_eq!(bind(4 * 32, 2 << 8 | 3), 1);
    machine.queue(0, [hypercall::BIND_DMA, 0, 0x7000, 2 << 8, 0]);
    machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
    assert_eq!(machine.regs.eax, hypercall::FLUSH_ASYNC);
}

#[test]
fn keys_that_are_no_addresses_of_words_kill() {
    for key in [1, 2, RAM as u32, u32::MAX - 3] {
        for call in [hypercall::BIND_DMA, hypercall::SEND_DMA] {
            let mut machine = g1();
            let reason = killed(machine.call(call, [key, 0x7000, 1 << 8 | 1]));
            assert_eq!(reason, format!("bad dma key {key:#x}"));
        }
    }
}

/// LG-172: before anything is printed.
#[test]
fn lg172_sections_that_are_too_long_or_cross_a_page_kill() {
    for (at, length) in [
        (0x5000, 4097),
        (0x5001, 4096),
        (0x5fff, 2),
        (0x5000, 0xffff),
    ] {
        let mut machine = g1();
        put_dma(&machine, 0x7000, &[(0x6000, 4), (at, length)]);
        let reason = killed(machine.call(hypercall::SEND_DMA, [0, 0x7000, 0]));
        assert_eq!(reason, format!("bad DMA entry: {length} bytes at {at:#x}"));
        assert!(machine.guest.devices_mut().console.is_empty());
    }
    for (at, length) in [(0x5000, 4096), (0x5fff, 1)] {
        let mut machine = g1();
        put_dma(&machine, 0x7000, &[(at, length)]);
        machine.call(hypercall::SEND_DMA, [0, 0x7000, 0]).unwrap();
        assert_eq!(machine.word(0x7000), u32::from(length));
    }
}

/// 9.4: what is typed goes into the first free buffer, and raises its interrupt.
#[test]
fn g1_console_input_fills_a_free_buffer() {
    let mut machine = g1();
    machine.load_gate(37, INTERRUPT_GATE);
    put_dma(&machine, 0x7000, &[(0x5000, 16)]);
    put_dma(&machine, 0x7064, &[(0x6000, 4)]);
    machine.put_word(0x7000, 9);
    machine
        .call(hypercall::BIND_DMA, [0, 0x7000, 2 << 8 | 5])
        .unwrap();
    machine.regs.eip = CODE;
    machine.set_field(data::IRQ_ENABLED, 0x200);
    machine.enter().unwrap();
    assert_eq!(machine.regs.eip, CODE, "nothing was typed");
    machine.guest.devices_mut().typed = b"abcdef".to_vec();
    machine.enter().unwrap();
    assert_eq!(machine.regs.eip, handler(37));
    assert_eq!(machine.word(0x7064), 4);
    let mut bytes = [0; 4];
    machine
        .guest
        .memory()
        .read(Gpa::from(0x6000), &mut bytes)
        .unwrap();
    assert_eq!(&bytes, b"abcd");
    // The rest waits for a buffer.
    machine.enter().unwrap();
    assert_eq!(machine.guest.devices_mut().typed, b"ef");
}
