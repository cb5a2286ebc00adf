//! A machine that runs: its streams, and its end.

use crate::bochs;
use crate::error::RunError;
use crate::log::{LogDecoder, LogLine};
use crate::machine::{Emulator, Machine};
use crate::monitor::Monitor;
use crate::outcome::{End, Outcome};
use crate::qemu;
use std::fmt;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Takes pieces of a stream as they come.
pub type Sink<T> = Box<dyn FnMut(&T) + Send>;

/// Who hears what the machine says, while it says it.
pub struct Watcher {
    /// Bytes of COM1.
    pub console: Sink<[u8]>,
    /// Lines of the log, except stop lines: the outcome has the one that counts.
    pub log: Sink<LogLine>,
    /// Lines of QEMU's own.
    pub qemu: Sink<str>,
}

impl Default for Watcher {
    fn default() -> Self {
        Watcher {
            console: Box::new(|_| ()),
            log: Box::new(|_| ()),
            qemu: Box::new(|_| ()),
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// What a machine says, as it says it.
pub(crate) type Stream = Box<dyn Read + Send>;

/// An emulator that is ready to start, and where the machine will be heard.
pub(crate) struct Prepared {
    pub(crate) command: Command,
    /// COM1, where it is not the emulator's standard output.
    pub(crate) console: Option<Stream>,
    /// COM2.
    pub(crate) log: Stream,
    pub(crate) monitor: Option<UnixListener>,
    /// Dropped when the emulator has ended, so that nobody waits for a stream that it never opened.
    pub(crate) open: Box<dyn Send>,
    pub(crate) end: fn(&Path, ExitStatus) -> End,
}

/// What has been heard so far.
#[derive(Debug, Default)]
struct Heard {
    console: Vec<u8>,
    log: Vec<LogLine>,
    console_closed: bool,
}

#[derive(Debug, Default)]
struct Record {
    heard: Mutex<Heard>,
    news: Condvar,
}

impl Record {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.heard());
        self.news.notify_all();
    }

    /// Waits until `found` finds something, the console closes or the deadline passes.
    fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut found: impl FnMut(&Heard) -> Option<T>,
    ) -> Option<T> {
        let mut heard = self.heard();
        loop {
            if let Some(result) = found(&heard) {
                return Some(result);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if heard.console_closed || left == Some(Duration::ZERO) {
                return None;
            }
            heard = match left {
                Some(left) => {
                    self.news
                        .wait_timeout(heard, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .news
                    .wait(heard)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Ends a machine from another thread.
#[derive(Clone, Debug)]
pub struct Killer(Arc<Mutex<Process>>);

#[derive(Debug)]
struct Process {
    child: Child,
    killed: Option<End>,
}

impl Killer {
    /// Ends the machine as the developer's wish.
    pub fn interrupt(&self) {
        self.kill(End::Interrupted);
    }

    fn kill(&self, end: End) {
        let mut process = self.process();
        process.killed.get_or_insert(end);
        // It may have ended by itself in the meantime; that is as good.
        let _ = process.child.kill();
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running machine. It ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    killer: Killer,
    record: Arc<Record>,
    threads: Vec<JoinHandle<()>>,
    qemu_messages: JoinHandle<String>,
    input: Option<PipeWriter>,
    monitor: Option<UnixListener>,
    /// What the emulator's own end says about the machine's.
    end: fn(&Path, ExitStatus) -> End,
    deadline: Option<Instant>,
    /// Console bytes that `expect` is done with.
    matched: usize,
    directory: TempDir,
}

impl Running {
    pub(crate) fn start(
        machine: &Machine,
        log_strings: &[u8],
        input: PipeReader,
        mut watcher: Watcher,
    ) -> Result<Self, RunError> {
        let directory = tempfile::tempdir().map_err(RunError::connection("temporary directory"))?;
        let Prepared {
            mut command,
            console,
            log,
            monitor,
            open,
            end,
        } = match machine.emulator() {
            Emulator::Qemu => qemu::prepare(machine, directory.path(), input)?,
            Emulator::Bochs => bochs::prepare(machine, directory.path())?,
        };
        let mut decoder = LogDecoder::new(log_strings);
        let mut child = command
            .spawn()
            .map_err(|error| RunError::Start(machine.program().to_owned(), error))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let console = console.or(stdout.map(|stdout| Box::new(stdout) as Stream));
        let record = Arc::new(Record::default());

        let console_record = Arc::clone(&record);
        let console = std::thread::spawn(move || {
            if let Some(console) = console {
                each_chunk(console, |bytes| {
                    (watcher.console)(bytes);
                    console_record.update(|heard| heard.console.extend_from_slice(bytes));
                });
            }
            console_record.update(|heard| heard.console_closed = true);
        });
        let log_record = Arc::clone(&record);
        let log = std::thread::spawn(move || {
            let mut tell = |lines: Vec<LogLine>| {
                lines
                    .iter()
                    .filter(|line| line.stop().is_none())
                    .for_each(&mut watcher.log);
                log_record.update(|heard| heard.log.extend(lines));
            };
            each_chunk(log, |bytes| tell(decoder.push(bytes)));
            tell(decoder.finish());
        });
        let qemu_messages = std::thread::spawn(move || {
            let mut messages = String::new();
            let lines = stderr
                .map(BufReader::new)
                .into_iter()
                .flat_map(BufRead::lines);
            for line in lines.map_while(Result::ok) {
                (watcher.qemu)(&line);
                messages.push_str(&line);
                messages.push('\n');
            }
            // The emulator has ended. Streams that it never opened end here.
            drop(open);
            messages
        });
        Ok(Running {
            killer: Killer(Arc::new(Mutex::new(Process {
                child,
                killed: None,
            }))),
            record,
            threads: vec![console, log],
            qemu_messages,
            input: None,
            monitor,
            end,
            deadline: machine.time_limit().map(|limit| Instant::now() + limit),
            matched: 0,
            directory,
        })
    }

    pub(crate) fn keep_input(&mut self, input: PipeWriter) {
        self.input = Some(input);
    }

    /// A handle that ends the machine from elsewhere.
    pub fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Types `text` on the console, once the host has said something: it empties its serial port
    /// when it sets it up, and what comes earlier is lost.
    pub fn send(&mut self, text: &str) -> Result<(), RunError> {
        self.paste(text.as_bytes())
    }

    /// The same with bytes of any values, and as many as there are: returns when the machine has taken all but
    /// what a pipe holds.
    pub fn paste(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        self.record.wait(self.deadline, |heard| {
            let silent = heard.log.is_empty() && heard.console.is_empty();
            (!silent).then_some(())
        });
        match &mut self.input {
            Some(input) => input
                .write_all(bytes)
                .map_err(RunError::connection("console")),
            None => Ok(()),
        }
    }

    /// Waits until the console says `text`, and returns everything since the last match.
    pub fn expect(&mut self, text: &str) -> Result<String, RunError> {
        let from = self.matched;
        let end = self.record.wait(self.deadline, |heard| {
            let rest = &heard.console[from..];
            let at = rest
                .windows(text.len())
                .position(|window| window == text.as_bytes())?;
            Some(from + at + text.len())
        });
        let heard = self.record.heard();
        let until = end.unwrap_or(heard.console.len());
        let got = String::from_utf8_lossy(&heard.console[from..until]).replace('\r', "");
        if end.is_none() {
            return Err(RunError::Unexpected {
                wanted: text.to_owned(),
                got,
            });
        }
        self.matched = until;
        Ok(got)
    }

    /// Waits until a line of the log contains `text`, and returns it.
    pub fn expect_log(&mut self, text: &str) -> Result<LogLine, RunError> {
        let found = self.record.wait(self.deadline, |heard| {
            heard
                .log
                .iter()
                .find(|line| line.text.contains(text))
                .cloned()
        });
        found.ok_or_else(|| {
            let log: Vec<String> = self
                .record
                .heard()
                .log
                .iter()
                .map(LogLine::to_string)
                .collect();
            RunError::Unexpected {
                wanted: text.to_owned(),
                got: log.join("\n"),
            }
        })
    }

    /// Opens QEMU's monitor; there is one connection a machine.
    pub fn monitor(&mut self) -> Result<Monitor, RunError> {
        let Some(monitor) = &self.monitor else {
            return Err(RunError::NotOnBochs("a monitor"));
        };
        let (stream, _) = monitor.accept().map_err(RunError::connection("monitor"))?;
        Monitor::new(stream)
    }

    /// Waits for the machine's end.
    pub fn wait(mut self) -> Outcome {
        let closed = self
            .record
            .wait(self.deadline, |heard| heard.console_closed.then_some(()));
        if closed.is_none() {
            self.killer.kill(End::Deadline);
        }
        let end = {
            let mut process = self.killer.process();
            let exit = process.child.wait();
            let end = |status| (self.end)(self.directory.path(), status);
            let by_itself = exit.map(end).unwrap_or(End::Interrupted);
            // A machine that ended by itself before it could be killed has its own reason.
            match (by_itself, process.killed) {
                (End::Qemu(_) | End::Bochs(_), Some(killed)) => killed,
                _ => by_itself,
            }
        };
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let heard = std::mem::take(&mut *self.record.heard());
        let messages = std::mem::replace(&mut self.qemu_messages, std::thread::spawn(String::new));
        let messages = messages.join().unwrap_or_default();
        Outcome::new(end, heard.console, heard.log, messages)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut process = self.killer.process();
        let _ = process.child.kill();
        let _ = process.child.wait();
    }
}

fn each_chunk(mut stream: impl Read, mut take: impl FnMut(&[u8])) {
    let mut chunk = [0; 16 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => take(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
