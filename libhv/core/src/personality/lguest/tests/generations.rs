//! What differs between generations.

use super::fixture::{
    CODE, DATA, GDT, INTERRUPT_GATE, KERNEL_ADDRESS, Machine, NOIRQ_END, NOIRQ_IRET, RAM, Told,
    handler, killed,
};
use super::numbers::{data, hypercall};
use crate::clock::Processor;
use crate::load::boot_tables::Plan;
use crate::paging::Paging;
use crate::personality::{End, Next};
use hv_abi::lguest::{Family, Generation, KernelVersion, Noirq, PAGE_OFFSET, generations};

/// All of them, from the oldest to the newest.
pub(super) fn all() -> impl Iterator<Item = &'static Generation> {
    generations::ALL.into_iter().rev()
}

pub(super) fn since(major: u32, minor: u32, patch: u32) -> impl Fn(&&Generation) -> bool {
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
        let slots = field(64 * generation.slot.size());
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
    assert_eq!(machine.told(), [Told::SetPte(1, 2, 4 << 32 | 3)]);
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
        machine.mmu().refuse = Some(Kill::BadPgdIndex {
            index: 1024,
            entries: 1024,
        });
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

/// Tables that take longer than one exit: the call is made again, and nothing is said before all of them are there.
#[test]
fn lg014_a_guest_waits_for_its_boot_tables_in_more_than_one_exit() {
    let generation = &generations::LINUX_2_6_29;
    let pgdir = generation.data.pgdir.unwrap();
    let mut machine = Machine::of(generation);
    let ten_leaves = 40 << 20;
    machine.guest.boot_tables = Some(Plan::new(
        ten_leaves,
        RAM as u32,
        PAGE_OFFSET,
        Paging::TwoLevel,
    ));
    let eip = machine.regs.eip;
    machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
    assert_eq!(machine.regs.eip, eip - 2);
    assert_eq!((machine.field(pgdir), machine.told()), (0, Vec::new()));
    machine.regs.eip = eip;
    machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
    assert_eq!(machine.regs.eip, eip);
    let root = RAM as u32 - 0x1000;
    assert_eq!(machine.field(pgdir), root);
    assert_eq!(machine.word(root + 9 * 4), (root - 0x1000) | 7);
}
