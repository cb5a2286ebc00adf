//! QEMU's human monitor: asks the machine about itself from outside.

use crate::error::RunError;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

const PROMPT: &[u8] = b"(qemu) ";

/// A connection to the monitor of a running machine.
#[derive(Debug)]
pub struct Monitor {
    stream: UnixStream,
}

impl Monitor {
    /// Takes the connection over and reads up to the first prompt.
    pub(crate) fn new(stream: UnixStream) -> Result<Self, RunError> {
        let mut monitor = Monitor { stream };
        monitor.answer()?;
        Ok(monitor)
    }

    /// Runs one command, such as `info mem` or `stop`, and returns what it prints.
    pub fn command(&mut self, command: &str) -> Result<String, RunError> {
        let failed = RunError::connection("monitor");
        self.stream
            .write_all(format!("{command}\n").as_bytes())
            .map_err(failed)?;
        let answer = self.answer()?;
        // The first line is the echo of the command.
        Ok(answer
            .split_once('\n')
            .map(|(_, rest)| rest.to_owned())
            .unwrap_or_default())
    }

    fn answer(&mut self) -> Result<String, RunError> {
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while !answer.ends_with(PROMPT) {
            let count = self
                .stream
                .read(&mut chunk)
                .map_err(RunError::connection("monitor"))?;
            if count == 0 {
                break;
            }
            answer.extend_from_slice(&chunk[..count]);
        }
        let text = answer.strip_suffix(PROMPT).unwrap_or(&answer);
        Ok(String::from_utf8_lossy(text).replace('\r', ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_what_lies_between_echo_and_prompt() {
        let (ours, mut qemus) = UnixStream::pair().unwrap();
        let qemu = std::thread::spawn(move || {
            qemus.write_all(b"QEMU 7.2 monitor\r\n(qemu) ").unwrap();
            let mut command = [0; 9];
            qemus.read_exact(&mut command).unwrap();
            assert_eq!(&command, b"info mem\n");
            qemus.write_all(b"i\x1b[Kinfo mem\r\nPG ").unwrap();
            qemus.write_all(b"disabled\r\n(qemu) ").unwrap();
        });
        let mut monitor = Monitor::new(ours).unwrap();
        assert_eq!(monitor.command("info mem").unwrap(), "PG disabled\n");
        qemu.join().unwrap();
    }
}
