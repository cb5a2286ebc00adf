//! QEMU, the emulator that the images usually run on.

use crate::error::RunError;
use crate::machine::Machine;
use crate::outcome::End;
use crate::running::Prepared;
use std::io::{PipeReader, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Makes the sockets and files that [`Machine::arguments`] names.
pub(crate) fn prepare(
    machine: &Machine,
    directory: &Path,
    input: PipeReader,
) -> Result<Prepared, RunError> {
    let bind = |name| {
        let path = directory.join(name);
        UnixListener::bind(path).map_err(RunError::connection(name))
    };
    let (log, monitor) = (bind("log")?, bind("monitor")?);
    if let Some(module) = machine.boot_module() {
        let path = directory.join("module");
        std::fs::write(&path, module).map_err(RunError::connection("boot module"))?;
    }
    let mut command = Command::new(machine.program());
    command
        .args(machine.arguments(directory))
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(Prepared {
        command,
        console: None,
        log: Box::new(LogSocket::Waiting(log)),
        monitor: Some(monitor),
        open: Box::new(LogCaller(directory.join("log"))),
        end: |_, status| End::of_qemu(status),
    })
}

/// The log: QEMU connects when it starts.
enum LogSocket {
    Waiting(UnixListener),
    Connected(UnixStream),
}

impl Read for LogSocket {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            LogSocket::Connected(stream) => stream.read(into),
            LogSocket::Waiting(listener) => {
                let (mut stream, _) = listener.accept()?;
                let count = stream.read(into);
                *self = LogSocket::Connected(stream);
                count
            }
        }
    }
}

/// Calls the log when dropped: a QEMU that died early never did, and this ends the wait for it.
struct LogCaller(PathBuf);

impl Drop for LogCaller {
    fn drop(&mut self) {
        drop(UnixStream::connect(&self.0));
    }
}
