//! What a machine is made of, and the QEMU command line that says so.

use crate::device::{self, Device};
use crate::error::{COMMAND_LINE, RunError};
use crate::outcome::Outcome;
use crate::running::{Running, Watcher};
use std::ffi::OsString;
use std::io::PipeReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who executes the machine's instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accelerator {
    /// QEMU's translator.
    Tcg,
    /// The developer's own processor, through Linux.
    Kvm,
}

/// What runs the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Emulator {
    Qemu,
    Bochs,
}

/// What time means to the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// Wall-clock time.
    Real,
    /// A nanosecond an instruction, and no waiting while the machine idles: runs repeat exactly.
    Counted,
    /// Likewise, eight nanoseconds each: firmware and host wait for times, and so for fewer instructions.
    CountedByEight,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Medium {
    /// An ELF image that QEMU enters by PVH.
    Kernel(PathBuf),
    /// A disc image that the BIOS boots.
    Disc(PathBuf),
}

/// A safety net that ends machines which hang; never part of a verdict.
const DEADLINE: Duration = Duration::from_secs(120);

/// A machine that has not been started yet.
#[derive(Clone, Debug)]
pub struct Machine {
    qemu: PathBuf,
    accelerator: Accelerator,
    clock: Clock,
    medium: Medium,
    log_strings: PathBuf,
    memory_mib: u32,
    processors: u32,
    model: Option<String>,
    command_line: String,
    module: Option<Vec<u8>>,
    deadline: Option<Duration>,
    gdb: Option<String>,
    devices: Vec<Device>,
    /// The disc that boots the machine on Bochs; without it QEMU runs it.
    loader: Option<PathBuf>,
}

impl Machine {
    /// A machine that boots this ELF image. Log strings come from `<image>.debug` beside it when that
    /// exists, because the image itself is usually stripped. QEMU is what the variable `QEMU` names.
    pub fn new(image: impl Into<PathBuf>) -> Self {
        let image = image.into();
        let debug = image.with_extension("debug");
        let log_strings = if debug.exists() { debug } else { image.clone() };
        Self::with(Medium::Kernel(image), log_strings)
    }

    /// A machine that boots this disc image, with the log strings of that ELF image.
    pub fn disc(disc: impl Into<PathBuf>, log_strings: impl Into<PathBuf>) -> Self {
        Self::with(Medium::Disc(disc.into()), log_strings.into())
    }

    fn with(medium: Medium, log_strings: PathBuf) -> Self {
        let qemu = std::env::var_os("QEMU").filter(|qemu| !qemu.is_empty());
        Machine {
            qemu: qemu.unwrap_or_else(|| "qemu-system-x86_64".into()).into(),
            accelerator: Accelerator::Tcg,
            clock: Clock::Real,
            medium,
            log_strings,
            memory_mib: 256,
            processors: 1,
            model: None,
            command_line: String::new(),
            module: None,
            deadline: Some(DEADLINE),
            gdb: None,
            devices: Vec::new(),
            loader: None,
        }
    }

    /// Runs the machine on Bochs instead of QEMU. `loader` is a GRUB disc whose configuration does nothing
    /// but go on to `(hd0)/grub.cfg`. Such a machine has no virtio devices, takes no input, and its time
    /// counts instructions.
    pub fn on_bochs(mut self, loader: impl Into<PathBuf>) -> Self {
        self.loader = Some(loader.into());
        self
    }

    /// The QEMU to run.
    pub fn qemu(mut self, qemu: impl Into<PathBuf>) -> Self {
        self.qemu = qemu.into();
        self
    }

    /// Who executes the instructions.
    pub fn accelerator(mut self, accelerator: Accelerator) -> Self {
        self.accelerator = accelerator;
        self
    }

    /// What time means.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// RAM of the machine, in MiB: the host's and the guest's together.
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// Processors.
    pub fn processors(mut self, processors: u32) -> Self {
        self.processors = processors;
        self
    }

    /// The translator's processor, as QEMU's `-cpu` names it with its features.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The host's command line. Words for the guest follow ` -- `. Only images read it, not discs.
    pub fn command_line(mut self, command_line: impl Into<String>) -> Self {
        self.command_line = command_line.into();
        self
    }

    /// The boot module.
    pub fn module(mut self, module: Vec<u8>) -> Self {
        self.module = Some(module);
        self
    }

    /// The safety net; `None` lets the machine run for ever.
    pub fn deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Stops before the first instruction and lets gdb in at this QEMU character device.
    pub fn gdb(mut self, device: impl Into<String>) -> Self {
        self.gdb = Some(device.into());
        self
    }

    /// One more device.
    pub fn device(mut self, device: Device) -> Self {
        self.devices.push(device);
        self
    }

    /// Runs the machine to its end, without input.
    pub fn run(&self) -> Result<Outcome, RunError> {
        Ok(self.spawn()?.wait())
    }

    /// Starts the machine.
    pub fn spawn(&self) -> Result<Running, RunError> {
        let (reader, writer) = std::io::pipe().map_err(RunError::connection("console"))?;
        let mut running = self.spawn_with(reader, Watcher::default())?;
        running.keep_input(writer);
        Ok(running)
    }

    /// Starts the machine with the console's input from a pipe that outlives it: what this machine
    /// leaves unread is there for the next one.
    pub fn spawn_with(&self, input: PipeReader, watcher: Watcher) -> Result<Running, RunError> {
        for file in [Some(self.image()), self.loader.as_deref()]
            .into_iter()
            .flatten()
        {
            std::fs::File::open(file).map_err(RunError::read(file))?;
        }
        if self.command_line.len() > COMMAND_LINE {
            return Err(RunError::CommandLine(self.command_line.len()));
        }
        device::check(&self.devices)?;
        let strings =
            std::fs::read(&self.log_strings).map_err(RunError::read(&self.log_strings))?;
        Running::start(self, &strings, input, watcher)
    }

    pub(crate) fn program(&self) -> &Path {
        match self.loader {
            Some(_) => Path::new("bochs"),
            None => &self.qemu,
        }
    }

    pub(crate) fn emulator(&self) -> Emulator {
        match self.loader {
            Some(_) => Emulator::Bochs,
            None => Emulator::Qemu,
        }
    }

    /// The part of the machine that only QEMU has, if any.
    pub(crate) fn not_on_bochs(&self) -> Option<&'static str> {
        let disc = matches!(self.medium, Medium::Disc(_));
        [
            (disc, "another disc"),
            (self.gdb.is_some(), "gdb"),
            (!self.devices.is_empty(), "virtio devices"),
            (self.model.is_some(), "another processor"),
            (self.processors != 1, "several processors"),
            (self.accelerator == Accelerator::Kvm, "an accelerator"),
        ]
        .into_iter()
        .find_map(|(there, what)| there.then_some(what))
    }

    pub(crate) fn loader(&self) -> &Path {
        self.loader.as_deref().unwrap_or(Path::new(""))
    }

    pub(crate) fn image(&self) -> &Path {
        let (Medium::Kernel(medium) | Medium::Disc(medium)) = &self.medium;
        medium
    }

    pub(crate) fn words(&self) -> &str {
        &self.command_line
    }

    pub(crate) fn memory(&self) -> u32 {
        self.memory_mib
    }

    pub(crate) fn time_limit(&self) -> Option<Duration> {
        self.deadline
    }

    pub(crate) fn boot_module(&self) -> Option<&[u8]> {
        self.module.as_deref()
    }

    /// QEMU's arguments. COM1 is QEMU's own standard input and output; the sockets for COM2 and the
    /// monitor, and the boot module's file, are in `directory`.
    pub(crate) fn arguments(&self, directory: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(&[
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]);
        add(&["-machine", "q35", "-m", &self.memory_mib.to_string()]);
        add(&["-smp", &self.processors.to_string()]);
        match self.accelerator {
            Accelerator::Tcg => add(&["-accel", "tcg"]),
            Accelerator::Kvm => add(&["-accel", "kvm", "-cpu", "host"]),
        }
        if let Some(model) = &self.model {
            add(&["-cpu", model]);
        }
        let count = match self.clock {
            Clock::Real => None,
            Clock::Counted => Some("shift=0,sleep=off"),
            Clock::CountedByEight => Some("shift=3,sleep=off"),
        };
        if let Some(count) = count {
            add(&[
                "-icount",
                count,
                "-rtc",
                "base=2026-01-01T00:00:00,clock=vm",
                "-seed",
                "1",
            ]);
        }
        let socket = |name: &str| {
            let path = directory
                .join(name)
                .display()
                .to_string()
                .replace(',', ",,");
            format!("socket,id={name},path={path}")
        };
        add(&[
            "-chardev",
            "stdio,id=console,signal=off",
            "-serial",
            "chardev:console",
        ]);
        add(&["-chardev", &socket("log"), "-serial", "chardev:log"]);
        add(&[
            "-chardev",
            &socket("monitor"),
            "-mon",
            "chardev=monitor,mode=readline",
        ]);
        // The default port, 0x501, is not the one that hosts write to.
        add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        if let Some(device) = &self.gdb {
            add(&["-S", "-gdb", device]);
        }
        for (index, device) in self.devices.iter().enumerate() {
            arguments.extend(device.arguments(index).into_iter().map(OsString::from));
        }
        match &self.medium {
            Medium::Kernel(image) => {
                arguments.extend(["-kernel".into(), image.into()]);
                // The BIOS would make every disk ready to boot from. From the third on, what it needs for
                // that is memory in which QEMU puts the boot module.
                arguments.extend(["-boot".into(), "strict=on".into()]);
                arguments.extend(["-append".into(), OsString::from(&self.command_line)]);
                if self.module.is_some() {
                    arguments.extend(["-initrd".into(), directory.join("module").into()]);
                }
            }
            Medium::Disc(disc) => arguments.extend(["-cdrom".into(), disc.into()]),
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Network;

    fn line(machine: &Machine) -> String {
        let arguments = machine.arguments(Path::new("/d,ir"));
        let words: Vec<_> = arguments
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        words.join(" ")
    }

    #[test]
    fn a_plain_machine_uses_the_translator_and_real_time() {
        let line = line(&Machine::new("image.elf").command_line("mode=isolated -- quiet"));
        assert!(line.contains("-accel tcg"), "{line}");
        assert!(
            line.contains("-kernel image.elf -boot strict=on -append mode=isolated -- quiet"),
            "{line}"
        );
        assert!(
            line.contains("isa-debug-exit,iobase=0xf4,iosize=4"),
            "{line}"
        );
        assert!(
            !line.contains("-icount") && !line.contains("-initrd"),
            "{line}"
        );
    }

    #[test]
    fn each_choice_has_its_argument() {
        let machine = Machine::new("i")
            .clock(Clock::Counted)
            .accelerator(Accelerator::Kvm)
            .memory_mib(99)
            .processors(3)
            .model("qemu64,+umip")
            .module(vec![1])
            .gdb("stdio");
        let line = line(&machine);
        for part in [
            "-icount shift=0,sleep=off",
            "-accel kvm -cpu host",
            "-m 99",
            "-smp 3",
            "-cpu qemu64,+umip",
            "-initrd /d,ir/module",
            "-S -gdb stdio",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }

    #[test]
    fn commas_in_paths_are_doubled_for_qemu() {
        let machine = Machine::new("i").device(Device::Disk("a,b".into()));
        let line = line(&machine);
        assert!(line.contains("path=/d,,ir/log"), "{line}");
        assert!(line.contains("file=a,,b,"), "{line}");
    }

    #[test]
    fn devices_have_names_of_their_own() {
        let machine = Machine::new("i")
            .device(Device::Disk("a".into()))
            .device(Device::Network(Network::User))
            .device(Device::Disk("b".into()))
            .device(Device::Entropy);
        let line = line(&machine);
        for part in [
            "file=a,if=none,format=raw,id=disk0 -device virtio-blk-pci,disable-legacy=on,drive=disk0",
            "-netdev user,id=net1 -device virtio-net-pci,disable-legacy=on,netdev=net1",
            "file=b,if=none,format=raw,id=disk2 -device virtio-blk-pci,disable-legacy=on,drive=disk2",
            "-device virtio-rng-pci,disable-legacy=on",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }

    #[test]
    fn a_disk_that_cannot_be_used_is_named_before_qemu_starts() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        std::fs::write(&image, [0; 1024]).unwrap();
        let reason = |disk: &Path| {
            let machine = Machine::new(&image).device(Device::Disk(disk.into()));
            machine.run().unwrap_err().to_string()
        };
        let missing = reason(Path::new("/no/such/disk"));
        assert!(
            missing.starts_with("cannot read /no/such/disk: "),
            "{missing}"
        );
        let no_file = reason(directory.path());
        assert!(no_file.starts_with("cannot write "), "{no_file}");
        for size in [0, 511, 513] {
            let odd = directory.path().join("odd");
            std::fs::write(&odd, vec![0; size]).unwrap();
            let line = reason(&odd);
            let expected = format!("/odd cannot be a disk: it has {size} bytes, and a disk has ");
            assert!(line.contains(&expected), "{line}");
        }
        let twice = Machine::new(&image)
            .device(Device::Disk(image.clone()))
            .device(Device::Disk(directory.path().join("./image")));
        let twice = twice.run().unwrap_err().to_string();
        assert!(
            twice.ends_with("./image is two disks of one machine"),
            "{twice}"
        );
    }

    #[test]
    fn discs_are_booted_by_the_bios() {
        let line = line(&Machine::disc("x.iso", "x.elf"));
        assert!(
            line.contains("-cdrom x.iso") && !line.contains("-kernel"),
            "{line}"
        );
    }

    #[test]
    fn a_command_line_that_qemu_would_not_survive_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        std::fs::write(&image, "").unwrap();
        let machine = Machine::new(&image).command_line("x".repeat(4096));
        let line = machine.run().unwrap_err().to_string();
        let expected = "the host's command line has 4096 bytes; QEMU passes 4095 on";
        assert_eq!(line, expected);
    }

    #[test]
    fn a_missing_image_is_named() {
        let error = Machine::new("/no/such/image")
            .run()
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("cannot read /no/such/image: "), "{error}");
    }
}
