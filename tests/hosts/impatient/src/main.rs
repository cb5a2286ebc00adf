//! Hosts a kernel that the boot loader brings, for a fixed time: then the guest is kicked, and that is its end.
#![no_std]
#![no_main]

use core::time::Duration;
use libhv::prelude::*;

libhv::entry!(main);

/// More than nearly all guests of the tests that end by themselves need. A guest in an endless `rep movsb` makes the translator
/// take a thousand times as long.
const PATIENCE: Duration = Duration::from_millis(100);

fn main(machine: Machine) -> Stop {
    let guest = Guest::build(machine)
        .memory(10 * MIB)
        .device(Console::new(Com1))
        .start();
    match guest {
        Ok(mut guest) => {
            // The log's times are what tests go by.
            defmt::info!("kick after {=u128} ms", PATIENCE.as_millis());
            guest.kick_after(PATIENCE);
            let exit = guest.run();
            defmt::info!("came back");
            Stop::from(exit)
        }
        Err(error) => Stop::from(error),
    }
}
