//! The developer's side of the console: standard input, raw mode, and the ways to end the machine.

use hv_runner::{Killer, RunError};
use rustix::termios::{self, InputModes, OptionalActions, OutputModes, Termios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{IsTerminal, PipeReader, PipeWriter, Read, Write, stdin};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Ctrl-].
const QUIT: u8 = 0x1d;

/// How long input waits for a first word of the host's.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads standard input for one machine after the other.
pub struct Terminal {
    input: PipeReader,
    target: Arc<Target>,
    host_is_up: SyncSender<()>,
    _raw: Option<RawMode>,
}

/// The machine that the quit key and signals end.
#[derive(Default)]
struct Target(Mutex<Option<Killer>>);

impl Target {
    fn end(&self) {
        if let Some(killer) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            killer.interrupt();
        }
    }
}

impl Terminal {
    /// Starts to read standard input and to listen to signals.
    pub fn open() -> Result<Self, RunError> {
        let failed = |error| RunError::Connection("console", error);
        let (input, writer) = std::io::pipe().map_err(failed)?;
        let target = Arc::new(Target::default());
        let raw = stdin().is_terminal().then(RawMode::enter).flatten();
        if raw.is_some() {
            eprintln!("libhv: Ctrl-] ends the machine");
        }
        let forward = Arc::clone(&target);
        let keys = raw.is_some();
        let (host_is_up, up) = sync_channel(1);
        std::thread::spawn(move || {
            // The host empties its serial port when it sets it up: what comes earlier is lost. An
            // image that never says anything gets its input all the same.
            let _ = up.recv_timeout(PATIENCE);
            forward_input(writer, keys.then_some(forward));
        });
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(failed)?;
        let signalled = Arc::clone(&target);
        std::thread::spawn(move || signals.forever().for_each(|_| signalled.end()));
        Ok(Terminal {
            input,
            target,
            host_is_up,
            _raw: raw,
        })
    }

    /// The input for the next machine. What the last one did not read is still in it.
    pub fn input(&self) -> Result<PipeReader, RunError> {
        self.input
            .try_clone()
            .map_err(|error| RunError::Connection("console", error))
    }

    /// Whom to tell that the host has said something: its serial ports are set up, and standard
    /// input goes to the machine.
    pub fn host_is_up(&self) -> SyncSender<()> {
        self.host_is_up.clone()
    }

    /// From now on the quit key and signals end this machine.
    pub fn watch(&self, killer: Killer) {
        *self.target.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(killer);
    }
}

/// Copies standard input until it ends. QEMU takes from the pipe what the UART has room for, so a
/// full pipe is the flow control. The pipe stays open after the end of the input: a closed one
/// would be a hang-up.
fn forward_input(mut pipe: PipeWriter, quit: Option<Arc<Target>>) {
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stdin().read(&mut chunk) {
        let keys = &chunk[..count];
        match &quit {
            Some(target) if keys.contains(&QUIT) => target.end(),
            _ => {
                if pipe.write_all(keys).is_err() {
                    return;
                }
            }
        }
    }
    loop {
        std::thread::park();
    }
}

/// The terminal passes keys on as they are typed, until this is dropped.
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn enter() -> Option<Self> {
        let before = termios::tcgetattr(stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        // Line ends stay what people expect: guests write \n, and the Enter key means \n.
        raw.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        raw.input_modes |= InputModes::ICRNL;
        termios::tcsetattr(stdin(), OptionalActions::Flush, &raw).ok()?;
        Some(RawMode { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(stdin(), OptionalActions::Drain, &self.before);
    }
}
