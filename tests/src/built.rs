//! Where the Makefile put what it built.

use hv_runner::archive::Archive;
use hv_runner::{Clock, Machine};
use std::path::{Path, PathBuf};

fn directory(variable: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable) else {
        panic!("{variable} is not set: these tests are started by `make test`");
    };
    PathBuf::from(path)
}

/// A file that has to be there.
fn existing(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} was not built", path.display());
    path
}

/// The bootable image of an application, with the shadow audit on.
pub fn image(application: &str) -> PathBuf {
    existing(
        directory("HV_IMAGES")
            .join(application)
            .with_extension("elf"),
    )
}

/// The same image on a GRUB disc.
pub fn disc(application: &str) -> PathBuf {
    existing(
        directory("HV_IMAGES")
            .join(application)
            .with_extension("iso"),
    )
}

/// A micro guest.
pub fn micro_guest(name: &str) -> Vec<u8> {
    let path = existing(
        directory("HV_MICRO_GUESTS")
            .join(name)
            .with_extension("elf"),
    );
    std::fs::read(path).expect("a micro guest is readable")
}

/// The repository's `tests` directory.
pub fn tests() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A machine for `application`. Its time counts instructions, so that a test sees the same run on
/// every developer's machine.
pub fn machine(application: &str) -> Machine {
    Machine::new(image(application)).clock(Clock::Counted)
}

/// A machine that hosts `kernel`.
pub fn hosting(kernel: &[u8], command_line: &str) -> Machine {
    machine("linux").module(guest(kernel, command_line).finish())
}

/// The same with a disk in memory.
pub fn hosting_with_disk(kernel: &[u8], command_line: &str, disk: &[u8]) -> Machine {
    let archive = guest(kernel, command_line).file("disk0", disk);
    machine("linux").module(archive.finish())
}

fn guest(kernel: &[u8], command_line: &str) -> Archive {
    Archive::default()
        .file("kernel", kernel)
        .file("cmdline", command_line.as_bytes())
}
