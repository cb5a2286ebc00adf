//! Hosts a kernel that the boot loader brings, with a network link that sends every frame back. All of it is this
//! image's work: nothing depends on when another device, or another program, gets round to it.
#![no_std]
#![no_main]

use hermit_sync::{SpinMutex, SpinMutexGuard};
use libhv::backend::{FRAME, Full, Link};
use libhv::prelude::*;

libhv::entry!(main);

/// Locally administered.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A wire with room for one frame.
struct Loopback {
    frame: [u8; FRAME],
    /// Bytes of the frame on the wire; 0 when there is none.
    length: usize,
}

static LINK: SpinMutex<Loopback> = SpinMutex::new(Loopback {
    frame: [0; FRAME],
    length: 0,
});

impl Link for Loopback {
    fn mac(&self) -> [u8; 6] {
        MAC
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), Full> {
        if self.length != 0 {
            return Err(Full);
        }
        if let Some(room) = self.frame.get_mut(..frame.len()) {
            room.copy_from_slice(frame);
            self.length = frame.len();
        }
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        let frame = self.frame.get(..self.length)?;
        self.length = 0;
        if frame.is_empty() {
            return None;
        }
        into.get_mut(..frame.len())?.copy_from_slice(frame);
        Some(frame.len())
    }
}

fn main(machine: Machine) -> Stop {
    let link: &'static mut Loopback = SpinMutexGuard::leak(LINK.lock());
    let guest = Guest::build(machine)
        .memory(64 * MIB)
        .device(Console::new(Com1))
        .device(Device::net(link))
        .start();
    match guest {
        Ok(mut guest) => guest.run_to_end(),
        Err(error) => Stop::from(error),
    }
}
