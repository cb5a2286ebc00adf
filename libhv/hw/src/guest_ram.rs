//! Guest RAM through the direct map.

use crate::direct_map;
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hv_abi::lguest::DeviceBus;
use hv_core::address::{Gfn, Gpa, Hpa, PAGE_SIZE};
use hv_core::frames::{GuestRam, Run};
use hv_core::memory::{Access, BadAddress, GuestMemory};

/// The frames of a guest: one contiguous run, gpa 0 at its start. The last ones are for devices, and the
/// guest has them only if its bus is one that uses such pages.
///
/// All accesses are atomic, volatile or in assembly, through raw pointers: no reference to guest memory is
/// ever formed, since the guest, or a device on its behalf, may change it under us.
pub struct DirectRam {
    run: Run<GuestRam>,
    base: NonNull<u8>,
    ram: Gfn,
    /// Bytes that the guest has now.
    bytes: u64,
    /// End of the registers that a bus with registers has above RAM.
    registers_end: Gfn,
    device_limit: Gfn,
}

impl DirectRam {
    /// Takes the run and clears it. All but its last `shared` frames, of which it has more, are RAM.
    pub fn new(run: Run<GuestRam>, shared: u64) -> Self {
        let base = direct_map::pointer(run.start());
        // SAFETY: the direct map covers all RAM writable, and the run is ours alone.
        unsafe { base.write_bytes(0, bytes_of(run.count()) as usize) };
        let ram = run.count() - shared;
        Self {
            run,
            base,
            ram: Gfn::new(ram),
            bytes: bytes_of(ram),
            registers_end: Gfn::new(ram),
            device_limit: Gfn::new(ram),
        }
    }

    /// Reserves what follows RAM up to `limit` for registers, where the bus has such.
    pub fn reserve_for_registers(&mut self, limit: Gfn) {
        self.registers_end = limit;
    }

    /// Gives the frames back.
    pub fn into_run(self) -> Run<GuestRam> {
        self.run
    }

    /// A pointer to `length` bytes of RAM at `at`.
    fn pointer(&self, at: Gpa, length: usize, access: Access) -> Result<NonNull<u8>, BadAddress> {
        match at.raw().checked_add(length as u64) {
            // SAFETY: the whole span lies inside the run.
            Some(end) if end <= self.bytes => Ok(unsafe { self.base.add(at.raw() as usize) }),
            _ => Err(BadAddress { at, length, access }),
        }
    }
}

fn bytes_of(frames: u64) -> u64 {
    frames * u64::from(PAGE_SIZE)
}

/// Copies between guest memory and the host's, in assembly: to the compiler that is an access of which it
/// knows nothing, so that it cannot assume that nobody else writes there meanwhile.
///
/// # Safety
/// `length` bytes at `from` are mapped, those at `into` are mapped writable, and they do not overlap.
unsafe fn copy(from: *const u8, into: *mut u8, length: usize) {
    // SAFETY: the caller's promise; the direction flag is clear in host code.
    unsafe {
        asm!(
            "rep movsq",
            "mov rcx, {rest}",
            "rep movsb",
            rest = in(reg) length % 8,
            inout("rcx") length / 8 => _,
            inout("rsi") from => _,
            inout("rdi") into => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Writes a word in one instruction, at any alignment. In assembly for the reason that [`copy`] is.
///
/// # Safety
/// Four bytes at `into` are mapped writable.
#[inline(always)]
unsafe fn store(into: *mut u8, word: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "mov [{into}], {word:e}",
            into = in(reg) into,
            word = in(reg) word,
            options(nostack, preserves_flags),
        );
    }
}

impl GuestMemory for DirectRam {
    fn ram_frames(&self) -> Gfn {
        self.ram
    }

    fn frames(&self) -> Gfn {
        Gfn::new(self.bytes / u64::from(PAGE_SIZE))
    }

    fn device_limit(&self) -> Gfn {
        self.device_limit
    }

    fn choose_bus(&mut self, bus: DeviceBus) {
        let all = Gfn::new(self.run.count());
        let (frames, device_limit) = match bus {
            DeviceBus::Pci => (self.ram, self.registers_end),
            DeviceBus::Dma | DeviceBus::Lguest(_) => (all, all),
        };
        self.bytes = bytes_of(frames.raw());
        self.device_limit = device_limit;
    }

    fn read(&self, at: Gpa, into: &mut [u8]) -> Result<(), BadAddress> {
        let from = self.pointer(at, into.len(), Access::Read)?;
        // SAFETY: both spans are checked and `into` is ours.
        unsafe { copy(from.as_ptr(), into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    fn write(&self, at: Gpa, from: &[u8]) -> Result<(), BadAddress> {
        let into = self.pointer(at, from.len(), Access::Write)?;
        // SAFETY: as in `read`.
        unsafe { copy(from.as_ptr(), into.as_ptr(), from.len()) };
        Ok(())
    }

    fn read_u8(&self, at: Gpa) -> Result<u8, BadAddress> {
        let from = self.pointer(at, 1, Access::Read)?;
        // SAFETY: the span is checked. Volatile, so that the value is read once.
        Ok(unsafe { from.read_volatile() })
    }

    #[inline(always)]
    fn read_u32(&self, at: Gpa) -> Result<u32, BadAddress> {
        let from = self.pointer(at, 4, Access::Read)?.as_ptr();
        let word: u32;
        // SAFETY: the span is checked. One instruction, at any alignment: the value is read once.
        unsafe {
            asm!(
                "mov {word:e}, [{from}]",
                word = lateout(reg) word,
                from = in(reg) from,
                options(nostack, preserves_flags, readonly),
            );
        }
        Ok(word)
    }

    #[inline(always)]
    fn write_u32(&self, at: Gpa, value: u32) -> Result<(), BadAddress> {
        let into = self.pointer(at, 4, Access::Write)?;
        // SAFETY: the span is checked.
        unsafe { store(into.as_ptr(), value) };
        Ok(())
    }

    #[inline]
    fn read_words(&self, at: Gpa, words: &mut [u32]) -> Result<(), BadAddress> {
        let length = size_of_val(words);
        let from = self.pointer(at, length, Access::Read)?;
        // SAFETY: both spans are checked and `words` is ours. The processor has the guest's byte order.
        unsafe { copy(from.as_ptr(), words.as_mut_ptr().cast(), length) };
        Ok(())
    }

    #[inline]
    fn write_words(&self, at: Gpa, words: &[u32]) -> Result<(), BadAddress> {
        let into = self.pointer(at, size_of_val(words), Access::Write)?;
        for (index, word) in words.iter().enumerate() {
            // SAFETY: the place is inside the span that was checked.
            unsafe { store(into.add(index * size_of::<u32>()).as_ptr(), *word) };
        }
        Ok(())
    }

    fn compare_exchange_u32(&self, at: Gpa, current: u32, new: u32) -> Result<bool, BadAddress> {
        let at = Gpa::new(at.raw() & !3);
        let word = self.pointer(at, 4, Access::Write)?.cast::<u32>();
        // SAFETY: the span is checked and aligned; the processor's own page walks and the guest's
        // locked instructions are atomic with this.
        let word = unsafe { AtomicU32::from_ptr(word.as_ptr()) };
        Ok(word
            .compare_exchange(current, new, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok())
    }

    #[inline(always)]
    fn read_u64(&self, at: Gpa) -> Result<u64, BadAddress> {
        let from = self.pointer(at, 8, Access::Read)?.as_ptr();
        let word: u64;
        // SAFETY: as in `read_u32`.
        unsafe {
            asm!(
                "mov {word}, [{from}]",
                word = lateout(reg) word,
                from = in(reg) from,
                options(nostack, preserves_flags, readonly),
            );
        }
        Ok(word)
    }

    fn compare_exchange_u64(&self, at: Gpa, current: u64, new: u64) -> Result<bool, BadAddress> {
        let at = Gpa::new(at.raw() & !7);
        let word = self.pointer(at, 8, Access::Write)?.cast::<u64>();
        // SAFETY: as in `compare_exchange_u32`.
        let word = unsafe { AtomicU64::from_ptr(word.as_ptr()) };
        Ok(word
            .compare_exchange(current, new, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok())
    }

    fn host_frame(&self, gfn: Gfn) -> Option<Hpa> {
        (gfn < self.frames()).then(|| Hpa::new(self.run.start().raw() + gfn.start().raw()))
    }
}
