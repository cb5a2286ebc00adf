//! A guest that says how far it has come, and what the host finds there.

use libhv::prelude::*;
use libhv::{PortRead, PortWrite, Width};

/// Where the guest writes its steps.
const STEP_PORT: u16 = 0x400;

/// A guest, and the count of what did not hold.
pub struct Conversation {
    /// The guest.
    pub guest: Guest,
    failed: u32,
}

impl Conversation {
    /// Nothing has been said yet.
    pub fn new(guest: Guest) -> Self {
        Self { guest, failed: 0 }
    }

    /// Prints a verdict.
    pub fn check<T: PartialEq>(&mut self, item: &str, what: &str, got: T, want: T) {
        let verdict = if got == want { "pass" } else { "FAIL" };
        defmt::println!("{=str} {=str} host: {=str}", item, verdict, what);
        self.failed += u32::from(got != want);
    }

    /// Runs the guest up to its next step.
    pub fn step(&mut self) -> Result<u32, Stop> {
        let PortWrite { port, width, value } = self.port_write()?;
        match (port, width) {
            (STEP_PORT, Width::Dword) => Ok(value),
            _ => Err(self.out_of_step(u32::from(port))),
        }
    }

    /// Runs the guest up to this step.
    pub fn expect(&mut self, step: u32) -> Result<(), Stop> {
        match self.step()? {
            found if found == step => Ok(()),
            found => Err(self.out_of_step(found)),
        }
    }

    /// Runs the guest up to its next write to a claimed port.
    pub fn port_write(&mut self) -> Result<PortWrite, Stop> {
        match self.guest.run() {
            Exit::PortWrite(write) => Ok(write),
            exit => Err(Stop::from(exit)),
        }
    }

    /// ... or read.
    pub fn port_read(&mut self) -> Result<PortRead, Stop> {
        match self.guest.run() {
            Exit::PortRead(read) => Ok(read),
            exit => Err(Stop::from(exit)),
        }
    }

    /// Runs the guest, which was kicked.
    pub fn kicked(&mut self) -> Result<(), Stop> {
        match self.guest.run() {
            Exit::Kicked => Ok(()),
            exit => Err(Stop::from(exit)),
        }
    }

    /// The guest is somewhere else than the host.
    pub fn out_of_step(&self, found: u32) -> Stop {
        Stop::new(Status::Other, format_args!("out of step: {found:#x}"))
    }

    /// How the host stops: with the guest's own end, if everything held.
    pub fn stop(self, end: Exit) -> Stop {
        match self.failed {
            0 => Stop::from(end),
            failed => Stop::new(Status::Other, format_args!("{failed} checks failed")),
        }
    }
}
