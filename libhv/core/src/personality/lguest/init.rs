//! LGUEST_INIT: guest and host agree on where their shared memory is.

use super::Lguest;
use super::data::{Data, Noirq};
use super::ring::Cursor;
use crate::address::{Gpa, Gva};
use crate::clock::{Clock, Processor};
use crate::device::Devices;
use crate::kill::{InitRefusal, Kill};
use crate::load::boot_tables::Written;
use crate::memory::GuestMemory;
use crate::personality::{Mmu, Progress};
use hv_abi::lguest::{KernelFields, RESERVE_MEM, SYSCALL_VECTOR, Tsc};

/// What a guest says about itself.
struct Kernel {
    address: Gva,
    syscall_vector: u8,
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// Checks everything before anything is written or kept, so a guest that is refused here is as
    /// it was before. `Unfinished`: its boot tables take more than one exit.
    #[inline(never)]
    pub(super) fn init(&mut self, base: Gpa, clock: &impl Clock) -> Result<Progress, Kill> {
        if self.data.is_some() {
            return Err(Kill::AlreadyInitialised);
        }
        let layout = &self.generation.data;
        if !self.memory.contains(base, u64::from(layout.size)) {
            return Err(self.refused(InitRefusal::BadGuestPage(base)));
        }
        let kernel = self.kernel(base)?;
        let noirq = Noirq::sample(&self.memory, base, layout.noirq)?;
        if self.boot_on_tables()? == Progress::Unfinished {
            return Ok(Progress::Unfinished);
        }

        let at = |offset: u32| base.wrapping_add(u64::from(offset));
        let tsc_khz = match (self.generation.tsc, clock.processor()) {
            (Tsc::HiddenOnAmd, Processor::AmdConstantTsc) => 0,
            _ => clock.tsc_khz(),
        };
        self.memory.write_u32(at(layout.tsc_khz), tsc_khz)?;
        (self.memory).write_u32(at(layout.reserve_mem), RESERVE_MEM)?;
        if let Some(guestid) = layout.guestid {
            // There is one guest; its number is 0.
            self.memory.write(at(guestid), &0_u16.to_le_bytes())?;
        }
        if let Some(pgdir) = layout.pgdir {
            let root = self.boot_root.unwrap_or_default();
            self.memory.write_u32(at(pgdir), root.raw() as u32)?;
        }
        let shared = Data::new(base, noirq);
        shared.write_time(&self.memory, clock.wall())?;

        self.data = Some(shared);
        self.cursor = Cursor::new(shared.field(layout.hcall_status));
        self.syscall_vector = kernel.syscall_vector;
        self.note_syscall_changed();
        // Until now the boundary between user and kernel tables was not known, so what was
        // shadowed before may be filed on the wrong side of it.
        self.mmu.set_kernel_address(kernel.address);
        (self.mmu).refuse_leaf_flags(self.generation.refused_leaf_flags);
        self.mmu.flush_all(&self.memory)?;
        Ok(Progress::Done)
    }

    /// Reads and checks what the guest says about itself (LG-037, LG-038). G1 is told.
    fn kernel(&self, base: Gpa) -> Result<Kernel, Kill> {
        let Some(KernelFields {
            address,
            syscall_vector,
        }) = self.generation.data.kernel
        else {
            return Ok(Kernel {
                address: Gva::new(self.page_offset),
                syscall_vector: SYSCALL_VECTOR,
            });
        };
        let word = |offset: u32| (self.memory).read_u32(base.wrapping_add(u64::from(offset)));
        let vector = word(syscall_vector)?;
        let allowed = self.generation.syscall_vectors.iter().copied();
        let Some(syscall_vector) = allowed
            .into_iter()
            .find(|&allowed| u32::from(allowed) == vector)
        else {
            return Err(self.refused(InitRefusal::BadSyscallVector(vector)));
        };
        let address = Gva::new(word(address)?);
        if address.raw() >= RESERVE_MEM.wrapping_neg() {
            return Err(self.refused(InitRefusal::BadKernelAddress(address)));
        }
        Ok(Kernel {
            address,
            syscall_vector,
        })
    }

    /// A guest whose generation was not known before it ran started in linear mode. If it expects to have
    /// started on tables, it gets them now: what it has seen so far is mapped there as well.
    fn boot_on_tables(&mut self) -> Result<Progress, Kill> {
        if self.boot_root.is_some() {
            return Ok(Progress::Done);
        }
        let Some(tables) = &mut self.boot_tables else {
            return Ok(Progress::Done);
        };
        match tables.write_on(&self.memory, self.generation.entry)? {
            Written::NotNeeded => Ok(Progress::Done),
            Written::Part => Ok(Progress::Unfinished),
            Written::All(root) => {
                self.boot_root = Some(root);
                self.root = root;
                self.mmu.new_pgtable(&self.memory, root)?;
                Ok(Progress::Done)
            }
        }
    }

    fn refused(&self, refusal: InitRefusal) -> Kill {
        Kill::Init {
            refusal,
            likely: self.likely,
        }
    }
}
