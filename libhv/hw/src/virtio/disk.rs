//! A disk behind virtio-blk (virtio 1.0, 5.2).

use super::Trouble;
use super::device::{Device, Place, Queue};
use super::dma::{self, Memory};
use crate::host_paging::PageTables;
use core::fmt;
use core::ptr::NonNull;
use hv_core::address::PAGE_SIZE;
use hv_core::device::backend::{
    Completion, Disk as Backend, Full, MediumError, Operation, SECTOR, SERIAL, Writing,
};
use hv_core::frames::FrameAllocator;

/// VIRTIO_BLK_F_SIZE_MAX: the configuration says how long a segment may be.
const SIZE_MAX: u64 = 1 << 1;
/// VIRTIO_BLK_F_RO: writes fail.
const READ_ONLY: u64 = 1 << 5;
/// VIRTIO_BLK_F_FLUSH: writes may be lost until flushed. Without it, they are safe when they end.
const FLUSH: u64 = 1 << 9;

/// Offsets in the configuration.
const CAPACITY: usize = 0;
const SEGMENT_SIZE: usize = 8;

const QUEUE: u16 = 0;
/// Descriptors of the queue: the fewest that devices of the field have is 128. A transfer takes three.
const QUEUE_SIZE: usize = 64;
/// Transfers under way.
const BUFFERS: usize = 16;
/// Bytes of a buffer. A guest's sequential reads come in requests of up to 128 KiB.
const BUFFER: usize = 64 << 10;

/// What the device is to do (virtio 1.0, 5.2.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
enum Kind {
    Read = 0,
    Write = 1,
    Flush = 4,
    Serial = 8,
}

/// Status byte of a request that went well.
const OK: u8 = 0;
/// One that no device writes.
const UNANSWERED: u8 = 0xff;

/// The parts of a request that are not data, for the device to read and to write.
#[repr(C)]
struct Envelope {
    kind: u32,
    reserved: u32,
    sector: u64,
    status: u8,
}

/// Bytes that the device reads of an envelope.
const HEADER: usize = core::mem::offset_of!(Envelope, status);

/// Where a buffer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// With its user.
    Idle,
    /// With the device.
    Started { kind: Kind, bytes: usize },
    /// Back, without having been with the device.
    Ended(Result<(), MediumError>),
}

/// A virtio disk.
pub struct Disk {
    device: Device,
    queue: Queue<QUEUE_SIZE>,
    sectors: u64,
    buffer_size: usize,
    serial: [u8; SERIAL],
    data: Memory,
    envelopes: Memory,
    states: [State; BUFFERS],
    /// The buffer that a token of the queue stands for.
    owners: [usize; QUEUE_SIZE],
}

impl Disk {
    pub(super) fn open(
        place: Place<'_>,
        frames: &mut FrameAllocator,
        tables: &mut PageTables,
    ) -> Result<Self, Trouble> {
        let mut device = Device::open(place, SIZE_MAX | READ_ONLY | FLUSH, frames, tables)?;
        let sectors = device.configuration_u64(CAPACITY)?;
        let mut buffer_size = BUFFER;
        if device.offers(SIZE_MAX) {
            let most = device.configuration(SEGMENT_SIZE)?;
            buffer_size = buffer_size.min(most as usize & !(SECTOR as usize - 1));
            if buffer_size < PAGE_SIZE as usize {
                return Err(Trouble::SmallSegments(most));
            }
        }
        let queue = device.queue(QUEUE, frames)?;
        let data = dma::take(frames, BUFFERS * BUFFER)?;
        let envelopes = dma::take(frames, BUFFERS * size_of::<Envelope>())?;
        device.start();
        let mut disk = Self {
            device,
            queue,
            sectors,
            buffer_size,
            serial: [0; SERIAL],
            data,
            envelopes,
            states: [State::Idle; BUFFERS],
            owners: [0; QUEUE_SIZE],
        };
        disk.read_serial()?;
        Ok(disk)
    }

    /// A disk without a serial number says so by failing the request.
    fn read_serial(&mut self) -> Result<(), Trouble> {
        const BUFFER: usize = 0;
        // The queue is empty: there is room.
        let _ = self.submit(BUFFER, Kind::Serial, 0, SERIAL);
        for _ in 0..super::device::POLLS {
            if let Some(Completion { result, .. }) = self.completed() {
                if result.is_ok() {
                    let serial = self.buffer(BUFFER).first_chunk();
                    self.serial = serial.copied().unwrap_or_default();
                }
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(Trouble::Silent)
    }

    fn envelope(&self, buffer: usize) -> NonNull<Envelope> {
        let size = size_of::<Envelope>();
        self.envelopes.at(buffer * size, size).cast()
    }

    fn submit(&mut self, buffer: usize, kind: Kind, sector: u64, bytes: usize) -> Result<(), Full> {
        // SAFETY: the envelope is ours while its buffer is not with the device.
        unsafe {
            self.envelope(buffer).write(Envelope {
                kind: kind as u32,
                reserved: 0,
                sector,
                status: UNANSWERED,
            });
        }
        let mut chain = self.chain(buffer, kind, bytes);
        // SAFETY: the parts are in frames of ours, and the state keeps everybody from them until the
        // device is done.
        let token = unsafe { chain.with(|readable, writable| self.queue.add(readable, writable)) };
        let token = token.ok_or(Full)?;
        self.owners[usize::from(token)] = buffer;
        self.states[buffer] = State::Started { kind, bytes };
        self.device.kick(&self.queue);
        Ok(())
    }

    /// The parts of a request, the same when it is added and when it is popped.
    fn chain(&self, buffer: usize, kind: Kind, bytes: usize) -> Chain {
        let envelope = self.envelope(buffer);
        Chain {
            kind,
            header: NonNull::slice_from_raw_parts(envelope.cast(), HEADER),
            data: NonNull::slice_from_raw_parts(self.data.at(buffer * BUFFER, BUFFER), bytes),
            // SAFETY: the byte behind the header, inside the envelope.
            status: unsafe { envelope.cast().byte_add(HEADER) },
        }
    }
}

/// The parts of one request.
struct Chain {
    kind: Kind,
    header: NonNull<[u8]>,
    data: NonNull<[u8]>,
    status: NonNull<[u8; 1]>,
}

impl Chain {
    /// Calls `queue` with the parts that the device reads and those that it writes.
    ///
    /// # Safety
    /// Nobody else uses the parts meanwhile.
    unsafe fn with<T>(
        &mut self,
        queue: impl for<'a> FnOnce(&'a [&'a [u8]], &'a mut [&'a mut [u8]]) -> T,
    ) -> T {
        // SAFETY: the caller's promise.
        let (header, status) = unsafe { (self.header.as_ref(), self.status.as_mut()) };
        // SAFETY: as above; `data` is of no length for a flush and not used then.
        let data = unsafe { self.data.as_mut() };
        match self.kind {
            Kind::Read | Kind::Serial => queue(&[header], &mut [data, status]),
            Kind::Write => queue(&[header, data], &mut [status]),
            Kind::Flush => queue(&[header], &mut [status]),
        }
    }
}

impl Backend for Disk {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn writing(&self) -> Writing {
        if self.device.offers(READ_ONLY) {
            Writing::Refused
        } else {
            Writing::Allowed
        }
    }

    fn serial(&self) -> [u8; SERIAL] {
        self.serial
    }

    fn buffers(&self) -> usize {
        BUFFERS
    }

    fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        match self.states.get(buffer) {
            Some(State::Idle) => {
                let start = self.data.at(buffer * BUFFER, self.buffer_size);
                // SAFETY: frames of ours, initialised, and not with the device; the borrow of `self`
                // keeps them from it.
                unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), self.buffer_size) }
            }
            _ => &mut [],
        }
    }

    fn start(&mut self, buffer: usize, operation: Operation) -> Result<(), Full> {
        if self.states.get(buffer) != Some(&State::Idle) {
            return Err(Full);
        }
        let (kind, sector, bytes) = match operation {
            Operation::Read { sector, bytes } => (Kind::Read, sector, bytes as usize),
            Operation::Write { sector, bytes } => (Kind::Write, sector, bytes as usize),
            Operation::Flush if self.device.offers(FLUSH) => (Kind::Flush, 0, 0),
            Operation::Flush => {
                self.states[buffer] = State::Ended(Ok(()));
                return Ok(());
            }
        };
        let whole = bytes.is_multiple_of(SECTOR as usize) && bytes <= self.buffer_size;
        if !whole || (bytes == 0) != (kind == Kind::Flush) {
            self.states[buffer] = State::Ended(Err(MediumError));
            return Ok(());
        }
        self.submit(buffer, kind, sector, bytes)
    }

    fn completed(&mut self) -> Option<Completion> {
        for (buffer, state) in self.states.iter_mut().enumerate() {
            if let State::Ended(result) = *state {
                *state = State::Idle;
                return Some(Completion { buffer, result });
            }
        }
        let token = self.queue.used()?;
        let buffer = *self.owners.get(usize::from(token))?;
        let State::Started { kind, bytes } = self.states[buffer] else {
            return None;
        };
        let mut chain = self.chain(buffer, kind, bytes);
        // SAFETY: the parts that `submit` added; the device is done with them.
        unsafe { chain.with(|readable, writable| self.queue.pop(token, readable, writable)) }?;
        self.states[buffer] = State::Idle;
        // SAFETY: the envelope is ours again. Volatile: the device wrote it.
        let status = unsafe { chain.status.read_volatile() };
        let result = if status == [OK] {
            Ok(())
        } else {
            Err(MediumError)
        };
        Some(Completion { buffer, result })
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("sectors", &self.sectors)
            .field("states", &self.states)
            .finish_non_exhaustive()
    }
}
