//! A disk in memory.

use super::backend::{Completion, Disk, Full, MediumError, Operation, SECTOR, SERIAL, Writing};

/// A disk whose sectors are the bytes of `B`. A last piece of less than a sector is not part of it. Every
/// transfer is over at once, and there is nothing to flush.
#[derive(Debug)]
pub struct RamDisk<B> {
    bytes: B,
    buffer: B,
    serial: [u8; SERIAL],
    completion: Option<Completion>,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> RamDisk<B> {
    /// A disk of `bytes`, with the buffer through which it is read and written: at least a page, and a
    /// whole number of sectors.
    pub fn new(bytes: B, buffer: B, serial: [u8; SERIAL]) -> Self {
        Self {
            bytes,
            buffer,
            serial,
            completion: None,
        }
    }

    /// The bytes of the disk from `sector` on, and as many of the buffer.
    fn spans(&mut self, sector: u64, bytes: u32) -> Option<(&mut [u8], &mut [u8])> {
        let start = usize::try_from(sector.checked_mul(SECTOR.into())?).ok()?;
        let end = start.checked_add(bytes as usize)?;
        let disk = self.bytes.as_mut().get_mut(start..end)?;
        let buffer = self.buffer.as_mut().get_mut(..bytes as usize)?;
        Some((disk, buffer))
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Disk for RamDisk<B> {
    fn sectors(&self) -> u64 {
        (self.bytes.as_ref().len() as u64)
            .checked_div(SECTOR.into())
            .unwrap_or(0)
    }

    fn writing(&self) -> Writing {
        Writing::Allowed
    }

    fn serial(&self) -> [u8; SERIAL] {
        self.serial
    }

    fn buffers(&self) -> usize {
        1
    }

    fn buffer(&mut self, buffer: usize) -> &mut [u8] {
        match buffer {
            0 => self.buffer.as_mut(),
            _ => &mut [],
        }
    }

    fn start(&mut self, buffer: usize, operation: Operation) -> Result<(), Full> {
        if self.completion.is_some() {
            return Err(Full);
        }
        let done = match operation {
            Operation::Read { sector, bytes } => self
                .spans(sector, bytes)
                .map(|(disk, buffer)| buffer.copy_from_slice(disk)),
            Operation::Write { sector, bytes } => self
                .spans(sector, bytes)
                .map(|(disk, buffer)| disk.copy_from_slice(buffer)),
            Operation::Flush => Some(()),
        };
        self.completion = Some(Completion {
            buffer,
            result: done.ok_or(MediumError),
        });
        Ok(())
    }

    fn completed(&mut self) -> Option<Completion> {
        self.completion.take()
    }
}
