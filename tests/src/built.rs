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

/// The bootable image of an application, with the shadow audit on unless it is to be measured.
pub fn image(application: &str) -> PathBuf {
    existing(
        directory("HV_IMAGES")
            .join(application)
            .with_extension("elf"),
    )
}

/// The image of `linux` with the exit trace, and without the audit.
pub fn profiled_image() -> PathBuf {
    existing(directory("HV_PROFILED").join("linux.elf"))
}

/// The image of an application on a GRUB disc.
pub fn disc(application: &str) -> PathBuf {
    existing(
        directory("HV_IMAGES")
            .join(application)
            .with_extension("iso"),
    )
}

/// The worlds that a micro guest was built for beside the newest with two-level tables, as the words in the names
/// of its files: in `ring.g3.pae.elf` it is `g3.pae`.
pub fn other_worlds(guest: &str) -> Vec<String> {
    let files = std::fs::read_dir(directory("HV_MICRO_GUESTS"))
        .expect("the directory of micro guests is readable");
    let mut words: Vec<String> = files
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .filter_map(|name| {
            let word = name.strip_prefix(guest)?.strip_prefix('.')?;
            Some(word.strip_suffix(".elf")?.to_owned())
        })
        .collect();
    words.sort();
    words
}

/// Whether a micro guest was built for the newest generation.
pub fn has_newest(guest: &str) -> bool {
    directory("HV_MICRO_GUESTS")
        .join(format!("{guest}.elf"))
        .exists()
}

/// A micro guest, and the world for which it was built if that is not the newest: `ring`, `ring.g3.pae`.
pub fn micro_guest(name: &str) -> Vec<u8> {
    let path = existing(directory("HV_MICRO_GUESTS").join(format!("{name}.elf")));
    std::fs::read(path).expect("a micro guest is readable")
}

/// The guests that measure, sorted: the names of their sources.
pub fn bench_guests() -> Vec<String> {
    let mut guests: Vec<String> = std::fs::read_dir(tests().join("bench"))
        .expect("the benchmarks' directory is readable")
        .map(|entry| entry.expect("an entry is readable").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "c"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    guests.sort();
    guests
}

/// Where a guest that measures was built, as `NAME` or `NAME.bare`; it need not be there.
pub fn bench_guest(name: &str) -> PathBuf {
    directory("HV_MICRO_GUESTS").join(format!("bench/{name}.elf"))
}

/// The sources of the micro guests, one each, sorted.
pub fn micro_guest_sources() -> Vec<PathBuf> {
    let mut sources: Vec<_> = std::fs::read_dir(tests().join("guests"))
        .expect("the guests' directory is readable")
        .map(|entry| entry.expect("an entry is readable").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "c"))
        .collect();
    sources.sort();
    sources
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
    hosting_on("linux", kernel, command_line)
}

/// The same with another application as host.
pub fn hosting_on(application: &str, kernel: &[u8], command_line: &str) -> Machine {
    machine(application).module(guest(kernel, command_line).finish())
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
