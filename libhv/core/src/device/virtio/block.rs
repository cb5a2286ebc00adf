//! The block device (virtio 1.0, section 5.2).
//!
//! A request is taken apart once, into a list of segments. Its data then crosses in pieces, through a
//! buffer of the host's that belongs to the request from its first piece to its last; so as many
//! requests are under way as the disk has buffers. Nothing of a request that does not lie wholly on the
//! disk is carried out.

use super::chain::{Buffer, Chain, Direction};
use super::queue::Queue;
use super::{Identity, Legacy, Violation, VirtioDevice};
use crate::address::Gpa;
use crate::device::Work;
use crate::device::backend::{Completion, Disk, Full, Operation, SECTOR, SERIAL, Writing};
use crate::memory::GuestMemory;
use heapless::Vec;

/// Virtio's number for disks.
pub const DEVICE: u16 = 2;

/// Feature bits (5.2.3).
mod feature {
    pub use crate::device::virtio::registers::feature::INDIRECT_DESC;
    pub const SEG_MAX: u64 = 1 << 2;
    pub const RO: u64 = 1 << 5;
    pub const FLUSH: u64 = 1 << 9;
}

/// Request types (5.2.6).
mod kind {
    pub const IN: u32 = 0;
    pub const OUT: u32 = 1;
    pub const FLUSH: u32 = 4;
    pub const GET_ID: u32 = 8;
}

/// The last byte of a request: how it went (5.2.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// `struct virtio_blk_config` up to the topology (5.2.4).
const CONFIG_SIZE: u32 = 36;
/// Capacity and limits.
const LEGACY_CONFIG_SIZE: u8 = 16;
/// Type, reserved and sector.
const HEADER: usize = 16;
/// Data segments of one request, with the header and the answer apart.
pub const SEGMENTS: usize = 126;
/// Requests under way, if the disk has as many buffers.
pub const REQUESTS: usize = 16;
/// Bytes that one poll copies before it leaves the rest to the next: the measure of a long exit.
const BYTES_A_POLL: u32 = 256 << 10;
/// Times that one poll fills free buffers, for disks that are done at once.
const ROUNDS_A_POLL: u32 = 4;
/// Requests that one round takes from the queue: those that need no buffer are not bounded by buffers.
const REQUESTS_A_ROUND: u32 = 16;

/// A piece of a request's data in guest RAM, which ends below 4 GiB.
#[derive(Clone, Copy, Debug)]
struct Segment {
    at: u32,
    length: u32,
}

impl Segment {
    fn of(buffer: Buffer) -> Self {
        Self {
            at: buffer.at.raw() as u32,
            length: buffer.length,
        }
    }

    fn gpa(self) -> Gpa {
        Gpa::from(self.at)
    }

    fn advance(&mut self, bytes: u32) {
        self.at = self.at.wrapping_add(bytes);
        self.length = self.length.saturating_sub(bytes);
    }
}

/// What a request does with the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Read,
    Write,
    Flush,
}

/// When a write is done (5.2.6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cache {
    /// When the disk has it. The driver asks for flushes.
    WriteBack,
    /// When it would survive a loss of power: the driver knows of no flushes.
    WriteThrough,
}

/// How far a request has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// Its next piece is to be prepared.
    Idle,
    /// Its next piece is in the buffer, and the disk was full.
    Prepared(Operation),
    /// The disk has it.
    UnderWay(Operation),
}

/// A request that goes to the disk.
#[derive(Debug)]
struct Request {
    chain: Chain,
    action: Action,
    segments: Vec<Segment, SEGMENTS>,
    /// The first segment with bytes left.
    segment: usize,
    /// Next sector.
    sector: u64,
    /// Bytes that have not been started yet.
    left: u32,
    /// Bytes written into guest memory.
    written: u32,
    answer: Gpa,
    progress: Progress,
}

/// One of the disk's buffers.
#[derive(Debug, Default)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are few, they live as long as the device, and there is no heap"
)]
enum Slot {
    #[default]
    Free,
    Used(Request),
    /// The guest has reset the device; the disk still has the buffer.
    Abandoned,
}

/// A request as the driver wrote it.
struct Parsed {
    kind: u32,
    sector: u64,
    /// Bytes that the device reads after the header, or those that it may write.
    segments: Vec<Segment, SEGMENTS>,
    answer: Gpa,
}

/// The block device's model.
#[derive(Debug)]
pub struct Block<D> {
    disk: D,
    writing: Writing,
    cache: Cache,
    sectors: u64,
    slots: [Slot; REQUESTS],
    /// Whether the queue may hold chains that nobody has looked at.
    stocked: bool,
}

impl<D: Disk> Block<D> {
    /// A device in front of `disk`. Writes fail if either that or `writing` refuses them.
    pub fn new(disk: D, writing: Writing) -> Self {
        let writing = match disk.writing() {
            Writing::Allowed => writing,
            Writing::Refused => Writing::Refused,
        };
        Self {
            sectors: disk.sectors(),
            disk,
            writing,
            cache: Cache::WriteBack,
            slots: Default::default(),
            stocked: false,
        }
    }

    fn config(&self) -> [u8; CONFIG_SIZE as usize] {
        let mut config = [0; CONFIG_SIZE as usize];
        let fields: [(usize, &[u8]); 2] = [
            (0, &self.sectors.to_le_bytes()),
            (12, &(SEGMENTS as u32).to_le_bytes()),
        ];
        for (offset, bytes) in fields {
            let field = config.iter_mut().skip(offset);
            field.zip(bytes).for_each(|(to, from)| *to = *from);
        }
        config
    }

    /// Takes ended transfers from the disk.
    fn complete(
        &mut self,
        memory: &impl GuestMemory,
        queue: &mut Queue,
        budget: &mut u32,
    ) -> Result<(), Violation> {
        while *budget != 0 {
            let Some(Completion { buffer, result }) = self.disk.completed() else {
                break;
            };
            let Some(slot) = self.slots.get_mut(buffer) else {
                continue;
            };
            match core::mem::take(slot) {
                Slot::Free | Slot::Abandoned => {}
                Slot::Used(mut request) => {
                    let Progress::UnderWay(operation) = request.progress else {
                        *slot = Slot::Used(request);
                        continue;
                    };
                    request.progress = Progress::Idle;
                    if result.is_err() {
                        finish(memory, queue, request, Status::IoError)?;
                        continue;
                    }
                    if let Operation::Read { bytes, .. } = operation {
                        let from = self.disk.buffer(buffer).get(..bytes as usize);
                        scatter(memory, &mut request, from.unwrap_or_default())?;
                        *budget = budget.saturating_sub(bytes);
                    }
                    if request.left != 0 {
                        *slot = Slot::Used(request);
                    } else if request.action == Action::Write && self.cache == Cache::WriteThrough {
                        request.action = Action::Flush;
                        *slot = Slot::Used(request);
                    } else {
                        finish(memory, queue, request, Status::Ok)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Starts the next piece of every request that waits for that. `Full` when the disk takes no more.
    fn start_pieces(
        &mut self,
        memory: &impl GuestMemory,
        budget: &mut u32,
    ) -> Result<Result<(), Full>, Violation> {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Slot::Used(request) = slot else {
                continue;
            };
            let operation = match request.progress {
                Progress::UnderWay(_) => continue,
                Progress::Prepared(operation) => operation,
                Progress::Idle if *budget == 0 => continue,
                Progress::Idle => next_piece(memory, request, self.disk.buffer(index), budget)?,
            };
            request.progress = Progress::Prepared(operation);
            if self.disk.start(index, operation).is_err() {
                return Ok(Err(Full));
            }
            request.progress = Progress::UnderWay(operation);
        }
        Ok(Ok(()))
    }

    /// Takes requests from the queue while there are buffers for them.
    fn take_requests(
        &mut self,
        memory: &impl GuestMemory,
        queue: &mut Queue,
    ) -> Result<(), Violation> {
        let buffers = self.disk.buffers().min(REQUESTS);
        for _request in 0..REQUESTS_A_ROUND {
            let mut slots = self.slots.iter_mut().take(buffers);
            let free = slots.find(|slot| matches!(slot, Slot::Free));
            let Some(free) = free.filter(|_| self.stocked) else {
                break;
            };
            let Some(mut chain) = queue.pop(memory)? else {
                self.stocked = false;
                break;
            };
            let parsed = parse(memory, &mut chain)?;
            match plan(&parsed, self.sectors, self.writing) {
                Ok(Plan::Disk(action, bytes)) => {
                    *free = Slot::Used(Request {
                        chain,
                        action,
                        segments: parsed.segments,
                        segment: 0,
                        sector: parsed.sector,
                        left: bytes,
                        written: 0,
                        answer: parsed.answer,
                        progress: Progress::Idle,
                    });
                }
                Ok(Plan::Serial) => {
                    let written = write_serial(memory, &parsed, self.disk.serial())?;
                    answer(memory, queue, chain, parsed.answer, written, Status::Ok)?;
                }
                Ok(Plan::Nothing) => answer(memory, queue, chain, parsed.answer, 0, Status::Ok)?,
                Err(status) => answer(memory, queue, chain, parsed.answer, 0, status)?,
            }
        }
        Ok(())
    }

    /// What there is to do without an event: nothing, if all that is left is with the disk.
    fn left(&self, full: Result<(), Full>) -> Work {
        let under_way = |slot: &Slot| match slot {
            Slot::Used(request) => matches!(request.progress, Progress::UnderWay(_)),
            Slot::Abandoned => true,
            Slot::Free => false,
        };
        let idle = |slot: &Slot| matches!(slot, Slot::Used(_)) && !under_way(slot);
        let waits_for_disk = self.slots.iter().any(under_way);
        let buffers = self.disk.buffers().min(REQUESTS);
        let has_room = (self.slots.iter().take(buffers)).any(|slot| matches!(slot, Slot::Free));
        let could_start = self.slots.iter().any(idle) && (full.is_ok() || !waits_for_disk);
        if could_start || self.stocked && has_room {
            Work::More
        } else {
            Work::Done
        }
    }
}

/// What a request comes to.
enum Plan {
    /// So many bytes between guest and disk.
    Disk(Action, u32),
    Serial,
    Nothing,
}

/// Judges a request before anything of it is done.
fn plan(parsed: &Parsed, sectors: u64, writing: Writing) -> Result<Plan, Status> {
    let action = match parsed.kind {
        kind::IN => Action::Read,
        kind::OUT if writing == Writing::Refused => return Err(Status::IoError),
        kind::OUT => Action::Write,
        kind::FLUSH => return Ok(Plan::Disk(Action::Flush, 0)),
        kind::GET_ID => return Ok(Plan::Serial),
        _ => return Err(Status::Unsupported),
    };
    let lengths = parsed.segments.iter().map(|segment| segment.length);
    // The chain's buffers together have less than 4 GiB.
    let bytes = lengths.fold(0, u32::saturating_add);
    let end = parsed.sector.checked_add(u64::from(bytes / SECTOR));
    let inside = end.is_some_and(|end| end <= sectors);
    if !inside || !bytes.is_multiple_of(SECTOR) {
        return Err(Status::IoError);
    }
    Ok(match bytes {
        0 => Plan::Nothing,
        bytes => Plan::Disk(action, bytes),
    })
}

/// Walks a chain once: header, data, and the last writable byte for the answer. How the driver spreads
/// them over buffers is its own business (2.4.4).
fn parse(memory: &impl GuestMemory, chain: &mut Chain) -> Result<Parsed, Violation> {
    let mut header = [0; HEADER];
    let mut missing = header.as_mut_slice();
    let mut read_only = Vec::new();
    let mut writable: Vec<Segment, SEGMENTS> = Vec::new();
    let mut last: Option<Segment> = None;
    while let Some(mut buffer) = chain.next_buffer(memory)? {
        if buffer.direction == Direction::Readable {
            let length = missing.len().min(buffer.length as usize);
            let (now, later) = core::mem::take(&mut missing)
                .split_at_mut_checked(length)
                .ok_or(Violation::RequestTooShort)?;
            memory.read(buffer.at, now)?;
            missing = later;
            buffer.advance(length as u32);
            push(&mut read_only, Segment::of(buffer))?;
        } else if buffer.length != 0
            && let Some(before) = last.replace(Segment::of(buffer))
        {
            push(&mut writable, before)?;
        }
    }
    // The answer is the last byte of the last writable buffer.
    let (Some(mut last), true) = (last, missing.is_empty()) else {
        return Err(Violation::RequestTooShort);
    };
    last.length = last.length.saturating_sub(1);
    let answer = last.gpa().wrapping_add(last.length.into());
    push(&mut writable, last)?;

    // Type, reserved, sector: 32, 32 and 64 bits.
    let raw = u128::from_le_bytes(header);
    let kind = raw as u32;
    Ok(Parsed {
        kind,
        sector: (raw >> 64) as u64,
        segments: match kind {
            kind::OUT => read_only,
            _ => writable,
        },
        answer,
    })
}

fn push(segments: &mut Vec<Segment, SEGMENTS>, segment: Segment) -> Result<(), Violation> {
    if segment.length == 0 {
        return Ok(());
    }
    segments
        .push(segment)
        .map_err(|_| Violation::TooManySegments)
}

/// The next piece of a request; of a write, its bytes are put into the buffer.
fn next_piece(
    memory: &impl GuestMemory,
    request: &mut Request,
    buffer: &mut [u8],
    budget: &mut u32,
) -> Result<Operation, Violation> {
    let bytes = request.left.min(buffer.len() as u32);
    let sector = request.sector;
    request.left = request.left.saturating_sub(bytes);
    request.sector = sector.wrapping_add(u64::from(bytes / SECTOR));
    Ok(match request.action {
        Action::Flush => Operation::Flush,
        Action::Read => Operation::Read { sector, bytes },
        Action::Write => {
            let into = buffer.get_mut(..bytes as usize).unwrap_or_default();
            gather(memory, request, into)?;
            *budget = budget.saturating_sub(bytes);
            Operation::Write { sector, bytes }
        }
    })
}

/// Copies the request's next bytes out of guest memory.
fn gather(
    memory: &impl GuestMemory,
    request: &mut Request,
    mut into: &mut [u8],
) -> Result<(), Violation> {
    while !into.is_empty() {
        let Some(segment) = request.segments.get_mut(request.segment) else {
            break;
        };
        let length = into.len().min(segment.length as usize);
        let Some((now, later)) = into.split_at_mut_checked(length) else {
            break;
        };
        memory.read(segment.gpa(), now)?;
        segment.advance(length as u32);
        if segment.length == 0 {
            request.segment = request.segment.saturating_add(1);
        }
        into = later;
    }
    Ok(())
}

/// Copies the request's next bytes into guest memory.
fn scatter(
    memory: &impl GuestMemory,
    request: &mut Request,
    mut from: &[u8],
) -> Result<(), Violation> {
    while !from.is_empty() {
        let Some(segment) = request.segments.get_mut(request.segment) else {
            break;
        };
        let length = from.len().min(segment.length as usize);
        let Some((now, later)) = from.split_at_checked(length) else {
            break;
        };
        memory.write(segment.gpa(), now)?;
        request.written = request.written.saturating_add(length as u32);
        segment.advance(length as u32);
        if segment.length == 0 {
            request.segment = request.segment.saturating_add(1);
        }
        from = later;
    }
    Ok(())
}

fn write_serial(
    memory: &impl GuestMemory,
    parsed: &Parsed,
    serial: [u8; SERIAL],
) -> Result<u32, Violation> {
    let mut rest = serial.as_slice();
    for segment in &parsed.segments {
        let length = rest.len().min(segment.length as usize);
        let (now, later) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        memory.write(segment.gpa(), now)?;
        rest = later;
    }
    Ok((SERIAL as u32).saturating_sub(rest.len() as u32))
}

fn finish(
    memory: &impl GuestMemory,
    queue: &mut Queue,
    request: Request,
    status: Status,
) -> Result<(), Violation> {
    let Request {
        chain,
        answer: at,
        written,
        ..
    } = request;
    answer(memory, queue, chain, at, written, status)
}

/// Writes the status and gives the chain back.
fn answer(
    memory: &impl GuestMemory,
    queue: &mut Queue,
    chain: Chain,
    at: Gpa,
    written: u32,
    status: Status,
) -> Result<(), Violation> {
    memory.write(at, &[status as u8])?;
    queue.push(memory, chain, written.saturating_add(1))
}

impl<D: Disk> VirtioDevice for Block<D> {
    fn identity(&self) -> Identity {
        let read_only = match self.writing {
            Writing::Allowed => 0,
            Writing::Refused => feature::RO,
        };
        let features = feature::SEG_MAX | feature::FLUSH | feature::INDIRECT_DESC | read_only;
        Identity {
            device: DEVICE,
            class: 0x0180,
            features,
            queues: 1,
            config_size: CONFIG_SIZE,
            legacy: Legacy {
                features: features as u32,
                config_size: LEGACY_CONFIG_SIZE,
            },
        }
    }

    fn driver_ready(&mut self, features: u64) {
        self.cache = if features & feature::FLUSH != 0 {
            Cache::WriteBack
        } else {
            Cache::WriteThrough
        };
    }

    fn read_config(&self, offset: u32) -> u8 {
        let config = self.config();
        config.get(offset as usize).copied().unwrap_or_default()
    }

    fn write_config(&mut self, _offset: u32, _value: u32) {}

    fn reset(&mut self) {
        for slot in &mut self.slots {
            let under_way = match slot {
                Slot::Used(request) => matches!(request.progress, Progress::UnderWay(_)),
                Slot::Abandoned => true,
                Slot::Free => false,
            };
            *slot = if under_way {
                Slot::Abandoned
            } else {
                Slot::Free
            };
        }
        self.stocked = false;
    }

    fn notify(&mut self, _queue: u16) {
        self.stocked = true;
    }

    fn poll(&mut self, memory: &impl GuestMemory, queues: &mut [Queue]) -> Result<Work, Violation> {
        let Some(queue) = queues.first_mut() else {
            return Ok(Work::Done);
        };
        let mut budget = BYTES_A_POLL;
        self.complete(memory, queue, &mut budget)?;
        for _round in 0..ROUNDS_A_POLL {
            self.take_requests(memory, queue)?;
            let full = self.start_pieces(memory, &mut budget)?;
            // A disk in memory is done at once.
            self.complete(memory, queue, &mut budget)?;
            if budget != 0 && self.left(full) == Work::Done {
                return Ok(Work::Done);
            }
        }
        Ok(Work::More)
    }

    fn console_read(&mut self) -> Option<u8> {
        None
    }
}
