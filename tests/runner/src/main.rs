//! `hv-run`: boots an image with its console on this terminal.

mod terminal;

use clap::{Parser, ValueEnum};
use hv_runner::archive::Archive;
use hv_runner::{
    Accelerator, Clock, Device, LogLine, Machine, Network, Outcome, RunError, STOP, Watcher,
};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::SyncSender;
use terminal::Terminal;

/// The host could not be given a guest.
const NOT_STARTED: u8 = 5;
const RESTART: u8 = 4;
/// RAM for the host beside the guest's, in MiB.
const HOST_MEMORY_MIB: u32 = 128;
/// Guest RAM that applications choose for themselves fits into a machine of this many MiB.
const USUAL_MEMORY_MIB: u32 = 256;
const MIB: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Accel {
    Tcg,
    Kvm,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Restart {
    /// Boot the image again, with the input that is left.
    Yes,
    /// Exit with status 4.
    No,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Net {
    /// QEMU's own network, in which this machine is 10.0.2.2.
    User,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rng {
    /// A virtio-rng device.
    Yes,
    /// None.
    No,
}

/// Boots a libhv image in QEMU. The guest's console is this terminal; the host's log goes to stderr.
///
/// Exit status: 0 the guest powered off, 3 it was killed, 4 it asked for a restart and --restart=no,
/// 5 the host could not start it, 1 anything else.
#[derive(Parser)]
#[command(name = "hv-run", version)]
struct Arguments {
    /// The image: an ELF file. Log strings are read from the same name with the extension `debug`.
    image: PathBuf,
    /// QEMU's program.
    #[arg(long, env = "QEMU", default_value = "qemu-system-x86_64")]
    qemu: PathBuf,
    /// Who executes the machine's instructions.
    #[arg(long, value_enum, default_value = "tcg")]
    accel: Accel,
    /// Processors of the machine.
    #[arg(long, default_value_t = 1)]
    smp: u32,
    /// Guest RAM in MiB; without it the application decides.
    #[arg(long)]
    memory: Option<u32>,
    /// RAM of the whole machine in MiB; without it enough for the guest's.
    #[arg(long)]
    machine_memory: Option<u32>,
    /// What of the host is mapped while the guest runs: shared or isolated.
    #[arg(long)]
    mode: Option<String>,
    /// Log level: off, error, warn, info, debug or trace.
    #[arg(long)]
    log: Option<String>,
    /// More words for the host's command line.
    #[arg(long, default_value = "")]
    append: String,
    /// A kernel to pass as boot module.
    #[arg(long)]
    kernel: Option<PathBuf>,
    /// An initrd to go with the kernel.
    #[arg(long, requires = "kernel")]
    initrd: Option<PathBuf>,
    /// A file whose contents become a disk in the host's memory; may be given again, up to four times.
    /// What the guest writes is gone when it ends.
    #[arg(long, requires = "kernel")]
    ram_disk: Vec<PathBuf>,
    /// The guest's command line.
    #[arg(long)]
    cmdline: Option<String>,
    /// Time counts instructions: runs repeat exactly.
    #[arg(long)]
    deterministic: bool,
    /// A disk: the machine writes to this file. May be given several times.
    #[arg(long)]
    disk: Vec<PathBuf>,
    /// A network device.
    #[arg(long, value_enum)]
    net: Option<Net>,
    /// Whether the machine has a device that makes random numbers.
    #[arg(long, value_enum, default_value = "yes")]
    rng: Rng,
    /// What happens when the guest asks for a restart.
    #[arg(long, value_enum, default_value = "yes")]
    restart: Restart,
    /// Write the boot module that a boot loader would bring to this file, and run nothing.
    #[arg(long, requires = "kernel", conflicts_with = "write_section")]
    write_module: Option<PathBuf>,
    /// Write to this file what an image's section `.guest` holds when the image carries its guest, with the
    /// host's command line, and run nothing.
    #[arg(long)]
    write_section: Option<PathBuf>,
    /// Stop before the first instruction until gdb comes to this QEMU character device.
    #[arg(long)]
    gdb: Option<String>,
}

impl Arguments {
    /// Words for the host.
    fn host_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.log.as_ref().map(|level| format!("log={level}")));
        words.extend(self.mode.as_ref().map(|mode| format!("mode={mode}")));
        words.extend(self.memory.map(|mib| format!("memory={mib}")));
        words.extend(self.append.split_whitespace().map(str::to_owned));
        words
    }

    /// The host's command line.
    fn command_line(&self) -> String {
        let mut words = self.host_words();
        // Beside a kernel the command line travels in the archive.
        if let (Some(cmdline), None) = (&self.cmdline, &self.kernel) {
            words.push(format!("-- {cmdline}"));
        }
        words.join(" ")
    }

    /// The boot module, if there is a kernel for it.
    fn module(&self) -> Result<Option<Vec<u8>>, RunError> {
        if self.kernel.is_none() {
            return Ok(None);
        }
        Ok(Some(self.guest()?.finish()))
    }

    /// An archive of `kernel`, `initrd`, `cmdline` and disks.
    fn guest(&self) -> Result<Archive, RunError> {
        let mut archive = Archive::default();
        if let Some(kernel) = &self.kernel {
            archive = archive.file("kernel", &read(kernel)?);
        }
        if let Some(initrd) = &self.initrd {
            archive = archive.file("initrd", &read(initrd)?);
        }
        if let Some(cmdline) = &self.cmdline {
            archive = archive.file("cmdline", cmdline.as_bytes());
        }
        for (number, disk) in self.ram_disk.iter().enumerate() {
            archive = archive.file(&format!("disk{number}"), &read(disk)?);
        }
        Ok(archive)
    }

    fn write_module(&self, path: &Path) -> Result<(), RunError> {
        write(path, &self.guest()?.finish())
    }

    /// The length of a boot module, then the module.
    fn write_section(&self, path: &Path) -> Result<(), RunError> {
        let words = self.host_words().join(" ");
        let module = self.guest()?.file("host-cmdline", words.as_bytes());
        let module = module.finish();
        let mut section = (module.len() as u64).to_le_bytes().to_vec();
        section.extend(module);
        write(path, &section)
    }

    fn machine_memory(&self, module: Option<&[u8]>) -> u32 {
        let needed = self
            .memory
            .map_or(0, |guest| guest.saturating_add(HOST_MEMORY_MIB));
        // The module stays where it is, and the host copies the disks in it.
        let module = module.map_or(0, |module| 2 * module.len().div_ceil(MIB));
        let module = u32::try_from(module).unwrap_or(u32::MAX);
        let usual = needed.max(USUAL_MEMORY_MIB);
        self.machine_memory.unwrap_or(usual.saturating_add(module))
    }

    fn machine(&self) -> Result<Machine, RunError> {
        let module = self.module()?;
        let mut machine = Machine::new(&self.image)
            .qemu(&self.qemu)
            .accelerator(match self.accel {
                Accel::Tcg => Accelerator::Tcg,
                Accel::Kvm => Accelerator::Kvm,
            })
            .clock(if self.deterministic {
                Clock::Counted
            } else {
                Clock::Real
            })
            .memory_mib(self.machine_memory(module.as_deref()))
            .processors(self.smp)
            .command_line(self.command_line())
            .deadline(None);
        if let Some(module) = module {
            machine = machine.module(module);
        }
        for disk in &self.disk {
            machine = machine.device(Device::Disk(disk.clone()));
        }
        if let Some(Net::User) = self.net {
            machine = machine.device(Device::Network(Network::User));
        }
        if self.rng == Rng::Yes {
            machine = machine.device(Device::Entropy);
        }
        if let Some(device) = &self.gdb {
            machine = machine.gdb(device);
        }
        Ok(machine)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    std::fs::write(path, bytes).map_err(|error| RunError::Write(path.to_owned(), error))
}

fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    std::fs::read(path).map_err(|error| RunError::Read(path.to_owned(), error))
}

fn watcher(host_is_up: SyncSender<()>) -> Watcher {
    Watcher {
        console: Box::new(|bytes| {
            let mut stdout = std::io::stdout();
            // Whoever closed our output does not want the rest; the guest runs on.
            let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
        }),
        log: Box::new(move |line: &LogLine| {
            // Full: it has been told already.
            let _ = host_is_up.try_send(());
            eprintln!("{line}");
        }),
        qemu: Box::new(|line| eprintln!("{line}")),
    }
}

/// Runs the machine, and again as long as its guest asks for a restart.
fn run(arguments: &Arguments) -> Result<Outcome, RunError> {
    let machine = arguments.machine()?;
    let terminal = Terminal::open()?;
    loop {
        let running = machine.spawn_with(terminal.input()?, watcher(terminal.host_is_up()))?;
        terminal.watch(running.killer());
        let outcome = running.wait();
        if outcome.status != RESTART || arguments.restart == Restart::No {
            return Ok(outcome);
        }
        eprintln!("libhv: restart: {}", outcome.stop());
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            let text = error.to_string();
            // The reason and what may stand there instead are the lines up to the first empty one.
            let (reason, usage) = text.split_once("\n\n").unwrap_or((&text, ""));
            let words: Vec<&str> = reason.split_whitespace().collect();
            eprintln!("{usage}\n{STOP}{}", words.join(" "));
            return ExitCode::from(NOT_STARTED);
        }
    };
    let written = match (&arguments.write_module, &arguments.write_section) {
        (Some(path), _) => Some(arguments.write_module(path)),
        (None, Some(path)) => Some(arguments.write_section(path)),
        (None, None) => None,
    };
    match written {
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("hv-run: {error}");
            return ExitCode::FAILURE;
        }
        None => {}
    }
    let (reason, status) = match run(&arguments) {
        Ok(outcome) => (outcome.stop().to_owned(), outcome.status),
        Err(error) => (error.to_string(), NOT_STARTED),
    };
    eprintln!("{STOP}{reason}");
    ExitCode::from(status)
}
