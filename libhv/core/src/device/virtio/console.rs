//! The console device (virtio 1.0, section 5.3): one port, a queue in each direction, and a
//! register that prints a byte before any driver is there.

use super::chain::{Buffer, Chain, Direction};
use super::queue::Queue;
use super::{Identity, Legacy, Violation, VirtioDevice};
use crate::device::Work;
use crate::device::backend::Full;
use crate::memory::GuestMemory;
use heapless::Deque;

/// VIRTIO_CONSOLE_F_EMERG_WRITE. VIRTIO_CONSOLE_F_SIZE is not offered: a serial line has no size.
const EMERG_WRITE: u64 = 1 << 2;
/// Device configuration: columns, rows, number of ports (all 0 without their features) and, at 8,
/// the emergency register.
const CONFIG_SIZE: u32 = 12;
/// Offset of the emergency register, 32 bits wide.
pub const EMERGENCY: u32 = 8;

/// Virtio's number for consoles.
pub const DEVICE: u16 = 3;

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

/// Work of one poll in each direction. It bounds the time of an exit; what is left is moved by the
/// next poll.
const BYTES_A_POLL: u32 = 1024;
/// Descriptors, counted apart: they may all be empty.
const STEPS_A_POLL: u32 = 64;
/// Bytes copied at a time.
const CHUNK: usize = 64;
/// Polls without a notification after which a driver counts as settled. Linux's fills its receive queue
/// before it can find its own port by that queue, and throws away whatever arrives in between, while it
/// prints the log so far: input that was there before the guest was would be lost. A guest is polled at
/// every exit as long as input waits, so this takes no time.
pub(in crate::device) const SETTLED: u32 = 4096;
/// Emergency bytes that wait for the far end. The register cannot push back, so more are lost; but a guest does not
/// run while any waits, so these are of one exit.
const EMERGENCY_BACKLOG: usize = 1024;

/// The far end of a console. Both calls return at once.
pub trait ConsoleBackend {
    /// Takes one byte of output.
    fn write(&mut self, byte: u8) -> Result<(), Full>;
    /// Hands out one byte of input, if there is one.
    fn read(&mut self) -> Option<u8>;
}

/// What is left to do in one poll.
struct Budget {
    bytes: u32,
    steps: u32,
}

impl Budget {
    fn new() -> Self {
        Self {
            bytes: BYTES_A_POLL,
            steps: STEPS_A_POLL,
        }
    }

    /// Whether a stream that found no further buffer may have missed one for want of budget.
    fn left(&self) -> Work {
        if self.steps == 0 {
            Work::More
        } else {
            Work::Done
        }
    }

    /// Spends the right to look at one more descriptor or ring entry.
    fn step(&mut self) -> bool {
        let allowed = self.steps != 0;
        self.steps = self.steps.saturating_sub(1);
        allowed
    }
}

/// One direction of the console: which chain is being worked on, and where in it.
#[derive(Debug, Default)]
struct Stream {
    /// Whether the queue may hold chains that nobody has looked at.
    stocked: bool,
    chain: Option<Chain>,
    /// What is left of the chain's current buffer.
    buffer: Option<Buffer>,
    /// Bytes written into the chain's buffers.
    written: u32,
}

impl Stream {
    /// The non-empty buffer to work on next; `None` when the guest has to bring one first, or the
    /// budget is spent. Chains that have no bytes left are given back on the way.
    fn buffer(
        &mut self,
        memory: &impl GuestMemory,
        queue: &mut Queue,
        direction: Direction,
        budget: &mut Budget,
    ) -> Result<Option<Buffer>, Violation> {
        loop {
            if let Some(buffer) = self.buffer.filter(|buffer| buffer.length != 0) {
                return Ok(Some(buffer));
            }
            if !(self.stocked || self.chain.is_some()) || !budget.step() {
                return Ok(None);
            }
            let Some(chain) = &mut self.chain else {
                self.chain = queue.pop(memory)?;
                self.stocked = self.chain.is_some();
                continue;
            };
            self.buffer = chain.next_buffer(memory)?;
            match self.buffer {
                None => self.give_back(memory, queue)?,
                Some(buffer) if buffer.direction != direction => {
                    return Err(Violation::WrongDirection);
                }
                Some(_) => {}
            }
        }
    }

    /// Notes that the first `bytes` of the current buffer are done.
    fn advance(&mut self, bytes: u32) {
        if let Some(buffer) = &mut self.buffer {
            buffer.advance(bytes);
        }
    }

    fn give_back(&mut self, memory: &impl GuestMemory, queue: &mut Queue) -> Result<(), Violation> {
        let written = core::mem::take(&mut self.written);
        self.buffer = None;
        match self.chain.take() {
            Some(chain) => queue.push(memory, chain, written),
            None => Ok(()),
        }
    }
}

/// The console's model. Output that the far end does not take waits in the guest's buffers, input
/// that the guest has no buffers for waits at the far end.
#[derive(Debug)]
pub struct Console<B> {
    backend: B,
    emergency: Deque<u8, EMERGENCY_BACKLOG>,
    receive: Stream,
    transmit: Stream,
    /// Polls since the driver's last notification, as far as [`SETTLED`].
    quiet: u32,
    /// Input that was found before the driver had settled.
    early: Option<u8>,
}

impl<B: ConsoleBackend> Console<B> {
    /// A console in front of `backend`.
    pub fn new(backend: B) -> Self {
        Self {
            backend,
            emergency: Deque::new(),
            receive: Stream::default(),
            transmit: Stream::default(),
            quiet: 0,
            early: None,
        }
    }

    /// The driver did something: if it had not settled, it has still to.
    fn not_quiet(&mut self) {
        if self.quiet < SETTLED {
            self.quiet = 0;
        }
    }

    fn input(&mut self) -> Option<u8> {
        self.early.take().or_else(|| self.backend.read())
    }

    /// Moves emergency bytes; `Err` while some wait, so that nothing overtakes them.
    fn flush_emergency(&mut self) -> Result<(), Full> {
        while let Some(&byte) = self.emergency.front() {
            self.backend.write(byte)?;
            self.emergency.pop_front();
        }
        Ok(())
    }

    fn transmit(
        &mut self,
        memory: &impl GuestMemory,
        queue: &mut Queue,
    ) -> Result<Work, Violation> {
        let mut budget = Budget::new();
        while budget.bytes != 0 {
            let next = self
                .transmit
                .buffer(memory, queue, Direction::Readable, &mut budget)?;
            let Some(buffer) = next else {
                return Ok(budget.left());
            };
            let mut chunk = [0; CHUNK];
            let length = buffer.length.min(budget.bytes).min(CHUNK as u32);
            let chunk = chunk.get_mut(..length as usize).unwrap_or_default();
            memory.read(buffer.at, chunk)?;
            for byte in chunk.iter() {
                if self.backend.write(*byte).is_err() {
                    // The far end says when it is not full any more.
                    return Ok(Work::Done);
                }
                self.transmit.advance(1);
            }
            budget.bytes = budget.bytes.saturating_sub(length);
        }
        Ok(Work::More)
    }

    fn receive(&mut self, memory: &impl GuestMemory, queue: &mut Queue) -> Result<Work, Violation> {
        if self.quiet < SETTLED {
            self.quiet = self.quiet.saturating_add(1);
            if self.receive.stocked {
                self.early = self.input();
            }
            return Ok(match self.early {
                Some(_) => Work::More,
                None => Work::Done,
            });
        }
        let mut budget = Budget::new();
        let mut work = Work::More;
        while budget.bytes != 0 {
            let next = self
                .receive
                .buffer(memory, queue, Direction::Writable, &mut budget)?;
            let Some(buffer) = next else {
                return Ok(budget.left());
            };
            let mut chunk = [0; CHUNK];
            let room = buffer.length.min(budget.bytes).min(CHUNK as u32);
            let mut length = 0_u32;
            for slot in chunk.iter_mut().take(room as usize) {
                let Some(byte) = self.input() else {
                    break;
                };
                *slot = byte;
                length = length.saturating_add(1);
            }
            if length != 0 {
                memory.write(buffer.at, chunk.get(..length as usize).unwrap_or_default())?;
                self.receive.advance(length);
                self.receive.written = self.receive.written.saturating_add(length);
                budget.bytes = budget.bytes.saturating_sub(length);
            }
            if length < room {
                // The far end is empty; it will say when it is not.
                work = Work::Done;
                break;
            }
        }
        // A reader waits for what has been typed, not for its buffer to fill up.
        if self.receive.written != 0 {
            self.receive.give_back(memory, queue)?;
        }
        Ok(work)
    }
}

impl<B: ConsoleBackend> VirtioDevice for Console<B> {
    fn identity(&self) -> Identity {
        Identity {
            device: DEVICE,
            class: 0x0700,
            features: EMERG_WRITE,
            queues: 2,
            config_size: CONFIG_SIZE,
            legacy: Legacy::default(),
        }
    }

    fn read_config(&self, _offset: u32) -> u8 {
        0
    }

    fn write_config(&mut self, offset: u32, value: u32) {
        if offset != EMERGENCY {
            return;
        }
        self.not_quiet();
        let byte = value as u8;
        if self
            .flush_emergency()
            .and_then(|()| self.backend.write(byte))
            .is_err()
        {
            // A full backlog loses the byte; see its size.
            let _ = self.emergency.push_back(byte);
        }
    }

    fn flush_console(&mut self) -> Result<(), Full> {
        self.flush_emergency()
    }

    fn console_read(&mut self) -> Option<u8> {
        self.backend.read()
    }

    fn driver_ready(&mut self, _features: u64) {}

    fn reset(&mut self) {
        self.receive = Stream::default();
        self.transmit = Stream::default();
        self.quiet = 0;
    }

    fn notify(&mut self, queue: u16) {
        self.not_quiet();
        match queue {
            RECEIVE => self.receive.stocked = true,
            TRANSMIT => self.transmit.stocked = true,
            _ => {}
        }
    }

    fn poll(&mut self, memory: &impl GuestMemory, queues: &mut [Queue]) -> Result<Work, Violation> {
        let [receive, transmit, ..] = queues else {
            return Ok(Work::Done);
        };
        let sent = match self.flush_emergency() {
            Ok(()) => self.transmit(memory, transmit)?,
            Err(Full) => Work::Done,
        };
        Ok(sent.and(self.receive(memory, receive)?))
    }
}
