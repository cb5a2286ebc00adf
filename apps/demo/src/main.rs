//! Hosts the demo guest: a small kernel of our own, with a shell on the console.
#![no_std]
#![no_main]

use libhv::prelude::*;

libhv::entry!(main);

/// The guest's kernel; `make` builds it from `apps/guests/demo`.
static KERNEL: &[u8] = include_bytes!(concat!(env!("GUESTS"), "/demo.elf"));

fn main(machine: Machine) -> Stop {
    let guest = Guest::build(machine)
        .memory(64 * MIB)
        .kernel(KERNEL)
        .device(Console::new(Com1))
        .start();
    match guest {
        Ok(mut guest) => guest.run_to_end(),
        Err(error) => Stop::from(error),
    }
}
