//! Hosts the kernel that the boot loader brings as a module: a 32-bit ELF file or a bzImage built for
//! lguest, alone or in an archive with its initrd and command line. The guest has all disks and network
//! links that the machine has.
#![no_std]
#![no_main]

use libhv::prelude::*;

libhv::entry!(main);

fn main(machine: Machine) -> Stop {
    match guest(machine) {
        Ok(mut guest) => guest.run_to_end(),
        Err(error) => Stop::from(error),
    }
}

fn guest(machine: Machine) -> Result<Guest, StartError> {
    Guest::build(machine)
        .memory(64 * MIB)
        .device(Console::new(Com1))
        .machine_devices()?
        .start()
}
