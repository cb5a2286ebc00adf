//! NOTIFY: a G2 to G4 guest has something for a device, or a text for the console, which is whatever no device claims.

use super::Lguest;
use crate::address::Gpa;
use crate::device::{Devices, Work};
use crate::kill::Kill;
use crate::memory::{Access, BadAddress, GuestMemory};
use crate::personality::Mmu;

/// Bytes of one text that are printed. Guests send 16 at a time; a text without an end must not keep the
/// host for longer.
const LONGEST_TEXT: u64 = 1024;
/// Bytes copied at a time.
const CHUNK: usize = 64;

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// Tells the device with the address `at` (LG-165, LG-166), or prints the text there, up to its NUL or the end of RAM
    /// (LG-167). 0 stands for nothing.
    #[inline(never)]
    pub(super) fn notify(&mut self, at: u32) -> Result<(), Kill> {
        if at == 0 {
            return Ok(());
        }
        let start = Gpa::from(at);
        if let Some(work) = self.devices.notify(&self.memory, start) {
            self.interrupts.note_work(work);
            return Ok(());
        }
        let ram = self.memory.ram_frames().start().raw();
        if start.raw() >= ram {
            return Err(BadAddress {
                at: start,
                length: 1,
                access: Access::Read,
            }
            .into());
        }
        let end = ram.min(start.raw().saturating_add(LONGEST_TEXT));
        let mut place = start;
        loop {
            let rest = end.saturating_sub(place.raw());
            let mut chunk = [0; CHUNK];
            let length = rest.min(CHUNK as u64) as usize;
            let chunk = chunk.get_mut(..length).unwrap_or_default();
            self.memory.read(place, chunk)?;
            let text = chunk.split(|&byte| byte == 0).next().unwrap_or_default();
            self.devices.console_write(text);
            // A slow far end takes the rest later.
            self.interrupts.note_work(Work::More);
            place = place.wrapping_add(length as u64);
            if text.len() < length || place.raw() >= end {
                return Ok(());
            }
        }
    }
}
