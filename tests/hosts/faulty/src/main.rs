//! A host that breaks as its command line says: `<when> <fault> [isolated] [takes=N]`. After `takes` no frames
//! are to be had.
#![no_std]
#![no_main]

use core::arch::asm;
use core::hint::black_box;
use libhv::prelude::*;
use libhv::{Isolation, StartError};

libhv::entry!(main);

/// In the host's half of the address space, in a slot that is never mapped.
const NOWHERE: usize = 0xffff_8780_0000_0000;

/// What the host has done before it breaks.
#[derive(PartialEq, Eq)]
enum When {
    /// Nothing: there is no world switch yet.
    Booted,
    /// Everything but the first entry.
    Started,
    /// The guest has run, and ended.
    Ran,
}

fn main(mut machine: Machine) -> Stop {
    let line = machine.take_command_line();
    let mut words = line.split(|byte| *byte == b' ');
    let (when, fault, mode) = (words.next(), words.next(), words.next());
    let when = match when {
        Some(b"booted") => When::Booted,
        Some(b"started") => When::Started,
        _ => When::Ran,
    };
    let fault: fn() = match fault {
        Some(b"nothing") => || (),
        Some(b"triple") => triple,
        Some(b"panic") => || panic!("as asked\nin two lines"),
        Some(b"overflow") => overflow,
        Some(b"divide") => divide,
        Some(b"undefined") => undefined,
        Some(b"page") => page,
        Some(b"protection") => protection,
        Some(b"code") => code,
        _ => return Stop::from(StartError::configuration("no such fault")),
    };
    let isolation = match mode {
        Some(b"isolated") => Isolation::Isolated,
        _ => Isolation::Shared,
    };
    if when == When::Booted {
        fault();
    }
    let guest = Guest::build(machine)
        .memory(4 * MIB)
        .isolation(isolation)
        .device(Console::new(Com1))
        .machine_devices()
        .and_then(|guest| guest.start());
    let mut guest = match guest {
        Ok(guest) => guest,
        Err(error) => return Stop::from(error),
    };
    if when == When::Started {
        fault();
    }
    let stop = guest.run_to_end();
    fault();
    stop
}

fn overflow() {
    black_box(deeper(0));
}

#[expect(unconditional_recursion, reason = "to run out of stack")]
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    deeper(frame[3] + 1) + frame[7]
}

fn divide() {
    // SAFETY: #DE; nothing runs after it.
    unsafe { asm!("xor ecx, ecx", "div ecx", out("eax") _, out("ecx") _, out("edx") _) }
}

/// An exception without a table to look it up in.
fn triple() {
    #[repr(C, packed(2))]
    struct Nothing {
        limit: u16,
        base: u64,
    }
    let nothing = Nothing { limit: 0, base: 0 };
    // SAFETY: the processor shuts down; nothing runs after it.
    unsafe { asm!("lidt [{0}]", "ud2", in(reg) &raw const nothing) }
}

fn undefined() {
    // SAFETY: #UD; nothing runs after it.
    unsafe { asm!("ud2") }
}

fn page() {
    // SAFETY: #PF; nothing runs after it.
    unsafe { asm!("mov rax, [{0}]", in(reg) NOWHERE, out("rax") _) }
}

fn protection() {
    // SAFETY: #PF, because the image's code is read-only; nothing runs after it.
    unsafe { asm!("mov byte ptr [{0}], 0", in(reg) protection as *const ()) }
}

fn code() {
    static DATA: [u8; 16] = [0xc3; 16];
    // SAFETY: #PF, because data is not executable; nothing runs after it.
    unsafe { asm!("call {0}", in(reg) DATA.as_ptr()) }
}
