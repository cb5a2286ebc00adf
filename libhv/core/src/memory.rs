//! Guest memory, as the host may touch it: by copy, checked, never by reference.

use crate::address::{Gfn, Gpa, Hpa};
use crate::kill::Kill;
use hv_abi::lguest::DeviceBus;

/// What the host wanted to do with guest memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Copy out of guest memory.
    Read,
    /// Copy into guest memory.
    Write,
}

/// An access of the host to guest-physical memory that does not lie wholly inside RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadAddress {
    /// First byte of the access.
    pub at: Gpa,
    /// Bytes wanted.
    pub length: usize,
    /// Direction.
    pub access: Access,
}

impl From<BadAddress> for Kill {
    fn from(bad: BadAddress) -> Self {
        Kill::BadAddress(bad)
    }
}

/// Guest memory: RAM from guest-physical 0 up to [`GuestMemory::ram_frames`], and above it what the guest's
/// bus has there: pages that it shares with its devices, or registers.
///
/// The guest runs between any two of our instructions as far as the contents are concerned: read a
/// value once, into a copy, and decide on the copy. Methods take `&self`; an implementation is a
/// window on memory that others write too, not an owner of bytes. Multi-byte accessors are
/// single-copy atomic when aligned and may tear when not.
pub trait GuestMemory {
    /// The first frame past the RAM that the guest is told of.
    fn ram_frames(&self) -> Gfn {
        self.frames()
    }

    /// The first frame that the guest does not have: past RAM and the pages that it shares with its devices. These
    /// are memory like any other.
    fn frames(&self) -> Gfn;

    /// The first frame that is neither memory nor reserved for registers of devices, which lie above
    /// RAM. They are never mapped: every access to them traps.
    fn device_limit(&self) -> Gfn {
        self.frames()
    }

    /// What lies above RAM is what `bus` has there, from now on.
    fn choose_bus(&mut self, _bus: DeviceBus) {}

    /// Copies `into.len()` bytes out of guest memory. On error nothing is copied.
    fn read(&self, at: Gpa, into: &mut [u8]) -> Result<(), BadAddress>;

    /// Copies `from` into guest memory. On error nothing is written.
    fn write(&self, at: Gpa, from: &[u8]) -> Result<(), BadAddress>;

    /// Reads a byte.
    fn read_u8(&self, at: Gpa) -> Result<u8, BadAddress> {
        let mut byte = [0];
        self.read(at, &mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }

    /// Reads a 32-bit word at any alignment.
    fn read_u32(&self, at: Gpa) -> Result<u32, BadAddress>;

    /// Reads 32-bit words one after the other, at any alignment. On error nothing is read.
    fn read_words(&self, at: Gpa, words: &mut [u32]) -> Result<(), BadAddress> {
        self.check_words(at, words, Access::Read)?;
        let mut place = at;
        for word in words {
            *word = self.read_u32(place)?;
            place = place.wrapping_add(4);
        }
        Ok(())
    }

    /// Writes a 32-bit word at any alignment.
    fn write_u32(&self, at: Gpa, value: u32) -> Result<(), BadAddress>;

    /// Writes 32-bit words one after the other, at any alignment. On error nothing is written.
    fn write_words(&self, at: Gpa, words: &[u32]) -> Result<(), BadAddress> {
        self.check_words(at, words, Access::Write)?;
        let mut place = at;
        for word in words {
            self.write_u32(place, *word)?;
            place = place.wrapping_add(4);
        }
        Ok(())
    }

    /// Atomically replaces the aligned word at `at` if it still holds `current`. `Ok(false)`: it
    /// did not, and nothing was written. `at` is rounded down to a multiple of four.
    fn compare_exchange_u32(&self, at: Gpa, current: u32, new: u32) -> Result<bool, BadAddress>;

    /// Reads a 64-bit word at any alignment.
    fn read_u64(&self, at: Gpa) -> Result<u64, BadAddress>;

    /// Atomically replaces the aligned word at `at` if it still holds `current`. `Ok(false)`: it
    /// did not, and nothing was written. `at` is rounded down to a multiple of eight.
    fn compare_exchange_u64(&self, at: Gpa, current: u64, new: u64) -> Result<bool, BadAddress>;

    /// Whether the guest has the memory for so many words; if not, what is wrong with the access.
    fn check_words(&self, at: Gpa, words: &[u32], access: Access) -> Result<(), BadAddress> {
        let length = words.len().saturating_mul(4);
        match self.contains(at, length as u64) {
            true => Ok(()),
            false => Err(BadAddress { at, length, access }),
        }
    }

    /// The host frame behind a frame of the guest's, or `None` when it has no such frame.
    fn host_frame(&self, gfn: Gfn) -> Option<Hpa>;

    /// Whether the guest has all of the `length` bytes from `at`.
    fn contains(&self, at: Gpa, length: u64) -> bool {
        match at.raw().checked_add(length) {
            Some(end) => end <= self.frames().start().raw(),
            None => false,
        }
    }
}
