//! Far ends of devices: what a disk, a network link or a source of randomness has to do.
//!
//! No call waits. A far end that has something new causes an interrupt of the host's, after which
//! every device is polled; so a far end need not say which device it belongs to. Data crosses in
//! buffers that belong to the host: a far end never sees guest memory, and nothing that the guest does
//! to its memory meanwhile is seen by a far end.

/// Bytes of a sector, the unit of a disk's addresses (virtio 1.0, 5.2.2).
pub const SECTOR: u32 = 512;
/// Bytes of a disk's serial number (virtio 1.0, 5.2.6).
pub const SERIAL: usize = 20;
/// Least size of a network frame's buffer: an Ethernet frame of the usual 1500 bytes with its header
/// and a VLAN tag, without checksum.
pub const FRAME: usize = 1518;

/// The far end did not take what it was given, and has kept nothing of it. When it may take it, it causes
/// an interrupt of the host's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Whether a disk can be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writing {
    /// It can.
    Allowed,
    /// Writes are refused before they reach it.
    Refused,
}

/// What a disk is asked to do with one of its buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Fill the buffer's first `bytes` from `sector` on.
    Read {
        /// First sector.
        sector: u64,
        /// A multiple of [`SECTOR`]; not 0.
        bytes: u32,
    },
    /// Store the buffer's first `bytes` from `sector` on.
    Write {
        /// First sector.
        sector: u64,
        /// A multiple of [`SECTOR`]; not 0.
        bytes: u32,
    },
    /// Make every write that has completed survive a loss of power. The buffer has no part in it.
    Flush,
}

/// The medium failed; what it holds where the transfer went is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediumError;

/// A transfer that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    /// The buffer that it was started with.
    pub buffer: usize,
    /// How it went.
    pub result: Result<(), MediumError>,
}

/// A disk with several transfers under way, each in a buffer of its own.
///
/// The device checks sectors against [`Disk::sectors`] and lengths against the buffers, and uses a
/// buffer for nothing else from [`Disk::start`] until its completion.
pub trait Disk {
    /// Capacity; does not change.
    fn sectors(&self) -> u64;
    /// Whether it can be written; does not change.
    fn writing(&self) -> Writing;
    /// Serial number, padded with NULs.
    fn serial(&self) -> [u8; SERIAL];
    /// Buffers, 1 or more; does not change. They are numbered from 0.
    fn buffers(&self) -> usize;
    /// The bytes of a buffer: the same number for all, a multiple of [`SECTOR`] and at least a page.
    /// Empty when there is no such buffer.
    fn buffer(&mut self, buffer: usize) -> &mut [u8];
    /// Starts a transfer.
    ///
    /// # Errors
    /// When the disk cannot take it now; after a completion it may.
    fn start(&mut self, buffer: usize, operation: Operation) -> Result<(), Full>;
    /// A transfer that has ended, each once, in any order.
    fn completed(&mut self) -> Option<Completion>;
}

impl<D: Disk + ?Sized> Disk for &mut D {
    fn sectors(&self) -> u64 {
        (**self).sectors()
    }

    fn writing(&self) -> Writing {
        (**self).writing()
    }

    fn serial(&self) -> [u8; SERIAL] {
        (**self).serial()
    }

    fn buffers(&self) -> usize {
        (**self).buffers()
    }

    fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        (**self).buffer(buffer)
    }

    fn start(&mut self, buffer: usize, operation: Operation) -> Result<(), Full> {
        (**self).start(buffer, operation)
    }

    fn completed(&mut self) -> Option<Completion> {
        (**self).completed()
    }
}

/// A network link that carries Ethernet frames, without their checksums.
pub trait Link {
    /// Address of the guest's end.
    fn mac(&self) -> [u8; 6];
    /// Sends a frame, or drops it as links do: of 14 bytes or more, and at most [`FRAME`].
    ///
    /// # Errors
    /// When there is no room now.
    fn send(&mut self, frame: &[u8]) -> Result<(), Full>;
    /// Copies the next frame that has arrived and returns its length. A frame that does not fit into
    /// `into` (of [`FRAME`] bytes at least) is dropped.
    fn receive(&mut self, into: &mut [u8]) -> Option<usize>;
}

impl<L: Link + ?Sized> Link for &mut L {
    fn mac(&self) -> [u8; 6] {
        (**self).mac()
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), Full> {
        (**self).send(frame)
    }

    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        (**self).receive(into)
    }
}

/// A source of random bytes.
pub trait Entropy {
    /// Fills a start of `bytes` and returns its length; 0 when there are none now.
    fn fill(&mut self, bytes: &mut [u8]) -> usize;
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, bytes: &mut [u8]) -> usize {
        (**self).fill(bytes)
    }
}
