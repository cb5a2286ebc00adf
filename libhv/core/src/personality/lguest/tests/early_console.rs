//! Output and input of guests before G5: NOTIFY, and the DMA of G1.

use super::fixture::{CODE, INTERRUPT_GATE, Machine, RAM, handler, killed};
use super::generations::all;
use super::numbers::{data, hypercall};
use crate::address::Gpa;
use crate::memory::GuestMemory;
use hv_abi::lguest::{Family, Generation, generations};

/// LG-167: at most to the end of RAM; A-29 is the console's own business: it prints bytes.
#[test]
fn lg167_a29_notify_prints_the_text_at_an_address_in_ram() {
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
fn lg165_notify_with_a_device_s_address_is_the_device_s() {
    let mut machine = Machine::initialised_of(&generations::LINUX_3_1);
    machine.put(0x5000, b"no text\0");
    machine.guest.devices_mut().queues = vec![0x5000, RAM];
    for at in [0x5000, RAM as u32] {
        machine.call(hypercall::NOTIFY, [at, 0, 0]).unwrap();
    }
    assert_eq!(machine.guest.devices_mut().notified, [0x5000, RAM]);
    assert_eq!(machine.guest.devices_mut().console, b"");
}

#[test]
fn a39_a_text_without_an_end_is_cut() {
    let mut machine = Machine::initialised_of(&generations::LINUX_3_1);
    machine.put(0x1_0000, &[b'x'; 0x8000]);
    machine.call(hypercall::NOTIFY, [0x1_0000, 0, 0]).unwrap();
    assert_eq!(machine.guest.devices_mut().console.len(), 1024);
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
fn a39_one_call_prints_a_part_of_a_long_text_and_says_so() {
    let mut machine = g1();
    machine.put(0x1_0000, &[b'x'; 0x2000]);
    put_dma(&machine, 0x7000, &[(0x1_0000, 3000), (0x1_1000, 3000)]);
    machine.call(hypercall::SEND_DMA, [0, 0x7000, 0]).unwrap();
    assert_eq!(machine.word(0x7000), 1024);
    assert_eq!(machine.guest.devices_mut().console.len(), 1024);
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
        assert_eq!(machine.word(0x7000), u32::from(length).min(1024));
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

/// printing takes long, so what is queued behind it waits for the next exit.
#[test]
fn a39_one_text_an_exit() {
    let mut machine = Machine::initialised_of(&generations::LINUX_3_1);
    machine.put(0x5000, b"x\0");
    for slot in 0..3 {
        machine.queue(slot, [hypercall::NOTIFY, 0x5000, 0, 0, 0]);
    }
    let eip = machine.regs.eip;
    for printed in 1..=3 {
        machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
        assert_eq!(machine.guest.devices_mut().console.len(), printed);
        assert_eq!(machine.regs.eip, eip - 2);
        machine.regs.eip = eip;
    }
    machine.call(hypercall::FLUSH_ASYNC, [0; 3]).unwrap();
    assert_eq!(machine.regs.eip, eip);
}
