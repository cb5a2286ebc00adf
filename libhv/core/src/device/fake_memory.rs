//! Guest RAM for unit tests: a vector that counts what is done to it.

use crate::address::{Gfn, Gpa, Hpa, PAGE_SHIFT};
use crate::memory::{Access, BadAddress, GuestMemory};
use std::cell::{Cell, RefCell};

/// Zeroed RAM from guest-physical 0.
pub(crate) struct FakeMemory {
    bytes: RefCell<Vec<u8>>,
    /// Bytes at the end that are not RAM, but shared with devices.
    shared: usize,
    accesses: Cell<usize>,
    refused: Cell<usize>,
}

impl FakeMemory {
    pub(crate) fn with_bytes(size: usize) -> Self {
        Self::with_shared(size, 0)
    }

    pub(crate) fn with_shared(ram: usize, shared: usize) -> Self {
        Self {
            bytes: RefCell::new(vec![0; ram + shared]),
            shared,
            accesses: Cell::new(0),
            refused: Cell::new(0),
        }
    }

    /// Accesses since the last call: the measure of bounded work.
    pub(crate) fn take_accesses(&self) -> usize {
        self.accesses.replace(0)
    }

    /// Accesses that lay outside RAM, ever.
    pub(crate) fn refused(&self) -> usize {
        self.refused.get()
    }

    pub(crate) fn bytes_at(&self, at: u64, length: usize) -> Vec<u8> {
        let at = at as usize;
        self.bytes.borrow()[at..at + length].to_vec()
    }

    pub(crate) fn u16_at(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.bytes_at(at, 2).try_into().unwrap())
    }

    pub(crate) fn u32_at(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.bytes_at(at, 4).try_into().unwrap())
    }

    pub(crate) fn u64_at(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.bytes_at(at, 8).try_into().unwrap())
    }

    pub(crate) fn put(&self, at: u64, from: &[u8]) {
        let at = at as usize;
        self.bytes.borrow_mut()[at..at + from.len()].copy_from_slice(from);
    }

    fn checked(&self, at: Gpa, length: usize, access: Access) -> Result<usize, BadAddress> {
        self.accesses.set(self.accesses.get() + 1);
        if self.contains(at, length as u64) {
            Ok(at.raw() as usize)
        } else {
            self.refused.set(self.refused.get() + 1);
            Err(BadAddress { at, length, access })
        }
    }
}

impl GuestMemory for FakeMemory {
    fn ram_frames(&self) -> Gfn {
        let bytes = self.bytes.borrow().len() - self.shared;
        Gfn::new((bytes >> PAGE_SHIFT) as u64)
    }

    fn frames(&self) -> Gfn {
        Gfn::new((self.bytes.borrow().len() >> PAGE_SHIFT) as u64)
    }

    fn read(&self, at: Gpa, into: &mut [u8]) -> Result<(), BadAddress> {
        let start = self.checked(at, into.len(), Access::Read)?;
        into.copy_from_slice(&self.bytes.borrow()[start..start + into.len()]);
        Ok(())
    }

    fn write(&self, at: Gpa, from: &[u8]) -> Result<(), BadAddress> {
        let start = self.checked(at, from.len(), Access::Write)?;
        self.bytes.borrow_mut()[start..start + from.len()].copy_from_slice(from);
        Ok(())
    }

    fn read_u32(&self, at: Gpa) -> Result<u32, BadAddress> {
        let mut word = [0; 4];
        self.read(at, &mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    fn write_u32(&self, at: Gpa, value: u32) -> Result<(), BadAddress> {
        self.write(at, &value.to_le_bytes())
    }

    fn compare_exchange_u32(&self, at: Gpa, current: u32, new: u32) -> Result<bool, BadAddress> {
        let at = Gpa::new(at.raw() & !3);
        if self.read_u32(at)? != current {
            return Ok(false);
        }
        self.write_u32(at, new)?;
        Ok(true)
    }

    fn read_u64(&self, at: Gpa) -> Result<u64, BadAddress> {
        let mut word = [0; 8];
        self.read(at, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    fn compare_exchange_u64(&self, at: Gpa, current: u64, new: u64) -> Result<bool, BadAddress> {
        let at = Gpa::new(at.raw() & !7);
        if self.read_u64(at)? != current {
            return Ok(false);
        }
        self.write(at, &new.to_le_bytes())?;
        Ok(true)
    }

    fn host_frame(&self, gfn: Gfn) -> Option<Hpa> {
        (gfn < self.frames()).then(|| Hpa::new(gfn.start().raw()))
    }
}
