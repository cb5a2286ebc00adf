//! Tests what an application can do with its guest. The guest is `tests/guests/hosted/api.c`: it says
//! how far it has come by writing to a port, and this image does something to it there. Both print
//! verdicts: the guest on its console, the host in its log.
#![no_std]
#![no_main]

mod conversation;
mod ends;

use conversation::Conversation;
use libhv::prelude::*;
use libhv::{BadIrq, Gpa, NoHandler, PortWrite, Width};

libhv::entry!(main);

/// Steps of the guest; see the same names in its source.
mod step {
    pub const BEFORE_INIT: u32 = 0x01;
    pub const PORTS: u32 = 0x02;
    pub const REGISTERS: u32 = 0x03;
    pub const INJECTED: u32 = 0x04;
    pub const RAISE_ALL: u32 = 0x05;
    pub const RAISE_9: u32 = 0x06;
    pub const RAISE_5: u32 = 0x07;
    pub const KICKS: u32 = 0x08;
    pub const MEMORY: u32 = 0x09;
    /// With a vector in the low byte: inject it.
    pub const INJECT: u32 = 0x100;
    /// Inject it, and be refused.
    pub const REFUSE: u32 = 0x200;
}

const READ_PORT: u16 = 0x404;
const WRITE_PORT: u16 = 0x408;
const RAM: u64 = 64 * MIB;
const KICKS: u32 = 100;

fn main(machine: Machine) -> Stop {
    let guest = Guest::build(machine)
        .memory(RAM)
        .claim_ports(0x400..=0x40f)
        .device(Console::new(Com1))
        .start();
    match guest {
        Ok(guest) => talk(Conversation::new(guest)).unwrap_or_else(|stop| stop),
        Err(error) => Stop::from(error),
    }
}

fn talk(mut talk: Conversation) -> Result<Stop, Stop> {
    let entry = before_the_first_run(&mut talk);
    talk.expect(step::BEFORE_INIT)?;
    raise_before_init(&mut talk);
    let start = talk.port_write()?.value;
    talk.check("LG-001", "EIP was the image's entry point", entry, start);
    talk.expect(step::PORTS)?;
    ports(&mut talk)?;
    talk.expect(step::REGISTERS)?;
    registers(&mut talk);
    injected_traps(&mut talk)?;
    interrupts(&mut talk)?;
    kicks(&mut talk)?;
    memory(&mut talk)?;
    ends::end(talk)
}

/// Returns EIP.
fn before_the_first_run(talk: &mut Conversation) -> u32 {
    let registers = talk.guest.registers().clone();
    talk.check("LG-180", "CS before the first run", registers.cs, 0x61);
    talk.check("LG-180", "SS before the first run", registers.ss, 0x69);
    talk.check("LG-180", "ESP before the first run", registers.esp, 0);
    talk.check(
        "LG-180",
        "EFLAGS before the first run",
        registers.eflags,
        0x202,
    );
    for irq in [32, 33, u32::MAX] {
        let refused = talk.guest.raise(irq);
        talk.check("LG-151", "no such irq", refused, Err(BadIrq(irq)));
    }
    let refused = talk.guest.inject_trap(14);
    talk.check("LG-181", "no handler yet", refused, Err(NoHandler(14)));
    registers.eip
}

fn raise_before_init(talk: &mut Conversation) {
    let raised = talk.guest.raise(3);
    talk.check("LG-151", "irq 3 exists", raised, Ok(()));
}

/// Each access is one exit: what the application saw is done when it runs the guest again.
fn ports(talk: &mut Conversation) -> Result<(), Stop> {
    for (width, answer) in [
        (Width::Byte, 0xffff_ff5a),
        (Width::Word, 0xffff_5a5b),
        (Width::Dword, 0x5a5b_5c5d),
    ] {
        let read = talk.port_read()?;
        talk.check("LG-182", "port of a read", read.port(), READ_PORT);
        talk.check("LG-182", "width of a read", read.width(), width);
        talk.guest.answer(read, answer);
    }
    let unanswered = talk.port_read()?;
    talk.check(
        "LG-182",
        "a read that stays unanswered",
        unanswered.port(),
        READ_PORT,
    );
    drop(unanswered);
    for (width, value) in [
        (Width::Byte, 0x78),
        (Width::Word, 0x5678),
        (Width::Dword, 0x1234_5678),
    ] {
        let expected = PortWrite {
            port: WRITE_PORT,
            width,
            value,
        };
        let write = talk.port_write()?;
        talk.check("LG-182", "a write comes once", write, expected);
    }
    Ok(())
}

/// The guest loaded its registers with these values. It waits at a `ud2`, with the address behind it
/// in ESI and another stack in EDI.
fn registers(talk: &mut Conversation) {
    const GUEST_VALUES: [u32; 5] = [step::REGISTERS, 0x1b, 0x1c, 0x400, 0x1e];
    let seen = talk.guest.registers().clone();
    let values = [seen.eax, seen.ebx, seen.ecx, seen.edx, seen.ebp];
    talk.check("LG-180", "general registers", values, GUEST_VALUES);
    let segments = [seen.cs, seen.ss, seen.ds, seen.es, seen.fs, seen.gs];
    talk.check(
        "LG-180",
        "segment registers",
        segments,
        [0x61, 0x69, 0x69, 0x69, 0, 0],
    );
    talk.check("LG-180", "CF and IF", seen.eflags & 0x201, 0x201);
    let mut instruction = [0; 2];
    let read = talk
        .guest
        .read_memory(Gpa::from(seen.eip), &mut instruction);
    talk.check("LG-180", "EIP is readable memory", read, Ok(()));
    talk.check("LG-180", "EIP is at the ud2", instruction, [0x0f, 0x0b]);

    talk.guest.set_registers(|registers| {
        registers.eax = 0xa0;
        registers.ebx = 0xb0;
        registers.ecx = 0xc0;
        registers.edx = 0xd0;
        registers.ebp = 0xe0;
        registers.eip = seen.esi;
        registers.esp = seen.edi;
        // None of these is the application's.
        registers.cs = 0x08;
        registers.ss = 0x10;
        registers.ds = 0;
        registers.es = 0;
        registers.fs = 0x0b;
        registers.gs = 0x0b;
        registers.eflags = 0x3002;
    });
    let kept = talk.guest.registers().clone();
    let now = [kept.cs, kept.ss, kept.ds, kept.es, kept.fs, kept.gs];
    talk.check("LG-180", "segment registers are refused", now, segments);
    talk.check("LG-180", "flags are refused", kept.eflags, seen.eflags);
    talk.check("LG-180", "EIP is taken", kept.eip, seen.esi);
}

fn injected_traps(talk: &mut Conversation) -> Result<(), Stop> {
    loop {
        let step = talk.step()?;
        let vector = (step & 0xff) as u8;
        match step & !0xff {
            step::INJECT => {
                let injected = talk.guest.inject_trap(vector);
                talk.check("LG-181", "a vector with a handler", injected, Ok(()));
            }
            step::REFUSE => {
                let refused = talk.guest.inject_trap(vector);
                let expected = Err(NoHandler(vector));
                talk.check("LG-181", "a vector without a handler", refused, expected);
            }
            _ if step == step::INJECTED => return Ok(()),
            _ => return Err(talk.out_of_step(step)),
        }
    }
}

fn interrupts(talk: &mut Conversation) -> Result<(), Stop> {
    talk.expect(step::RAISE_ALL)?;
    // From the wrong end, and one of them twice.
    for irq in (1..32).rev().chain([7]) {
        let raised = talk.guest.raise(irq);
        talk.check("LG-151", "an irq that exists", raised, Ok(()));
    }
    for (step, irq) in [(step::RAISE_9, 9), (step::RAISE_5, 5)] {
        talk.expect(step)?;
        let raised = talk.guest.raise(irq);
        talk.check("LG-151", "an irq that exists", raised, Ok(()));
    }
    Ok(())
}

/// Kicks are remembered, not counted, and the guest does not notice.
fn kicks(talk: &mut Conversation) -> Result<(), Stop> {
    let mut changed = 0;
    for _ in 0..KICKS {
        talk.expect(step::KICKS)?;
        let before = talk.guest.registers().clone();
        let kicker = talk.guest.kicker();
        kicker.kick();
        kicker.kick();
        talk.kicked()?;
        changed += u32::from(*talk.guest.registers() != before);
    }
    talk.check("LG-179", "kicks that changed a register", changed, 0);
    Ok(())
}

fn memory(talk: &mut Conversation) -> Result<(), Stop> {
    talk.expect(step::MEMORY)?;
    let at = Gpa::from(talk.port_write()?.value);
    let mut text = [0; 14];
    let read = talk.guest.read_memory(at, &mut text);
    talk.check("API", "the guest's memory can be read", read, Ok(()));
    talk.check("API", "what it holds", &text, b"from the guest");
    let written = talk.guest.write_memory(at, b"from the host!");
    talk.check("API", "the guest's memory can be written", written, Ok(()));

    let mut word = [0x11; 4];
    let past_the_end = Gpa::new(RAM - 2);
    let read = talk.guest.read_memory(past_the_end, &mut word);
    talk.check("API", "a read past the end is refused", read.is_err(), true);
    talk.check("API", "... and gives nothing", word, [0x11; 4]);
    let write = talk.guest.write_memory(past_the_end, &[0x22; 4]);
    talk.check(
        "API",
        "a write past the end is refused",
        write.is_err(),
        true,
    );
    let mut last = [0x33; 2];
    let read = talk.guest.read_memory(past_the_end, &mut last);
    talk.check("API", "the last bytes are RAM", read, Ok(()));
    talk.check("API", "... and unchanged", last, [0; 2]);
    Ok(())
}
