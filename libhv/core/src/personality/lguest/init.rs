//! LGUEST_INIT: guest and host agree on where their shared memory is.

use super::Lguest;
use super::data::Data;
use super::ring::Cursor;
use crate::address::{Gpa, Gva};
use crate::clock::Clock;
use crate::device::Devices;
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::personality::Mmu;
use hv_abi::lguest::{RESERVE_MEM, SYSCALL_VECTOR, data};

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// Checks everything before anything is written or kept, so a guest that is refused here is as
    /// it was before.
    pub(super) fn init(&mut self, base: Gpa, clock: &impl Clock) -> Result<(), Kill> {
        if self.data.is_some() {
            return Err(Kill::AlreadyInitialised);
        }
        if !self.memory.contains(base, u64::from(data::SIZE)) {
            return Err(Kill::BadGuestPage(base));
        }
        let at = |offset: u32| base.wrapping_add(u64::from(offset));

        let syscall_vector = self.memory.read_u32(at(data::SYSCALL_VEC))?;
        if syscall_vector != SYSCALL_VECTOR {
            return Err(Kill::BadSyscallVector(syscall_vector));
        }
        let kernel_address = Gva::new(self.memory.read_u32(at(data::KERNEL_ADDRESS))?);
        if kernel_address.raw() >= RESERVE_MEM.wrapping_neg() {
            return Err(Kill::BadKernelAddress(kernel_address));
        }
        let shared = Data::new(base, self.memory.read_u32(at(data::NOIRQ_IRET))?);

        self.memory.write_u32(at(data::TSC_KHZ), clock.tsc_khz())?;
        self.memory.write_u32(at(data::RESERVE_MEM), RESERVE_MEM)?;
        shared.write_time(&self.memory, clock.wall())?;

        self.data = Some(shared);
        self.cursor = Cursor::default();
        // Until now the boundary between user and kernel tables was not known, so what was
        // shadowed before may be filed on the wrong side of it.
        self.mmu.set_kernel_address(kernel_address);
        self.mmu.flush_all(&self.memory)
    }
}
