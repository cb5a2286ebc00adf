//! Guest memory that costs little to clear: inputs come by the hundred thousand a second.

use hv_abi::lguest::DeviceBus;
use hv_core::address::{Gfn, Gpa, Hpa};
use hv_core::memory::{Access, BadAddress, GuestMemory};
use hv_machine::RAM_BASE;
use std::cell::{Cell, RefCell};

/// Frames that a memory can have.
pub const MAX_FRAMES: usize = 320;
const FRAME: usize = 4096;
const WORDS: usize = MAX_FRAMES.div_ceil(64);

thread_local! {
    /// Bytes, all zero, that no memory uses now.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// RAM, and frames above it that some buses share with their devices.
pub struct Memory {
    bytes: RefCell<Vec<u8>>,
    /// Frames that were written, one bit each: those to clear.
    dirty: Cell<[u64; WORDS]>,
    ram: u64,
    shared: u64,
    /// End of what a bus with registers has above RAM.
    registers_end: u64,
    frames: u64,
    device_limit: u64,
    accesses: Cell<usize>,
    refused: Cell<usize>,
}

impl Memory {
    /// `ram` frames of zeroes, and `shared` frames above.
    pub fn new(ram: u64, shared: u64) -> Self {
        assert!((ram + shared) as usize <= MAX_FRAMES);
        let mut bytes = SPARE.take();
        bytes.resize(MAX_FRAMES * FRAME, 0);
        Self {
            bytes: RefCell::new(bytes),
            dirty: Cell::default(),
            ram,
            shared,
            registers_end: ram,
            frames: ram,
            device_limit: ram,
            accesses: Cell::new(0),
            refused: Cell::new(0),
        }
    }

    /// Reserves what follows RAM up to `limit` for registers, where the bus has such.
    pub fn reserve_for_registers(&mut self, limit: Gfn) {
        self.registers_end = limit.raw();
    }

    /// Accesses since the last call: the measure of bounded work.
    pub fn take_accesses(&self) -> usize {
        self.accesses.replace(0)
    }

    /// Accesses that lay outside memory, ever.
    pub fn refused(&self) -> usize {
        self.refused.get()
    }

    /// Writes, as the guest does: what is not memory is lost.
    pub fn put(&self, at: u64, from: &[u8]) {
        let (accesses, refused) = (self.accesses.get(), self.refused.get());
        let _ = self.write(Gpa::new(at), from);
        self.accesses.set(accesses);
        self.refused.set(refused);
    }

    /// Writes a word likewise.
    pub fn put_word(&self, at: u64, word: u32) {
        self.put(at, &word.to_le_bytes());
    }

    /// Reads a little-endian number of 16 bits, as the guest does; 0 where nothing is.
    pub fn half_at(&self, at: u64) -> u16 {
        let mut half = [0; 2];
        let (accesses, refused) = (self.accesses.get(), self.refused.get());
        let _ = self.read(Gpa::new(at), &mut half);
        self.accesses.set(accesses);
        self.refused.set(refused);
        u16::from_le_bytes(half)
    }

    fn start(&self, at: Gpa, length: usize, access: Access) -> Result<usize, BadAddress> {
        self.accesses.set(self.accesses.get() + 1);
        if self.contains(at, length as u64) {
            Ok(at.raw() as usize)
        } else {
            self.refused.set(self.refused.get() + 1);
            Err(BadAddress { at, length, access })
        }
    }

    fn get<const N: usize>(&self, at: Gpa) -> Result<[u8; N], BadAddress> {
        let start = self.start(at, N, Access::Read)?;
        let bytes = self.bytes.borrow();
        Ok(*bytes[start..]
            .first_chunk()
            .expect("memory goes on to its end"))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut bytes = self.bytes.take();
        for (word, mut dirty) in self.dirty.get().into_iter().enumerate() {
            while dirty != 0 {
                let frame = word * 64 + dirty.trailing_zeros() as usize;
                bytes[frame * FRAME..][..FRAME].fill(0);
                dirty &= dirty - 1;
            }
        }
        SPARE.set(bytes);
    }
}

impl GuestMemory for Memory {
    fn ram_frames(&self) -> Gfn {
        Gfn::new(self.ram)
    }

    fn frames(&self) -> Gfn {
        Gfn::new(self.frames)
    }

    fn device_limit(&self) -> Gfn {
        Gfn::new(self.device_limit)
    }

    fn choose_bus(&mut self, bus: DeviceBus) {
        let all = self.ram + self.shared;
        (self.frames, self.device_limit) = match bus {
            DeviceBus::Pci => (self.ram, self.registers_end),
            DeviceBus::Dma | DeviceBus::Lguest(_) => (all, all),
        };
    }

    fn read(&self, at: Gpa, into: &mut [u8]) -> Result<(), BadAddress> {
        let start = self.start(at, into.len(), Access::Read)?;
        into.copy_from_slice(&self.bytes.borrow()[start..][..into.len()]);
        Ok(())
    }

    fn write(&self, at: Gpa, from: &[u8]) -> Result<(), BadAddress> {
        let start = self.start(at, from.len(), Access::Write)?;
        if from.is_empty() {
            return Ok(());
        }
        let mut dirty = self.dirty.get();
        for frame in start / FRAME..=(start + from.len() - 1) / FRAME {
            dirty[frame / 64] |= 1 << (frame % 64);
        }
        self.dirty.set(dirty);
        self.bytes.borrow_mut()[start..][..from.len()].copy_from_slice(from);
        Ok(())
    }

    fn read_u32(&self, at: Gpa) -> Result<u32, BadAddress> {
        self.get(at).map(u32::from_le_bytes)
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
        self.get(at).map(u64::from_le_bytes)
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
        (gfn < self.frames()).then(|| Hpa::new(RAM_BASE + (gfn.raw() << 12)))
    }
}
