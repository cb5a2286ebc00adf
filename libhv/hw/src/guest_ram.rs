//! Guest RAM through the direct map.

use crate::direct_map;
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use hv_core::address::{Gfn, Gpa, Hpa, PAGE_SIZE};
use hv_core::frames::{GuestRam, Run};
use hv_core::memory::{Access, BadAddress, GuestMemory};

/// The frames that a guest takes for its RAM: one contiguous run, gpa 0 at its start.
///
/// All accesses are atomic, volatile or copies in assembly, through raw pointers: no reference to guest memory is
/// ever formed, since the guest, or a device on its behalf, may change it under us.
pub struct DirectRam {
    run: Run<GuestRam>,
    base: NonNull<u8>,
    bytes: u64,
    device_limit: Gfn,
}

impl DirectRam {
    /// Takes the run as guest RAM and clears it.
    pub fn new(run: Run<GuestRam>) -> Self {
        let bytes = run.count() * u64::from(PAGE_SIZE);
        let base = direct_map::pointer(run.start());
        // SAFETY: the direct map covers all RAM writable, and the run is ours alone.
        unsafe { base.write_bytes(0, bytes as usize) };
        let device_limit = Gfn::new(run.count());
        Self {
            run,
            base,
            bytes,
            device_limit,
        }
    }

    /// Reserves the frames from the end of RAM up to `limit` for the memory of devices.
    pub fn reserve_for_devices(&mut self, limit: Gfn) {
        self.device_limit = limit;
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

impl GuestMemory for DirectRam {
    fn frames(&self) -> Gfn {
        Gfn::new(self.run.count())
    }

    fn device_limit(&self) -> Gfn {
        self.device_limit
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

    fn read_u32(&self, at: Gpa) -> Result<u32, BadAddress> {
        let from = self.pointer(at, 4, Access::Read)?.cast::<u32>();
        // SAFETY: the span is checked. Volatile, so that the value is read once; a misaligned one
        // goes byte by byte, because a volatile access has to be aligned.
        Ok(unsafe {
            if from.is_aligned() {
                from.read_volatile()
            } else {
                u32::from_le_bytes(from.cast::<[u8; 4]>().read_volatile())
            }
        })
    }

    fn write_u32(&self, at: Gpa, value: u32) -> Result<(), BadAddress> {
        let into = self.pointer(at, 4, Access::Write)?.cast::<u32>();
        // SAFETY: as in `read_u32`.
        unsafe {
            if into.is_aligned() {
                into.write_volatile(value);
            } else {
                into.cast::<[u8; 4]>().write_volatile(value.to_le_bytes());
            }
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

    fn host_frame(&self, gfn: Gfn) -> Option<Hpa> {
        (gfn.raw() < self.run.count()).then(|| Hpa::new(self.run.start().raw() + gfn.start().raw()))
    }
}
