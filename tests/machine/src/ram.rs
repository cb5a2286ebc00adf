//! Guest RAM.

use hv_core::address::{Gfn, Gpa, Hpa};
use hv_core::memory::{Access as Direction, BadAddress, GuestMemory};
use std::cell::Cell;

/// Where the fake machine's guest RAM begins; far from the tables, so that a mix-up shows.
pub const RAM_BASE: u64 = 0x10_0000_0000;
const WORDS: usize = 1024;

/// Guest RAM as words.
pub struct Ram {
    pub(crate) words: Vec<Cell<u32>>,
}

impl Ram {
    /// `frames` frames of zeroes.
    pub fn new(frames: usize) -> Self {
        Self {
            words: vec![Cell::new(0); frames * WORDS],
        }
    }

    fn word(&self, at: Gpa, access: Direction) -> Result<&Cell<u32>, BadAddress> {
        let bad = BadAddress {
            at,
            length: 4,
            access,
        };
        self.words
            .get((at.raw() / 4) as usize)
            .filter(|_| at.raw().is_multiple_of(4))
            .ok_or(bad)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.words.len() as u64 * 4
    }

    /// Fills `length` bytes with a word.
    pub fn fill(&self, at: u64, length: u64, value: u32) {
        let words = (at / 4) as usize..((at + length) / 4) as usize;
        self.words[words].iter().for_each(|word| word.set(value));
    }

    /// Whether `length` bytes are full of a word.
    pub fn is_full_of(&self, at: u64, length: u64, value: u32) -> bool {
        let words = (at / 4) as usize..((at + length) / 4) as usize;
        self.words[words].iter().all(|word| word.get() == value)
    }
}

impl GuestMemory for Ram {
    fn frames(&self) -> Gfn {
        Gfn::new((self.words.len() / WORDS) as u64)
    }

    fn read(&self, at: Gpa, into: &mut [u8]) -> Result<(), BadAddress> {
        for (at, bytes) in (at.raw()..).step_by(4).zip(into.chunks_mut(4)) {
            bytes.copy_from_slice(&self.read_u32(Gpa::new(at))?.to_le_bytes()[..bytes.len()]);
        }
        Ok(())
    }

    fn write(&self, at: Gpa, from: &[u8]) -> Result<(), BadAddress> {
        for (at, bytes) in (at.raw()..).step_by(4).zip(from.chunks_exact(4)) {
            self.write_u32(Gpa::new(at), u32::from_le_bytes(bytes.try_into().unwrap()))?;
        }
        Ok(())
    }

    fn read_u32(&self, at: Gpa) -> Result<u32, BadAddress> {
        Ok(self.word(at, Direction::Read)?.get())
    }

    fn write_u32(&self, at: Gpa, value: u32) -> Result<(), BadAddress> {
        self.word(at, Direction::Write)?.set(value);
        Ok(())
    }

    fn compare_exchange_u32(&self, at: Gpa, current: u32, new: u32) -> Result<bool, BadAddress> {
        let word = self.word(at, Direction::Write)?;
        let matches = word.get() == current;
        if matches {
            word.set(new);
        }
        Ok(matches)
    }

    fn read_u64(&self, at: Gpa) -> Result<u64, BadAddress> {
        let high = self.read_u32(at.wrapping_add(4))?;
        Ok(u64::from(high) << 32 | u64::from(self.read_u32(at)?))
    }

    fn compare_exchange_u64(&self, at: Gpa, current: u64, new: u64) -> Result<bool, BadAddress> {
        let matches = self.read_u64(at)? == current;
        if matches {
            self.write_u32(at, new as u32)?;
            self.write_u32(at.wrapping_add(4), (new >> 32) as u32)?;
        }
        Ok(matches)
    }

    fn host_frame(&self, gfn: Gfn) -> Option<Hpa> {
        (gfn < self.frames()).then(|| Hpa::new(RAM_BASE + (gfn.raw() << 12)))
    }
}
