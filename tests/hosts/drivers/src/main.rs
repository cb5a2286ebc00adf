//! A host without a guest: it does to the machine's own devices what the words behind ` -- ` on its
//! command line say, one after the other, and prints what came of it on the console.
#![no_std]
#![no_main]

mod disk;
mod interrupts;
mod link;
mod report;

use hv_core::device::backend::Entropy as _;
use hv_hw::virtio::Disk;
use interrupts::Interrupts;
use libhv::prelude::*;
use report::say;

libhv::entry!(main);

/// Disks that can be open.
const DISKS: usize = 4;
/// Random bytes that are printed.
const RANDOM_BYTES: usize = 32;

fn main(mut machine: Machine) -> Stop {
    match work(&mut machine) {
        Ok(()) => Stop::new(Status::PoweredOff, "done"),
        Err(stop) => stop,
    }
}

fn work(machine: &mut Machine) -> Result<(), Stop> {
    let line = machine.take_command_line();
    let words = core::str::from_utf8(&line).unwrap_or_default();
    let (host, words) = words.split_once("-- ").unwrap_or_default();
    if host.contains("log=debug") {
        hv_hw::log::set_level(hv_hw::log::Level::Debug);
    }
    machine.report_devices();
    let mut interrupts = Interrupts::take(machine);
    let mut disks: [Option<&'static mut Disk>; DISKS] = [const { None }; DISKS];
    for word in words.split_whitespace() {
        let (name, value) = word.split_once('=').unwrap_or((word, "0"));
        let number = value.parse().unwrap_or(0);
        match name {
            "count" => say!("{} disks, {} links", machine.disks(), machine.links()),
            "open" => {
                let disk = machine.disk(number).map_err(refused)?;
                disks[number] = Some(disk);
            }
            "fill" => disk::fill(opened(&mut disks[number]), &mut interrupts),
            "sum" => disk::sum(opened(&mut disks[number]), &mut interrupts),
            "echo" => {
                let link = machine.link(number).map_err(refused)?;
                link::echo(link, &mut interrupts);
            }
            "random" => random(machine, &mut interrupts)?,
            "wait" => interrupts.wait(),
            _ => {
                return Err(Stop::new(
                    Status::Other,
                    format_args!("no such test: {word}"),
                ));
            }
        }
    }
    Ok(())
}

fn opened<'a>(disk: &'a mut Option<&'static mut Disk>) -> &'a mut Disk {
    disk.as_mut().expect("`open` comes first")
}

fn refused(error: libhv::DeviceError) -> Stop {
    Stop::from(StartError::from(error))
}

fn random(machine: &mut Machine, interrupts: &mut Interrupts) -> Result<(), Stop> {
    let source = machine.entropy().map_err(refused)?;
    for _ in 0..2 {
        let mut bytes = [0; RANDOM_BYTES];
        let mut filled = 0;
        while filled < bytes.len() {
            let count = source.fill(&mut bytes[filled..]);
            filled += count;
            if count == 0 {
                interrupts.wait();
            }
        }
        say!("random {:02x?}", bytes);
    }
    Ok(())
}
