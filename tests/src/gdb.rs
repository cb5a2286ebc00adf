//! The part of gdb's remote protocol that stops a machine at an instruction, and steps it from there.

use hv_runner::{Machine, Running};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Place of RIP in what `g` answers: 16 general registers of 8 bytes come before it.
const RIP: usize = 16 * 8;
/// The number that `P` knows RIP by.
const RIP_NUMBER: u64 = 16;
/// How long QEMU may take to open its socket.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a machine that stands still, except during a call.
#[derive(Debug)]
pub struct Gdb {
    stream: UnixStream,
    directory: PathBuf,
}

impl Gdb {
    /// Starts `machine`, stopped before its first instruction.
    pub fn start(machine: Machine, name: &str) -> (Running, Gdb) {
        let directory = std::env::temp_dir().join(format!("hv-gdb-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory for the socket");
        let socket = directory.join("gdb");
        let device = format!("unix:{},server=on,wait=off", socket.display());
        let running = machine.gdb(device).spawn().expect("QEMU starts");
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "QEMU's gdb socket: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut gdb = Gdb { stream, directory };
        // QEMU lets single registers be set only by those who have asked what registers there are.
        gdb.ask("qXfer:features:read:target.xml:0,ffb");
        (running, gdb)
    }

    /// Runs until the instruction at `address` is next; `false`: the machine ended.
    pub fn run_to(&mut self, address: u64) -> bool {
        self.ask(&format!("Z1,{address:x},1"));
        let stopped = self
            .try_ask("c")
            .is_ok_and(|answer| answer.starts_with('T'));
        if stopped {
            self.ask(&format!("z1,{address:x},1"));
        }
        stopped
    }

    /// Runs to the machine's end.
    pub fn run(mut self) {
        // Whatever comes, or no answer at all: the end is what the outcome is about.
        let _ = self.try_ask("c");
    }

    /// Lets interrupts, NMIs among them, come while the machine steps; otherwise they wait until it runs.
    pub fn interrupt_steps(&mut self) {
        assert_eq!(self.ask("Qqemu.sstep=1"), "OK");
    }

    /// Memory at a linear address.
    pub fn memory(&mut self, address: u64, count: usize) -> Vec<u8> {
        bytes(&self.ask(&format!("m{address:x},{count:x}")))
    }

    /// Executes one instruction, or enters the handler of an interrupt.
    pub fn step(&mut self) {
        self.ask("s");
    }

    /// Address of the next instruction.
    pub fn rip(&mut self) -> u64 {
        let registers = bytes(&self.ask("g"));
        let rip = registers
            .get(RIP..RIP + 8)
            .and_then(|rip| rip.try_into().ok());
        u64::from_le_bytes(rip.expect("gdb's register block has RIP"))
    }

    /// Lets the machine go on elsewhere.
    pub fn set_rip(&mut self, address: u64) {
        let value: String = address
            .to_le_bytes()
            .map(|byte| format!("{byte:02x}"))
            .concat();
        assert_eq!(self.ask(&format!("P{RIP_NUMBER:x}={value}")), "OK");
    }

    /// Runs a command of QEMU's monitor.
    pub fn monitor(&mut self, command: &str) {
        let words: String = command.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut answer = self.ask(&format!("qRcmd,{words}"));
        while answer != "OK" {
            assert!(answer.starts_with('O'), "{command}: {answer}");
            answer = self.receive().expect("the machine still runs");
        }
    }

    fn ask(&mut self, packet: &str) -> String {
        self.try_ask(packet)
            .unwrap_or_else(|error| panic!("gdb: {packet}: {error}"))
    }

    fn try_ask(&mut self, packet: &str) -> io::Result<String> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        self.stream
            .write_all(format!("${packet}#{sum:02x}").as_bytes())?;
        self.receive()
    }

    /// The next packet, acknowledged.
    fn receive(&mut self) -> io::Result<String> {
        let mut packet = Vec::new();
        while self.byte()? != b'$' {}
        loop {
            match self.byte()? {
                b'#' => break,
                byte => packet.push(byte),
            }
        }
        let _checksum = (self.byte()?, self.byte()?);
        self.stream.write_all(b"+")?;
        Ok(String::from_utf8_lossy(&packet).into_owned())
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

impl Drop for Gdb {
    fn drop(&mut self) {
        // Left behind in the directory for temporary files, it would hurt nobody.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Hexadecimal digits, as bytes.
fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_become_bytes() {
        assert_eq!(bytes("00ff1a"), [0, 0xff, 0x1a]);
    }
}
