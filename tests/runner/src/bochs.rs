//! Bochs: a second processor that the images run on. It is slower than QEMU, and checks what QEMU's
//! translator does not.
//!
//! Bochs boots discs only, so GRUB brings the image. The disc is the same for all machines: its
//! configuration is read from the first hard disk, which is an archive with that configuration, the image
//! and the boot module.

use crate::archive::Archive;
use crate::error::RunError;
use crate::machine::Machine;
use crate::outcome::End;
use crate::running::Prepared;
use std::io::{PipeWriter, pipe};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// Instructions a second. Bochs's time counts instructions and nothing else; with more of them the
/// firmware, which waits for time to pass, would take longer than the guests. Guests divide the rate, in kHz,
/// by 1000: a little above a whole number the measured one does not fall below it.
const INSTRUCTIONS_A_SECOND: u32 = 4_050_000;
/// What the clock starts from, as QEMU's does: 2026-01-01 UTC.
const START: u32 = 1_767_225_600;
/// Disks are whole cylinders of 16 heads and 63 sectors.
const CYLINDER: usize = 16 * 63 * 512;
/// Where the third serial port goes: one byte, the status that a host ends with.
const STATUS: &str = "status";

/// Writes what the machine needs into `directory`; the command starts it.
pub(crate) fn prepare(machine: &Machine, directory: &Path) -> Result<Prepared, RunError> {
    if let Some(what) = machine.not_on_bochs() {
        return Err(RunError::NotOnBochs(what));
    }
    let failed = || RunError::connection("Bochs");
    let (console, console_end) = pipe().map_err(failed())?;
    let (log, log_end) = pipe().map_err(failed())?;
    let configuration = configuration(machine, directory, &console_end, &log_end);
    let disk = disk(machine)?;
    for (name, contents) in [
        ("configuration", configuration.as_bytes()),
        // Answers the debugger that Debian's Bochs starts in: continue.
        ("commands", b"c\n"),
        ("disk", &disk),
    ] {
        std::fs::write(directory.join(name), contents).map_err(failed())?;
    }
    let mut command = Command::new("bochs");
    command
        .args(["-q", "-f", "configuration", "-rc", "commands"])
        .current_dir(directory)
        // The display that needs no screen still wants to know how to draw on it.
        .env("TERM", "vt100")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    Ok(Prepared {
        command,
        console: Some(Box::new(console)),
        log: Box::new(log),
        monitor: None,
        open: Box::new([console_end, log_end]),
        end,
    })
}

/// What Bochs's end says. Its own status is always the same when a host ends it, so that of the host comes
/// by the third serial port.
fn end(directory: &Path, status: ExitStatus) -> End {
    match std::fs::read(directory.join(STATUS)).as_deref() {
        Ok([value]) => End::of_value(i32::from(*value)).unwrap_or(End::Bochs(status)),
        _ => End::Bochs(status),
    }
}

fn configuration(
    machine: &Machine,
    directory: &Path,
    console: &PipeWriter,
    log: &PipeWriter,
) -> String {
    // Bochs opens files by name; this is the name of a pipe that this program has open.
    let port = |pipe: &PipeWriter| format!("/proc/{}/fd/{}", std::process::id(), pipe.as_raw_fd());
    let (memory, loader) = (machine.memory(), machine.loader().display());
    let (console, log) = (port(console), port(log));
    let directory = directory.display();
    format!(
        "display_library: term
cpu: model=bx_generic, count=1, ips={INSTRUCTIONS_A_SECOND}
clock: sync=none, time0={START}
memory: guest={memory}, host={memory}
romimage: file=$BXSHARE/BIOS-bochs-latest
vgaromimage: file=$BXSHARE/VGABIOS-lgpl-latest
ata0-master: type=disk, path={directory}/disk, mode=flat, cylinders=0, heads=16, spt=63
ata1-master: type=cdrom, path={loader}, status=inserted
boot: cdrom
sound: waveoutdrv=dummy
plugin_ctrl: speaker=0
com1: enabled=1, mode=file, dev={console}
com2: enabled=1, mode=file, dev={log}
com3: enabled=1, mode=file, dev={directory}/{STATUS}
log: {directory}/messages
panic: action=fatal
"
    )
}

/// The hard disk: an archive, which GRUB takes for a file system.
fn disk(machine: &Machine) -> Result<Vec<u8>, RunError> {
    let image = machine.image();
    let mut script = format!("multiboot2 (hd0)/image {}\n", machine.words());
    let mut archive = Archive::default().file(
        "image",
        &std::fs::read(image).map_err(RunError::read(image))?,
    );
    if let Some(module) = machine.boot_module() {
        script.push_str("module2 (hd0)/module\n");
        archive = archive.file("module", module);
    }
    script.push_str("boot\n");
    let mut disk = archive.file("grub.cfg", script.as_bytes()).finish();
    disk.resize(disk.len().next_multiple_of(CYLINDER), 0);
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn the_disk_is_an_archive_of_whole_cylinders() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image.elf");
        std::fs::write(&image, "the image").unwrap();
        let machine = Machine::new(&image)
            .module(b"the module".to_vec())
            .command_line("mode=isolated -- quiet");
        let disk = disk(&machine).unwrap();
        assert_eq!((disk.len() % CYLINDER, &disk[..6]), (0, &b"070701"[..]));
        let text = String::from_utf8_lossy(&disk);
        for part in [
            "the image",
            "the module",
            "multiboot2 (hd0)/image mode=isolated -- quiet\nmodule2 (hd0)/module\nboot\n",
        ] {
            assert!(text.contains(part), "{part} is not on the disk");
        }
    }

    #[test]
    fn the_hosts_status_comes_by_the_third_serial_port() {
        let directory = tempfile::tempdir().unwrap();
        // Bochs ends with 1 whenever a machine ends it.
        let bochs = ExitStatus::from_raw(1 << 8);
        assert_eq!(end(directory.path(), bochs), End::Bochs(bochs));
        for (said, meant) in [
            (&[0x13][..], End::Host(3)),
            (&[0x10], End::Host(0)),
            (&[0x03], End::Bochs(bochs)),
            (&[], End::Bochs(bochs)),
            (&[0x10, 0x10], End::Bochs(bochs)),
        ] {
            std::fs::write(directory.path().join(STATUS), said).unwrap();
            assert_eq!(end(directory.path(), bochs), meant, "{said:x?}");
        }
    }

    /// Ports by which the machine says nothing because Bochs never opened them.
    #[test]
    fn a_bochs_that_does_not_get_far_ends_its_machine() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, "no disc and no image").unwrap();
            path
        };
        let machine = Machine::new(file("image.elf")).on_bochs(file("loader.iso"));
        let machine = machine.memory_mib(0);
        // Where there is no Bochs that is the reason.
        if let Ok(outcome) = machine.run() {
            assert_eq!(outcome.status, 1, "{}", outcome.report());
            assert!(matches!(outcome.end, End::Bochs(_)), "{}", outcome.report());
        }
    }

    #[test]
    fn what_bochs_cannot_do_is_said_before_it_starts() {
        let machine = Machine::new("image.elf").on_bochs("loader.iso");
        let reason = |machine: Machine| {
            let directory = tempfile::tempdir().unwrap();
            let error = prepare(&machine, directory.path()).err();
            error.map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(
            reason(machine.clone().gdb("stdio")),
            "Bochs cannot be given gdb"
        );
        assert_eq!(
            reason(machine.device(crate::Device::Entropy)),
            "Bochs cannot be given virtio devices"
        );
    }
}
